"""`model.record`: pre-activations and gradients at every step, and the part selected by keep."""

import gc
import tracemalloc

import numpy as np
import pytest

from recurrent import GRU, LSTM, Embedding, Linear, MeanPool, Seq2Seq, Sequential
from recurrent.conformance.tolerance import assert_close, assert_same_bits
from recurrent.layers.recurrent import Recurrent
from recurrent.losses import mean_squared_error, softmax_cross_entropy

pytestmark = pytest.mark.reference

T, N, D, H = 5, 4, 3, 6
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((T, N, D)), RNG.standard_normal((T, N, 2))
LENGTHS = np.array([5, 2, 0, 4])


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def test_gates_follow_from_preactivations():
    """An LSTM gate has one pre-activation; a GRU candidate has two and uses the reset gate."""
    model = Sequential(LSTM(D, H), GRU(H, H), dtype="float64")
    lstm, gru = model.record(X, lengths=LENGTHS).layers
    valid = np.arange(T)[:, None] < LENGTHS
    for gate, f in dict(i=sigmoid, f=sigmoid, g=np.tanh, o=sigmoid).items():
        assert_close(
            lstm.gates[gate][valid], f(lstm.preactivations[gate][valid]), T * 4 * H, 1.0, gate
        )
    a = gru.preactivations
    assert set(a) == {"r", "z", "n.x", "n.h"}
    assert_close(
        gru.gates["n"][valid], np.tanh(a["n.x"] + gru.gates["r"] * a["n.h"])[valid], T * 4 * H, 1.0
    )
    assert not a["r"][~valid].any()


@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradients_of_preactivations_sum_to_those_of_biases_and_weights(engine, bidirectional):
    """dL/db is the sum of dL/da over steps and sequences, dL/dW_ih the sum of dL/da x'."""
    layer = Recurrent(engine.cell, D, H, bidirectional=bidirectional)
    model = Sequential(layer, Linear(layer.out_features, 2), dtype="float64", rng=3)
    recording = model.record(X, Y, mean_squared_error, LENGTHS)
    found, p = recording.layers[0].dpreactivations, recording.gradients.params
    ends = ("", "_reverse") if bidirectional else ("",)
    for end in ends:
        H_gate = {g: slice(k * H, (k + 1) * H) for k, g in enumerate(engine.cell.x_gates)}
        for a in engine.cell.accumulators:
            name = next(n for n in (f"{a.gate}.x", a.gate) if f"{n}{end}" in found)
            if not a.x:
                continue
            d = found[f"{name}{end}"]
            expected = p[f"0.weight_ih_l0{end}"][H_gate[a.gate]]
            assert_close(np.einsum("tnh,tnd->hd", d, X), expected, T * N * (D + 4 * H), 1.0, name)


def test_a_model_on_ids_has_preactivations_too():
    ids = RNG.integers(0, 7, (T, N))
    model = Sequential(Embedding(7, D), LSTM(D, H), Linear(H, 7), dtype="float64")
    layer = model.record(ids, ids, softmax_cross_entropy).layers[1]
    assert_close(layer.gates["i"], sigmoid(layer.preactivations["i"]), T * 4 * H, 1.0)
    assert layer.dpreactivations["i"].shape == (T, N, H)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_initial_states_are_those_of_each_sequence(lengths):
    model = Sequential(
        GRU(D, H, learn_state=True, bidirectional=True), LSTM(2 * H, H), dtype="float64"
    )
    for name in ("h0", "h0_reverse"):
        model.parameters[f"0.{name}"][:] = RNG.standard_normal(H)
    learned, zeros = model.record(X, lengths=lengths, keep=dict(steps=[0])).layers
    for state in ("h", "h_reverse"):
        assert_same_bits(
            learned.initial[state],
            np.tile(model.parameters[f"0.{state.replace('h', 'h0', 1)}"], (N, 1)),
        )
    assert set(zeros.initial) == {"h", "c"}
    assert not zeros.initial["c"].any()
    encoder, decoder = (
        Sequential(LSTM(D, H, bidirectional=True), rng=1),
        Sequential(LSTM(3, 2 * H), rng=2),
    )
    both = Seq2Seq(encoder, decoder)
    source = X.astype("float32")
    recording = both.record((source, source[:3]), lengths=(lengths, None))
    _, (state,), _ = encoder.forward(source, lengths=lengths)
    for s in "hc":
        left = np.concatenate([getattr(state.forward, s), getattr(state.reverse, s)], axis=1)
        assert_same_bits(recording.layers[1].initial[s], left)
        assert both.record((source[:, 0], source[:2, 0])).layers[1].initial[s].shape == (2 * H,)


