"""Intervals from rolling-origin residuals: split conformal prediction.

Residuals are the distances between forecasts and values that the network was not trained with. The
interval of 80 % around a forecast k steps ahead reaches as far as 80 % of the residuals k steps
ahead: nothing is assumed about their distribution. With n residuals the half width is the
ceil((n + 1) 0.8)-th smallest (Lei et al. 2018, Distribution-Free Predictive Inference for
Regression, section 2.2).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np


class Intervals:
    """The widths of intervals, in units of each series' scale.

    Parameters
    ----------
    residuals : list of ndarray, shape (n_k,)
        For each step ahead, the absolute residuals of all series, each divided by the scale of its
        series.
    """

    def __init__(self, residuals: list[np.ndarray]):
        self.residuals = [np.sort(r[np.isfinite(r)]) for r in residuals]

    def widths(self, levels: Sequence[float]) -> np.ndarray:
        """Return the half width of each level, in percent, and step ahead: (levels, horizon)."""
        found = np.empty((len(levels), len(self.residuals)))
        for i, level in enumerate(levels):
            for k, r in enumerate(self.residuals):
                rank = math.ceil((len(r) + 1) * level / 100)
                found[i, k] = r[min(rank, len(r)) - 1] if len(r) else np.nan
        few = min(map(len, self.residuals))
        needed = max(needed_for(level) for level in levels)
        if few < needed:
            warnings.warn(
                f"an interval of {max(levels):g} % needs {needed} residuals of each step ahead, "
                f"got {few}: the largest takes its place; a longer series or a larger "
                "calibration_fraction gives more",
                UserWarning,
                stacklevel=6,  # the call of predict
            )
        return found


def needed_for(level: float) -> int:
    """Return how many residuals an interval of a level, in percent, needs."""
    n = max(1, math.floor(level / (100 - level)))
    while math.ceil((n + 1) * level / 100) > n:
        n += 1
    return n
