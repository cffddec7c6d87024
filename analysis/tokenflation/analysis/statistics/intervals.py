"""Intervals of a ratio of means, tasks one a row: of other tasks on both sides, or of the same. Pure NumPy.

Other tasks: each side's mean has its own interval (`prototypes`), and in the logarithm the distances of their ends from
the means add as squares, the lower end with the base's upper (MOVER: recovered variance estimates). Of means that few
heavy-tailed tasks leave in doubt mostly upwards, so does the ratio. Nothing is left to chance.
The same tasks: a ratio of sums, whose two sides err together (`ratios`).
`bench/interval_coverage.py --ratios` prints what both hold.
Source: G. Y. Zou, A. Donner, "Construction of confidence limits about effect measures: a general approach", Statistics
in Medicine 27 (2008), for the squares.
"""

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.statistics.prototypes import mean_ends
from tokenflation.analysis.statistics.ratios import of_kind

__all__ = ["paired_interval", "ratio_interval"]

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


def _known(low: Floats, high: Floats, mine: Floats, base: Floats) -> tuple[Floats, Floats]:
    known = (mine.sum(axis=0) > 0) & (base.sum(axis=0) > 0)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)
