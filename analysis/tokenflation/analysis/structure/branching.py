"""How agents start agents, as a branching process: its mean offspring, and an alarm where it need not die out. Pure.

The branching factor is the mean number of agent runs that one starts: Harris' estimate, offspring / parents. Agent runs
of the deepest level of their kind are no parents here: a cap on depth, which most frameworks have, would make them
childless whatever they want. (With them, the ratio is 1 - outermost runs / all runs, below 1 whatever the agents do.)
Below 1 such a process dies out, with 1 / (1 - m) runs on average for one outermost run; from 1 on only caps on depth
and budgets bound it.
Sources: FORECAST model, section 2.4; T. E. Harris, "Branching processes", Ann. Math. Statist. 19
(1948).
"""

from typing import Any

import numpy as np
import pandas as pd

from tokenflation.analysis.columns.structure import BRANCHING_COLUMNS
from tokenflation.analysis.frames import from_records, prepared
from tokenflation.analysis.statistics.of_tasks import ratio_of_sums
from tokenflation.sdk.words import percent

__all__ = ["branching"]


def branching(calls: pd.DataFrame, *, rng: np.random.Generator | None = None, level: float = 0.9) -> pd.DataFrame:
    """Return one row per task kind; columns as in `BRANCHING_COLUMNS`.

    With `rng`, the factor has an interval over whole tasks at `level`; without it, or with fewer than
    `prototypes.LEAST_RUNS` tasks, it has none. A kind without sub-agents has the factor 0 and no interval.

    Raises:
        FrameError: `calls` is empty or lacks columns.
    """
    runs = prepared(calls, ("task", "task_id", "agent_run_id", "depth"), "branching")
    runs = runs.groupby(["task", "task_id", "agent_run_id"], sort=True)["depth"].min().reset_index()
    rows = [_row(str(kind), group, rng, level) for kind, group in runs.groupby("task", sort=True)]
    return from_records(rows, BRANCHING_COLUMNS)


def _row(kind: str, runs: pd.DataFrame, rng: np.random.Generator | None, level: float) -> dict[str, Any]:
    deepest = int(runs["depth"].max())
    sub_runs = runs["depth"] > 0
    # Of a kind without sub-agents every run could have started one.
    parents = runs["depth"] < max(deepest, 1)
    by_task = pd.DataFrame({"task_id": runs["task_id"], "sub_runs": sub_runs, "parents": parents})
    by_task = by_task.groupby("task_id")[["sub_runs", "parents"]].sum()
    factor, low, high = ratio_of_sums(by_task["sub_runs"], by_task["parents"], rng=rng, level=level)
    return {
        "task": kind,
        "tasks": len(by_task),
        "agent_runs": len(runs),
        "sub_agent_runs": int(sub_runs.sum()),
        "deepest": deepest,
        "parents": int(parents.sum()),
        "branching_factor": factor,
        "branching_factor_low": low,
        "branching_factor_high": high,
        "alarm": _alarm(factor, high, deepest, level),
    }


def _alarm(factor: float | None, high: float | None, deepest: int, level: float) -> str | None:
    if factor is None or max(factor, high or 0.0) < 1:
        return None
    start = f"An agent run starts {factor:.2f} others on average"
    if factor < 1:
        start += f", and may start up to {high:.2f} ({percent(level)} interval)"
    if deepest == 1:
        # Workers that start nobody look the same as a cap of one level.
        return f"{start}. No sub-agent was seen to start another; if they did the same, it would not die out by itself."
    return f"{start}: from 1 on this does not die out by itself. Only caps on depth ({deepest} levels seen) and budgets bound it."
