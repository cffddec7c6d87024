"""Reads the sessions out of opencode's database, one message at a time. Knows not what they mean.

The database is only read. Its log (`-wal`), where a running opencode has what is new, is read with it. What lies in an
archive, or packed, is unpacked to a folder of its own first: SQLite reads files.
"""

import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tokenflation.sdk.importers.agents.opencode_session import Message, Session, Tree
from tokenflation.sdk.importers.files.beginnings import decoded
from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.importers.files.formats import Skipped
from tokenflation.sdk.importers.files.reading import UNREADABLE, unreadable

__all__ = ["IS_LOG", "is_database", "trees_of_database"]

_MAGIC = b"SQLite format 3\0"
_NAMED = re.compile(r"^(?:opencode|kilo)[\w.-]*\.db(?:-wal|-shm)?$")
_TABLE = re.compile(rb"CREATE TABLE .session. \(\s*.id. text PRIMARY KEY,\s*.project_id. ")
IS_LOG = re.compile(r"-(?:wal|shm)$")
"""What the names of the files beside a database end with."""
_COLUMNS = {
    "session": {"id", "parent_id", "version", "time_created"},
    "message": {"id", "session_id", "time_created", "data"},
    "part": {"id", "message_id", "data"},
}


def is_database(name: str, start: bytes) -> bool:
    """Return whether a file is opencode's database, or a file that SQLite keeps beside it."""
    if IS_LOG.search(name):
        return _NAMED.match(name) is not None
    return start.startswith(_MAGIC) and (_NAMED.match(name) is not None or _TABLE.search(start) is not None)


def trees_of_database(entries: Sequence[Entry]) -> Iterator[Tree | Skipped]:
    """Yield each session with those inside it, the oldest first."""
    entry = next((one for one in entries if not IS_LOG.search(one.name)), None)
    if entry is None:
        yield Skipped(entries[0].shown, "a database's log without its database", what="file")
        return
    try:
        with _files(entry, entries) as path, closing(_connect(path)) as connection:
            missing = [name for name, columns in _COLUMNS.items() if not columns <= _columns(connection, name)]
            if missing:
                yield Skipped(entry.shown, "no opencode database", f"no table {missing[0]} as opencode has it", "file")
                return
            sessions = {one["id"]: one for one in _sessions(connection)}
            inside: dict[str, list[str]] = {}
            for session_id, session in sessions.items():
                inside.setdefault(session["parentID"] if session["parentID"] in sessions else "", []).append(session_id)
            for session_id in inside.get("", ()):
                yield _tree(connection, entry, session_id, sessions, inside)
    except sqlite3.Error as error:
        yield Skipped(entry.shown, "damaged", f"SQLite cannot read it: {error}", "file")
    except UNREADABLE as error:
        yield unreadable(entry.shown, error)


@contextmanager
def _files(entry: Entry, entries: Sequence[Entry]) -> Iterator[Path]:
    """Yield where SQLite finds the database with its log beside it.

    That is where it lies if SQLite need make no file there: it makes `-shm` where a log waits and there is none.
    """
    plain = entry.path.name == Path(entry.shown).name == entry.name
    log = next((one for one in entries if one.name.endswith("-wal")), None)
    if plain and (_beside(entry.path, "shm").exists() or not _waits(entry.path)):
        yield entry.path
        return
    with tempfile.TemporaryDirectory(prefix="tokenflation-import-") as folder:
        path = Path(folder, "copy.db")
        with entry.open() as source:
            _write(source, path)
        if log is not None:
            with log.open() as source:
                _write(source, _beside(path, "wal"))
        elif plain and _waits(entry.path):
            with _beside(entry.path, "wal").open("rb") as source:
                _write(source, _beside(path, "wal"))
        yield path


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.name}-{what}")


def _waits(path: Path) -> bool:
    """Return whether a database has a log with something in it."""
    log = _beside(path, "wal")
    return log.exists() and log.stat().st_size > 0


def _write(source: BinaryIO, path: Path) -> None:
    with path.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def _connect(path: Path) -> sqlite3.Connection:
    """Open it without writing: where no log waits, without the files that SQLite would leave beside it."""
    uri = path.absolute().as_uri() + ("?mode=ro" if _waits(path) else "?mode=ro&immutable=1")
    connection = sqlite3.connect(uri, uri=True, timeout=30)
    connection.text_factory = bytes
    return connection


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {_text(row[1]) or "" for row in connection.execute(f"PRAGMA table_info({table})")}


def _text(value: Any) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else None


def _sessions(connection: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    query = "SELECT id, parent_id, version, time_created FROM session ORDER BY time_created, id"
    for session_id, parent_id, version, created in connection.execute(query):
        yield {
            "id": _text(session_id) or "",
            "parentID": _text(parent_id),
            "version": _text(version),
            "time": {"created": created},
        }


def _tree(
    connection: sqlite3.Connection, entry: Entry, session_id: str, sessions: Mapping[str, dict[str, Any]],
    inside: Mapping[str, list[str]],
) -> Tree:  # fmt: skip
    yield Session(sessions[session_id], _messages(connection, entry, session_id))
    for inner in inside.get(session_id, ()):
        yield from _tree(connection, entry, inner, sessions, inside)


def _messages(connection: sqlite3.Connection, entry: Entry, session_id: str) -> Iterator[Message | Skipped]:
    query = "SELECT id, data FROM message WHERE session_id = ? ORDER BY time_created, id"
    try:
        for id_, data in connection.execute(query, (session_id,)):
            message_id = _text(id_) or ""
            found = _object(entry, f"message {message_id}", data)
            if isinstance(found, Skipped):
                yield found
            else:
                yield Message({**found, "id": message_id}, _parts(connection, entry, message_id))
    except sqlite3.Error as error:
        yield _damaged(entry, f"session {session_id}", error)


def _parts(connection: sqlite3.Connection, entry: Entry, message_id: str) -> Iterator[Mapping[str, Any] | Skipped]:
    try:
        for id_, data in connection.execute(
            "SELECT id, data FROM part WHERE message_id = ? ORDER BY id", (message_id,)
        ):
            yield _object(entry, f"part {_text(id_)}", data)
    except sqlite3.Error as error:
        yield _damaged(entry, f"message {message_id}", error)


def _object(entry: Entry, what: str, data: Any) -> dict[str, Any] | Skipped:
    found = decoded(data) if isinstance(data, bytes) else None
    if isinstance(found, dict):
        return found
    return Skipped(entry.shown, "not JSON" if isinstance(found, Exception) else "no JSON object", what)


def _damaged(entry: Entry, what: str, error: sqlite3.Error) -> Skipped:
    return Skipped(entry.shown, "damaged", f"{what}: SQLite cannot read all of it: {error}")
