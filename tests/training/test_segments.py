"""Gradient checkpointing: a run in segments has the gradients of the whole run, bit for bit."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import naive
from support.cells import three_states
from support.models import recurrent_layers

from recurrent import (
    CRF,
    GRU,
    LSTM,
    QRNN,
    RNN,
    Attention,
    Dropout,
    Embedding,
    Hold,
    Last,
    LayerNorm,
    Linear,
    MeanPool,
    OneHot,
    Recurrent,
    Seq2Seq,
    Sequential,
    TruncatedBPTT,
    fit,
    optim,
    release_memory,
)
from recurrent.cells import CELLS
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.data import Windows
from recurrent.layers.base import Layer
from recurrent.layers.recurrent import layer_from_cell
from recurrent.losses import mean_squared_error
from recurrent.training.segments import SegmentedRun

D, V = 3, 7  # features and ids of x

STACKS = {
    "lstm": lambda: [LSTM(D, 4), Linear(4, 2)],
    "normalised": lambda: [LayerNorm(D), GRU(D, 5), LayerNorm(5), Linear(5, 2)],
    "projection": lambda: [LSTM(D, 4, proj_size=2, peephole=True), RNN(2, 3, learn_state=True)],
    "dropout": lambda: [
        Dropout(0.3),
        LSTM(D, 5, recurrent_dropout=0.3, weight_drop=0.2, zoneout=dict(c=0.2), learn_state=True),
        Dropout(0.5, per="sequence"),
        GRU(5, 3, recurrent_dropout=0.5),
        Dropout(0.5),
    ],
    "crf": lambda: [GRU(D, 4), Linear(4, 2), CRF(2)],
    "window": lambda: [QRNN(D, 4, window=3), Recurrent("sru", 4, 4)],
    "last": lambda: [GRU(D, 4), LayerNorm(4), Last(), Dropout(0.4), Linear(4, 2)],
    "embedding": lambda: [Embedding(V, D), LSTM(D, 4, peephole=True), Linear(4, 2)],
    "embedding apart": lambda: [Embedding(V, D), Dropout(0.2), GRU(D, 4), Last()],
    "one-hot": lambda: [OneHot(V), LSTM(V, 4, weight_drop=0.5)],
}
EVERY = st.sampled_from([1, 2, 3, 5, 8, 30])


def problem(layers, T, N, dtype, seed):
    """Return a function that makes the model, and x and targets for it."""
    rng, ids = np.random.default_rng(seed), isinstance(layers()[0], Embedding)

    def make():
        model = Sequential(*layers(), rng=seed, dtype=dtype)
        model.generator = np.random.default_rng(seed)
        return model

    x = rng.integers(0, V, (T, N)) if ids else rng.standard_normal((T, N, D)).astype(dtype)
    y = make().forward(x)[0]
    return make, x, rng.standard_normal(y.shape).astype(dtype)


def assert_same_state(state, other):
    for a, b in zip(state, other, strict=True):
        assert (a is None) == (b is None)
        for one, two in zip(a or (), b or (), strict=True):
            assert_same_bits(one, two)


def assert_same_run(make, x, targets, every, lengths=None, state=None):
    """Assert that segments change no bit of loss, y, gradients and states, and draw as often."""
    whole, cut = make(), make()
    y, after, tape = whole.forward(x, state, lengths, record=True)
    value, dy = mean_squared_error(y, targets, lengths=whole.output_lengths(lengths))
    grads = whole.backward(dy, tape, out=np.empty_like(whole.flat))
    run, out = SegmentedRun(cut, x, state, lengths, every), np.full_like(cut.flat, np.nan)
    d_initial = run.backward(
        mean_squared_error(run.y, targets, cut.output_lengths(lengths))[1], out
    )
    assert_same_bits(run.y, y)
    assert_same_state(run.state, after)
    for name, a in grads.params.items():
        start = sum(b.size for b in list(grads.params.values())[: list(grads.params).index(name)])
        assert_same_bits(out[start : start + a.size].reshape(a.shape), a)
    assert_same_state(d_initial, grads.state)
    assert cut.generator.random() == whole.generator.random()
    again = TruncatedBPTT(make(), state=state, checkpoint_every=every)
    loss, gradient, outputs = again.gradient(x, targets, mean_squared_error, lengths)
    assert loss == value
    assert_same_bits(gradient, out)
    assert_same_bits(outputs, y)
    assert_same_state(again.state, after)
    return after


@pytest.mark.parametrize("layers", STACKS.values(), ids=STACKS)
@given(
    T=st.integers(1, 14),
    N=st.integers(1, 4),
    every=EVERY,
    ragged=st.booleans(),
    seed=st.integers(0, 99),
)
def test_segments_change_no_bit(layers, dtype, T, N, every, ragged, seed):
    make, x, targets = problem(layers, T, N, dtype, seed)
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, T + 1, N) if ragged else None
    after = assert_same_run(make, x, targets, every, lengths)
    assert_same_run(make, x, targets, every, lengths, after)
    if ragged:
        assert_same_run(make, x, targets, every, np.arange(T)[:, None] < lengths)


@pytest.mark.parametrize(
    "cell",
    [pytest.param(c, marks=() if c in naive.UNITS else pytest.mark.ci) for c in sorted(CELLS)],
)
@given(every=EVERY, ragged=st.booleans(), seed=st.integers(0, 99))
def test_every_cell_runs_in_segments(cell, every, ragged, seed):
    make, x, targets = problem(lambda: [layer_from_cell(cell, D, 5)], 9, 3, "float32", seed)
    lengths = np.random.default_rng(seed).integers(0, 10, 3) if ragged else None
    assert_same_run(make, x, targets, every, lengths)


@pytest.mark.slow
@given(
    data=st.data(), every=EVERY, T=st.integers(1, 20), N=st.integers(1, 9), seed=st.integers(0, 999)
)
def test_any_options_run_in_segments(data, dtype, every, T, N, seed):
    layer = data.draw(recurrent_layers(D).filter(lambda layer: not layer.reads_ahead))
    options = dict(layer.options)
    make, x, targets = problem(lambda: [type(layer)(**options), Dropout(0.3)], T, N, dtype, seed)
    lengths = data.draw(st.none() | st.lists(st.integers(0, T), min_size=N, max_size=N))
    assert_same_run(make, x, targets, every, None if lengths is None else np.array(lengths))


def test_a_user_cell_runs_in_segments(dtype):
    make, x, targets = problem(
        lambda: [Recurrent(three_states, D, 4), Linear(4, 2)], 11, 3, dtype, 1
    )
    assert_same_run(make, x, targets, 4, np.array([11, 0, 6]))


def test_one_sequence_without_a_batch_axis(dtype):
    for layers in (STACKS["lstm"], STACKS["last"]):
        make, x, targets = problem(layers, 9, 1, dtype, 3)
        assert_same_run(make, x[:, 0], targets[:, 0] if targets.ndim == 3 else targets[0], 4)


def test_many_threads(dtype):
    """Threads split the sums by units, and steps by sequences or units."""
    make, x, targets = problem(lambda: [LSTM(D, 96), Linear(96, 40)], 24, 40, dtype, 2)
    assert_same_run(make, x, targets, 7, np.random.default_rng(0).integers(0, 25, 40))


@pytest.mark.parametrize("look_back", [None, 7])
def test_fit_with_segments_changes_no_bit(look_back):
    histories, models = [], []
    for every in (None, 2, 50):
        make, x, targets = problem(STACKS["dropout"], 18, 2, "float32", 4)
        models.append(make())
        histories.append(
            fit(
                models[-1],
                Windows(x, targets, 6),
                mean_squared_error,
                optim.Adam(0.01),
                epochs=2,
                look_back=look_back,
                checkpoint_every=every,
                progress=False,
            )
        )
    for model, history in zip(models[1:], histories[1:], strict=True):
        assert history.losses == histories[0].losses
        assert_same_bits(model.flat, models[0].flat)


def test_the_generator_comes_back_after_an_error():
    make, x, _ = problem(STACKS["dropout"], 6, 2, "float32", 0)
    model = make()
    generator = model.generator
    with pytest.raises(TypeError, match=r"layer 1 .* state.h must be float32"):
        SegmentedRun(model, x, (None, (1, 2), None, None, None), None, 2)
    assert model.generator is generator
    assert all(layer.generator is generator for layer in model.layers)


def test_a_loss_that_is_not_finite():
    make, x, targets = problem(STACKS["lstm"], 6, 2, "float32", 0)
    targets[0] = np.nan
    value, gradient, _ = TruncatedBPTT(make(), checkpoint_every=4).gradient(
        x, targets, mean_squared_error
    )
    assert np.isnan(value)
    assert np.isnan(gradient).all()


class AlmostLinear(Layer, abstract=True):
    """A layer of a user with parameters, which does not say that it runs in segments."""

    def __init__(self):
        super().__init__()
        self.shapes = {"weight": (1,)}

    def reset_parameters(self, rng):
        self.parameters["weight"][:] = 1

    def forward(self, x, state=None, lengths=None, record=False, training=None):
        return x * self.parameters["weight"], None, x

    def backward(self, dy, tape, dstate=None, out=None, state_gradients=None):
        grads = self._gradients(out)
        grads["weight"][:] = (dy * tape).sum()
        return dy * self.parameters["weight"], grads, None


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([LSTM(D, 4, bidirectional=True)], r"layer 0 \(LSTM\), which also runs from the last step"),
        ([LSTM(D, 4), MeanPool()], r"layer 1 \(MeanPool\), which needs the whole .*; use Last"),
        ([LSTM(D, 4), Hold()], r"layer 1 \(Hold\), which needs the whole sequence; leave"),
        ([Attention(D)], r"layer 0 \(Attention\), which needs the whole sequence"),
        ([AlmostLinear(), LSTM(D, 4)], r"layer 0 \(AlmostLinear\), .* set runs_in_segments"),
    ],
    ids=repr,
)
def test_what_needs_the_whole_sequence_is_refused(layers, words):
    model = Sequential(*(type(layer)(**layer.options) for layer in layers))
    x = np.zeros((4, 1, D), np.float32)
    with pytest.raises(ValueError, match=words) as error:
        TruncatedBPTT(model, checkpoint_every=3)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=words):
        fit(model, [(x, x)], mean_squared_error, optim.SGD(0.1), checkpoint_every=3)


def test_bad_input_is_named():
    make, x, targets = problem(STACKS["lstm"], 6, 2, "float32", 0)
    for every, kind in ((0, ValueError), (-3, ValueError), (2.5, TypeError), ("9", TypeError)):
        with pytest.raises(kind, match="checkpoint_every must be"):
            TruncatedBPTT(make(), checkpoint_every=every)
    seq2seq = Seq2Seq(Sequential(LSTM(D, 4)), Sequential(LSTM(2, 4)))
    with pytest.raises(TypeError, match="checkpoint_every needs a Sequential, got Seq2Seq"):
        TruncatedBPTT(seq2seq, checkpoint_every=3)
    gaps = np.array([[1, 1], [0, 1], [1, 1], [1, 0], [1, 0], [1, 0]], bool)
    run = TruncatedBPTT(make(), checkpoint_every=3)
    with pytest.raises(ValueError, match="got a mask with gaps"):
        run.gradient(x, targets, mean_squared_error, gaps)
    with pytest.raises(ValueError, match="lengths need a batch"):
        run.gradient(x[:, 0], targets[:, 0], mean_squared_error, [3])
    with pytest.raises(ValueError, match="lengths must be between 0 and T = 6, got 7"):
        run.gradient(x, targets, mean_squared_error, [7, 1])


def peak(work) -> tuple[int, tuple]:
    """Return the peak of the memory that NumPy allocates in `work`, in bytes, and its result."""
    release_memory()
    tracemalloc.start()
    try:
        result = work()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()
        release_memory()


def assert_little_memory(T, every, share):
    make, x, targets = problem(lambda: [LSTM(D, 64), Linear(64, 1)], T, 1, "float32", 0)
    found = []
    for k in (None, every):
        run = TruncatedBPTT(make(), checkpoint_every=k)
        run.gradient(x[:2], targets[:2], mean_squared_error)  # compiles
        run.reset()
        found.append(peak(lambda run=run: run.gradient(x, targets, mean_squared_error)))
    (whole, a), (cut, b) = found
    assert a[0] == b[0]
    assert_same_bits(a[1], b[1])
    assert_same_bits(a[2], b[2])
    assert cut <= whole * share


def test_segments_take_little_memory():
    assert_little_memory(T=4000, every=100, share=1 / 10)


@pytest.mark.slow
def test_a_hundred_thousand_steps_take_a_twentieth_of_the_memory():
    assert_little_memory(T=100_000, every=1000, share=1 / 20)
