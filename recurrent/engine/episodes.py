"""Episodes: a batch of sequences that are cut, and begin again from the initial state.

In x (T, N, ...) each of the N sequences consists of one episode or more. An episode is run as a
sequence of its own: the packed order (see `ragged`) has a row of state for each of the E episodes,
and nothing is copied that a batch of different lengths would not copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from . import ragged


class Episodes:
    """The episodes of N sequences; in place of `lengths` it makes a layer run each by itself.

    Parameters
    ----------
    resets : ndarray, shape (T, N), bool
        Where the state returns to the initial one, before that step.
    lengths : Any
        Valid steps of each sequence as `checks.valid_steps` returns them: a reset at a step that is
        not valid takes effect at the next one that is.

    Attributes
    ----------
    count : int
        E, the number of episodes.
    sequence : ndarray, shape (E,), int
        The sequence of each episode. Episodes are in the order of sequences, then of time.
    given : ndarray, shape (E,), bool
        Which episodes go on from a state that is passed: at most the first of each sequence.
    last : ndarray, shape (N,), int
        The episode whose final state is that of each sequence.
    """

    def __init__(self, resets: np.ndarray, lengths: Any = None):
        self.T, self.N = T, N = resets.shape
        starts = resets.T.copy()
        starts[:, :1] = True
        valid = np.ones((N, T), bool) if lengths is None else checks.inside(lengths, T).T
        number = np.cumsum(starts).reshape(N, T) - 1  # of the episode of each step
        self.sequence = np.nonzero(starts)[0] if T else np.arange(N)
        self.count = len(self.sequence)
        n, t = np.nonzero(valid)
        self._rows = t * N + n  # of the valid steps, episode by episode
        self._steps = np.bincount(number[n, t], minlength=self.count)
        first = np.searchsorted(self.sequence, np.arange(N))
        reset_at_once = resets[0] if T else np.zeros(N, bool)
        self.given = np.zeros(self.count, bool)
        self.given[first] = ~reset_at_once | (self._steps[first] == 0)
        self.last = first.copy()
        np.maximum.at(self.last, self.sequence, np.where(self._steps, np.arange(self.count), 0))

    def layout(self, reverse: bool = False) -> ragged.Layout:
        """Return the packed order of the episodes, the longest first."""
        found = ragged.layout(int(self._steps.max(initial=0)), self.count, self._steps, reverse)
        step, episode = np.divmod(np.asarray(found.rows), max(self.count, 1))
        begin = np.cumsum(self._steps) - self._steps
        rows = self._rows[begin[episode] + step]
        return found._replace(T=self.T, rows=rows, columns=self.N, sequence=self.sequence)

    def initial(self, given: np.ndarray | None, default: Any, width: int, dtype: Any) -> np.ndarray:
        """Return a state (E, width) before the first step: `given` (N, width) or `default`."""
        a = np.empty((self.count, width), dtype)
        a[:] = default
        if given is not None:
            a[self.given] = given[self.sequence[self.given]]
        return a

    def spread(self, a: np.ndarray) -> np.ndarray:
        """Return (E, width) with the rows (N, width) at the last episodes, and zeros elsewhere."""
        out = np.zeros((self.count, a.shape[1]), a.dtype)
        out[self.last] = a
        return out

    def collected(self, a: np.ndarray) -> np.ndarray:
        """Return (N, width): rows of (E, width) of episodes that are `given`, zeros elsewhere."""
        out = np.zeros((self.N, a.shape[1]), a.dtype)
        out[self.sequence[self.given]] = a[self.given]
        return out


def checked_resets(resets: Any, T: int, N: int, lengths: Any = None) -> np.ndarray:
    """Return the resets (T, N); raise an error unless they are a mask of that shape.

    They may be a list of arrays (T_i,), one for each sequence.
    """
    if ragged.is_list(resets) and all(a.ndim == 1 for a in resets):
        expected = np.full(N, T) if lengths is None else lengths
        counts = [len(a) for a in resets]
        if expected.ndim == 1 and counts != expected.tolist():
            raise ValueError(
                f"resets must have the lengths of x, {expected.tolist()[:5]}, got {counts[:5]}"
            )
        resets = ragged.pad_sequences(resets, None, "resets")[0]
    resets = checks.as_array(resets, "resets")
    if resets.dtype != bool:
        raise TypeError(
            f"resets must be bool, True where a sequence begins anew, got {resets.dtype.name}"
        )
    checks.shape(resets, "resets", (T, N), "(T, N)")
    return resets
