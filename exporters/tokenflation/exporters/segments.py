"""Writes what lies beside the calls of a store in Parquet segments: their tool calls and scopes, segment by segment.

A segment's own file in `_tool_calls` and in `_spans` has its name. It is written where it is missing, or where the
store has other rows for the calls of that segment now; so what was exported before these files were is made good by the
next run.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import duckdb

from tokenflation.analysis.streams import add_table
from tokenflation.analysis.structure.beside import BESIDE, beside
from tokenflation.sdk.errors import ExportError
from tokenflation.sdk.store.statements import renamed_sql

__all__ = ["clear", "copied", "quoted", "seal_beside"]

# A scope is in the first segment of its task, since the calls of a task may lie in several.
_PLACED = {
    "tool_calls": "select t.*, placed.file from tool_calls t join placed using (call_id)",
    "spans": "select s.*, first_of.file from spans s join first_of using (task_id)",
}
_ORDER = {"tool_calls": "call_id, tool_call_id", "spans": "task_id, started_at_ns, span_id"}
# Calls go by the names that the user gave their kinds; so do the scopes of tasks.
_CELLS = {
    "spans": {"name": f"case when kind = 'task' then {renamed_sql('spans.name')} else name end"},
    "tool_calls": {},
}


def seal_beside(connection: duckdb.DuckDBPyConnection, store: Path, segments: Iterable[Path]) -> list[Path]:
    """Write the tool calls and scopes of a store that belong to these segments of its calls; return whose were written.

    Raises:
        ExportError: a file cannot be written.
        StoreError: the store cannot be read.
    """
    files = sorted(str(one) for one in segments)
    if not files:
        return []
    listed = ", ".join(map(quoted, files))
    connection.execute(
        "create temp table placed as select call_id, task_id, filename as file"
        f" from read_parquet([{listed}], filename = true, union_by_name = true)"
    )
    connection.execute("create temp table first_of as select task_id, min(file) as file from placed group by task_id")
    written = set()
    for table, columns in BESIDE.items():
        add_table(connection, store, table, columns, _CELLS[table])
        names = ", ".join(column.name for column in columns)
        now = _marks(connection, _PLACED[table], names)
        for file in map(Path, files):
            path = beside(file, table)
            if _mark(connection, path, names) != now.get(str(file), (0, None)):
                path.parent.mkdir(exist_ok=True)
                rows = (
                    f"select {names} from ({_PLACED[table]}) where file = {quoted(str(file))} order by {_ORDER[table]}"
                )
                copied(connection, rows, path)
                written.add(file)
    return sorted(written)


def _marks(connection: duckdb.DuckDBPyConnection, query: str, names: str) -> dict[str, tuple[int, int | None]]:
    """Return how many rows each file is to have, and the sum of the hashes of those: equal where the rows are."""
    found = connection.execute(f"select file, count(*), sum(hash({names})) from ({query}) group by file").fetchall()
    return {file: (count, total) for file, count, total in found}


def _mark(connection: duckdb.DuckDBPyConnection, path: Path, names: str) -> tuple[int, int | None] | None:
    """Return the same of a file as it is; None where it is not there, or has other columns."""
    if not path.exists():
        return None
    with suppress(duckdb.Error):
        query = f"select count(*), sum(hash({names})) from read_parquet({quoted(str(path))})"
        return connection.execute(query).fetchone()
    return None


def clear(folder: Path) -> None:
    """Remove what a run that was killed has left half-written."""
    for pattern in (".calls-*.part", *(f"_{table}/.calls-*.part" for table in BESIDE)):
        for part in folder.glob(pattern):
            with suppress(OSError):
                part.unlink()


def copied(connection: duckdb.DuckDBPyConnection, query: str, path: Path, metadata: str = "") -> None:
    """Write the rows of a query to a Parquet file, whole on disk before it has its name; `metadata` is a DuckDB struct.

    Raises:
        ExportError: the disk refuses.
    """
    part = path.with_name(f".{path.stem}.part")
    marked = f", kv_metadata {metadata}" if metadata else ""
    try:
        connection.execute(f"copy ({query}) to {quoted(str(part))} (format parquet, compression zstd{marked})")
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise ExportError(
            f"{path} was not written: {error.strerror or error}. Free space or give another folder."
        ) from error
    finally:
        with suppress(OSError):
            part.unlink()


def quoted(text: str) -> str:
    """Return a text as SQL."""
    return "'" + text.replace("'", "''") + "'"
