"""Sequential: order of calls, one flat vector, gradients of the whole, recordings, descriptions."""

import numpy as np
import pytest

import recurrent
from recurrent import GRU, LSTM, RNN, Attention, Dropout, Embedding, Linear, Memory, Sequential
from recurrent.conformance.tolerance import assert_close, assert_same_bits
from recurrent.layers.attention import SCORES

pytestmark = pytest.mark.reference

CHARACTERS = np.random.default_rng(0).integers(0, 11, (6, 5))


def characters(dtype="float64"):
    return Sequential(
        Embedding(11, 4), LSTM(4, 7), GRU(7, 5), RNN(5, 6), Linear(6, 11), rng=1, dtype=dtype
    )


def numbers(dtype="float64"):
    return Sequential(LSTM(3, 5), Linear(5, 4), GRU(4, 3), rng=1, dtype=dtype)


def loss_of(y, targets, lengths=None):
    """Half the squared distance and its gradient."""
    d = y - targets
    return 0.5 * float((d * d).sum()), d


@pytest.mark.parametrize("score", SCORES)
def test_packed_equals_forward_with_a_snapshot_of_the_weights(score, dtype):
    """Call after call with the state passed on, for any memory and batch size."""
    layers = [
        Embedding(11, 4),
        LSTM(4, 5),
        GRU(5, 6, learn_state=True),
        Dropout(0.5),
        Attention(6, 6, score, output_size=7),
    ]
    model, rng = Sequential(*layers, Linear(7, 3), rng=1, dtype=dtype), np.random.default_rng(0)
    model.parameters["2.h0"][:] = 0.3
    run, before = model.packed(), model.flat.copy()
    memories = [
        Memory(rng.standard_normal((4, N, 6)).astype(dtype), lengths)
        for N, lengths in ((2, [4, 2]), (2, None), (3, None))
    ]
    for memory in memories:
        N = memory.values.shape[1]
        theirs = ours = (None, None, None, None, memory, None)
        for T in (1, 1, 3):
            x = rng.integers(0, 11, (T, N))
            model.flat[:] = before
            y, ours, _ = model.forward(x, ours)
            model.flat[:] = np.nan
            found, theirs = run(x, theirs)
            assert_same_bits(found, y)
    with pytest.raises(
        ValueError,
        match=r"layer 4 \(Attention\): the memory must be \(T_in, 2, 6\), got \(4, 3, 6\)",
    ):
        run(np.zeros((1, 2), int), (None, None, None, None, memory, None))


def test_parameters_are_views_into_flat(dtype):
    model = characters(dtype)
    assert model.size == model.flat.size == sum(a.size for a in model.parameters.values())
    assert model.flat.dtype == dtype
    model.flat[:] = np.arange(model.size)
    laid_out = np.concatenate([a.reshape(-1) for a in model.parameters.values()])
    assert_same_bits(laid_out, model.flat)
    for k, layer in enumerate(model.layers):
        for name, a in layer.parameters.items():
            assert np.shares_memory(a, model.flat)
            assert_same_bits(a, model.parameters[f"{k}.{name}"])


def test_gradients_of_the_whole_by_central_differences():
    """Check each parameter array along one direction, through all layers and time."""
    model, rng = characters(), np.random.default_rng(2)
    dy = rng.standard_normal((6, 5, 11))
    grads = model.backward(dy, model.forward(CHARACTERS, record=True)[2])
    assert grads.dx is None
    step = np.finfo(float).eps ** (1 / 3)
    for name, a in model.parameters.items():
        direction = rng.standard_normal(a.shape) / np.sqrt(a.size)
        before, losses = a.copy(), []
        for s in (step, -step):
            a[:] = before + s * direction
            losses.append((dy * model.forward(CHARACTERS)[0]).sum())
        a[:] = before
        expected = (losses[0] - losses[1]) / (2 * step)
        actual = (grads.params[name] * direction).sum()
        # Rounding error of the losses divided by the step, and truncation error.
        assert abs(actual - expected) < 10 * np.abs(dy).sum() * step**2, name


