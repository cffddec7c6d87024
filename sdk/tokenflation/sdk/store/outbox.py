"""Rows on their way into a store: collected, written in one transaction, kept while the store cannot be written.

One thread fills and writes it; a fork may come from any other. Knows nothing of exchanges, threads or queues.
"""

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from tokenflation.sdk.clock import now_ns
from tokenflation.sdk.errors import TokenflationError
from tokenflation.sdk.records import Attempt, Call, SpanRecord, ToolRun
from tokenflation.sdk.saying import say
from tokenflation.sdk.store.descriptors import Held, Spare, held_on, never_close
from tokenflation.sdk.store.journals.recover import recover
from tokenflation.sdk.store.logs import take_log_away
from tokenflation.sdk.store.losses import WAITING, forget_losses, note_losses
from tokenflation.sdk.store.paths import real_path
from tokenflation.sdk.store.write import Batch, SqliteWriter

__all__ = ["Outbox"]

_MAX_KEPT_ROWS = 20_000
_LOCKED_S = 30.0
_PAUSE_S = 0.005
_FORK_WAIT_S = 5.0
"""A fork waits so long for a transaction that a slow disk holds up: a child of it could write nothing."""
_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_REMEDY = "Call instrument() after that, as a daemon does once it has begun."
_log = logging.getLogger("tokenflation")