def test_keep_changes_no_values():
    model = Sequential(LSTM(D, H, bidirectional=True), GRU(2 * H, H), Linear(H, 2), dtype="float64")
    whole = model.record(X, Y, mean_squared_error, LENGTHS)
    part = model.record(
        X,
        Y,
        mean_squared_error,
        LENGTHS,
        keep=dict(names=["c", "i", "n.h"], steps=[0, 3], units=[5, 1], layers=[0, 1]),
    )
    lstm, gru, linear = part.layers
    assert set(lstm.states) == set(lstm.dstates) == {"c", "c_reverse"}
    assert set(lstm.gates) == set(lstm.preactivations) == {"i", "i_reverse"}
    assert set(gru.preactivations) == set(gru.dpreactivations) == {"n.h"}
    for mine, full in zip(part.layers[:2], whole.layers[:2], strict=True):
        assert mine.y is None
        for kind in ("gates", "states", "dstates", "preactivations", "dpreactivations"):
            for name, a in getattr(mine, kind).items():
                assert_same_bits(a, getattr(full, kind)[name][[0, 3]][..., [5, 1]], name)
    assert linear.y is None
    assert part.loss == whole.loss


def test_layers_without_steps_keep_what_they_have():
    model = Sequential(LSTM(D, H), MeanPool(), Linear(H, 2), dtype="float64")
    recording = model.record(X, keep=dict(steps=slice(0, 2)))
    assert recording.layers[0].y.shape == (2, N, H)
    assert recording.layers[1].y.shape == (N, H)


def test_only_kept_parts_take_memory():
    model, x = Sequential(LSTM(8, 64)), np.zeros((2000, 4, 8), np.float32)
    model.record(x[:5], keep=dict(names=["c"], units=[0]))
    tracemalloc.start()
    try:
        recording = model.record(x, keep=dict(names=["c"], units=[0, 1]))
        gc.collect()  # the interpreter leaves reference cycles
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    kept = recording.layers[0].states["c"].nbytes + recording.y.nbytes
    assert held < 1.1 * kept + 100_000


def test_unknown_keys_of_keep():
    model = Sequential(LSTM(D, H), dtype="float64")
    with pytest.raises(
        ValueError, match="keys of keep must be among names, steps, units, layers, got 'gates'"
    ):
        model.record(X, keep=dict(gates=["i"]))
    with pytest.raises(TypeError, match="keep must be a dict, got list"):
        model.record(X, keep=["i"])


@pytest.mark.parametrize(
    ("keep", "kind", "message"),
    [
        (dict(names=["C"]), ValueError, r"keep: names must be among y, i, f, g, o, h, c, got 'C'"),
        (dict(layers=[2]), ValueError, r"keep: layers must be in 0\.\.1, got 2"),
        (dict(units=[H]), IndexError, r"keep: index .* out of bounds"),
        (dict(steps=[99]), IndexError, r"keep: index 99 is out of bounds"),
    ],
)
def test_keep_refuses_what_a_run_does_not_have(keep, kind, message):
    model = Sequential(LSTM(D, H), Linear(H, 2), dtype="float64")
    with pytest.raises(kind, match=rf"\A{message}"):
        model.record(X, keep=keep)


def test_steps_are_not_confused_with_sequences():
    x = np.zeros((N, N, D))
    pooled = Sequential(LSTM(D, H), MeanPool(), Linear(H, 2), dtype="float64").record(
        x, keep=dict(steps=[0])
    )
    assert [layer.y.shape for layer in pooled.layers] == [(1, N, H), (N, H), (N, 2)]


def test_steps_of_an_encoder_and_a_decoder():
    encoder, decoder = (Sequential(LSTM(D, H), dtype="float64", rng=k) for k in (0, 1))
    x, y = np.zeros((4, 2, D)), np.zeros((5, 2, D))
    recording = Seq2Seq(encoder, decoder).record((x, y), keep=dict(steps=[0, 3]))
    assert [layer.y.shape for layer in recording.layers] == [(2, 2, H)] * 2
