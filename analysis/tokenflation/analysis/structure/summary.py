"""One wide row per task kind with all that is known of its structure.

Pure; each number is defined where it is computed.
"""

import numpy as np
import pandas as pd

from tokenflation.analysis.columns.structure import BRANCHING_COLUMNS, SPREAD_COLUMNS, SUCCESS_COLUMNS
from tokenflation.analysis.columns.structure_kinds import KIND_COLUMNS
from tokenflation.analysis.structure.branching import branching
from tokenflation.analysis.structure.spread import spread
from tokenflation.analysis.structure.success import success
from tokenflation.analysis.structure.tasks import structure_kinds, structure_tasks

__all__ = ["SUMMARY_COLUMNS", "structure_summary"]

# Beside the other columns these need to say of what they speak.
_RENAMED = {"counted": "outcomes_counted", "priced": "outcomes_priced"}

SUMMARY_COLUMNS = (
    KIND_COLUMNS
    | BRANCHING_COLUMNS
    | {_RENAMED.get(name, name): column for name, column in SUCCESS_COLUMNS.items()}
    | {name: column for name, column in SPREAD_COLUMNS.items() if name != "counted"}
)
"""The columns of `structure.summary`, by name, in order."""


def structure_summary(
    calls: pd.DataFrame,
    tool_calls: pd.DataFrame | None = None,
    spans: pd.DataFrame | None = None,
    outcomes: pd.DataFrame | None = None,
    costs: pd.DataFrame | None = None,
    *,
    tasks: pd.DataFrame | None = None,
    rng: np.random.Generator | None = None,
    level: float = 0.9,
) -> pd.DataFrame:
    """Return one row per task kind; columns as in `SUMMARY_COLUMNS`.

    `calls` as `analysis.load`, `tool_calls` and `spans` as `structure.rows.load_structure`, `outcomes` as
    `structure.rows.load_outcomes`, `costs` with `task`, `task_id` and `cost`. `tasks`, if it is at hand, is what
    `structure.tasks` returns for these frames. With `rng`, ratios have intervals over whole tasks.

    Raises:
        FrameError: `calls` is empty or lacks columns.
    """
    of_tasks = structure_tasks(calls, tool_calls, spans) if tasks is None else tasks
    frame = structure_kinds(of_tasks, rng=rng, level=level)
    others = (
        branching(calls, rng=rng, level=level),
        success(calls, outcomes, costs, rng=rng, level=level).rename(columns=_RENAMED),
        spread(of_tasks).drop(columns="counted"),
    )
    for other in others:
        frame = frame.merge(other[[name for name in other.columns if name == "task" or name not in frame]], on="task")
    return frame[list(SUMMARY_COLUMNS)]
