"""A picture as DOT text that can be displayed and saved."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from recurrent import checks
from recurrent.models import files

from . import dot, frame, notation, render, svg

FORMATS = ("svg", "png", "pdf", "gv", "html")


def format_of(path: Path) -> str:
    """Return the format that the suffix of a file name chooses; raise ValueError if none does."""
    format = path.suffix.lower().lstrip(".")
    if format not in FORMATS:
        raise ValueError(f"the file name must end in .{', .'.join(FORMATS)}, got {path.name!r}")
    return format


@dataclass(frozen=True)
class Drawing:
    """A picture that a view returns; a notebook displays it as SVG.

    Parameters
    ----------
    source : str
        The DOT text. It is always available; all other formats need a Graphviz renderer.
    title : str
        What the picture shows.
    description : str
        A sentence that replaces the picture for readers who cannot see it.
    size : tuple of float
        Width and height in points.
    body : str
        HTML that replaces the SVG in the .html format.

    Examples
    --------
    >>> import viz
    >>> from recurrent import LSTM
    >>> picture = viz.cell(LSTM(5, 10))
    >>> picture.title
    'LSTM layer: LSTM(input_size=5, hidden_size=10)'
    """

    source: str
    title: str = ""
    description: str = ""
    size: dot.Point = (0.0, 0.0)
    body: str = ""

    @classmethod
    def from_items(cls, title: str, description: str, items: list[dot.Item]) -> Drawing:
        """Make a drawing of pinned items.

        Parameters
        ----------
        title, description : str
            Text about the picture; white space is collapsed.
        items : list of dot.Item
            The items to draw.

        Returns
        -------
        Drawing
        """
        title, description = (" ".join(notation.legal(s).split()) for s in (title, description))
        source, size = dot.digraph(title, items)
        return cls(source, title, description, size)

    def with_page(self, body: str) -> Drawing:
        """Return the same picture with other HTML as its .html format.

        Parameters
        ----------
        body : str
            The HTML.

        Returns
        -------
        Drawing
        """
        return replace(self, body=checks.text(body, "body"))

    def pipe(self, format: str = "svg", engine: str | None = None) -> bytes:
        """Return the picture as bytes.

        Parameters
        ----------
        format : str
            One of "svg", "png", "pdf", "gv", "html".
        engine : str, optional
            The renderer: "graphviz-pure", "dot" or the path of a program.

        Returns
        -------
        bytes

        Raises
        ------
        ValueError
            If the format is unknown.
        RenderError
            If there is no renderer.
        """
        checks.choice(format, "format", FORMATS)
        if format == "gv":
            return self.source.encode()
        if format == "html":
            return self._page(engine).encode()
        raw = render.run(self.source, format, engine, self.size)
        if format == "svg":
            prefix = "fig-" + hashlib.sha256(self.source.encode()).hexdigest()[:8]
            return svg.polish(raw, prefix, self.title, self.description).encode()
        return raw

    def svg(self, engine: str | None = None) -> str:
        """Return the picture as an SVG element.

        Parameters
        ----------
        engine : str, optional
            The renderer, as for `pipe`.

        Returns
        -------
        str
        """
        return self.pipe("svg", engine).decode()

    def save(self, path: str | Path, engine: str | None = None) -> Path:
        """Write the picture to a file.

        Parameters
        ----------
        path : str or Path
            The file; its suffix chooses the format: .svg, .png, .pdf, .gv or .html.
        engine : str, optional
            The renderer, as for `pipe`.

        Returns
        -------
        Path
            The path of the file.

        Raises
        ------
        ValueError
            If the suffix is unknown.
        RenderError
            If there is no renderer.
        OSError
            If the file cannot be written; an earlier one then stays as it was.
        """
        path = checks.path(path)
        format = format_of(path)
        files.replace(path, self.pipe(format, engine))
        return path

    def to_graphviz(self):
        """Return a `graphviz.Source` of the same DOT text.

        The graphviz library runs `dot` on PATH; without one, it is set to this package's renderer.

        Returns
        -------
        graphviz.Source
        """
        import graphviz

        if shutil.which(render.DOT) is None:
            graphviz.backend.dot_command.DOT_BINARY = Path(render.find())
        return graphviz.Source(self.source, engine="neato")

    def _page(self, engine):
        title = escape(self.title)
        head = (
            '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>{title}</title>"
            "<style>:root{color-scheme:light dark;font-family:sans-serif}"
            "body{background:light-dark(#fff,#0f172a);color:light-dark(#1f2937,#e2e8f0)}"
            f"h1{{font-size:1.1rem}}{frame.CSS}</style>"
        )
        body = notation.legal(self.body) or frame.framed(self.svg(engine), self.title)
        page = f"<main><h1>{title}</h1>{body}</main>"
        return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{page}</body></html>\n'

    def _repr_mimebundle_(self, include=None, exclude=None):
        bundle = {"text/plain": repr(self)}
        try:
            bundle["image/svg+xml"] = self.svg()
        except render.RenderError as error:
            bundle["text/plain"] += f"\n{error}"
        return bundle

    def __repr__(self):
        return f"<Drawing: {self.title}; {self.description}>"
