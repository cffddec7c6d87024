"""Groups calls into tasks: the big work, written once as SQL that runs unchanged on DuckDB, Spark, PostgreSQL, SQLite.

The subset: CTEs, `case`, `filter (where)`, `percentile_cont`; `cast(sum(x) as bigint)` because DuckDB's sum of bigint
is wider than pandas knows; `1e0` before a division because integers truncate in some engines and not in others; a
percentile only in `CALL_QUANTILES_SQL` because SQLite has none. Depth is recorded, so nothing recurses.
"""

import duckdb
import pandas as pd

from tokenflation.analysis.columns import QUANTILES, TASK_COLUMNS
from tokenflation.analysis.frames import from_arrays, prepared
from tokenflation.sdk.store.tables import Column

__all__ = ["CALL_QUANTILES_SQL", "TASKS_SQL", "call_quantiles", "tasks"]

_NEEDED = (
    "task", "task_id", "agent_run_id", "depth", "status", "attempts", "started_at_ns", "ended_at_ns", "input_tokens",
    "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens", "tool_calls", "system_tokens",
    "tool_definition_tokens", "resent_tokens", "tool_result_tokens", "new_tokens", "block_tokens", "prefix_blocks",
    "shared_blocks",
)  # fmt: skip

TASKS_SQL = """
with blocked as (
  select *,
    input_tokens + block_tokens - 1 as padded_tokens,
    case when shared_blocks * block_tokens > input_tokens then input_tokens
         when input_tokens is not null then shared_blocks * block_tokens end as shared_prefix_tokens
  from calls
),
known as (
  select *,
    case when shared_blocks is null then null
         when prefix_blocks is not null then prefix_blocks
         else cast((padded_tokens - padded_tokens % block_tokens) * 1e0 / block_tokens as bigint) end as known_blocks,
    case when input_tokens is null then 'nothing'
         when cache_read_tokens is not null then 'provider'
         when shared_prefix_tokens is not null then 'blocks'
         else 'none' end as cached_by
  from blocked
),
summed as (
  select
    task,
    task_id,
    min(started_at_ns) as started_at_ns,
    max(ended_at_ns) as ended_at_ns,
    max(started_at_ns) filter (where ended_at_ns is null) as endless_started_at_ns,
    cast(count(*) as bigint) as calls,
    cast(count(*) filter (where status <> 'ok') as bigint) as failed_calls,
    cast(sum(attempts) as bigint) as attempts,
    cast(count(input_tokens) as bigint) as calls_with_input,
    cast(count(output_tokens) as bigint) as calls_with_output,
    cast(count(input_tokens + output_tokens) as bigint) as calls_with_usage,
    cast(count(distinct agent_run_id) as bigint) as agent_runs,
    cast(count(distinct case when depth > 0 then agent_run_id end) as bigint) as sub_agent_runs,
    cast(count(*) filter (where depth > 0) as bigint) as sub_agent_calls,
    cast(max(depth) as bigint) as depth,
    cast(sum(tool_calls) as bigint) as tool_calls,
    cast(sum(input_tokens) as bigint) as input_tokens,
    cast(sum(output_tokens) as bigint) as output_tokens,
    cast(sum(cache_read_tokens) filter (where input_tokens is not null) as bigint) as cache_read_tokens,
    cast(sum(input_tokens) filter (where cache_read_tokens is not null) as bigint) as cache_reported_input_tokens,
    cast(sum(cache_write_tokens) as bigint) as cache_write_tokens,
    cast(sum(reasoning_tokens) filter (where output_tokens is not null) as bigint) as reasoning_tokens,
    cast(sum(output_tokens) filter (where reasoning_tokens is not null) as bigint) as reasoning_reported_output_tokens,
    cast(sum(known_blocks) as bigint) as prefix_blocks,
    cast(sum(shared_blocks) filter (where known_blocks is not null) as bigint) as shared_blocks,
    cast(sum(shared_prefix_tokens) as bigint) as shared_prefix_tokens,
    cast(sum(case cached_by when 'provider' then cache_read_tokens when 'blocks' then shared_prefix_tokens end)
      as bigint) as cached_tokens,
    cast(count(*) filter (where cached_by = 'provider') as bigint) as cached_by_provider_calls,
    cast(count(*) filter (where cached_by = 'blocks') as bigint) as cached_by_blocks_calls,
    cast(count(*) filter (where cached_by = 'none') as bigint) as cached_by_none_calls,
    cast(max(input_tokens) as bigint) as peak_context_tokens,
    cast(sum(system_tokens) as bigint) as system_tokens,
    cast(sum(tool_definition_tokens) as bigint) as tool_definition_tokens,
    cast(sum(resent_tokens) as bigint) as resent_tokens,
    cast(sum(tool_result_tokens) as bigint) as tool_result_tokens,
    cast(sum(new_tokens) as bigint) as new_tokens,
    cast(count(system_tokens + tool_definition_tokens + resent_tokens + tool_result_tokens + new_tokens) as bigint)
      as calls_with_parts
  from known
  group by task, task_id
)
select
  task, task_id, started_at_ns,
  case when endless_started_at_ns >= ended_at_ns then null else (ended_at_ns - started_at_ns) / 1e9 end as duration_s,
  calls, failed_calls, attempts, calls_with_input, calls_with_output, calls_with_usage,
  agent_runs, sub_agent_runs, sub_agent_calls, depth, tool_calls,
  input_tokens, output_tokens, cache_read_tokens, cache_reported_input_tokens, cache_write_tokens,
  reasoning_tokens, reasoning_reported_output_tokens, prefix_blocks, shared_blocks, shared_prefix_tokens,
  cached_tokens, cached_by_provider_calls, cached_by_blocks_calls, cached_by_none_calls, peak_context_tokens,
  input_tokens * 1e0 / nullif(calls_with_input, 0) as isl,
  output_tokens * 1e0 / nullif(calls_with_output, 0) as osl,
  input_tokens * 1e0 / nullif(peak_context_tokens, 0) as input_over_peak_context,
  cache_read_tokens * 1e0 / nullif(cache_reported_input_tokens, 0) as cache_hit_rate,
  shared_blocks * 1e0 / nullif(prefix_blocks, 0) as cache_hit_rate_blocks,
  reasoning_tokens * 1e0 / nullif(reasoning_reported_output_tokens, 0) as reasoning_share,
  system_tokens, tool_definition_tokens, resent_tokens, tool_result_tokens, new_tokens, calls_with_parts
from summed
order by started_at_ns, task, task_id
"""
"""One row per task out of a table `calls`; the columns and their meaning are `columns.TASK_COLUMNS`."""

