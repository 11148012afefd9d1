"""Windows and batches: nothing is lost or read twice, and the cursor alone decides what follows."""

import numpy as np
import pytest

from recurrent.charlm.presets import CARRIES
from recurrent.data import Batches, Pairs, Windows
from recurrent.losses import count_entries, mean_squared_error

pytestmark = pytest.mark.reference

L, N = 23, 3
X = np.arange(L * N * 2, dtype=np.float32).reshape(L, N, 2)
Y = np.arange(L * N).reshape(L, N)


@pytest.mark.parametrize("window", [1, 4, 23])
@pytest.mark.parametrize("keep_last", [False, True])
def test_windows_tile_the_data(window, keep_last):
    windows = Windows(X, Y, window, keep_last=keep_last)
    parts = list(windows)
    kept = L if keep_last else L // window * window
    assert len(windows) == len(parts)
    np.testing.assert_array_equal(np.concatenate([b.x for b in parts]), X[:kept])
    np.testing.assert_array_equal(np.concatenate([b.targets for b in parts]), Y[:kept])
    assert all(len(b.x) == window for b in parts[:-1])
    assert all(np.shares_memory(b.x, X) and b.lengths is None for b in parts)
    assert [b.carry for b in parts] == [False] + [True] * (len(parts) - 1)
    assert windows.cuts == tuple(np.cumsum([len(b.x) for b in parts])[:-1])
    assert [counted(b) for b in parts] == [b.targets.size for b in parts]


def test_carry_always_resets_only_at_the_very_first_window():
    windows = Windows(X, Y, 10, carry="always")
    assert [[b.carry for b in windows] for _ in range(2)] == [[False, True], [True, True]]


def test_windows_that_start_from_a_zero_state():
    """In two epochs of three windows, `carry` decides which windows receive a state."""
    carried = {
        "epoch": [False, True, True, False, True, True],
        "always": [False, True, True, True, True, True],
        "never": [False] * 6,
        CARRIES["torch-rnn"]: [False, True, False, True, True, False],
    }
    for carry, expected in carried.items():
        windows = Windows(X, Y, 7, carry=carry)
        assert [windows.batch(k).carry for k in range(6)] == expected
    single = Windows(X, Y, 20, carry=CARRIES["torch-rnn"])
    assert [single.batch(k).carry for k in range(3)] == [False] * 3


def sources():
    lengths = np.arange(7) % 4
    x = np.arange(7 * 4).reshape(4, 7)
    return {
        "windows": lambda: Windows(X, Y, 5),
        "carried over": lambda: Windows(X, Y, 5, carry="always", keep_last=True),
        "batches": lambda: Batches(x, x, 2, rng=3, lengths=lengths),
        "in order": lambda: Batches(x, x[0], 3, rng=None, per_sequence=True, keep_last=False),
    }


def same(a, b):
    return all(np.array_equal(u, v) for u, v in zip(a, b, strict=True))


@pytest.mark.parametrize("name", sources())
def test_the_cursor_resumes_anywhere(name):
    make = sources()[name]
    source = make()
    expected = [b for _ in range(3) for b in source]
    assert source.cursor == len(expected) == 3 * len(source)
    for k in range(len(expected)):
        again = make()
        again.cursor = k
        rest = list(again)
        assert len(rest) == len(again) - k % len(again), "the rest of an epoch"
        assert all(same(a, b) for a, b in zip(rest, expected[k:], strict=False))


def test_the_cursor_counts_the_current_batch():
    windows = Windows(X, Y, 5)
    assert [windows.cursor for _ in windows] == [1, 2, 3, 4]


def test_each_epoch_has_each_sequence_once_in_another_order():
    n = 20
    ids = np.arange(n)
    lengths = ids % 5
    batches = Batches(
        np.broadcast_to(ids, (6, n)), ids * 10, 8, rng=1, lengths=lengths, per_sequence=True
    )
    orders = []
    for _ in range(2):
        parts = list(batches)
        assert [b.x.shape for b in parts] == [(6, 8), (6, 8), (6, 4)]
        order = np.concatenate([b.x[0] for b in parts])
        assert sorted(order) == ids.tolist()
        np.testing.assert_array_equal(np.concatenate([b.targets for b in parts]), order * 10)
        np.testing.assert_array_equal(np.concatenate([b.lengths for b in parts]), lengths[order])
        assert sum(counted(b) for b in parts) == np.count_nonzero(lengths)
        assert not any(b.carry for b in parts)
        orders.append(order.tolist())
    assert orders[0] != orders[1]
    assert orders[0] != ids.tolist()


