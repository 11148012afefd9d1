"""Initialisers: distributions, orthogonality, forget biases and reproducibility."""

import numpy as np
import pytest

from recurrent import GRU, LSTM, RNN, CharLM, Embedding, Linear, Sequential, initialisers
from recurrent.cells import sigmoid, tanh, trace_cell
from recurrent.conformance.tolerance import assert_close, assert_same_bits, tolerance
from recurrent.initialisers import INITIALISERS, Chrono, Reservoir
from recurrent.layers.recurrent import Recurrent

pytestmark = pytest.mark.reference

D, H = 48, 64
LAYERS = {
    "lstm": lambda: LSTM(D, H),
    "gru": lambda: GRU(D, H),
    "rnn": lambda: RNN(D, H),
    "linear": lambda: Linear(D, H),
}
SCHEMES = {**INITIALISERS, "chrono": Chrono(20), "reservoir": Reservoir()}


def made(kind, init, seed=0):
    layer = LAYERS[kind]().initialise(seed, "float64", init)
    return [layer.parameters[n] for n in layer.shapes]


def assert_uniform(a, limit):
    """Kolmogorov-Smirnov test for U(-limit, limit), at a significance level of 10^-6."""
    values = np.sort(a.ravel())
    expected, n = (values + limit) / (2 * limit), values.size
    off = max(
        np.abs(expected - np.arange(n) / n).max(), np.abs(expected - np.arange(1, n + 1) / n).max()
    )
    assert off < np.sqrt(np.log(2e6) / 2 / n)


def assert_normal(a, deviation):
    """Mean and variance are within five standard errors; the tail is longer than uniform."""
    n = a.size
    assert abs(a.mean()) < 5 * deviation / np.sqrt(n)
    assert abs(a.var() / deviation**2 - 1) < 5 * np.sqrt(2 / n)
    assert np.abs(a).max() > 2.5 * deviation


def assert_orthonormal(a):
    """The columns of a tall matrix, or the rows of a wide one, are orthonormal."""
    product = a.T @ a if a.shape[0] >= a.shape[1] else a @ a.T
    assert_close(product, np.eye(len(product)), max(a.shape), 1.0)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_pytorch(kind):
    for a in made(kind, "pytorch"):
        assert_uniform(a, 1 / np.sqrt(H))


@pytest.mark.parametrize(("kind", "gates"), [("lstm", 4), ("gru", 3), ("rnn", 1)])
def test_keras(kind, gates):
    W_ih, W_hh, b_ih, b_hh = made(kind, "keras")
    assert_uniform(W_ih, np.sqrt(6 / (D + gates * H)))
    assert_orthonormal(W_hh)
    if gates > 1:  # W_hh is orthonormal as a whole, a gate's block is not
        block = W_hh[:H]
        assert np.abs(block.T @ block - np.eye(H)).max() > 0.1
    assert_biases(kind, b_ih, b_hh)


def assert_biases(kind, b_ih, b_hh):
    expected = np.zeros_like(b_ih)
    if kind == "lstm":
        expected[H : 2 * H] = 1
    assert np.array_equal(b_ih, expected)
    assert not b_hh.any()


@pytest.mark.parametrize(("kind", "gates"), [("lstm", 4), ("gru", 3), ("rnn", 1)])
def test_orthogonal_initialises_each_gate(kind, gates):
    W_ih, W_hh, b_ih, b_hh = made(kind, "orthogonal")
    blocks = np.split(W_hh, gates)
    for block in blocks:
        assert_orthonormal(block)
    assert all(np.abs(a - b).max() > 0.01 for a in blocks for b in blocks if a is not b)
    assert_uniform(W_ih, np.sqrt(6 / (D + H)))
    assert_biases(kind, b_ih, b_hh)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn", "linear"])
def test_char_rnn(kind):
    arrays = made(kind, "char-rnn")
    if kind == "lstm":
        forget, rest = arrays[2][H : 2 * H], np.delete(arrays[2], np.s_[H : 2 * H])
        assert np.array_equal(forget, np.ones(H))
        arrays[2] = rest
    for a in arrays:
        assert_uniform(a, 0.08)


@pytest.mark.parametrize("kind", ["lstm", "rnn"])
def test_torch_rnn(kind):
    W_ih, W_hh, b_ih, b_hh = made(kind, "torch-rnn")
    for W in (W_ih, W_hh):
        assert_normal(W, 1 / np.sqrt(D + H))
    assert_biases(kind, b_ih, b_hh)


