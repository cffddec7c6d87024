"""The recorder of a process, as the host's threads meet it, and the one thread in which its worker works.

The host's threads only put things into an inbox and note in shared memory what is under way, so that a kill loses no
finished call; the `worker` turns them into rows and spans. Nothing here raises into the host or makes it wait; what is
lost is counted. Knows no HTTP library.
"""

import atexit
import itertools
import os
import secrets
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from tokenflation.sdk.calls.assemble import Assembler
from tokenflation.sdk.carrying.lastcall import last_call, note_call
from tokenflation.sdk.clock import now_ns
from tokenflation.sdk.exchange import Exchange, Tap
from tokenflation.sdk.interrupts import let_through
from tokenflation.sdk.recording.dates import Dates
from tokenflation.sdk.recording.drops import Drops
from tokenflation.sdk.recording.forks import Forked, begin_if_untold, watch_forks
from tokenflation.sdk.recording.inbox import Inbox
from tokenflation.sdk.recording.marks import Flush, Grown, size_of
from tokenflation.sdk.recording.stacks import started
from tokenflation.sdk.recording.worker import SWEEP_S, Worker
from tokenflation.sdk.scoping import scopes
from tokenflation.sdk.scoping.openrun import OpenRun
from tokenflation.sdk.scoping.sentfrom import SentFrom, admit, give_up
from tokenflation.sdk.store.journals.underway import Underway, noted
from tokenflation.sdk.store.losses import WAITING
from tokenflation.sdk.store.outbox import Outbox
from tokenflation.sdk.store.write import SqliteWriter
from tokenflation.sdk.tracing.spanread import SpanReader

__all__ = ["Recorder"]


