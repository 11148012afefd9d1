"""The factors that viz.cell writes beside its wires compute the derivatives they stand for."""

import math
import re

import numpy as np
import pytest

from recurrent.cells import CELLS
from recurrent.equations.expressions import CROSS_UNIT
from recurrent.equations.expressions import evaluate as values_of
from viz.reading import evaluate

FUNCTIONS = {
    "σ": lambda v: 1 / (1 + math.exp(-v)), "tanh": math.tanh, "exp": math.exp, "max": max,
    "min": min, "mod": math.fmod, "softplus": lambda v: math.log1p(math.exp(v)),
    "relu": lambda v: max(v, 0.0), "√": math.sqrt, "log": math.log, "sin": math.sin,
    "cos": math.cos,
}  # fmt: skip


def computed(text, values):
    """Return the number that a written formula stands for, read as a person reads it."""
    known = "|".join(map(re.escape, sorted(values, key=len, reverse=True)))
    known = rf"(?<![\w.])(?:{known})(?![A-Za-z_₀-₉₋])"
    pieces, names = re.split(known, text), re.findall(known, text)
    for old, new in (
        ("−", "-"), ("×", "*"), ("²", "**2"), ("≥", ">="), ("[", "("), ("]", ")"),
        ("√", "root"), ("σ", "sigmoid"),
    ):  # fmt: skip
        pieces = [piece.replace(old, new) for piece in pieces]
    code = "".join(
        f"{piece}{f'v[{name!r}]' if name else ''}"
        for piece, name in zip(pieces, [*names, ""], strict=True)
    )
    functions = FUNCTIONS | {"root": FUNCTIONS["√"], "sigmoid": FUNCTIONS["σ"]}
    return float(eval(code, {"__builtins__": {}}, functions | {"v": values}))


@pytest.mark.parametrize("name", CELLS)
def test_written_factors_compute_the_derivatives(name):
    cell, rng = CELLS[name], np.random.default_rng(0)
    names, graph = evaluate.node_names(cell), cell.graph()
    # Names alone are read as numbers; formulas of them are read as formulas.
    scalars = [n for n in graph.nodes if n.kind not in ("vector", "const")]
    plain = {
        n.id for n in scalars if n.kind in CROSS_UNIT or re.fullmatch(r"[\w.₀-₉ₜ₊₋]+", names[n.id])
    }
    written = {names[k]: float(rng.uniform(0.2, 0.9)) for k in plain}
    numbers = {n.id: computed(names[n.id], written) for n in graph.nodes if n.kind != "vector"}
    local = evaluate.local_derivatives(cell)
    assert any(local.values())
    for node, factors in local.items():
        for source, e in factors:
            leaves = {leaf: np.float64(numbers[leaf.name]) for leaf in evaluate._leaves(e)}
            expected = values_of([e], leaves, np.float64)[0]
            text = evaluate.spell(e, names)
            assert computed(text, written) == pytest.approx(float(expected)), (node, source, text)
            assert "÷(" not in text
            assert ">(" not in text