class Outbox:
    """Rows that wait, the connection they go to, and the note of losses beside a store that fails."""

    def __init__(
        self,
        store: str,
        *,
        open_writer: Callable[[], SqliteWriter],
        drops: Counter[str],
        writer_id: str,
    ) -> None:
        self.store = store
        self.recorded = 0
        """Calls added to the store."""
        self.left = 0
        """Records that nobody here writes any more, and that are not lost: the journal keeps them, or another thread
        does.
        """
        self._open_writer = open_writer
        self._drops = drops
        self._writer_id = writer_id
        self._writer: SqliteWriter | None = None
        self._held = Held({})
        self.barred = ""
        """Why this process must touch no connection to the store any more, nor make one; empty if it may."""
        self._file: tuple[int, int, bool] | None = None
        """Which file the connection is open on; the path may lead to another by now."""
        self._log: tuple[str, tuple[int, int] | None] | None = None
        """Path of SQLite's log, and which file the connection writes there, if any."""
        self._writing = threading.Lock()
        """Held while a transaction is under way, and across a fork."""
        self._forking_thread: int | None = None
        self._has_forked = False
        self._recovered = False
        self._error: Exception | None = None
        """Why the store could not be written the last time that it could not."""
        self._spare = Spare()
        self._noted: dict[str, int] = {}
        self._noted_beside = False
        """Whether a note of losses lies beside the store; once the store itself holds them it would count
        them twice.
        """
        self._empty()

    def __len__(self) -> int:
        return len(self._calls) + len(self._spans) + len(self._gone)

    def add(self, call: Call | None, attempts: Sequence[Attempt], tool_runs: Sequence[ToolRun]) -> None:
        """Take the rows of one exchange; a later row of the same call replaces an earlier one."""
        if call is not None:
            self._calls[call.call_id] = call
        self._attempts += attempts
        for run in tool_runs:
            self._tool_runs[run.call_id, run.tool_call_id] = run

    def remove(self, call_id: str) -> None:
        """Take out the row of a call that was under way and is none after all."""
        self._calls.pop(call_id, None)
        self._gone.append(call_id)

    def add_span(self, span: SpanRecord) -> None:
        """Take the row of a scope."""
        self._spans.append(span)

    def due(self) -> bool:
        """Return whether there is anything that the store does not have: rows, or losses."""
        return bool(len(self)) or self._noted != self._drops

    def write(self, *, waiting: Callable[[], object] = lambda: None) -> bool:
        """Write what waits in one transaction; True if nothing waits any more (written, or lost and counted).

        While another process keeps the store locked it is tried again for 30 s, with `waiting` called between two
        tries. On failure the rows are kept for the next time, up to a bound, and what is lost or waits is noted beside
        the store.
        """
        deadline = now_ns() + int(_LOCKED_S * 1e9)
        while True:
            # Given back between two tries, so that a fork in another thread need not wait for a lock elsewhere.
            with self._writing:
                error = self._try()
            if error is None:
                return True
            if not _is_lock(error) or now_ns() > deadline:
                break
            waiting()
            time.sleep(_PAUSE_S)
        _log.debug("tokenflation: the store cannot be written", exc_info=error)
        with self._writing:
            self.drop_writer()
        try:
            return self._failed(error)
        finally:
            del error  # its frames, with the batch in them, refer to this one: all would stay until they are collected

    def note_unwritten(self, beside: int) -> None:
        """Note, beside the store, what nobody waits for any longer: the rows here and `beside` that never got here."""
        self.left = max(1, len(self) + beside)
        self._note_beside(self.left)

    def give_up(self, kept: int = 0) -> None:
        """Let go of what still waits: as lost, but for so many calls that the journal keeps for a later reader."""
        if len(self):
            self.left = min(kept, len(self._calls))
            self._lose(len(self) - self.left)
            self._note_beside(self.left)

    def close(self) -> None:
        """Let go of all files; nothing can be written after that."""
        if self._writer is None and self._has_forked and not self.barred:
            # Forks that end without exit handlers leave their rows in SQLite's log: who closes last merges it.
            with contextlib.suppress(OSError, TokenflationError, sqlite3.Error):
                if all(os.path.exists(f"{real_path(self.store)}{end}") for end in ("", "-wal")):
                    self._opened()
        self.drop_writer()
        self._spare.give_back()

    def drop_writer(self) -> None:
        """Close the connection; the next write opens one."""
        writer, self._writer = self._writer, None
        if writer is not None and self._held.taken():
            self.barred = "the program closed the store's files"
            never_close(writer)
            say(_log, "%s can be written no more: the program closed its files. %s", self.store, _REMEDY)
        elif writer is not None:
            for step in (self._leave_file, SqliteWriter.close):
                try:
                    step(writer)
                except Exception:
                    _log.debug("tokenflation: the store cannot be closed", exc_info=True)

    def hold_for_fork(self) -> None:
        """Close the connection before a fork: SQLite keeps its locks in memory, and a child would inherit them."""
        self._has_forked = True
        if self._writing.acquire(timeout=_FORK_WAIT_S):
            self._forking_thread = threading.get_ident()  # another may fork meanwhile, and wait for this one in vain
            self.drop_writer()

    def release_after_fork(self) -> None:
        """In the parent, go on."""
        if self._forking_thread == threading.get_ident():
            self._forking_thread = None
            self._writing.release()

    def leave_to_parent(self) -> None:
        """In the child, let go of everything without touching it; the child makes an outbox of its own."""
        if self._writing.locked() and self._forking_thread is None:  # a transaction took longer than a fork may wait
            self.barred = "the process was forked while rows were written"  # for SQLite here that never ends
        if self._writer is not None:
            never_close(self._writer)  # SQLite would take back what the parent is writing
            self._writer = None
        self._spare.give_back()

    def _empty(self) -> None:
        self._calls: dict[str, Call] = {}
        self._attempts: list[Attempt] = []
        self._tool_runs: dict[tuple[str, str], ToolRun] = {}
        self._spans: list[SpanRecord] = []
        self._gone: list[str] = []

    def _try(self) -> Exception | None:
        try:
            batch = self._batch()
            self._follow_file()
            writer = self._writer if self._writer is not None else self._opened()
            added = writer.write(batch)
            if self._log_is_gone():
                return OSError("SQLite's log was removed while rows were written")
            self.recorded += added
        except Exception as error:
            return error
        self._empty()
        self.left = 0
        if self._noted_beside:
            forget_losses(self.store, self._writer_id)
            self._noted_beside = False
        self._noted = dict(batch.drops)  # other threads may have counted more meanwhile
        if not self._recovered:  # only now: while another process keeps the store locked, nothing of it could be done
            self._recovered = True
            recover(self.store, writer)
        return None

    def _follow_file(self) -> None:
        """Let go of the file if it is not the store's any more: rows go into the one that is there now."""
        if self._writer is None:
            return
        closed = self._held.closed()
        if not closed and self._file is not None and _file_at(self.store) == (*self._file[:2], True) != self._file:
            # Emptied where it stands: no connection that had it open before can be right about it.
            os.unlink(real_path(self.store))
        if closed or _file_at(self.store) != self._file or self._log_is_gone():
            self.drop_writer()

    def _leave_file(self, writer: SqliteWriter) -> None:
        """Bring all that was written into a file that is not the store's any more: SQLite seeks its log elsewhere."""
        moved = _file_at(self.store) != self._file
        if self._held.closed() or not (moved or self._log_is_gone()):
            return
        writer.merge()
        if moved:
            take_log_away(self.store, lambda: not self._log_is_gone())

    def _opened(self) -> SqliteWriter:
        if self.barred:  # SQLite shares what it knows of a file among the connections of a process
            raise OSError(self.barred)
        files = [f"{real_path(self.store)}{end}" for end in ("", "-wal", "-shm")]
        before = held_on(files)
        writer = self._writer = self._open_writer()
        self._held = held_on(files) - before
        self._file = _file_at(self.store)
        self._log = files[1], _id_at(files[1])
        return writer

    def _log_is_gone(self) -> bool:
        """Return whether the log that the connection writes is not the store's any more: nobody reads those rows.

        Who closes the store last removes its log, and knows by locks who has it open. This process loses its own where
        any part of it opens and closes the file by itself: a copy is made, another SQLite reads it.
        """
        return self._log is not None and _id_at(self._log[0]) != self._log[1]

    def _batch(self) -> Batch:
        return Batch(
            calls=tuple(self._calls.values()),
            attempts=tuple(self._attempts),
            tool_runs=tuple(self._tool_runs.values()),
            spans=tuple(self._spans),
            gone=tuple(self._gone),
            drops=dict(self._drops),
            writer_id=self._writer_id,
        )

    def _failed(self, error: Exception) -> bool:
        self._error = error
        lost = len(self) > _MAX_KEPT_ROWS
        if lost:
            self._lose(len(self))
        self._note_beside(len(self))
        return lost

    def _lose(self, count: int) -> None:
        """Let go of all rows; so many of them are lost by that."""
        if count:
            self._drops[f"store_error:{type(self._error or OSError()).__name__}"] += count
        self._empty()

    def _note_beside(self, unwritten: int) -> None:
        note = Counter(self._drops)
        if unwritten:
            note[WAITING] = unwritten
        if note_losses(self.store, self._writer_id, note) is None:
            with self._spare.lent():
                note_losses(self.store, self._writer_id, note)
        self._noted_beside = True
        self._noted = dict(note)


def _file_at(path: str) -> tuple[int, int, bool] | None:
    """Return what tells the file at a path from another put there, and whether it is empty; None without one."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, not found.st_size


def _id_at(path: str) -> tuple[int, int] | None:
    """Return what tells the file at a path from another put there; None without one."""
    found = _file_at(path)
    return found[:2] if found is not None else None


def _is_lock(error: Exception) -> bool:
    cause = error if isinstance(error, sqlite3.Error) else error.__cause__
    return isinstance(cause, sqlite3.Error) and (getattr(cause, "sqlite_errorcode", 0) & 0xFF) in _LOCKED
