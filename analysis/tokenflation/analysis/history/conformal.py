"""Intervals that hold as often as they claim on a series that drifts: adaptive conformal bounds. Pure NumPy.

A bound is a quantile of how far past forecasts were off (in logs, so a ratio), at a probability that moves: after each
miss the bound asks for a rarer one, after each hit for a more common one, until misses come as often as they should.
Forecasts d steps ahead are off together for as many steps, and are known to be off only d steps later, so one miss
moves the probability d times less: a whole night off is one event, not ten.

Source: Gibbs and Candes, Adaptive Conformal Inference Under Distribution Shift, 2021. The step by distance, both sides
in one bound and the window were chosen on other series than those in the benchmark: hourly counts of tweets, taxi rides
and web requests (numenta/NAB), the same spliced and rescaled half-way, and series made with known noise. The widening
is what lets intervals of a whole day hold on both: forecasts from every hour are inside 0.87 to 0.94 of the time on
each of 16 series.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

__all__ = ["GAMMA", "LEAST_SCORES", "WINDOW", "Bounds", "Daytime", "quantiles"]

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

GAMMA = 0.06
"""How far one miss of the next step moves the probability."""
WINDOW = 72
"""Scores that are kept for each distance: three days of hours.

Fewer days hold what a series that drifts is like now.
"""
LEAST_SCORES = 20
"""Scores without which there is no bound."""
# Few scores of forecasts that are off together say less than they seem to: the bound is wider by this over their
# number.
_WIDER = 1.5
# What lies beyond the largest score is guessed: one place is this share of the spread, over the number of scores.
_BEYOND = 4.0
# How much a day counts the day after; what one day is held against; how much of the difference is believed.
_REMEMBERED, _HELD, _BELIEVED = 0.9, 1.0, 0.5
_LEAST_JUDGED = 12


class Bounds:
    """Upper bounds of scores, by distance ahead, that a share `miss` of those to come exceeds; holds what it learnt."""

    def __init__(self, miss: float, horizon: int, *, window: int = WINDOW) -> None:
        self._miss = miss
        self._asked = np.full(horizon, miss)
        self._scores = np.full((horizon, window), np.nan)
        self._count = np.zeros(horizon, dtype=np.int64)
        self._ahead = np.arange(1, horizon + 1)

    def values(self) -> Floats:
        """Return the bound of the next score at each distance; NaN while too few are known."""
        held = np.minimum(self._count, self._scores.shape[1])
        found = quantiles(self._scores, 1.0 - self._asked) * (1.0 + _WIDER * self._ahead / np.maximum(held, 1))
        return np.where(held >= LEAST_SCORES, found, np.nan)

    def learn(self, distances: Places, scores: Floats, given: Floats) -> None:
        """Take in one score for each of `distances` (from 0) and the bound that was given for it.

        A score that is not known (NaN) teaches nothing.
        """
        known = np.isfinite(scores)
        distances, scores, given = distances[known], scores[known], given[known]
        missed = np.where(np.isfinite(given), self._miss - (scores > given), 0.0)
        moved = self._asked[distances] + GAMMA / self._ahead[distances] * missed
        self._asked[distances] = np.clip(moved, 0.0, 1.0)
        self._scores[distances, self._count[distances] % self._scores.shape[1]] = scores
        self._count[distances] += 1


class Daytime:
    """How far off forecasts are at each time of day, over what they usually are; holds what it learnt.

    A quiet night is forecast worse (in logs) than a busy noon, or better: bounds are of errors over these factors.
    It learns `most` times at most, and keeps a week of errors.
    """

    def __init__(self, per_day: int, horizon: int, *, most: int | None = None) -> None:
        week = 7 * max(24, per_day)
        self._errors = np.full((horizon, week if most is None else min(week, most)), np.nan)
        self._count = np.zeros(horizon, dtype=np.int64)
        self._sum, self._weight = np.zeros(per_day), np.zeros(per_day)
        self._keep = _REMEMBERED ** (1.0 / per_day)

    def learn(self, place: int, distances: Places, errors: Floats) -> None:
        """Take in how far off (absolute, in logs) the forecasts of the step at `place` were, one for each distance."""
        judged = self._count[distances] >= _LEAST_JUDGED
        if judged.any():
            usual = np.nanmean(self._errors[distances[judged]], axis=1)
            ratio = float(np.mean(errors[judged] / np.maximum(usual, 1e-9)))
            self._sum[place % len(self._sum)] += ratio
            self._weight[place % len(self._sum)] += 1.0
        self._sum *= self._keep
        self._weight *= self._keep
        self._errors[distances, self._count[distances] % self._errors.shape[1]] = errors
        self._count[distances] += 1

    def factors(self, place: int, count: int) -> Floats:
        """Return the factor of each of the `count` steps from `place` on; times within two hours count as well."""
        per_day, reach = len(self._sum), len(self._sum) // 12
        # Only the hours asked for: a day may have 86,400 steps.
        near = np.arange(place - reach, place + count + reach) % per_day
        width = 2 * reach + 1
        total, weight = (sliding_window_view(one[near], width).sum(axis=1) for one in (self._sum, self._weight))
        return np.asarray(((total + _HELD) / (weight + _HELD)) ** _BELIEVED, dtype=np.float64)


def quantiles(scores: Floats, levels: Floats) -> Floats:
    """Return by row the smallest score that holds `levels` of its known ones and one more; NaN where none is known.

    Beyond the largest, where a level asks for that, by a share of the spread above the median.
    """
    ordered = np.sort(scores, axis=-1)
    count = np.isfinite(ordered).sum(axis=-1)
    last = np.maximum(count - 1, 0)
    place = np.clip(levels * (count + 1) - 1, 0.0, np.maximum(count, 0))
    low = np.minimum(place.astype(np.int64), last)
    high = np.minimum(low + 1, last)
    at = [np.take_along_axis(ordered, one[..., None], axis=-1)[..., 0] for one in (low, high, last // 2, last)]
    beyond = np.maximum(place - last, 0.0) * _BEYOND / np.maximum(count, _BEYOND)
    return np.asarray(
        at[0] + (at[1] - at[0]) * (place - low) * (high > low) + beyond * (at[3] - at[2]), dtype=np.float64
    )
