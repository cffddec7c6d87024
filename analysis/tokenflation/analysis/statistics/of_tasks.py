"""Ratios of sums over tasks with their intervals, of one kind of tasks. The statistics: `ratios`."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.statistics.prototypes import LEAST_RUNS
from tokenflation.analysis.statistics.ratios import of_kind

__all__ = ["ratio_of_sums", "ratios_of_sums"]

Floats = NDArray[np.float64]


def ratio_of_sums(
    numerators: "pd.Series[Any]",
    denominators: "pd.Series[Any]",
    *,
    rng: np.random.Generator | None,
    level: float,
    is_share: bool = False,
) -> tuple[float | None, float | None, float | None]:
    """Return the ratio and both ends of its interval, over the tasks (rows) of which both are known.

    None where the denominators sum to 0; no interval without `rng` (nothing is drawn), or with fewer than
    `prototypes.LEAST_RUNS` tasks, or where no task adds to the numerator: how rare what was never seen is, these tasks
    cannot say.
    """
    known = numerators.notna() & denominators.notna()
    above, below = (side[known].to_numpy(np.float64)[:, None] for side in (numerators, denominators))
    found = ratios_of_sums(above, below, np.array([is_share]), rng=rng, level=level)
    ratio, low, high = (None if np.isnan(one[0]) else float(one[0]) for one in found)
    return ratio, low, high


def ratios_of_sums(
    numerators: Floats,
    denominators: Floats,
    is_share: NDArray[np.bool_],
    *,
    rng: np.random.Generator | None,
    level: float,
) -> tuple[Floats, Floats, Floats]:
    """Return ratios and both ends of their intervals, missing as in `ratio_of_sums`.

    The sides have one row per task and one column per ratio, NaN where a task does not know one.
    """
    tasks, ratios = numerators.shape
    known = np.isfinite(numerators) & np.isfinite(denominators)
    above, below = np.where(known, numerators, 0.0), np.where(known, denominators, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(below.sum(axis=0) > 0, above.sum(axis=0) / below.sum(axis=0), np.nan)
    if rng is None or tasks < LEAST_RUNS:
        return ratio, np.full(ratios, np.nan), np.full(ratios, np.nan)
    return ratio, *of_kind(above, np.where(known, below, np.nan), is_share, level)
