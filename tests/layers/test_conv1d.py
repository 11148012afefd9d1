"""Conv1d: values and gradients of torch, ragged batches, streams, chunks, segments and files."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import viz
from recurrent import (
    GRU,
    LSTM,
    Attention,
    Conv1d,
    Embedding,
    Last,
    Linear,
    MeanPool,
    ReLU,
    Residual,
    Seq2Seq,
    Sequential,
    TruncatedBPTT,
    evaluate,
    gradcheck,
    load,
    losses,
    predict,
)
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.layers import conv1d
from recurrent.layers.conv1d import ConvState
from recurrent.training import checkpoint
from recurrent.training.state import TrainingState

pytestmark = pytest.mark.reference


@st.composite
def layers(draw, **fixed):
    """A Conv1d with any options, but for those that are fixed."""
    groups = draw(st.integers(1, 3))
    stride = fixed.get("stride", draw(st.integers(1, 3)))
    paddings = [0, 1, 2, "causal"] + ["same"] * (stride == 1)
    options = dict(
        stride=stride,
        padding=draw(st.sampled_from(paddings)),
        dilation=draw(st.integers(1, 3)),
        groups=groups,
        bias=draw(st.booleans()),
    )
    sizes = [groups * draw(st.integers(1, 3)) for _ in range(2)]
    return Conv1d(*sizes, draw(st.integers(1, 4)), **{**options, **fixed})


def array(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def by_torch(layer, x, dy):
    """Return y, and the gradients of x and the parameters, as torch computes them in float64."""
    torch = pytest.importorskip("torch")
    values = {n: torch.tensor(a.astype(float)) for n, a in layer.parameters.items()}
    tx = torch.tensor(x.astype(float))
    for a in (tx, *values.values()):
        a.requires_grad_()
    padded = torch.nn.functional.pad(tx.permute(1, 2, 0), (layer.left, layer.right))
    y = torch.nn.functional.conv1d(
        padded,
        values["weight"],
        values.get("bias"),
        layer.stride,
        0,
        layer.dilation,
        layer.groups,
    ).permute(2, 0, 1)
    y.backward(torch.tensor(dy.astype(float)))
    return y.detach().numpy(), tx.grad.numpy(), {n: a.grad.numpy() for n, a in values.items()}


@given(
    layer=layers(), T=st.integers(1, 12), N=st.integers(1, 4), seed=st.integers(0, 999),
    piece=st.sampled_from([1, 200, 1 << 20]),
)  # fmt: skip
def test_torch(dtype, layer, T, N, seed, piece):
    rng = np.random.default_rng(seed)
    layer.initialise(seed, dtype)
    x = array(rng, (T, N, layer.in_features), dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv1d, "PIECE", piece)
        y, state, tape = layer.forward(x, record=True)
        dy = array(rng, y.shape, dtype)
        grads = layer.backward(dy, tape)
    if not len(y):  # torch refuses a window that is longer than x
        assert T + layer.left + layer.right <= layer.past
        assert not grads.dx.any()
        return
    expected, dx, params = by_torch(layer, x, dy)
    assert y.shape == expected.shape
    close = dict(rtol=0, atol=1e-11 if dtype == "float64" else 2e-4)
    np.testing.assert_allclose(y, expected, **close)
    np.testing.assert_allclose(grads.dx, dx, **close)
    assert grads.params.keys() == params.keys()
    for name, a in params.items():
        np.testing.assert_allclose(grads.params[name], a, **close)
    assert_same_bits(layer.forward(x)[0], y)
    assert (state is not None) == bool(layer.state_delays)


@pytest.mark.filterwarnings("ignore:Using padding")
def test_padding_same_is_that_of_torch(dtype):
    torch = pytest.importorskip("torch")
    for k, dilation in [(3, 1), (4, 1), (4, 3), (1, 1), (2, 2)]:
        theirs = torch.nn.Conv1d(2, 3, k, padding="same", dilation=dilation)
        theirs = theirs.to(getattr(torch, dtype))
        layer = Conv1d(2, 3, k, padding="same", dilation=dilation).initialise(0, dtype)
        layer.parameters.update({n: p.detach().numpy() for n, p in theirs.state_dict().items()})
        x = np.random.default_rng(0).standard_normal((9, 2, 2)).astype(dtype)
        y = theirs(torch.from_numpy(x).permute(1, 2, 0)).permute(2, 0, 1).detach().numpy()
        np.testing.assert_allclose(layer.forward(x)[0], y, rtol=0, atol=1e-5)


def test_the_initial_values_are_those_of_torch():
    torch = pytest.importorskip("torch")
    layer = Conv1d(6, 64, 5, groups=2).initialise(0)
    theirs = torch.nn.Conv1d(6, 64, 5, groups=2)
    for name, p in theirs.named_parameters():
        ours, own = layer.parameters[name], p.detach().numpy()
        assert ours.shape == own.shape
        assert np.abs(ours).max() <= 1 / np.sqrt(15)
        assert abs(np.abs(ours).max() - np.abs(own).max()) < 0.03
        assert abs(ours.std() - own.std()) < 0.03


@given(
    layer=layers(), T=st.integers(1, 12), N=st.integers(1, 5), extra=st.integers(0, 3),
    seed=st.integers(0, 999), piece=st.sampled_from([1, 300, 1 << 20]),
)  # fmt: skip
def test_a_sequence_has_the_bits_that_it_has_alone(dtype, layer, T, N, extra, seed, piece):
    rng = np.random.default_rng(seed)
    layer.initialise(seed, dtype)
    x, lengths = array(rng, (T + extra, N, layer.in_features), dtype), rng.integers(0, T + 1, N)
    for n, length in enumerate(lengths):
        x[length:, n] = np.nan  # what is in the padding does not matter
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv1d, "PIECE", piece)
        y, final, tape = layer.forward(x, None, lengths, record=True)
        dy = array(rng, y.shape, dtype)
        grads = layer.backward(dy, tape)
    counts = layer.output_lengths(lengths)
    for n, (length, count) in enumerate(zip(lengths, counts, strict=True)):
        own, end, one = layer.forward(x[:length, n], record=True)
        assert len(own) == count or length == 0
        assert_same_bits(y[:count, n], own[:count])
        assert not y[count:, n].any()
        assert_same_bits(grads.dx[:length, n], layer.backward(dy[: len(own), n], one).dx)
        assert not grads.dx[length:, n].any()
        if final is not None:
            assert_same_bits(final.past[n], end.past)
    if N == 1 and lengths[0]:
        for name, a in layer.backward(dy[: len(own), 0], one).params.items():
            assert_same_bits(grads.params[name], a)


@given(layer=layers(stride=1, padding="causal"), cut=st.integers(0, 9), seed=st.integers(0, 999))
def test_chunks_and_single_steps_have_the_bits_of_one_call(dtype, layer, cut, seed):
    rng = np.random.default_rng(seed)
    layer.initialise(seed, dtype)
    x = array(rng, (9, 3, layer.in_features), dtype)
    y, final, _ = layer.forward(x)
    first, between, _ = layer.forward(x[:cut])
    second, end, _ = layer.forward(x[cut:], between)
    assert_same_bits(np.concatenate([first, second]), y)
    stream = layer.stream()
    assert_same_bits(np.array([stream.step(x_t) for x_t in x]), y)
    if layer.state_delays:
        assert_same_bits(end.past, final.past)
        assert_same_bits(stream.state.past, final.past)
        whole = np.concatenate([np.zeros((layer.past, *x.shape[1:]), dtype), x])[9:]
        assert_same_bits(final.past, whole.swapaxes(0, 1).reshape(3, -1))
    one = layer.stream()
    assert_same_bits(np.array([one.step(x_t) for x_t in x[:, 1]]), y[:, 1])


def test_a_stream_is_copied_set_reset_and_taken_back():
    layer = Conv1d(2, 3, 3, padding="causal", dilation=2).initialise(0)
    x = np.random.default_rng(0).standard_normal((8, 3, 2)).astype(np.float32)
    y, stream = layer.forward(x)[0], layer.stream()
    for x_t in x[:4]:
        stream.step(x_t)
    twins = stream.copy(), pickle.loads(pickle.dumps(stream)), layer.stream(stream.state)
    for twin in (stream, *twins):
        assert_same_bits(np.array([twin.step(x_t) for x_t in x[4:]]), y[4:])
    with pytest.raises(ValueError, match=r"x_t must be .N, 2. or .2,., got .3, 5."):
        stream.step(np.zeros((3, 5), np.float32))
    stream.reset(rows=[1])
    again = stream.step(x[0])
    assert_same_bits(again[1], y[0, 1])
    assert not np.array_equal(again[0], y[0, 0])
    with pytest.raises(ValueError, match=r"state.past must be .N, 8. or .8,., got .3, 7."):
        stream.state = (np.zeros((3, 7), np.float32),)
    with pytest.raises(TypeError, match=r"state must be ConvState.past., got 5"):
        stream.state = 5


MODELS = {
    "causal": lambda: [Conv1d(2, 4, 3, padding="causal", dilation=2, groups=2), GRU(4, 3)],
    "strided": lambda: [Conv1d(2, 4, 3, stride=2), ReLU(), LSTM(4, 3), Last(), Linear(3, 2)],
    "same": lambda: [LSTM(2, 4), Residual(Conv1d(4, 4, 3, padding="same")), MeanPool()],
    "padded": lambda: [Conv1d(2, 4, 2, padding=1, stride=2), Conv1d(4, 3, 1, bias=False)],
    "attending": lambda: [Conv1d(2, 4, 3, stride=2, padding=1), Attention(4)],
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("lengths", [None, [7, 3, 0]])
def test_gradients(name, lengths):
    x = np.random.default_rng(1).standard_normal((7, 3, 2))
    result = gradcheck(Sequential(*MODELS[name](), rng=3, dtype="float64"), x, lengths=lengths)
    assert result.ok, result


def test_gradients_with_gaps():
    x, rng = np.random.default_rng(1).standard_normal((7, 3, 2)), np.random.default_rng(2)
    mask = rng.random((7, 3)) < 0.6
    for layers_of in (MODELS["causal"], MODELS["same"]):
        model = Sequential(*layers_of(), rng=3, dtype="float64")
        result = gradcheck(model, x, lengths=mask)
        assert result.ok, result
    layer = Conv1d(2, 3, 3, padding="causal").initialise(0, "float64")
    y = layer.forward(x, None, mask)[0]
    zeroed = layer.forward(np.where(mask[:, :, None], x, 0))[0]
    assert_same_bits(y, np.where(mask[:, :, None], zeroed, 0.0))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_the_bits_of_each_sequence_alone(name):
    model = Sequential(*MODELS[name](), rng=0)
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((T, 2)).astype(np.float32) for T in (9, 3, 6, 9)]
    found = predict(model, x, batch=2)
    y = model.forward(x)[0]
    for n, a in enumerate(x):
        own = model.forward(a)[0]
        assert_same_bits(found[n], own)
        assert_same_bits(y[n], own)
    _, _, tape = model.forward(x, record=True)
    grads = model.backward([np.ones_like(a) for a in y] if type(y) is list else 0 * y + 1, tape)
    assert [a.shape for a in grads.dx] == [a.shape for a in x]


def test_losses_take_the_lengths_of_the_output():
    for batch_first in (False, True):
        layers_ = Conv1d(2, 4, 3, stride=2), LSTM(4, 3)
        model = Sequential(*layers_, rng=0, batch_first=batch_first)
        assert model.output_lengths(np.array([9, 4, 2, 0])).tolist() == [4, 1, 0, 0]
        mask = np.arange(11)[:, None] < np.array([9, 4, 2, 0])
        assert model.output_lengths(mask).tolist() == [4, 1, 0, 0]
        mask = mask.T if batch_first else mask
        x = np.random.default_rng(0).standard_normal((11, 4, 2)).astype(np.float32)
        x = x.swapaxes(0, 1) if batch_first else x
        y = model.forward(x, lengths=mask)[0]
        assert_same_bits(y, model.forward(x, lengths=[9, 4, 2, 0])[0])
        assert y.shape == ((4, 5, 3) if batch_first else (5, 4, 3))
    assert Sequential(Conv1d(2, 4, 3), Last()).output_lengths([3, 3]) is None
    assert Sequential(Conv1d(2, 4, 3, padding="same")).output_lengths([3, 3]) == [3, 3]


def test_a_run_in_segments_has_the_bits_of_the_whole():
    targets = np.random.default_rng(1).standard_normal((11, 3, 4)).astype(np.float32)
    x = np.random.default_rng(0).standard_normal((11, 3, 2)).astype(np.float32)
    for lengths in (None, np.array([11, 4, 0])):
        found = []
        for every in (None, 3, 1):
            model = Sequential(
                Conv1d(2, 4, 3, padding="causal", dilation=2),
                ReLU(),
                Conv1d(4, 4, 2, padding="causal"),
                rng=0,
            )
            run = TruncatedBPTT(model, checkpoint_every=every)
            value, gradient, y = run.gradient(x, targets, losses.mean_squared_error, lengths)
            found.append([np.float64(value), gradient.copy(), y])
        for other in found[1:]:
            for a, b in zip(found[0], other, strict=True):
                assert_same_bits(np.asarray(a), np.asarray(b))


def test_a_carried_state_is_saved(tmp_path):
    model = Sequential(Conv1d(2, 4, 3, padding="causal"), LSTM(4, 3), rng=0)
    x = np.random.default_rng(0).standard_normal((6, 2, 2)).astype(np.float32)
    run = TruncatedBPTT(model)
    run.gradient(x, np.zeros((6, 2, 3), np.float32), losses.mean_squared_error)
    state = TrainingState(carried=run.state)
    checkpoint.save(tmp_path / "c", checkpoint.Checkpoint(model, {}, {}, state))
    loaded = checkpoint.load(tmp_path / "c")
    assert isinstance(loaded.training.carried[0], ConvState)
    assert_same_bits(loaded.training.carried[0].past, run.state[0].past)
    y = model.forward(x, run.state)[0]
    assert_same_bits(loaded.model.forward(x, loaded.training.carried)[0], y)
    both = np.concatenate([x, x])
    assert_same_bits(y, model.forward(both)[0][6:])


def test_files_words_and_quantised_models(tmp_path):
    layer = Conv1d(4, 8, 3, stride=2, padding=1, dilation=1, groups=2, bias=False)
    words = "Conv1d(in_channels=4, out_channels=8, kernel_size=3, stride=2, padding=1, groups=2, "
    assert repr(layer) == f"{words}bias=False)"
    model = Sequential(layer, LSTM(8, 3), Linear(3, 2), rng=0)
    assert "(T', N, 8)" in model.summary()
    x = np.random.default_rng(0).standard_normal((9, 2, 4)).astype(np.float32)
    y = model.forward(x)[0]
    model.save(tmp_path / "model")
    for twin in (load(tmp_path / "model"), copy.deepcopy(model)):
        assert repr(twin) == repr(model)
        assert_same_bits(twin.forward(x)[0], y)
    small = model.quantize("int8")
    assert_same_bits(small.parameters["0.weight"], model.parameters["0.weight"])
    assert_same_bits(small.forward(x)[0], small.dequantized().forward(x)[0])
    small.save(tmp_path / "small")
    assert_same_bits(load(tmp_path / "small").forward(x)[0], small.forward(x)[0])
    causal = Sequential(Conv1d(2, 3, 2, padding="causal"), rng=0)
    assert "past (N, 2)" in causal.summary()


def test_what_does_not_fit():
    def fails(words, kind=ValueError):
        return pytest.raises(kind, match=words)

    for name in ("in_channels", "out_channels", "kernel_size", "stride", "dilation", "groups"):
        sizes = dict(in_channels=2, out_channels=2, kernel_size=2)
        with fails(f"^{name} must be at least 1, got 0"):
            Conv1d(**{**sizes, name: 0})
    with fails("^padding must be one of same, causal or an int, got 'valid'"):
        Conv1d(2, 3, 2, padding="valid")
    with fails("^padding must be an int, got float", TypeError):
        Conv1d(2, 3, 2, padding=1.5)
    with fails("^padding='same' needs stride=1, got 2: write the padding as an int"):
        Conv1d(2, 3, 2, stride=2, padding="same")
    with fails("^groups must divide out_channels = 3, got 2"):
        Conv1d(2, 3, 2, groups=2)
    x = np.zeros((5, 2, 2), np.float32)
    layer = Conv1d(2, 3, 2)
    with fails("^x must be .T, N, 2. or .T, 2., got .5, 2, 3."):
        layer.forward(np.zeros((5, 2, 3), np.float32))
    with fails("^x must have the dtype of weight, float32, got float64", TypeError):
        layer.forward(x.astype(float))
    with fails("^lengths need a batch: x must be .T, N, 2., got .5, 2."):
        layer.forward(x[:, 0], lengths=[3])
    with fails("^state must be None: Conv1d.* has no state, it needs padding='causal'"):
        layer.forward(x, (x[0],))
    with fails("^lengths as a mask must have its valid steps first where y has another number"):
        layer.forward(x, lengths=np.array([[1, 1], [0, 1], [1, 1], [0, 0], [0, 0]], bool))
    causal = Conv1d(2, 3, 2, padding="causal")
    with fails("^state.past must be .N, P . C. = .2, 2., got .2, 3."):
        causal.forward(x, ConvState(np.zeros((2, 3), np.float32)))
    with fails("^state must be ConvState.past., got 3", TypeError):
        causal.forward(x, 3)
    _, _, tape = layer.forward(x, record=True)
    with fails("^dy must have the shape of y = .4, 2, 3., got .5, 2, 3."):
        layer.backward(np.zeros((5, 2, 3), np.float32), tape)
    with fails("^Conv1d.*, stride=2. cannot run step by step: with stride=2 it has no output at"):
        Conv1d(2, 3, 2, stride=2).stream()
    with fails("windows read later steps; a Conv1d with padding='causal' and stride=1 can$"):
        Sequential(Conv1d(2, 3, 3, padding="same")).stream()
    with fails("cuts the sequence at layer 0 .Conv1d., which needs the whole sequence; leave"):
        TruncatedBPTT(Sequential(Conv1d(2, 3, 3, padding="same")), checkpoint_every=2)
    with fails("layer 0 .Conv1d. has another number of steps in y than in x, and its output"):
        Residual(Conv1d(2, 2, 3))
    encoder = Sequential(Embedding(5, 3), LSTM(3, 4), rng=0)
    for options, words in [
        (dict(padding="same"), "reads later steps, but a decoder"),
        (dict(padding=6), "has another number of steps in y than in x, but a decoder writes"),
    ]:
        decoder = [Embedding(5, 3), Conv1d(3, 3, 3, **options), LSTM(3, 4), Linear(4, 5)]
        with fails(f"^decoder: layer 1 .Conv1d. {words}"):
            Seq2Seq(encoder, Sequential(*decoder, rng=0))


def test_an_encoder_may_shorten_its_input():
    encoder = Sequential(Conv1d(2, 3, 3, stride=2), GRU(3, 4), rng=0)
    decoder = Sequential(Embedding(5, 3), GRU(3, 4), Attention(4, 4), Linear(8, 5), rng=1)
    model = Seq2Seq(encoder, decoder)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((9, 2, 2)).astype(np.float32)
    target = np.array([[0, 0], [1, 2]])
    y = model.forward((x, target), lengths=([9, 4], None))[0]
    for n, length in enumerate([9, 4]):
        own = model.forward((x[:length, n], target[:, n]))[0]
        assert_same_bits(y[:, n], own)


def test_a_decoder_may_have_a_causal_one():
    encoder = Sequential(Embedding(5, 3), GRU(3, 4), rng=0)
    decoder = [Embedding(5, 3), Conv1d(3, 3, 2, padding="causal"), GRU(3, 4), Linear(4, 5)]
    model = Seq2Seq(encoder, Sequential(*decoder, rng=1), start=0, end=4)
    source = np.array([[1, 2], [3, 1]])
    written = model.generate(source, 5)
    for n, length in enumerate(written.lengths[:, 0]):
        ids = written.ids[:length, n, 0]
        y = model.forward((source[:, n], np.array([0, *ids[:-1]])))[0]
        assert y.argmax(axis=-1).tolist() == ids.tolist()


def test_pictures():
    x = np.random.default_rng(0).standard_normal((6, 1, 2)).astype(np.float32)
    model = Sequential(Conv1d(2, 3, 3, padding="causal"), LSTM(3, 4), rng=0)
    loops = [e for e in model.graph().edges if e.source == e.target == "layer0"]
    assert [(e.label, e.shape, e.delay) for e in loops] == [("past", ("N", 4), 1)]
    recording = model.record(x, np.zeros((6, 1, 4), np.float32), losses.mean_squared_error)
    network = viz.network(model, recording).source
    assert "Conv1d(2, 3, 3, padding='causal')" in network
    assert "past (N, 4), 1 step later" in network
    for picture in (
        viz.unrolled(model, 4, recording=recording),
        viz.task("many-to-many", model),
        viz.gradients(model, recording),
        viz.explore(model, recording),
    ):
        assert picture.source
    strided = Sequential(Conv1d(2, 3, 3, stride=2), LSTM(3, 4), rng=0)
    assert "(T', N, 3)" in viz.network(strided).source
    with pytest.raises(ValueError, match=r"layer 0 .Conv1d. has another number of them: draw"):
        viz.unrolled(strided)


def test_keras_initialisation():
    layer = Conv1d(30, 40, 5).initialise(0, init="keras")
    limit = np.sqrt(6 / (5 * 70))
    weight = layer.parameters["weight"]
    assert limit * 0.99 < np.abs(weight).max() <= limit
    assert not layer.parameters["bias"].any()


@pytest.mark.parametrize("batch_first", [False, True])
def test_targets_have_the_steps_of_y(batch_first):
    rng = np.random.default_rng(0)
    model = Sequential(Conv1d(2, 3, 3, stride=2), Linear(3, 1), rng=0, batch_first=batch_first)
    lengths = np.array([9, 4, 7])
    x = [rng.standard_normal((n, 2)).astype("f") for n in lengths]
    counts = model[0].output_lengths(lengths)
    targets = [rng.standard_normal((n, 1)).astype("f") for n in counts]
    found = evaluate(model, [(x, targets)], losses.mean_squared_error)
    errors = np.concatenate([(model([a])[0] - b).ravel() for a, b in zip(x, targets, strict=True)])
    assert found == pytest.approx(np.mean(errors.astype(float) ** 2), rel=1e-6)


def test_a_mask_of_a_batch_first_model_gives_the_lengths_of_y():
    model = Sequential(Conv1d(2, 3, 3, stride=2), rng=0, batch_first=True)
    x, mask = np.ones((3, 9, 2), "f"), np.arange(9) < np.array([[9], [4], [7]])
    turned = model.prepare_input(x, mask)[1]
    assert model.output_lengths(turned).tolist() == [4, 1, 3]
