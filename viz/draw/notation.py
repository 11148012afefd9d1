"""Text on pictures: numbers, Unicode subscripts, and how wide a line of Helvetica is."""

from __future__ import annotations

import math
import re

_WIDTHS = {  # of 1000, Helvetica's
    "'": 191, "ijl": 222, "|": 260, " .,:;/fIt![]\\": 278, "r-()`·": 333, "{}": 334, '"': 355, "*": 389, "^": 469,
    "cksvxyzJ": 500, "abdeghnopqu0123456789L_#$?": 556, "√": 549, "+<>=~×−±÷": 584, "FTZΣ": 611,
    "ABEKPSVXY&": 667, "wCDHNRU": 722, "GOQ": 778, "mM": 833, "%": 889, "W": 944,
    "…→←↑↓": 1000, "@": 1015, "₀₁₂₃₄₅₆₇₈₉₊₋ₜ": 350,
}  # fmt: skip
_WIDTH = {character: width for characters, width in _WIDTHS.items() for character in characters}
_SUBSCRIPTS = str.maketrans("0123456789+-t", "₀₁₂₃₄₅₆₇₈₉₊₋ₜ")
# Neither XML nor HTML has them, or they turn or break the line they stand in.
_UNSHOWN = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_SPOKEN = {
    "sigmoid": "σ", "add": "+", "sub": "−", "mul": "×", "div": "÷", "neg": "−", "sqrt": "√", "positive": "> 0",
    "projection": "W_hr",
    "product": "W_hh ·",
}  # fmt: skip


def legal(text: str) -> str:
    """A text without control characters, halves of surrogate pairs, and signs that turn the direction of what follows.

    >>> legal("a\\x00b\\u202ec\\ud800\\n")
    'abc\\n'
    """
    return _UNSHOWN.sub("", text)


def sub(name: str, index: int | str) -> str:
    """A name with an index below the line.

    >>> sub("x", 12), sub("c", "t-1")
    ('x₁₂', 'cₜ₋₁')
    """
    return name + str(index).translate(_SUBSCRIPTS)


def signed(v: float) -> str:
    """A value with its sign, as short as a picture wants it.

    >>> signed(-0.456), signed(0.0123), signed(1234.5), signed(-0.00001)
    ('−0.46', '+0.012', '+1e+03', '0')
    """
    v = float(v)
    text = (
        "0"
        if abs(v) < 0.0005
        else f"{v:+.3f}"
        if abs(v) < 0.1
        else f"{v:+.2f}"
        if abs(v) < 100
        else f"{v:+.0e}"
    )
    return text.replace("-", "−")


def plain(v: float) -> str:
    """A value without a sign where it has none."""
    return f"{float(v):.3g}".replace("-", "−")


def exact(v: float) -> str:
    """A value for a tooltip: as many digits as float32 has, in ASCII so that it can be read back."""
    return f"{float(v):.7g}"


def power(v: float) -> str:
    """A power of ten on a key.

    >>> power(1e-4), power(1.0)
    ('1e−4', '1')
    """
    return f"1e{round(math.log10(v))}".replace("-", "−") if v != 1 else "1"


def count(n: int, thing: str) -> str:
    """
    >>> count(1, "unit"), count(1200, "unit")
    ('1 unit', '1,200 units')
    """
    return f"{n:,} {thing}{'s' * (n != 1)}"


def shape(sizes) -> str:
    """
    >>> shape(("T", "N", 5)), shape((10,))
    ('(T, N, 5)', '(10,)')
    """
    sizes = tuple(sizes)
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"


def operation(op: str) -> str:
    """The sign of an operation of a cell's equations; an unknown one is shown by its name."""
    return _SPOKEN.get(op, op)


def width(text: str, size: float) -> float:
    """Points that the longest line of a text takes at a font size. Unknown characters count 0.6 em."""
    return max(sum(_WIDTH.get(c, 600) for c in line) for line in text.split("\n")) * size / 1000
