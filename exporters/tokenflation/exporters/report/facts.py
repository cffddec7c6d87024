"""What is said of a whole store, however large: counts, sums, what is not reported.

One pass of SQL, no frame of calls.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import pandas as pd

from tokenflation.analysis.columns.tasks import DATED_FROM_NS
from tokenflation.analysis.streams import Source, opened

__all__ = ["MISSABLE", "NEEDED", "Facts", "facts_of", "read_facts"]

MISSABLE: dict[str, str] = {
    "input_tokens": "Input tokens",
    "output_tokens": "Output tokens",
    "cache_read_tokens": "Tokens read from a cache",
    "reasoning_tokens": "Reasoning tokens",
    "resent_tokens": "The split of the input into parts",
    "shared_blocks": "Prefix blocks",
    "duration_s": "Durations",
    "ttft_s": "Time to first token",
}
"""Columns that a call may lack, and what people call them."""
NEEDED = (
    "task",
    "task_id",
    "status",
    "usage_complete",
    "structure_source",
    "model",
    "response_model",
    "started_at_ns",
    *MISSABLE,
)
"""Columns of `calls` that the facts need."""

_FACTS_SQL = f"""
select
  count(*) as calls,
  count(case when status <> 'ok' then 1 end) as failed,
  count(case when input_tokens is not null and output_tokens is not null and usage_complete = 1 then 1 end) as complete,
  count(case when input_tokens is not null or output_tokens is not null then 1 end) as known,
  count(case when structure_source = 'wire' then 1 end) as inferred,
  cast(sum(input_tokens) as bigint) as input_tokens, cast(sum(output_tokens) as bigint) as output_tokens,
  coalesce(min(case when started_at_ns >= {DATED_FROM_NS} then started_at_ns end), min(started_at_ns)) as first_ns,
  max(started_at_ns) as last_ns, count(case when started_at_ns < {DATED_FROM_NS} then 1 end) as undated,
  {", ".join(f"count({name}) as with_{name}" for name in MISSABLE)}
from calls
"""
# A call that nobody answered names what it asked for; where others got an answer by that name, it is no other model.
_MODELS_SQL = """
select coalesce(response_model, model) as name, count(*) from calls
where response_model is not null or model not in (
  select model from calls where response_model is not null and model is not null
) group by name order by count(*) desc, name
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Counts and sums over all calls; a sum is None where no call reports the number."""

    calls: int
    failed: int
    complete: int
    """Calls whose usage is reported in full."""
    in_part: int
    """Calls that report some of their usage."""
    inferred: int
    """Calls whose place in a task was inferred."""
    input_tokens: int | None
    output_tokens: int | None
    undated: int
    """Calls whose source gives no date: their times count from a task's start."""
    first_ns: int | None
    """Start of the first call that has a date, or of the first one where none has."""
    last_ns: int | None
    missing: Mapping[str, int]
    """Calls without a number, by column of `MISSABLE`."""
    models: tuple[str, ...]
    """By the name that answered, else the one asked for; those of most calls first."""


def facts_of(calls: Source) -> Facts:
    """Return the facts of a frame of calls, or of what `analysis.load` takes.

    Raises:
        FrameError: columns are missing.
        StoreError: the source cannot be read, or holds no call.
    """
    with opened(calls, NEEDED, "report") as connection:
        return read_facts(connection)


def read_facts(connection: duckdb.DuckDBPyConnection) -> Facts:
    """Return the facts of the relation `calls` of a connection."""
    cursor = connection.execute(_FACTS_SQL)
    row: tuple[Any, ...] = cursor.fetchone() or ()
    found = dict(zip([one[0] for one in cursor.description or ()], row, strict=True))
    models = connection.execute(_MODELS_SQL).fetchall()
    return Facts(
        **{name: found[name] for name in ("calls", "failed", "complete", "inferred", "input_tokens", "output_tokens")},
        **{name: found[name] for name in ("first_ns", "last_ns", "undated")},
        in_part=found["known"] - found["complete"],
        missing={name: found["calls"] - found[f"with_{name}"] for name in MISSABLE},
        models=tuple(str(model) for model, _ in models if not pd.isna(model)),
    )
