"""Greedy decoding and beam search for a batch: the most likely sequences of a decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import checks


class Generated(NamedTuple):
    """Result of a search: the K best sequences of each of N sources, best first.

    Attributes
    ----------
    ids : ndarray, shape (T, N, K), int64
        The sequences, padded with the end token, or with 0 if there is no end token.
    lengths : ndarray, shape (N, K), int64
        Length of each sequence, end token included.
    scores : ndarray, shape (N, K), float64
        log p of each sequence in nats, divided by length^power; -inf for unused places if
        fewer than K sequences are possible.
    end : int or None
        The end token.
    """

    ids: np.ndarray
    lengths: np.ndarray
    scores: np.ndarray
    end: int | None

    @property
    def best(self) -> list[np.ndarray]:
        """The best sequence of each source, shape (length,), without the end token."""
        return [self.sequence(n) for n in range(self.ids.shape[1])]

    def sequence(self, n: int, k: int = 0) -> np.ndarray:
        """Return the k-th best sequence of source n, shape (length,), without the end token."""
        ids = self.ids[: self.lengths[n, k], n, k]
        return ids[:-1] if self.end is not None and ids.size and ids[-1] == self.end else ids


def beam_search(
    step: Callable[[np.ndarray, Any], tuple[np.ndarray, Any]],
    state: Any,
    reorder: Callable[[Any, np.ndarray], Any],
    N: int,
    *,
    start: int,
    end: int | None,
    max_steps: int,
    beam: int = 1,
    power: float = 0.0,
) -> Generated:
    """Keep the best sequences of each source at every step; a beam of 1 is greedy decoding.

    Finished sequences stay in the beam and compete with the others.

    Parameters
    ----------
    step : callable
        (ids (N K,), state) -> (logits (N K, V), state after). Rows of one source are adjacent.
    state : Any
        State of N K rows before the first step.
    reorder : callable
        (state, rows) -> the state of these rows.
    N : int
        Number of sources.
    start : int
        First id that is read.
    end : int or None
        Id that ends a sequence; None if all have max_steps ids.
    max_steps : int
        Greatest number of steps.
    beam : int, default 1
        K, the number of sequences kept.
    power : float, default 0.0
        Length penalty: sequences are ranked by log p / length^power. 0 ranks by probability, 1 by
        the mean log p of an id, which favours longer sequences.

    Returns
    -------
    Generated
        The best sequences.

    Raises
    ------
    TypeError, ValueError
        If max_steps or beam is not an int of at least 1.
    """
    max_steps, K = checks.size(max_steps, "max_steps"), checks.size(beam, "beam")
    ids, parents = np.zeros((max_steps, N, K), np.int64), np.arange(N)[:, None] * K
    # Before the first step all K rows of a source are equal: only one of them may continue.
    total = np.where(np.arange(K) == 0, 0.0, -np.inf) + np.zeros((N, 1))
    lengths, done = np.zeros((N, K), np.int64), np.zeros((N, K), bool)
    last = np.full(N * K, start, np.int64)
    steps = 0
    while steps < max_steps and not done.all():
        logits, state = step(last, state)
        log_p = log_softmax(logits).reshape(N, K, -1)
        V = log_p.shape[2]
        if end is not None:
            log_p[done] = np.where(np.arange(V) == end, 0.0, -np.inf)
        total = total[:, :, None] + log_p
        ranks = total / np.maximum(lengths + ~done, 1)[:, :, None] ** power
        ranks = ranks.reshape(N, -1)
        if K == 1:
            chosen = ranks.argmax(axis=1)[:, None]
        else:
            chosen = np.argsort(-ranks, axis=1, kind="stable")[:, :K]
        if chosen.shape[1] < K:  # fewer candidates than K: the remaining places get -inf
            chosen = np.pad(chosen, ((0, 0), (0, K - chosen.shape[1])), constant_values=-1)
        rows = (parents + chosen // V).reshape(-1)
        total = np.take_along_axis(total.reshape(N, -1), chosen, axis=1)
        lengths, done = (a.reshape(-1)[rows].reshape(N, K) for a in (lengths + ~done, done))
        ids[:steps] = ids[:steps].reshape(steps, N * K)[:, rows].reshape(steps, N, K)
        ids[steps] = chosen % V
        done |= ids[steps] == end
        last, state = ids[steps].reshape(-1), reorder(state, rows)
        steps += 1
    ids = ids[:steps]
    ids[np.arange(steps)[:, None, None] >= lengths] = 0 if end is None else end
    return Generated(ids, lengths, total / np.maximum(lengths, 1) ** power, end)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log p, shape (..., V), in float64."""
    shifted = np.asarray(logits, np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
