"""Opens a store for reading and says what it holds. Changes nothing, except that an older store is migrated, and that
what a killed process had under way becomes rows.

Imports SQLAlchemy; knows nothing of frames (the analysis reads calls in bulk by its own way).
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tokenflation.sdk.errors import StoreError
from tokenflation.sdk.store.keys import key_id, read_key
from tokenflation.sdk.store.losses import read_losses
from tokenflation.sdk.store.migrations import migrate, read_version
from tokenflation.sdk.store.recover import recover
from tokenflation.sdk.store.schema import metadata, renamed_sql, table
from tokenflation.sdk.store.tables import SCHEMA_VERSION

__all__ = ["info", "open_store"]

# A trace without dates counts from its session's start, or gives an order only: such times lie in the first year of the epoch.
_FIRST_DATE_NS = 365 * 86400 * 10**9
_MAGIC = b"SQLite format 3\0"
_RECORD = (
    "Record calls with `tokenflation run --store DB SCRIPT`, or import a trace with "
    "`tokenflation import FILE --store DB`."
)


def open_store(path: str | os.PathLike[str]) -> sa.Engine:
    """Return an engine that reads a store and cannot write it; call `dispose()` on it when done.

    Raises:
        StoreError: there is no file, it is empty or no store, or it is newer than this library.
    """
    file = Path(path).absolute()
    _check_file(file)
    uri = file.as_uri() + _mode(file)
    try:
        with closing(_connect(uri)) as connection:
            version = read_version(connection)
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        _check_version(file, version, tables)
        if version is not None and version < SCHEMA_VERSION:
            with closing(sqlite3.connect(file, timeout=30, isolation_level=None)) as connection:
                migrate(connection)
    except sqlite3.Error as error:
        raise StoreError(
            f"{file} cannot be read as a store: {error}. Check that it may be read and is complete, or restore a copy."
        ) from error
    if os.access(file, os.W_OK) and os.access(file.parent, os.W_OK):
        recover(file)
    return sa.create_engine("sqlite://", creator=lambda: _connect(uri))


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=30)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _mode(path: Path) -> str:
    """Return how to open a store that is only read.

    Where we may write, opened as if to: a connection that may not leaves the files of a WAL database behind. Where the
    folder may not be written, SQLite cannot make these files; without writers there is nothing in them to be missed.
    """
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return "?mode=rw"
    log = path.with_name(f"{path.name}-wal")
    waiting = log.exists() and log.stat().st_size
    return "?mode=ro" if waiting or os.access(path.parent, os.W_OK) else "?mode=ro&immutable=1"


def _check_file(path: Path) -> None:
    if not path.exists():
        raise StoreError(f"{path}: there is no such file. {_RECORD}")
    if path.is_dir():
        raise StoreError(f"{path} is a folder, not a store. Give the path of a store's file.")
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}. Check the file's permissions.") from error
    if not head:
        raise StoreError(f"{path} is an empty file and holds no calls. {_RECORD}")
    if head != _MAGIC:
        raise StoreError(f"{path} is not a tokenflation store: it is no SQLite file. {_RECORD}")


def _check_version(path: Path, version: int | None, tables: int) -> None:
    if version is None and not tables:
        raise StoreError(f"{path} is an empty database and holds no calls. {_RECORD}")
    if version is None:
        raise StoreError(f"{path} is an SQLite database but not a tokenflation store. {_RECORD}")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema version {version}; this tokenflation knows versions up to {SCHEMA_VERSION}. "
            "Upgrade it: pip install -U tokenflation."
        )


def info(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a store holds, as plain values that JSON can carry.

    Keys: `path`, `file_bytes`, `schema_version`, `created_by`, `key_id`, `key_file` (ok, missing, other, unreadable),
    `rows` by table, `tasks` by task kind (as the user calls it), `agent_runs`, `sub_agent_runs`, `sub_agent_calls`, `input_tokens` and
    `output_tokens` (sums over the calls that report them), `first_started_at_ns`, `last_ended_at_ns` (of the calls with a
    date, if any has one), `undated_calls`, `relative_calls` (of those, timed from their session's start), `models` (one
    object per provider and model), `usage_source` and `status` by value in calls, `drops` by reason, `lost` (their
    sum). A store that could not even be made, but whose recorder noted losses, has `file_bytes` 0 and no rows.

    Raises:
        StoreError: as `open_store`.
    """
    file = Path(path).absolute()
    noted = dict(read_losses(file))
    if noted and (not file.exists() or not file.stat().st_size):
        return {"path": str(path), "file_bytes": 0, "rows": {}, **_losses(noted)}
    engine = open_store(file)
    noted = dict(read_losses(file))  # again: what a killed process left has become rows
    try:
        with engine.connect() as connection:
            found = {"path": str(path), "file_bytes": _file_bytes(file), **_meta(connection, file)}
            found |= {"rows": {name: _count(connection, table(name)) for name in metadata.tables}}
            found |= _structure(connection) | _usage(connection)
            drops = table("drops")
            query = sa.select(drops.c.reason, sa.func.sum(drops.c.count)).group_by(drops.c.reason)
            for reason, count in connection.execute(query):
                noted[reason] = noted.get(reason, 0) + int(count)
            return found | _losses(noted)
    except sa.exc.DatabaseError as error:
        raise StoreError(f"{file} cannot be read: {error.orig}. Restore it from a copy.") from error
    finally:
        engine.dispose()


