"""Resets cut sequences into episodes, each with the bits of a sequence of its own."""

import numpy as np
import pytest

from recurrent import (
    GRU,
    LSTM,
    Attention,
    Dropout,
    Embedding,
    Hold,
    Last,
    LayerNorm,
    Linear,
    Recurrent,
    Residual,
    Seq2Seq,
    Sequential,
    TruncatedBPTT,
    evaluate,
    fit,
)
from recurrent.cells import CELLS
from recurrent.conformance.tolerance import assert_same_bits
from recurrent.data import Batch, Batches, Windows
from recurrent.losses import mean_squared_error
from recurrent.optim import SGD

D, H, N, T = 3, 5, 4, 9


def numbers(*shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def mask(seed=1, rate=0.3):
    resets = np.random.default_rng(seed).random((T, N)) < rate
    resets[:, 1] = False  # one episode
    resets[0, 2], resets[4, 2] = True, True  # begins anew at once
    resets[0, [0, 3]] = False
    return resets


def parts(resets, lengths=None):
    """Return (n, first step, step after the last, whether a state goes on) for each episode."""
    found = []
    for n in range(resets.shape[1]):
        starts = sorted({0, *np.flatnonzero(resets[:, n]).tolist()})
        for a, b in zip(starts, [*starts[1:], len(resets)], strict=True):
            end = b if lengths is None else min(b, lengths[n])
            if a < end:
                found.append((n, a, end, a == 0 and not resets[0, n]))
    return found


def rows(state, n):
    """Return the state of a sequence of a batch, or of several."""
    if state is None or isinstance(state, np.ndarray):
        return None if state is None else state[n]
    parts = [rows(a, n) for a in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def arrays(state):
    if state is None:
        return []
    return [state] if isinstance(state, np.ndarray) else [a for s in state for a in arrays(s)]


def assert_same_arrays(ours, theirs):
    for a, b in zip(arrays(ours), arrays(theirs), strict=True):
        assert_same_bits(a, b)


def stack(dtype="float32", **options):
    first = {k: v for k, v in options.items() if k != "bidirectional"}
    top = GRU(H, 2, **options)
    layers = LSTM(D, H, **first), LayerNorm(H), Dropout(0.0), top, Linear(top.out_features, 2)
    model = Sequential(*layers, rng=1, dtype=dtype)
    for k in (0, 3):
        for name in model[k].initial:
            a = model.parameters[f"{k}.{name}"]
            a[:] = numbers(a.size, dtype=dtype, seed=a.size)
    return model


OPTIONS = [{}, {"learn_state": True}, {"bidirectional": True}]


@pytest.mark.reference
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("lengths", [None, [9, 4, 7, 0]])
@pytest.mark.parametrize("carried", [False, True])
def test_each_episode_gives_the_bits_that_it_gives_alone(options, lengths, carried):
    model, x, resets = stack(**options), numbers(T, N, D), mask()
    state = model.forward(numbers(3, N, D, seed=5))[1] if carried else None
    y, final, tape = model.forward(x, state, lengths, record=True, resets=resets)
    dy = numbers(*y.shape, seed=7)
    grads = model.backward(dy, tape)
    assert_same_arrays((y, final), model.forward(x, state, lengths, resets=resets)[:2])
    for n, a, b, goes_on in parts(resets, lengths):
        start = rows(state, n) if goes_on and carried else None
        y_alone, final_alone, tape = model.forward(x[a:b, n], start, record=True)
        assert_same_bits(y[a:b, n], y_alone)
        alone = model.backward(dy[a:b, n], tape)
        assert_same_bits(grads.dx[a:b, n], alone.dx)
        if goes_on:
            assert_same_arrays(rows(grads.state, n), alone.state)
        if b == (T if lengths is None else lengths[n]):
            assert_same_arrays(rows(final, n), final_alone)
    if lengths is not None:  # nothing ran: the state stays
        expected = rows(state, 3) if carried else rows(model.forward(x[:0])[1], 3)
        assert_same_arrays(rows(final, 3), expected)
        assert not y[7:, 2].any() or model[4].parameters["bias"].any()


@pytest.mark.parametrize("options", OPTIONS)
def test_the_gradient_of_parameters_is_that_of_the_list_of_episodes(options):
    model, x, resets = stack(**options), numbers(T, N, D), mask()
    y, _, tape = model.forward(x, record=True, resets=resets)
    dy = numbers(*y.shape, seed=7)
    ours = model.backward(dy, tape).params
    cut = parts(resets)
    _, _, tape = model.forward([x[a:b, n] for n, a, b, _ in cut], record=True)
    theirs = model.backward([dy[a:b, n] for n, a, b, _ in cut], tape).params
    for name in ours:
        if name[0] in "03":  # the rows of a recurrent layer are in the same order
            assert_same_bits(ours[name], theirs[name])
        else:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-6)


def test_the_gradient_is_that_of_the_function():
    """Central differences in float64, with a state that goes on and a learned one."""
    model, x, resets = stack("float64", learn_state=True), numbers(T, N, D, dtype="float64"), mask()
    state = model.forward(numbers(3, N, D, dtype="float64", seed=5))[1]
    y, final, tape = model.forward(x, state, record=True, resets=resets)
    weights = numbers(*y.shape, dtype="float64", seed=7)
    d_final = tuple(
        None if s is None else type(s)(*(numbers(*a.shape, dtype="float64", seed=3) for a in s))
        for s in final
    )
    grads = model.backward(weights, tape, d_final)

    def value():
        y, final, _ = model.forward(x, state, resets=resets)
        pairs = zip(arrays(final), arrays(d_final), strict=True)
        return (weights * y).sum() + sum((a * b).sum() for a, b in pairs)

    rng = np.random.default_rng(0)
    tried = [(model.flat, np.concatenate([grads.params[n].ravel() for n in model.parameters]))]
    tried += [(x, grads.dx), *zip(arrays(state), arrays(grads.state), strict=True)]
    for a, gradient in tried:
        direction, before = rng.standard_normal(a.shape), a.copy()
        ends = []
        for sign in (1, -1):
            a[:] = before + sign * 1e-6 * direction
            ends.append(value())
        a[:] = before
        np.testing.assert_allclose(
            (ends[0] - ends[1]) / 2e-6, (gradient.reshape(a.shape) * direction).sum(), rtol=1e-6
        )


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_every_cell_runs_in_episodes(cell):
    proj_size = 2 if CELLS[cell].has_projection else 0
    model = Sequential(Recurrent(cell, D, H, proj_size=proj_size), rng=2)
    x, resets = numbers(T, N, D), mask()
    y, _, tape = model.forward(x, record=True, resets=resets)
    grads = model.backward(y, tape)
    for n, a, b, _ in parts(resets)[:3]:
        alone, _, tape = model.forward(x[a:b, n], record=True)
        assert_same_bits(y[a:b, n], alone)
        assert_same_bits(grads.dx[a:b, n], model.backward(alone, tape).dx)


def test_ids_and_lists():
    model = Sequential(Embedding(7, D), LSTM(D, H), Linear(H, 2), rng=0)
    counts, resets = [9, 4, 7, 5], mask()
    ids = np.random.default_rng(0).integers(0, 7, (T, N))
    y, final, tape = model.forward(ids, lengths=counts, resets=resets, record=True)
    listed = [ids[:k, n] for n, k in enumerate(counts)]
    for given in ([resets[:k, n] for n, k in enumerate(counts)], resets):
        y_list, final_list, tape_list = model.forward(listed, resets=given, record=True)
        assert_same_arrays(final, final_list)
        for n, k in enumerate(counts):
            assert_same_bits(y_list[n], y[:k, n])
    ours, theirs = model.backward(y, tape), model.backward(y_list, tape_list)
    for name in ("0.weight", "1.weight_hh_l0"):
        np.testing.assert_allclose(ours.params[name], theirs.params[name], rtol=1e-5, atol=1e-6)
    for n, a, b, _ in parts(resets, counts):
        assert_same_bits(y[a:b, n], model.forward(ids[a:b, n])[0])
    with pytest.raises(ValueError, match="resets must have the lengths of x"):
        model.forward(listed, resets=[resets[:, n] for n in range(N)])


def test_valid_steps_with_gaps():
    """A reset at a step that is not valid takes effect at the next one that is."""
    model, x = Sequential(GRU(D, H), rng=0), numbers(T, 1, D)
    valid = np.array([1, 1, 0, 0, 1, 1, 1, 0, 0], bool)[:, None]
    resets = np.zeros((T, 1), bool)
    resets[[3, 8]] = True
    y, final, _ = model.forward(x, lengths=valid, resets=resets)
    first, second = model.forward(x[:2, 0])[0], model.forward(x[4:7, 0])
    assert_same_bits(
        y[:, 0], np.concatenate([first, 0 * x[:2, 0, :1] * first[:1], second[0], first * 0])
    )
    assert_same_arrays(rows(final, 0), second[1])


def test_episodes_within_a_residual():
    inner = Residual(LSTM(D, D), Linear(D, D))
    model, x, resets = Sequential(inner, Linear(D, 2), rng=0), numbers(T, N, D), mask()
    state = model.forward(numbers(3, N, D, seed=5))[1]
    y, final, tape = model.forward(x, state, record=True, resets=resets)
    grads = model.backward(y, tape)
    for n, a, b, goes_on in parts(resets):
        start = rows(state, n) if goes_on else None
        alone, final_alone, tape = model.forward(x[a:b, n], start, record=True)
        assert_same_bits(y[a:b, n], alone)
        assert_same_bits(grads.dx[a:b, n], model.backward(alone, tape).dx)
        if b == T:
            assert_same_arrays(rows(final, n), final_alone)


def test_no_resets_are_no_episodes():
    model, x = stack(), numbers(T, N, D)
    for lengths in (None, [9, 4, 7, 0]):
        y, final, tape = model.forward(x, lengths=lengths, record=True)
        none = np.zeros((T, N), bool)
        ours = model.forward(x, lengths=lengths, record=True, resets=none)
        assert_same_arrays(ours[:2], (y, final))
        grads, expected = model.backward(y, ours[2]), model.backward(y, tape)
        assert_same_bits(grads.dx, expected.dx)
        for name, a in expected.params.items():
            assert_same_bits(grads.params[name], a)
    y, final, _ = model.forward(x[:0], resets=none[:0])
    assert y.shape == (0, N, 2)
    assert final[0].h.shape == (N, H)


def test_a_stream_reset_by_rows_gives_the_same():
    model, x, resets = stack(learn_state=True), numbers(T, N, D), mask()
    y, _, _ = model.forward(x, resets=resets)
    stream = model.stream()
    for t in range(T):
        stream.reset(rows=resets[t])
        assert_same_bits(stream.step(x[t]), y[t])


def test_dropout_inside_a_layer_has_one_mask_per_sequence():
    layer = LSTM(D, H, recurrent_dropout=0.5)
    model, x, resets = Sequential(layer, rng=0), numbers(T, N, D), mask()
    state = model.forward(numbers(3, N, D, seed=5))[1]
    model.generator = np.random.default_rng(0)
    y, _, tape = model.forward(x, state, record=True, resets=resets)
    grads = model.backward(y, tape)
    for first in (None, state):
        model.generator = np.random.default_rng(0)
        whole, _, tape = model.forward(x, first, record=True)
        until = int(np.flatnonzero(resets[:, 0])[0])
        if first is not None:
            assert_same_bits(y[:until, 0], whole[:until, 0])
            assert np.any(y[until:, 0] != whole[until:, 0])
    assert grads.state[0].h.shape == (N, H)
    assert np.any(grads.state[0].h[1])
    assert not np.any(grads.state[0].h[2])  # reset at once


@pytest.mark.parametrize(
    ("build", "resets", "error", "words"),
    [
        (stack, mask()[:4], ValueError, r"resets must be \(T, N\) = \(9, 4\), got \(4, 4\)"),
        (stack, mask().astype(int), TypeError, "resets must be bool"),
        (stack, True, ValueError, "resets must be"),
        (lambda: Sequential(LSTM(D, H), Last()), mask(), ValueError, r"layer 1 \(Last\) reads"),
        (lambda: Sequential(LSTM(D, H), Hold()), mask(), ValueError, r"layer 1 \(Hold\) reads"),
        (lambda: Sequential(Attention(D)), mask(), ValueError, r"layer 0 \(Attention\) reads"),
    ],
)
def test_resets_that_do_not_fit(build, resets, error, words):
    with pytest.raises(error, match=words):
        build().forward(numbers(T, N, D), resets=resets)


def test_what_has_no_episodes():
    with pytest.raises(ValueError, match=r"resets needs a batch: x must be \(T, N, D\), got"):
        stack().forward(numbers(T, D), resets=mask()[:, 0])
    pair = Seq2Seq(
        Sequential(Embedding(5, 3), LSTM(3, 4)),
        Sequential(Embedding(5, 3), LSTM(3, 4), Linear(4, 5)),
    )
    ids = np.zeros((T, N), int)
    with pytest.raises(ValueError, match="a Seq2Seq has no episodes"):
        pair.forward((ids, ids), resets=mask())
    model, x = stack(), numbers(T, N, D)
    h, c = model.forward(x)[1][0]
    with pytest.raises(ValueError, match=r"layer 0 \(LSTM\): state.h must be"):
        model.forward(x, ((h[:2], c), None, None, None, None), resets=mask())


def series(**options):
    x, y = numbers(T, N, D), numbers(T, N, 2, seed=2)
    return Batches(x, y, 2, rng=3, resets=mask(), **options), x, y


def test_batches_and_windows_have_resets():
    batches, x, _ = series()
    for k in range(2):
        n = batches.indices(k)
        assert_same_bits(batches.batch(k).x, x[:, n])
        assert_same_bits(batches.batch(k).resets, mask()[:, n])
    swapped = Batches(
        x.swapaxes(0, 1), numbers(N, T, 2), 2, rng=3, resets=mask().T, batch_first=True
    )
    assert_same_bits(swapped.batch(0).resets, mask()[:, swapped.indices(0)])
    counts = [9, 4, 7, 5]
    listed = [x[:k, n] for n, k in enumerate(counts)]
    resets = [mask()[:k, n] for n, k in enumerate(counts)]
    of_list = Batches(listed, listed, 2, rng=3, resets=resets).batch(0)
    for column, n in enumerate(swapped.indices(0)):
        assert_same_bits(of_list.resets[: counts[n], column], resets[n])
        assert not of_list.resets[counts[n] :, column].any()
    windows = Windows(x, x, 4, resets=mask())
    assert_same_bits(windows.batch(1).resets, mask()[4:8])
    for make, words in [
        (lambda: Batches(x, x, 2, resets=mask()[1:]), r"resets must be \(T, N\) = \(9, 4\)"),
        (lambda: Windows(x, x, 2, resets=mask()[1:]), r"resets must be \(T, N\) = \(9, 4\)"),
        (lambda: Windows(np.arange(9), np.arange(9), 2, resets=mask()), "resets needs a batch"),
    ]:
        with pytest.raises(ValueError, match=words):
            make()


@pytest.mark.reference
def test_fit_and_evaluate_cut_at_resets():
    batches, x, y = series()
    model = Sequential(GRU(D, H), Linear(H, 2), rng=0)
    twin = Sequential(GRU(D, H), Linear(H, 2), rng=0)
    history = fit(model, batches, mean_squared_error, SGD(0.1), epochs=2, progress=False)
    batches.cursor = 0
    for _ in range(2):
        for batch in batches:
            out, _, tape = twin.forward(batch.x, record=True, resets=batch.resets)
            _, dy = mean_squared_error(out, batch.targets)
            gradient = np.empty_like(twin.flat)
            twin.backward(dy, tape, out=gradient)
            twin.flat -= np.float32(0.1) * gradient
    np.testing.assert_allclose(model.flat, twin.flat, rtol=1e-5, atol=1e-6)
    assert history.updates == 4
    whole = [Batch(x, y, resets=mask())]
    value = mean_squared_error(model.forward(x, resets=mask())[0], y)[0]
    np.testing.assert_allclose(evaluate(model, whole, mean_squared_error), value, rtol=1e-6)
    assert evaluate(model, [Batch(x, y)], mean_squared_error) != pytest.approx(value, rel=1e-6)


def test_what_cannot_be_combined_with_resets():
    model = Sequential(GRU(D, H), Linear(H, 2), rng=0)
    for name in ("look_back", "checkpoint_every"):
        run = TruncatedBPTT(model, **{name: 20})
        with pytest.raises(ValueError, match=f"resets must be None with {name}"):
            run.gradient(numbers(T, N, D), numbers(T, N, 2), mean_squared_error, resets=mask())


@pytest.mark.reference
def test_windows_carry_the_state_of_the_last_episodes():
    model, x, resets = stack(), numbers(T, N, D), mask()
    resets[4, 0] = True  # at the beginning of the second window
    y = model.forward(x, resets=resets)[0]
    run = TruncatedBPTT(model)
    for batch in Windows(x, y, 4, resets=resets, keep_last=True):
        value, _, piece = run.gradient(
            batch.x, batch.targets, mean_squared_error, resets=batch.resets
        )
        assert_same_bits(piece, batch.targets)
        assert value == 0
