"""Reads what lies beside the calls in a folder of Parquet: tool calls and scopes, one file for each segment of calls.

They are in folders whose names begin with an underscore, which Spark, Hive and Arrow take for no data of the folder's,
so whoever reads the folder reads calls alone. Knows nothing of stores.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from tokenflation.analysis.frames import from_rows
from tokenflation.analysis.refusing import check_table, parquet_errors
from tokenflation.analysis.streams import SQL_TYPES, parquet_files, parquet_sql
from tokenflation.sdk.store.cells import optional
from tokenflation.sdk.store.tables import TABLES, Column

__all__ = ["BESIDE", "beside", "load_beside", "segments_alone", "span_rows"]

BESIDE: dict[str, tuple[Column, ...]] = {
    table.name: table.columns for table in TABLES if table.name in ("tool_calls", "spans")
}
"""The tables that may lie beside the calls, with their columns."""


def beside(segment: Path, table: str) -> Path:
    """Return where the rows of a table lie that belong to a segment of calls."""
    return segment.parent / f"_{table}" / segment.name


def segments_alone(source: str | Path) -> tuple[int, int]:
    """Return how many segments of a Parquet source hold calls alone, and how many segments there are.

    Raises:
        StoreError: the source is a folder without Parquet files.
    """
    segments = [Path(file) for file in parquet_files(Path(source))]
    return sum(not all(beside(one, table).exists() for table in BESIDE) for one in segments), len(segments)


def load_beside(
    source: str | Path, *, task: str | None = None, task_ids: Sequence[str] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of `tool_calls` and `spans` beside a Parquet source, of some tasks if they are named.

    `task` is a kind; a scope knows its task by id alone. The frames are empty where nothing lies beside the calls.

    Raises:
        StoreError: the source is a folder without Parquet files, or a file cannot be read.
    """
    limits: list[str] = []
    values: list[object] = []
    if task is not None:
        limits.append("task = ?")
        values.append(task)
    if task_ids is not None:
        limits.append("task_id in (select unnest(?::varchar[]))")
        values.append(list(task_ids))
    of_calls = f"call_id in (select call_id from read_parquet(?, union_by_name = true) where {' and '.join(limits)})"
    calls = [parquet_files(Path(source)), *values]
    tool_calls = _rows(source, "tool_calls", *((of_calls, calls) if limits else ("", [])))
    in_tasks = ("task_id in (select unnest(?::varchar[]))", [list(task_ids)]) if task_ids is not None else ("", [])
    return _frame(tool_calls, "tool_calls"), _frame(_rows(source, "spans", *in_tasks), "spans")


def span_rows(source: str | Path, names: Sequence[str], where: str, order: str) -> list[tuple[Any, ...]]:
    """Return those columns of the scopes beside a Parquet source for which a condition holds, in order; both are SQL.

    Raises:
        StoreError: the source is a folder without Parquet files, or a file cannot be read.
    """
    places = [[column.name for column in BESIDE["spans"]].index(name) for name in names]
    return [tuple(row[place] for place in places) for row in _rows(source, "spans", where, [], order)]


def _rows(
    source: str | Path, table: str, where: str = "", values: Sequence[object] = (), order: str = ""
) -> list[tuple[Any, ...]]:
    segments = [beside(Path(file), table) for file in parquet_files(Path(source))]
    files = [str(file) for file in segments if file.exists()]
    if not files:
        return []
    with parquet_errors(Path(source)), duckdb.connect() as connection:
        parquet = parquet_sql(files)
        have = {row[0] for row in connection.execute(f"describe select * from {parquet}").fetchall()}
        cells = ", ".join(
            f"cast({one.name if one.name in have else 'null'} as {SQL_TYPES[one.kind]}) as {one.name}"
            for one in BESIDE[table]
        )
        connection.execute(f"create view {table} as select {cells} from {parquet}")
        check_table(connection, source, BESIDE[table], table)
        query = f"select * from {table}"
        query += f" where {where}" if where else ""
        query += f" order by {order or ', '.join(_keys(table))}"
        return connection.execute(query, values).fetchall()


def _keys(table: str) -> tuple[str, ...]:
    return next(one.key for one in TABLES if one.name == table)


def _frame(rows: list[tuple[Any, ...]], table: str) -> pd.DataFrame:
    # Nothing is required of a row: what cannot be placed is left out of a tree, and its calls stay.
    return from_rows(rows, optional(BESIDE[table]))