class Recorder(Forked):
    """Owns the inbox, the worker thread and the store's writer of this process."""

    def __init__(
        self,
        store: str,
        *,
        open_writer: Callable[[], SqliteWriter],
        key: bytes,
        default_task: str = "task",
        exact_tokens: bool = False,
        foreign: Callable[[], tuple[str, str] | None] | None = None,
        queue_size: int,
    ) -> None:
        self.store = store
        self.emitter: Any = None
        """A `spans.SpanEmitter`, or None where no spans are wanted; may be set at any time."""
        self.spans = SpanReader(self._put)
        """What is known of spans of other tracing; nothing, until a provider of them tells."""
        self.hands_trace_on = True
        """Whether servers that run tools for us may be told the trace that they run in."""
        self._open_writer = open_writer
        self._default_task = default_task
        self._key = key
        self._make_assembler = partial(Assembler, key=key, default_task=default_task, exact_tokens=exact_tokens)
        self._foreign = foreign or (lambda: None)
        self._queue_size = queue_size
        self._closed = False
        self._dates = Dates()
        self._reset()
        self.tap = Tap(
            submit=self._submit_exchange,
            context=self._context,
            failed=self.count_loss,
            begun=self._begin_exchange,
            grown=lambda exchange: self._put(Grown(exchange), force=True),
            run_tool=self._run_tool,
            hold=lambda exchange: self._admit(exchange, begins=False),
            traces=lambda: self.hands_trace_on and self.emitter is not None,
        )
        watch_forks(self)
        atexit.register(self.close)

    @property
    def drops(self) -> dict[str, int]:
        """Records lost so far in this process, by reason; and those that the end of recording left unwritten."""
        waiting = self._outbox.left
        return {**self._drops, **({WAITING: waiting} if waiting else {})}

    @property
    def recorded(self) -> int:
        """Calls that this process added to the store."""
        return self._outbox.recorded

    def count_loss(self, reason: str, count: int = 1) -> None:
        """Count records that could not be kept; the first of a reason is logged."""
        self._drops.lose(reason, count)

    def scope_changed(self, scope: scopes.Scope, opened: bool) -> None:
        """Note a scope that closed."""
        if opened and scope.process_id != self.process_id:
            begin_if_untold(self)
        if not opened:
            try:
                self._put(scope.record())
            except Exception as error:
                self._not_noted(error, lost_by_signals=True)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until all that was handed over is written or noted as lost; False if that took too long."""
        if self._closed or self._is_idle():
            return True
        mark = Flush()
        self._put(mark, force=True)
        self._inbox.hurry()
        deadline = now_ns() + int(timeout_s * 1e9)
        while not mark.done.wait(max(0.0, min(SWEEP_S, (deadline - now_ns()) / 1e9))):
            if self._thread is None or now_ns() >= deadline:  # nobody is there to do it, or too slow
                return mark.done.is_set()
        return True

    def drop_streams(self) -> None:
        """Record what came by now of streams that a client holds: it may have read them for as long as it likes."""
        for exchange in self._underway.exchanges():
            exchange.finish("dropped")

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what is left and stop the worker; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        if not self._is_idle():
            self._inbox.put(None, force=True)
            self._inbox.hurry()
            thread = self._start()
            if thread is None:
                self._run()
            else:
                thread.join(timeout_s)
            if not self._ended:
                # The mark of the end stands there last, or was taken with all else.
                self._drops.guarded(self._outbox.note_unwritten, self._worker.in_hand + max(0, len(self._inbox) - 1))
                return
        self._drops.guarded(self._underway.close)
        self._drops.guarded(self._outbox.close)

    def leave(self, timeout_s: float = 1.0) -> None:
        """Write what is left, as the process ends without running its exit handlers."""
        if not self._closed and self.process_id == os.getpid() and self.flush(timeout_s):
            self._drops.guarded(self._underway.close_unused)

    def _is_idle(self) -> bool:
        begin_if_untold(self)  # what stands here is its parent's
        return self._thread is None and not len(self._inbox) and not self._drops

    def _reset(self) -> None:
        self._inbox = Inbox(self._queue_size)
        self._thread: threading.Thread | None = None
        """Where the worker works, once there is something to do."""
        self._ended = False
        """Whether the worker has come to its end with nothing left."""
        self._starting = threading.RLock()  # a stream collected as garbage may come here while this thread is inside
        self._drops = Drops(self.store)
        # From a random start: unlike any other process's; in order, so that the store's index grows at its end.
        self._ids = itertools.count(secrets.randbits(64))
        writer_id = secrets.token_hex(8)
        self._underway = Underway(self.store, default_task=self._default_task or "task", writer_id=writer_id)
        self._underway.redate(self._dates.moved_ns)
        self._outbox = Outbox(self.store, open_writer=self._open_writer, drops=self._drops, writer_id=writer_id)
        self._worker = Worker(
            inbox=self._inbox,
            underway=self._underway,
            assembler=self._make_assembler(under_way=self._underway.untaken),
            outbox=self._outbox,
            dates=self._dates,
            drops=self._drops,
            emitter=lambda: self.emitter,
        )

    def _context(self) -> SentFrom:
        return SentFrom(self.spans.around(scopes.current()), self._foreign(), last_call())

    def _run_tool(self, name: str, arguments: bytes | None) -> OpenRun | None:
        if self._closed:
            return None
        return OpenRun(name, arguments, key=self._key, foreign=self._foreign(), submit=self._put)

    # A fork, in whichever thread of the host.

    def before_fork(self) -> None:
        """Let the child inherit no open connection."""
        if not self._closed:
            self._outbox.hold_for_fork()

    def after_fork(self) -> None:
        """Go on in the parent."""
        self._outbox.release_after_fork()

    def begin_in_child(self) -> None:
        """Take a queue, a worker, a journal and a connection of its own; the parent's are left alone."""
        closed, self._closed = self._closed, True
        self._drops.guarded(self._outbox.leave_to_parent)
        self._drops.guarded(self._underway.leave_to_parent)
        barred = self._outbox.barred
        self._reset()
        self._outbox.barred = barred
        self._closed = closed  # a child that cannot begin anew records nothing, and waits for no lock of the parent's

    # The host's side.

    def _begin_exchange(self, exchange: Exchange) -> None:
        if exchange.process_id != self.process_id:
            begin_if_untold(self)
        if self._closed:
            return
        exchange.call_id = f"{next(self._ids) & (2**64 - 1):016x}"
        sent = exchange.context
        if isinstance(sent, SentFrom) and sent.scope is not None and sent.scope.budget is not None:
            self._admit(exchange)
        note_call(exchange.call_id)
        try:
            self._underway.begin(exchange)
        except Exception as error:
            self._not_noted(error)
        if self._inbox.asleep and self._inbox.wake() and self._thread is None:
            self._start()

    def _not_noted(self, error: Exception, *, lost_by_signals: bool = False) -> None:
        """Count what failed: the host must not notice, and a call that cannot be noted is recorded all the same."""
        if not lost_by_signals:
            let_through(error)
        self._drops["hook_error"] += 1  # the worker tells
        let_through(error)

    def _admit(self, exchange: Exchange, *, begins: bool = True) -> None:
        """Hold a request to the limits of its task; LimitReached, which is no Exception, is for the host."""
        try:
            admit(exchange, self._inbox.hurry, begins=begins)
        except Exception as error:
            self._not_noted(error)

    def _submit_exchange(self, exchange: Exchange) -> None:
        if exchange.process_id != self.process_id or self._closed:
            return  # it left before a fork: the parent writes it
        try:
            self._underway.end(exchange)
        except Exception as error:
            self._not_noted(error)
        finally:  # a signal's handler of the host's may raise from within: the answer is here all the same
            try:
                if not self._put(exchange, size_of(exchange)):
                    self._underway.free([noted(exchange)])
                    give_up(exchange)
            except Exception as error:
                self._not_noted(error)

    def _put(self, item: Any, size: int = 0, *, force: bool = False) -> bool:
        if self._closed:
            return False
        if not self._inbox.put(item, size, force=force):
            # The worker tells: a log handler of the host's that the collector came in from would wait for itself.
            self._drops["queue_full"] += 1
            return False
        if self._thread is None:
            self._start()
        return True

    def _start(self) -> threading.Thread | None:
        """Return the worker, or None where no thread can be had: the next record tries again, close() does without."""
        with self._starting:
            if self._thread is None:
                self._inbox.renew()
                try:
                    self._thread = started(self._run)
                except Exception as error:  # the process has too many, or the interpreter is ending
                    let_through(error)
            return self._thread

    # The worker's thread.

    def _run(self) -> None:
        """Work until told to end; should that fail beyond all guards, the next record starts another worker."""
        with self._starting:
            thread = self._thread = self._thread or threading.current_thread()
        if thread is not threading.current_thread():  # the start of this one was interrupted, and another has begun
            return
        try:
            self._ended = bool(self._drops.guarded(self._worker.work))
        finally:
            self._thread = None
