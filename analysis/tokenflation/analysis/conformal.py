"""Intervals that hold as often as they claim on a series that drifts: adaptive conformal bounds. Pure NumPy.

A bound is a quantile of how far past forecasts were off (in logs, so a ratio), at a probability that moves: after each
miss the bound asks for a rarer one, after each hit for a more common one, until misses come as often as they should.
Source: Gibbs and Candes, Adaptive Conformal Inference Under Distribution Shift, 2021 (one bound on either side, apart).
"""

from collections import deque
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["GAMMA", "LEAST_SCORES", "WINDOW", "Bound", "quantile"]

Floats = NDArray[np.float64]

GAMMA = 0.03
"""How far one miss moves the probability."""
WINDOW = 168
"""Scores that are kept: a week of hours."""
LEAST_SCORES = 20
"""Scores without which there is no bound."""
# A bound asked for less often than any score was ever exceeded lies beyond the largest by this much of the spread.
_BEYOND = 0.25


class Bound:
    """An upper bound of scores that a share `miss` of those to come exceeds; it holds the state of one horizon."""

    def __init__(self, miss: float, distance: int = 1) -> None:
        self._miss, self._distance = miss, distance
        self._asked = miss
        self._scores: deque[float] = deque(maxlen=WINDOW)

    def value(self) -> float:
        """Return the bound for the next score; NaN while too few are known.

        Forecasts `distance` steps ahead are off together for as many steps, so their scores count as that many times
        fewer; the bound is wider by the factor that Student's t has for so few (1 + 1/n, near enough).
        """
        if len(self._scores) < LEAST_SCORES:
            return np.nan
        return quantile(self._scores, 1.0 - self._asked) * (1.0 + self._distance / len(self._scores))

    def learn(self, score: float, bound: float) -> None:
        """Take in a score and the bound that was given for it; a score that is not known (NaN) teaches nothing."""
        if not np.isfinite(score):
            return
        if np.isfinite(bound):
            self._asked += GAMMA * (self._miss - float(score > bound))
            # Of steps far ahead a run of hits is one hit counted often: it does not make the bound tighter than claimed.
            self._asked = min(max(self._asked, -_BEYOND), 1.0 if self._distance == 1 else self._miss)
        self._scores.append(score)


def quantile(scores: Iterable[float], level: float) -> float:
    """Return the smallest score that holds `level` of all and one more, beyond the largest where `level` asks for that."""
    ordered = np.sort(np.fromiter(scores, dtype=np.float64))
    count = len(ordered)
    place = level * (count + 1) - 1
    if place <= count - 1:
        return float(np.interp(place, np.arange(count), ordered))
    spread = float(ordered[-1] - np.median(ordered))
    return float(ordered[-1] + spread * min(place - (count - 1), count * _BEYOND) / max(count * _BEYOND, 1.0))
