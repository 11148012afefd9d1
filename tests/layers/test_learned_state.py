"""Learned initial states: their effect, gradients, streams and checkpoints."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurrent import GRU, LSTM, RNN, Linear, Sequential
from recurrent.conformance.tolerance import assert_close, assert_same_bits, tolerance
from recurrent.engine.bidirectional import REVERSE
from recurrent.optim import SGD
from recurrent.training import checkpoint

pytestmark = pytest.mark.reference

KINDS = {"lstm": LSTM, "gru": GRU, "rnn": RNN}


def layer(kind, both=False, merge="concat", dtype="float64", seed=0, D=3, H=4):
    """Return a layer whose learned initial states are not zeros."""
    made = KINDS[kind](D, H, bidirectional=both, merge=merge, learn_state=True).initialise(
        seed, dtype
    )
    assert not any(made.parameters[n].any() for n in made.initial)
    rng = np.random.default_rng(seed)
    for n in made.initial:
        made.parameters[n][:] = rng.standard_normal(H)
    return made


def test_names_and_shapes():
    assert list(layer("lstm").shapes)[-2:] == ["h0", "c0"]
    both = layer("gru", both=True)
    assert {n: s for n, s in both.shapes.items() if "0" in n.split("_")[0]} == {
        "h0": (4,),
        "h0_reverse": (4,),
    }
    assert both.size == 2 * (KINDS["gru"](3, 4).size + 4)
    assert "learn_state=True" in repr(both)
    with pytest.raises(TypeError, match="learn_state must be True or False, got 1"):
        LSTM(3, 4, learn_state=1)


@given(st.sampled_from(list(KINDS)), st.booleans(), st.booleans(), st.integers(0, 99))
def test_it_equals_passing_the_same_state_to_every_sequence(kind, both, ragged, seed):
    made, rng = layer(kind, both, dtype="float32", seed=seed), np.random.default_rng(seed)
    x = rng.standard_normal((5, 3, 3)).astype(np.float32)
    lengths = rng.integers(0, 6, 3) if ragged else None
    state = made.state_from(
        {s: np.stack([made.parameters[n]] * 3) for n, s in made.initial.items()}
    )
    y, final, tape = made.forward(x, lengths=lengths, record=True)
    y2, final2, tape2 = made.forward(x, state, lengths, record=True)
    assert_same_bits(y, y2)
    for a, b in zip(
        made.state_arrays(final).values(), made.state_arrays(final2).values(), strict=True
    ):
        assert_same_bits(a, b)
    assert_same_bits(made.forward(x[:, 1])[0], made.forward(x)[0][:, 1])
    dy = np.cos(y)
    grads, given = made.backward(dy, tape), made.backward(dy, tape2)
    assert_same_bits(grads.dx, given.dx)
    for n, s in made.initial.items():
        assert_same_bits(grads.params[n], made.state_arrays(given.state)[s].sum(axis=0))
        assert not given.params[n].any(), "a state that is given is no parameter"


@given(st.sampled_from(list(KINDS)), st.booleans(), st.booleans(), st.integers(0, 99))
def test_gradients_by_complex_step(kind, both, ragged, seed):
    made, rng = layer(kind, both, seed=seed), np.random.default_rng(seed)
    T, N = 4, 3
    x, lengths = rng.standard_normal((T, N, 3)), rng.integers(0, T + 1, N) if ragged else None
    y, _, tape = made.forward(x, lengths=lengths, record=True)
    dy = rng.standard_normal(y.shape)
    grads = made.backward(dy, tape).params
    for name, s in made.initial.items():
        for j in range(4):
            arrays = {
                t: np.stack([made.parameters[n]] * N).astype(complex)
                for n, t in made.initial.items()
            }
            arrays[s][:, j] += 1e-30j
            params = made.params_from({n: a.astype(complex) for n, a in made.parameters.items()})
            moved = made.reference_runner().forward(
                x.astype(complex), params, made.state_from(arrays), lengths
            )[0]
            slope = (moved * dy).sum().imag / 1e-30
            assert abs(grads[name][j] - slope) <= tolerance(np.float64, 50 * T * N, 10), (
                f"{name}{REVERSE * both}[{j}]"
            )


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_starts_from_it(kind, dtype):
    made = layer(kind, dtype=dtype)
    x = np.random.default_rng(0).standard_normal((4, 2, 3)).astype(dtype)
    stream, y = made.stream(), made.forward(x)[0]
    for _ in range(2):
        assert_same_bits(np.stack([stream.step(x_t) for x_t in x]), y)
        stream.reset()
    assert_same_bits(stream.step(x[0, 1]), y[0, 1])


def test_a_model_learns_and_keeps_it(tmp_path):
    model = Sequential(LSTM(2, 3, learn_state=True), Linear(3, 1), rng=0, dtype="float64")
    assert_same_bits(model.parameters["0.h0"], np.zeros(3))
    x = np.zeros((1, 5, 2))
    for _ in range(200):
        y, _, tape = model.forward(x, record=True)
        gradient = np.empty_like(model.flat)
        model.backward((y - 0.3) / 5, tape, out=gradient)
        SGD(0.5).update(model.flat, gradient)
    assert model.parameters["0.h0"].any()
    assert model.parameters["0.c0"].any()
    assert_close(model.forward(x)[0], np.full((1, 5, 1), 0.3), 1, 1e6)
    checkpoint.save(tmp_path / "m", checkpoint.Checkpoint(model))
    again = checkpoint.load(tmp_path / "m").model
    assert_same_bits(again.flat, model.flat)
    assert_same_bits(again.forward(x)[0], model.forward(x)[0])
