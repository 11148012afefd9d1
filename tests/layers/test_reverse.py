"""Layers with reverse=True: from the last valid step to the first, with the bits of both others."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import viz
from recurrent import (
    GRU,
    LSTM,
    QRNN,
    RNN,
    Dropout,
    Embedding,
    Last,
    Linear,
    MeanPool,
    Recurrent,
    Residual,
    Seq2Seq,
    Sequential,
    TruncatedBPTT,
    fit,
    gradcheck,
    load,
    losses,
    optim,
)
from recurrent.charlm.model import _check_stack
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.data import Batch, Windows
from viz.reading.unit_values import read_unit

pytestmark = pytest.mark.reference

D, H = 3, 4
KINDS = {
    "rnn": lambda **o: RNN(D, H, **o),
    "lstm": lambda **o: LSTM(D, H, **o),
    "projected lstm": lambda **o: LSTM(D, H, proj_size=2, learn_state=True, **o),
    "gru": lambda **o: GRU(D, H, biases=1, **o),
    "qrnn": lambda **o: QRNN(D, H, window=2, **o),
    "cell by name": lambda **o: Recurrent("mgu", D, H, **o),
}


def pair(kind, seed, dtype="float64"):
    """Return two layers of the same values: one in reverse, one that runs forward."""
    reverse = KINDS[kind](reverse=True).initialise(seed, dtype)
    forward = KINDS[kind]().initialise(seed, dtype)
    for a in reverse.parameters.values():  # a learned state of zeros would hide mistakes
        a += np.random.default_rng(seed).standard_normal(a.shape).astype(dtype) * 0.1
    forward.parameters.update(reverse.parameters)
    return reverse, forward


@pytest.mark.parametrize("kind", KINDS)
@given(T=st.integers(1, 6), N=st.integers(1, 4), mask=st.booleans(), seed=st.integers(0, 999))
def test_it_is_the_forward_layer_on_the_valid_steps_backwards(dtype, kind, T, N, mask, seed):
    rng = np.random.default_rng(seed)
    reverse, forward = pair(kind, seed, dtype)
    x = rng.standard_normal((T, N, D)).astype(dtype)
    lengths = rng.random((T, N)) < 0.6 if mask else rng.integers(0, T + 1, N)
    valid = lengths if mask else np.arange(T)[:, None] < lengths
    y, state, tape = reverse.forward(x, None, lengths, record=True)
    dy = rng.standard_normal(y.shape).astype(dtype)
    dstate = type(state)(*(rng.standard_normal(a.shape).astype(dtype) for a in state))
    grads = reverse.backward(dy, tape, dstate)
    sums = {n: np.zeros_like(a) for n, a in grads.params.items()}
    for n in range(N):
        steps = np.flatnonzero(valid[:, n])[::-1]
        own, final, one = forward.forward(x[steps, n], record=True)
        assert_same_bits(y[steps, n], own)
        assert not y[~valid[:, n], n].any()
        for a, b in zip(state, final, strict=True):
            assert_same_bits(a[n], b)
        back = forward.backward(dy[steps, n], one, type(state)(*(a[n] for a in dstate)))
        assert_same_bits(grads.dx[steps, n], back.dx)
        for name, a in back.params.items():
            sums[name] += a
    for name, a in sums.items():
        atol = 2e-5 * (1 + np.abs(a).max(initial=0))
        np.testing.assert_allclose(grads.params[name], a, rtol=0, atol=atol)


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
def test_it_is_the_second_direction_of_a_bidirectional_layer(dtype, kind):
    both = kind(D, H, bidirectional=True).initialise(1, dtype)
    layer = kind(D, H, reverse=True)
    layer.bind({n: both.parameters[f"{n}_reverse"] for n in layer.shapes})
    x = np.random.default_rng(0).standard_normal((6, 3, D)).astype(dtype)
    y, state, tape = layer.forward(x, None, [6, 2, 0], record=True)
    pairs, final, tapes = both.forward(x, None, [6, 2, 0], record=True)
    assert_same_bits(y, pairs[..., H:])
    for a, b in zip(state, final.reverse, strict=True):
        assert_same_bits(a, b)
    for name, a in tape.gates.items():
        assert_same_bits(a, tapes.gates[f"{name}_reverse"])


def test_torch(dtype):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.LSTM(D, H, dtype=getattr(torch, dtype))
    layer = LSTM(D, H, reverse=True).initialise(0, dtype)
    layer.parameters.update({n: p.detach().numpy() for n, p in theirs.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((7, 2, D)).astype(dtype)
    expected, (h, c) = theirs(torch.from_numpy(x[::-1].copy()))
    y, state, _ = layer.forward(x)
    close = dict(rtol=0, atol=1e-12 if dtype == "float64" else 1e-6)
    np.testing.assert_allclose(y, expected.detach().numpy()[::-1], **close)
    np.testing.assert_allclose(state.h, h[0].detach().numpy(), **close)
    np.testing.assert_allclose(state.c, c[0].detach().numpy(), **close)


MODELS = {
    "stack": lambda: [GRU(D, H, reverse=True), LSTM(H, H), Linear(H, 2)],
    "last": lambda: [LSTM(D, H, reverse=True), Dropout(0.2), Last(reverse=True), Linear(H, 2)],
    "learned": lambda: [LSTM(D, H, reverse=True, learn_state=True), MeanPool(), Linear(H, 2)],
    "residual": lambda: [Residual(GRU(D, D, reverse=True)), Linear(D, 2)],
    "dropout": lambda: [
        LSTM(D, H, reverse=True, recurrent_dropout=0.3, weight_drop=0.2, zoneout=0.1)
    ],
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("lengths", [None, [4, 1, 0], "mask"])
def test_gradients(name, lengths):
    x, rng = np.random.default_rng(1).standard_normal((4, 3, D)), np.random.default_rng(2)
    lengths = rng.random((4, 3)) < 0.6 if lengths == "mask" else lengths
    result = gradcheck(Sequential(*MODELS[name](), rng=3, dtype="float64"), x, lengths=lengths)
    assert result.ok, result


def test_last_takes_the_end_of_the_run():
    model = Sequential(LSTM(D, H, reverse=True), Last(reverse=True), rng=0)
    x = np.random.default_rng(0).standard_normal((5, 3, D)).astype(np.float32)
    gaps = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 0]], bool)
    for lengths in (None, np.array([5, 2, 0]), gaps):
        y, state, _ = model.forward(x, lengths=lengths)
        assert_same_bits(y, state[0].h)


def test_a_training_is_that_of_the_forward_layer_on_reversed_time():
    x = np.random.default_rng(0).standard_normal((6, 2, D)).astype(np.float32)
    targets = np.random.default_rng(1).standard_normal((6, 2, H)).astype(np.float32)
    models = []
    for reverse in (False, True):
        model = Sequential(LSTM(D, H, reverse=reverse), rng=0)
        way = slice(None, None, -1 if reverse else 1)
        batches = [Batch(x[way].copy(), targets[way].copy())]
        fit(model, batches, losses.mean_squared_error, optim.Adam(), epochs=5, progress=False)
        models.append(model)
    assert_same_bits(models[0].flat, models[1].flat)
    assert not np.array_equal(models[0].flat, Sequential(LSTM(D, H), rng=0).flat)


def test_a_recording_is_aligned_with_x():
    layer = LSTM(D, H, reverse=True)
    model = Sequential(layer, Linear(H, 1), rng=0)
    x = np.random.default_rng(0).standard_normal((5, 2, D)).astype(np.float32)
    recorded = model.record(x, np.zeros((5, 2, 1), np.float32), losses.mean_squared_error).layers[0]
    assert set(recorded.states) == {"h", "c"}
    c = np.concatenate([recorded.states["c"][1:], recorded.initial["c"][None]])
    i, f, g = (recorded.gates[name] for name in "ifg")
    np.testing.assert_allclose(recorded.states["c"], f * c + i * g, rtol=1e-5, atol=1e-6)
    assert set(recorded.dstates) == {"h", "c"}
    assert set(recorded.dpreactivations) == set(recorded.preactivations) == set("ifgo")


def test_files_options_and_words(tmp_path):
    layer = LSTM(D, H, reverse=True)
    assert repr(layer) == "LSTM(input_size=3, hidden_size=4, reverse=True)"
    assert list(layer.shapes) == list(LSTM(D, H).shapes)
    assert layer.state_delays == {"h": -1, "c": -1}
    assert repr(LSTM(D, H, reverse=False)) == repr(LSTM(D, H))
    model = Sequential(layer, Last(reverse=True), Linear(H, 2), rng=0)
    assert "h, c (N, 4) in reverse" in model.summary()
    x = np.random.default_rng(0).standard_normal((5, 2, D)).astype(np.float32)
    y = model.forward(x)[0]
    model.save(tmp_path / "model")
    for twin in (load(tmp_path / "model"), copy.deepcopy(model)):
        assert repr(twin) == repr(model)
        assert_same_bits(twin.forward(x)[0], y)
    small = model.quantize("int8")
    assert_same_bits(small.forward(x)[0], small.dequantized().forward(x)[0])
    forward = Sequential(LSTM(D, H), Last(), Linear(H, 2), rng=0)
    assert model.plan(50, 4).total >= forward.plan(50, 4).total


def test_what_cannot_run_in_reverse():
    def fails(words):
        return pytest.raises(ValueError, match=words)

    with fails("^reverse=True is one direction, bidirectional=True is both: leave one of them out"):
        LSTM(D, H, bidirectional=True, reverse=True)
    with pytest.raises(TypeError, match=r"^reverse must be True or False, got 1"):
        GRU(D, H, reverse=1)
    model = Sequential(LSTM(D, H, reverse=True), Linear(H, 2), rng=0)
    with fails("^layer 0 .LSTM.: a layer with reverse=True cannot run step by step: it starts at"):
        model.stream()
    with fails("layer 0 .LSTM., which runs from the last step to the first; leave checkpoint_e"):
        TruncatedBPTT(model, checkpoint_every=3)
    x, targets = np.zeros((4, 2, D), np.float32), np.zeros((4, 2, 2), np.float32)
    run = TruncatedBPTT(model)
    run.gradient(x, targets, losses.mean_squared_error)
    with fails("^layer 0 .LSTM. starts at the last time step, so a piece cannot go on from the"):
        run.gradient(x, targets, losses.mean_squared_error)
    run.reset()
    run.gradient(x, targets, losses.mean_squared_error)
    before = model.flat.copy()
    with fails("^layer 0 .LSTM. starts at the last time step, so a piece cannot go on from the"):
        fit(model, Windows(x, targets, 2), losses.mean_squared_error, optim.SGD(), updates=3)
    assert_same_bits(model.flat, before)  # found before the first update
    fit(
        model,
        Windows(x, targets, 2, carry="never"),
        losses.mean_squared_error,
        optim.SGD(),
        updates=3,
    )
    with fails("a layer with reverse=True ends at the first time step: use Last.reverse=True"):
        Sequential(LSTM(D, H, reverse=True), Last())
    with fails("Last.reverse=True. must follow a layer with reverse=True"):
        Sequential(LSTM(D, H), Last(reverse=True))
    with fails("leave one of them out"):
        Last(bidirectional=True, reverse=True)
    with fails("^Last.reverse=True. cannot run step by step"):
        Last(reverse=True).stream()
    encoder = Sequential(Embedding(5, D), LSTM(D, H), rng=0)
    decoder = Sequential(Embedding(5, D), LSTM(D, H, reverse=True), Linear(H, 5), rng=0)
    with fails("decoder: layer 1 .LSTM. runs in reverse, but a decoder cannot read steps"):
        Seq2Seq(encoder, decoder)


def test_an_encoder_may_run_in_reverse():
    encoder = Sequential(Embedding(5, D), LSTM(D, H, reverse=True), rng=0)
    decoder = Sequential(Embedding(5, D), LSTM(D, H), Linear(H, 5), rng=0)
    model = Seq2Seq(encoder, decoder)
    source, target = np.array([[1, 2], [3, 4], [0, 1]]), np.array([[0, 0], [1, 2]])
    _, state, _ = model.forward((source, target))
    final = encoder.forward(source)[1][1]
    assert_same_bits(state[1].h, final.h)
    y = model.forward((source, target))[0]
    assert_same_bits(y, decoder.forward(target, (None, final, None))[0])


def test_a_character_model_refuses_it():
    model = Sequential(Embedding(5, D), LSTM(D, H, reverse=True), Linear(H, 5))
    with pytest.raises(ValueError, match=r"runs step by step, and layer 1 .LSTM. cannot"):
        _check_stack(model, 5)


def test_pictures_draw_the_loop_in_reverse():
    layer = LSTM(D, H, reverse=True)
    model = Sequential(layer, Linear(H, 1), rng=0)
    loops = [e for e in model.graph().edges if e.source == e.target]
    assert [(e.label, e.delay) for e in loops] == [("h", -1), ("c", -1)]
    x = np.random.default_rng(0).standard_normal((4, 1, D)).astype(np.float32)
    recording = model.record(x, np.zeros((4, 1, 1), np.float32), losses.mean_squared_error)
    assert viz.network(model, recording).source.count("1 step earlier") == 2


def test_pictures_read_the_state_of_the_next_step():
    layer = LSTM(D, H, reverse=True)
    model = Sequential(layer, Last(reverse=True), Linear(H, 1), rng=0)
    x = np.random.default_rng(0).standard_normal((4, 1, D)).astype(np.float32)
    recording = model.record(x, np.zeros((1, 1), np.float32), losses.mean_squared_error)
    values = read_unit(recording, layer, 2, 1, 0)
    assert values.last == 2
    assert_same_bits(values.h, recording.layers[0].states["h"][2, 0])
    assert not read_unit(recording, layer, 2, 3, 0).h.any()  # the run begins at the last step
    unit = viz.unit(layer, 2).source
    assert "hₜ₊₁ of all" in unit
    assert "its own cₜ₊₁, 1 step earlier" in unit
    assert "ₜ₋₁" not in unit
    assert viz.unit(layer, 2, recording=recording, t=1).source
    drawing = viz.unrolled(model, 3)
    assert "reads from the last step to the first" in drawing.description
    drawn = drawing.source
    assert "h, to t − 1" in drawn
    assert "to t + 1" not in drawn
    for picture in (
        viz.cell(layer),
        viz.cell(layer, recording=recording, direction="reverse"),
        viz.layer(layer),
        viz.weights(layer),
        viz.task("many-to-one", model),
        viz.explore(model, recording),
    ):
        assert picture.source
