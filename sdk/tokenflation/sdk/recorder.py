"""The recorder: one worker thread per process that turns finished exchanges and scopes into rows and spans.

The host's threads only put things into a bounded queue. Nothing here raises into the host or makes it wait; what is
lost is counted by reason. Knows nothing of HTTP libraries.
"""

import atexit
import logging
import os
import queue
import secrets
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

from tokenflation.sdk import scopes
from tokenflation.sdk.assemble import Assembler, SentFrom
from tokenflation.sdk.clock import now_ns
from tokenflation.sdk.exchange import Exchange, Tap
from tokenflation.sdk.records import Attempt, Call, SpanRecord, ToolRun
from tokenflation.sdk.scopes import Scope
from tokenflation.sdk.store.losses import forget_losses, note_losses
from tokenflation.sdk.store.write import Batch, SqliteWriter

__all__ = ["Recorder"]

_MAX_QUEUED_BYTES = 512 * 1024 * 1024
_MAX_BATCH = 256
_MAX_KEPT_ROWS = 20_000
_RETRY_S = 1.0
_FORK_WAIT_S = 1.0
_log = logging.getLogger("tokenflation")

Foreign = Callable[[], tuple[str, str] | None]


class _Flush:
    """A mark in the queue: everything before it has been written, or counted as lost, when `done` is set."""

    def __init__(self) -> None:
        self.done = threading.Event()


class _Waiting:
    """Rows waiting for one transaction."""

    def __init__(self) -> None:
        self.calls: dict[str, Call] = {}
        self.attempts: list[Attempt] = []
        self.tool_runs: dict[tuple[str, str], ToolRun] = {}
        self.spans: list[SpanRecord] = []

    def __len__(self) -> int:
        return len(self.calls) + len(self.spans)

    def batch(self, drops: Counter[str], writer_id: str) -> Batch:
        return Batch(
            calls=tuple(self.calls.values()),
            attempts=tuple(self.attempts),
            tool_runs=tuple(self.tool_runs.values()),
            spans=tuple(self.spans),
            drops=dict(drops),
            writer_id=writer_id,
        )


