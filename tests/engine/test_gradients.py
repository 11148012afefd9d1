"""Gradients against complex steps and central differences; other tests use PyTorch and JAX."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gradients import (
    assert_central,
    assert_gradients,
    assert_projection,
    complex_step,
    random_direction,
    same_side_of_the_kink,
)
from support.strategies import Case, cases

from recurrent.cells import PYTORCH
from recurrent.conformance.tolerance import assert_close

pytestmark = pytest.mark.reference

LAYOUTS = [
    Case(T=3, N=2, D=3, H=4),
    Case(T=3, N=2, D=2, H=3, initial=False),
    Case(T=4, N=3, D=2, H=3, ragged=True, seed=3),
    Case(T=3, N=3, D=2, H=2, ragged=True, reverse=True, seed=1),
]


@pytest.mark.parametrize(
    "case", LAYOUTS, ids=["plain", "no-initial-state", "ragged", "ragged-reverse"]
)
def test_every_entry_by_complex_step(engine, case):
    p = case.build(engine)
    assert_gradients(p.gradients(), complex_step(p), p)


@given(st.data())
def test_projection_by_complex_step(engine, data):
    p = data.draw(cases("float64")).build(engine)
    assert_projection(p.gradients(), p, random_direction(p))


# Central differences straddle the kink of relu; its gradients are checked entry by entry above.
@pytest.mark.parametrize("engine", [name for name in PYTORCH if name != "rnn_relu"], indirect=True)
@given(st.data())
def test_central_differences_on_the_engine(engine, data):
    p = data.draw(cases("float64", scale=1.0)).build(engine)
    assert_central(p.gradients(), p, random_direction(p))


@given(st.data())
def test_float32_gradients_are_the_rounded_float64_ones(engine, data):
    p = data.draw(cases("float32")).build(engine)
    exact = p.case.build(engine)
    for name in ("x", "dy"):
        setattr(exact, name, getattr(p, name).astype(float))
    exact.params = engine.Params(*[a.astype(float) for a in p.params])
    if p.state is not None:
        exact.state, exact.dstate = (
            engine.State(*[a.astype(float) for a in s]) for s in (p.state, p.dstate)
        )
    if same_side_of_the_kink(engine, p.forward()[0], exact.forward()[0]):
        assert_gradients(p.gradients(), exact.gradients(), p)


# dh / dc of cells whose h depends on the new c.
WITHIN = {
    "lstm": lambda a: a["o"] * (1 - np.tanh(a["c"]) ** 2),
    "qrnn": lambda a: a["o"],
    "sru": lambda a: a["r"],
}


def test_state_gradients_of_every_step(engine):
    """dL/d(state after step t) equals the initial gradient of the same sequence cut at step t."""
    p = Case(T=4, N=3, D=2, H=3).build(engine)
    state_gradients = {}
    tape = p.forward(record=True)[2]
    engine.backward(p.dy, tape, p.dstate, state_gradients=state_gradients)
    for t in range(1, 4):
        before = p.forward(x=p.x[:t])[1]
        rest = p.forward(x=p.x[t:], state=before, record=True)[2]
        d = engine.backward(p.dy[t:], rest, p.dstate)[2]
        d = d._replace(h=d.h + p.dy[t - 1])
        if engine.name in WITHIN:  # the effect of c on h of the same step counts too
            values = {n: a[t - 1] for n, a in {**tape.gates, **tape.states}.items()}
            d = d._replace(c=d.c + d.h * WITHIN[engine.name](values))
        for name, a in d._asdict().items():
            assert_close(state_gradients[name][t - 1], a, p.terms, max(1.0, np.abs(a).max()), name)


def wrong(kind, g, p):
    """Return the gradients with one planted mistake."""
    g = {n: a.copy() for n, a in g.items()}
    H = p.case.H
    if kind == "zero":
        g["W_hh"][:] = 0
    elif kind == "off by 1.001":
        g["W_ih"] *= 1.001
    elif kind == "bias off by 1.001":
        g["b_hh"] *= 1.001
    elif kind == "transposed":
        g["W_hh"][:H] = g["W_hh"][:H].T.copy()
    elif kind == "shifted by a step":
        g["x"] = np.roll(g["x"], 1, axis=0)
    elif kind == "gates swapped":
        g["W_ih"][: 2 * H] = np.concatenate([g["W_ih"][H : 2 * H], g["W_ih"][:H]])
    elif kind == "one entry":
        g["W_ih"][-1, 0] *= 1.001
    elif kind == "without step 0":
        last = p.forward(x=p.x[:1])[1]
        tape = p.forward(x=p.x[1:], state=last, lengths=None, record=True)[2]
        _, dparams, _ = p.engine.backward(p.dy[1:], tape, p.dstate)
        g.update(dparams._asdict())
    return g


MISTAKES = ["zero", "off by 1.001", "transposed", "shifted by a step", "without step 0"]


@pytest.mark.parametrize("engine", PYTORCH, indirect=True)  # the mistakes are made in W_hh
@pytest.mark.parametrize("kind", [*MISTAKES, "bias off by 1.001", "one entry"])
def test_the_checker_rejects(engine, dtype, kind):
    reject(engine, dtype, kind)


@pytest.mark.parametrize(
    "engine", [name for name, cell in PYTORCH.items() if len(cell.x_gates) > 1], indirect=True
)
def test_the_checker_rejects_swapped_gates(engine, dtype):
    reject(engine, dtype, "gates swapped")


def reject(engine, dtype, kind):
    p = Case(T=3, N=2, D=3, H=4, dtype=dtype).build(engine)
    g = p.gradients()
    expected = complex_step(p) if dtype == "float64" else p.gradients(engine.reference)
    assert_gradients(g, expected, p)
    with pytest.raises(AssertionError, match="gradient of"):
        assert_gradients(wrong(kind, g, p), expected, p)


@pytest.mark.parametrize("engine", PYTORCH, indirect=True)  # the mistakes are made in W_hh
@pytest.mark.parametrize("check", [assert_projection, assert_central])
@pytest.mark.parametrize("kind", MISTAKES)
def test_the_projections_reject(engine, kind, check):
    p = Case(T=3, N=2, D=3, H=4).build(engine)
    direction, g = random_direction(p), p.gradients()
    check(g, p, direction)
    with pytest.raises(AssertionError, match="along a direction"):
        check(wrong(kind, g, p), p, direction)
