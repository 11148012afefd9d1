"""Two pictures of one view side by side, on the same scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recurrent import checks

from ..draw import dot, palette
from ..draw.adapt import OPTIONS, Chosen, Scales, using
from ..draw.drawing import Drawing
from .attention import attention
from .cell import cell
from .gradients import gradients
from .layer import layer
from .network import network
from .text import text
from .unit import unit
from .unrolled import unrolled
from .weights import weights

VIEWS: dict[str, Any] = {
    "weights": weights,
    "unit": unit,
    "layer": layer,
    "cell": cell,
    "network": network,
    "unrolled": unrolled,
    "gradients": gradients,
    "attention": attention,
    "text": text,
}
GAP, HEAD = 60, 26
WIDE = 1500  # points; two pictures that are wider together stand one below the other


def compare(
    a: Any,
    b: Any,
    view: str = "weights",
    names: Sequence[str] = ("first", "second"),
    **options: Any,
) -> Drawing:
    """Draw two layers, or two moments of training, side by side on one scale.

    Wide pictures stand one below the other.

    Parameters
    ----------
    a, b : layer, model or tuple
        What the view draws; or a tuple of its first arguments, such as `(layer, 3)` for "unit" or
        `(model, recording)` for "gradients".
    view : str
        "weights", "unit", "layer", "cell", "network", "unrolled", "gradients", "attention" or
        "text".
    names : sequence of str
        What the two pictures are called.
    **options : Any
        Options of the view, for both pictures; and `title`, `labels`, `width`, `palette` and
        `dark`, which `viz.Look` explains.

    Returns
    -------
    Drawing

    Raises
    ------
    TypeError
        If the view does not draw `a` or `b`, or does not have an option.
    ValueError
        If the view is unknown, or an option or `names` does not fit.

    Examples
    --------
    >>> import viz
    >>> from recurrent import LSTM
    >>> before, after = LSTM(2, 3), LSTM(2, 3)
    >>> viz.compare(before, after, names=["before", "after"], title="Training").title
    'Training'
    """
    draw = VIEWS[checks.choice(view, "view", VIEWS)]
    checks.labels(names, "names")
    if len(names) != 2:
        raise ValueError(f"names must be two, one for each picture, got {len(names)}")
    look: Any = {name: options.pop(name) for name in OPTIONS if name in options}
    outer = Chosen(look)
    inner: Any = {**look, "title": None, "width": None}
    pairs = [one if isinstance(one, tuple) else (one,) for one in (a, b)]
    drawings, scales = [], Scales()
    for _ in range(2):  # the second time, each knows the scales of both
        with using(Chosen(inner, scales)):
            drawings = [draw(*arguments, **options) for arguments in pairs]
    with using(outer):
        title = "; ".join(f"{n}: {d.title}" for n, d in zip(names, drawings, strict=True))
        words = " ".join(f"{n}: {d.description}" for n, d in zip(names, drawings, strict=True))
        return Drawing.from_items(title, words, _beside(names, drawings))


def _beside(names: Sequence[str], drawings: list[Drawing]) -> list[dot.Item]:
    """Return the items of two drawings with their names, without a common place or name."""
    stacked = sum(d.size[0] for d in drawings) > WIDE
    items, x, y = [], 0.0, 0.0
    for k, (name, drawing) in enumerate(zip(names, drawings, strict=True)):
        boxes = [i.reach or i.box for i in drawing.items]
        left, top = min(box[0] for box in boxes), max(box[3] for box in boxes)
        items.append(dot.text((x, y), name, 14, palette.INK, "start", name=f"name:{k}"))
        items += [dot.moved(i, x - left, y - HEAD - top, f"{k}:") for i in drawing.items]
        if stacked:
            y = min(i.box[1] for i in items) - GAP
        else:
            x = max((i.reach or i.box)[2] for i in items) + GAP
    return items
