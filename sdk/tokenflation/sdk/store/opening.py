"""Opens a store to read it, with the standard library's sqlite3 alone.

Changes nothing, except that an older store is migrated, and that what a killed process had under way becomes rows.

Knows nothing of what is read.
"""

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from tokenflation.sdk.errors import StoreError
from tokenflation.sdk.store.journals.recover import recover
from tokenflation.sdk.store.migrations import migrate, read_version
from tokenflation.sdk.store.paths import PATH_ALONE, database_scheme
from tokenflation.sdk.store.tables import SCHEMA_VERSION

__all__ = ["NoStoreError", "no_file", "reader"]

_RECORD = (
    "Record calls with `tokenflation run --store DB SCRIPT`, or import a trace with "
    "`tokenflation import FILE --store DB`."
)


class NoStoreError(StoreError):
    """There is no store yet: no file, or an empty one."""


def reader(path: str | os.PathLike[str]) -> Callable[[], sqlite3.Connection]:
    """Return what connects to a store; such a connection reads it and cannot write it.

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
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
            raise StoreError(f"{file} is not a tokenflation store: it is no SQLite file. {_RECORD}") from error
        raise StoreError(
            f"{file} cannot be read as a store: {error}. Check that it may be read, is complete and has some room on its "
            "disk, or restore a copy."
        ) from error
    if os.access(file, os.W_OK) and os.access(file.parent, os.W_OK):
        recover(file)
    return partial(_connect, uri)


def no_file(path: str | os.PathLike[str]) -> NoStoreError:
    """Return what to raise where there is nothing to open."""
    what = "the link leads to no file" if os.path.islink(path) else "there is no such file"
    return NoStoreError(f"{Path(path).absolute()}: {what}. {_RECORD}")


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
    """Refuse what is no store; without opening it, as whoever closes a file takes all locks of this process on it."""
    if scheme := database_scheme(path):
        if scheme.startswith("sqlite"):
            raise StoreError(f"{path.name}: {PATH_ALONE}")
        raise StoreError(
            f"{scheme}//... is the address of a database: this command reads a store's file. Those that analyse calls read "
            "databases too."
        )
    if not path.exists():
        raise no_file(path)
    if path.is_dir():
        raise StoreError(f"{path} is a folder, not a store. Give the path of a store's file.")
    if not path.is_file():
        raise StoreError(f"{path} is a pipe or a device, not a store. Give the path of a store's file.")
    if not os.access(path, os.R_OK):
        raise StoreError(f"{path} cannot be read: {os.strerror(errno.EACCES)}. Check the file's permissions.")
    if not path.stat().st_size:
        raise NoStoreError(f"{path} is an empty file and holds no calls. {_RECORD}")


def _check_version(path: Path, version: int | None, tables: int) -> None:
    if version is None and not tables:
        raise NoStoreError(f"{path} is an empty database and holds no calls. {_RECORD}")
    if version is None or version < 1:
        raise StoreError(f"{path} is an SQLite database but not a tokenflation store. {_RECORD}")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema version {version}; this tokenflation knows versions up to {SCHEMA_VERSION}. "
            "Upgrade it: pip install -U tokenflation."
        )
