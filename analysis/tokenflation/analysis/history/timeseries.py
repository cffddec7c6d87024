"""What a recorded demand will be in the hours ahead: a robust ensemble over a series with gaps. Pure NumPy, no clock.

All members work on logarithms of step means (an hour, by default), counted back from the origin, so that the answer
moves with the series in time and scale. A seasonal member is a shape (by time of day and of week) plus what the series
has been off that shape lately, which fades with the distance: `off(day) + exp(-distance) (off(now) - off(day))`. An
autoregression of the same distances, fitted by least absolute errors and shrunk to those values, learns what the series
itself shows. The last bin within the step counts more than the step: hour-old means are half an hour late.
What weeks agree that a time of the week is off a smooth day, as weekends are, is taken out before and put back after.
Members are weighed by how they did lately on this series at that distance, and their weighted mean is the forecast.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.history.gaps import DAY_S, WEEK_S, find_gaps
from tokenflation.analysis.history.seasonal import autoregression, faded, fourier, profile, repeated, weekly
from tokenflation.sdk.errors import FrameError
from tokenflation.sdk.words import many

__all__ = ["LEAST_STEPS", "MEMBERS", "Recent", "ahead", "members", "step_logs", "steps_known"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

LEAST_STEPS = 48
"""Steps with known demand without which nothing is forecast."""
MEMBERS = ("naive_day", "naive_week", "profile", "recent", "trend", "mixed", "regression", "recent_regression")
"""Members of the ensemble, in the order of the rows that `members` returns."""
# Demand below this share of the typical step counts as this much: logarithms of single requests are noise.
_FLOOR = 0.01
# Share of steps whose last bins may hold next to nothing; where more do, requests are too few to count so finely.
_RARELY = 0.02
# Share of days (or weeks) from which on a time of day (or week) is one that holds nothing, as in finding gaps.
_CLOSED = 0.75
# Times the largest bin: where ratios of errors say little, no bound is above.
_MOST = 2.0


@dataclass(frozen=True, slots=True)
class Recent:
    """A series as known at an origin, in logs by step."""

    steps: Floats
    """Log of the mean of each whole step before the origin, NaN where most of it is a gap."""
    last: float
    """Log of the mean of the last bins before the origin; NaN where they are gaps."""
    last_of: Floats
    """The same as it was at the end of each step."""
    peak: float
    """Log of the largest bin of the last step; NaN where that is a gap."""
    per_day: int
    """Steps per day."""
    per_week: int
    """Steps per week."""
    floor: float
    """Log of what any less demand counts as: which of two such steps holds less is not known."""
    ceiling: float
    """Log of what no bound passes: where some times usually hold nothing, the ratio of a forecast to what came may be
    any; elsewhere infinite.
    """


def step_logs(values: Floats, bin_s: float, step_s: float, *, mask: bool = True) -> Recent:
    """Return what is known at the end of `values`, with gaps masked and whole steps counted back from that end.

    `mask` False takes zeros for demand, whatever stands beside them.

    Raises:
        FrameError: too little is known, or the step is no multiple of the bin.
    """
    per_step = round(step_s / bin_s)
    if per_step < 1 or abs(per_step * bin_s - step_s) > 1e-6 * step_s:
        raise FrameError(f"a step of {step_s:g} s is no multiple of the series' bins of {bin_s:g} s; give one that is.")
    whole = len(values) // per_step
    used = np.asarray(values[len(values) - whole * per_step :], dtype=np.float64)
    gaps = find_gaps(used, bin_s) if mask else ~np.isfinite(used)
    known = np.where(gaps, np.nan, used)
    steps = _means(known.reshape(whole, per_step), least=0.5)
    held = int(np.isfinite(steps).sum())
    if held < LEAST_STEPS:
        shorter = len(used) // LEAST_STEPS * bin_s
        how = f"Record longer, or take steps of {shorter:g} s (--step)." if 0 < shorter < step_s else "Record longer."
        raise FrameError(
            f"the series is {len(values):,} bins of {bin_s:g} s, and has {many(held, 'step')} of {step_s:g} s with known demand; "
            f"a forecast needs at least {LEAST_STEPS}. {how}"
        )
    positive = steps[steps > 0]
    if not len(positive):
        raise FrameError("the series is zero everywhere; there is no demand to forecast. Check which column was read.")
    per_day, per_week = (max(1, round(span / step_s)) for span in (DAY_S, WEEK_S))
    held_steps, nothing = np.isfinite(steps), steps == 0
    closed = _closed(nothing, held_steps, per_day, least=1) | _closed(nothing, held_steps, per_week, least=2)
    least = max(_FLOOR * float(np.median(positive)), _least_count(steps, held_steps & ~closed))
    ceiling = float(np.log(_MOST * np.nanmax(known))) if closed.any() else np.inf
    tail = _tail(known.reshape(whole, per_step), least)
    logs = np.log(np.maximum(steps, least))
    lasts = np.log(np.maximum(tail, least))
    largest = np.max(known[-per_step:], where=~gaps[-per_step:], initial=least)
    peak = float(np.log(largest)) if np.isfinite(logs[-1]) else np.nan
    return Recent(logs, float(lasts[-1]), lasts, peak, per_day, per_week, float(np.log(least)), ceiling)


def _least_count(steps: Floats, mixed: Flags) -> float:
    """Return half of what little demand is where steps of nothing stand among others; 0 where there are none.

    How far below a few requests nothing is has no logarithm: taken for next to nothing it would drag forecasts down and
    blow intervals up. Times of day or of week that usually hold nothing are not `mixed`: they are as they are.
    """
    some = steps[mixed & (steps > 0)]
    return 0.5 * float(np.quantile(some, 0.1)) if len(some) and (steps[mixed] == 0).any() else 0.0


def _closed(zero: Flags, known: Flags, period: int, *, least: int) -> Flags:
    """Return whether each step's place in the period usually holds nothing, as far as `least` known steps tell."""
    place = np.arange(len(zero)) % period
    count = np.bincount(place, weights=known, minlength=period)
    share = np.bincount(place, weights=zero, minlength=period) / np.maximum(count, 1)
    return np.asarray(((share >= _CLOSED) & (count >= least))[place], dtype=np.bool_)