def counted(batch, features=1):
    """The weight of a batch whose outputs have this many features, by the shapes alone."""
    assert batch.weight is None
    y = np.zeros((*batch.x.shape[:2], features))
    return count_entries(mean_squared_error, y, batch.targets, batch.lengths)


def test_weights_count_valid_entries():
    x = np.zeros((6, 5, 2))
    lengths = np.array([6, 0, 1, 2, 3])
    steps = Batches(x, np.zeros((6, 5, 4)), 3, None, lengths=lengths)
    assert [counted(b, 4) for b in steps] == [28, 20]
    once = Batches(x, np.zeros((5, 4)), 3, None, lengths=lengths, per_sequence=True)
    assert [counted(b, 4) for b in once] == [8, 8]


def test_pairs_of_sequences():
    """The decoder's inputs are the targets one step later, after the start; padding is 0."""
    sources = [np.array(ids) for ids in ([3, 5], [4], [6, 7, 8])]
    targets = [np.array(ids) for ids in ([2, 3, 1], [4, 1], [1])]
    pairs = Pairs(sources, targets, 2, rng=None, start=9)
    assert len(pairs) == 2
    first, second = pairs
    assert first.x.source.tolist() == [[3, 4], [5, 0]]
    assert first.x.target.tolist() == [[9, 9], [2, 4], [3, 0]]
    assert first.targets.tolist() == [[2, 4], [3, 1], [1, 0]]
    assert [a.tolist() for a in first.lengths] == [[2, 1], [3, 2]]
    assert not first.carry
    assert second.x.source.tolist() == [[6], [7], [8]]
    assert (second.x.target.tolist(), second.targets.tolist()) == ([[9]], [[1]])
    whole = Pairs(sources, targets, 2, rng=None, keep_last=False)
    assert [b.targets.tolist() for b in whole] == [first.targets.tolist()]
    shuffled = list(Pairs(sources, targets, 1, rng=1))
    assert sorted(b.targets[:, 0].tolist() for b in shuffled) == [[1], [2, 3, 1], [4, 1]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: Windows(X, Y[:-1], 5),
            ValueError,
            r"same number of steps, got shapes \(23, 3, 2\) and \(22, 3\)",
        ),
        (lambda: Windows(X, Y, 24), ValueError, "at least 24 steps for windows of 24, got 23"),
        (
            lambda: Windows(X[:0], Y[:0], 24, keep_last=True),
            ValueError,
            "at least 1 steps for windows of 24, got 0",
        ),
        (
            lambda: Windows(X, Y, 5, carry="often"),
            ValueError,
            "carry must be one of epoch, always, never, got 'often'",
        ),
        (lambda: Windows(X, Y, 0), ValueError, "window must be at least 1, got 0"),
        (lambda: Windows(X, Y, 2.5), TypeError, "window must be an int, got float"),
        (
            lambda: Batches(X, Y[:, :2], 5),
            ValueError,
            r"y must be \(T, N, ...\) with T, N = 23, 3, got \(23, 2\)",
        ),
        (
            lambda: Batches(X, Y, 5, per_sequence=True),
            ValueError,
            r"y must be \(N, ...\) with N = 3, got \(23, 3\)",
        ),
        (
            lambda: Batches(X, Y, 5, keep_last=False),
            ValueError,
            "at least 5 sequences for batches of 5, got 3",
        ),
        (lambda: Batches(X[:, 0, 0], Y, 5), ValueError, r"x must be \(T, N, ...\), got \(23,\)"),
        (lambda: Windows([X, X], Y, 5), TypeError, r"x must be an array \(L, N, ...\), got a list"),
        (lambda: Windows(X, Y, 5, carry=3), TypeError, "carry must be one of epoch, always, never"),
        (
            lambda: Windows(X, Y, 5, keep_last=1),
            TypeError,
            "keep_last must be True or False, got 1",
        ),
        (lambda: Batches(X, Y[0], 2, per_sequence=1), TypeError, "per_sequence must be True or Fa"),
        (
            lambda: Batches(X, np.zeros((N, 5)), 2),
            ValueError,
            "for one target per sequence pass per_sequence",
        ),
        (
            lambda: Batches(X.swapaxes(0, 1), Y[0], 2),
            ValueError,
            r"got \(3,\); x looks batch-first, \(N, T, ...\): pass batch_first=True",
        ),
        (
            lambda: Batches(X, Y, 2, lengths=np.arange(L)),
            ValueError,
            r"lengths must be \(N,\) = \(3,\), got \(23,\); x looks batch-first",
        ),
        (
            lambda: Batches(X, Y[:, 0], 2, batch_first=True, per_sequence=False),
            ValueError,
            "for one target",
        ),
        (
            lambda: Batches(X, Y[0], 2, batch_first=True),
            ValueError,
            "x looks time-major, .*: leave out batch_first=True",
        ),
        (
            lambda: Batches(X, Y, 2, lengths=np.ones((N, L), bool)),
            ValueError,
            r"lengths as a mask must be \(T, N\) = \(23, 3\), got \(3, 23\)",
        ),
        (lambda: Batches(X, Y, 2, dtype="float16"), TypeError, "dtype must be float32 or float64"),
        (
            lambda: Batches([[0.5, 1], [2.0, 3]], [[0.5, 1], [2.0, 3]], 2),
            ValueError,
            "y may be 2 numbers for each sequence or one for each of its steps: pass per_sequence",
        ),
        (lambda: Batches([["a", "b"]], [[0, 1]], 1), TypeError, "x must be numbers, got str"),
        (lambda: Batches(X, Y.astype(complex), 2), TypeError, "y must be numbers, got complex128"),
        (lambda: Batches([1, 2], [1, 2], 2), TypeError, r"x must be a list of arrays \(T_i, ...\)"),
        (
            lambda: Batches([X[0], X[1]], [[1.0, 2.0], [3.0]], 2, per_sequence=True),
            ValueError,
            r"y\[1\] must be \(2,\) as y\[0\], got \(1,\)",
        ),
        (lambda: Batches(X, None, 2), ValueError, r"y must be \(T, N, ...\)"),
        (lambda: Batches([X[0], X[0]], [X[0]], 2), ValueError, "y must have an entry for each of"),
        (lambda: Batches(X, Y, 2, rng="a"), TypeError, "rng must be an int, a numpy.random.Gener"),
        (lambda: Pairs(3, [], 2), TypeError, "sources must be a list of arrays, got int"),
        (lambda: Pairs([X[0]], [[0.5]], 2), TypeError, r"targets\[0\] must be integers, got float"),
        (
            lambda: Pairs([X[0]], [[[1]]], 2),
            ValueError,
            r"targets\[0\] must be \(T,\), got \(1, 1\)",
        ),
        (lambda: Pairs([1, 2], [[1], [2]], 2), TypeError, "sources must be a list of arrays"),
        (lambda: Pairs([X[0]], [[1]], 1, start=-1), ValueError, "start must be at least 0, got -1"),
        (
            lambda: Batches(X, Y, 2, lengths=[1, 2]),
            ValueError,
            r"lengths must be \(N,\) = \(3,\), got \(2,\)",
        ),
    ],
)
def test_bad_input_is_one_clear_line(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_lists_and_masks_of_batches():
    """A list is padded, not read with its axes exchanged; a mask goes along with its sequences."""
    x = [np.full((2, 1), n, np.float32) for n in range(2)]
    batches = Batches(x, [np.array([n, n]) for n in range(2)], 2, None)
    batch = batches.batch(0)
    assert batch.x[..., 0].tolist() == [[0, 1], [0, 1]]
    assert batch.targets.tolist() == [[0, 1], [0, 1]]
    assert batch.lengths.tolist() == [2, 2]
    once = Batches([x[0], x[1][:1]], [5, 6], 2, None, per_sequence=True).batch(0)
    assert (once.lengths.tolist(), once.targets.tolist()) == ([2, 1], [5, 6])
    mask = np.random.default_rng(0).random((L, N)) < 0.5
    parts = list(Batches(X, Y, 2, 3, lengths=mask))
    for b in parts:
        order = [int(n) for n in b.targets[0]]  # row 0 of Y counts the sequences
        np.testing.assert_array_equal(b.lengths, mask[:, order])


def test_pairs_take_plain_lists():
    batch = Pairs([[1, 2], [3]], [[1], [2, 3]], 2, None).batch(0)
    assert batch.targets.T.tolist() == [[1, 0], [2, 3]]
    assert batch.lengths.source.tolist() == [2, 1]
