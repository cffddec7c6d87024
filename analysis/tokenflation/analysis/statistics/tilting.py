"""How far a number of whole tasks may lie from the recorded one: few tasks seldom hold the large ones. Pure NumPy.

A resample of the tasks holds no task that is larger than theirs, so its spread is too small upwards. The mean size has
a calibrated interval (`prototypes`): tasks are weighted until their mean size is its lower or its upper end, and what
the number is under those weights is how far it may lie for what sizes are not known. What resamples vary besides, at
the same mean size, is widened by `prototypes.kappa` and added as squares. A mean size itself gets its own interval.
Source: B. Efron, "Nonparametric standard errors and confidence intervals", Canadian Journal of Statistics 9 (1981), for
exponential tilting: of all weights with that mean size these differ least from equal ones.
"""

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.statistics.prototypes import kappa, mean_ends

__all__ = ["arms", "tilted"]

Floats = NDArray[np.float64]

_STEEPEST = 200.0
"""Steepest slope of the weights' logarithm per deviation of size: so far tilted, the largest task has all weight."""
_HALVINGS = 50
_NO_SPREAD = 1e-12


def tilted(sizes: Floats, level: float) -> Floats:
    """Return two rows of weights under which the mean size is the lower and the upper end of its interval at `level`.

    Each row sums to the number of tasks. An end beyond the largest task gets nearly that task alone. Weights are equal
    where all sizes are.
    """
    mean, spread = float(sizes.mean()), float(sizes.std())
    if not spread > _NO_SPREAD * mean:
        return np.ones((2, len(sizes)))
    place = (sizes - mean) / spread
    ends = (mean_ends(sizes[:, None], level)[:, 0] - 1) * mean / spread
    return _weights(place, _slopes(place, ends)) * len(sizes)


def arms(number: Floats, under_ends: Floats, sizes: Floats, runs: int, level: float) -> tuple[Floats, Floats]:
    """Return how far below and above each number may lie; shapes (numbers,), none below 0.

    `number` are resampled distances from the recorded number, one resample a row and one number a column; `sizes` the
    resampled distances from the recorded mean size; `under_ends` the distances under the weights of `tilted`. Without
    rows of these, `sizes` say nothing.
    """
    tail = (1 - level) / 2
    rest = number
    if len(under_ends):
        squares = float(sizes @ sizes)
        rest = number - np.outer(sizes, sizes @ number / squares if squares > 0 else np.zeros(number.shape[1]))
    low, high = kappa(runs) * np.quantile(rest, [tail, 1 - tail], axis=0)
    below, above = under_ends.min(axis=0, initial=0.0), under_ends.max(axis=0, initial=0.0)
    return np.hypot(below, np.minimum(low, 0.0)), np.hypot(above, np.maximum(high, 0.0))


def _weights(place: Floats, slopes: Floats) -> Floats:
    steep = slopes[:, None] * place
    weights = np.exp(steep - steep.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)


def _slopes(place: Floats, ends: Floats) -> Floats:
    """Return the slopes at which the weighted mean of `place` is each of `ends`, by halving."""
    low, high = np.where(ends > 0, 0.0, -_STEEPEST), np.where(ends > 0, _STEEPEST, 0.0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = _weights(place, middle) @ place < ends
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray((low + high) / 2, dtype=np.float64)
