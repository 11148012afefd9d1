"""`Sequential(..., batch_first=True)`: the same bits as the time-major model, axes swapped."""

import copy
import pickle

import numpy as np
import pytest

from recurrent import (
    GRU,
    LSTM,
    Dropout,
    Embedding,
    Last,
    Linear,
    MeanPool,
    Seq2Seq,
    Sequential,
    TruncatedBPTT,
    evaluate,
    fit,
    gradcheck,
    load,
    predict,
)
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.data import Batch, Batches
from recurrent.losses import at_last_step, mean_squared_error, softmax_cross_entropy
from recurrent.optim import Adam

RNG = np.random.default_rng(0)
T, N = 7, 3
X, Y = RNG.standard_normal((T, N, 2)).astype("f"), RNG.standard_normal((T, N, 4)).astype("f")
IDS = RNG.integers(0, 5, (T, N))
MASK = RNG.random((T, N)) < 0.7


def turned(a):
    return a.swapaxes(0, 1) if isinstance(a, np.ndarray) and a.ndim > 1 else a


def both(*more, first=None):
    """A time-major model and the equal batch-first one."""
    return [
        Sequential(
            *([first()] if first else []),
            LSTM(2, 4),
            Dropout(0.3),
            GRU(4, 4, bidirectional=True, merge="sum"),
            *[make() for make in more],
            rng=0,
            batch_first=batch_first,
        )
        for batch_first in (False, True)
    ]


@pytest.mark.parametrize("lengths", [None, [7, 2, 5], MASK], ids=["full", "lengths", "mask"])
def test_forward_and_backward_are_those_of_the_time_major_model(lengths):
    plain, model = both()
    y, state, tape = plain.forward(X, lengths=lengths, record=True, training=True)
    other, final, saved = model.forward(
        turned(X), lengths=turned(lengths), record=True, training=True
    )
    assert other.shape == (N, T, 4)
    assert_same_bits(other, turned(y))
    assert_same_bits(final[0].c, state[0].c)
    mine, theirs = model.backward(turned(Y), saved), plain.backward(Y, tape)
    assert_same_bits(mine.dx, turned(theirs.dx))
    for name, a in theirs.params.items():
        assert_same_bits(mine.params[name], a)
    assert_same_bits(mine.state[0].h, theirs.state[0].h)
    assert_same_bits(model(turned(X)), turned(plain(X)))


def test_single_sequences_ids_lists_and_pools():
    plain, model = both(MeanPool)
    assert_same_bits(model.forward(turned(X))[0], plain.forward(X)[0])
    assert_same_bits(model.forward(X[:, 0])[0], plain.forward(X[:, 0])[0])
    listed = [X[:4, 0], X[:, 1]]
    assert_same_bits(model.forward(listed)[0], plain.forward(listed)[0])
    y, _, tape = model.forward(turned(X), record=True, training=False)
    assert model.backward(y, tape).dx.shape == (N, T, 2)
    plain, model = both(first=lambda: Embedding(5, 2))
    assert_same_bits(model.forward(turned(IDS))[0], turned(plain.forward(IDS)[0]))
    assert_same_bits(model.forward(IDS[:, 0])[0], plain.forward(IDS[:, 0])[0])
    y, _, tape = model.forward([IDS[:3, 0], IDS[:, 1]], record=True)
    assert [a.shape for a in y] == [(3, 4), (7, 4)]
    assert model.backward(y, tape).dx is None


def test_recordings_are_time_major():
    plain, model = both()
    args = mean_squared_error, [7, 2, 5]
    mine, theirs = model.record(turned(X), turned(Y), *args), plain.record(X, Y, *args)
    assert mine.loss == theirs.loss
    assert_same_bits(mine.y, theirs.y)
    assert_same_bits(mine.layers[0].dstates["c"], theirs.layers[0].dstates["c"])
    assert_same_bits(mine.gradients.dx, theirs.gradients.dx)


def trained(model, batches, loss=mean_squared_error, **options):
    history = fit(model, batches, loss, Adam(0.05), epochs=3, progress=False, **options)
    return history.losses, model.flat.copy()


@pytest.mark.parametrize("lengths", [None, [7, 2, 5], MASK], ids=["full", "lengths", "mask"])
@pytest.mark.parametrize("options", [{}, dict(clip_norm=0.1)])
def test_training_and_evaluation_are_those_of_the_time_major_model(lengths, options):
    plain, model = both()
    expected = trained(plain, [(X, Y, lengths)], **options)
    batch = turned(X), turned(Y), turned(lengths)
    found = trained(model, [batch], **options)
    assert found[0] == expected[0]
    assert_same_bits(found[1], expected[1])
    value = evaluate(plain, [(X, Y, lengths)], mean_squared_error)
    assert evaluate(model, [batch], mean_squared_error) == value
    assert evaluate(model, [Batch(X, Y, lengths)], mean_squared_error) == value


def test_batches_of_batch_first_data():
    plain, model = both()
    expected = trained(plain, Batches(X, Y, 2, rng=0))
    found = trained(model, Batches(turned(X), turned(Y), 2, rng=0, batch_first=True))
    assert found[0] == expected[0]
    assert_same_bits(found[1], expected[1])


