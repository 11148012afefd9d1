"""Scores many documents with a character model: the bits per character of each."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sized
from typing import Any, NamedTuple

import numpy as np

from .. import checks, kernels
from ..checks.guided import explained
from ..models.jobs import Jobs
from ..models.loading import load
from ..models.rounds import each, in_rounds
from .model import CharLM
from .text import UNKNOWN, require
from .training import LARGEST_LOGITS


class Score(NamedTuple):
    """Holds the score of a document.

    Attributes
    ----------
    bits : float
        Bits per character, or per byte: the mean of -log2 p(symbol | symbols before it).
    symbols : int
        Number of symbols of the document; all but the first are predicted.
    """

    bits: float
    symbols: int


@explained
def score_documents(
    model: CharLM | Any,
    documents: Iterable,
    batch: int = 64,
    *,
    n_jobs: int | None = 1,
    unknown: str = "error",
) -> Any:
    """Compute the bits per character of each of many documents.

    Documents run side by side, in windows of time, so that little memory is needed. Neither the
    batches nor the jobs change a bit: each document has the value of
    `CharLM.bits_per_character(document)`. What takes longer than two seconds shows its progress
    on a terminal.

    Parameters
    ----------
    model : CharLM, str or os.PathLike
        The model, or the file of one.
    documents : iterable of str, bytes or ndarray of shape (n,), int
        The documents, or their ids. An iterable other than a list or a tuple is read a few batches
        for each job at a time.
    batch : int, default 64
        Number of documents that run side by side.
    n_jobs : int, default 1
        Number of processes, or the workers of a cluster: see `recurrent.predict`.
    unknown : {"error", "skip", "replace"}
        What becomes of characters that are not in the vocabulary; see `Vocabulary.encode`.

    Returns
    -------
    list of Score, or iterator of Score
        The bits per character and the number of symbols of each document, in order: a list if
        `documents` is a list or a tuple.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read or holds no character model. The error of a document, such as one
        of fewer than 2 symbols, names its number, after the scores of those before it.
    TypeError
        If an argument has the wrong type.
    ImportError
        If joblib is needed and not installed.
    ChildProcessError
        If a worker dies each time that a batch runs, such as of too little memory.

    Examples
    --------
    >>> from recurrent import CharLM
    >>> lm = CharLM("to be or not to be", layers=1, hidden=8, embedding=4)
    >>> scores = score_documents(lm, ["to be", "or not to be"])
    >>> [score.symbols for score in scores]
    [5, 12]
    >>> scores[0].bits == lm.bits_per_character("to be")
    True
    """
    lm = opened(model)
    batch = checks.size(batch, "batch")
    checks.choice(unknown, "unknown", UNKNOWN)
    if isinstance(documents, (str, bytes, np.ndarray)):
        got = checks.shown(documents)
        raise TypeError(f"documents must be an iterable of documents, got {got}: write [document]")
    checks.iterable(documents, "documents", "an iterable of str, bytes or ids")
    total = len(documents) if isinstance(documents, Sized) else None
    scores = score_ids(model, lm, _ids(lm, documents, unknown), batch, n_jobs, total)
    return list(scores) if isinstance(documents, (list, tuple)) else scores


def opened(model: Any) -> CharLM:
    """Return a character model, or that of a file.

    Parameters
    ----------
    model : CharLM, str or os.PathLike
        The model, or the file of one.

    Returns
    -------
    CharLM

    Raises
    ------
    OSError, ValueError
        If the file cannot be read or holds no character model.
    TypeError
        If the argument is no character model.
    """
    if isinstance(model, CharLM):
        return model
    words = "a CharLM, or the path of its file"
    checks.instance(model, (str, os.PathLike), "model", words)
    lm = load(model)
    if not isinstance(lm, CharLM):
        raise ValueError(f"{model} must hold a character model, got a {type(lm).__name__}")
    return lm


def _ids(lm: CharLM, documents: Iterable, unknown: str) -> Iterator[np.ndarray]:
    """Yield the ids of each document."""
    for n, document in enumerate(documents):
        with checks.naming(f"documents[{n}]"):
            ids = lm._ids(document, unknown)
            require(len(ids), 1, unit=lm.vocabulary.unit)
        yield ids


def score_ids(
    model: Any,
    lm: CharLM,
    documents: Iterable[np.ndarray],
    batch: int,
    n_jobs: int | None,
    total: int | None,
    name: Any = "documents[{}]".format,
) -> Iterator[Score]:
    """Return an iterator over the scores of documents of ids, of at least 2 symbols each.

    Parameters
    ----------
    model : CharLM, str or os.PathLike
        The model, or the file of one, which the workers open.
    lm : CharLM
        The model.
    documents : iterable of ndarray, shape (n,), int
        The ids.
    batch : int
        Number of documents that run side by side.
    n_jobs : int or None
        Number of jobs.
    total : int or None
        Number of documents, if it is known.
    name : callable
        Returns the name of a document in errors from its number.

    Returns
    -------
    iterator of Score
    """
    jobs = Jobs(model, n_jobs)
    end = lm.vocabulary.end_id
    return in_rounds(
        jobs, documents, batch, _scores, (end,), unit="document", name=name, total=total
    )


def _scores(net: Any, documents: list[np.ndarray], end: int | None) -> list[Any]:
    """Return the score of each document, or a Failure."""
    return each(lambda some: _side_by_side(net, some, end), documents)


def _side_by_side(net: Any, documents: list[np.ndarray], end: int | None) -> list[Score]:
    """Return the scores of documents that run side by side, with carried state.

    The sums are those of `evaluate` over the windows of one document alone.
    """
    N, V = len(documents), net.out_features
    L = np.array([len(ids) - 1 for ids in documents])
    whole = max(1, LARGEST_LOGITS // V)  # steps of a window of one document alone
    step = max(1, min(whole, LARGEST_LOGITS // (N * V)))
    total, state = np.zeros(N), None
    with np.errstate(invalid="ignore", over="ignore"):
        for first in range(0, int(L.max()), whole):
            last = min(first + whole, int(L.max()))
            sums = np.zeros(N)  # of the losses of this window
            for t in range(first, last, step):
                T = min(step, last - t)
                losses, state = _window(net, documents, t, T, state, end)
                sums = np.cumsum(np.concatenate([sums[None], losses]), axis=0)[-1]
            count = np.clip(L - first, 0, last - first)
            total += count * np.divide(sums, count, where=count > 0, out=np.zeros(N))
        bits = total / L / math.log(2)
    return [Score(float(b), len(ids)) for b, ids in zip(bits, documents, strict=True)]


def _window(
    net: Any, documents: list[np.ndarray], t: int, T: int, state: Any, end: int | None
) -> tuple[np.ndarray, Any]:
    """Return the losses in nats (T, N) of the T steps from t, and the state after them.

    The losses after the end of a document are 0.
    """
    ids = np.zeros((T + 1, len(documents)), np.int32)
    valid = np.zeros((T, len(documents)), bool)
    for n, document in enumerate(documents):
        part = document[t : t + T + 1]
        ids[: len(part), n] = part
        valid[: max(0, len(part) - 1), n] = True
    x, targets = ids[:-1], ids[1:].astype(np.int64).reshape(-1)
    resets = None if end is None else (x == end) & valid
    resets = resets if resets is not None and resets.any() else None
    lengths = None if valid.all() else valid.sum(axis=0)
    y, state, _ = net.forward(x, state, lengths, resets=resets)
    logits = checks.array(y.reshape(valid.size, -1), "y")
    losses, rows = np.empty(valid.size), np.zeros(0, bool) if lengths is None else valid.reshape(-1)
    kernels.backend.softmax_cross_entropy(logits, targets, rows, 1, np.empty_like(logits), losses)
    return losses.reshape(valid.shape), state