def steps_known(values: Floats, bin_s: float, step_s: float, *, mask: bool = True) -> int:
    """Return how many whole steps before the end of `values` hold known demand; `mask` as of `step_logs`."""
    per_step = round(step_s / bin_s)
    used = values[len(values) % per_step :]
    gaps = find_gaps(used, bin_s) if mask else ~np.isfinite(used)
    held = np.where(gaps, np.nan, used).reshape(-1, per_step)
    return int(np.isfinite(_means(held, least=0.5)).sum())


def _means(rows: Floats, *, least: float) -> Floats:
    """Return the mean of what is known of each row; NaN where less than the share `least` is."""
    known = np.isfinite(rows)
    count = known.sum(axis=1)
    total = np.where(known, rows, 0.0).sum(axis=1)
    return np.where(count >= max(1.0, least * rows.shape[1]), total / np.maximum(count, 1), np.nan)


def _tail(rows: Floats, least: float) -> Floats:
    """Return the mean of the last bins of each step: a sixth of it, or as many as hardly ever hold nothing."""
    per_step = rows.shape[1]
    for count in (max(1, per_step // 6), max(1, per_step // 2)):
        tail = _means(rows[:, -count:], least=0.5)
        if np.mean(tail[np.isfinite(tail)] <= least) <= _RARELY:
            return tail
    return _means(rows, least=0.5)


def members(recent: Recent, count: int) -> Floats:
    """Return log forecasts of the next `count` steps; shape (members, count), rows as in `MEMBERS`."""
    before = len(recent.steps)
    of_week = weekly(recent.steps, recent.per_day, recent.per_week, count)
    recent = replace(recent, steps=recent.steps - of_week[:before], last=recent.last - of_week[before - 1],
                     last_of=recent.last_of - of_week[:before])  # fmt: skip
    day = profile(recent.steps, recent.per_day, count, keep=0.95, middle=True)
    fast = profile(recent.steps, recent.per_day, count, keep=0.75, middle=False)
    waves = fourier(recent.steps, recent.per_day, recent.per_week, count)
    mixed = 0.5 * (day + waves)
    rows = [
        repeated(recent.steps, recent.per_day, count, day),
        repeated(recent.steps, recent.per_week, count, day),
        *(faded(shape, recent.steps, recent.last, recent.per_day) for shape in (day, fast, waves, mixed)),
        *(
            autoregression(shape, recent.steps, recent.last_of, recent.per_day, recent.per_week, count)
            for shape in (mixed, fast)
        ),
    ]
    return np.array(rows) + of_week[before:]


def ahead(rows: Floats, weights: Floats) -> Floats:
    """Return the weighted mean over members at each step; both of shape (members, steps), in logs."""
    return np.asarray((rows * weights).sum(axis=0) / weights.sum(axis=0), dtype=np.float64)
