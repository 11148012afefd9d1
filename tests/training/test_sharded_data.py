"""Shards of batches: together they are the batch, and each is read without the others."""

import json
import pickle
import subprocess
import sys
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurrent import LSTM, Embedding, Last, Linear, Seq2Seq, Sequential, checks
from recurrent.charlm.training import TextWindows
from recurrent.data import (
    Batch,
    Batches,
    BatchSource,
    Pair,
    Pairs,
    SlidingWindows,
    Windows,
    as_arrays,
)
from recurrent.data.sharding import Shards, count_rows, cut, shard_rows
from recurrent.losses import count_entries, mean_squared_error, softmax_cross_entropy
from recurrent.models.layered import InputLengths
from recurrent.training.reader import Reader

pytestmark = pytest.mark.reference

COUNTS = (1, 2, 4, 8)
T, D, M = 6, 2, 3
RNG = np.random.default_rng(3)
MANY = 11  # sequences of the data
SEQUENCES = [RNG.standard_normal((1 + n % T, D)).astype(np.float32) for n in range(MANY)]
TARGETS = [RNG.integers(0, M, len(a)) for a in SEQUENCES]
RESETS = [RNG.random(len(a)) < 0.3 for a in SEQUENCES]
WEIGHTS = [RNG.integers(0, 3, len(a)) for a in SEQUENCES]
X = RNG.standard_normal((T, MANY, D)).astype(np.float32)
IDS = RNG.integers(0, M, (T, MANY))
MASK = RNG.random((T, MANY)) < 0.7
LENGTHS = RNG.integers(0, T + 1, MANY)


def same(a, b):
    """Return whether two batches, or their parts, are equal, with their types."""
    if isinstance(a, (tuple, list, dict)):
        items = (a.items(), b.items()) if isinstance(a, dict) else (a, b)
        return (
            type(a) is type(b)
            and len(a) == len(b)
            and all(same(u, v) for u, v in zip(*items, strict=True))
        )
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    return type(a) is type(b) and a == b


def picked(a, n):
    return [a[i] for i in n]


# Functions of the numbers n of sequences, a batch size and a seed that return a source of them.
SHUFFLED = {
    "arrays": lambda n, *args: Batches(
        X[:, n], IDS[:, n], *args, resets=MASK[:, n], sample_weight=LENGTHS[n], lengths=LENGTHS[n]
    ),
    "vectors": lambda n, *args: Batches(X[:, n], X[0, n], *args, per_sequence=True),
    "masked": lambda n, *args: Batches(
        X[:, n], X[:, n], *args, lengths=MASK[:, n], sample_weight=MASK[:, n], dtype="float64"
    ),
    "lists": lambda n, *args: Batches(
        picked(SEQUENCES, n),
        picked(TARGETS, n),
        *args,
        resets=picked(RESETS, n),
        sample_weight=picked(WEIGHTS, n),
    ),
    "lists of one class": lambda n, *args: Batches(picked(SEQUENCES, n), IDS[0, n], *args),
    "labels": lambda n, *args: Batches(
        picked(SEQUENCES, n), IDS.T[n], *args, per_sequence=True, dtype="float64"
    ),
    "pairs": lambda n, *args: Pairs(picked(SEQUENCES, n), picked(TARGETS, n), *args, start=1),
    "vector to sequence": lambda n, *args: Pairs(X[0, n], picked(TARGETS, n), *args),
}


