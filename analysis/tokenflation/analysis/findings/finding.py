"""What a finding is: a place where tokens can be saved, in words and numbers. Knows nothing of how one is found."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from tokenflation.analysis.frames import from_records
from tokenflation.sdk.store.tables import Column, by_name

__all__ = [
    "AT_LEAST",
    "AT_MOST",
    "ESTIMATE",
    "FINDING_COLUMNS",
    "MEASURED",
    "Finding",
    "finding_rows",
    "most_calls",
    "most_tasks",
    "named",
]

MEASURED, AT_MOST, AT_LEAST, ESTIMATE = "measured", "at most", "at least", "estimate"
"""How a saving is to be read: counted as it is, an upper bound, a lower bound, or what a stated assumption gives."""

FINDING_COLUMNS: dict[str, Column] = by_name(
    Column("rank", "int", "place by tokens saved, from 1", required=True),
    Column("finding", "text", "what kind of finding it is", required=True),
    Column("task", "text", "kind of the task", required=True),
    Column("agent", "text", "name of the agent; NULL = of all its agents"),
    Column("tool", "text", "name of the tool; NULL = no matter of one tool"),
    Column("sentence", "text", "what was found, in plain words", required=True),
    Column("advice", "text", "what to do about it", required=True),
    Column("saved_tokens", "int", "tokens that could be saved; NULL = what it takes is not reported"),
    Column("saved_unit", "text", "which tokens those are", required=True),
    Column("saved_is", "text", "measured, at most, at least, or estimate", required=True),
    Column("saved_share", "float", "fraction; saved_tokens / input and output tokens of the task kind"),
    Column("estimate", "text", "how the saving is found, and what it leaves out", required=True),
    Column("counted_calls", "int", "calls that it rests on", required=True),
    Column("calls", "int", "calls that it is about, those that do not report what it takes too", required=True),
    Column("task_ids", "text", "JSON list; tasks with most of it, at most three", required=True),
    Column("call_ids", "text", "JSON list; calls with most of it, at most three", required=True),
)
"""The columns of one row per finding, by name, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One row of `FINDING_COLUMNS`, without its rank."""

    finding: str
    task: str
    sentence: str
    advice: str
    saved_tokens: int | None
    saved_unit: str
    saved_is: str
    estimate: str
    counted_calls: int
    calls: int
    agent: str | None = None
    tool: str | None = None
    task_ids: tuple[str, ...] = ()
    call_ids: tuple[str, ...] = ()


def finding_rows(found: Iterable[Finding], tokens: "pd.Series[int]") -> pd.DataFrame:
    """Return the findings as a frame, what saves most first, then what nobody knows; `tokens` of each task kind."""
    order = sorted(found, key=lambda one: (-(one.saved_tokens or 0), one.finding, one.task, one.agent or ""))
    rows = []
    for rank, one in enumerate(order, start=1):
        of = int(tokens.get(one.task, 0))
        values = {name: getattr(one, name) for name in FINDING_COLUMNS if hasattr(one, name)}
        values |= {
            "rank": rank,
            "saved_share": one.saved_tokens / of if one.saved_tokens is not None and of else None,
            "task_ids": json.dumps(one.task_ids),
            "call_ids": json.dumps(one.call_ids),
        }
        rows.append(values)
    return from_records(rows, FINDING_COLUMNS)


def named(task: str, agent: str | None = None) -> str:
    """Return what calls are called: kind of task, and agent where that says more."""
    return f"`{task}`" if agent in (None, task, "agent") else f"`{task} / {agent}`"


def most_tasks(rows: pd.DataFrame, weight: str) -> tuple[str, ...]:
    """Return the ids of the three tasks with most of a column."""
    return tuple(map(str, rows.groupby("task_id", sort=False)[weight].sum().nlargest(3).index))


def most_calls(rows: pd.DataFrame, weight: str) -> tuple[str, ...]:
    """Return the ids of the three calls with most of a column."""
    return tuple(map(str, rows.nlargest(3, weight)["call_id"]))
