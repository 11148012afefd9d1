"""The colours, colour scales and names of gates that all views share.

Categories use the Okabe-Ito palette, signed values a scale from blue over grey to brown, magnitudes
cividis. All are safe for colour-blind readers.
"""

from __future__ import annotations

import colorsys
import functools
import math
from collections.abc import Iterable

INK, MUTED, LINE = "#1f2937", "#526070", "#64748b"
STATES = {"h": "#0072B2", "c": "#D55E00"}
OTHER_STATES = ("#009E73", "#7A5195")
OPERATION, CUT, GRADIENT = "#FFD1DC", "#B91C1C", "#7A1FA2"
HEADING = "#2F6B45"
TERMINAL = ("#F1F5F9", "#94A3B8")
UNIT = ("#F0F9F1", "#7CB890")  # fill, border
FACTS = ("#FFFBEB", "#E5C76B")
X_GROUP, H_GROUP = ("#EFF6FF", "#93C5FD"), ("#EEF5FB", "#8FBBDD")
WINDOWS = (("#F0F9FF", "#7DD3FC"), ("#FEFCE8", "#EAB308"))
LAYERS = {
    "input": ("#DBEAFE", "#5B8DB8"),
    "output": ("#FDE68A", "#D4A20A"),
    "Embedding": ("#E0E7FF", "#818CF8"),
    "OneHot": ("#E0E7FF", "#818CF8"),
    "Linear": ("#FCE7F3", "#F472B6"),
    "Conv1d": ("#FFEDD5", "#EA580C"),
    "Dropout": ("#F1F5F9", "#94A3B8"),
    "recurrent": ("#DCFCE7", "#16A34A"),
}
OTHER_LAYER = ("#F8FAFC", "#94A3B8")
READABLE = 4.5  # least contrast of text
PALE = 5.0  # least contrast with white of text that may stand on a pale region
NOT_FINITE = "#C2185B"  # NaN and infinite values, whatever the scale
REST = ("#E5E7EB", "#9CA3AF")  # items summed up in one box

GATES = {  # letter: name and colour, for black text
    "i": ("input gate", "#56B4E9"),
    "f": ("forget gate", "#F0E442"),
    "g": ("candidate", "#E69F00"),
    "o": ("output gate", "#CC79A7"),
    "r": ("reset gate", "#56B4E9"),
    "z": ("update gate", "#F0E442"),
    "n": ("candidate", "#E69F00"),
    "h": ("the neuron", "#E69F00"),
}
OTHER_GATES = (
    "#56B4E9", "#F0E442", "#E69F00", "#CC79A7", "#009E73", "#B3C6D4", "#CDB4F0", "#A7D8A0",
    "#FFB3A0", "#C9B27C", "#7FD1CF", "#F6C1DE",
)  # fmt: skip
DIRECTIONS = ("#0072B2", "#D55E00")  # forward and reverse
ATTENTION = ("#E4EDE7", "#14532D")

# For every kind of colour vision: any two of the fills and of the lines differ in lightness or hue.
PALETTES = ("default", "colour-blind", "print")
_BLIND_FILLS = {
    "#e69f00": "#D77575", "#cc79a7": "#B266FF", "#009e73": "#739900", "#b3c6d4": "#D1FAE6",
    "#cdb4f0": "#DED7F4", "#a7d8a0": "#99D161", "#ffb3a0": "#FF00BF", "#c9b27c": "#0086B3",
    "#7fd1cf": "#4DFFA6", "#f6c1de": "#E29CAE",
}  # fmt: skip
_BLIND_LINES = {
    "#d55e00": "#E64D1A", "#009e73": "#9933FF", "#7a5195": "#450836", "#b91c1c": "#800000",
    "#7a1fa2": "#000080",
}  # fmt: skip

SIGNED = ("#2166AC", "#67A9CF", "#D1E5F0", "#F7F7F7", "#FEE0B6", "#F1A340", "#B35806")
SIZE = ("#F7F7F7", "#998EC3", "#54278F")  # from zero
# For lines: a value near 0 must still show on white.
SIGNED_LINE = ("#2166AC", "#8AAACB", "#D0D5DC", "#C9A484", "#B35806")
STEPS = 32  # of a scale whose colours have counterparts on a dark page
CIVIDIS = (
    "#00224E", "#123570", "#3B496C", "#575D6D", "#707173", "#8A8678", "#A59C74",
    "#C3B369", "#FEE838",
)  # fmt: skip

_MEANINGFUL = {c.lower() for c in (OPERATION, *OTHER_GATES, *(c for _, c in GATES.values()))}
_MEANINGFUL |= {c.lower() for c in _BLIND_FILLS.values()}
_REGIONS = [UNIT, FACTS, X_GROUP, H_GROUP, *WINDOWS, *LAYERS.values(), OTHER_LAYER, REST]
_LINES = ["#FFFFFF", "#000000", INK, MUTED, LINE, HEADING, CUT, GRADIENT]


