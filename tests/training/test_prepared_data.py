"""Ragged lists, batch-first arrays, sliding windows, missing values and scalers."""

import json
import pickle

import numpy as np
import pytest

from recurrent import GRU, Last, Linear, Sequential, evaluate, fit
from recurrent.data import (
    Batches,
    Scaler,
    SlidingWindows,
    Windows,
    fill_missing,
    pad_sequences,
    unpad_sequences,
)
from recurrent.losses import mean_squared_error
from recurrent.optim import Adam

pytestmark = pytest.mark.reference

RNG = np.random.default_rng(0)
LENGTHS = [4, 1, 6, 2, 3]
RAGGED = [RNG.standard_normal((n, 2)) for n in LENGTHS]
SERIES = np.arange(20.0)


def test_padding_and_its_inverse():
    for batch_first in (False, True):
        padded, lengths = pad_sequences(RAGGED, batch_first=batch_first, dtype="float32")
        assert padded.shape == ((5, 6, 2) if batch_first else (6, 5, 2))
        assert (lengths.tolist(), padded.dtype.name) == (LENGTHS, "float32")
        again = unpad_sequences(padded, lengths, batch_first=batch_first)
        for a, b in zip(RAGGED, again, strict=True):
            np.testing.assert_array_equal(a.astype("f"), b)
    ids, _ = pad_sequences([[1, 2], [3]], -1)
    assert ids.tolist() == [[1, 3], [2, -1]]
    assert np.isnan(pad_sequences([SERIES[:2], SERIES[:1]], np.nan)[0][1, 1])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: pad_sequences([[1, 2], [3]], 0.5), "value must be an int, got float"),
        (lambda: pad_sequences([[1], [2.0]]), r"sequences\[1\] must have the dtype of"),
        (lambda: pad_sequences([1, 2]), r"sequences must be a list of arrays \(T_i, ...\)"),
        (lambda: pad_sequences(np.zeros(3)), "sequences must be a list of arrays or lists"),
        (lambda: pad_sequences([["a"], ["b"]], dtype="float32"), "must be numbers"),
        (lambda: unpad_sequences(np.zeros((2, 1)), [3]), "lengths must be between 0 and T = 2"),
        (lambda: SlidingWindows(SERIES, 20, 2), "x must have at least 21 steps .* 1 ahead, got 20"),
        (lambda: SlidingWindows(SERIES, 3, 2, y=SERIES[1:]), "y must have the steps of x"),
        (lambda: SlidingWindows(SERIES, 3, 2, ahead=-1), "ahead must be at least 1, got -1"),
        (lambda: SlidingWindows(SERIES, 3, 2, mask=SERIES > 99), "x must have a window with a"),
        (lambda: SlidingWindows(SERIES, 3, 2, mask=SERIES), "mask must be bool"),
        (
            lambda: SlidingWindows([SERIES, np.where(SERIES == 3, -np.inf, SERIES)], 3, 2),
            r"x must be finite at valid steps, got \[-?inf\] at step 23: filled, present = data.f",
        ),
        (lambda: fill_missing(SERIES, "next"), "value must be one of previous or a number"),
        (lambda: fill_missing(["a"]), r"x\[0\] must be numbers"),
        (lambda: Scaler("max"), "kind must be one of standard, minmax, got 'max'"),
        (lambda: Scaler().transform(SERIES), "this Scaler knows no features: call fit"),
        (lambda: Scaler().fit(np.full((3, 1), np.nan)), "got none of feature 0"),
        (lambda: Scaler().fit([SERIES], [3]), "lengths must be None if x is a list"),
        (lambda: Scaler().fit(np.eye(3)).transform(np.eye(2)), "x must have 3 features"),
        (lambda: Scaler.build({}), "description must be the dict of Scaler.describe"),
        (
            lambda: Scaler.build({"kind": "minmax", "shift": [0.0], "scale": [0.0]}),
            "scale above 0",
        ),
    ],
)
def test_bad_input_is_one_clear_line(call, words):
    with pytest.raises((TypeError, ValueError), match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("once", [False, True])
def test_a_list_is_padded_batch_by_batch(once):
    """Each batch is as long as its longest sequence, and holds what the padded array holds."""
    targets = [float(n) for n in LENGTHS] if once else [a[:, :1] for a in RAGGED]
    x, lengths = pad_sequences(RAGGED)
    y = np.array(targets) if once else pad_sequences(targets)[0]
    listed = Batches(RAGGED, targets, 2, rng=1)
    padded = Batches(x, y, 2, rng=1, lengths=lengths)
    assert listed.per_sequence == padded.per_sequence == once
    for a, b in zip(listed, padded, strict=True):
        longest = max(a.lengths)
        assert a.lengths.tolist() == b.lengths.tolist()
        np.testing.assert_array_equal(a.x, b.x[:longest])
        np.testing.assert_array_equal(a.targets, b.targets if once else b.targets[:longest])


def test_lists_of_plain_numbers_are_sequences():
    words = Batches([[3, 1, 2], [5, 6]], [[0, 0, 1], [1, 1]], 2, None).batch(0)
    assert words.x.T.tolist() == [[3, 1, 2], [5, 6, 0]]
    assert (words.targets.T.tolist(), words.lengths.tolist()) == ([[0, 0, 1], [1, 1, 0]], [3, 2])
    vectors = Batches([[3, 1], [5, 6]], [[1, 0, 0], [0, 1, 1]], 2, None, per_sequence=True)
    assert vectors.batch(0).targets.tolist() == [[1, 0, 0], [0, 1, 1]]
    steps = Batches([[0.5, 1], [2.0, 3]], [[0.5, 1], [2.0, 3]], 2, None, per_sequence=False)
    assert steps.batch(0).targets.T.tolist() == [[0.5, 1], [2, 3]]


@pytest.mark.parametrize("masked", [False, True])
def test_batch_first_arrays_give_the_batches_of_time_major_ones(masked):
    x, lengths = pad_sequences(RAGGED)
    steps = np.arange(6)[:, None] % 3 < np.array(LENGTHS) if masked else lengths
    other = steps.T if masked else steps
    for y in (x[..., :1], np.arange(5)):
        turned = y.swapaxes(0, 1) if y.ndim > 1 else y
        first = Batches(x.swapaxes(0, 1), turned, 2, 4, lengths=other, batch_first=True)
        for a, b in zip(first, Batches(x, y, 2, 4, lengths=steps), strict=True):
            for u, v in zip(a[:3], b[:3], strict=True):
                np.testing.assert_array_equal(u, v)
            assert a.x.flags.c_contiguous


def test_one_target_per_sequence_is_seen():
    x = np.zeros((4, 3, 2))
    assert Batches(x, np.arange(3), 3, None).batch(0).targets.tolist() == [0, 1, 2]
    assert not Batches(np.zeros((3, 3)), np.zeros((3, 3)), 2).per_sequence


def test_a_dtype_converts_floats_and_leaves_ids():
    x, ids = np.zeros((4, 3, 2)), np.zeros((4, 3), int)
    for batches in (Batches(x, ids, 2, dtype="float32"), Windows(x, ids, 2, dtype="float32")):
        batch = batches.batch(0)
        assert (batch.x.dtype.name, batch.targets.dtype.kind) == ("float32", "i")
    listed = Batches(RAGGED, [a > 0 for a in RAGGED], 5, dtype="float32").batch(0)
    assert listed.x.dtype.name == listed.targets.dtype.name == "float32"
    plain = Batches(x, ids, 2).batch(0)
    assert plain.x.dtype.name == "float64"


def test_an_error_of_dtypes_says_what_to_write():
    model = Sequential(GRU(2, 3), Linear(3, 1))
    x, y = np.zeros((4, 3, 2)), np.zeros((4, 3, 1))
    for data in ((x, y), (x.astype("f"), y)):
        with pytest.raises(TypeError, match=r'float64; .* dtype="float32"') as caught:
            fit(model, Batches(*data, 3), mean_squared_error, Adam(), progress=False)
        assert "\n" not in str(caught.value)
    fit(model, Batches(x, y, 3, dtype="float32"), mean_squared_error, Adam(), progress=False)


def windows_by_hand(x, y, steps, ahead, stride):
    last = len(x) - steps - max(ahead)
    return [
        (x[s : s + steps], np.concatenate([y[s + steps - 1 + k] for k in ahead]))
        for s in range(0, last + 1, stride)
    ]


def test_the_mask_leaves_out_targets_of_another_series_too():
    x, known = np.arange(12.0), np.arange(12) % 5 != 4  # steps 4 and 9 are missing
    for y_mask, steps in ((None, [3, 5, 6, 7, 8, 10, 11]), (np.arange(12) > 9, [10, 11])):
        windows = SlidingWindows(x, 3, 20, rng=None, y=10 * x, mask=known, y_mask=y_mask)
        assert windows.batch(0).targets[:, 0].tolist() == [10 * k for k in steps]
    last = SlidingWindows(x, 3, 20, rng=None, y=x, ahead=0)
    assert last.batch(0).targets[0] == 2
    with pytest.raises(ValueError, match="ahead must be at least 1, got 0"):
        SlidingWindows(x, 3, 20, ahead=0)


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("ahead", [[1], [4], [1, 2, 5], [0]])
def test_sliding_windows_are_those_of_a_loop(ahead, stride):
    x, y = RNG.standard_normal((23, 2)), RNG.standard_normal((23, 3))
    expected = windows_by_hand(x, y, 5, ahead, stride)
    got = SlidingWindows(x, 5, 4, None, y=y, ahead=ahead, stride=stride)
    assert len(expected) == got.N
    np.testing.assert_array_equal(
        np.concatenate([b.x for b in got], axis=1).swapaxes(0, 1), [w for w, _ in expected]
    )
    np.testing.assert_array_equal(
        np.concatenate([b.targets for b in got]), [t for _, t in expected]
    )


def test_no_window_goes_over_the_end_of_a_series():
    windows = SlidingWindows([SERIES[:4], SERIES[10:12], SERIES[4:8]], 2, 9, None)
    batch = windows.batch(0)
    assert batch.x[..., 0].T.tolist() == [[0, 1], [1, 2], [4, 5], [5, 6]]
    assert batch.targets[:, 0].tolist() == [2, 3, 6, 7]


def test_ids_stay_ids():
    batch = SlidingWindows(np.arange(6), 3, 9, None).batch(0)
    assert (batch.x.T.tolist(), batch.targets.tolist()) == (
        [[0, 1, 2], [1, 2, 3], [2, 3, 4]],
        [3, 4, 5],
    )


def test_windows_leave_out_missing_targets_and_mask_missing_steps():
    series = SERIES.copy()
    series[[5, 10, 11, 12]] = np.nan
    filled, present = fill_missing(series)
    batch = SlidingWindows(filled, 3, 99, None, mask=present).batch(0)
    expected = [s for s in range(17) if s + 3 not in (5, 10, 11, 12) and s != 10]
    assert batch.x[0, :, 0].tolist() == [filled[s] for s in expected]
    np.testing.assert_array_equal(
        batch.lengths, np.stack([present[s : s + 3] for s in expected], axis=1)
    )
    np.testing.assert_array_equal(batch.targets[:, 0], [series[s + 3] for s in expected])


def test_the_values_at_masked_steps_change_no_bit():
    series = np.sin(0.3 * SERIES)
    series[[4, 9, 10]] = np.nan
    model = Sequential(GRU(1, 4), Last(), Linear(4, 1), rng=0, dtype="float64")
    losses = []
    for value in (0.0, 1e6, "previous"):
        filled, present = fill_missing(series, value)
        windows = SlidingWindows(filled, 4, 5, mask=present)
        losses.append(evaluate(model, windows, mean_squared_error))
    assert losses[0] == losses[1] == losses[2]
    assert np.isfinite(losses[0])


def test_training_on_missing_values_says_what_to_do():
    x = np.zeros((4, 3, 1), "f")
    x[2, 1] = np.nan
    model = Sequential(GRU(1, 2), Linear(2, 1))
    with pytest.raises(
        FloatingPointError, match=r"\(2, 1, 0\) \(missing values: data.fill_missing"
    ):
        fit(model, Batches(x, 0 * x, 3, None), mean_squared_error, Adam(), progress=False)
    filled, present = fill_missing(x)
    assert present[..., 0].sum() == 11
    data = Batches(filled, 0 * filled, 3, lengths=present[..., 0])
    assert np.isfinite(fit(model, data, mean_squared_error, Adam(), progress=False).losses).all()


def test_filling_with_the_last_value():
    x = np.array([[np.nan, 1], [2, np.nan], [np.nan, np.nan], [3, 4]])
    filled, present = fill_missing([x, x], "previous")
    assert filled[1].tolist() == [[0, 1], [2, 1], [2, 1], [3, 4]]
    assert present[0].tolist() == (~np.isnan(x)).tolist()
    assert np.isnan(x[0, 0])
    assert fill_missing(x.astype("f"), 7)[0].dtype.name == "float32"
    assert fill_missing(np.arange(3))[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", ["standard", "minmax"])
def test_a_scaler_counts_valid_steps_alone(kind):
    rows = np.concatenate(RAGGED)
    padded, lengths = pad_sequences(RAGGED, 1e9)
    mask = np.arange(6)[:, None] < lengths
    gaps = rows.copy()
    gaps[3, 0] = np.nan
    scalers = [
        Scaler(kind).fit(RAGGED),
        Scaler(kind).fit(padded, lengths),
        Scaler(kind).fit(padded, mask),
        Scaler(kind).fit(padded.swapaxes(0, 1), mask.T, batch_first=True),
        Scaler(kind).fit(padded.swapaxes(0, 1), lengths, batch_first=True),
    ]
    for scaler in scalers:
        scaled = scaler.transform(rows)
        if kind == "standard":
            np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-14)
            np.testing.assert_allclose(scaled.std(0), 1, atol=1e-14)
        else:
            np.testing.assert_allclose([scaled.min(0), scaled.max(0)], [[0, 0], [1, 1]], atol=1e-14)
    fitted = Scaler(kind).fit(gaps)
    np.testing.assert_array_equal(
        fitted.shift[0], Scaler(kind).fit(np.delete(rows[:, 0], 3)).shift[0]
    )
    assert np.isnan(fitted.transform(gaps)[3, 0])


@pytest.mark.parametrize("size", [2.0**-1000, 2.0**1018])
def test_the_size_of_values_changes_no_bit_of_what_a_scaler_gives(size):
    x = np.random.default_rng(0).standard_normal((50, 2))
    plain, other = Scaler().fit(x), Scaler().fit(x * size)
    np.testing.assert_array_equal(other.shift, plain.shift * size)
    np.testing.assert_array_equal(other.scale, plain.scale * size)
    np.testing.assert_array_equal(other.transform(x * size), plain.transform(x))


@pytest.mark.parametrize("value", [0.1, 1e5 / 3, -1e-9])
def test_the_mean_of_a_constant_feature_may_be_rounded(value):
    """Its standard deviation is then a rounding error, no scale of other values."""
    assert Scaler().fit(np.full(1001, value)).scale.tolist() == [1.0]


def test_a_scaler_keeps_dtypes_shapes_and_constants():
    x = np.stack([SERIES, np.full(20, 5.0)], axis=1).astype("f")
    scaler = Scaler().fit(x)
    scaled = scaler.transform(x)
    assert scaled.dtype.name == "float32"
    assert not scaled[:, 1].any()
    np.testing.assert_allclose(scaler.inverse_transform(scaled), x, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(scaler.transform([x, x[:3]])[1], scaled[:3])
    one = Scaler("minmax").fit(SERIES)
    np.testing.assert_allclose(one.inverse_transform(np.full((2, 3), 0.5)), 9.5)
    assert one.fit_transform(np.arange(5)).tolist() == [0, 0.25, 0.5, 0.75, 1]
    copies = (
        Scaler.build(json.loads(json.dumps(scaler.describe()))),
        pickle.loads(pickle.dumps(scaler)),
    )
    for again in copies:
        np.testing.assert_array_equal(again.transform(x), scaled)
    assert Scaler.build(Scaler().describe()).shift is None
