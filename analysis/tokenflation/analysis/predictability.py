"""How far the kind of a task says what the task will use, before it runs. Pure; in logarithms, since tokens are skewed.

A plan by kinds can be no better than this: what the kind does not explain is the spread between tasks of one kind.
Source: the analysis of variance, with the kind as the one factor; the share is adjusted for the number of kinds as
adjusted R squared is, so that kinds that say nothing have a share around 0.
"""

import math

import numpy as np
import pandas as pd

from tokenflation.analysis.frames import from_rows
from tokenflation.sdk.errors import FrameError
from tokenflation.sdk.store.tables import Column, by_name

__all__ = ["PREDICTABILITY_COLUMNS", "predictability"]

PREDICTABILITY_COLUMNS: dict[str, Column] = by_name(
    Column("task", "text", "kind of the task; NULL = all kinds together"),
    Column("tasks", "int", "tasks of the kind", required=True),
    Column("counted", "int", "of them, those that report tokens, more than 0", required=True),
    Column("log_sd", "float", "standard deviation of log(tokens) around the mean of the task's own kind"),
    Column("typical_factor", "float", "x; exp(log_sd): by so much a task is above or below its kind's typical one"),
    Column(
        "explained_share",
        "float",
        "fraction of the variance of log(tokens) that the kind explains, adjusted for the number of kinds as R squared "
        "is: about 0, or below, where kinds say nothing; of all alone",
    ),
)
"""The columns of one row per task kind and a last one of all kinds, by name, in order."""

_NEEDED = ("task", "tokens")


def predictability(tasks: pd.DataFrame) -> pd.DataFrame:
    """Return one row per task kind and a last row of all; columns as in `PREDICTABILITY_COLUMNS`.

    `tasks` has one row per task with `task` and `tokens`, as `shape` returns it. With n tasks of k kinds, W the squares
    of log(tokens) around the mean of their kind and T those around the mean of all: `log_sd = sqrt(W / (n - k))`, and
    `explained_share = 1 - (W / (n - k)) / (T / (n - 1))`, which may be a little below 0. Missing where a kind has one
    task, no kind has two, there is one kind, or all tasks are alike.

    Raises:
        FrameError: `tasks` lacks columns.
    """
    missing = [name for name in _NEEDED if name not in tasks.columns]
    if missing:
        raise FrameError(f"predictability() needs columns {missing}. Give it the frame that shape() returns.")
    counted = tasks[tasks["tokens"].fillna(0) > 0]
    logs = pd.Series(np.log(counted["tokens"].to_numpy(np.float64)), index=counted.index)
    within = logs - logs.groupby(counted["task"]).transform("mean")
    rows = [
        [str(kind), len(group), *_spread(within[counted["task"] == kind], 1), None]
        for kind, group in tasks.groupby("task", sort=True)
    ]
    kinds = int(counted["task"].nunique())
    rows.append([None, len(tasks), *_spread(within, kinds), _explained(logs, within, kinds)])
    return from_rows(rows, tuple(PREDICTABILITY_COLUMNS.values()))


def _spread(within: "pd.Series[float]", kinds: int) -> tuple[int, float | None, float | None]:
    if len(within) <= kinds:
        return len(within), None, None
    log_sd = math.sqrt(float((within**2).sum()) / (len(within) - kinds))
    return len(within), log_sd, math.exp(log_sd)


def _explained(logs: "pd.Series[float]", within: "pd.Series[float]", kinds: int) -> float | None:
    if kinds < 2 or len(logs) <= kinds or logs.nunique() < 2:
        return None
    total = float(((logs - logs.mean()) ** 2).sum())
    return 1 - float((within**2).sum()) / (len(logs) - kinds) / (total / (len(logs) - 1))
