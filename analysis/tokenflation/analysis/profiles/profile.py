"""Describes the tasks of each kind: how many calls, tokens, levels and seconds one of them takes.

Tasks are grouped into kinds by SQL as well (`kinds_sql`, `quantiles_sql`, `call_quantiles_sql`), in the same subset as
`reduce.TASKS_SQL` and with `percentile_cont`, `floor` and window sums besides; so it runs on Spark over a fleet's
calls.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from tokenflation.analysis.columns import MEASURES, QUANTILES, TASK_COLUMNS, Measure
from tokenflation.analysis.profiles.kind_intervals import add_intervals
from tokenflation.analysis.reduce import grouped
from tokenflation.analysis.statistics.uneven import effective_tasks
from tokenflation.analysis.streams import Source
from tokenflation.sdk.errors import FrameError

__all__ = ["FLEET_CALLS", "FLEET_TASKS", "call_quantiles_sql", "kinds_sql", "low_coverage", "profile", "quantiles_sql"]

FLEET_TASKS = f"(select '' as task, {', '.join(name for name in TASK_COLUMNS if name != 'task')} from tasks) fleet"
"""The relation `tasks` as if all were of one kind."""
FLEET_CALLS = "(select '' as task, input_tokens, output_tokens from calls) fleet"
"""The relation `calls` likewise."""

_AT_ONCE = 6
"""Measures whose quantiles are found at once."""
_OF_CALLS = {"isl": "input_tokens", "osl": "output_tokens"}


def profile(
    calls: Source, *, fleet: bool = False, rng: np.random.Generator | None = None, level: float = 0.9
) -> pd.DataFrame:
    """Return one row per task kind: `task`, `tasks` and `<measure>_<statistic>`; measures as in `columns.MEASURES`.

    `calls` is a frame, or what `load` takes: then the calls stream through DuckDB and never become a frame. With
    `fleet` a last row, whose `task` is missing, takes all tasks as of one kind.
    `tasks_with_usage` and `tasks_with_duration` count the tasks that the token and time measures can speak of, and
    `<measure>_coverage` is the share of the calls that it can speak of.
    Statistics: `mean`, the quantiles `p10 p50 p90 p99` over the tasks of the kind that have a value (linear
    interpolation), and `sum`. Of a ratio the mean is the ratio of sums, and there is no sum. `isl` and `osl` are of one
    call, so their quantiles are over calls; `task_isl` and `task_osl` are over tasks. What no task reports is missing,
    never 0. All of these are exact, at any size.
    With `rng`, `<ratio>_low` and `<ratio>_high` bound each ratio of sums at `level`: over the tasks of the kind
    (`ratios`; nothing is drawn), of more than `NORMAL_TASKS` tasks by its normal limit over all of them.
    They are missing without `rng` and where fewer than `prototypes.LEAST_RUNS` tasks report the ratio.
    `effective_tasks` is the number of equal tasks whose mean tokens would be as uncertain (`statistics.uneven`): below
    `ratios.LEAST_EFFECTIVE` intervals hold less often than they claim, and `uneven.uneven_remarks` says so.

    Raises:
        FrameError: `calls` lacks columns that the grouping needs, or `level` is not between 0 and 1.
        StoreError: the source cannot be read, or holds no call.
    """
    if not 0 < level < 1:
        raise FrameError(f"profile() needs a level between 0 and 1, got {level}; 0.9 is usual.")
    with grouped(calls, "profile") as connection:
        frame = _profile(connection, "tasks", "calls", rng, level)
        if fleet:
            whole = _profile(connection, FLEET_TASKS, FLEET_CALLS, rng, level)
            frame = pd.concat([frame, whole.assign(task=pd.array([None], dtype="str"))], ignore_index=True)
    return frame


def low_coverage(row: Mapping[Any, Any], measure: Measure) -> float | None:
    """Return the share of a kind's calls that report a measure where fewer do than report usage; None elsewhere.

    `row` is one of `profile`.
    """
    coverage: float = row[f"{measure.name}_coverage"]
    with_usage = row["reported_share_mean"] + row["partial_share_mean"]
    return coverage if coverage < min(with_usage, 1.0) else None


def kinds_sql(tasks: str = "tasks") -> str:
    """Return the SQL of one row per kind out of a relation like `tasks`: counts, means, sums and coverage."""
    cells = [
        "cast(count(*) as bigint) as tasks",
        "cast(count(case when calls_with_usage > 0 then 1 end) as bigint) as tasks_with_usage",
        "cast(count(duration_s) as bigint) as tasks_with_duration",
        "sum(billed_tokens * 1e0) as billed_total",
        "sum(billed_tokens * 1e0 * billed_tokens) as billed_squares",
        *(cell for measure in MEASURES for cell in _cells(measure)),
    ]
    return f"select task, {', '.join(cells)} from {tasks} group by task order by task"


def _cells(measure: Measure) -> list[str]:
    name, column = measure.name, measure.reads
    coverage = f"sum({measure.covered or 'calls'}) * 1e0 / sum(calls) as {name}_coverage"
    if measure.ratio is not None:
        return [f"sum({measure.ratio[0]}) * 1e0 / nullif(sum({measure.ratio[1]}), 0) as {name}_mean", coverage]
    mean = f"avg({column}) as {name}_mean"
    total = f"sum({column})" if measure.unit == "s" else f"cast(sum({column}) as bigint)"
    return [mean, *([f"{total} as {name}_sum"] if measure.total else []), coverage]


def quantiles_sql(measures: Sequence[Measure], tasks: str = "tasks") -> str:
    """Return the SQL of one row per kind with the quantiles of measures over the tasks that have a value.

    Every quantile of every measure takes eight bytes a task of memory, so ask for a few measures at a time.
    """
    cells = (
        f"percentile_cont({level}) within group (order by {measure.reads}) as {measure.name}_{name}"
        for measure in measures
        for name, level in QUANTILES.items()
    )
    return f"select task, {', '.join(cells)} from {tasks} group by task order by task"


def call_quantiles_sql(measure: Measure, calls: str = "calls") -> str:
    """Return the SQL of one row per kind with the quantiles of a number of its calls, where any call reports it.

    Exact, from how often each value occurs: that takes memory for the distinct values, `percentile_cont` for all calls.
    """
    column = _OF_CALLS[measure.name]
    ends = ",\n    ".join(
        f"min(case when upto > {rounded}({level}e0 * (total - 1)) then value end) as {end}_{name}"
        for name, level in QUANTILES.items()
        for end, rounded in (("low", "floor"), ("high", "ceil"))
    )
    cells = ", ".join(
        f"low_{name} + ({level}e0 * (total - 1) - floor({level}e0 * (total - 1))) * (high_{name} - low_{name})"
        f" as {measure.name}_{name}"
        for name, level in QUANTILES.items()
    )
    return f"""
