"""Tells whether a store has changed since it was last looked at, without reading it."""

import os
import sqlite3
import time
from pathlib import Path

from tokenflation.analysis.streams import is_store
from tokenflation.sdk.errors import StoreError

__all__ = ["Mark"]

_URL_S = 10
"""Seconds after which a database server counts as changed: none of them tells in a way that all know."""


class Mark:
    """Something that is another thing once another process has written to the store; holds a connection to a file."""

    def __init__(self, store: str) -> None:
        self._path = Path(store)
        self._is_url = "://" in store
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def read(self) -> object:
        """Return SQLite's count of others' commits, or of files their sizes and times; a reason where there is none."""
        if self._is_url:
            return int(time.monotonic() // _URL_S)
        try:
            if self._path.is_dir():
                return [(file, os.stat(file).st_mtime_ns) for file in sorted(self._path.rglob("*.parquet"))]
            stat = self._path.stat()
            file = (stat.st_dev, stat.st_ino)
            if file != self._file:
                # Another file of the same name: the connection would go on to tell of the one that is gone.
                self.close()
                if is_store(self._path):
                    # As if to write where we may: the last that only reads leaves a WAL database's files behind.
                    ours = os.access(self._path, os.W_OK) and os.access(self._path.parent, os.W_OK)
                    uri = f"{self._path.resolve().as_uri()}?mode={'rw' if ours else 'ro'}"
                    self._connection, self._file = sqlite3.connect(uri, uri=True, check_same_thread=False), file
                    self._connection.execute("pragma query_only = on")
            if self._connection is None:
                return stat.st_mtime_ns, stat.st_size
            # Source: sqlite.org/pragma.html#pragma_data_version
            return file, self._connection.execute("pragma data_version").fetchone()
        except (OSError, sqlite3.Error, StoreError) as error:
            self.close()
            return str(error)

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._file = None
