"""Writes a store: the hot path inside a host, with the standard library's sqlite3 alone.

One transaction per batch, begun IMMEDIATE: a deferred one that reads first fails at once when another process writes.
Knows nothing of threads, queues and retries; they are the recorder's.
"""

import errno
import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import chain, compress, groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from tokenflation.sdk.errors import StoreError
from tokenflation.sdk.records import Attempt, Call, SpanRecord, ToolRun
from tokenflation.sdk.store.descriptors import held_on
from tokenflation.sdk.store.keys import key_id, load_key
from tokenflation.sdk.store.logs import is_left_alone, take_log_away
from tokenflation.sdk.store.losses import forget_former, is_there
from tokenflation.sdk.store.mapped import has_room, index_in_place
from tokenflation.sdk.store.migrations import migrate, read_version
from tokenflation.sdk.store.modes import choose_mode, needs_no_log, take_from_log
from tokenflation.sdk.store.paths import no_folder, real_path
from tokenflation.sdk.store.statements import create_statements, insert_statement, of_rows, rows_at_once
from tokenflation.sdk.store.tables import SCHEMA_VERSION, TABLES, column_names

__all__ = ["Batch", "SqliteWriter", "StoreUnwritableError", "open_writer"]

_TABLES = {table.name: table for table in TABLES}
_GETTERS: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    name: attrgetter(*column_names(_TABLES[name])) for name in ("calls", "attempts", "tool_calls", "spans")
}
_NESTED = {"calls": tuple(map(column_names(_TABLES["calls"]).index, ("finish_reasons", "answers", "extra")))}
"""By table, the places of the columns that are written as JSON."""
_REFUSED = (UnicodeEncodeError, OverflowError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
_LEAST_BYTES = 512
"""SQLite's smallest page: it takes a file of one byte for an empty database, and would write over it."""
_LOG_REMOVED = (
    "this program has another connection to it, whose log was removed by another program; until that is closed, what is "
    "written would damage the store"
)
_MAX_INT = 2**63 - 1
_AS_JSON = msgspec.json.Encoder(order="deterministic")


class StoreUnwritableError(StoreError, OSError):
    """The store is ours, or could be, but cannot be written now: read-only, no room, or locked for too long."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows for one transaction."""

    calls: Sequence[Call] = ()
    attempts: Sequence[Attempt] = ()
    tool_runs: Sequence[ToolRun] = ()
    spans: Sequence[SpanRecord] = ()
    gone: Sequence[str] = ()
    """Ids of calls to be taken out again: what was under way turned out to be a further attempt, or no model call."""
    drops: Mapping[str, int] = field(default_factory=dict)
    """Records lost so far by reason: totals since the writer began, not since the last batch."""
    writer_id: str | None = None
    """Whose totals `drops` are, where they outlive one `SqliteWriter`; otherwise the writer's own id."""


class SqliteWriter:
    """Owns one connection to a store; may be used from any one thread at a time, but not across a fork."""

    def __init__(self, connection: sqlite3.Connection, path: Path, writer_id: str) -> None:
        self.path = path
        self.writer_id = writer_id
        self._connection = connection
        self._open_transaction = False

    def write(self, batch: Batch, replace: bool = True) -> int:
        """Write a batch whole or not at all, and return by how many calls the store grew.

        A row that is there already is replaced, or left as it is with `replace=False`.

        Raises:
            sqlite3.Error: the database refused (read-only, full, locked longer than the timeout); the batch can be
                given again.
        """
        if self._open_transaction:
            return self._insert(batch, replace)
        with self._transaction():
            return self._insert(batch, replace)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all batches written inside one transaction: an exception undoes them all, and goes on."""
        with self._transaction():
            self._open_transaction = True
            try:
                yield
            finally:
                self._open_transaction = False

    def has_task(self, task: str, task_id: str) -> bool:
        """Return whether the store holds a call of this task."""
        query = "SELECT 1 FROM calls WHERE task_id = ? AND task = ? LIMIT 1"
        return self._connection.execute(query, (task_id, task)).fetchone() is not None

    def tasks_of(self, call_ids: Sequence[str]) -> dict[str, str]:
        """Return the id of the task of each of these calls that the store holds."""
        return dict(self._found("SELECT call_id, task_id FROM calls WHERE call_id", call_ids))

    def shown(self, call_ids: Sequence[str]) -> dict[str, tuple[str | None, float | None]]:
        """Return model and `ttfc_s` (s) of each of these calls that the store holds."""
        found = self._found("SELECT call_id, model, ttfc_s FROM calls WHERE call_id", call_ids)
        return {call_id: (model, ttfc_s) for call_id, model, ttfc_s in found}

    def attempts_started_at(self, times_ns: Sequence[int]) -> set[int]:
        """Return those of these times (unix ns) at which an attempt that the store holds was started."""
        return {at for (at,) in self._found("SELECT started_at_ns FROM attempts WHERE started_at_ns", times_ns)}

    def merge(self) -> None:
        """Bring what stands in the log alone into the database's file, as far as other connections allow."""
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        self._connection.close()

    def _found(self, query: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query that ends with the column that is to have one of these values."""
        for at in range(0, len(values), 500):  # SQLite binds a bounded number
            some = tuple(values[at : at + 500])
            yield from self._connection.execute(f"{query} IN ({','.join('?' * len(some))})", some)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        finally:
            # SQLite itself rolls back on some errors (a full disk), on others not.
            if self._connection.in_transaction:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")

    def _insert(self, batch: Batch, replace: bool) -> int:
        taken_out = 0
        if batch.gone:
            gone = [(call_id,) for call_id in batch.gone]
            taken_out = self._connection.executemany("DELETE FROM calls WHERE call_id = ?", gone).rowcount
        before = self._last_row()
        for name, records in (
            ("calls", batch.calls),
            ("attempts", batch.attempts),
            ("tool_calls", batch.tool_runs),
            ("spans", batch.spans),
        ):
            if records:
                self._insert_rows(name, replace, _rows(name, records))
        if batch.drops:
            writer_id = batch.writer_id or self.writer_id
            self._insert_rows("drops", True, [(writer_id, reason, count) for reason, count in batch.drops.items()])
        return self._last_row() - before - taken_out

    def _last_row(self) -> int:
        # A new row takes the number after the highest, a replaced one keeps its own: the difference counts new calls.
        found = self._connection.execute("SELECT max(rowid) FROM calls").fetchone()[0]
        return int(found or 0)

    def _insert_rows(self, name: str, replace: bool, rows: Sequence[Sequence[Any]]) -> None:
        try:
            self._execute_rows(name, replace, rows)
        except _REFUSED:
            # One value that no database can hold must not cost the rows beside it.
            self._execute_rows(name, replace, [list(map(_storable, map(_cell, row))) for row in rows])

    def _execute_rows(self, name: str, replace: bool, rows: Sequence[Sequence[Any]]) -> None:
        # As few statements as may be: at each one sqlite3 lets go of the interpreter's lock, and the host's thread and
        # ours would take turns row by row. None is left out: sqlite3 spends more on binding one than on any value.
        for types, group in groupby(rows, _types):
            alike, given = list(group), _given(types)
            done = 0
            while done < len(alike):
                count = rows_at_once(len(alike) - done, sum(given))
                cells = list(chain.from_iterable([compress(row, given) for row in alike[done : done + count]]))
                self._connection.execute(_insert(name, replace, given, count), cells)
                done += count


def open_writer(
    path: str | os.PathLike[str],
    *,
    writer_id: str | None = None,
    created_by: str = "tokenflation",
    key: bytes | None = None,
    timeout_s: float = 30.0,
) -> SqliteWriter:
    """Open a store for writing; makes it when there is no file or an empty one, and migrates an older one.

    Any number of processes may do so at once. `key` is the store's hash key where the caller has loaded it already;
    `timeout_s` is how long to wait for another process's transaction.

    Raises:
        StoreError: the folder is missing, the file is no store, or is newer than this library.
        StoreUnwritableError: the store cannot be written now, or is damaged; an OSError too, so a recorder can go on
            and try again.
    """
    file = Path(path).absolute()
    try:
        _check_file(file)
        try:
            connection = _prepared(file, created_by, key, timeout_s)
        except sqlite3.OperationalError as error:
            if not needs_no_log(error):
                raise
            take_from_log(file, partial(_check_ours, path=file), timeout_s)
            connection = _prepared(file, created_by, key, timeout_s)
    except StoreUnwritableError:
        raise
    except (OSError, sqlite3.OperationalError) as error:
        raise _unwritable(file, error) from error
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
            raise _no_sqlite(file) from error
        # So says SQLite also of a disk that cannot be read.
        raise StoreUnwritableError(
            f"The store {file} cannot be written: {error}. Restore it from a copy, or give another file."
        ) from error
    return SqliteWriter(connection, file, writer_id or secrets.token_hex(8))


def _prepared(path: Path, created_by: str, key: bytes | None, timeout_s: float) -> sqlite3.Connection:
    """Return a connection to a store whose tables are there, as this library knows them."""
    if not has_room(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    was_there = is_there(path)  # perhaps without tables, as a full disk leaves it: then no former store is gone
    connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
    try:
        with index_in_place(path):
            _check_ours(connection, path)
            choose_mode(connection, path, timeout_s)
        _check_shared(path)
        version = _check_ours(connection, path)
        if version is None:
            version = _create(connection, path, created_by, key, was_there)
        if version < SCHEMA_VERSION:
            migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_file(path: Path) -> None:
    """Refuse what is no store; without opening it, as whoever closes a file takes all locks of this process on it."""
    if "\0" in str(path):
        raise StoreError(f"{str(path)!r} has a null character, which no path can have. Give another path.")
    if not path.parent.is_dir():
        raise StoreError(f"{path}: {no_folder(path)}")
    if path.is_dir():
        raise StoreError(f"{path} is a folder, not a store. Give the path of a file, for example {path / 'runs.db'}.")
    if not path.exists():
        if is_left_alone(path):
            take_log_away(path, lambda: is_left_alone(path))
        return
    if not path.is_file():  # to open a pipe would wait for whoever writes to it
        raise StoreError(f"{path} is a device, a pipe or a socket, not a store. Give the path of a file.")
    if not os.access(path, os.W_OK):
        raise _unwritable(path, PermissionError("the file is read-only"))
    if 0 < path.stat().st_size < _LEAST_BYTES:
        raise _no_sqlite(path)


def _no_sqlite(path: Path) -> StoreError:
    return StoreError(f"{path} is not a tokenflation store: it is no SQLite file. Give another path; it is unchanged.")


def _unwritable(path: Path, error: Exception) -> StoreUnwritableError:
    return StoreUnwritableError(
        f"The store {path} cannot be written: {error}. Check that the file and its folder may be written, that the disk "
        "has room, and that no other program keeps it locked."
    )


def _check_shared(path: Path) -> None:
    """Refuse to write beside an older connection of this process that lost its locks, and then its log, to others.

    SQLite would keep to the index of that log, and what it writes into the new one would damage the store.
    """
    log, index = (f"{real_path(path)}{end}" for end in ("-wal", "-shm"))
    if held_on([log]) and not held_on([index]):
        raise _unwritable(path, OSError(_LOG_REMOVED))


def _check_ours(connection: sqlite3.Connection, path: Path) -> int | None:
    """Return the schema version, or None of a database without tables; changes nothing."""
    version = read_version(connection)
    if version is None and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        version = read_version(connection)  # another process may have made all tables between the two looks
        if version is None:
            raise StoreError(
                f"{path} is an SQLite database but not a tokenflation store. Give another path; it is unchanged."
            )
    if version is not None and version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema version {version}; this tokenflation knows versions up to {SCHEMA_VERSION}. "
            "Upgrade it (pip install -U tokenflation), or give another store."
        )
    return version


def _create(connection: sqlite3.Connection, path: Path, created_by: str, key: bytes | None, was_there: bool) -> int:
    """Make all tables in one transaction, unless another process has done so meanwhile; return the version."""
    meta = {
        "schema_version": str(SCHEMA_VERSION),
        "key_id": key_id(key if key is not None else load_key(path)),
        "created_by": created_by,
    }
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _check_ours(connection, path)
        if version is not None:
            return version
        for statement in create_statements():
            connection.execute(statement)
        connection.executemany(insert_statement(_TABLES["meta"], replace=True), meta.items())
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    if not was_there:
        forget_former(path)
    return SCHEMA_VERSION


def _rows(name: str, records: Sequence[Any]) -> list[Any]:
    """Return records as rows of a table."""
    rows: list[Any] = list(map(_GETTERS[name], records))
    places = _NESTED.get(name, ())
    for number, row in enumerate(rows if places else ()):
        cells = rows[number] = list(row)
        for place in places:
            cells[place] = _cell(cells[place])
    return rows


def _types(row: Sequence[Any]) -> tuple[type, ...]:
    return tuple(map(type, row))


@lru_cache(maxsize=256)
def _given(types: tuple[type, ...]) -> tuple[bool, ...]:
    """Return which columns of rows with cells of these types have a value."""
    return tuple([cell is not type(None) for cell in types])


@lru_cache(maxsize=256)
def _insert(name: str, replace: bool, given: tuple[bool, ...], count: int) -> str:
    return of_rows(insert_statement(_TABLES[name], replace=replace, given=given), count)


def _cell(value: Any) -> Any:
    kind = type(value)
    if kind is dict or kind is tuple or isinstance(value, Mapping | list | tuple):
        try:
            return _AS_JSON.encode(value).decode()
        except (ValueError, TypeError, OverflowError, RecursionError):
            pass  # lone surrogates, long integers, objects: the standard library is more lenient
        try:
            return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str, allow_nan=False)
        except (ValueError, TypeError, RecursionError):
            return "{}" if isinstance(value, Mapping) else "[]"
    return value


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, int):
        return None if abs(value) > _MAX_INT else value
    return value if isinstance(value, float | bytes | None) else str(value)