@pytest.mark.parametrize("S", COUNTS)
@pytest.mark.parametrize("name", SHUFFLED)
def test_a_shard_has_its_rows_of_each_shuffled_batch(name, S):
    """It is the batch of a source that has only these sequences; the last batch is smaller."""
    make = SHUFFLED[name]
    source = make(np.arange(MANY), 5, 7)
    shards = [source.shard(s, S) for s in range(S)]
    for k in range(2 * len(source)):
        order, read = source.indices(k), []
        for s, shard in enumerate(shards):
            rows = order[len(order) * s // S : len(order) * (s + 1) // S]
            found = shard.batch(k)
            read += shard.indices(k).tolist()
            assert count_rows(found) == len(rows)
            if len(rows):
                expected = make(rows, len(rows), None).batch(0)
                if name == "masked":  # a mask of few sequences may be lengths
                    lengths = checks.inside(expected.lengths, T)
                    expected = expected._replace(lengths=lengths)
                assert same(found, expected)
        assert read == order.tolist()


def joined(batches):
    """Return the time-major arrays of the shards of a batch as those of the batch."""

    def join(parts, axis):
        return None if parts[0] is None else np.concatenate(parts, axis=axis)

    x, y, lengths, carry, weight, resets, weights = zip(*batches, strict=True)
    assert len(set(carry)) == 1
    assert not any(weight)
    time = 1 if y[0].shape[0] == len(x[0]) else 0
    axis = 0 if lengths[0] is None else lengths[0].ndim - 1
    return Batch(
        join(x, 1), join(y, time), join(lengths, axis), carry[0], None, join(resets, 1), weights[0]
    )


WINDOWS = {
    "floats": lambda: Windows(X.repeat(3, 0), IDS.repeat(3, 0), 5, keep_last=True),
    "always": lambda: Windows(X.repeat(3, 0), X.repeat(3, 0), 4, carry="always", dtype="float64"),
    "ids": lambda: Windows(IDS.repeat(2, 0), IDS.repeat(2, 0), 5, resets=MASK.repeat(2, 0)),
    "text": lambda: TextWindows(IDS.repeat(2, 0), IDS.repeat(2, 0), 5, carry="never"),
    "sliding": lambda: SlidingWindows(X[:, 0].repeat(4, 0), 5, 4, 2, ahead=[1, 3]),
    "sliding classes": lambda: SlidingWindows(
        X.reshape(-1, D), 5, 4, 2, y=IDS.reshape(-1), mask=MASK.reshape(-1)
    ),
}


@pytest.mark.parametrize("S", COUNTS)
@pytest.mark.parametrize("name", WINDOWS)
def test_the_shards_of_windows_are_the_windows(name, S):
    source = WINDOWS[name]()
    shards = [source.shard(s, S) for s in range(S)]
    for k in range(2 * len(source)):
        whole = source.batch(k)
        assert same(joined([shard.batch(k) for shard in shards]), whole)
        for s, shard in enumerate(shards):
            N = count_rows(whole)
            assert count_rows(shard.batch(k)) == N * (s + 1) // S - N * s // S


def test_resets_of_a_text_are_those_of_the_streams_of_a_shard():
    """A shard in which no document begins has none."""
    x = np.ones((6, 5), int)
    x[2, 3] = 0
    source = TextWindows(x, x, 3, end=0)
    first, second = (source.shard(s, 2).batch(0) for s in range(2))
    assert first.resets is None
    assert second.resets.tolist() == (x[:3, 2:] == 0).tolist()


# Cutting a batch that is made already


def build(layout, n, N, T):
    """Return a batch of the sequences n of N, in this layout; its data follow from the seed."""
    rng = np.random.default_rng([N, T])
    x, ids = rng.standard_normal((T, N, 2)), rng.integers(0, 5, (T, N))
    counts, floats = rng.integers(1, T + 1, N), rng.standard_normal((N, N + T + 1))
    mask = rng.random((T, N)) < 0.5
    longest = max((int(counts[i]) for i in n), default=0)

    def listed(a):
        return [a[: counts[i], i] for i in n]

    return {
        "steps": lambda: Batch(x[:, n], ids[:, n], counts[n], True, None, mask[:, n], counts[n]),
        "steps and features": lambda: Batch(
            x[:, n], x[:, n], mask[:, n], False, None, None, x[:, n]
        ),
        "ids": lambda: Batch(ids[:, n], x[:, n], sample_weight=mask[:, n]),
        "vectors": lambda: Batch(x[:, n], floats[n], counts[n], sample_weight=floats[n]),
        "classes": lambda: Batch(x[:, n], ids[0, n], sample_weight=counts[n]),
        "labels": lambda: Batch(x[:, n], [np.arange(1 + i) for i in n], counts[n]),
        "lists": lambda: Batch(
            listed(x), listed(ids), None, True, None, listed(mask), listed(x[..., 0])
        ),
        "lists of classes": lambda: Batch(
            listed(x), ids[0, n], resets=mask[:longest, n], sample_weight=counts[n]
        ),
        "pairs": lambda: Batch(
            Pair(x[:, n], ids[:, n]), ids[:, n], Pair(counts[n], counts[n]), False
        ),
        "vector to sequence": lambda: Batch(
            Pair(x[0, n], ids[:, n]), ids[:, n], Pair(None, counts[n])
        ),
        "several": lambda: Batch(
            {"a": x[:, n], "b": ids[:, n], "c": floats[n]},
            {"y": x[:, n], "z": floats[n]},
            {"a": counts[n], "b": mask[:, n], "c": None},
            sample_weight={"y": mask[:, n], "z": counts[n]},
        ),
        "one id": lambda: Batch(
            {"b": ids[0, n], "a": x[:, n]}, x[:, n], InputLengths(a=counts[n], b=None)
        ),
        "several lists": lambda: Batch(
            {"a": listed(x), "b": listed(ids)}, {"y": listed(x), "z": floats[n]}
        ),
    }[layout]()


LAYOUTS = (
    *("steps", "steps and features", "ids", "vectors", "classes", "labels", "lists"),
    *("lists of classes", "pairs", "vector to sequence", "several", "several lists"),
    "one id",
)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(N=st.integers(1, 9), T=st.integers(1, 9), log=st.integers(0, 3))
def test_cut_gives_the_batch_of_the_rows(layout, N, T, log):
    """Also where N is as large as T or as a number of features."""
    S, whole = 2**log, build(layout, range(N), N, T)
    assert count_rows(whole) == N
    for s in range(S):
        n = range(N)[shard_rows(N, s, S)]
        assert same(cut(whole, s, S), build(layout, n, N, T)) or not len(n)


@given(N=st.integers(0, 2**40), log=st.integers(0, 20))
def test_the_rows_of_all_shards_are_the_rows(N, log):
    """They follow each other, and their numbers differ by 1 at most."""
    S = 2**log
    for s in sorted({0, S // 3, S // 2, S - 1}):
        rows = shard_rows(N, s, S)
        assert rows.start == (shard_rows(N, s - 1, S).stop if s else 0)
        assert rows.stop == (shard_rows(N, s + 1, S).start if s < S - 1 else N)
        assert 0 <= rows.stop - rows.start - N // S <= 1


def test_more_shards_halve_the_shards():
    """Twice as many shards cut each one in two, so a process holds whole subtrees."""
    for N in range(20):
        for s in range(4):
            whole, halves = shard_rows(N, s, 4), [shard_rows(N, 2 * s + i, 8) for i in (0, 1)]
            assert (whole.start, whole.stop) == (halves[0].start, halves[1].stop)


def test_cut_takes_lists_of_numbers():
    """Lengths, and labels of different lengths, need not be arrays."""
    labels = [[1], [1, 2], [], [3]]
    found = cut(Batch(X[:, :4], labels, [5, 4, 3, 2]), 1, 2)
    assert found.targets == [[], [3]]
    assert found.lengths.tolist() == [3, 2]


def test_targets_of_which_the_axes_are_equally_long():
    """Ids (N, N) are steps if x has N, floats targets of each sequence if it has not."""
    N = 4
    ids, floats = np.arange(16).reshape(N, N), np.arange(16.0).reshape(N, N)
    square, long = np.zeros((N, N, 2)), np.zeros((7, N, 2))
    assert same(cut(Batch(square, ids), 0, 2).targets, ids[:, :2])
    assert same(cut(Batch(long, floats), 0, 2).targets, floats[:2])
    cube = np.arange(64.0).reshape(N, N, N)
    assert same(cut(Batch(square, cube), 1, 2).targets, cube[:, 2:])
    for batch in (Batch(square, floats), Batch(long, ids)):
        with pytest.raises(ValueError, match=r"use data.Batches\(x, y, 4, per_sequence=True\)"):
            cut(batch, 0, 2)
        assert cut(batch, 0, 1) is batch


def test_a_shard_has_the_dtype_of_a_list_of_ints_and_floats():
    x, y = [[1, 2], [3, 4], [0.5]], [[1, 2], [0.5, 4], [1]]
    batches = Batches(x, y, 3, None, per_sequence=False, dtype="float32")
    for source in (batches, batches.shard(0, 2), batches.shard(1, 2)):
        batch = source.batch(0)
        assert batch.x.dtype == batch.targets.dtype == np.float32
    assert batch.x.T.tolist() == [[3, 4], [0.5, 0]]


# Which rows are read


class Recorded(np.ndarray):
    """An array that records the columns that are read of it, or of a view of it."""

    def __new__(cls, a):
        found = np.array(a).view(cls)
        found.seen = set()
        return found

    def __array_finalize__(self, other):
        self.seen = getattr(other, "seen", None)

    def __getitem__(self, key):
        found = super().__getitem__(key)
        if isinstance(key, tuple) and not isinstance(key[1], slice):
            self.seen.update(np.ravel(key[1]).tolist())
        return found


class RecordedList(list):
    def __init__(self, a):
        super().__init__(a)
        self.seen = set()

    def __getitem__(self, key):
        if isinstance(key, slice):
            return super().__getitem__(key)
        self.seen.add(int(key))
        return super().__getitem__(key)


def test_only_the_rows_of_the_shard_are_read_of_batches():
    for make in (SHUFFLED["arrays"], SHUFFLED["lists"]):
        source = make(np.arange(MANY), 8, 1)
        kind = RecordedList if source.listed else Recorded
        source.x, source.y = kind(source.x), kind(source.y)
        source.shard(1, 4).batch(0)
        expected = set(source.indices(0)[2:4].tolist())
        assert source.x.seen == source.y.seen == expected


def test_the_windows_of_a_shard_are_views_of_its_streams(tmp_path):
    """A memory-mapped file is not read to make them."""
    path = tmp_path / "ids"
    np.arange(40, dtype=np.int32).tofile(path)
    x = np.memmap(path, np.int32, "r", shape=(5, 8)).T  # streams, one after the other in the file
    shard = Windows(x, x, 4).shard(2, 4)
    assert np.shares_memory(shard.x, x)
    low, high = np.lib.array_utils.byte_bounds(shard.batch(0).x)
    first, _ = np.lib.array_utils.byte_bounds(x)
    assert (low - first, high - first) == (2 * 8 * 4, (2 * 8 + 4) * 4), "stream 2 alone"
    assert shard.batch(0).x[:, 0].tolist() == [16, 17, 18, 19]


class Counted(Batches):
    """Counts the epochs that it shuffles."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.epochs = []

    def order(self, epoch):
        if epoch != self._epoch:
            self.epochs.append(epoch)
        return super().order(epoch)


def test_an_epoch_is_shuffled_once_for_all_shards():
    batches = Counted(X, IDS, 4, 5)
    shards = Shards(batches, range(8), 8)
    assert [len(list(shards)) for _ in range(3)] == [3, 3, 3]
    assert batches.epochs == [0, 1, 2]


# What the training reads


class Own(BatchSource):
    """A source of a user: only whole batches."""

    made = 0

    def __len__(self):
        return 3

    def batch(self, k):
        self.made += 1
        return Batch(X + k, IDS, LENGTHS, carry=k % 3 > 0)


class Turned(Batches):
    """Changes what the batches and their order are."""

    def order(self, epoch):
        return super().order(epoch)[::-1]

    def indices(self, k):
        return super().indices(k)[::-1]

    def batch(self, k):
        batch = super().batch(k)
        assert batch.x.max() < 99, "a batch without sequences has no maximum"
        return batch._replace(x=batch.x * k, sample_weight=batch.targets + 1.0)


class Noisy(Windows):
    def __iter__(self):
        for batch in super().__iter__():
            yield batch._replace(x=batch.x + 1)


class Narrow(Own):
    """Reads the rows of a shard in a way of its own."""

    def shard(self, s, S):
        found = Own()
        found.batch = lambda k: cut(Own.batch(self, k), s, S)  # type: ignore[method-assign]
        return found


class Whole(Windows):
    """Has an array that `shard` does not know, and says so."""

    def batch(self, k):
        return super().batch(k)._replace(x=X[:5])

    def shard(self, s, S):
        return BatchSource.shard(self, s, S)


LONG = X.repeat(3, 0)
ITERABLES = {
    "windows": lambda: Windows(LONG, LONG, 5, keep_last=True),
    "batches": lambda: Batches(X, IDS, 4, 2, lengths=LENGTHS),
    "own": Own,
    "narrow": Narrow,
    "turned": lambda: Turned(X, IDS, 3, 2),
    "noisy": lambda: Noisy(LONG, LONG, 5),
    "whole": lambda: Whole(LONG, LONG, 5),
    "list": lambda: [Batch(X[:, :n], IDS[:, :n], LENGTHS[:n], n > 3) for n in (5, 1, 11)],
    "tuples": lambda: [(X, IDS), (X[:, :2], IDS[:, :2], LENGTHS[:2])],
}


def epochs(source, count=2):
    return [batch for _ in range(count) for batch in source]


@pytest.mark.parametrize("S", COUNTS)
@pytest.mark.parametrize("name", ITERABLES)
def test_processes_read_their_shards_of_all_batches(name, S):
    """However many processes share the shards: together they read the batches."""
    make = ITERABLES[name]
    whole = [Batch(*batch) for batch in epochs(make())]
    for W in (w for w in COUNTS if w <= S):
        each = S // W
        parts = [Shards(make(), range(w * each, (w + 1) * each), S) for w in range(W)]
        assert [len(part) for part in parts] == [len(make())] * W
        read = zip(*(epochs(part) for part in parts), strict=True)
        for batch, lists in zip(whole, read, strict=True):
            shards = [shard for found in lists for shard in found]
            assert len(shards) == S
            for s, shard in enumerate(shards):
                rows = shard_rows(count_rows(batch), s, S)
                assert (shard is None) == (rows.start == rows.stop)
                assert shard is None or same(shard, cut(batch, s, S))


def test_an_empty_shard_is_none_whatever_the_source():
    for source in (Own(), Narrow(), Turned(X, IDS, 11, 2)):
        found = next(iter(Shards(source, range(16), 16)))
        counts = [(s + 1) * 11 // 16 - s * 11 // 16 for s in range(16)]
        assert [shard and count_rows(shard) for shard in found] == [n or None for n in counts]


@pytest.mark.parametrize("name", ["turned", "windows", "list"])
def test_a_reader_resumes_shards_from_any_cursor(name):
    make = ITERABLES[name]
    expected = epochs(Shards(make(), range(2), 4))
    for k in range(len(expected)):
        reader = Reader(Shards(make(), range(2), 4), k)
        found = list(islice(reader, len(expected) - k))
        assert same(found, expected[k:])
        assert reader.cursor == len(expected)


def test_a_whole_batch_is_made_once_for_all_shards():
    source = Own()
    assert len(list(Shards(source, range(4), 4))) == 3
    assert source.made == 3


@pytest.mark.parametrize("name", ITERABLES)
def test_shards_resume_in_the_middle_of_an_epoch(name):
    make = ITERABLES[name]
    expected = epochs(Shards(make(), range(1, 3), 4))
    source = make()
    shards = Shards(source, range(1, 3), 4)
    assert (
        hasattr(shards, "cursor") == hasattr(source, "cursor") == (name not in ("list", "tuples"))
    )
    if not hasattr(shards, "cursor"):
        return
    for k in range(len(expected)):
        shards.cursor = k
        assert source.cursor == shards.cursor == k
        rest = list(shards)
        assert same(rest, expected[k : k + len(rest)])
        assert len(rest) == len(source) - k % len(source)
        assert shards.cursor == source.cursor == k + len(rest)


@pytest.mark.parametrize("name", ["windows", "batches", "own", "turned", "noisy", "whole"])
def test_a_shard_is_a_source_itself(name):
    """It has the length and the cursor of its source, and goes to another process as it is."""
    source = ITERABLES[name]()
    source.cursor = 2
    shard = source.shard(1, 2)
    assert (len(shard), shard.cursor) == (len(source), 2)
    assert "indices" not in repr(shard)
    first = next(iter(shard))
    assert (shard.cursor, source.cursor) == (3, 2)
    assert name == "noisy" or same(first, cut(Batch(*source.batch(2)), 1, 2))
    again = pickle.loads(pickle.dumps(shard))
    assert same(again.batch(4), shard.batch(4))
    twice = source.shard(1, 2).shard(0, 2)
    assert same(twice.batch(4), cut(Batch(*shard.batch(4)), 0, 2))


def test_equal_seeds_give_equal_shards_in_another_process():
    code = (
        "import sys, numpy as np\n"
        "from recurrent.data import Batches\n"
        "batches = Batches(np.zeros((1, 50)), np.zeros(50), 20, np.random.default_rng(5))\n"
        "print([batches.shard(1, 4).indices(k).tolist() for k in range(9)])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    batches = Batches(np.zeros((1, 50)), np.zeros(50), 20, np.random.default_rng(5))
    expected = [batches.indices(k) for k in range(9)]
    expected = [order[len(order) // 4 : len(order) // 2].tolist() for order in expected]
    assert json.loads(found.stdout) == expected


# Batches of models


def models():
    """Return models by name, with batches that each takes."""
    first = Sequential(LSTM(D, 3), batch_first=True)
    square = X[:5, :5].swapaxes(0, 1)
    vector = Sequential(LSTM(D, 3), Last(), Linear(3, 2), batch_first=True)
    pair = Seq2Seq(Sequential(Embedding(M, 2), LSTM(2, 3)), Sequential(Embedding(M, 2), LSTM(2, 3)))
    return {
        "batch first": (first, (X.swapaxes(0, 1), IDS.T, MASK.T)),
        "as many steps as sequences": (first, (square, IDS[:5, :5].T, LENGTHS[:5] % 5)),
        "batch first, one vector": (vector, (X.swapaxes(0, 1), X[0], LENGTHS)),
        "a Batch is time-major": (first, Batch(X, IDS, LENGTHS)),
        "lists": (first, (SEQUENCES, TARGETS)),
        "lists and resets": (
            Sequential(LSTM(D, 3)),
            Batch(SEQUENCES, TARGETS, resets=RESETS, sample_weight=WEIGHTS),
        ),
        "a pair": (pair, ((IDS, IDS), IDS, (LENGTHS, MASK))),
        "two sequences": (pair, Batch((IDS[:, :2], IDS[:, :2]), IDS[:, :2], (LENGTHS[:2], None))),
    }


@pytest.mark.parametrize("name", models())
def test_shards_have_the_layout_of_the_model(name):
    model, batch = models()[name]
    whole = as_arrays(batch, model)
    N = whole.x.target.shape[1] if isinstance(whole.x, Pair) else whole.x.shape[1]
    (shards,) = Shards([batch], range(4), 4, model)
    for s, shard in enumerate(shards):
        part = slice(N * s // 4, N * (s + 1) // 4)
        if shard is None:
            assert part.start == part.stop
            continue
        for a, b in zip(shard[:3], whole[:3], strict=True):
            for one, other in zip(a, b, strict=True) if isinstance(a, Pair) else [(a, b)]:
                if other is None:
                    assert one is None
                else:
                    assert same(one, other[:, part] if other.shape[1:2] == (N,) else other[part])
        y = model.time_major.forward(shard.x, None, shard.lengths, resets=shard.resets)[0]
        assert y.shape[-2] == part.stop - part.start


@given(
    T=st.integers(1, 5),
    N=st.integers(1, 5),
    features=st.integers(1, 5),
    kind=st.sampled_from(["ids", "steps", "once", "vectors"]),
    measured=st.booleans(),
    log=st.integers(0, 3),
)
def test_shards_have_the_entries_of_the_batch(T, N, features, kind, measured, log):
    """The axis of sequences is that which `count_entries` finds, whatever sizes are equal."""
    S, y = 2**log, np.ones((T, N, features))
    lengths = np.arange(N) % (T + 1) if measured else None
    shape = {"ids": (T, N), "steps": y.shape, "once": (N,), "vectors": (N, features)}[kind]
    targets = np.zeros(shape, int if kind in ("ids", "once") else float)
    batch = Batch(np.zeros((T, N, 1)), targets, lengths)
    if kind == "vectors" and T == N == features and S > 1:
        with pytest.raises(ValueError, match="may be"):
            cut(batch, 0, S)
        return
    loss = softmax_cross_entropy if kind in ("ids", "once") else mean_squared_error
    counts = []
    for s in range(S):
        part = cut(batch, s, S)
        outputs = y[:, shard_rows(N, s, S)]
        if part.targets.shape[-1] and outputs.size:
            seen = outputs if kind in ("ids", "steps") or measured else outputs[-1]
            counts.append(count_entries(loss, seen, part.targets, part.lengths))
    whole = y if kind in ("ids", "steps") or measured else y[-1]
    assert sum(counts) == count_entries(loss, whole, targets, lengths)


# Wrong calls


class Careless(Batches):
    """Has an array that `shard` does not know."""

    def batch(self, k):
        return super().batch(k)._replace(x=X)


class Broken(Own):
    def batch(self, k):
        raise RuntimeError(f"no file {k}")


WRONG = {
    "s": (lambda: Own().shard(2, 2), IndexError, r"^s must be in 0..1, the shards, got 2$"),
    "s of windows": (lambda: Windows(X, X, 2).shard(-1, 4), IndexError, r"in 0..3, .*got -1"),
    "s of one": (lambda: cut(Batch(X, X), 1, 1), IndexError, r"s must be in 0..0"),
    "own": (lambda: Shards([], range(3, 5), 4), IndexError, r"s must be in 0..3, .*got 4"),
    "S": (lambda: Own().shard(0, 3), ValueError, "S must be a power of two, such as 2, got 3"),
    "S of batches": (
        lambda: Batches(X, X, 2).shard(0, 6),
        ValueError,
        "S must be a power of two, such as 4, got 6",
    ),
    "no shard": (lambda: shard_rows(4, 0, 0), ValueError, "S must be at least 1, got 0"),
    "S is a float": (lambda: shard_rows(4, 0, 2.0), TypeError, "S must be an int, got float"),
    "a stream": (
        lambda: Windows(IDS[:, 0], IDS[:, 0], 2).shard(0, 2),
        ValueError,
        r"x must be \(L, N, ...\) to be cut into S = 2 shards, got \(6,\): a single stream cannot",
    ),
    "a stream of features": (
        lambda: list(Shards(Windows(X[:, 0], X[:, 0], 2), range(2), 2)),
        ValueError,
        r"x of a batch must be \(T, N, D\), or \(T, N\) for ids, .*got \(2, 1\): a single seq",
    ),
    "streams of targets": (
        lambda: Windows(X, IDS[:, 0], 2).shard(0, 2),
        ValueError,
        r"y must have the 11 streams of x to be cut into S = 2 shards, got \(6,\)",
    ),
    "weight": (
        lambda: cut(Batch(X, X, weight=3), 0, 2),
        ValueError,
        "weight of a batch must be None to cut it into shards, got 3: use sample_weight, or a loss",
    ),
    "weight of a window": (
        lambda: list(Shards(Weighted(X, X, 2), range(2), 2)),
        ValueError,
        "weight of a batch must be None",
    ),
    "a sequence": (lambda: cut(Batch(X[:, 0], X[:, 0]), 0, 2), ValueError, r"got \(6, 2\): a sing"),
    "targets": (
        lambda: cut(Batch(X, X[:, :4]), 0, 2),
        ValueError,
        r"targets of a batch must be \(T, N, ...\), or .*with the N = 11 sequences of x, got \(6",
    ),
    "targets of lists": (
        lambda: cut(Batch(SEQUENCES, TARGETS[:4]), 0, 2),
        ValueError,
        r"targets of a batch must be \(N, ...\) with the N = 11 sequences of x, got \(4,\)",
    ),
    "lengths": (
        lambda: cut(Batch(X, X, LENGTHS[:5]), 0, 2),
        ValueError,
        r"lengths of a batch must be \(N, ...\) with the N = 11 sequences of x, got \(5,\)",
    ),
    "mask": (
        lambda: cut(Batch(X, X, resets=MASK.T), 0, 2),
        ValueError,
        r"resets of a batch must be \(T, N, ...\) with the N = 11 .*got \(11, 6\)",
    ),
    "inputs": (
        lambda: cut(Batch({"a": X, "b": X[:, :3]}, X), 0, 2),
        ValueError,
        r"x\['b'\] of a batch must be \(T, N, ...\) with the N = 11 .*got \(6, 3, 2\)",
    ),
    "sample_weight": (
        lambda: cut(Batch(X, X, sample_weight=LENGTHS[:2]), 0, 2),
        ValueError,
        r"sample_weight of a batch must be \(N, ...\)",
    ),
    "rows of another array": (
        lambda: list(Shards(Careless(X, X, 8), range(4), 4)),
        ValueError,
        r"batch\(0\) of shard 0 of Careless must have 2 sequences, got 11: `def shard\(self",
    ),
    "data": (lambda: list(Shards(Broken(), range(2), 2)), RuntimeError, "^no file 0$"),
}


class Weighted(Windows):
    def batch(self, k):
        return super().batch(k)._replace(weight=2)


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_cut_is_one_clear_line(name):
    call, error, message = WRONG[name]
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_one_shard_is_the_batch():
    """A stream, and a batch with a weight, need no cut."""
    batch = Batch(IDS[:, 0], IDS[:, 0], weight=2)
    assert list(Shards([batch], range(1), 1)) == [[batch]]
    source = Windows(IDS[:, 0], IDS[:, 0], 2)
    assert same(source.shard(0, 1).batch(1), source.batch(1))
    assert same([found for (found,) in Shards(source, range(1), 1)], list(source))
