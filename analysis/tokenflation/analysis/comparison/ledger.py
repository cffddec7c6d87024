"""Books the tokens and the cost of each task: what is new, re-sent, reasoned, cached and wasted. Does no I/O.

One pass of portable SQL (the subset of `reduce`, and `row_number`), from which inflation, cost and the difference of
two fleets are made. Knows nothing of baselines.
"""

from typing import Any

import duckdb
import pandas as pd

from tokenflation.analysis.columns.inflation import LEDGER_COLUMNS
from tokenflation.analysis.frames import from_arrays, prepared

__all__ = ["LEDGER_SQL", "PRICE_NAMES", "RESENT_SOURCES", "SOURCES", "ledger", "source_of"]

SOURCES = ("provider", "blocks", "none")
"""What can say how many tokens a cache held, in the order in which it is believed."""
RESENT_SOURCES = ("blocks", "parts", "provider", "none")
"""What can say how many tokens an earlier call had sent: prefix blocks, the split of the input, the cache reads."""
PRICE_NAMES = ("price_input", "price_cache_read", "price_cache_write", "price_output")
"""Prices of one token of each call; missing where there is none."""

_NEEDED = (
    "call_id", "task", "task_id", "depth", "status", "started_at_ns", "step", "continues_call_id", "input_tokens",
    "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens", "usage_complete", "system_tokens",
    "tool_definition_tokens", "resent_tokens", "block_tokens", "shared_blocks",
)  # fmt: skip

