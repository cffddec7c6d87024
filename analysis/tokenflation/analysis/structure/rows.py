"""Reads what stands beside the calls of a store: tool calls and scopes, and which tasks a limit cut. Knows no trees."""

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa

from tokenflation.analysis.frames import from_rows
from tokenflation.analysis.refusing import store_errors
from tokenflation.analysis.streams import is_store
from tokenflation.analysis.structure.beside import BESIDE, load_beside, segments_alone, span_rows
from tokenflation.sdk.errors import StoreError
from tokenflation.sdk.store.cells import check_cells, optional
from tokenflation.sdk.store.read import open_store
from tokenflation.sdk.store.statements import renamed_sql
from tokenflation.sdk.store.tables import Column
from tokenflation.sdk.words import many

__all__ = ["calls_alone", "censored_remarks", "load_censored", "load_outcomes", "load_structure"]

_OUTCOMES = (
    Column("task", "text", "kind of the task", required=True),
    Column("task_id", "text", "id of the task", required=True),
    *optional(
        column
        for column in BESIDE["spans"]
        if column.name in ("outcome", "score", "status", "error_type", "censored_by")
    ),
)


def calls_alone(source: str | Path) -> str:
    """Return what a source of calls alone cannot say, as a sentence for people; empty where it has what is beside them.

    Raises:
        StoreError: the source is no store, or cannot be read.
    """
    engine = _engine(source)
    if engine is not None:
        engine.dispose()
        return ""
    alone, segments = segments_alone(source)
    if not alone:
        return ""
    which = "holds" if alone == segments else f"holds, in {alone:,} of {segments:,} segments,"
    return (
        f"Parquet {which} calls alone: tool calls by name, their arguments, results and failures, tool runs, outcomes and "
        "limits are in the store that it was made from; `tokenflation export DB DIR --format parquet` adds them."
    )


