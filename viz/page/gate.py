"""The gate level of a page: the contributions to a dot product as bars, and as a table."""

from __future__ import annotations

from html import escape
from typing import NamedTuple

import numpy as np

from ..draw import notation
from ..reading.dot_product import ALL, KEPT
from ..reading.wiring import Neuron
from .names import called
from .run import LayerRun
from .tables import bin_of, caption

HALF = 50  # per cent of its cell: the longest bar


class Term(NamedTuple):
    """A drawn input of a unit: slot `s` of group `g`, input `k`; its weight, value and product."""

    g: str
    s: int
    k: int
    weight: float
    value: float
    product: float


def terms(run: LayerRun, a: Neuron, u: int, t: int) -> list[Term]:
    """Return the terms of the drawn inputs of a neuron, in the order of the inputs."""
    found = []
    for g, source in (("x", run.x[t]), ("h", run.before(t))):
        for s, k in enumerate(run.slots[g][u] if g in run.weights[a.id] else ()):
            w, v = float(run.weights[a.id][g][u, s]), float(source[k])
            found.append(Term(g, s, int(k), w, v, w * v))
    return found


def rows_of(run: LayerRun, a: Neuron) -> int:
    """Return the number of terms with a bar of their own; the others share one."""
    count = sum(run.slots[g].shape[1] for g in run.weights[a.id])
    return count if count <= ALL else KEPT


def missing(run: LayerRun, a: Neuron) -> int:
    """Return the number of inputs of a neuron that are not on the page."""
    sizes = {"x": run.D, "h": run.H}
    return sum(sizes[g] - run.slots[g].shape[1] for g in run.weights[a.id])


def longest(run: LayerRun, a: Neuron, u: int) -> float:
    """Return the largest |term| of a neuron over all steps, which has the longest bar."""
    found = [abs(float(run.biases[a.id][u]))]
    for t in range(run.T):
        found += [abs(term.product) for term in terms(run, a, u, t)]
    return max((v for v in found if np.isfinite(v)), default=0.0) or 1.0


def rest_by_value(a: Neuron, value: float, known: float) -> float:
    """Return what a neuron's value leaves for the inputs that are not on the page, or NaN.

    It is the inverse of the activation less the `known` part of the sum; it is NaN for activations
    without an inverse, and where rounding of the value would show.
    """
    slope = {"σ": value * (1 - value), "tanh": 1 - value * value, "": 1.0}.get(a.operation, 0.0)
    if not slope > 1e-5:
        return float("nan")
    inverse = {"σ": lambda v: np.log(v / (1 - v)), "tanh": np.arctanh, "": float}[a.operation]
    return float(inverse(value)) - known


def neuron(run: LayerRun, a: Neuron, u: int, t: int) -> str:
    """Return a neuron's bars, the largest first, and all its drawn terms as a table."""
    return (
        f'<div class="dot" data-neuron="{escape(a.id)}">{caption(run, a.name, u, t, a.label)}'
        f'<div class="sideways" tabindex="0" role="region" aria-label="{escape(a.name)}: bars">'
        f"{_bars(run, a, u, t)}</div>"
        "<details><summary>All drawn inputs in order, with every digit</summary>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(a.name)}: numbers">'
        f"{_table(run, a, u, t)}</div></details></div>"
    )


def _value(run, a, u, t):
    """Return the value that a neuron computes, or None if it is not recorded by itself."""
    return next((float(q.a[t, u]) for q in run.quantities if a.value and q.key == a.value), None)


