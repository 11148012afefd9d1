"""A picture as DOT text that can be displayed and saved."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path

from recurrent import checks
from recurrent.models import files

from . import adapt, dot, frame, notation, palette, render, svg

FORMATS = ("svg", "png", "pdf", "gv", "html")
POINT = 0.75  # points of a CSS pixel
_HEARD = ".heard{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}"


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
    dark : bool, optional
        True or False if the colours are those of a dark or a light page for every reader; None if
        an SVG follows its reader.
    items : tuple of dot.Item
        What was drawn, before the palette.

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
    dark: bool | None = None
    items: tuple[dot.Item, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def from_items(cls, title: str, description: str, items: list[dot.Item]) -> Drawing:
        """Make a drawing of pinned items, as the options of the view ask for it.

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
        chosen = adapt.now()
        title = title if chosen.title is None else chosen.title
        title, description = (" ".join(notation.legal(s).split()) for s in (title, description))
        options = {}
        if chosen.dark:
            options["colours"] = tuple(map(palette.dark, ("#ffffff", "#000000", palette.INK)))
        elif chosen.palette != "default":
            line = palette.recoloured(palette.INK, chosen.palette, fill=False)
            options["colours"] = ("white", "", line)
        if chosen.width is not None:
            options["wide"] = chosen.width * POINT
        source, size = dot.digraph(title, chosen.items(items), **options)
        return cls(source, title, description, size, dark=chosen.dark, items=tuple(items))

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

    def pipe(
        self, format: str = "svg", engine: str | None = None, dpi: float | None = None
    ) -> bytes:
        """Return the picture as bytes.

        Parameters
        ----------
        format : str
            One of "svg", "png", "pdf", "gv", "html".
        engine : str, optional
            The renderer: "graphviz-pure", "dot" or the path of a program.
        dpi : float, optional
            Pixels per inch of a PNG; 144 by default, less if the picture would be too large.

        Returns
        -------
        bytes

        Raises
        ------
        ValueError
            If the format is unknown, or `dpi` is given for another format than "png", or it makes
            the picture too large.
        RenderError
            If there is no renderer.
        """
        checks.choice(format, "format", FORMATS)
        if dpi is not None:
            dpi = checks.number(dpi, "dpi", 1, most=2400)
            if format != "png":
                raise ValueError(f"dpi is for .png, got it for .{format}, which has no pixels")
        if format == "gv":
            return self.source.encode()
        if format == "html":
            return self._page(engine).encode()
        raw = render.run(self.source, format, engine, self.size, dpi)
        if format == "svg":
            prefix = "fig-" + hashlib.sha256(self.source.encode()).hexdigest()[:8]
            return svg.polish(
                raw, prefix, self.title, self.description, self.dark, self.size
            ).encode()
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

    def save(self, path: str | Path, engine: str | None = None, dpi: float | None = None) -> Path:
        """Write the picture to a file.

        Parameters
        ----------
        path : str or Path
            The file; its suffix chooses the format: .svg, .png, .pdf, .gv or .html.
        engine : str, optional
            The renderer, as for `pipe`.
        dpi : float, optional
            Pixels per inch of a .png, as for `pipe`.

        Returns
        -------
        Path
            The path of the file.

        Raises
        ------
        ValueError
            If the suffix is unknown, or `dpi` does not fit it.
        RenderError
            If there is no renderer.
        OSError
            If the file cannot be written; an earlier one then stays as it was.
        """
        path = checks.path(path)
        format = format_of(path)
        files.replace(path, self.pipe(format, engine, dpi))
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
        title, scheme = escape(self.title), {None: "light dark", True: "dark", False: "light"}
        head = (
            '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>{title}</title>"
            f"<style>:root{{color-scheme:{scheme[self.dark]};font-family:sans-serif}}"
            "body{background:light-dark(#fff,#0f172a);color:light-dark(#1f2937,#e2e8f0)}"
            f"h1{{font-size:1.1rem}}{_HEARD}{frame.CSS}</style>"
        )
        body = notation.legal(self.body) or frame.framed(self.svg(engine), self.title)
        # A picture that says its title needs it once; those who cannot see it hear it.
        shown = any(i.attributes.get("label") == self.title for i in self.items)
        page = f"<main><h1{' class=heard' * shown}>{title}</h1>{body}</main>"
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
