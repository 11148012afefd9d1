"""Common code of the charts: matplotlib's style, and SVG with tooltips and a description."""

from __future__ import annotations

import io
import re
from contextlib import AbstractContextManager
from html import escape

try:
    from matplotlib import style
except ImportError:
    raise ModuleNotFoundError(
        "charts need matplotlib, which is not installed: pip install 'recurrent-engine[peers]'"
    ) from None
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogLocator
from matplotlib.transforms import Bbox

__all__ = ["BLUE", "FAINT", "GREEN", "INK", "RED", "Bbox", "Chart", "Text", "round_ticks", "styled"]

# The background is transparent: every colour has a contrast of at least 3.8 on white and on a
# dark page (#0d1117), and the three hues differ for colour-blind readers.
INK, BLUE, RED, GREEN = "#6b7c8f", "#2481c4", "#d55e00", "#00875f"
FAINT = {"color": INK, "alpha": 0.25, "linewidth": 0.75}
STYLE = {
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.25,
    "ytick.labelsize": 8.25,
    "svg.fonttype": "none",
    "svg.hashsalt": "bench",
}


def styled() -> AbstractContextManager:
    """Apply the charts' style on top of matplotlib's defaults."""
    return style.context(["default", STYLE])


def round_ticks(axis) -> None:
    """Tick a logarithmic axis at 1, 2, 5, 10, ..., written as plain numbers."""
    low, high = axis.get_view_interval()
    ticks = LogLocator(subs=(1, 2, 5), numticks=99).tick_values(low, high)
    ticks = [t for t in ticks if low <= t <= high]
    axis.set_ticks(ticks, [f"{t:g}" for t in ticks])
    axis.set_ticks([], minor=True)


class Chart:
    """A figure with a title and a description; sizes are in CSS pixels (1/96 inch)."""

    def __init__(self, width: float, height: float, title: str, description: str):
        self.size, self.title, self.description = (width, height), title, description
        self.figure = Figure(figsize=(width / 96, height / 96))
        FigureCanvasAgg(self.figure)  # measures texts
        self.tooltips: dict[str, str] = {}

    def axes(self, left: float, top: float, right: float, bottom: float):
        """Add axes between these pixel positions; y counts downwards."""
        width, height = self.size
        box = (left / width, 1 - bottom / height, (right - left) / width, (bottom - top) / height)
        return self.figure.add_axes(box, facecolor="none")

    def text(self, x: float, y: float, text: str, **style) -> None:
        """Write text with its baseline at a pixel position."""
        width, height = self.size
        self.figure.text(x / width, 1 - y / height, text, **style)

    def legend(self, handles: list[Artist], x: float, y: float) -> None:
        """Add a one-line legend; (x, y) is the pixel position of its left end."""
        width, height = self.size
        self.figure.legend(
            handles=handles,
            loc="center left",
            bbox_to_anchor=(x / width, 1 - y / height),
            ncols=len(handles),
            frameon=False,
            borderpad=0,
            borderaxespad=0,
            handletextpad=0.1,
            columnspacing=1.2,
        )

    def tooltip(self, artist: Artist, text: str) -> None:
        """Attach a tooltip to an artist."""
        artist.set_gid(f"mark-{len(self.tooltips)}")
        self.tooltips[artist.get_gid()] = text

    def svg(self) -> str:
        """Return the SVG document; the same figure always gives the same text."""
        buffer = io.StringIO()
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type")) | {"Title": self.title}
        with styled():
            self.figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
        head = f'role="img" aria-label="{escape(self.title)}" viewBox='
        svg = buffer.getvalue().replace("viewBox=", head, 1)
        svg = svg.replace("<metadata>", f"<desc>{escape(self.description)}</desc>\n <metadata>", 1)
        return re.sub(
            r'<g id="(mark-\d+)">',
            lambda m: f"{m[0]}<title>{escape(self.tooltips[m[1]])}</title>",
            svg,
        )
