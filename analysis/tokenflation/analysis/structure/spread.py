"""How far the tasks of a kind differ in tokens. Pure.

The tasks of a kind may ask for different things; where each is the same request, run again, this is the run-to-run
spread.
Source: metric 24 of the inference profile.
"""

from typing import Any

import numpy as np
import pandas as pd

from tokenflation.analysis.columns.structure import SPREAD_COLUMNS
from tokenflation.analysis.frames import from_records
from tokenflation.sdk.errors import FrameError

__all__ = ["spread"]

_NEEDED = ("task", "calls", "calls_with_usage", "tokens")


def spread(tasks: pd.DataFrame) -> pd.DataFrame:
    """Return one row per task kind; columns as in `SPREAD_COLUMNS`.

    `tasks` has one row per task with `task`, `calls`, `calls_with_usage` and `tokens`, as `shape` returns it. A single
    task has no spread: the coefficient of variation is missing.

    Raises:
        FrameError: `tasks` lacks columns.
    """
    missing = [name for name in _NEEDED if name not in tasks.columns]
    if missing:
        raise FrameError(f"spread() needs columns {missing}. Give it the frame that shape() returns.")
    rows = [_row(str(kind), group) for kind, group in tasks.groupby("task", sort=True)]
    return from_records(rows, SPREAD_COLUMNS)


def _row(kind: str, group: pd.DataFrame) -> dict[str, Any]:
    counted = group[group["tokens"].notna()]
    row: dict[str, Any] = dict.fromkeys(SPREAD_COLUMNS)
    row |= {"task": kind, "tasks": len(group), "counted": len(counted)}
    row["partly_reported"] = int((counted["calls_with_usage"] < counted["calls"]).sum())
    if counted.empty:
        return row
    tokens = counted["tokens"].to_numpy(np.float64)
    low, high = int(counted["tokens"].min()), int(counted["tokens"].max())
    p50, p90 = (float(np.quantile(tokens, level)) for level in (0.5, 0.9))
    row |= {"tokens_min": low, "tokens_max": high, "tokens_p50": p50, "tokens_p90": p90}
    row["max_over_min"] = high / low if low else None
    row["p90_over_p50"] = p90 / p50 if p50 else None
    if len(tokens) > 1 and tokens.mean() > 0:
        row["tokens_cv"] = float(tokens.std(ddof=1) / tokens.mean())
    return row