def test_gradients_of_input_and_states_by_central_differences():
    model, rng = numbers(), np.random.default_rng(2)
    x, dy = rng.standard_normal((5, 4, 3)), rng.standard_normal((5, 4, 3))
    lengths = np.array([5, 0, 2, 4])
    state = [
        recurrent.lstm.State(*rng.standard_normal((2, 4, 5))),
        None,
        recurrent.gru.State(rng.standard_normal((4, 3))),
    ]
    dstate = [
        None if s is None else type(s)(*[rng.standard_normal(a.shape) for a in s]) for s in state
    ]

    def loss(x, state):
        y, final, _ = model.forward(x, state, lengths)
        valid = np.arange(5)[:, None] < lengths
        total = (dy * y)[valid].sum()
        return total + sum(
            (w * a).sum()
            for f, d in zip(final, dstate, strict=True)
            if f
            for w, a in zip(d, f, strict=True)
        )

    grads = model.backward(dy, model.forward(x, state, lengths, record=True)[2], dstate)
    step = np.finfo(float).eps ** (1 / 3)
    size = np.abs(dy).sum() + sum(np.abs(a).sum() for d in dstate if d for a in d)
    for target, gradient in [(x, grads.dx)] + [
        (a, g)
        for s, d in zip(state, grads.state, strict=True)
        if s
        for a, g in zip(s, d, strict=True)
    ]:
        direction, before, losses = rng.standard_normal(target.shape), target.copy(), []
        for s in (step, -step):
            target[:] = before + s * direction
            losses.append(loss(x, state))
        target[:] = before
        expected = (losses[0] - losses[1]) / (2 * step)
        assert abs((gradient * direction).sum() - expected) < 10 * size * direction.size * step**2


def test_backward_writes_to_out_and_returns_views_of_it():
    model = characters()
    dy, tape = np.ones((6, 5, 11)), model.forward(CHARACTERS, record=True)[2]
    out = np.full_like(model.flat, np.nan)
    grads = model.backward(dy, tape, out=out)
    again = model.backward(dy, tape)
    assert np.isfinite(out).all()
    for name, g in grads.params.items():
        assert np.shares_memory(g, out)
        assert_same_bits(g, again.params[name])


def test_carried_state_equals_one_long_call(dtype):
    model = characters(dtype)
    y, state, _ = model.forward(CHARACTERS)
    first, between, _ = model.forward(CHARACTERS[:2])
    second, final, _ = model.forward(CHARACTERS[2:], between)
    assert_same_bits(np.concatenate([first, second]), y)
    for a, b in zip(state, final, strict=True):
        for s, t in zip(a or (), b or (), strict=True):
            assert_same_bits(s, t)


def test_lengths_reach_every_recurrent_layer(dtype):
    model = numbers(dtype)
    x = np.random.default_rng(0).standard_normal((6, 3, 3)).astype(dtype)
    lengths = np.array([6, 2, 0])
    y, state, _ = model.forward(x, lengths=lengths)
    alone, alone_state, _ = model.forward(x[:2, 1:2])
    assert_same_bits(y[:2, 1:2], alone)
    assert not y[2:, 1].any()
    assert_same_bits(state[2].h[1:2], alone_state[2].h)
    assert not state[0].h[2].any()


def test_record_keeps_every_layer(dtype):
    model = Sequential(
        Embedding(11, 4), LSTM(4, 7), Dropout(0.5), GRU(7, 5), Linear(5, 11), rng=1, dtype=dtype
    )
    y = model.forward(CHARACTERS)[0]
    recording = model.record(CHARACTERS)
    assert_same_bits(np.asarray(recording.y), y)  # without dropout
    assert recording.gradients is None
    assert [sorted(layer.gates) for layer in recording.layers] == [
        [],
        ["f", "g", "i", "o"],
        [],
        ["n", "r", "z"],
        [],
    ]
    lstm = recording.layers[1]
    assert {a.shape for a in (*lstm.gates.values(), *lstm.states.values())} == {(6, 5, 7)}
    assert_same_bits(lstm.states["h"], np.asarray(lstm.y))
    c = lstm.gates["f"][1:] * lstm.states["c"][:-1] + lstm.gates["i"][1:] * lstm.gates["g"][1:]
    assert_close(lstm.states["c"][1:], c, 4, max(1.0, np.abs(c).max()))
    assert_close(lstm.states["h"], lstm.gates["o"] * np.tanh(lstm.states["c"]), 4, 1.0)