def test_ids_lists_and_targets_without_time():
    plain, model = both(lambda: Linear(4, 5), first=lambda: Embedding(5, 2))
    expected = trained(plain, [(IDS, IDS)], softmax_cross_entropy)
    assert trained(model, [(turned(IDS), turned(IDS))], softmax_cross_entropy)[0] == expected[0]
    lists = list(IDS.T), list(IDS.T)
    assert trained(both()[1], [([X[:4, 0], X[:, 1]], [Y[:4, 0], Y[:, 1]])])
    assert evaluate(model, [lists], softmax_cross_entropy) == pytest.approx(
        evaluate(model, [(turned(IDS), turned(IDS))], softmax_cross_entropy), rel=1e-6
    )
    plain, model = both(MeanPool)
    assert trained(plain, [(X, Y[0])])[0] == trained(model, [(turned(X), Y[0])])[0]
    plain, model = both()
    last = at_last_step(mean_squared_error)
    assert trained(plain, [(X, Y[0])], last)[0] == trained(model, [(turned(X), Y[0])], last)[0]


@pytest.mark.parametrize("options", [{}, dict(checkpoint_every=3), dict(look_back=9)])
def test_truncated_bptt_is_that_of_the_time_major_model(options):
    layers = [LSTM(2, 4), Linear(4, 4)]
    runs = [
        TruncatedBPTT(Sequential(*copy.deepcopy(layers), rng=0, batch_first=batch_first), **options)
        for batch_first in (False, True)
    ]
    for _ in range(2):
        value, gradient, y = runs[0].gradient(X, Y, mean_squared_error)
        other, found, out = runs[1].gradient(turned(X), turned(Y), mean_squared_error)
        assert other == value
        assert_same_bits(found, gradient)
        assert_same_bits(out, turned(y))


def test_resets_are_turned_too():
    plain, model = both()
    plain, model = (Sequential(LSTM(2, 4), rng=0, batch_first=b) for b in (False, True))
    resets = RNG.random((T, N)) < 0.3
    y = plain.forward(X, resets=resets)[0]
    assert_same_bits(model.forward(turned(X), resets=turned(resets))[0], turned(y))
    batch = (X, Y, None, False, None, resets)
    value = evaluate(plain, [batch], mean_squared_error)
    assert evaluate(model, [tuple(map(turned, batch))], mean_squared_error) == value
    found = [trained(m, [b])[0] for m, b in ((plain, batch), (model, tuple(map(turned, batch))))]
    assert found[0] == found[1]


def test_predict_agrees_with_forward():
    _, model = both()
    x, lengths = RNG.standard_normal((9, T, 2)).astype("f"), RNG.integers(0, T + 1, 9)
    expected = model.forward(x, lengths=lengths)[0]
    assert_same_bits(predict(model, x, batch=4, lengths=lengths), expected)
    mask = np.arange(T) < lengths[:, None]
    assert_same_bits(predict(model, x, batch=4, lengths=mask), expected)
    lists = predict(model, list(x), batch=4)
    assert_same_bits(np.array(lists), model.forward(x)[0])
    _, pooled = both(MeanPool)
    assert_same_bits(predict(pooled, x, batch=4), pooled.forward(x)[0])


def test_streams_gradchecks_copies_and_files(tmp_path):
    model = Sequential(LSTM(2, 4), Last(), Linear(4, 2), rng=0, batch_first=True)
    y = model.forward(turned(X))[0]
    stream = model.stream()
    for t in range(T):
        answer = stream.step(X[t])
    assert_same_bits(answer, y)
    assert gradcheck(model, turned(X), mean_squared_error, targets=np.zeros((N, 2)))
    _, steps = both()
    assert gradcheck(
        steps, turned(X), mean_squared_error, targets=turned(Y).astype("d"), lengths=turned(MASK)
    )
    model.save(tmp_path / "model")
    for again in (
        load(tmp_path / "model"),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        Sequential.build(model.describe(), model.parameters),
    ):
        assert again.batch_first
        assert repr(again) == repr(model)
        assert_same_bits(again.forward(turned(X))[0], y)
    assert "batch_first" not in Sequential(LSTM(2, 4)).describe()
    assert model.time_major.forward(X)[0].shape == y.shape
    assert model.time_major.flat is model.flat


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: m.forward(X[..., :1]), r"x must be \(N, T, 2\), .*got \(7, 3, 1\)"),
        (lambda m: m.forward(X, lengths=MASK.T), r"lengths must be \(N, T\).*= \(7, 3\), got"),
        (lambda m: m.forward(X, lengths=[1, 2, 3]), "lengths must"),
        (lambda m: m.forward(X, resets=MASK.T), r"resets must be \(N, T\)"),
        (lambda m: Seq2Seq(m, Sequential(LSTM(2, 4))), "the encoder must be time-major"),
        (lambda m: Sequential(m, Linear(4, 2)), "argument 0 is a batch-first model: pass batch_"),
        (lambda m: Sequential(LSTM(2, 2), batch_first=1), "batch_first must be True or False"),
    ],
)
def test_wrong_calls_are_one_line(call, words):
    with pytest.raises((TypeError, ValueError), match=words) as caught:
        call(Sequential(LSTM(2, 4), batch_first=True))
    assert "\n" not in str(caught.value)


def test_a_batch_first_model_inside_a_batch_first_model():
    inner = Sequential(LSTM(2, 4), rng=0, batch_first=True)
    model = Sequential(inner, Linear(4, 2), batch_first=True)
    assert model.forward(turned(X))[0].shape == (N, T, 2)
    assert inner.forward(turned(X))[0].shape == (N, T, 4)
