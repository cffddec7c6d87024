"""Takes as many of a store's tasks as a page can show in time: whole tasks, evenly at random, the same ones each time.

What is cheap at any size (counts, sums, percentiles) is made of all calls elsewhere; this is for the rest.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import sqlalchemy as sa

from tokenflation import analysis
from tokenflation.analysis.columns import CALL_COLUMNS
from tokenflation.analysis.frames import from_rows
from tokenflation.analysis.refusing import no_calls, store_errors
from tokenflation.analysis.streams import as_path, opened, parquet_files, parquet_sql, url_frames
from tokenflation.analysis.structure.beside import load_beside
from tokenflation.analysis.structure.rows import load_structure
from tokenflation.exporters.report.facts import NEEDED, Facts, facts_of, read_facts
from tokenflation.sdk.store.cells import optional
from tokenflation.sdk.store.read import open_store
from tokenflation.sdk.store.statements import renamed_sql
from tokenflation.sdk.store.tables import TABLES, Column

__all__ = ["Taken", "calls_of_tasks", "count_calls", "take"]

_TASKS_SQL = """
select task, task_id, count(*) as calls,
  cast(coalesce(sum(input_tokens), 0) + coalesce(sum(output_tokens), 0) as bigint) as tokens, min(started_at_ns) as started
from calls group by task, task_id order by started, task, task_id
"""
_COLUMNS = tuple(CALL_COLUMNS.values())
_KINDS_IN_FULL = 4
"""Kinds whose largest task comes along, so that it can be taken apart."""
_IDS_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Calls to make sections of, and what they are a part of."""

    facts: Facts
    """Of all calls."""
    calls: pd.DataFrame
    """As of `analysis.load(blocks=True)`: all calls, or those of the tasks that were taken."""
    tool_calls: pd.DataFrame
    spans: pd.DataFrame
    tasks: int
    """Tasks that `calls` holds."""
    all_tasks: int
    largest: pd.DataFrame | None = None
    """Calls of the largest task of some kinds, where `calls` may lack them."""
    known: pd.DataFrame | None = None
    """Every task, likewise: `task`, `task_id`, `calls`, `tokens`, `started`."""

    @property
    def is_sample(self) -> bool:
        """Return whether tasks were left out."""
        return self.tasks < self.all_tasks


def take(store: str, most_calls: int | None) -> Taken:
    """Return the calls of whole tasks, at most so many; all of them where there are no more, or no limit.

    A task is in or out by the hash of its id alone, so a store that grows keeps most of its sample. At least one is in.

    Raises:
        StoreError: the store cannot be read, or holds no call.
    """
    if most_calls is None or count_calls(store) <= most_calls:
        calls = analysis.load(store, blocks=True)
        tool_calls, spans = load_structure(store)
        tasks = len(calls[["task", "task_id"]].drop_duplicates())
        return Taken(
            facts=facts_of(calls), calls=calls, tool_calls=tool_calls, spans=spans, tasks=tasks, all_tasks=tasks
        )
    with opened(store, NEEDED, "report") as connection:
        facts = read_facts(connection)
        known = connection.execute(_TASKS_SQL).df()
    chosen = known[_chosen(known, most_calls)]
    heavy = known.groupby("task")["tokens"].sum().sort_values(ascending=False, kind="stable").index[:_KINDS_IN_FULL]
    several = known[(known["calls"] > 1) & (known["calls"] <= most_calls)]
    largest = several.sort_values("tokens", ascending=False, kind="stable").drop_duplicates("task")
    calls, tool_calls, spans = calls_of_tasks(store, chosen)
    more, more_tools, more_spans = calls_of_tasks(store, largest[largest["task"].isin(heavy)])
    return Taken(
        facts=facts, calls=calls, tasks=len(chosen), all_tasks=len(known), largest=more, known=known,
        tool_calls=_joined(tool_calls, more_tools, ["call_id", "tool_call_id"]), spans=_joined(spans, more_spans, ["span_id"]),
    )  # fmt: skip