def test_record_with_a_loss_keeps_gradients():
    model = characters()
    targets = np.zeros((6, 5, 11))
    recording = model.record(CHARACTERS, targets, loss_of)
    y, _, tape = model.forward(CHARACTERS, record=True, training=False)
    value, dy = loss_of(y, targets)
    grads = model.backward(dy, tape)
    assert recording.loss == value
    for name, g in grads.params.items():
        assert_same_bits(recording.gradients.params[name], g)
    assert_same_bits(recording.layers[-1].dy, dy)
    assert set(recording.layers[1].dstates) == {"h", "c"}
    # No later step depends on the last h: its gradient is that of y.
    assert_same_bits(recording.layers[1].dstates["h"][-1], recording.layers[1].dy[-1])
    # The last c acts only through h = o tanh(c).
    last = recording.layers[1]
    through_h = last.dy[-1] * last.gates["o"][-1] * (1 - np.tanh(last.states["c"][-1]) ** 2)
    assert_close(last.dstates["c"][-1], through_h, 3)


def test_describe_and_build_give_an_equal_model():
    model = Sequential(
        Embedding(11, 4),
        RNN(4, 3, nonlinearity="relu"),
        Dropout(0.25),
        Linear(3, 2),
        dtype="float64",
    )
    again = Sequential.build(model.describe())
    assert repr(again) == repr(model)
    assert again.dtype == model.dtype
    again.flat[:] = model.flat
    assert_same_bits(again.forward(CHARACTERS)[0], model.forward(CHARACTERS)[0])


def test_the_same_seed_gives_the_same_model_and_the_same_dropout():
    def run(seed):
        model = Sequential(Embedding(11, 4), Dropout(0.5), LSTM(4, 3), rng=seed)
        return model.flat, model.forward(CHARACTERS, record=True)[0]

    for a, b in zip(run(3), run(3), strict=True):
        assert_same_bits(a, b)
    assert not np.array_equal(run(3)[0], run(4)[0])


def test_layers_with_values_keep_them():
    layer = LSTM(3, 4).initialise(7)
    before = layer.parameters["weight_ih_l0"].copy()
    model = Sequential(layer, Linear(4, 2))
    assert_same_bits(model.parameters["0.weight_ih_l0"], before)


def test_a_changed_weight_takes_effect_at_once():
    """Weights are packed for each call, so updates in place are never missed."""
    model = numbers()
    x = np.ones((2, 3, 3))
    before = model.forward(x)[0].copy()
    model.flat *= 2
    assert not np.array_equal(model.forward(x)[0], before)
    model.flat /= 2
    assert_same_bits(model.forward(x)[0], before)


def test_a_stream_uses_a_snapshot_of_the_weights(dtype):
    """Updating the model in the middle of a stream changes no layer of the stream."""
    model = characters(dtype)
    y = model.forward(CHARACTERS)[0]
    stream = model.stream()
    first = stream.step(CHARACTERS[0])
    model.flat *= 2
    assert_same_bits(np.stack([first, *(stream.step(x_t) for x_t in CHARACTERS[1:])]), y)


def test_a_layer_in_a_model_streams_alone():
    model = Sequential(LSTM(3, 4), LSTM(4, 2), dtype="float64")
    x = np.random.default_rng(0).standard_normal((5, 3))
    first, second = model[0].stream(), model[1].stream()
    assert_same_bits(np.stack([second.step(first.step(x_t)) for x_t in x]), model.forward(x)[0])


def test_graph_of_the_stack():
    g = characters().graph()
    assert [n.kind for n in g.nodes] == [
        "input",
        "Embedding",
        "LSTM",
        "GRU",
        "RNN",
        "Linear",
        "output",
    ]
    assert [n.shape for n in g.nodes][1:] == [("T", "N", w) for w in (4, 7, 5, 6, 11, 11)]
    assert [e.label for e in g.edges if e.delay] == ["h", "c", "h", "h"]
    assert sum(n.parameters for n in g.nodes) == characters().size


def test_public_names():
    for name in ("rnn", "lstm", "gru"):
        assert getattr(recurrent, name).name == name
