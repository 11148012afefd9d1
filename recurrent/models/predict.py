"""Runs a model over many sequences, a batch at a time: `recurrent.predict`."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from .. import checks
from ..checks.guided import explained
from ..engine import ragged
from ..progress import track
from .base import Model
from .jobs import Jobs
from .layered import Layered
from .rounds import each, in_rounds


@explained
def predict(
    model: Any, x: Any, batch: int = 256, *, n_jobs: int | None = 1, lengths: Any = None
) -> Any:
    """Return the model's output for any number of sequences, without dropout.

    A batch runs at a time and keeps no tape, so that little memory is needed beyond x and y. The
    batches change no bit: each sequence has the output that it has alone. What takes longer than
    two seconds shows its progress on a terminal.

    Sequences that do not fit in memory come from an iterator, such as a generator that reads files:
    the result is then an iterator too. It reads a few batches for each job, runs them, and yields
    the outputs in order.

    Jobs are processes of joblib, which divide the threads among them. If one dies, the batches in
    hand run again. A cluster takes the same call: with `joblib.parallel_config("dask")`, or
    "ray" or "spark", its workers run the batches. They open the file of a model by the same path,
    or get the model object; each of them does so once.

    Parameters
    ----------
    model : Sequential, CharLM, str or os.PathLike
        The model, or the file of one. An encoder-decoder has `generate` instead.
    x : ndarray, shape (T, N, D) or (T, N), or list of N arrays (T_i, D) or (T_i,), or dict
        The sequences, time-major unless the model is batch-first, or ids where the first layer is
        an Embedding. Those of a list may differ in length: they are sorted into batches by length,
        and the outputs are in the order of x. A single sequence, (T, D) or (T,), is taken too.
        Or any other iterable of arrays (T_i, D) or (T_i,).
    batch : int, default 256
        Number of sequences of a batch.
    n_jobs : int, default 1
        Number of processes, -1 for one per processor; needs joblib. 1 stands for this process, or
        for the jobs of `joblib.parallel_config` where one is active.
    lengths : array of int, shape (N,), or mask, shape (T, N), optional
        Valid time steps of each sequence of an array.

    Returns
    -------
    ndarray, shape (T, N, K) or (N, K), or list of N arrays (T_i, K), or iterator of arrays
        The output of each sequence: a list if x is one and the output has a time axis; an iterator
        of arrays (T_i, K) or (K,) if x is an iterable of another kind.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read or holds no model, or a shape does not fit. The error of a
        sequence of an iterable names its number, after the outputs of those before it.
    TypeError
        If an argument has the wrong type or dtype.
    IndexError
        If an id is out of range.
    ImportError
        If joblib is needed and not installed.
    ChildProcessError
        If a worker dies each time that a batch runs, such as of too little memory.

    Examples
    --------
    >>> from recurrent import GRU, Last, Linear, Sequential
    >>> model = Sequential(GRU(2, 3), Linear(3, 1), rng=0)
    >>> predict(model, np.zeros((7, 1000, 2), np.float32)).shape
    (7, 1000, 1)
    >>> [y.shape for y in predict(model, [np.zeros((T, 2), np.float32) for T in (4, 0, 9)])]
    [(4, 1), (0, 1), (9, 1)]
    >>> classifier = Sequential(GRU(2, 3), Last(), Linear(3, 5), rng=0)
    >>> predict(classifier, [np.zeros((T, 2), np.float32) for T in (4, 2, 9)]).shape
    (3, 5)
    >>> many = (np.zeros((T, 2), np.float32) for T in range(1000))
    >>> sum(len(y) for y in predict(model, many))
    499500
    """
    batch, jobs = checks.size(batch, "batch"), Jobs(model, n_jobs)
    net = jobs.net
    several = isinstance(net, Layered) and not net.has_one_end_each
    if _is_stream(x):
        if several or lengths is not None:
            what = "a model of several inputs or outputs" if several else "lengths"
            raise TypeError(f"x must be arrays or lists with {what}, got {checks.shown(x)}")
        total = len(x) if hasattr(x, "__len__") else None
        return outputs(jobs, x, batch, "x[{}]".format, total)
    try:
        return _of_whole(jobs, net, x, batch, lengths, several)
    finally:
        jobs.close()


def _is_stream(x: Any) -> bool:
    """Return whether x is an iterable of sequences, and no array, list or dict."""
    whole = (np.ndarray, list, tuple, dict, str, bytes, bytearray, memoryview, array, range)
    if isinstance(x, (*whole, type)) or hasattr(x, "__array__"):
        return False
    return isinstance(x, Iterable) or (hasattr(x, "__getitem__") and hasattr(x, "__len__"))


def outputs(
    jobs: Jobs, x: Iterable, batch: int, name: Callable[[int], str], total: int | None
) -> Iterator[np.ndarray]:
    """Return an iterator over the outputs of sequences that come one by one.

    Parameters
    ----------
    jobs : Jobs
        What runs the model.
    x : iterable of ndarray, shape (T_i, D) or (T_i,)
        The sequences.
    batch : int
        Number of sequences of a batch.
    name : callable
        Returns the name of a sequence in errors from its number.
    total : int, optional
        Number of sequences, if it is known.

    Returns
    -------
    iterator of ndarray, shape (T_i, K) or (K,)
    """

    def arrays() -> Iterator[np.ndarray]:
        for n, a in enumerate(x):
            a = checks.as_array(a, name(n))
            if a.ndim == 0:
                raise TypeError(f"{name(n)} must be (T, D) or (T,), got {checks.shown(a[()])}")
            yield np.array(a)  # a copy: an iterator may fill one array again and again

    K = (jobs.net.out_features or 0) * jobs.net.dtype.itemsize
    steps = jobs.net.has_steps(len(jobs.net) - 1)

    def size(a: np.ndarray) -> int:
        return a.nbytes + K * (len(a) if steps else 1)

    return in_rounds(
        jobs, arrays(), batch, _of_each, unit="sequence", name=name, total=total, size=size
    )


def _of_each(net: Model, x: list[np.ndarray]) -> list[Any]:
    """Return the output of each sequence, or a Failure."""
    return each(lambda some: net.forward(some)[0], x)


def _of_part(net: Model, x: Any, lengths: Any) -> Any:
    """Return the output of a part of the sequences, which are time-major."""
    return net.time_major.forward(x, lengths=lengths)[0]


def _of_whole(jobs: Jobs, net: Model, x: Any, batch: int, lengths: Any, several: bool) -> Any:
    """Return the outputs of all sequences of an array, a list or a dict."""
    if several:
        return _of_several(jobs, net, x, batch, lengths)
    if isinstance(x, list) and all(isinstance(a, (list, tuple)) for a in x):
        if not x:
            raise ValueError("x must be an array or a list of sequences, got an empty list")
        x = [checks.as_array(a, f"x[{n}]") for n, a in enumerate(x)]  # as Batches takes them
    if ragged.is_list(x):
        if lengths is not None:
            raise ValueError("lengths must be None if x is a list of arrays, which has its own")
        return _of_list(jobs, net, ragged.checked_list(x, "x"), batch)
    if net.batch_first:
        x, lengths, _ = net.prepare_input(x, lengths)
        return net.swapped(_of_whole(jobs, net.time_major, x, batch, lengths, several))
    x, first = checks.as_array(x, "x"), net.layers[0]
    if first.gives_lookup:
        with checks.naming(net.where(0)):
            first.look_up(x)  # the place of a wrong id is that in x
    if x.ndim != (2 if first.gives_lookup else 3):
        return net.forward(x, lengths=lengths)[0]
    return _of_array(jobs, net, x, batch, lengths)


def _of_several(jobs: Jobs, net: Any, x: Any, batch: int, lengths: Any) -> Any:
    """Run a model of several inputs or outputs; return arrays, or lists if x has lists."""
    x, lengths, listed = net.prepare_input(x, lengths)
    arrays = x if isinstance(x, dict) else {"x": checks.as_array(x, "x")}
    axes = {name: a.ndim - (a.dtype.kind not in "iu") for name, a in arrays.items()}
    counts = {a.shape[1] for name, a in arrays.items() if axes[name] == 2}
    if set(axes.values()) != {2}:
        return net.swapped(net.time_major.forward(x, lengths=lengths)[0])
    if len(counts) > 1:
        raise ValueError(f"the inputs must have one number of sequences, got {sorted(counts)}")

    def cut(rows: np.ndarray) -> tuple[Any, Any]:
        part = slice(rows[0], rows[-1] + 1) if len(rows) else slice(0, 0)
        some = {name: a[:, part] for name, a in arrays.items()}
        own = lengths
        if isinstance(lengths, dict):
            own = {n: None if v is None else np.asarray(v)[..., part] for n, v in lengths.items()}
        elif lengths is not None:
            own = np.asarray(lengths)[..., part]
        return some if isinstance(x, dict) else some["x"], own

    batches = _batches(np.arange(*counts), batch) if counts != {0} else [np.arange(0)]
    parts = list(jobs.map(_of_part, map(cut, batches), "x"))
    if not isinstance(parts[0], dict):
        y: Any = np.concatenate(parts, axis=1 if net.returns_sequence else 0)
    else:
        y = {
            name: np.concatenate(
                [part[name] for part in parts], axis=max(0, parts[0][name].ndim - 2)
            )
            for name in parts[0]
        }
    found = net.output_lengths(lengths)
    return net._unpadded(y, found) if listed and found is not None else net.swapped(y)


def _of_list(jobs: Jobs, net: Model, x: list[np.ndarray], batch: int) -> Any:
    """Run sequences of different lengths, the longest first; return the outputs in order."""
    for n, a in enumerate(x if net.layers[0].gives_lookup else ()):
        with checks.naming(f"x[{n}]"):
            net.layers[0].look_up(a)
    order = np.argsort([-len(a) for a in x], kind="stable")
    parts = (([x[n] for n in rows], None) for rows in _batches(order, batch))
    outputs: list = [None] * len(x)
    ys = (y for part in jobs.map(_of_part, parts, "x") for y in part)
    for n, y in zip(order, ys, strict=True):
        outputs[n] = y
    return outputs if net.has_steps(len(net) - 1) else np.array(outputs)


def _of_array(jobs: Jobs, net: Model, x: np.ndarray, batch: int, lengths: Any) -> np.ndarray:
    """Run the sequences of an array in order."""
    T, N = x.shape[:2]
    lengths = checks.valid_steps(lengths, T, N)
    if batch >= N:
        return net.forward(x, lengths=lengths)[0]
    parts = (
        (x[:, rows], None if lengths is None else lengths[..., rows])
        for rows in (slice(k[0], k[-1] + 1) for k in _batches(np.arange(N), batch))
    )
    axis, first = 1 if net.has_steps(len(net) - 1) else 0, 0
    out: Any = None
    for y in jobs.map(_of_part, parts, "x"):
        if out is None:
            out = np.empty((*y.shape[:axis], N, *y.shape[axis + 1 :]), y.dtype)
        out[(slice(None),) * axis + (slice(first, first + y.shape[axis]),)] = y
        first += y.shape[axis]
    return out


def _batches(order: np.ndarray, batch: int) -> Iterator[np.ndarray]:
    """Yield the numbers of the sequences of each batch; show progress if it takes long."""
    starts = range(0, len(order), batch)
    return (
        order[k : k + batch] for k in track(starts, lambda k: f"sequence {k:,} of {len(order):,}")
    )