class Recorder:
    """Owns the queue, the worker thread and the store's writer of this process."""

    def __init__(
        self,
        store: str,
        *,
        open_writer: Callable[[], SqliteWriter],
        key: bytes,
        default_task: str = "task",
        foreign: Foreign | None = None,
        queue_size: int,
    ) -> None:
        self.store = store
        self.emitter: Any = None
        """A `spans.SpanEmitter`, or None where no spans are wanted; may be set at any time."""
        self._open_writer = open_writer
        self._key = key
        self._default_task = default_task
        self._foreign = foreign
        self._queue_size = queue_size
        self._closed = False
        self._reset()
        self.tap = Tap(submit=self._submit_exchange, context=self._context, failed=self.count_loss)
        if hasattr(os, "register_at_fork"):
            reference = weakref.ref(self)
            os.register_at_fork(
                before=lambda: _before_fork(reference),
                after_in_parent=lambda: _after_fork(reference),
                after_in_child=lambda: _reset_child(reference),
            )
        atexit.register(self.close)

    @property
    def drops(self) -> dict[str, int]:
        """Records lost so far in this process, by reason."""
        return dict(self._drops)

    def count_loss(self, reason: str, count: int = 1) -> None:
        """Count records that could not be kept; the first of a reason is logged."""
        if not self._drops[reason]:
            _log.warning("tokenflation lost a record (%s); `tokenflation info %s` shows the count", reason, self.store)
        self._drops[reason] += count

    def scope_changed(self, scope: Scope, opened: bool) -> None:
        """Note a scope that closed."""
        if opened:
            return
        try:
            self._put(scope.record(), 0)
        except Exception:  # the host must not notice us
            self._drops["hook_error"] += 1

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until all that was handed over is written or noted as lost; False if that took too long."""
        if self._closed:
            return True
        mark = _Flush()
        self._put(mark, 0, force=True)
        return mark.done.wait(timeout_s)

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what is left and stop the worker; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        if self._worker is None and self._queue.empty() and not self._drops:
            return
        worker = self._start()
        self._queue.put(None)
        if worker is None:
            self._run()
            return
        worker.join(timeout_s)
        if worker.is_alive():
            self._guarded(self._note_unwritten)

    def _reset(self) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._worker: threading.Thread | None = None
        self._starting = threading.RLock()  # a stream collected as garbage may come here while this thread is inside
        self._drops: Counter[str] = Counter()
        self.recorded = 0
        """Calls that this process added to the store."""
        self._writer: SqliteWriter | None = None
        self._writer_id = secrets.token_hex(8)
        self._writing = threading.Lock()
        """Held while a transaction is under way, and across a fork."""
        self._holds_for_fork = False
        self._noted: dict[str, int] = {}
        self._noted_beside = False
        """Whether a note of losses lies beside the store; once the store itself holds them it would count them twice."""
        self._queued_bytes = 0
        self._process_id = os.getpid()
        self._assembler = Assembler(key=self._key, default_task=self._default_task)
        self._waiting = _Waiting()

    def _context(self) -> SentFrom:
        return SentFrom(scopes.current(), self._foreign() if self._foreign else None)

    # The host's side.

    def _submit_exchange(self, exchange: Exchange) -> None:
        if exchange.process_id != self._process_id:
            return  # it left before a fork: the parent writes it
        try:
            self._put(exchange, exchange.kept_bytes + len(exchange.request_body or b""))
        except Exception:  # the host must not notice us
            self._drops["hook_error"] += 1

    def _put(self, item: Any, size: int, *, force: bool = False) -> None:
        if self._closed:
            return
        full = self._queue.qsize() >= self._queue_size or self._queued_bytes + size > _MAX_QUEUED_BYTES
        if full and not force:
            self.count_loss("queue_full")
            return
        self._queued_bytes += size
        self._queue.put(item)
        if self._worker is None:
            self._start()

    def _start(self) -> threading.Thread | None:
        """Return the worker, or None where no thread can be had: the next record tries again, close() does without."""
        with self._starting:
            if self._worker is None:
                self._worker = threading.Thread(target=self._run, name="tokenflation", daemon=True)
                try:
                    self._worker.start()
                except RuntimeError:  # the process has too many, or the interpreter is ending
                    self._worker = None
            return self._worker

    # The worker's side.

    def _run(self) -> None:
        while True:
            try:
                item = self._queue.get(timeout=_RETRY_S if len(self._waiting) else 30.0)
            except queue.Empty:
                self._idle()
                continue
            items = [item]
            while len(items) < _MAX_BATCH:
                try:
                    items.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            last = None in items
            marks = [one for one in items if isinstance(one, _Flush)]
            self._guarded(self._take, items)
            if last:
                self._guarded(self._finish)
            self._guarded(self._write)
            for mark in marks:
                mark.done.set()
            if last:
                self._guarded(self._stop)
                return

    def _guarded(self, function: Callable[..., None], *args: Any) -> None:
        try:
            function(*args)
        except Exception:
            self.count_loss("recorder_error")
            _log.debug("tokenflation: %s failed", function.__name__, exc_info=True)

    def _idle(self) -> None:
        self._guarded(self._export, self._assembler.expire(now_ns()))
        if len(self._waiting) or self._noted != self._drops:
            self._guarded(self._write)

    def _take(self, items: list[Any]) -> None:
        for item in items:
            if isinstance(item, Exchange):
                self._queued_bytes -= item.kept_bytes + len(item.request_body or b"")
                self._take_exchange(item)
            elif isinstance(item, SpanRecord):
                self._waiting.spans.append(item)
                if self.emitter is not None:
                    self._guarded(self.emitter.scope, item)
        if self._queue.empty():
            self._queued_bytes = 0  # threads add to it without a lock; here it is known
        self._export(self._assembler.expire(now_ns()))

    def _take_exchange(self, exchange: Exchange) -> None:
        if exchange.truncated:
            self.count_loss("body_too_large")
        try:
            rows = self._assembler.exchange(exchange)
        except Exception:  # one answer that we cannot read must not cost the others
            self.count_loss("parser_error")
            _log.debug("tokenflation: an exchange could not be read", exc_info=True)
            return
        if rows.call is not None:
            self._waiting.calls[rows.call.call_id] = rows.call
        self._waiting.attempts += rows.attempts
        for run in rows.tool_runs:
            self._waiting.tool_runs[run.call_id, run.tool_call_id] = run
        self._export(rows.final)

    def _finish(self) -> None:
        self._export(self._assembler.finish())

    def _export(self, calls: list[Call]) -> None:
        if self.emitter is not None:
            for call in calls:
                self._guarded(self.emitter.call, call)

    def _write(self) -> None:
        """Write what waits in one transaction; on failure keep it for the next time, bounded, and note the loss."""
        if not len(self._waiting) and self._noted == self._drops:
            return
        with self._writing:
            self._write_waiting()

    def _write_waiting(self) -> None:
        try:
            if self._writer is not None and not os.path.exists(self.store):
                self._drop_writer()  # somebody removed the file: what comes now goes into a new one, not into nowhere
            if self._writer is None:
                self._writer = self._open_writer()
            self.recorded += self._writer.write(self._waiting.batch(self._drops, self._writer_id))
        except Exception as error:
            _log.debug("tokenflation: the store cannot be written", exc_info=True)
            self._drop_writer()
            self._failed(error)
            return
        self._waiting = _Waiting()
        if self._noted_beside:
            forget_losses(self.store, self._writer_id)
            self._noted_beside = False
        self._noted = dict(self._drops)

    def _failed(self, error: Exception) -> None:
        if len(self._waiting) > _MAX_KEPT_ROWS or self._closed:
            self.count_loss(f"store_error:{type(error).__name__}", len(self._waiting))
            self._waiting = _Waiting()
        self._note_beside(len(self._waiting))

    def _note_unwritten(self) -> None:
        """Note, beside the store, what close() had no time to wait for; the worker forgets it if it still gets there."""
        self._note_beside(max(1, len(self._waiting) + self._queue.qsize() - 1))

    def _note_beside(self, unwritten: int) -> None:
        note = Counter(self._drops)
        if unwritten:
            note["waiting_for_store"] = unwritten
        note_losses(self.store, self._writer_id, note)
        self._noted_beside = True
        self._noted = dict(note)

    def _stop(self) -> None:
        if len(self._waiting):
            self._failed(OSError("closed before the store could be written"))
        self._drop_writer()

    def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except Exception:
                _log.debug("tokenflation: the store cannot be closed", exc_info=True)


def _before_fork(reference: "weakref.ref[Recorder]") -> None:
    """Close the connection before a fork: SQLite keeps its locks' state in memory, and a child would inherit them."""
    recorder = reference()
    if recorder is None or recorder._closed:
        return
    recorder._holds_for_fork = recorder._writing.acquire(timeout=_FORK_WAIT_S)
    if recorder._holds_for_fork:
        recorder._drop_writer()


def _after_fork(reference: "weakref.ref[Recorder]") -> None:
    recorder = reference()
    if recorder is not None and recorder._holds_for_fork:
        recorder._holds_for_fork = False
        recorder._writing.release()


def _reset_child(reference: "weakref.ref[Recorder]") -> None:
    """In a forked child: a queue, a worker and a connection of its own; the parent's are left alone."""
    recorder = reference()
    if recorder is None:
        return
    recorder._reset()
    # A child of multiprocessing clears the finalizers it inherits, runs these, and leaves by os._exit: no atexit there.
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.register_after_fork(
            recorder, lambda it: util.Finalize(None, lambda: it.flush() if it._worker else None, exitpriority=0)
        )