def load_structure(
    source: str | Path, *, task: str | None = None, task_id: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of the tables `tool_calls` and `spans`, of one task if it is named; `source` as `analysis.load`.

    `task` is the kind by the name that the user gave it, as `analysis.load` has it.
    Where the source has no such tables, as a single Parquet file has none, the frames are empty; a column that an older
    store lacks is missing in all rows.

    Raises:
        StoreError: the source is no store, or cannot be read.
    """
    engine = _engine(source)
    if engine is None:
        return load_beside(source, task=task, task_ids=None if task_id is None else [task_id])
    with _connected(engine, source, "tool_calls", "spans") as connection:
        calls = sa.table("calls", sa.column("call_id"), sa.column("task"), sa.column("task_id"))
        wanted = [sa.literal_column(_kind(connection, "calls")) == task] if task is not None else []
        wanted += [calls.c.task_id == task_id] if task_id is not None else []
        chosen = sa.select(calls.c.call_id).select_from(calls).where(*wanted)
        of_task = sa.column("call_id").in_(chosen) if wanted else None
        # A scope knows the id of its task, not its kind.
        in_task = sa.column("task_id") == task_id if task_id is not None else None
        return _read(connection, "tool_calls", of_task), _read(connection, "spans", in_task)


def load_censored(source: str | Path) -> pd.DataFrame:
    """Return the tasks that a limit cut short, whose use is a lower bound: columns `task`, `task_id`, `censored_by`.

    One row per task, with the limit's name; empty where none was cut, or the source does not say (`calls_alone`).

    Raises:
        StoreError: the source is no store, or cannot be read.
    """
    return _ended(source, "censored_by")[["task", "task_id", "censored_by"]]


def load_outcomes(source: str | Path) -> pd.DataFrame:
    """Return how tasks ended, as far as a scope says it: one row per task; `source` as `analysis.load`.

    Columns: `task` (as `analysis.load` names it), `task_id`, `outcome` (1 success, 0 failure), `score`, `status` (`ok`
    or `error`: an exception left the scope), `error_type`, `censored_by`. Of several scopes of one task the last one
    counts that says something. Empty where the source has no scopes.

    Raises:
        StoreError: the source is no store, or cannot be read.
    """
    return _ended(source)


def _ended(source: str | Path, said: str = "") -> pd.DataFrame:
    """Return what the scopes of tasks say, of those alone that say something in the column `said`, if it is named."""
    which = f"kind = 'task' and {said} is not null" if said else "kind = 'task'"
    engine = _engine(source)
    if engine is None:
        names = ["name", *(column.name for column in _OUTCOMES[1:])]
        return _merged(span_rows(source, names, which, "ended_at_ns, started_at_ns"))
    with _connected(engine, source, "spans") as connection:
        inspector = sa.inspect(connection)
        have = {str(one["name"]) for one in inspector.get_columns("spans")} if inspector.has_table("spans") else set()
        if not have or (said and said not in have):
            return from_rows([], _OUTCOMES)
        # A scope has a trace, and a name that is its kind as recorded; the calls say by what kind they go.
        names = [_kind(connection, "spans", "name"), *(column.name for column in _OUTCOMES[1:])]
        chosen = [name if position == 0 or name in have else "null" for position, name in enumerate(names)]
        query = f"select {', '.join(chosen)} from spans where {which} order by ended_at_ns, started_at_ns"
        rows = connection.execute(sa.text(query)).fetchall()
    return _merged([tuple(row) for row in rows])


def _merged(rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """Return a row per task of those of its scopes in order, kind and id first: the last that says something counts."""
    merged: dict[tuple[str, str], list[Any]] = {}
    for task, task_id, *values in rows:
        if task_id is not None:
            before = merged.get((task, task_id), [None] * len(values))
            merged[task, task_id] = [old if new is None else new for old, new in zip(before, values, strict=True)]
    return from_rows([[*key, *values] for key, values in merged.items()], _OUTCOMES)


@contextmanager
def _connected(engine: sa.Engine, source: str | Path, *tables: str) -> Iterator[sa.Connection]:
    """Yield a connection to a store, of whose tables these are made sure of; errors as of `load_structure`."""
    shown = engine.url.render_as_string(hide_password=True) if "://" in str(source) else source
    try:
        with store_errors(shown), engine.connect() as connection:
            store = connection.connection.dbapi_connection
            if isinstance(store, sqlite3.Connection):  # other databases hold what their types say
                check_cells(store, shown, tables)
            yield connection
    finally:
        engine.dispose()


def _kind(connection: sa.Connection, table: str, column: str = "task") -> str:
    """Return SQL for the kind of a task by the name the user gave it, out of a table's column of recorded kinds."""
    recorded = f"{table}.{column}"
    return renamed_sql(recorded) if sa.inspect(connection).has_table("task_names") else recorded


def censored_remarks(calls: pd.DataFrame, censored: pd.DataFrame, kinds: Collection[str] | None = None) -> list[str]:
    """Return one sentence for each task kind, of `kinds` if given, of which a limit cut runs.

    Frames as of `load` and `load_censored`.
    """
    tasks = calls[["task", "task_id"]].drop_duplicates()
    tasks = tasks if kinds is None else tasks[tasks["task"].isin(kinds)]
    cut = tasks.merge(censored[["task", "task_id"]].drop_duplicates()).groupby("task").size()
    return [
        f"{task}: a limit cut {count:,} of {many(int((tasks['task'] == task).sum()), 'run')}, so what {'it' if count == 1 else 'they'} used is a lower "
        "bound of what their task needs."
        for task, count in cut.items()
    ]


def _engine(source: str | Path) -> sa.Engine | None:
    text = str(source)
    if "://" in text:
        try:
            url = sa.make_url(text)
            if url.get_backend_name() == "sqlite" and url.database:
                return open_store(url.database)
            return sa.create_engine(url)
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            raise StoreError(f"{text.split('://')[0]}://... cannot be opened: {error}. Install its driver.") from error
    path = Path(source)
    return open_store(path) if is_store(path) else None


def _read(connection: sa.Connection, name: str, where: sa.ColumnElement[bool] | None) -> pd.DataFrame:
    columns = BESIDE[name]
    inspector = sa.inspect(connection)
    have = {str(one["name"]) for one in inspector.get_columns(name)} if inspector.has_table(name) else set()
    if not have:
        return from_rows([], columns)
    present = [column for column in columns if column.name in have]
    # Nothing here is required of a row: what cannot be placed is left out of a tree, and its calls stay.
    query = sa.table(name, *(sa.column(column.name) for column in present)).select()
    rows = connection.execute(query if where is None else query.where(where))
    return from_rows((tuple(row) for row in rows), optional(present))