def state(name: str, index: int) -> str:
    """Return the colour of a state's wires; "0.h" is h of a layer inside another one."""
    name = name.rpartition(".")[2]
    return STATES.get(name, OTHER_STATES[index % len(OTHER_STATES)])


def layer(kind: str, recurrent: bool = False) -> tuple[str, str]:
    """Return the fill and border of a layer's box."""
    return LAYERS.get(kind, LAYERS["recurrent"] if recurrent else OTHER_LAYER)


def ramp(colours: tuple[str, ...], u: float) -> str:
    """Return the colour at 0 <= u <= 1 among evenly spaced ones.

    >>> ramp(("#000000", "#ffffff"), 0.5)
    '#808080'
    """
    u = min(max(u, 0.0), 1.0)
    k = min(int(u * (len(colours) - 1)), len(colours) - 2)
    part = u * (len(colours) - 1) - k
    pairs = zip(_channels(colours[k]), _channels(colours[k + 1]), strict=True)
    return _hex(math.floor(p + (q - p) * part + 0.5) for p, q in pairs)


def _channels(colour):
    return [int(colour[p : p + 2], 16) for p in (1, 3, 5)]


def _hex(channels):
    return "#" + "".join(f"{v:02x}" for v in channels)


def signed(v: float, limit: float, colours: tuple[str, ...] = SIGNED) -> str:
    """Return the colour of a value on a scale from -limit to limit.

    >>> signed(0.0, 1.0), signed(-5.0, 1.0), signed(math.nan, 1.0) == NOT_FINITE
    ('#f7f7f7', '#2166ac', True)
    """
    return ramp(colours, 0.5 + 0.5 * v / limit) if math.isfinite(v) else NOT_FINITE


def size(v: float, limit: float) -> str:
    """Return the colour of a size on a scale from zero to limit.

    >>> size(0.0, 1.0), size(2.0, 1.0)
    ('#f7f7f7', '#54278f')
    """
    return ramp(SIZE, v / limit) if math.isfinite(v) else NOT_FINITE


def line(v: float, limit: float) -> str:
    """Return the colour of a weight's line, one of 33, each of which a page maps to a dark one.

    >>> line(1.0, 1.0), line(0.51, 1.0) == line(0.5, 1.0)
    ('#b35806', True)
    """
    return stepped(SIGNED_LINE, 0.5 + 0.5 * v / limit) if math.isfinite(v) else NOT_FINITE


def attention(weight: float) -> str:
    """Return the colour of a weight of attention, one of 33: faint is near the page's colour.

    >>> attention(0.0), attention(0.001), attention(1.0)
    ('#e4ede7', '#e4ede7', '#14532d')
    """
    return stepped(ATTENTION, weight)


def stepped(colours: tuple[str, ...], u: float) -> str:
    """Return the nearest of 33 colours of a ramp."""
    return ramp(colours, math.floor(min(max(u, 0.0), 1.0) * STEPS + 0.5) / STEPS)


@functools.lru_cache(4096)
def luminance(colour: str) -> float:
    """Return the relative luminance of a colour, from 0 to 1 (WCAG 2.2)."""
    linear = (
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
        for v in (c / 255 for c in _channels(colour))
    )
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a: str, b: str) -> float:
    """Return the contrast of two colours, from 1 to 21 (WCAG 2.2); text needs 4.5.

    >>> contrast("#000000", "#FFFFFF"), contrast(INK, INK)
    (21.0, 1.0)
    """
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


@functools.lru_cache(256)
def legible(colour: str) -> str:
    """Return a colour for text on white or on a pale region: the same hue, dark enough to read.

    >>> legible(INK) == INK, legible(STATES["c"])
    (True, '#b65000')
    """
    parts = _channels(colour)
    while contrast(_hex(parts), "#ffffff") < PALE:
        parts = [math.floor(0.98 * v) for v in parts]
    return _hex(parts) if parts != _channels(colour) else colour


def on(fill: str) -> str:
    """Return a colour for text on a fill: ink, white or black, with a contrast of at least 4.5.

    >>> on("#f7f7f7") == INK, on("#2166ac"), on("#c87800")
    (True, '#ffffff', '#000000')
    """
    return next((c for c in (INK, "#ffffff") if contrast(c, fill) >= READABLE), "#000000")


def magnitude(v: float, low: float, high: float) -> str:
    """Return the colour of a magnitude on a log axis from low to high.

    >>> magnitude(0.0, 0.1, 1.0), magnitude(5.0, 0.1, 1.0), magnitude(math.nan, 0.1, 1.0)
    ('#00224E', '#fee838', '#C2185B')
    """
    if not math.isfinite(v):
        return NOT_FINITE
    return ramp(CIVIDIS, math.log(v / low) / math.log(high / low)) if v > 0 else CIVIDIS[0]


