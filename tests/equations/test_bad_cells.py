"""Cells that cannot be: one line at the declaration, however large the graph."""

import copy
import pickle

import numpy as np
import pytest

from recurrent import Recurrent, cell, gradcheck
from recurrent.cells import CELLS, clip, maximum, tanh, trace_cell
from recurrent.equations.expressions import topological

pytestmark = pytest.mark.reference


def plain(x, h, previous):
    return dict(g=x.g, h=x.g + h.g)


def returning(**changes):
    """Equations of a gate g and a state h, of which some are replaced."""
    return lambda x, h, previous: plain(x, h, previous) | changes


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (dict(gates="g g"), "gates must differ from each other, got 'g' twice"),
        (dict(states="h h"), "states must differ from each other, got 'h' twice"),
        (dict(parameters="w w"), "parameters must differ from each other, got 'w' twice"),
        (dict(parameters="w", scalars="w"), "parameters and scalars must differ .* got 'w' twice"),
        (dict(inputs="dt dt"), "inputs must differ from each other, got 'dt' twice"),
        (dict(inputs="g"), "gates and inputs must differ from each other, got 'g' twice"),
        (dict(inputs="a.b"), "inputs must be Python names"),
        (dict(initial={"v": 1}), "initial must hold some of g, W_ih, W_hh, W_hr, b_ih, b_hh, got"),
        (dict(initial={"g": (1, 2, 3)}), r"initial\['g'\] must be a number or the two ends"),
        (dict(initial={"g": (2, 1)}), r"initial\['g'\] must be \(low, high\)"),
        (dict(parameters="W_ih"), "parameters must not have the name 'W_ih', which layers use"),
        (dict(parameters="weight_hh"), "parameters must not have the name 'weight_hh'"),
        (dict(states="h dropped"), "states must not have the name 'dropped'"),
        (dict(states="h h_reverse"), "states must not have the name 'h_reverse'"),
        (dict(parameters="zoneout_h"), "parameters must not have the name 'zoneout_h'"),
        (dict(parameters="class"), "parameters must be Python names"),
        (dict(states="h c.d"), "states must be Python names"),
        (dict(gates="a.b"), "gates must be Python names"),
        (dict(gates="_g"), "gates must be Python names"),
        (dict(biases=3), "biases must be at most 2, got 3"),
    ],
)
def test_names(names, message):
    with pytest.raises(ValueError, match=rf"\Acell bad: {message}[^\n]*\Z"):
        cell("bad", **{"gates": "g", "states": "h"} | names)(plain)
    assert "bad" not in CELLS


@pytest.mark.parametrize(
    ("equations", "error", "message"),
    [
        (returning(h=1), ValueError, "the state h is always 1; a state must depend on"),
        (returning(h=None), TypeError, "must return a scalar for h, .* got NoneType"),
        (returning(h="x"), TypeError, "must return a scalar for h, .* got str"),
        (returning(h=float("nan")), ValueError, "must be finite, got nan"),
        (5, TypeError, r"the equations must be a function such as f\(x, h, previous\), got int"),
        (dict, TypeError, "the equations must be a function such as .*, got the class dict"),
        (lambda x, h, p: dict(g=x.g, h=x.g == 0), TypeError, "cannot compare values for equality"),
        (lambda x, h, p: dict(g=x.g, h=x.g // 2), TypeError, "x - x % 1 rounds down"),
        (lambda x, h, p: dict(g=x.g, h=~(x.g > 2)), TypeError, "1 - a is `not`"),
        (lambda x, h, p: dict(g=x.g, h=round(x.g)), TypeError, "have .* abs, >, >=, < and <= only"),
        (lambda x, h, p: dict(g=x.g, h=x.g if 0 < x.g < 1 else 0), TypeError, "use where"),
        (lambda x, h, p: dict(g=x.g, h=int(x.g)), TypeError, "cannot become numbers"),
        (lambda x, h, p: dict(g=x.g, h=x.g ** "2"), TypeError, "numbers, got str"),
        (lambda x, h, p: dict(g=x.g, h=x.g ** float("inf")), ValueError, "must be finite, got inf"),
        (lambda x, h, p: dict(g=x.g, h=(-2) ** x.g), ValueError, "must be above 0, got -2"),
        (lambda x, h, p, *, k: dict(g=x.g, h=x.g), TypeError, "hyper-parameter k needs a default"),
        (lambda x, h, p, *, k=None: dict(g=x.g, h=x.g), TypeError, "must be a number, .* NoneType"),
        (lambda x, h, p: dict(g=x.g, h=clip(x.g, "a")), TypeError, "limit must be a number"),
    ],
)
def test_equations(equations, error, message):
    with pytest.raises(error, match=rf"\A[^\n]*{message}[^\n]*\Z"):
        cell("bad", "g", "h")(equations)
    assert "bad" not in CELLS


def chain(operations):
    """Equations that are this many operations deep; the first sum belongs to the products."""

    def equations(x, h, previous):
        g = x.g + h.g
        for k in range(operations):
            g = tanh(g) if k % 2 else maximum(g, -0.5)
        return dict(g=g, h=g)

    return equations


def test_deep_equations():
    """A graph that is deeper than Python's stack with its derivatives is traced and checked."""
    deep = trace_cell("deep", "g", "h", register=False)(chain(500))
    assert len(topological(deep.backward.d_accumulators)) > 1000
    layer = Recurrent(deep, 2, 3).initialise(0, "float64")
    layer.engine = layer.runner = layer.engine.reference
    assert gradcheck(layer, np.random.default_rng(0).standard_normal((2, 1, 2)), entries=2)
    assert pickle.loads(pickle.dumps(deep)).digest == copy.deepcopy(deep).digest == deep.digest
    assert len(deep.graph().nodes) > 500
    assert repr(deep.values["h"]) == "tanh(max(tanh(max(tanh(...), -0.5)), -0.5))"


@pytest.mark.parametrize("operations", [501, 900, 20_000])
def test_too_many_operations(operations):
    message = rf"\Acell bad: the equations have {operations:,} operations, more than the 500 that"
    with pytest.raises(ValueError, match=message):
        cell("bad", "g", "h")(chain(operations))


def test_a_gate_may_be_a_constant():
    """Unlike a state, which would have no gradient."""
    constant = trace_cell("constant gate", "g k", "h", register=False)(
        lambda x, h, previous: dict(g=x.g, k=0.5, h=0.5 * previous.h + x.g + h.g)
    )
    layer = Recurrent(constant, 2, 3)
    layer.engine = layer.runner = layer.engine.reference
    tape = layer.forward(np.ones((2, 1, 2), np.float32), record=True)[2]
    assert (tape.gates["k"] == 0.5).all()
