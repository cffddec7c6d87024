"""Groups calls into tasks: the big work, written once as SQL that runs unchanged on DuckDB, Spark, PostgreSQL, SQLite.

The subset: CTEs, `case`, `filter (where)`, joins; `cast(sum(x) as bigint)` because DuckDB's sum of bigint is wider than
pandas knows; `1e0` before a division because integers truncate in some engines and not in others. What is summed under
a condition is made a column first: in DuckDB that costs half of a `filter` on each sum. Runs are counted by grouping,
not by `count(distinct)`, which costs as much as all sums together. Depth is recorded, so nothing recurses.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pandas as pd

from tokenflation.analysis.columns import RATIOS, TASK_COLUMNS
from tokenflation.analysis.columns.tasks import DATED_FROM_NS
from tokenflation.analysis.frames import from_arrays
from tokenflation.analysis.streams import Source, opened

__all__ = ["NEEDED", "TASKS_SQL", "grouped", "tasks", "tasks_sql"]

NEEDED = (
    "task", "task_id", "agent_run_id", "depth", "status", "attempts", "started_at_ns", "ended_at_ns", "input_tokens",
    "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens", "usage_complete", "tool_calls",
    "system_tokens", "tool_definition_tokens", "resent_tokens", "tool_result_tokens", "new_tokens", "block_tokens",
    "prefix_blocks", "shared_blocks",
)  # fmt: skip
"""Columns of a call that the grouping needs."""

_SUMS = (
    "attempts", "tool_calls", "input_tokens", "output_tokens", "cache_read_tokens", "cache_reported_input_tokens",
    "reported_write_tokens", "reasoning_tokens", "reasoning_reported_output_tokens", "paired_input_tokens",
    "paired_output_tokens", "prefix_blocks", "shared_blocks", "shared_prefix_tokens", "uncached_shared_tokens",
    "system_tokens", "tool_definition_tokens", "resent_tokens", "tool_result_tokens", "new_tokens", "parts_input_tokens",
    "overhead_tokens",
)  # fmt: skip
"""Columns of a call that are summed over a task."""

_COUNTS = {
    "calls_with_input": "input_tokens",
    "calls_with_output": "output_tokens",
    "calls_with_usage": "paired_input_tokens",
    "calls_with_cache": "cache_reported_input_tokens",
    "calls_with_cache_writes": "reported_write_tokens",
    "calls_with_shared_prefix": "shared_prefix_tokens",
    "calls_with_shared_blocks": "shared_blocks",
    "calls_with_reasoning": "reasoning_reported_output_tokens",
    "calls_with_parts": "parts_input_tokens",
    "cached_by_blocks_calls": "uncached_shared_tokens",
    "failed_calls": "failed",
    "reported_calls": "reported",
    "sub_agent_calls": "inside",
}
"""Columns of a task that count the calls in which a column is not NULL."""

_CALLS = """
known as (
  select
    task, task_id, started_at_ns, depth, attempts, tool_calls, input_tokens, output_tokens,
    case when ended_at_ns < started_at_ns then started_at_ns else ended_at_ns end as ended_at_ns,
    case when ended_at_ns is null then started_at_ns end as endless_started_at_ns,
    case when status <> 'ok' then 1 end as failed,
    case when depth > 0 then 1 end as inside,
    case when usage_complete = 1 and input_tokens is not null and output_tokens is not null then 1 end as reported,
    case when input_tokens is not null then cache_read_tokens end as cache_read_tokens,
    case when cache_read_tokens is not null then input_tokens end as cache_reported_input_tokens,
    case when input_tokens is not null and cache_read_tokens is not null then cache_write_tokens end
      as reported_write_tokens,
    case when output_tokens is not null then reasoning_tokens end as reasoning_tokens,
    case when reasoning_tokens is not null then output_tokens end as reasoning_reported_output_tokens,
    case when output_tokens is not null then input_tokens end as paired_input_tokens,
    case when input_tokens is not null then output_tokens end as paired_output_tokens,
    case when input_tokens is null or shared_blocks is null then null
         when shared_blocks * block_tokens > input_tokens then input_tokens
         else shared_blocks * block_tokens end as shared_prefix_tokens,
    case when shared_blocks is null then null
         when prefix_blocks is not null then prefix_blocks
         else cast((input_tokens + block_tokens - 1 - (input_tokens + block_tokens - 1) % block_tokens) * 1e0
           / block_tokens as bigint) end as prefix_blocks,
    case when prefix_blocks is not null or input_tokens is not null then shared_blocks end as shared_blocks,
    case when system_tokens + tool_definition_tokens + resent_tokens + tool_result_tokens + new_tokens is not null
      then input_tokens end as parts_input_tokens,
    system_tokens + tool_definition_tokens as overhead_tokens,
    system_tokens, tool_definition_tokens, resent_tokens, tool_result_tokens, new_tokens
  from calls
),
counted as (
  select *,
    case when cache_reported_input_tokens is null then shared_prefix_tokens end as uncached_shared_tokens
  from known
)"""

_RUNS = """
runs as (
  select task, task_id, max(depth) as depth, max(input_tokens + coalesce(output_tokens, 0)) as trajectory_tokens
  from calls
  group by task, task_id, agent_run_id
),
run_sums as (
  select task as run_task, task_id as run_task_id,
    cast(count(*) as bigint) as agent_runs,
    cast(sum(case when depth > 0 then 1 else 0 end) as bigint) as sub_agent_runs,
    cast(sum(trajectory_tokens) as bigint) as trajectory_tokens
  from runs
  group by task, task_id
)"""

_SUMMED = f"""
summed as (
  select
    task,
    task_id,
    min(started_at_ns) as started_at_ns,
    max(ended_at_ns) as ended_at_ns,
    max(endless_started_at_ns) as endless_started_at_ns,
    cast(max(depth) as bigint) as depth,
    cast(max(input_tokens) as bigint) as peak_context_tokens,
    cast(count(*) as bigint) as calls,
    {", ".join(f"cast(count({column}) as bigint) as {name}" for name, column in _COUNTS.items())},
    {", ".join(f"cast(sum({name}) as bigint) as {name}" for name in _SUMS)}
  from counted
  group by task, task_id
)"""

# A task some of whose calls have no date lasts from no start to no end.
_NO_DURATION = (
    f"endless_started_at_ns >= ended_at_ns or (started_at_ns < {DATED_FROM_NS} and ended_at_ns >= {DATED_FROM_NS})"
)
_DERIVED = {
    "duration_s": f"case when {_NO_DURATION} then null else (ended_at_ns - started_at_ns) / 1e9 end",
    "calls_with_duration": f"case when {_NO_DURATION} or ended_at_ns is null then 0 else calls end",
    "calls_with_billed": "calls_with_input + calls_with_output - calls_with_usage",
    "partial_calls": "calls_with_input + calls_with_output - calls_with_usage - reported_calls",
    "unreported_calls": "calls - calls_with_input - calls_with_output + calls_with_usage",
    "billed_tokens": "case when input_tokens is null then output_tokens else input_tokens + coalesce(output_tokens, 0) end",
    "accumulated_tokens": "input_tokens + coalesce(paired_output_tokens, 0)",
    "cache_write_tokens": "reported_write_tokens",
    "fresh_tokens": "cache_reported_input_tokens - cache_read_tokens - coalesce(reported_write_tokens, 0)",
    "cache_unreported_input_tokens": "input_tokens - coalesce(cache_reported_input_tokens, 0)",
    "visible_tokens": "reasoning_reported_output_tokens - reasoning_tokens",
    "reasoning_unreported_output_tokens": "output_tokens - coalesce(reasoning_reported_output_tokens, 0)",
    "cached_tokens": "case when cache_read_tokens is null then uncached_shared_tokens"
    " else cache_read_tokens + coalesce(uncached_shared_tokens, 0) end",
    "cached_by_provider_calls": "calls_with_cache",
    "cached_by_none_calls": "calls_with_input - calls_with_cache - cached_by_blocks_calls",
}
"""Columns of a task that are made of its sums."""

_WHOLE = f"""
whole as (
  select {
    ", ".join(
        f"{_DERIVED[name]} as {name}" if name in _DERIVED else name
        for name in TASK_COLUMNS
        if name not in {one.reads for one in RATIOS}
    )
}
  from summed join run_sums on task = run_task and task_id = run_task_id
)"""

_RATIOS = {one.reads: f"{one.ratio[0]} * 1e0 / nullif({one.ratio[1]}, 0) as {one.reads}" for one in RATIOS if one.ratio}

TASKS_SQL = f"""
with {_CALLS.strip()},{_SUMMED},{_RUNS},{_WHOLE}
select
  {", ".join(_RATIOS.get(name, name) for name in TASK_COLUMNS)}
