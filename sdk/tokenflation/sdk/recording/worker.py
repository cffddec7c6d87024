"""What the recorder's worker does with what the host's threads hand over: it makes rows and spans of it, and writes.

Nothing here raises: what fails is counted as lost, and costs nothing but itself. Knows nothing of threads, forks and
exits (`recorder` does), nor of any HTTP library.
"""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from tokenflation.sdk.calls.assemble import Assembler
from tokenflation.sdk.clock import now_ns
from tokenflation.sdk.exchange import Exchange
from tokenflation.sdk.recording.dates import Dates
from tokenflation.sdk.recording.drops import Drops
from tokenflation.sdk.recording.inbox import Inbox, rest_s
from tokenflation.sdk.recording.marks import Flush, Grown, in_order, portions, size_of
from tokenflation.sdk.records import Call, SpanRecord
from tokenflation.sdk.scoping.sentfrom import give_up, settle
from tokenflation.sdk.store.journals.underway import Noted, Underway, noted
from tokenflation.sdk.store.outbox import Outbox

__all__ = ["SWEEP_S", "Worker"]

SWEEP_S = 0.05
"""So often we look at the calls under way, while there are any."""
_RETRY_S = 1.0
_UNREADABLE: Any = object()
"""What is made of an answer that cannot be read."""
_log = logging.getLogger("tokenflation")


class Worker:
    """Empties the inbox of one process, in whichever one thread calls `work`."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        underway: Underway,
        assembler: Assembler,
        outbox: Outbox,
        dates: Dates,
        drops: Drops,
        emitter: Callable[[], Any],
    ) -> None:
        """`emitter` returns the `spans.SpanEmitter` of this moment, or None where no spans are wanted."""
        self._inbox = inbox
        self._underway = underway
        self._assembler = assembler
        self._outbox = outbox
        self._dates = dates
        self._drops = drops
        self._guarded = drops.guarded
        self._emitter = emitter
        self._next_sweep_ns = self._next_try_ns = 0
        self.in_hand = 0
        """Records taken from the inbox that are not among the rows to write yet."""
        self._unwritten: list[Noted] = []
        """What has been read and is not in the store yet; its bodies are let go of."""

    def work(self) -> bool:
        """Work until the inbox says that it is over, and return True: nothing is left then."""
        last, taken_ns, look = False, 0, partial(self._guarded, self._sweep)
        while not last:
            items = self._inbox.next_items(SWEEP_S, lambda: len(self._outbox) or len(self._underway))
            flushes = [one for one in items if isinstance(one, Flush)]
            last = None in items
            self._guarded(self._dates.look, self._underway.redate)
            self._guarded(self.take, items)
            if last:
                self._guarded(lambda: self._export(self._assembler.finish()))
            now = now_ns()
            if now >= self._next_sweep_ns or last:
                self._next_sweep_ns = now + int(SWEEP_S * 1e9)
                self._guarded(self._sweep, last)
            due = self._outbox.due() and (flushes or last or now >= self._next_try_ns)
            wrote = bool(due and self._guarded(self.write, now))
            self._drops.tell()
            for mark in flushes:
                mark.done.set()
            if wrote and not last:
                self._inbox.rest(rest_s(len(items), now - taken_ns), look)
            taken_ns = now
        self._guarded(self._outbox.give_up, sum(one.slot >= 0 for one in self._unwritten))
        self._guarded(self._outbox.close)
        self._drops.tell()
        return True

    def take(self, items: list[Any]) -> None:
        """Make rows of these items, for the next write."""
        self._underway.look()
        ordered = in_order(items, partial(self._guarded, self._underway.let_go, self._assembler.is_whole))
        self.in_hand = sum(isinstance(one, Exchange | SpanRecord) for one in ordered)
        for some in portions(ordered):
            self._underway.make_room()
            # All are read before the first is placed: the processor's caches then hold one piece of work at a time.
            readings = [self._tried(self._assembler.read, one) for one in some if isinstance(one, Exchange)]
            for item in some:
                self.in_hand -= isinstance(item, Exchange | SpanRecord)
                if isinstance(item, Exchange):
                    self._inbox.release(size_of(item))
                    self._take_exchange(item, readings.pop(0))
                elif isinstance(item, Grown):
                    self._guarded(item.exchange.pack)
                elif isinstance(item, SpanRecord):
                    self._take_span(item)
        self._inbox.settle()

    def write(self, now: int) -> bool:
        """Write the rows that wait; False if the store refused them, which is tried again in a while."""
        if not self._outbox.write(waiting=self._underway.make_room):
            self._next_try_ns = now + int(_RETRY_S * 1e9)
            return False
        done, self._unwritten = self._unwritten, []
        self._underway.free(done)
        return True

    def _tried(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return what a function makes of an answer; _UNREADABLE where it fails, which must not cost the others."""
        try:
            return function(*args)
        except Exception:
            _log.debug("tokenflation: an exchange could not be read", exc_info=True)
            return _UNREADABLE

    def _take_span(self, span: SpanRecord) -> None:
        if span.kind == "tool":
            span, tool_runs = self._assembler.tool_spans.place(span)
            tool_runs = self._dates.runs(tool_runs, span)
            self._outbox.add(None, (), tool_runs)
            self._export((), (None, (), tool_runs))
        span = self._dates.one(span)
        self._outbox.add_span(span)
        emitter = self._emitter()
        if emitter is not None and not span.foreign:
            self._guarded(emitter.scope, span)

    def _take_exchange(self, exchange: Exchange, reading: Any) -> None:
        if exchange.truncated:
            self._drops.lose("body_too_large")
        self._unwritten.append(noted(exchange))
        rows = reading if reading is _UNREADABLE else self._tried(self._assembler.rows, exchange, reading)
        if rows is _UNREADABLE:
            self._drops.lose("parser_error")
            give_up(exchange)
            return
        shown = self._underway.was_shown(exchange)
        self._guarded(settle, exchange, rows.call)
        if shown and (rows.call is None or rows.call.call_id != exchange.call_id):
            self._outbox.remove(exchange.call_id)
        added = self._dates.rows(rows)
        self._outbox.add(*added)
        for call in rows.moved:
            self._outbox.add(self._dates.one(call), (), ())
        for span in self._assembler.tool_spans.moved(rows.moved):
            self._outbox.add_span(self._dates.one(span))
        self._export(rows.final, added)

    def _sweep(self, last: bool = False) -> bool:
        """Look at the calls under way; whether there is anything to write."""
        rows, gone = self._underway.sweep(now_ns(), last)
        for call in rows:
            self._outbox.add(self._dates.one(call), (), ())
        for call_id in gone:
            self._outbox.remove(call_id)
        self._export(self._assembler.expire(now_ns()))
        return self._outbox.due()

    def _export(self, calls: Iterable[Call], rows: tuple[Any, ...] = ()) -> None:
        emitter = self._emitter()
        if emitter is not None:
            self._guarded(emitter.note, *rows[1:])
            for call in calls:
                self._guarded(emitter.call, self._dates.one(call))
