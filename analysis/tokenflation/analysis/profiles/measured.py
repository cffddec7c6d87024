"""The measures of a task for anything that calls add up to: a task, an agent run, a step, a call, all.

The SQL of `reduce`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import pandas as pd

from tokenflation.analysis.columns import CALL_COLUMNS, TASK_COLUMNS
from tokenflation.analysis.frames import from_arrays
from tokenflation.analysis.reduce import NEEDED, tasks_sql
from tokenflation.analysis.streams import Source, opened
from tokenflation.sdk.errors import FrameError

__all__ = ["GRAINS", "measured"]

GRAINS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "task": ("task", "task_id"),
        "run": ("task", "task_id", "agent", "agent_run_id"),
        "step": ("task", "agent", "step"),
        "call": ("task", "task_id", "agent", "agent_run_id", "step", "call_id"),
        "fleet": (),
    }
)
"""What a row can be of, and the columns that name it.

A step is a place in the agent runs of one agent of a task kind.
"""

_WITHOUT_TIME = ("step", "fleet")
_TIME = ("started_at_ns", "duration_s")


def measured(calls: Source, *, per: Literal["task", "run", "step", "call", "fleet"]) -> pd.DataFrame:
    """Return a row per task, agent run, step, call, or of all: the columns of `GRAINS`, then those of `TASK_COLUMNS`.

    `calls` is a frame, or what `load` takes. Sums, ratios of sums and the counts of the calls that they rest on are
    those of `tasks`, over the calls of the row; so the sums of any grain add up to those of all. Rows are in order of
    their first call, steps in order of number; steps and the fleet have no start and duration, as their calls are of
    many runs.

    Raises:
        FrameError: `per` is unknown, or `calls` lacks columns.
        StoreError: the source cannot be read, or holds no call.
    """
    if per not in GRAINS:
        raise FrameError(f"measured() takes per={sorted(GRAINS)}; got {per!r}.")
    keys = GRAINS[per]
    names = tuple(dict.fromkeys((*NEEDED, *keys)))
    with opened(calls, names, "measured") as connection:
        named = "".join(f", {name} as key_{name}" for name in keys)
        order = ", ".join(keys) or "1"
        # Each row's calls are grouped as if they were a task.
        connection.execute(
            f"create temp table placed as select * exclude (task, task_id){named}, '' as task, "
            f"cast(dense_rank() over (order by {order}) as varchar) as task_id from calls"
        )
        listed = "".join(f"key_{name}, " for name in keys)
        first = "" if per in _WITHOUT_TIME else "started_at_ns, "
        found = connection.execute(
            f"with grouped as ({tasks_sql('placed')}), named as (select distinct {listed}task_id as row_id from placed) "
            f"select * from grouped join named on task_id = row_id order by {first}{listed}row_id"
        ).fetchnumpy()
    left_out = {"task", "task_id", *(_TIME if per in _WITHOUT_TIME else ())}
    columns = [column for name, column in TASK_COLUMNS.items() if name not in left_out]
    values = found | {name: found[f"key_{name}"] for name in keys}
    return from_arrays(values, [*(CALL_COLUMNS[name] for name in keys), *columns])