@pytest.mark.parametrize("kind", ["rnn", "linear"])
def test_min_char_rnn(kind):
    for a in made(kind, "min-char-rnn"):
        if a.ndim == 2:
            assert_normal(a, 0.01)
        else:
            assert not a.any()


def test_chrono_of_an_lstm_and_a_gru():
    T_max = 200
    b_ih, b_hh = made("lstm", Chrono(T_max))[2:]
    i, f, g, o = np.split(b_ih, 4)
    assert np.array_equal(i, -f)
    assert not np.concatenate([g, o, b_hh]).any()
    assert_uniform(np.exp(f) - T_max / 2, T_max / 2 - 1)  # U(1, T_max - 1), centred
    r, z, n = np.split(made("gru", Chrono(T_max))[2], 3)
    assert_uniform(np.exp(z) - T_max / 2, T_max / 2 - 1)
    assert not np.concatenate([r, n]).any()


def test_the_forget_gate_is_found_by_its_equations_not_its_name():
    @trace_cell("renamed_test", gates="in keep new out", states="h memory", register=False)
    def renamed(x, h, previous):
        inward, keep, out = (sigmoid(getattr(x, g) + getattr(h, g)) for g in ("in", "keep", "out"))
        new = tanh(x.new + h.new)
        memory = previous.memory * keep + new * inward
        return {
            "in": inward,
            "keep": keep,
            "new": new,
            "out": out,
            "memory": memory,
            "h": out * tanh(memory),
        }

    b_ih = Recurrent(renamed, 2, 3).initialise(0, init="keras").params.b_ih
    assert np.array_equal(b_ih, np.repeat(np.float32([0, 1, 0, 0]), 3))


def test_other_layers_of_a_model():
    model = Sequential(
        Embedding(60, D),
        LSTM(D, H, bidirectional=True),
        Linear(2 * H, 50),
        dtype="float64",
        init="keras",
    )
    p = model.parameters
    assert_uniform(p["0.weight"], 0.05)
    assert_uniform(p["2.weight"], np.sqrt(6 / (2 * H + 50)))
    assert not p["2.bias"].any()
    for end in ("", "_reverse"):
        assert_orthonormal(p[f"1.weight_hh_l0{end}"])
        assert_biases("lstm", p[f"1.bias_ih_l0{end}"], p[f"1.bias_hh_l0{end}"])


@pytest.mark.parametrize("init", SCHEMES.values(), ids=SCHEMES)
def test_one_seed_gives_one_model(init):
    def model(seed, dtype="float64"):
        return Sequential(
            Embedding(7, 5), GRU(5, 6), LSTM(6, 8), Linear(8, 3), rng=seed, dtype=dtype, init=init
        )

    a = model(3)
    assert_same_bits(a.flat, model(3).flat)
    assert not np.array_equal(a.flat, model(4).flat)
    assert_close(model(3, "float32").flat, a.flat, 1)
    assert_same_bits(model(8).initialise(3, init).flat, a.flat)
    assert a[1].initialise(5, init=init).owner is a
    assert_same_bits(a.parameters["1.weight_hh_l0"], a[1].parameters["weight_hh_l0"])


def test_the_default_is_pytorch():
    assert_same_bits(
        Sequential(LSTM(2, 3), rng=1).flat, Sequential(LSTM(2, 3), rng=1, init="pytorch").flat
    )
    assert_same_bits(
        CharLM("abc", hidden=4, init="keras").model.flat,
        CharLM("abc", hidden=4, init="keras").model.flat,
    )


def test_invalid_initialisers_raise():
    with pytest.raises(ValueError, match=r"init must be one of pytorch, keras.* got 'kaiming'"):
        LSTM(2, 3).initialise(init="kaiming")
    with pytest.raises(ValueError, match=r"Chrono\(T_max=...\)"):
        Sequential(LSTM(2, 3), init="chrono")
    with pytest.raises(TypeError, match=r"init must be a name or a function such as .*, got int"):
        Sequential(LSTM(2, 3), init=3)
    with pytest.raises(ValueError, match="T_max must be at least 3"):
        Chrono(2)
    with pytest.raises(ValueError, match="dtype must be float32, as in the model"):
        Sequential(LSTM(2, 3))[0].initialise(dtype="float64")


def test_the_orthonormal_matrix_is_not_biased_by_its_factorisation():
    """Without the correction by R's diagonal, the first entry would always be negative."""
    rng = np.random.default_rng(0)
    signs = [np.sign(initialisers.orthonormal(rng, (3, 3))[0, 0]) for _ in range(64)]
    assert abs(np.mean(signs)) < tolerance(np.float64, 1) + 5 / np.sqrt(64)
