"""Of unequal tasks, how many equal ones would say as much, and the sentence where few decide. Pure; knows no frames."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenflation.analysis.statistics.prototypes import LEAST_RUNS
from tokenflation.analysis.statistics.ratios import LEAST_EFFECTIVE

__all__ = ["effective_tasks", "few_decide"]


def effective_tasks(total: ArrayLike, squares: ArrayLike) -> NDArray[np.float64]:
    """Return how many equal tasks have a mean that is as uncertain: `total ** 2 / squares`; NaN where that is 0 / 0.

    `total` is the sum of the tasks' tokens, `squares` that of their squares: of one group of tasks, or of each of
    several.

    Source: L. Kish, "Survey Sampling" (1965).
    """
    sums, of_squares = np.asarray(total, dtype=np.float64), np.asarray(squares, dtype=np.float64)
    found = np.full(sums.shape, np.nan)
    np.divide(sums**2, of_squares, out=found, where=of_squares > 0)
    return found


def few_decide(whose: str, tasks: int, effective: float) -> list[str]:
    """Return a remark on tasks that are enough for intervals and so unequal that these hold less often than they claim.

    No remark on other tasks; `whose` they are is the beginning of the remark.
    """
    if tasks < LEAST_RUNS or not effective < LEAST_EFFECTIVE:
        return []
    some = f"few of its {tasks:,} tasks have most of the tokens, as if there were {effective:.1f}"
    return [
        f"{whose}: {some}. Its intervals rest on those, and hold the truth less often than they claim: record more tasks."
    ]
