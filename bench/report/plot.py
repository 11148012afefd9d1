"""SVG by hand: marks, lines and words at known places, in light and dark, with words for those who listen."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

from viz.draw.palette import INK, LINE, MUTED, STATES
from viz.draw.svg import FONTS

# name: (light, dark); blue and vermilion are the palette's, lighter where the page is dark
COLOURS = {
    "page": ("#ffffff", "#0f172a"),
    "ink": (INK, "#e5e7eb"),
    "muted": (MUTED, "#a3b1c2"),
    "line": (LINE, "#7c8ca1"),
    "faint": ("#e2e8f0", "#293548"),
    "blue": (STATES["h"], "#56B4E9"),
    "red": (STATES["c"], "#FF9A56"),
    "green": ("#007a59", "#34d399"),
}


class Plot:
    """A picture that grows by marks; `svg()` is its text. Sizes are CSS pixels, y runs downwards."""

    def __init__(self, width: float, height: float, title: str, description: str):
        self.size, self.title, self.description = (width, height), title, description
        self.parts: list[str] = []

    def line(
        self,
        x1: float,
        y1: float,
        x2: float,
        y2: float,
        colour: str = "line",
        width: float = 1,
        dash: str = "",
    ) -> None:
        extra = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<line class="s-{colour}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke-width="{width}"{extra}/>'
        )

    def text(
        self,
        x: float,
        y: float,
        words: str,
        colour: str = "ink",
        size: float = 12,
        anchor: str = "start",
        bold: bool = False,
        turn=0.0,
    ) -> None:
        """Words on the baseline y; `turn` in degrees about their anchor."""
        extra = ' font-weight="bold"' if bold else ""
        extra += f' transform="rotate({turn:.1f} {x:.1f} {y:.1f})"' if turn else ""
        place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
        self.parts.append(f'<text class="f-{colour}" {place}{extra}>{escape(words)}</text>')

    def mark(
        self,
        shape: str,
        x: float,
        y: float,
        colour: str,
        hollow: bool = False,
        tip: str = "",
        r: float = 4,
    ) -> None:
        """A circle, square, down (a triangle on its tip) or cross, with a tooltip."""
        outline = {
            "circle": f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z",
            "square": f"M{x - r:.1f} {y - r:.1f}h{2 * r}v{2 * r}h{-2 * r}z",
            "down": f"M{x - 1.3 * r:.1f} {y - r:.1f}h{2.6 * r:.1f}L{x:.1f} {y + 1.3 * r:.1f}z",
            "cross": f"M{x - r:.1f} {y - r:.1f}l{2 * r} {2 * r}m0 {-2 * r}l{-2 * r} {2 * r}",
        }[shape]
        fill = "f-page" if hollow or shape == "cross" else f"f-{colour}"
        self.parts.append(
            f'<path class="{fill} s-{colour}" stroke-width="1.5" d="{outline}"><title>{escape(tip)}</title></path>'
        )

    def svg(self) -> str:
        width, height = (math.ceil(s) for s in self.size)
        light, dark = (
            "".join(_rules(name, pair[k]) for name, pair in COLOURS.items()) for k in (0, 1)
        )
        style = f"text{{font-family:{FONTS}}}{light}@media(prefers-color-scheme:dark){{{dark}}}"
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
                'style="max-width:100%;height:auto" role="img" aria-labelledby="bench-title bench-desc">',
                f'<title id="bench-title">{escape(self.title)}</title>',
                f'<desc id="bench-desc">{escape(self.description)}</desc>',
                f"<style>{style}</style>",
                f'<rect class="f-page" width="{width}" height="{height}"/>',
                *self.parts,
                "</svg>\n",
            ]
        )


def _rules(name, colour):
    return f".f-{name}{{fill:{colour}}}.s-{name}{{stroke:{colour}}}"


class LogAxis:
    """Places of positive values between two pixels, equal ratios equally far apart."""

    def __init__(self, values: Iterable[float], start: float, end: float, margin: float = 1.15):
        values = list(values)
        self.low, self.high = min(values) / margin, max(values) * margin
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        return self.start + (self.end - self.start) * math.log(value / self.low) / math.log(
            self.high / self.low
        )

    def ticks(self, steps: tuple[int, ...] = (1, 2, 5)) -> list[float]:
        """Round numbers on the axis.

        >>> LogAxis([0.5, 12], 0, 100, margin=1).ticks()
        [0.5, 1.0, 2.0, 5.0, 10.0]
        """
        tens = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        every = (float(f"{step}e{ten}") for ten in tens for step in steps)
        return [t for t in every if self.low <= t <= self.high]