def _losses(drops: dict[str, int]) -> dict[str, Any]:
    kept = {reason: count for reason, count in sorted(drops.items()) if count}
    return {"drops": kept, "lost": sum(kept.values())}


def _file_bytes(path: Path) -> int:
    """Return the bytes of the database and of what is written but not yet merged into it."""
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _meta(connection: sa.Connection, path: Path) -> dict[str, Any]:
    values = {row.name: row.value for row in connection.execute(sa.select(table("meta")))}
    return {
        "schema_version": int(values["schema_version"]),
        "created_by": values.get("created_by"),
        "key_id": values.get("key_id"),
        "key_file": _key_state(path, values.get("key_id")),
    }


def _key_state(path: Path, expected: str | None) -> str:
    try:
        key = read_key(path)
    except (OSError, StoreError):
        return "unreadable"
    if key is None:
        return "missing"
    return "ok" if key_id(key) == expected else "other"


def _count(connection: sa.Connection, source: sa.Table) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(source)).scalar_one())


def _structure(connection: sa.Connection) -> dict[str, Any]:
    calls = table("calls")
    kind: sa.Label[str] = sa.literal_column(renamed_sql("calls.task")).label("task")
    tasks = sa.select(kind, calls.c.task_id).select_from(calls).distinct().subquery()
    kinds = sa.select(tasks.c.task, sa.func.count()).group_by(tasks.c.task).order_by(tasks.c.task)
    runs = sa.select(calls.c.agent_run_id, sa.func.max(calls.c.depth).label("depth"), sa.func.count().label("calls"))
    grouped = runs.group_by(calls.c.agent_run_id).subquery()
    inner = grouped.c.depth > 0
    totals = connection.execute(
        sa.select(
            sa.func.count(),
            sa.func.count().filter(inner),
            sa.func.coalesce(sa.func.sum(grouped.c.calls).filter(inner), 0),
        ).select_from(grouped)
    ).one()
    names = ("agent_runs", "sub_agent_runs", "sub_agent_calls")
    return {
        "tasks": {kind: int(count) for kind, count in connection.execute(kinds)},
        **dict(zip(names, map(int, totals), strict=True)),
    }


def _usage(connection: sa.Connection) -> dict[str, Any]:
    calls = table("calls")
    sums = (sa.func.sum(calls.c.input_tokens), sa.func.sum(calls.c.output_tokens))
    # A call without a date counts from its session's start, or stands in an order only: neither meets a date.
    dated = calls.c.started_at_ns >= _FIRST_DATE_NS
    first, last = calls.c.started_at_ns, sa.func.coalesce(calls.c.ended_at_ns, calls.c.started_at_ns)
    times = (
        sa.func.coalesce(sa.func.min(first).filter(dated), sa.func.min(first)),
        sa.func.coalesce(sa.func.max(last).filter(dated), sa.func.max(last)),
        sa.func.count().filter(~dated),
        sa.func.count().filter(~dated & calls.c.ended_at_ns.is_not(None)),
    )
    names = (
        "input_tokens", "output_tokens", "first_started_at_ns", "last_ended_at_ns", "undated_calls", "relative_calls",
    )  # fmt: skip
    totals = connection.execute(sa.select(*sums, *times)).one()
    models = sa.select(calls.c.provider, calls.c.model, sa.func.count().label("calls"), *sums)
    by_model = models.group_by(calls.c.provider, calls.c.model).order_by(sa.desc("calls"), calls.c.model)
    fields = ("provider", "model", "calls", "input_tokens", "output_tokens")
    result: dict[str, Any] = dict(zip(names, totals, strict=True))
    result["models"] = [dict(zip(fields, row, strict=True)) for row in connection.execute(by_model)]
    for name in ("usage_source", "status"):
        query = sa.select(calls.c[name], sa.func.count()).group_by(calls.c[name]).order_by(calls.c[name])
        result[name] = {value: int(count) for value, count in connection.execute(query)}
    return result
