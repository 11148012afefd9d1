"""Rendering of DOT text with the `graphviz-pure` wheel or with `dot` on PATH.

The environment variable RECURRENT_DOT, or `engine=`, chooses the renderer: "graphviz-pure", "dot",
or the path of a program.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

PURE, DOT = "graphviz-pure", "dot"
DPI = 144
MAX_SIDE, MAX_PIXELS = 16_000, 40_000_000  # graphviz-pure aborts on bitmaps that exceed its memory


class RenderError(RuntimeError):
    """A picture could not be rendered; its DOT text is available all the same."""


def find(engine: str | None = None) -> str:
    """Return the path of the renderer; RenderError if there is none."""
    engine = engine or os.environ.get("RECURRENT_DOT") or None
    for name in (PURE, DOT) if engine is None else (engine,):
        path = (_beside_python(PURE) if name == PURE else None) or shutil.which(name)
        if path:
            return path
    if engine is not None:
        raise RenderError(
            f"no renderer {engine!r}: expected 'graphviz-pure', 'dot' or the path of a program"
        )
    raise RenderError(
        "no renderer: `pip install graphviz-pure`, or install Graphviz so that `dot` is on PATH; "
        ".source needs none"
    )


def run(
    source: str, format: str, engine: str | None = None, size: tuple[float, float] = (0, 0)
) -> bytes:
    """Render DOT text as "svg", "png" or "pdf"; `size` in points limits a bitmap's resolution.

    Raises RenderError if there is no renderer or it fails.
    """
    program = find(engine)
    if format == "pdf" and _is_pure(program):
        return _pdf(source, program, engine)
    options = ["-Knop2", f"-T{format}"]
    if _is_pure(program):
        options.append("-q")  # it warns about every label that is not ASCII
    if format == "png":
        options.append(f"-Gdpi={resolution(*size):.2f}")
    return _call([program, *options], source)


def resolution(width: float, height: float) -> float:
    """Return dots per inch for a picture of a size in points: 144 unless that is too large."""
    width, height = max(width, 1) / 72, max(height, 1) / 72
    return min(DPI, MAX_SIDE / max(width, height), (MAX_PIXELS / (width * height)) ** 0.5)


def _beside_python(name: str) -> str | None:
    """Return a program of this Python's environment, whose scripts need not be on PATH."""
    places = (Path(sys.executable).parent, Path(sysconfig.get_path("scripts")))
    return next((found for place in places if (found := shutil.which(name, path=str(place)))), None)


def _is_pure(program: str) -> bool:
    return Path(program).stem == PURE


def _call(command: list[str], source: str) -> bytes:
    try:
        done = subprocess.run(command, input=source.encode(), capture_output=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RenderError(f"{command[0]} failed: {error}") from error
    if done.returncode or not done.stdout:
        lines = [s for s in done.stderr.decode(errors="replace").splitlines() if s.strip()] or [
            f"exit code {done.returncode}"
        ]
        raise RenderError(f"{Path(command[0]).name} failed: {lines[0].strip()}")
    return done.stdout


def _pdf(source, program, engine):
    """Render a PDF with `dot`, or else from the SVG with svg2pdf-py: graphviz-pure writes none."""
    dot = shutil.which(DOT) if engine is None and not os.environ.get("RECURRENT_DOT") else None
    if dot:
        return _call([dot, "-Knop2", "-Tpdf"], source)
    try:
        svg2pdf = importlib.import_module("svg2pdf_py")
    except ImportError:
        raise RenderError(
            "no renderer for PDF: install Graphviz so that `dot` is on PATH, "
            "or `pip install svg2pdf-py`"
        ) from None
    svg = _call([program, "-Knop2", "-Tsvg", "-q"], source).decode()
    # svg2pdf knows no generic families and drops all text if no family of Graphviz's list matches.
    families = "Arial,Liberation Sans,DejaVu Sans,Noto Sans,sans-serif"
    svg = svg.replace("Helvetica,sans-Serif", families)
    pdf = bytes(svg2pdf.svg_to_pdf(svg, svg2pdf.FontDatabase.system()))
    if "<text" in svg and b"/Font" not in pdf:
        raise RenderError(
            "no font for the text of a PDF: install DejaVu Sans or Liberation Sans "
            "(Debian: fonts-dejavu-core)"
        )
    return pdf