def _joined(one: pd.DataFrame, other: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    both = [frame for frame in (one, other) if len(frame)]
    return pd.concat(both, ignore_index=True).drop_duplicates(list(key)) if both else one


def _chosen(known: pd.DataFrame, most_calls: int) -> np.ndarray:
    """Return which tasks are taken, shape (tasks,): in order of their hash, as long as their calls fit."""
    hashes = pd.util.hash_pandas_object(known["task_id"], index=False).to_numpy()
    order = np.argsort(hashes, kind="stable")
    fits = np.cumsum(known["calls"].to_numpy()[order]) <= most_calls
    fits[0] = True
    taken = np.zeros(len(known), dtype=bool)
    taken[order[fits]] = True
    return taken


def count_calls(store: str) -> int:
    """Return how many calls a source holds, without reading them; errors as `take`, but for a source without calls."""
    path = as_path(store)
    if isinstance(path, str):
        # Asks for little more than it must: one column of each row.
        return sum(len(chunk) for chunk in url_frames(path, _COLUMNS[:1]))
    files = parquet_files(path)
    if files:
        with duckdb.connect() as engine:
            found = engine.execute(f"select count(*) from {parquet_sql(files)}").fetchone()
            return int(found[0]) if found else 0
    engine_ = open_store(path)
    try:
        with store_errors(path), engine_.connect() as connection:
            return int(connection.exec_driver_sql("select count(*) from calls").scalar() or 0)
    finally:
        engine_.dispose()


def calls_of_tasks(store: str, tasks: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return calls, tool calls and spans of some tasks, in order of start; `tasks` has columns `task`, `task_id`.

    Raises:
        StoreError: the store cannot be read.
    """
    ids = list(dict.fromkeys(str(one) for one in tasks["task_id"]))
    path = as_path(store)
    if isinstance(path, Path) and not parquet_files(path):
        calls, tool_calls, spans = _from_store(path, ids)
    else:
        calls = _from_elsewhere(store, ids)
        tool_calls, spans = load_beside(path, task_ids=ids) if isinstance(path, Path) else load_structure(store)
        tool_calls = tool_calls[tool_calls["call_id"].isin(calls["call_id"])]
    # An id is one task's within its kind only.
    pairs = pd.MultiIndex.from_frame(tasks[["task", "task_id"]].astype("str"))
    calls = calls[pd.MultiIndex.from_frame(calls[["task", "task_id"]].astype("str")).isin(pairs)]
    order = ["started_at_ns", "task_id", "agent_run_id", "step", "call_id"]
    return calls.sort_values(order, kind="stable", ignore_index=True), tool_calls, spans


def _from_store(path: Path, ids: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    tables = {table.name: table.columns for table in TABLES}
    names = [renamed_sql("calls.task") if one.name == "task" else f"calls.{one.name}" for one in _COLUMNS]
    of_calls = f"select {', '.join(names)} from calls where calls.task_id in (select value from json_each(:ids))"
    engine = open_store(path)
    try:
        with store_errors(path), engine.connect() as connection:
            tool_names = _there(connection, "tool_calls", tables["tool_calls"])
            span_names = _there(connection, "spans", tables["spans"])
            of_tools = (
                f"select {', '.join(f'tool_calls.{one.name}' for one in tool_names)} from calls "
                "join tool_calls on tool_calls.call_id = calls.call_id where calls.task_id in (select value from json_each(:ids))"
            )
            of_spans = (
                f"select {', '.join(one.name for one in span_names)} from spans "
                "where task_id in (select value from json_each(:ids))"
            )
            return (
                from_rows(_rows(connection, of_calls, ids), _COLUMNS),
                from_rows(_rows(connection, of_tools, ids), tool_names),
                from_rows(_rows(connection, of_spans, ids), span_names),
            )
    finally:
        engine.dispose()


def _there(connection: sa.Connection, table: str, columns: Sequence[Column]) -> list[Column]:
    have = {row[1] for row in connection.exec_driver_sql(f"pragma table_info({table})")}
    # Nothing here is required of a row: what cannot be placed is left out of a tree.
    return optional(one for one in columns if one.name in have)


def _rows(connection: sa.Connection, query: str, ids: Sequence[str]) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for first in range(0, len(ids), _IDS_AT_ONCE):
        rows = connection.execute(sa.text(query), {"ids": json.dumps(ids[first : first + _IDS_AT_ONCE])})
        # Closed by its end alone: to close it after Ctrl-C, which closed the connection, SQLAlchemy logs as an error.
        found += [tuple(row) for row in rows]
    return found


def _from_elsewhere(store: str, ids: Sequence[str]) -> pd.DataFrame:
    path, wanted = as_path(store), set(ids)
    if isinstance(path, str):
        kept = [chunk[chunk["task_id"].isin(wanted)] for chunk in url_frames(path, _COLUMNS)]
        return pd.concat(kept, ignore_index=True)
    with opened(store, [one.name for one in _COLUMNS], "report") as connection:
        connection.execute("create temp table ids as select unnest(?) as task_id", [list(wanted)])
        rows = connection.execute("select calls.* from calls semi join ids using (task_id)").fetchall()
    if not rows:
        raise no_calls(store)
    return from_rows(rows, _COLUMNS)