def _bars(run, a, u, t):
    most, bias = longest(run, a, u), float(run.biases[a.id][u])
    ranked = sorted(terms(run, a, u, t), key=lambda term: -abs(term.product))
    count, value = rows_of(run, a), _value(run, a, u, t)
    body = "".join(_bar_row(run, term, most) for term in ranked[:count])
    total = sum(term.product for term in ranked) + bias
    rest = [("bias", "bias", bias)]
    if ranked[count:]:
        words = f"{len(ranked) - count} smaller ones"
        rest.insert(0, ("smaller", words, sum(term.product for term in ranked[count:])))
    if run.elided and missing(run, a):
        found = float("nan") if value is None else rest_by_value(a, value, total)
        rest.append(("missing", f"{missing(run, a):,} not on this page", found))
        total += found
    body += "".join(_sum_row(*row, most) for row in rest)
    out = [_sum_row("total", "Σ", total, most)]
    if value is not None and a.operation:
        words = f"{a.operation}(Σ) = {a.value}, recorded"
        out.append(_row("gate", escape(words), notation.plain(value)))
    heads = _heads("input", "value", "weight", "weight × value")
    limit = f'<td>to ± <span class="most">{notation.plain(most)}</span></td>'
    return (
        f'<table class="bars"><thead><tr>{heads}{limit}</tr></thead><tbody>{body}</tbody>'
        f"<tfoot>{''.join(out)}</tfoot></table>"
    )


def _heads(*names):
    return "".join(f'<th scope="col">{name}</th>' for name in names)


def _bar_row(run, term, most):
    group = "x" if term.g == "x" else run.first
    name = _chip(called(run, term.g, term.k), bin_of(term.value, run.limits[group]))
    weight = _chip(notation.signed(term.weight), bin_of(term.weight, run.limit))
    cells = (notation.signed(term.value), weight, notation.signed(term.product))
    cells = "".join(f"<td>{text}</td>" for text in (*cells, bar(term.product, most)))
    return f'<tr class="term"><th>{name}</th>{cells}</tr>'


def _chip(text, colour):
    return f'<b class="s{colour}">{text}</b>'


def _sum_row(kind, words, v, most):
    unknown = np.isnan(v) and kind in ("missing", "total")
    text, look = ("?", " quiet") if unknown else (notation.signed(v), "")
    return _row(kind, words, text, bar(v, most, look))


def _row(kind, words, number, picture=""):
    return (
        f'<tr class="{kind}"><th scope="row" colspan="3">{words}</th><td>{number}</td>'
        f"<td>{picture}</td></tr>"
    )


def bar(v: float, most: float, look: str = "") -> str:
    """Return a bar from the middle to the right, or to the left if negative.

    >>> bar(-0.5, 1.0)
    '<svg class="minus"><rect x="25%" width="25%"/></svg>'
    """
    long = HALF * min(abs(v) / most, 1.0) if np.isfinite(v) else HALF
    left, long = (f"{size:.4g}%" for size in (HALF if v > 0 else HALF - long, long))
    return (
        f'<svg class="{"plus" if v > 0 else "minus"}{look}"><rect x="{left}" width="{long}"/></svg>'
    )


def _table(run, a, u, t):
    rows, found = [], terms(run, a, u, t)
    for g, _, k, w, v, product in found:
        name = called(run, g, k)
        cells = "".join(f"<td>{notation.exact(n)}</td>" for n in (w, v, product))
        rows.append(f"<tr><th>{name}</th>{cells}</tr>")
    total = float(run.biases[a.id][u]) + sum(term.product for term in found)
    bias, value = notation.exact(run.biases[a.id][u]), _value(run, a, u, t)
    what = "sum of the drawn inputs" if run.elided else "pre-activation"
    after = ""
    if value is not None:
        after = (
            f'<tr><th scope="row">{escape(a.operation or "out")}</th><td></td><td></td>'
            f'<td class="out">{notation.exact(value)}</td></tr>'
        )
    heads = _heads("input", "weight", "value", "weight × value")
    return (
        f'<table class="terms"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody><tfoot>'
        f'<tr><th scope="row">bias</th><td></td><td></td><td class="bias">{bias}</td></tr>'
        f'<tr><th scope="row">{what}</th><td></td><td></td>'
        f'<td class="sum">{notation.exact(total)}</td></tr>{after}</tfoot></table>'
    )
