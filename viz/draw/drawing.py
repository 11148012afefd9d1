"""A picture as DOT text, able to show and save itself."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from . import dot, notation, render, svg

FORMATS = ("svg", "png", "pdf", "gv", "html")


@dataclass(frozen=True)
class Drawing:
    """What the views return. `source` is always there; the other forms need a Graphviz (`viz.draw.render`)."""

    source: str
    title: str = ""
    description: str = ""
    size: dot.Point = (0.0, 0.0)  # in points
    body: str = ""  # HTML in place of the SVG, for what a page shows better

    @classmethod
    def from_items(cls, title: str, description: str, items: list[dot.Item]) -> Drawing:
        """A drawing of pinned items."""
        title, description = (
            " ".join(notation.legal(text).split()) for text in (title, description)
        )
        source, size = dot.digraph(title, items)
        return cls(source, title, description, size)

    def with_page(self, body: str) -> Drawing:
        """The same picture, whose .html form is this."""
        return replace(self, body=body)

    def pipe(self, format: str = "svg", engine: str | None = None) -> bytes:
        """The picture as bytes of one of svg, png, pdf, gv, html.

        Raises ValueError for another format, `viz.RenderError` where there is no renderer.
        """
        if format not in FORMATS:
            raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
        if format == "gv":
            return self.source.encode()
        if format == "html":
            return self._page(engine).encode()
        raw = render.run(self.source, format, engine, self.size)
        if format == "svg":
            prefix = "fig-" + hashlib.sha256(self.source.encode()).hexdigest()[:8]
            return svg.polish(raw.decode(), prefix, self.title, self.description).encode()
        return raw

    def svg(self, engine: str | None = None) -> str:
        """The picture as an SVG element."""
        return self.pipe("svg", engine).decode()

    def save(self, path: str | Path, engine: str | None = None) -> Path:
        """Write the picture; the name's ending says how: .svg, .png, .pdf, .gv or .html. Returns the path."""
        path = Path(path)
        format = path.suffix.lower().lstrip(".")
        if format not in FORMATS:
            raise ValueError(
                f"the file's name must end in .{', .'.join(FORMATS)}, got {path.name!r}"
            )
        path.write_bytes(self.pipe(format, engine))
        return path

    def to_graphviz(self):
        """A `graphviz.Source` of the same DOT text, with its `render`, `pipe` and `view`.

        That library runs `dot` on PATH; where there is none, it is told of the renderer that this package has.
        """
        import graphviz

        if shutil.which(render.DOT) is None:
            graphviz.backend.dot_command.DOT_BINARY = Path(render.find())
        return graphviz.Source(self.source, engine="neato")

    def _page(self, engine):
        head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(self.title)}</title>'
        head += "<style>:root{color-scheme:light dark;font-family:sans-serif}body{background:light-dark(#fff,#0f172a)}</style>"
        body = notation.legal(self.body) or self.svg(engine)
        return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'

    def _repr_mimebundle_(self, include=None, exclude=None):
        bundle = {"text/plain": repr(self)}
        try:
            bundle["image/svg+xml"] = self.svg()
        except render.RenderError as error:
            bundle["text/plain"] += f"\n{error}"
        return bundle

    def __repr__(self):
        return f"<Drawing: {self.title}; {self.description}>"