SHADES = [attention(k / STEPS) for k in range(STEPS + 1)]  # fills that a dark page turns
_FRAME = {
    c.lower()
    for c in (
        *_LINES,
        *STATES.values(),
        *OTHER_STATES,
        *_BLIND_LINES.values(),
        *sum(_REGIONS, ()),
        *SHADES,
    )
}
_FRAME |= {legible(c).lower() for c in (*STATES.values(), *OTHER_STATES, *_BLIND_LINES.values())}


def is_frame(colour: str, fill: bool) -> bool:
    """Return whether dark mode may change a colour: it may, unless it fills a gate or a value.

    The shades of attention change too: zero is as faint as the page on both.

    >>> is_frame(INK, fill=True), is_frame(GATES["f"][1], fill=True)
    (True, False)
    >>> is_frame(CIVIDIS[0], fill=True)
    False
    """
    return colour.lower() in _FRAME and not (fill and colour.lower() in _MEANINGFUL)


def dark(colour: str) -> str:
    """Return the counterpart of a colour on a dark page: lightness is inverted, the hue stays.

    >>> dark("#ffffff"), dark("#000000"), dark("#DCFCE7")
    ('#0f172a', '#f0f0f0', '#23462f')
    """
    if colour.lower() == "#ffffff":
        return "#0f172a"
    hue, lightness, saturation = colorsys.rgb_to_hls(*(v / 255 for v in _channels(colour)))
    # Pale colours fill regions, which must differ from the page and leave text readable.
    pale = lightness > 0.7
    inverted = 0.11 + (0.35 * (1 - lightness) ** 0.5 if pale else 0.83 * (1 - lightness) ** 0.8)
    channels = colorsys.hls_to_rgb(hue, inverted, saturation * (0.4 if pale else 0.9))
    return _hex(round(255 * v) for v in channels)


def turned(colour: str, fill: bool, over: str | None = None, edge: bool = False) -> str | None:
    """Return the counterpart of a colour on a dark page, None if it keeps its colour there.

    `fill` says whether it fills a shape; `over` is the fill below a text. All wires change, even
    those that show values: faint must stay faint.

    >>> turned(INK, fill=False), turned(GATES["f"][1], fill=True)
    ('#c7d1de', None)
    >>> turned("#000000", fill=True, over=GATES["f"][1])
    """
    if over is None:
        return dark(colour) if edge or is_frame(colour, fill) else None
    if over.lower() in SHADES:
        return on(dark(over))
    if not (is_frame(colour, True) and is_frame(over, True)):
        return None
    parts, region = _channels(dark(colour)), dark(LAYERS["recurrent"][0])
    while contrast(_hex(parts), region) < READABLE:  # the lightest region on a dark page
        parts = [math.ceil(v + 0.03 * (255 - v)) for v in parts]
    return _hex(parts)


def recoloured(colour: str, palette: str, fill: bool) -> str:
    """Return the counterpart of a colour in a palette, of a fill or of a line.

    A grey of "print" has the luminance of its colour, so that every contrast stays.

    >>> recoloured(STATES["c"], "default", fill=False), recoloured("#009E73", "colour-blind", True)
    ('#D55E00', '#739900')
    >>> recoloured("#009E73", "colour-blind", False), recoloured(SIGNED[0], "print", True)
    ('#9933FF', '#646464')
    """
    if palette == "default" or not colour.startswith("#"):
        return colour
    if palette == "print":
        return "#000000" if colour.lower() == NOT_FINITE.lower() else _grey(colour)
    found = _BLIND_FILLS.get(colour.lower()) if fill else None
    return found or _BLIND_LINES.get(colour.lower(), colour)


def _grey(colour):
    v = luminance(colour)
    return _hex(
        [round(255 * (12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055))] * 3
    )


def decades(sizes: Iterable[float]) -> tuple[float, float]:
    """Return the ends of a log axis: powers of ten around the sizes, six decades at most.

    >>> decades([0.02, 0.5]), decades([])
    ((0.01, 1.0), (0.1, 1.0))
    """
    found = [v for v in sizes if v > 0 and math.isfinite(v)]
    high = math.ceil(math.log10(max(found, default=1.0)))
    low = max(math.floor(math.log10(min(found, default=0.1))), high - 6)
    return 10.0 ** min(low, high - 1), 10.0**high


def nice(v: float) -> float:
    """Return the smallest round number that is at least |v|, as the limit of a scale.

    >>> nice(0.83), nice(1.2), nice(31), nice(0.0)
    (1.0, 1.2, 40.0, 1.0)
    """
    v = abs(v)
    if not (0 < v < math.inf):
        return 1.0
    ten = 10.0 ** math.floor(math.log10(v))
    steps = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
    enough = next((m for m in steps if m * ten >= v * (1 - 1e-9)), 10)
    return float(f"{enough * ten:.6g}")
