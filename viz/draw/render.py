"""Rendering of DOT text with the `graphviz-pure` wheel or with `dot` on PATH.

The environment variable RECURRENT_DOT, or `engine=`, chooses the renderer: "graphviz-pure", "dot",
or the path of a program.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import sysconfig
import xml.etree.ElementTree as ET
from pathlib import Path

from . import svg
from .program import ProgramError, run_program

PURE, DOT = "graphviz-pure", "dot"
DPI = 144
MAX_SIDE, MAX_PIXELS = 16_000, 40_000_000  # graphviz-pure aborts on bitmaps that exceed its memory
# Far more than a picture needs: 10,000 nodes take two seconds and 4 MB.
MAX_SECONDS, MAX_BYTES = 120.0, 500_000_000


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
    source: str,
    format: str,
    engine: str | None = None,
    size: tuple[float, float] = (0, 0),
    dpi: float | None = None,
) -> bytes:
    """Render DOT text as "svg", "png" or "pdf"; `size` in points limits a bitmap's resolution.

    Raises ValueError if a bitmap of `dpi` would be too large.

    Raises RenderError if there is no renderer, it fails, takes too long, or writes too much or
    something else than a picture of this format.
    """
    program = find(engine)
    if format == "pdf" and _is_pure(program):
        return _pdf(source, program, engine)
    options = ["-Knop2", f"-T{format}"]
    if _is_pure(program):
        options.append("-q")  # it warns about every label that is not ASCII
    if format == "png":
        options.append(f"-Gdpi={resolution(*size, dpi):.2f}")
    return _call([program, *options], source, format)


def resolution(width: float, height: float, dpi: float | None = None) -> float:
    """Return dots per inch for a picture of a size in points: 144 unless that is too large."""
    width, height = max(width, 1) / 72, max(height, 1) / 72
    most = min(MAX_SIDE / max(width, height), (MAX_PIXELS / (width * height)) ** 0.5)
    if dpi is not None and dpi > most:
        raise ValueError(f"dpi must be at most {most:.0f} for a picture of this size, got {dpi:g}")
    return min(DPI if dpi is None else dpi, most)


def _beside_python(name: str) -> str | None:
    """Return a program of this Python's environment, whose scripts need not be on PATH."""
    places = (Path(sys.executable).parent, Path(sysconfig.get_path("scripts")))
    return next((found for place in places if (found := shutil.which(name, path=str(place)))), None)


def _is_pure(program: str) -> bool:
    return Path(program).stem == PURE


def _call(command: list[str], source: str, format: str) -> bytes:
    name = Path(command[0]).name
    try:
        raw = run_program(command, source.encode(), MAX_SECONDS, MAX_BYTES)
    except ProgramError as error:
        raise RenderError(f"{name} failed: {error}") from error
    if not _is_picture(raw, format):
        start = f"{len(raw):,} bytes that begin {raw[:24]!r}" if raw else "nothing"
        raise RenderError(f"{name} failed: expected a whole {format.upper()}, got {start}")
    return raw


def _is_picture(raw: bytes, format: str) -> bool:
    """Return whether bytes are a picture of a format from its first to its last byte."""
    if format == "png":
        return raw.startswith(b"\x89PNG\r\n\x1a\n") and raw.endswith(b"IEND\xaeB`\x82")
    if format == "pdf":
        return raw.startswith(b"%PDF-") and raw.rstrip().endswith(b"%%EOF")
    try:
        svg.parse(raw)
    except (ET.ParseError, ValueError):
        return False
    return True


def _pdf(source, program, engine):
    """Render a PDF with `dot`, or else from the SVG with svg2pdf-py: graphviz-pure writes none."""
    dot = shutil.which(DOT) if engine is None and not os.environ.get("RECURRENT_DOT") else None
    if dot:
        return _call([dot, "-Knop2", "-Tpdf"], source, "pdf")
    try:
        svg2pdf = importlib.import_module("svg2pdf_py")
    except ImportError:
        raise RenderError(
            "no renderer for PDF: install Graphviz so that `dot` is on PATH, "
            "or `pip install svg2pdf-py`"
        ) from None
    picture = _call([program, "-Knop2", "-Tsvg", "-q"], source, "svg").decode()
    # svg2pdf knows no generic families and drops all text if no family of Graphviz's list matches.
    families = "Arial,Liberation Sans,DejaVu Sans,Noto Sans,sans-serif"
    picture = picture.replace("Helvetica,sans-Serif", families)
    pdf = bytes(svg2pdf.svg_to_pdf(picture, svg2pdf.FontDatabase.system()))
    if "<text" in picture and b"/Font" not in pdf:
        raise RenderError(
            "no font for the text of a PDF: install DejaVu Sans or Liberation Sans "
            "(Debian: fonts-dejavu-core)"
        )
    return pdf
