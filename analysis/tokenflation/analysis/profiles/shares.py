"""Splits the tokens of tasks by agent, by model or by step: each split adds up exactly.

One SQL text, as in `reduce`.
"""

from typing import Literal

import pandas as pd

from tokenflation.analysis.columns import SHARE_COLUMNS
from tokenflation.analysis.frames import from_arrays
from tokenflation.analysis.streams import Source, opened
from tokenflation.sdk.errors import FrameError

__all__ = ["PARTS", "shares", "shares_sql"]

PARTS: dict[str, str] = {"agent": "agent", "model": "coalesce(response_model, model)", "step": "step"}
"""What tokens can be split by, and the SQL of it: name of the agent, model that answered, place in the agent run."""

_NEEDED = (
    "task", "task_id", "agent", "model", "response_model", "step", "usage_complete", "input_tokens", "output_tokens",
    "cache_read_tokens", "reasoning_tokens",
)  # fmt: skip
_SHARED = ("calls", "input_tokens", "output_tokens", "billed_tokens")


def shares(
    calls: Source, *, by: Literal["agent", "model", "step"], per: Literal["kind", "task", "fleet"] = "kind"
) -> pd.DataFrame:
    """Return one row per task kind and part, or per task and part, or per part of all: columns `SHARE_COLUMNS`.

    `calls` is a frame, or what `load` takes. `part` is text: the agent's name, the model that answered (else the one
    asked for; missing where none is named), or the step, from 0. `task_id` is missing but per task, `task` too for the
    fleet. Parts add up exactly to the calls and tokens of their task, kind or fleet; what nobody reports is missing,
    never 0. A share is of the numbers that are reported; `calls_with_*` say of how many calls that is.

    Raises:
        FrameError: an unknown `by` or `per`, or `calls` lacks columns.
        StoreError: the source cannot be read, or holds no call.
    """
    if by not in PARTS or per not in ("kind", "task", "fleet"):
        raise FrameError(f"shares() takes by={sorted(PARTS)} and per=['fleet', 'kind', 'task']; got {by!r}, {per!r}.")
    with opened(calls, _NEEDED, "shares") as connection:
        found = connection.execute(shares_sql(by, per)).fetchnumpy()
    return from_arrays(found, tuple(SHARE_COLUMNS.values()))


def shares_sql(by: str, per: str = "kind") -> str:
    """Return the SQL of `shares` out of a relation `calls`."""
    keys = {"kind": ("task",), "task": ("task", "task_id"), "fleet": ()}[per]
    listed = "".join(f"{key}, " for key in keys)
    # A window over all rows needs no partition, and one by a constant means the same everywhere.
    over = f"over (partition by {', '.join(keys) or '1'})"
    names = ", ".join(key if key in keys else f"nullif('', '') as {key}" for key in ("task", "task_id"))
    cells = ", ".join(f"{name} * 1e0 / nullif(sum({name}) {over}, 0) as {name}_share" for name in _SHARED)
    return f"""
with parted as (
  select {listed}{PARTS[by]} as part,
    cast(count(*) as bigint) as calls,
    cast(count(case when usage_complete = 1 and input_tokens is not null and output_tokens is not null then 1 end)
      as bigint) as reported_calls,
    cast(count(case when input_tokens is null and output_tokens is null then 1 end) as bigint) as unreported_calls,
    cast(count(input_tokens) as bigint) as calls_with_input,
    cast(count(output_tokens) as bigint) as calls_with_output,
    cast(sum(input_tokens) as bigint) as input_tokens,
    cast(sum(case when input_tokens is not null then cache_read_tokens end) as bigint) as cache_read_tokens,
    cast(sum(output_tokens) as bigint) as output_tokens,
    cast(sum(case when output_tokens is not null then reasoning_tokens end) as bigint) as reasoning_tokens,
    cast(sum(case when input_tokens is null then output_tokens else input_tokens + coalesce(output_tokens, 0) end)
      as bigint) as billed_tokens
  from calls
  group by {listed}{PARTS[by]}
)
select {names}, cast(part as varchar(1000)) as part, calls, reported_calls,
  calls - reported_calls - unreported_calls as partial_calls, unreported_calls, calls_with_input, calls_with_output,
  input_tokens, cache_read_tokens, output_tokens, reasoning_tokens, billed_tokens, {cells}
from parted
order by {listed}parted.part"""