CALL_QUANTILES_SQL = "select task" + "".join(
    f",\n  percentile_cont({q}) within group (order by {column}) as {measure}_{name}"
    for measure, column in (("isl", "input_tokens"), ("osl", "output_tokens"))
    for name, q in QUANTILES.items()
) + "\nfrom calls group by task order by task"  # fmt: skip
"""One row per task kind out of a table `calls`: quantiles of the input and output of its calls, where reported."""


def tasks(calls: pd.DataFrame) -> pd.DataFrame:
    """Return one row per task, in order of its first call; columns and units as in `columns.TASK_COLUMNS`.

    Sums are over the calls that report a number (NULL where none does); `calls_with_*` count them. The duration takes a
    call without a known end as over when a later one started; it is NULL where no later call says so.

    Raises:
        FrameError: `calls` lacks columns that the grouping needs.
    """
    with duckdb.connect() as connection:
        connection.register("calls", prepared(calls, _NEEDED, "tasks"))
        return from_arrays(connection.execute(TASKS_SQL).fetchnumpy(), tuple(TASK_COLUMNS.values()))


def call_quantiles(calls: pd.DataFrame) -> pd.DataFrame:
    """Return one row per task kind, indexed by it: `isl_p50`, `osl_p90` ... over its calls that report them."""
    with duckdb.connect() as connection:
        connection.register("calls", prepared(calls, ("task", "input_tokens", "output_tokens"), "profile"))
        found = connection.execute(CALL_QUANTILES_SQL).fetchnumpy()
    quantiles = from_arrays(found, [Column(name, "text" if name == "task" else "float", "") for name in found])
    return quantiles.set_index("task")