from whole
"""
"""One row per task out of a relation `calls`, in no order; the columns and their meaning are `columns.TASK_COLUMNS`."""


def tasks_sql(relation: str) -> str:
    """Return `TASKS_SQL` out of another relation than `calls`, with the same columns."""
    return TASKS_SQL.replace("from calls\n", f"from {relation}\n")


_ORDER = "order by started_at_ns, task, task_id"


def tasks(calls: Source) -> pd.DataFrame:
    """Return one row per task, in order of its first call; columns and units as in `columns.TASK_COLUMNS`.

    `calls` is a frame, or what `load` takes: then the calls stream through DuckDB and never become a frame.
    Sums are over the calls that report a number (NULL where none does); `calls_with_*` count them. The duration takes a
    call without a known end as over when a later one started; it is NULL where no later call says so, or
    some calls have a date and others none.

    Raises:
        FrameError: `calls` lacks columns that the grouping needs.
        StoreError: the source cannot be read, or holds no call.
    """
    with opened(calls, NEEDED, "tasks") as connection:
        found = connection.execute(f"{TASKS_SQL} {_ORDER}").fetchnumpy()
        return from_arrays(found, tuple(TASK_COLUMNS.values()))


@contextmanager
def grouped(calls: Source, caller: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a source with the relations `calls` and `tasks` (what `TASKS_SQL` gives); errors as of `tasks`."""
    with opened(calls, NEEDED, caller) as connection:
        connection.execute(f"create temp table tasks as {TASKS_SQL}")
        yield connection
