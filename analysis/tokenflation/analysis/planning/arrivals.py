"""When tasks start: the rate of a plan over time, and its integral. Knows nothing of what a task asks for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.planning.plan import Plan

__all__ = ["Arrivals", "arrivals"]

Floats = NDArray[np.float64]

_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Arrivals:
    """A rate that is constant within each cell of a grid, for one task per day on average."""

    cell_s: float
    first_s: float
    """Start of the first cell, in seconds from the start of the horizon; negative: what started before still runs."""
    rate_per_s: Floats
    """Tasks per second in each cell, of a plan with one task per day."""

    @property
    def integral(self) -> Floats:
        """Tasks expected from the first cell's start to each cell boundary; one longer than `rate_per_s`."""
        return np.concatenate(([0.0], np.cumsum(self.rate_per_s) * self.cell_s))


def arrivals(plan: Plan, *, before_s: float, after_s: float = 0.0) -> Arrivals:
    """Return the plan's arrivals per task per day, from `before_s` before the horizon to `after_s` past its end.

    Shapes and growth go on unchanged outside the horizon. Cells are the plan's buckets.
    """
    cell_s = float(plan.bucket_s)
    first = -int(np.ceil(before_s / cell_s)) - 1
    last = int(plan.days * _DAY_S / cell_s) + int(np.ceil(after_s / cell_s)) + 1
    middle_s = (np.arange(first, last) + 0.5) * cell_s
    hours = np.floor(middle_s / 3600).astype(np.int64)
    days = np.floor(middle_s / _DAY_S).astype(np.int64)
    day = np.asarray(plan.day_weights, dtype=np.float64)
    week = np.asarray(plan.week_shape, dtype=np.float64)
    growth = plan.volume_growth.levels(days.astype(np.float64))
    rate = day[hours % 24] / day.mean() * (week[days % 7] / week.mean()) * growth / _DAY_S
    return Arrivals(cell_s=cell_s, first_s=first * cell_s, rate_per_s=rate)
