"""The same numbers as PyTorch: outputs, states and every gradient, from the same weights."""

import numpy as np
import pytest
from checker import assert_gradients, same_side_of_the_kink
from hypothesis import given
from hypothesis import strategies as st
from peers import MODULES, module, run, torch
from strategies import Case, cases, named
from tolerance import assert_close

from recurrent import GRU, LSTM, RNN, Embedding, Linear, Sequential

LAYERS = {
    "rnn": RNN,
    "rnn_relu": lambda D, H: RNN(D, H, nonlinearity="relu"),
    "lstm": LSTM,
    "gru": GRU,
}


def check(engine, case):
    if engine.name not in MODULES:
        pytest.skip(f"PyTorch has no {engine.name}")
    p = case.build(engine)
    if p.lengths is not None:
        p.lengths = np.maximum(p.lengths, 1)
    y, final, _ = p.forward()
    m = module(engine.name, case.D, case.H, [p.params])
    states = [s[None] for s in p.state or ()]
    their_y, their_final, dx, d_states = run(m, p.x, states, p.lengths, p.dy, [w[None] for w in p.dstate or ()])
    size = max(1.0, np.abs(their_y).max())
    assert_close(y, their_y, p.terms, size, f"y in {case}")
    for a, b in zip(final, their_final, strict=True):
        assert_close(a, b[0], p.terms, max(1.0, np.abs(b).max()), f"final state in {case}")
    if not same_side_of_the_kink(engine, y, their_y):
        return
    grads = p.gradients()
    dparams = engine.Params(*[w.grad.numpy() for w in m.parameters()])
    ours = grads if states else {n: g for n, g in grads.items() if n not in engine.State._fields}
    theirs = named(dx, dparams, engine.State(*[d[0] for d in d_states])) if states else {"x": dx, **dparams._asdict()}
    assert_gradients(ours, theirs, p)


@given(st.data())
def test_one_layer(engine, dtype, data):
    check(engine, data.draw(cases(dtype, reverse=False, T=st.integers(1, 12))))


@pytest.mark.parametrize("H", [1, 16, 33, 128])
def test_one_layer_at_sizes_of_use(engine, dtype, H):
    check(engine, Case(T=20, N=9, D=24, H=H, dtype=dtype, ragged=True))


@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("initial", [False, True], ids=["zeros", "initial"])
@pytest.mark.parametrize("name", list(LAYERS))
def test_two_stacked_layers(name, initial, ragged, dtype):
    T, N, D, H = 7, 5, 6, 17
    rng = np.random.default_rng(3)
    model = Sequential(LAYERS[name](D, H), LAYERS[name](H, H), rng=1, dtype=dtype)
    x, dy = rng.standard_normal((T, N, D)).astype(dtype), rng.standard_normal((T, N, H)).astype(dtype)
    lengths = rng.integers(1, T + 1, N) if ragged else None
    State = model[0].engine.State
    states, dstates = (rng.standard_normal((len(State._fields), 2, N, H)).astype(dtype) for _ in range(2))
    state = [State(*states[:, k]) for k in range(2)] if initial else None
    y, final, tape = model.forward(x, state, lengths, record=True)
    grads = model.backward(dy, tape, [State(*dstates[:, k]) for k in range(2)])

    m = module(name, D, H, [model[0].params, model[1].params])
    their_y, their_final, dx, d_states = run(m, x, list(states) if initial else [], lengths, dy, list(dstates))
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
            assert_close(ours, theirs, terms + T * N, max(1.0, np.abs(theirs).max()), f"layer {k} {weight}")
    for s, theirs in enumerate(d_states):
        for k in range(2):
            assert_close(grads.state[k][s], theirs[k], terms, max(1.0, np.abs(theirs).max()), "initial state")


def test_names_and_shapes_are_those_of_a_torch_sequential():
    model = Sequential(Embedding(7, 3), LSTM(3, 4), GRU(4, 5), RNN(5, 6), Linear(6, 7))
    theirs = torch.nn.Sequential(
        torch.nn.Embedding(7, 3), torch.nn.LSTM(3, 4), torch.nn.GRU(4, 5), torch.nn.RNN(5, 6), torch.nn.Linear(6, 7)
    )
    assert {n: a.shape for n, a in model.parameters.items()} == {n: tuple(a.shape) for n, a in theirs.state_dict().items()}
    assert list(model.parameters) == list(theirs.state_dict())


def test_initial_weights_are_drawn_like_torch(engine):
    """Uniform in +-1/sqrt(H), biases too: the same bound is reached, the same spread, nothing outside."""
    H = 64
    for a in engine.init(32, H, rng=0):
        bound = 1 / np.sqrt(H)
        assert np.abs(a).max() <= bound
        if a.ndim == 2:
            assert np.abs(a).max() > 0.99 * bound
            assert abs(a.std() - bound / np.sqrt(3)) < 5 * bound / np.sqrt(a.size)
