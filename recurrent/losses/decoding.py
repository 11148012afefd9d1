"""Decoding of outputs step by step: labels by CTC, and the tags of a linear-chain CRF."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..checks.guided import explained
from ..engine import ragged
from ..kernels import threads
from . import lattice
from .alignments import checked_logits
from .entries import valid_times
from .linear_chain import scores_of_pairs


@explained
def ctc_greedy_decode(
    y: Any, lengths: np.ndarray | None = None, *, blank: int = 0
) -> list[np.ndarray]:
    """Return the labels of the most probable alignment of each sequence.

    It is the class with the highest logit at each step; repeated labels are merged and then blanks
    removed. `ctc_beam_search` adds up the alignments of a labelling and finds better ones.

    Parameters
    ----------
    y : ndarray, shape (T, N, V) or (T, V), float32 or float64, or list of arrays (T_i, V)
        Logits, as `losses.ctc` takes them.
    lengths : ndarray, shape (N,), int, or mask, shape (T, N), bool, optional
        Lengths of the sequences; y must be (T, N, V).
    blank : int
        Class of the blank.

    Returns
    -------
    list of ndarray, each of shape (S,), int64
        The labels of each sequence; one array in the list if y is (T, V).

    Raises
    ------
    TypeError
        If a dtype does not fit.
    ValueError
        If shapes do not fit, blank is no class, or a logit is NaN.

    Examples
    --------
    >>> ctc_greedy_decode(np.eye(4)[[1, 1, 0, 1, 3]])  # 1 1 blank 1 3
    [array([1, 1, 3])]
    """
    logits, times, steps, blank = checked_steps(y, lengths, blank)
    found = []
    for n, count in enumerate(steps):
        best = logits[times[:count, n], n].argmax(axis=1)
        new = np.ones(count, bool)
        new[1:] = best[1:] != best[:-1]
        found.append(best[new & (best != blank)].astype(np.int64))
    return found


@explained
def viterbi_decode(y: Any, lengths: np.ndarray | None = None) -> Any:
    """Return the tags with the highest score, by Viterbi's algorithm, for a model that ends in CRF.

    Of equal scores the lowest tag wins. `losses.crf(y, tags)` is -log p of tags.

    Parameters
    ----------
    y : ndarray, shape (T, N, (K + 1)^2) or (T, (K + 1)^2), or list of arrays (T_i, (K + 1)^2)
        Scores of pairs of tags, float32 or float64, as a `CRF` layer returns them.
    lengths : ndarray, shape (N,), int, or mask, shape (T, N), bool, optional
        Lengths of the sequences; y must have N.

    Returns
    -------
    ndarray, shape (T, N) or (T,), int64, or list of arrays (T_i,)
        The tags; 0 at steps that are not valid.

    Raises
    ------
    TypeError
        If a dtype does not fit.
    ValueError
        If shapes do not fit, or a score is NaN.

    References
    ----------
    A. Viterbi, "Error bounds for convolutional codes", IEEE Transactions on Information Theory 13
    (1967).

    Examples
    --------
    Tag 1 wins at each step alone, but it must not follow itself:

    >>> from recurrent import CRF
    >>> layer = CRF(2).initialise(0, "float64")
    >>> layer.parameters.update(start_transitions=np.zeros(2), end_transitions=np.zeros(2))
    >>> layer.parameters["transitions"] = np.array([[0, 0], [0, -9.0]])
    >>> viterbi_decode(layer.forward(np.array([[0, 1], [0, 2], [0, 1.5]]))[0])
    array([1, 0, 1])
    """
    y, lengths, listed = ragged.pad_sequences(y, lengths, "y")
    pairs = scores_of_pairs(y)
    alone = np.ndim(y) == 2
    if alone and lengths is not None:
        raise ValueError(f"lengths need a batch: y must be (T, N, (K + 1)^2), got {np.shape(y)}")
    T, N, K = *pairs.shape[:2], pairs.shape[2] - 1
    times, steps = valid_times(lengths, T, N)
    _refuse_nan(pairs, times, steps, alone)
    tags = np.zeros((T, N), np.int64)

    def work(first: int, last: int) -> None:
        with np.errstate(all="ignore"):
            lattice.best_paths(first, last, pairs, times, steps, tags)

    threads.split(10.0 * steps.sum() * K * K, N, work, lambda: steps + 1)
    if listed:
        return ragged.unpad_sequences(tags, steps)
    return tags[:, 0] if alone else tags


def checked_steps(
    y: Any, lengths: Any, blank: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Return logits (T, N, V), the times and numbers of valid steps, and the blank."""
    logits, lengths, alone = checked_logits(y, lengths)
    blank = checks.integer(blank, "blank", 0, logits.shape[2] - 1)
    times, steps = valid_times(lengths, *logits.shape[:2])
    _refuse_nan(logits, times, steps, alone)
    return logits, times, steps, blank


def _refuse_nan(a, times, steps, alone) -> None:
    """Raise ValueError if a (T, N, ...) has NaN at a valid step: no search can rank it."""
    bad = np.isnan(a).any(axis=tuple(range(2, a.ndim)))
    if not bad.any():
        return
    for n, count in enumerate(steps):
        for t in times[:count, n][bad[times[:count, n], n]][:1].tolist():
            place = f"step {t}" if alone else f"step {t} of sequence {n}"
            raise ValueError(f"y must have no NaN, got one at {place}")
