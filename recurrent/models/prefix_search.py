"""Prefix beam search: the most probable labellings of a model that is trained by CTC."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..checks.guided import explained
from ..kernels import threads
from ..losses import lattice
from ..losses.alignments import EXP
from ..losses.decoding import checked_steps
from .decoding import Generated


@explained
def ctc_beam_search(
    y: Any, lengths: np.ndarray | None = None, *, beam: int = 10, blank: int = 0
) -> Generated:
    """Return the most probable labellings of each sequence, by prefix beam search.

    The probability of a labelling is the sum over its alignments, which `losses.ctc` computes.
    Prefixes are extended step by step, and the best `beam` kept. With a beam for all prefixes the
    result is exact; otherwise scores leave out alignments through prefixes that were not kept.

    Parameters
    ----------
    y : ndarray, shape (T, N, V) or (T, V), float32 or float64, or list of arrays (T_i, V)
        Logits, as `losses.ctc` takes them.
    lengths : ndarray, shape (N,), int, or mask, shape (T, N), bool, optional
        Lengths of the sequences; y must be (T, N, V).
    beam : int
        K, the number of prefixes kept.
    blank : int
        Class of the blank.

    Returns
    -------
    Generated
        `best` is the best labelling of each sequence, `sequence(n, k)` the k-th best one,
        `scores` (N, K) their log p in nats; -inf for unused places.

    Raises
    ------
    TypeError
        If a dtype does not fit, or beam is not an int.
    ValueError
        If shapes do not fit, beam is below 1, blank is no class, or a logit is NaN.

    References
    ----------
    A. Hannun, A. Maas, D. Jurafsky and A. Ng, "First-pass large vocabulary continuous speech
    recognition using bi-directional recurrent DNNs" (2014), arXiv:1408.2873.

    Examples
    --------
    The best alignment is blank blank, at 0.36, but label 1 has three: 0.24 + 0.24 + 0.16.

    >>> from recurrent import ctc_greedy_decode
    >>> y = np.log([[0.6, 0.4], [0.6, 0.4]])
    >>> ctc_greedy_decode(y), ctc_beam_search(y).best
    ([array([], dtype=int64)], [array([1])])
    >>> np.exp(ctc_beam_search(y, beam=2).scores).round(2).tolist()
    [[0.64, 0.36]]
    """
    beam = checks.size(beam, "beam")
    logits, times, steps, blank = checked_steps(y, lengths, blank)
    (_, N, V), longest = logits.shape, int(steps.max(initial=0))
    logits = np.require(logits, requirements=["C", "W"])
    ids, sizes = np.zeros((longest, N, beam), np.int64), np.zeros((N, beam), np.int64)
    scores = np.full((N, beam), -np.inf)

    def work(first: int, last: int) -> None:
        with np.errstate(all="ignore"):
            lattice.ctc_prefixes(first, last, logits, times, steps, blank, beam, ids, sizes, scores)

    threads.split(EXP * float(steps.sum()) * V * beam, N, work, lambda: steps + 1)
    return Generated(ids[: sizes.max(initial=0)], sizes, scores, None)
