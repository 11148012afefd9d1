"""Greedy decoding and beam search: the likeliest sequences of a decoder that reads its own output, a batch at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import checks


class Generated(NamedTuple):
    """What a search found: K sequences for each of N sources, best first."""

    ids: (
        np.ndarray
    )  # (T, N, K) int64; past its length a sequence holds the end token, or 0 where there is none
    lengths: np.ndarray  # (N, K) the end token counted
    scores: (
        np.ndarray
    )  # (N, K) log p of the sequence in nats / length^power; -inf where fewer than K are possible
    end: int | None

    @property
    def best(self) -> list[np.ndarray]:
        """The best sequence of each source, (length,), without the end token."""
        return [self.sequence(n) for n in range(self.ids.shape[1])]

    def sequence(self, n: int, k: int = 0) -> np.ndarray:
        """The k-th best sequence of source n, (length,), without the end token."""
        found = self.ids[: self.lengths[n, k], n, k]
        return (
            found[:-1] if self.end is not None and found.size and found[-1] == self.end else found
        )


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
    """Keep the `beam` best sequences of each source at every step; a beam of 1 is greedy decoding.

    `step(ids (N K,), state)` returns logits (N K, V) and the state after; rows of one source lie together. `state` is that of
    N K rows before the first step; `reorder(state, rows)` takes rows of it. Sequences are ranked, finished ones among the
    others, by log p / length^power: 0 is the probability itself, 1 the mean of a token's log p, which favours longer ones.
    Raises TypeError or ValueError for max_steps or beam below 1.
    """
    max_steps, K = checks.size(max_steps, "max_steps"), checks.size(beam, "beam")
    ids, parents = np.zeros((max_steps, N, K), np.int64), np.arange(N)[:, None] * K
    total = np.where(np.arange(K) == 0, 0.0, -np.inf) + np.zeros(
        (N, 1)
    )  # the first step has one sequence to go on from
    lengths, done, last = (
        np.zeros((N, K), np.int64),
        np.zeros((N, K), bool),
        np.full(N * K, start, np.int64),
    )
    steps = 0
    while steps < max_steps and not done.all():
        logits, state = step(last, state)
        more = log_softmax(logits).reshape(N, K, -1)
        V = more.shape[2]
        if end is not None:
            more[done] = np.where(np.arange(V) == end, 0.0, -np.inf)
        total = total[:, :, None] + more
        ranks = total / np.maximum(lengths + ~done, 1)[:, :, None] ** power
        ranks = ranks.reshape(N, -1)
        chosen = (
            ranks.argmax(axis=1)[:, None]
            if K == 1
            else np.argsort(-ranks, axis=1, kind="stable")[:, :K]
        )
        if chosen.shape[1] < K:  # fewer symbols than the beam is wide: the rest is impossible
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
    """log p (..., V) in float64."""
    shifted = np.asarray(logits, np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
