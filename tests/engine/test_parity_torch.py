"""Parity with PyTorch: outputs, states and every gradient, from the same weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.torch import MODULES, module, run, torch
from support.gradients import assert_gradients, same_side_of_the_kink
from support.strategies import Case, cases

from recurrent import GRU, LSTM, RNN, Directions, Embedding, Linear, Sequential
from recurrent.conformance.tolerance import assert_close
from recurrent.engine.bidirectional import MERGES

LAYERS = {
    "rnn": RNN,
    "rnn_relu": lambda D, H: RNN(D, H, nonlinearity="relu"),
    "lstm": LSTM,
    "gru": GRU,
}
of_torch = pytest.mark.parametrize("engine", MODULES, indirect=True)


def check(engine, case):
    p = case.build(engine)
    if p.lengths is not None:
        p.lengths = np.maximum(p.lengths, 1)
    y, final, _ = p.forward()
    m = module(engine.name, case.D, case.H, [p.params])
    states, dstates = stacked(p.state), stacked(p.dstate)
    their_y, their_final, dx, d_states = run(
        m, p.x, states, p.lengths, p.dy, dstates, case.merge or "concat"
    )
    size = max(1.0, np.abs(their_y).max())
    assert_close(y, their_y, p.terms, size, f"y in {case}")
    for a, b in zip(stacked(final), their_final, strict=True):
        assert_close(a, b, p.terms, max(1.0, np.abs(b).max()), f"final state in {case}")
    if not same_side_of_the_kink(engine, y, their_y):
        return
    grads, theirs = p.gradients(), {"x": dx}
    ends = ("", "_reverse") if case.merge else ("",)
    theirs |= zip(
        [f"{n}{end}" for end in ends for n in engine.Params._fields],
        [w.grad.numpy() for w in m.parameters()],
        strict=True,
    )
    for s, d in zip(engine.State._fields, d_states, strict=bool(states)):
        theirs |= zip([f"{s}{end}" for end in ends], d, strict=True)
    assert_gradients({n: g for n, g in grads.items() if n in theirs}, theirs, p)


def stacked(state):
    """Return the arrays of a state as in PyTorch, (1, N, H), or (2, N, H) if bidirectional."""
    return [
        np.stack(a)
        for a in (
            zip(*state, strict=True)
            if isinstance(state, Directions)
            else ([a] for a in state or ())
        )
    ]


@of_torch
@given(st.data())
def test_one_layer(engine, dtype, data):
    check(engine, data.draw(cases(dtype, reverse=False, T=st.integers(1, 12))))


@of_torch
@given(st.data())
def test_both_directions(engine, dtype, data):
    # Merged outputs do not show on which side of relu's kink each direction was.
    merges = ["concat"] if engine.name == "rnn_relu" else list(MERGES)
    check(
        engine,
        data.draw(cases(dtype, reverse=False, T=st.integers(1, 12), merge=st.sampled_from(merges))),
    )


@of_torch
@pytest.mark.parametrize("H", [1, 16, 33, 128])
@pytest.mark.parametrize("merge", [None, "concat"])
def test_one_layer_at_common_sizes(engine, dtype, H, merge):
    check(engine, Case(T=20, N=9, D=24, H=H, dtype=dtype, ragged=True, merge=merge))


@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("initial", [False, True], ids=["zeros", "initial"])
@pytest.mark.parametrize("name", list(LAYERS))
def test_two_stacked_layers(name, initial, ragged, dtype):
    T, N, D, H = 7, 5, 6, 17
    rng = np.random.default_rng(3)
    model = Sequential(LAYERS[name](D, H), LAYERS[name](H, H), rng=1, dtype=dtype)
    x = rng.standard_normal((T, N, D)).astype(dtype)
    dy = rng.standard_normal((T, N, H)).astype(dtype)
    lengths = rng.integers(1, T + 1, N) if ragged else None
    State = model[0].engine.State
    states, dstates = (
        rng.standard_normal((len(State._fields), 2, N, H)).astype(dtype) for _ in range(2)
    )
    state = [State(*states[:, k]) for k in range(2)] if initial else None
    y, final, tape = model.forward(x, state, lengths, record=True)
    grads = model.backward(dy, tape, [State(*dstates[:, k]) for k in range(2)])

    m = module(name, D, H, [model[0].params, model[1].params])
    their_y, their_final, dx, d_states = run(
        m, x, list(states) if initial else [], lengths, dy, list(dstates)
    )
    terms = 2 * T * (D + 4 * H)
    assert_close(y, their_y, terms, max(1.0, np.abs(their_y).max()))
    for s, theirs in enumerate(their_final):
        for k in range(2):
            assert_close(final[k][s], theirs[k], terms, max(1.0, np.abs(theirs).max()))
    assert_close(grads.dx, dx, terms, max(1.0, np.abs(dx).max()), "dx")
    for k in range(2):
        for weight in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            theirs = getattr(m, f"{weight}_l{k}").grad.numpy()
            ours = grads.params[f"{k}.{weight}_l0"]
            assert_close(
                ours, theirs, terms + T * N, max(1.0, np.abs(theirs).max()), f"layer {k} {weight}"
            )
    for s, theirs in enumerate(d_states):
        for k in range(2):
            assert_close(
                grads.state[k][s], theirs[k], terms, max(1.0, np.abs(theirs).max()), "initial state"
            )


@pytest.mark.parametrize("both", [False, True], ids=["one", "both"])
def test_names_and_shapes_are_those_of_a_torch_sequential(both):
    def stack(of, linear, embedding, width):
        layers = [
            kind(d, h, bidirectional=both)
            for kind, d, h in zip(of, (3, 4 * width, 5 * width), (4, 5, 6), strict=True)
        ]
        return embedding(7, 3), *layers, linear(6 * width, 7)

    width = 1 + both
    model = Sequential(*stack((LSTM, GRU, RNN), Linear, Embedding, width))
    nn = torch.nn
    theirs = nn.Sequential(
        *stack((nn.LSTM, nn.GRU, nn.RNN), nn.Linear, nn.Embedding, width)
    ).state_dict()
    assert {n: a.shape for n, a in model.parameters.items()} == {
        n: tuple(a.shape) for n, a in theirs.items()
    }
    assert list(model.parameters) == list(theirs)


@of_torch
def test_initial_weights_are_drawn_like_torch(engine):
    """Weights and biases are uniform in +-1/sqrt(H), with the right bound and spread."""
    H = 64
    for a in engine.init(32, H, rng=0):
        bound = 1 / np.sqrt(H)
        assert np.abs(a).max() <= bound
        if a.ndim == 2:
            assert np.abs(a).max() > 0.99 * bound
            assert abs(a.std() - bound / np.sqrt(3)) < 5 * bound / np.sqrt(a.size)
