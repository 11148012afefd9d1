"""Text on pictures: numbers, Unicode subscripts, and the width of a line in Helvetica."""

from __future__ import annotations

import math
import re
import unicodedata

_WIDTHS = {  # of Helvetica, in thousandths of the font size
    "'": 191, "ijl": 222, "|": 260, " .,:;/fIt![]\\": 278, "r-()`·": 333, "{}": 334, '"': 355,
    "*": 389, "^": 469,
    "cksvxyzJ": 500, "abdeghnopqu0123456789L_#$?": 556, "√": 549, "+<>=~×−±÷": 584, "FTZΣ": 611,
    "ABEKPSVXY&": 667, "wCDHNRU": 722, "GOQ": 778, "mM": 833, "%": 889, "W": 944,
    "…→←↑↓": 1000, "@": 1015, "₀₁₂₃₄₅₆₇₈₉₊₋ₜ": 350,
}  # fmt: skip
_WIDTH = {character: width for characters, width in _WIDTHS.items() for character in characters}
_SUBSCRIPTS = str.maketrans("0123456789+-t", "₀₁₂₃₄₅₆₇₈₉₊₋ₜ")
# All but these are illegal in XML or HTML, or reverse or break the line they stand in.
_UNSHOWN = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufefe\uff00-\ufffd"
    "\U00010000-\U0010ffff]"
)
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # Unicode categories without a glyph
_SIGNS = {
    "sigmoid": "σ", "add": "+", "sub": "−", "mul": "×", "div": "÷", "neg": "−", "sqrt": "√",
    "positive": "> 0", "greater": ">", "at_least": "≥", "remainder": "mod", "projection": "W_hr",
    "product": "W_hh ·",
}  # fmt: skip


def legal(text: str) -> str:
    """Return a text without control characters, lone surrogates and directional marks.

    >>> legal("a\\x00b\\u202ec\\ud800\\n")
    'abc\\n'
    """
    return _UNSHOWN.sub("", text)


def sub(name: str, index: int | str) -> str:
    """Return a name with a subscript.

    >>> sub("x", 12), sub("c", "t-1")
    ('x₁₂', 'cₜ₋₁')
    """
    return name + str(index).translate(_SUBSCRIPTS)


def signed(v: float) -> str:
    """Return a value with its sign: two or three decimals, or a power of ten from 100 on.

    >>> signed(-0.456), signed(0.0123), signed(1234.5), signed(-0.00001)
    ('−0.46', '+0.012', '+1e+03', '0')
    """
    v = float(v)
    if abs(v) < 0.0005:
        return "0"
    style = "+.3f" if abs(v) < 0.1 else "+.2f" if abs(v) < 100 else "+.0e"
    return format(v, style).replace("-", "−")


def plain(v: float) -> str:
    """Return a value in three significant digits, with a sign only if it is negative."""
    return f"{float(v):.3g}".replace("-", "−")


def exact(v: float) -> str:
    """Return a value for a tooltip: the digits of float32, in ASCII so that it can be parsed."""
    return f"{float(v):.7g}"


def power(v: float) -> str:
    """Return a power of ten for a key.

    >>> power(1e-4), power(1.0)
    ('1e−4', '1')
    """
    return f"1e{round(math.log10(v))}".replace("-", "−") if v != 1 else "1"


def count(n: int, thing: str) -> str:
    """Return a count with its noun in the singular or plural.

    >>> count(1, "unit"), count(1200, "unit")
    ('1 unit', '1,200 units')
    """
    return f"{n:,} {thing}{'s' * (n != 1)}"


def shape(sizes) -> str:
    """Return a shape as NumPy writes it.

    >>> shape(("T", "N", 5)), shape((10,))
    ('(T, N, 5)', '(10,)')
    """
    sizes = tuple(sizes)
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"


def short(text: str, most: int = 28) -> str:
    """Return a name with "…" for what precedes its last characters if it has more than `most`.

    >>> short("encoder.lstm"), short("model.encoder.blocks.0.lstm", 12)
    ('encoder.lstm', '…ocks.0.lstm')
    """
    return text if len(text) <= most else f"…{text[1 - most :]}"


def fit(text: str, size: float, room: float) -> str:
    """Return a text that is at most `room` points wide, with "…" for what is cut off.

    >>> fit("wind", 10, 60), fit("temperature outside", 10, 60)
    ('wind', 'temperatur…')
    """
    if width(text, size) <= room:
        return text
    while text and width(f"{text}…", size) > room:
        text = text[:-1]
    return f"{text}…"


def operation(op: str) -> str:
    """Return the sign of an operation of a cell's equations, or its name if it has none."""
    return _SIGNS.get(op, op)


def visible(c: str) -> str:
    """Return the text that shows a character in a picture.

    >>> visible("a"), visible(" "), visible(chr(10)), visible(chr(7))
    ('a', '', '¶', '□')
    """
    if c == "\n":
        return "¶"
    if c == "\t":
        return "→"
    if c.isspace():
        return ""
    return "□" if unicodedata.category(c) in _HIDDEN else c


def character(c: str) -> str:
    """Return a character for a tooltip, an invisible one by its code point.

    >>> character("a"), character(chr(10))
    ("'a'", 'U+000A')
    """
    return f"'{c}'" if c == visible(c) else f"U+{ord(c):04X}"


def width(text: str, size: float) -> float:
    """Return the width in points of the longest line; unknown characters count 0.6 em."""
    return max(sum(_WIDTH.get(c, 600) for c in line) for line in text.split("\n")) * size / 1000
