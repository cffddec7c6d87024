"""Months ahead of a recorded demand: a growth scenario times the usual week. Pure NumPy and pandas; no clock.

Growth months ahead is no property of a few weeks of a series, so it is asked for, not fitted. The series gives the
level now, the shape of a week, and how far a week's level strays (which adds up over the weeks ahead where enough are
recorded).
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.history.gaps import DAY_S
from tokenflation.analysis.history.reading import History
from tokenflation.analysis.history.timeseries import step_logs
from tokenflation.sdk.errors import FrameError, PlanError
from tokenflation.sdk.words import many

__all__ = ["months_ahead"]

Floats = NDArray[np.float64]

_DRAWS = 1000
_WEEKS_A_MONTH = 365.25 / 12 / 7
_LEAST_DAYS = 7
_WANDERING_WEEKS = 5
_MOST_MONTHS = 60


def months_ahead(history: History, *, months: int, growth_per_month: Mapping[str, float], level: float = 0.9,
                 step_s: float = 3600.0, rng: np.random.Generator) -> pd.DataFrame:  # fmt: skip
    """Return each month's demand by scenario; one row per scenario, month and statistic.

    Columns: `scenario`, `month` (1 is the first after the series), `statistic` (`mean`, `mean_low`, `mean_high`, and
    `busiest_hour`, the mean of the usual week's busiest step), `value`, `unit`. Months are a twelfth of a year.

    Raises:
        FrameError: the series has less than a week with known demand.
        PlanError: months or a growth make no sense.
    """
    if not 1 <= months <= _MOST_MONTHS:
        raise PlanError(f"months is {months}; it may be from 1 to {_MOST_MONTHS}.")
    for name, growth in growth_per_month.items():
        if not np.isfinite(growth) or not -1 < growth <= 10:
            raise PlanError(f"growth of {name!r} is {growth!r} a month; it may be above -1 (all gone) up to 10.")
    recent = step_logs(history.values, history.bin_s, step_s)
    per_day = max(1, round(DAY_S / step_s))
    whole = len(recent.steps) // per_day
    days = _day_levels(recent.steps[len(recent.steps) - whole * per_day :].reshape(whole, per_day))
    if np.isfinite(days).sum() < _LEAST_DAYS:
        raise FrameError(
            f"the series has {many(int(np.isfinite(days).sum()), 'day')} with known demand; months ahead need a week at least: "
            "record longer, or look hours ahead."
        )
    known = recent.steps[-min(len(recent.steps), 28 * per_day) :]
    now = float(np.nanmean(np.exp(known[-7 * per_day :])))
    busiest = float(np.nanmax(_usual_week(known, 7 * per_day))) / float(np.nanmean(np.exp(known)))
    strays = _strays(days, months, rng)
    tail = (1 - level) / 2
    rows = []
    for name, growth in growth_per_month.items():
        for month in range(1, months + 1):
            mean = now * (1 + growth) ** (month - 0.5)
            low, high = np.quantile(mean * np.exp(strays[:, month - 1]), [tail, 1 - tail])
            figures = {"mean": mean, "mean_low": low, "mean_high": high, "busiest_hour": mean * busiest}
            rows += [(name, month, statistic, float(value), history.unit) for statistic, value in figures.items()]
    return pd.DataFrame(rows, columns=["scenario", "month", "statistic", "value", "unit"])


def _day_levels(rows: Floats) -> Floats:
    """Return the log of each day's mean, NaN where most of the day is a gap."""
    known = np.isfinite(rows)
    count = known.sum(axis=1)
    mean = np.where(known, np.exp(np.where(known, rows, 0.0)), 0.0).sum(axis=1) / np.maximum(count, 1)
    return np.where(2 * count >= rows.shape[1], np.log(np.maximum(mean, 1e-300)), np.nan)


def _usual_week(steps: Floats, per_week: int) -> Floats:
    """Return the mean demand of each step of the week, counted back from the end."""
    weeks = -(-len(steps) // per_week)
    rows = np.full(weeks * per_week, np.nan)
    rows[len(rows) - len(steps) :] = np.exp(steps)
    table = rows.reshape(weeks, per_week)
    count = np.isfinite(table).sum(axis=0)
    return np.where(count > 0, np.nansum(table, axis=0) / np.maximum(count, 1), np.nan)


def _strays(days: Floats, months: int, rng: np.random.Generator) -> Floats:
    """Return draws of how far a month's level strays (in logs); shape (draws, months).

    From five weeks on, weeks' changes are drawn from those recorded, around zero and with random sign, and add up.
    Fewer weeks cannot tell a level that wanders from days that differ: what the last week was off the usual, and what
    each week of the month will be, are then drawn in runs of three days, and nothing adds up.
    """
    weeks = len(days) // 7
    table = days[len(days) - weeks * 7 :].reshape(weeks, 7)
    means = np.array([np.nanmean(one) for one in table if np.isfinite(one).any()])
    if len(means) < _WANDERING_WEEKS:
        off = days[np.isfinite(days)] - np.nanmean(days)
        # The mean was taken out of the same few weeks, and with it a part of what they stray.
        off = off * np.sqrt(max(2.0, len(off) / 7) / (max(2.0, len(off) / 7) - 1))
        starts = rng.integers(0, len(off), size=(_DRAWS, months + 1, 5, 3))
        week = (
            off[(starts[..., None] + np.arange(3)) % len(off)].reshape(_DRAWS, months + 1, 5, 9)[..., :7].mean(axis=-1)
        )
        return np.asarray(week[:, 1:].mean(axis=-1) - week[:, :1, 0], dtype=np.float64)
    changes = np.diff(means)
    count = int(np.ceil(months * _WEEKS_A_MONTH))
    drawn = rng.choice(changes, size=(_DRAWS, count)) * rng.choice([-1.0, 1.0], size=(_DRAWS, count))
    ends = np.minimum(np.round((np.arange(months) + 0.5) * _WEEKS_A_MONTH).astype(np.int64), count - 1)
    return np.asarray(np.cumsum(drawn, axis=1)[:, ends], dtype=np.float64)
