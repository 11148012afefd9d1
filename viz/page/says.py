"""Reads what a model says at each step: the likeliest classes, or the values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from ..draw import adapt, notation
from ..reading import models
from ..reading.steps import padded_steps
from .packed import Blob
from .stack import Stack
from .tables import symbol

KEPT, SHOWN = 10, 3  # outputs of a step on the page, and those of them above the unrolled network
ORDER = ("likeliest", "second", "third")


@dataclass(frozen=True)
class Says:
    """The outputs of one sequence at T steps, the K largest of V first.

    `places` (T, K) are their numbers, `values` (T, K) their probabilities, or the values themselves
    if the model does not end in class scores. `targets` (T,) are the right classes, -1 if unknown.
    Nothing is said at the `padded` steps. A model that pools says something only after the last
    step: T = 1.
    """

    classes: bool
    names: list[str]
    places: np.ndarray
    values: np.ndarray
    targets: np.ndarray
    padded: frozenset[int]
    steps: bool

    def heard(self, t: int) -> list[tuple[str, float | None, bool]]:
        """Return the name and value of the outputs at a step, and whether each is the target."""
        t = t if self.steps else 0
        if t in self.padded:
            return [("", None, False)] * self.places.shape[1]
        return [
            (self.names[k], float(v), bool(k == self.targets[t]))
            for k, v in zip(self.places[t], self.values[t], strict=True)
        ]


def says_of(stack: Stack, n: int) -> Says | None:
    """Return what a stack says in sequence n; None for several outputs and for other shapes.

    It ends in class scores if the classes have names, or if its targets were classes. Raises
    ValueError for a wrong number of names.
    """
    model, recording = stack.model, stack.recording
    y, place = recording.y, len(model.layers) - 1
    steps = model.has_steps(place)
    batched = not isinstance(y, dict) and np.ndim(y) == (3 if steps else 2)
    if isinstance(y, dict) or np.ndim(y) != batched + 1 + steps:
        return None
    y = np.asarray(y)
    targets = _targets(stack.whole.targets, y.shape)
    known = targets is not None
    if batched:
        y = y[:, n] if steps else y[n]
        targets = targets if targets is None else targets[..., n]
    y = y.astype(np.float64).reshape(-1, y.shape[-1])
    classes = known or adapt.named("classes")
    T, V = y.shape
    if classes:
        with np.errstate(invalid="ignore"):  # of infinite scores
            y = np.exp(y - y.max(-1, keepdims=True))
            y /= y.sum(-1, keepdims=True)
    order = np.argsort(-np.abs(y), axis=-1, kind="stable")[:, : min(V, KEPT)]
    if not classes and V <= KEPT:
        order = np.tile(np.arange(V), (T, 1))
    values = np.take_along_axis(y, order, -1).astype(np.float32)
    right = np.full(T, -1) if targets is None else np.array(targets, np.int64).reshape(T)
    padded = frozenset()
    if steps:
        lengths = models.lengths_of(stack.whole, model.layers[place].owner, stack.first + place)
        padded = padded_steps(lengths, n, T)
        right[sorted(padded)] = -1
    names = [
        symbol(adapt.label("classes", k, V, f"class {k}")) if classes else notation.sub("y", k)
        for k in range(V)
    ]
    return Says(classes, names, order, values, right, padded, steps)


def _targets(targets, shape):
    """Return targets that are classes, or None."""
    if targets is None or isinstance(targets, dict):
        return None
    a = np.asarray(targets)
    return a if a.dtype.kind in "iu" and a.shape == shape[:-1] and shape[-1] > 1 else None


def number(v: float | None, classes: bool) -> str:
    """Return a probability in per cent, or a value with its sign; "" for padding.

    >>> number(0.617, True), number(0.617, False), number(None, True)
    ('62 %', '+0.62', '')
    """
    if v is None:
        return ""
    return f"{100 * v:.0f} %" if classes else notation.signed(v)


def columns(found: Says, shown: Sequence[int]) -> str:
    """Return a table above the unrolled network: a column for each of its steps."""
    if not found.steps:
        return ""
    rows, heard = [], [found.heard(s) for s in shown]
    count = min(SHOWN, found.places.shape[1])
    for r in range(count):
        head = ORDER[r] if found.classes else "" if r else "output"
        cells = "".join(f"<td>{_said(*said[r][:2], found.classes)}</td>" for said in heard)
        rows.append(f'<tr class="said"><th scope="row">{escape(head)}</th>{cells}</tr>')
    if (found.targets >= 0).any():
        names = (found.names[k] if k >= 0 else "" for k in found.targets[list(shown)])
        cells = "".join(f"<td><bdi>{escape(name)}</bdi></td>" for name in names)
        rows.append(f'<tr class="right"><th scope="row">target</th>{cells}</tr>')
    steps = "<col>" + '<col class="step">' * len(shown) + "<col>"
    title = f'<caption class="visually">{title_of(found)} at the drawn steps</caption>'
    return f'<table class="says">{title}{steps}<tbody>{"".join(rows)}</tbody></table>'


def title_of(found: Says) -> str:
    """Return the words for the outputs."""
    return "The likeliest classes" if found.classes else "The outputs"


def _said(name, v, classes):
    picture = _bar(v) if classes else ""
    return f"<bdi>{escape(name)}</bdi> <span>{number(v, classes)}</span>{picture}"


def _bar(probability):
    known = probability is not None and np.isfinite(probability)
    wide = 100 * probability if known else 0.0
    return f'<svg class="plus"><rect width="{wide:.4g}%"/></svg>'


def rules(picture: str, shown: Sequence[int]) -> str:
    """Return CSS that puts the columns of the table above the steps of the unrolled network."""
    wide = float(re.search(r' viewBox="\S+ \S+ (\S+) ', picture)[1])
    left = float(re.search(r"translate\((\S+)[ ,]", picture)[1])
    at = [
        float(
            re.search(rf'id="r-step:{s}"[^>]*>(?:<title>[^<]*</title>)?<text x="([^"]+)"', picture)[
                1
            ]
        )
        for s in shown[:2]
    ]
    pitch = at[1] - at[0] if len(at) > 1 else 2 * 54
    first, step = (100 * size / wide for size in (left + at[0] - pitch / 2, pitch))
    return f".says col:first-child{{width:{first:.2f}%}}.says .step{{width:{step:.2f}%}}"


def everything(found: Says, t: int) -> str:
    """Return the outputs of one step on demand, as bars."""
    kept, V = found.places.shape[1], len(found.names)
    when = f'at t = <span class="now">{t}</span>' if found.steps else "after the last step"
    if found.classes:
        what = f"The {kept} likeliest of {V:,} classes" if kept < V else f"All {V} classes"
    else:
        what = f"The {kept} largest of {V:,} outputs" if kept < V else f"All {V} outputs"
    rows = "".join(
        f'<tr class="output{" target" * target}"><th scope="row"><bdi>{escape(name)}</bdi></th>'
        f"<td>{number(v, True) if found.classes or v is None else notation.exact(v)}</td>"
        f"<td>{_bar(v) if found.classes else ''}</td></tr>"
        for name, v, target in found.heard(t)
    )
    note = ' <span class="note">(the target is bold)</span>' if (found.targets >= 0).any() else ""
    open_ = "" if found.steps else " open"
    return (
        f'<details id="said-all"{open_}><summary>{what} {when}{note}</summary>'
        f'<table class="outputs"><tbody>{rows}</tbody></table></details>'
    )


def known(batch: list[Says | None], blob: Blob) -> dict | None:
    """Return the data from which the page's script updates what the model says."""
    found = [one for one in batch if one is not None]
    if not found:
        return None
    return {
        "classes": found[0].classes,
        "steps": found[0].steps,
        "names": found[0].names,
        "kept": found[0].places.shape[1],
        "runs": [
            {
                "places": blob.put(one.places),
                "values": blob.put(one.values),
                "targets": blob.put(one.targets + 1),
                "padded": sorted(one.padded),
            }
            for one in found
        ],
    }
