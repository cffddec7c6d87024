"""How SQLite keeps what is written until it is merged: in a log beside the store, or with a copy of what was there.

A log lets readers and a writer work at once, and needs memory that processes share by a file. Folders that a virtual
machine or a network shares may have none: SQLite finds that only when it is too late. Knows no tables.
"""

import errno
import mmap
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from tokenflation.sdk.clock import now_ns

__all__ = ["choose_mode", "needs_no_log", "take_from_log"]

_PAUSE_S = 0.01
_NOT_SHARED = frozenset((errno.ENODEV, errno.EINVAL, errno.EACCES, errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP))
_SHARED_FAILED = frozenset((sqlite3.SQLITE_IOERR_SHMMAP, sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMLOCK))


def choose_mode(connection: sqlite3.Connection, path: Path, timeout_s: float) -> None:
    """Have a log where its index can be shared, and a commit written without a wait for the disk where that is safe.

    Raises:
        sqlite3.OperationalError: other connections keep the store locked, or it cannot be written.
    """
    deadline = now_ns() + int(timeout_s * 1e9)
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
            if mode != "wal" and _shares(path.parent):
                # The switch does not wait for other connections as a transaction would, so wait here.
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or now_ns() > deadline:
                raise
            time.sleep(_PAUSE_S)
    connection.execute("PRAGMA synchronous = NORMAL")


def needs_no_log(error: sqlite3.Error) -> bool:
    """Return whether a database has a log whose index cannot be shared where it lies."""
    return getattr(error, "sqlite_errorcode", 0) in _SHARED_FAILED


def take_from_log(path: Path, check: Callable[[sqlite3.Connection], object], timeout_s: float) -> None:
    """Merge a database's log and let it have none from now on, if `check` raises nothing; nobody else may have it open.

    Raises:
        sqlite3.Error: somebody has, or it cannot be written.
    """
    with closing(sqlite3.connect(path, timeout=timeout_s, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # then the index is this connection's alone
        check(connection)
        connection.execute("PRAGMA journal_mode = DELETE").fetchone()


def _shares(folder: Path) -> bool:
    """Return whether processes can share memory by files in a folder; True where that cannot be tried now."""
    with suppress(OSError), tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(mmap.PAGESIZE)
        try:
            mmap.mmap(file.fileno(), mmap.PAGESIZE).close()
        except OSError as error:
            return error.errno not in _NOT_SHARED
    return True
