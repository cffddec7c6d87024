"""Seals calls into a folder of Parquet segments that DuckDB, Spark and pandas read; a further run adds what is new.

A segment never changes but by being replaced whole. Calls of a task wait until it is over: its scope is closed, or it
has been quiet for a while; what comes later still is a later segment, so a reader that groups by task needs no
versions. A call that changed in the store since it was sealed (its kind got another name, say) has its segment written
anew. Tool calls and scopes of an SQLite store lie beside the segments, where readers of the folder do not take them for
calls.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
import pandas as pd

from tokenflation.analysis.columns import CALL_COLUMNS
from tokenflation.analysis.refusing import store_errors
from tokenflation.analysis.streams import Source, apart, as_path, opened, parquet_files
from tokenflation.exporters.segments import clear, copied, quoted, seal_beside
from tokenflation.exporters.summary import WriteSummary
from tokenflation.sdk.errors import ExportError
from tokenflation.sdk.store.read import open_store
from tokenflation.sdk.words import many

__all__ = ["QUIET_S", "seal"]

QUIET_S = 3600.0
"""A task without a closed scope is over when its last call ended so long ago."""
_SEGMENT_CALLS = 1_000_000
_LOCK = ".tokenflation-lock"
_STORE = "tokenflation_store"

_COLUMNS = ", ".join(CALL_COLUMNS)
_ORDER = "task, task_id, started_at_ns, call_id"


def seal(
    calls: Source,
    folder: Path,
    *,
    quiet_s: float = QUIET_S,
    segment_calls: int = _SEGMENT_CALLS,
    now_ns: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> WriteSummary:
    """Write to a folder what it does not have yet, in segments of at most `segment_calls` calls; say what was done.

    `calls` is what `analysis.load` takes, or a frame: of a frame nothing waits. Each segment appears whole or not at
    all; what an interrupted run has sealed stays, and the next run goes on from there. `progress` is called with (calls
    written, calls to write).

    Raises:
        ExportError: the folder cannot be written, is a file, holds other Parquet files, or another run writes to it.
        StoreError: the source cannot be read, or holds no call.
    """
    now_ns = time.time_ns() if now_ns is None else now_ns
    _make(folder)
    with _locked(folder), _still(calls) as source, opened(source, list(CALL_COLUMNS), "export") as connection:
        try:
            is_frame = isinstance(calls, pd.DataFrame)
            store, closed = ("", []) if is_frame else _closed_tasks(source)
            _compare(connection, folder, store, closed, now_ns - round(quiet_s * 1e9), everything=is_frame)
            new, kept = _new(connection, segment_calls), _waiting(connection)
            changed = _changed(connection, store)
            total = sum(new) + sum(count for _, count in changed)
            written = 0
            own = {Path(row[0]) for row in connection.execute("select file from owned").fetchall()}
            for file, count in changed:
                again = f"select * from calls where call_id in (select call_id from read_parquet({quoted(file)}))"
                _write(connection, again, Path(file), store)
                written += count
                _report(progress, written, total)
            added = set()
            for number, count in enumerate(new):
                segment = f"select * exclude (segment) from fresh where segment = {number}"
                added.add(_write(connection, segment, _next(folder), store))
                written += count
                _report(progress, written, total)
            beside = seal_beside(connection, Path(as_path(str(source))), own | added) if store else []
            renewed = len({*beside} - added - {Path(file) for file, _ in changed})
            return _summary(connection, folder, changed, len(new), kept, renewed)
        except duckdb.Error as error:
            raise ExportError(
                f"{folder} was not written in full: {error}. Segments that are there are whole; free space or mend the "
                "folder, and run it again: it goes on where it stopped."
            ) from error


@contextmanager
def _still(source: Source) -> Iterator[Source]:
    """Yield a source of which all that is read is of one moment and from one copy, where this process records to it."""
    path = source if isinstance(source, pd.DataFrame) else as_path(source)
    if not isinstance(path, Path):
        yield source
        return
    with apart(path) as file:
        yield file


def _make(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ExportError(
            f"{folder} is a file; Parquet segments need a folder. Give a new or an older export's folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{folder} cannot be made: {error.strerror}. Give another folder.") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other exports out of the folder; a killed one keeps nobody out, since the lock is its process's."""
    try:
        with closing(sqlite3.connect(folder / _LOCK, timeout=0, isolation_level=None)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            clear(folder)
            yield
    except sqlite3.Error as error:
        mend = (
            "Another export to it may be running; wait for its end."
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY
            else "Check that it may be written and that the disk has room."
        )
        raise ExportError(f"{folder} cannot be written to now: {error}. {mend}") from error


def _closed_tasks(source: str | Path | pd.DataFrame) -> tuple[str, list[str]]:
    """Return the id of a store and the ids of its tasks whose scope is closed; nothing of what is no store."""
    path = None if isinstance(source, pd.DataFrame) else as_path(source)
    if not isinstance(path, Path) or path.is_dir() or parquet_files(path):
        return "", []
    engine = open_store(path)
    try:
        with store_errors(path), engine.connect() as connection:
            found = connection.exec_driver_sql("select value from meta where name = 'key_id'").scalar()
            has_spans = connection.exec_driver_sql("select 1 from sqlite_master where name = 'spans'").scalar()
            scopes = "select distinct task_id from spans where kind = 'task'"
            rows = connection.exec_driver_sql(scopes).fetchall() if has_spans else []
    finally:
        engine.dispose()
    return str(found or ""), [row[0] for row in rows if row[0] is not None]


def _compare(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    store: str,
    closed: list[str],
    quiet_ns: int,
    *,
    everything: bool,
) -> None:
    """Make the relations `sealed` (what the folder has), `waiting` (tasks that go on) and `fresh` (what to add)."""
    files = sorted(str(file) for file in folder.glob("*.parquet"))
    if files:
        listed = ", ".join(map(quoted, files))
        table = f"read_parquet([{listed}], filename = true, union_by_name = true)"
        try:
            have = {row[0] for row in connection.execute(f"describe select * from {table}").fetchall()}
        except duckdb.Error as error:
            raise _foreign(folder, error) from error
        if "call_id" not in have:
            raise _foreign(folder, "there is no column call_id")
        # A segment of an older version lacks columns; where the store has values for them it is written anew.
        cells = ", ".join(name if name in have else f"null as {name}" for name in CALL_COLUMNS)
        connection.execute(f"create view sealed as select {cells}, filename from {table}")
        connection.execute(
            f"create temp table owned as select distinct file_name as file from parquet_kv_metadata([{listed}])"
            " where decode(key) = ? and decode(value) = ? and ? <> ''",
            [_STORE, store, store],
        )
    else:
        connection.execute(f"create view sealed as select {_COLUMNS}, '' as filename from calls where false")
        connection.execute("create temp table owned (file varchar)")
    connection.execute("create temp table closed as select unnest(?::varchar[]) as task_id", [closed])
    connection.execute(
        "create temp table waiting as select task, task_id from calls"
        " where not ? and task_id not in (select task_id from closed)"
        " group by task, task_id having max(coalesce(ended_at_ns, started_at_ns)) > ?",
        [everything, quiet_ns],
    )


def _foreign(folder: Path, why: object) -> ExportError:
    return ExportError(
        f"{folder} holds Parquet files that are no segments of calls: {why}. Give a folder of its own, or mend them."
    )


def _new(connection: duckdb.DuckDBPyConnection, at_most: int) -> list[int]:
    """Make the relation `fresh`, calls by segment, and return how many each has."""
    connection.execute(
        f"create table fresh as select *, (row_number() over (order by {_ORDER}) - 1) // {at_most} as segment from calls"
        " where call_id not in (select call_id from sealed)"
        " and (task, task_id) not in (select (task, task_id) from waiting)"
    )
    found = connection.execute("select count(*) from fresh group by segment order by segment").fetchall()
    return [row[0] for row in found]


def _waiting(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """Return how many tasks go on, and how many calls of theirs are not in the folder yet."""
    tasks = connection.execute("select count(*) from waiting").fetchone()
    calls = connection.execute(
        "select count(*) from calls semi join waiting using (task, task_id)"
        " where call_id not in (select call_id from sealed)"
    ).fetchone()
    return (tasks[0] if tasks else 0), (calls[0] if calls else 0)


def _changed(connection: duckdb.DuckDBPyConnection, store: str) -> list[tuple[str, int]]:
    """Return the store's segments that hold a call other than the store has it now, with the calls they keep."""
    if not store:
        return []
    same = " and ".join(f"c.{name} is not distinct from s.{name}" for name in CALL_COLUMNS if name != "call_id")
    return connection.execute(
        "select s.filename, count(c.call_id) from sealed s left join calls c on c.call_id = s.call_id"
        " where s.filename in (select file from owned)"
        f" group by s.filename having count(*) > count(case when {same} and c.call_id is not null then 1 end)"
        " order by s.filename"
    ).fetchall()


def _write(connection: duckdb.DuckDBPyConnection, query: str, path: Path, store: str) -> Path:
    rows = f"select {_COLUMNS} from ({query}) order by {_ORDER}"
    copied(connection, rows, path, f"{{{_STORE}: {quoted(store)}}}")
    return path


def _next(folder: Path) -> Path:
    numbers = [
        int(file.stem.removeprefix("calls-")) for file in folder.glob("calls-*.parquet") if file.stem[6:].isdigit()
    ]
    return folder / f"calls-{max(numbers, default=0) + 1:06d}.parquet"


def _report(progress: Callable[[int, int], None] | None, written: int, total: int) -> None:
    if progress is not None:
        progress(written, total)


def _summary(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    changed: list[tuple[str, int]],
    segments: int,
    kept: tuple[int, int],
    renewed: int,
) -> WriteSummary:
    found = connection.execute(
        "select count(distinct (task, task_id)), count(*), count(distinct case when depth > 0 then agent_run_id end),"
        " sum(input_tokens)::bigint, sum(output_tokens)::bigint, min(block_tokens), sum(octet_length(block_hashes) // 8)::bigint"
        " from fresh"
    ).fetchone()
    tasks, calls, runs, inputs, outputs, block, blocks = found or (0, 0, 0, 0, 0, 0, 0)
    notes = []
    if segments:
        notes.append(f"{many(segments, 'new segment')} in the folder")
    elif not changed and not renewed and not kept[1]:
        notes.append("nothing new: the folder has every call of a task that is over")
    if changed:
        notes.append(f"{many(len(changed), 'segment')} written anew, whose calls have changed in the store")
    if renewed:
        notes.append(f"tool calls and scopes beside {many(renewed, 'segment')} of before are those of the store now")
    if kept[1]:
        # Without scopes nothing but quiet says that a task is over: right after a recording that is all of them.
        notes.append(
            f"{many(kept[1], 'call')} of {many(kept[0], 'task')} not known to be over: left for the next run; "
            "--quiet-s 0 (seal(quiet_s=0)) writes them now"
        )
    return WriteSummary(
        format="parquet", path=str(folder), sessions=tasks, calls=calls, sub_agent_runs=runs,
        input_tokens=inputs if calls else 0, output_tokens=outputs if calls else 0, block_size=block or 0, blocks=blocks or 0, skipped_calls=0, skipped_call_ids=(),
        notes=tuple(notes),
    )  # fmt: skip