with counted as (
  select task, {column} as value, count(*) as calls from {calls} where {column} is not null group by task, {column}
),
ranked as (
  select task, value,
    sum(calls) over (partition by task order by value rows between unbounded preceding and current row) as upto,
    sum(calls) over (partition by task) as total
  from counted
),
ends as (
  select task, max(total) as total,
    {ends}
  from ranked group by task
)
select task, {cells} from ends order by task"""


def _profile(
    connection: duckdb.DuckDBPyConnection, tasks: str, calls: str, rng: np.random.Generator | None, level: float
) -> pd.DataFrame:
    found = _columns(connection, kinds_sql(tasks))
    kinds = found["task"]
    over_tasks = [measure for measure in MEASURES if not measure.over_calls]
    texts = [
        quantiles_sql(over_tasks[first : first + _AT_ONCE], tasks) for first in range(0, len(over_tasks), _AT_ONCE)
    ]
    texts += [call_quantiles_sql(measure, calls) for measure in MEASURES if measure.over_calls]
    for text in texts:
        quantiles = _columns(connection, text)
        # A kind without a reporting call has no row in the quantiles over calls.
        place = np.searchsorted(kinds, quantiles.pop("task"))
        for name, values in quantiles.items():
            found[name] = np.ma.masked_invalid(np.full(len(kinds), np.nan))
            found[name][place] = values
    if rng is not None:
        add_intervals(connection, tasks, found, level)
    return _frame(found)


def _columns(connection: duckdb.DuckDBPyConnection, text: str) -> dict[str, Any]:
    found: dict[str, Any] = connection.execute(text).fetchnumpy()
    return {name: values.astype(str) if name == "task" else np.ma.asarray(values) for name, values in found.items()}


def _frame(found: dict[str, Any]) -> pd.DataFrame:
    columns: dict[str, Any] = {"task": pd.array(list(found["task"]), dtype="str")}
    for name in ("tasks", "tasks_with_usage", "tasks_with_duration"):
        columns[name] = np.ma.getdata(found[name]).astype(np.int64)
    columns["effective_tasks"] = effective_tasks(_floats(found["billed_total"]), _floats(found["billed_squares"]))
    for measure in MEASURES:
        for statistic in ("mean", "low", "high", *QUANTILES, "coverage", "sum"):
            name = f"{measure.name}_{statistic}"
            if name in found:
                columns[name] = _sums(found[name], measure) if statistic == "sum" else _floats(found[name])
            elif statistic in ("low", "high") and measure.ratio is not None:
                columns[name] = np.full(len(found["task"]), np.nan)
    return pd.DataFrame(columns)


def _floats(values: Any) -> Any:
    return np.ma.filled(values.astype(np.float64), np.nan)


def _sums(values: Any, measure: Measure) -> Any:
    # Missing, not 0: an empty sum would claim that somebody reported a zero. And NA, not NaN or None, which would make
    # a column of floats out of exact integers.
    mask = np.ma.getmaskarray(values).copy()
    if measure.unit == "s":
        return pd.arrays.FloatingArray(np.where(mask, 0.0, np.ma.getdata(values)).astype(np.float64), mask)
    return pd.arrays.IntegerArray(np.where(mask, 0, np.ma.getdata(values)).astype(np.int64), mask)
