"""Forecasts of a recorded series from every origin as if it were now, and how good they were. Pure NumPy and pandas.

From each origin only the bins before it are given to anything: gaps, shapes, weights and intervals are found anew, so
no figure knows the future. What happened during a gap is not known; it neither counts nor teaches.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.history.conformal import WINDOW, Bounds, Daytime
from tokenflation.analysis.history.gaps import find_gaps
from tokenflation.analysis.history.timeseries import (
    LEAST_STEPS,
    MEMBERS,
    Recent,
    ahead,
    members,
    step_logs,
    steps_known,
)

__all__ = ["Rolled", "roll"]

Floats = NDArray[np.float64]

# How much an error counts a day later, and how strongly a member's weight falls with its error over the best member's.
_REMEMBERED = 0.9
_SHARPNESS = 4.0
# The least error of a member, as a share of the worst one's.
_LEAST_ERROR = 1e-6
# Before anything is seen: a repeated day or week and what follows the last days alone for less, both shapes together
# for more than the others.
_FIRST_WEIGHTS = {"naive_day": 0.3, "naive_week": 0.3, "recent": 0.4, "recent_regression": 0.4, "mixed": 2.0,
                  "regression": 2.0}  # fmt: skip
# How much of what forecasts were off by in the last two days is taken back, from a quarter of a day ahead on.
_TAKEN_BACK, _BIAS_DAYS = 0.25, 2
_MOST_ORIGINS = 28 * 24
# Share of steps of nothing from which on forecasts are held to what came.
_OFTEN = 0.25
# Scores of the busiest bins: what is exceeded once in a hundred steps takes more of them than an interval.
_PEAKS = 28 * 24


@dataclass(frozen=True, slots=True)
class Rolled:
    """Forecasts from every origin; arrays of shape (origins, horizon), all in the unit of the series."""

    origins: NDArray[np.int64]
    """Steps before each origin; the last origin is the end of the series."""
    middle: Floats
    """Forecast mean demand of each step."""
    low: Floats
    high: Floats
    each: Floats
    """Forecasts of each member; shape (origins, members, horizon)."""
    provision: Floats
    """Demand that the busiest bin of a step exceeds in a share `short` of steps."""
    steps: Floats
    """Recorded mean demand by step, NaN in gaps."""
    step_s: float
    skipped: int
    """Bins at the start that make no whole step."""


def roll(values: Floats, bin_s: float, *, step_s: float, horizon: int, level: float = 0.9, short: float = 0.05,
         first: int | None = None, mask: bool = True) -> Rolled:  # fmt: skip
    """Return forecasts from each step on, `horizon` steps ahead, with intervals that claim `level`.

    `first`: steps before the first origin; by default four weeks of origins, or as many as there are. Origins before
    those that are scored are needed: they teach weights and intervals. `mask` False takes zeros for demand, not for
    gaps.

    Raises:
        FrameError: too little demand is known, or the step is no multiple of the bin.
    """
    recent = step_logs(values, bin_s, step_s, mask=mask)
    per_step = round(step_s / bin_s)
    whole = len(recent.steps)
    skipped = len(values) - whole * per_step
    truth = _known(values[skipped:].reshape(whole, per_step), bin_s, mask)
    enough = int(np.flatnonzero(np.cumsum(np.isfinite(truth)) >= LEAST_STEPS)[0]) + 1
    start = max(enough, whole - _MOST_ORIGINS) if first is None else max(enough, first)
    origins = np.arange(min(start, whole), whole + 1)
    shape = (len(origins), horizon)
    found = {name: np.full(shape, np.nan) for name in ("middle", "low", "high", "provision")}
    each = np.full((len(origins), len(MEMBERS), horizon), np.nan)
    plain = np.full(shape, np.nan)
    learner = _Learner(shape, recent.per_day, level, short)
    for row, origin in enumerate(origins):
        known = values[skipped : skipped + origin * per_step]
        if steps_known(known, bin_s, step_s, mask=mask) < LEAST_STEPS and origin < whole:
            # What is a gap may show only later: an early origin can know less than it will seem to have known.
            continue
        recent = step_logs(known, bin_s, step_s, mask=mask)
        learner.learn(row, int(origin), recent, each, plain, found)
        each[row] = members(recent, horizon)
        logs = ahead(each[row], learner.weights())
        plain[row] = logs
        logs = logs + learner.bias()
        found["middle"][row] = logs
        found["low"][row], found["high"][row], found["provision"][row] = learner.bounds(row, int(origin), logs)
        for name in ("high", "provision"):
            found[name][row] = np.minimum(found[name][row], np.maximum(logs, recent.ceiling))
        # Less than the floor may be nothing at all.
        found["low"][row][found["low"][row] <= recent.floor] = -np.inf
    rolled = {name: np.exp(one) for name, one in found.items()}
    middle = rolled["middle"] = rolled["middle"] * _often_nothing(rolled["middle"], truth, origins, recent.per_day)
    # What that scales may leave its interval, which then reaches to it.
    rolled["low"] = np.where(middle < rolled["low"], middle, rolled["low"])
    rolled["high"] = np.where(middle > rolled["high"], middle, rolled["high"])
    return Rolled(origins=origins, **rolled, each=np.exp(each), steps=truth, step_s=step_s, skipped=skipped)


def _known(rows: Floats, bin_s: float, mask: bool) -> Floats:
    """Return the mean of each step as known in hindsight, NaN where more than half of it is a gap."""
    gaps = find_gaps(rows.reshape(-1), bin_s).reshape(rows.shape) if mask else ~np.isfinite(rows)
    count = (~gaps).sum(axis=1)
    mean = np.where(gaps, 0.0, rows).sum(axis=1) / np.maximum(count, 1)
    return np.where(2 * count >= rows.shape[1], mean, np.nan)


def _often_nothing(middle: Floats, truth: Floats, origins: NDArray[np.int64], per_day: int) -> Floats:
    """Return what to multiply forecasts by where many steps hold nothing: what came in a week over what was forecast.

    Logarithms know no step of nothing, so that a mean forecast through them is that of the others, more or less. Origin
    by origin only what was known then counts; 1 where fewer than a quarter of the steps of two weeks were nothing.
    """
    rows, horizon = middle.shape
    found = np.ones((rows, horizon))
    known, nothing = np.isfinite(truth), truth == 0
    before = [np.concatenate(([0.0], np.cumsum(one))) for one in (nothing, known)]
    since = np.maximum(origins - 14 * per_day, 0)
    share = (before[0][origins] - before[0][since]) / np.maximum(before[1][origins] - before[1][since], 1.0)
    seldom = share < _OFTEN
    if seldom.all():
        return found
    for ahead_by in range(horizon):
        target = np.minimum(origins + ahead_by, len(truth) - 1)
        counts = known[target] & np.isfinite(middle[:, ahead_by]) & (origins + ahead_by < len(truth))
        came, forecast = (np.concatenate(([0.0], np.cumsum(np.where(counts, one, 0.0))))
                          for one in (truth[target], middle[:, ahead_by]))  # fmt: skip
        # At a row those count whose step lies before it: a distance further back.
        end = np.maximum(np.arange(rows) - ahead_by, 0)
        begin = np.maximum(end - 7 * per_day, 0)
        usual = np.where(end > begin, (forecast[end] - forecast[begin]) / np.maximum(end - begin, 1), 0.0) * per_day / 4
        ratio = (came[end] - came[begin] + usual) / np.maximum(forecast[end] - forecast[begin] + usual, 1e-300)
        found[:, ahead_by] = np.where(seldom | (usual <= 0), 1.0, np.clip(ratio, 0.2, 5.0))
    return found


class _Learner:
    """What past forecasts teach, by horizon: weights of members, and bounds of their errors."""

    def __init__(self, shape: tuple[int, int], per_day: int, level: float, short: float) -> None:
        origins, horizon = shape
        self._scales = np.ones(shape)
        self._errors = np.zeros((len(MEMBERS), horizon))
        self._off = [deque[float](maxlen=_BIAS_DAYS * per_day) for _ in range(horizon)]
        self._back = _TAKEN_BACK * np.minimum(1.0, np.arange(horizon) / max(1.0, per_day / 4))
        self._first = np.array([_FIRST_WEIGHTS.get(name, 1.0) for name in MEMBERS])[:, None]
        self._keep = _REMEMBERED ** (1.0 / per_day)
        # No more room than there are origins to learn at: a short record by the second would ask for half a million.
        self._daytime = Daytime(per_day, horizon, most=origins)
        self._around = Bounds(1.0 - level, horizon, window=min(max(WINDOW, 3 * per_day), origins))
        self._peak = Bounds(short, horizon, window=_PEAKS)

    def learn(
        self, row: int, origin: int, recent: Recent, each: Floats, plain: Floats, found: dict[str, Floats]
    ) -> None:
        """Take in the last step known at origin number `row`, which earlier origins forecast at one horizon each."""
        self._errors *= self._keep
        actual = float(recent.steps[-1])
        if not np.isfinite(actual):
            return
        distances = np.arange(min(row, len(self._off)))
        distances = distances[np.isfinite(plain[row - 1 - distances, distances])]
        rows = row - 1 - distances
        for before, distance in zip(rows, distances, strict=True):
            self._errors[:, distance] += np.abs(np.exp(each[before, :, distance]) - np.exp(actual))
            self._off[distance].append(actual - float(plain[before, distance]))
        middle = found["middle"][rows, distances]
        scale = self._scales[rows, distances]
        self._around.learn(
            distances, np.abs(actual - middle) / scale, (found["high"][rows, distances] - middle) / scale
        )
        self._peak.learn(distances, recent.peak - middle, found["provision"][rows, distances] - middle)
        self._daytime.learn(origin - 1, distances, np.abs(actual - middle))

    def weights(self) -> Floats:
        """Return the weight of each member at each horizon; errors of horizons beside count as well."""
        around = self._errors.copy()
        around[:, 1:] += 0.5 * self._errors[:, :-1]
        around[:, :-1] += 0.5 * self._errors[:, 1:]
        # A member that was never off keeps a small error, so that others are worse than it.
        around = np.maximum(around, _LEAST_ERROR * around.max(axis=0))
        best = around.min(axis=0)
        # No weight has been earned where nothing has been seen.
        share = np.where(best > 0, around / np.where(best > 0, best, 1.0), 1.0)
        return np.asarray(self._first * share**-_SHARPNESS, dtype=np.float64)

    def bias(self) -> Floats:
        """Return how much is added to the forecast of each horizon, in logs, for what it was off by lately."""
        off = np.array([np.median(one) * len(one) / (one.maxlen or 1) if one else 0.0 for one in self._off])
        return np.asarray(self._back * off, dtype=np.float64)

    def bounds(self, row: int, origin: int, logs: Floats) -> tuple[Floats, Floats, Floats]:
        """Return low, high and provisioned demand in logs."""
        self._scales[row] = self._daytime.factors(origin, len(logs))
        around = self._around.values() * self._scales[row]
        return logs - around, logs + around, logs + self._peak.values()
