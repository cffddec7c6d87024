"""Intervals of a ratio of means, tasks one a row: of other tasks on both sides, the same, or per success. Pure NumPy.

Other tasks: each side's mean has its own interval (`prototypes`), and in the logarithm the distances of their ends from
the means add as squares, the lower end with the base's upper (MOVER: recovered variance estimates). Of means that few
heavy-tailed tasks leave in doubt mostly upwards, so does the ratio. Nothing is left to chance.
The same tasks: a ratio of sums, whose two sides err together (`ratios`).
What a success takes: a mean over a rate, of the same tasks. Each has its own interval, the rate Wilson's; their
distances add likewise, less what the two have in common by their correlation. `ratios`, to which a success is a size of
its task, left the truth above the upper end 0.11 to 0.07 of the time, and below the lower one never.
`bench/interval_coverage.py --ratios` prints what they hold.
Sources: G. Y. Zou, A. Donner, "Construction of confidence limits about effect measures: a general approach", Statistics
in Medicine 27 (2008), for the squares; E. B. Wilson, "Probable inference, the law of succession, and statistical
inference", J. Am. Stat. Assoc. 22 (1927).
"""

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.statistics.prototypes import mean_ends
from tokenflation.analysis.statistics.ratios import of_kind

__all__ = ["paired_interval", "per_success_interval", "ratio_interval"]

Floats = NDArray[np.float64]


def ratio_interval(mine: Floats, base: Floats, level: float) -> tuple[Floats, Floats]:
    """Return the ends of the interval of mean(mine) / mean(base) per column; the sides are other tasks, one a row.

    Missing (NaN) where either mean is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = mine.mean(axis=0) / base.mean(axis=0)
        down, up = np.log(mean_ends(mine, level))
        base_down, base_up = np.log(mean_ends(base, level))
        low, high = ratio * np.exp(-np.hypot(down, base_up)), ratio * np.exp(np.hypot(up, base_down))
    return _known(low, high, mine, base)


def paired_interval(mine: Floats, base: Floats, level: float) -> tuple[Floats, Floats]:
    """Return the same where both sides are of the same tasks, row by row; missing below 10 tasks as well."""
    return _known(*of_kind(mine, base, np.zeros(mine.shape[1], dtype=np.bool_), level), mine, base)


def per_success_interval(amounts: Floats, succeeded: Floats, level: float) -> tuple[float, float]:
    """Return the ends of the interval of sum(amounts) / sum(succeeded), one number a task; `succeeded` is 0 or 1.

    Missing (NaN) where either sum is 0.
    """
    if not (amounts.sum() > 0 and succeeded.sum() > 0):
        return np.nan, np.nan
    down, up = np.abs(np.log(mean_ends(amounts[:, None], level)[:, 0]))
    rate = succeeded.mean()
    low, high = _rate_ends(float(rate), len(succeeded), level)
    less, more = np.log(rate / low), np.log(high / rate)
    both = amounts.std() * succeeded.std()
    together = np.mean((amounts - amounts.mean()) * (succeeded - rate)) / both if both > 0 else 0.0
    below, above = (np.sqrt(max(a * a + b * b - 2 * together * a * b, 0.0)) for a, b in ((down, more), (up, less)))
    ratio = amounts.sum() / succeeded.sum()
    return float(ratio * np.exp(-below)), float(ratio * np.exp(above))


def _rate_ends(rate: float, tasks: int, level: float) -> tuple[float, float]:
    """Return Wilson's score interval of a rate above 0; it also says how rare failures may be that were never seen."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = rate + z * z / (2 * tasks)
    width = z * np.sqrt(rate * (1 - rate) / tasks + (z / (2 * tasks)) ** 2)
    low, high = ((middle + side * width) / (1 + z * z / tasks) for side in (-1, 1))
    return float(low), float(min(high, 1.0))


def _known(low: Floats, high: Floats, mine: Floats, base: Floats) -> tuple[Floats, Floats]:
    known = (mine.sum(axis=0) > 0) & (base.sum(axis=0) > 0)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)