LEDGER_SQL = """
with known as (
  select *,
    case when status = 'ok' then 1 else 0 end as went_well,
    case when status = 'ok' and input_tokens is not null then 1 else 0 end as can_be_first,
    case when status = 'ok' and output_tokens is not null then 1 else 0 end as can_be_last,
    case when output_tokens = 0 then 1 else 0 end as generates_nothing,
    case when input_tokens is null then 'nothing' when cache_read_tokens is not null then 'provider'
         when shared_blocks is not null then 'blocks' else 'none' end as cached_by,
    case when input_tokens is null then 'nothing' when shared_blocks is not null then 'blocks'
         when resent_tokens is not null then 'parts' when cache_read_tokens is not null then 'provider'
         else 'none' end as resent_by,
    case when cache_read_tokens > input_tokens then input_tokens else cache_read_tokens end as read_tokens,
    case when shared_blocks * block_tokens > input_tokens then input_tokens
         else shared_blocks * block_tokens end as shared_tokens,
    case when continues_call_id is null then resent_tokens
         else resent_tokens + coalesce(system_tokens, 0) + coalesce(tool_definition_tokens, 0) end as history_tokens,
    case when reasoning_tokens > output_tokens then output_tokens else coalesce(reasoning_tokens, 0) end as reasoning_within
  from calls
),
booked as (
  select *,
    case cached_by when 'provider' then read_tokens when 'blocks' then shared_tokens else 0 end as cached,
    case resent_by when 'blocks' then shared_tokens when 'provider' then read_tokens
      when 'parts' then case when history_tokens > input_tokens then input_tokens else history_tokens end
      else 0 end as resent,
    case when coalesce(cache_write_tokens, 0) > input_tokens - coalesce(read_tokens, 0)
         then input_tokens - coalesce(read_tokens, 0) else coalesce(cache_write_tokens, 0) end as written,
    case when output_tokens is null then 0 else reasoning_within end as reasoned,
    row_number() over (
      partition by task, task_id, can_be_first order by generates_nothing, depth, started_at_ns, step, call_id) as nth,
    row_number() over (
      partition by task, task_id, can_be_last order by generates_nothing, depth, started_at_ns desc, step desc, call_id desc
    ) as nth_last
  from known
),
priced as (
  select *,
    coalesce(read_tokens, 0) * price_cache_read as cached_cost,
    written * price_cache_write as written_cost,
    (input_tokens - coalesce(read_tokens, 0) - written) * price_input as plain_cost,
    coalesce(output_tokens, 0) * price_output as output_cost,
    case when price_input is null and (input_tokens is not null or output_tokens is not null) then 1 else 0 end as unpriced
  from booked
)
select
  task,
  task_id,
  cast(count(*) as bigint) as calls,
  cast(sum(case when depth = 0 then went_well else 0 end) as bigint) as root_calls,
  cast(count(input_tokens) as bigint) as calls_with_input,
  cast(count(output_tokens) as bigint) as calls_with_output,
  cast(sum(case when input_tokens is not null and output_tokens is not null and usage_complete = 1 then 1 else 0 end)
    as bigint) as calls_reported,
  cast(sum(case when input_tokens is null and output_tokens is null then 1 else 0 end) as bigint) as calls_unreported,
  cast(sum(input_tokens) as bigint) as input_tokens,
  cast(sum(output_tokens) as bigint) as output_tokens,
  cast(sum(cached) as bigint) as cached_tokens,
  cast(sum(case when depth = 0 and went_well = 1 then input_tokens - resent end) as bigint) as root_new_tokens,
  cast(sum(case when depth = 0 and went_well = 1 then output_tokens - reasoned end) as bigint) as root_visible_tokens,
  cast(sum(case when went_well = 1 then input_tokens - resent end) as bigint) as new_tokens,
  cast(sum(case when went_well = 1 then output_tokens - reasoned end) as bigint) as visible_tokens,
  cast(sum(case when went_well = 1 and input_tokens is not null then resent end) as bigint) as resent_tokens,
  cast(sum(case when went_well = 1 then reasoned end) as bigint) as reasoning_tokens,
  cast(sum(case when can_be_first = 1 and nth = 1 then input_tokens end) as bigint) as first_input_tokens,
  cast(sum(case when can_be_last = 1 and nth_last = 1 then output_tokens - reasoned end) as bigint)
    as final_output_tokens,
  cast(sum(unpriced) as bigint) as unpriced_calls,
  sum(cached_cost) as cached_cost,
  sum(plain_cost + written_cost) as fresh_cost,
  sum(written_cost) as written_cost,
  sum(output_cost) as output_cost,
  sum(reasoned * price_output) as reasoning_cost,
  sum(coalesce(input_tokens, 0) * price_input + coalesce(output_tokens, 0) * price_output) as list_cost,
  sum(case when can_be_first = 1 and nth = 1 then input_tokens * price_input end) as first_cost,
  sum(case when can_be_last = 1 and nth_last = 1 then (output_tokens - reasoned) * price_output end) as final_cost,
  cast(sum(case when cached_by = 'provider' then 1 else 0 end) as bigint) as cached_by_provider_calls,
  cast(sum(case when cached_by = 'blocks' then 1 else 0 end) as bigint) as cached_by_blocks_calls,
  cast(sum(case when cached_by = 'none' then 1 else 0 end) as bigint) as cached_by_none_calls,
  cast(sum(case when resent_by = 'blocks' then 1 else 0 end) as bigint) as resent_by_blocks_calls,
  cast(sum(case when resent_by = 'parts' then 1 else 0 end) as bigint) as resent_by_parts_calls,
  cast(sum(case when resent_by = 'provider' then 1 else 0 end) as bigint) as resent_by_provider_calls,
  cast(sum(case when resent_by = 'none' then 1 else 0 end) as bigint) as resent_by_none_calls,
  cast(count(reasoning_tokens) as bigint) as reasoning_reported_calls
from priced
group by task, task_id
order by task, task_id
"""
"""One row per task out of a table `calls` with the columns of the store and `PRICE_NAMES`; see `LEDGER_COLUMNS`."""


def ledger(calls: pd.DataFrame, call_prices: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one row per task, in order of kind and id; columns and units as in `columns.inflation.LEDGER_COLUMNS`.

    `call_prices` has one row per call, in the order of `calls`, and the columns `PRICE_NAMES` (price of one token, NaN
    where the call has none), as `costs.PriceTable.of_calls` returns it; without it every cost is missing.

    Raises:
        FrameError: `calls` lacks columns that the booking needs, or has no row.
    """
    frame = prepared(calls, _NEEDED, "ledger")
    for name in PRICE_NAMES:
        # Float64, not float64: a missing price has to reach SQL as NULL, not as NaN.
        values: Any = pd.NA if call_prices is None else call_prices[name].to_numpy()
        frame[name] = pd.Series(values, index=frame.index, dtype="Float64")
    with duckdb.connect() as connection:
        connection.register("calls", frame)
        found = connection.execute(LEDGER_SQL).fetchnumpy()
    return from_arrays(found, tuple(LEDGER_COLUMNS.values()))


def source_of(tasks: pd.DataFrame, what: str, names: tuple[str, ...]) -> str:
    """Return where the `what` (cached, resent) tokens of some tasks come from; with a plus where it is mixed."""
    return "+".join(name for name in names if tasks[f"{what}_by_{name}_calls"].sum() > 0) or "none"
