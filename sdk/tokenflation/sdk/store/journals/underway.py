"""Which calls of this process are under way, here in memory and in the journal beside the store.

`begin` and `end` run on the host's threads and cost a few microseconds; the rest is the worker's. Without a journal (a
folder that cannot be written, a full disk, no `flock`) everything else works; a kill then loses what is not written.
"""

import logging
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from tokenflation.sdk.exchange import RETRY_COUNT, Exchange, is_stream
from tokenflation.sdk.interrupts import let_through
from tokenflation.sdk.records import Call
from tokenflation.sdk.scoping.sentfrom import SentFrom
from tokenflation.sdk.store.journals.journal import Begun, Ended, Journal
from tokenflation.sdk.store.journals.recover import row_of
from tokenflation.sdk.store.journals.tail import dialects_of, find_usage
from tokenflation.sdk.wire import provider_of
from tokenflation.sdk.wire.values import text

__all__ = ["Noted", "Underway", "noted"]

_STREAM_NS = 50_000_000
_PLAIN_NS = 250_000_000
_ENDING_NS = 200_000_000
_MAX_ROWS = 256
_MAX_CHUNKS = 4096
_MAX_REQUEST_BYTES = 256 * 1024
_NO_ONE = SentFrom()
_log = logging.getLogger("tokenflation")


class Noted(msgspec.Struct, frozen=True, gc=False):
    """A call that has ended, and where the journal keeps it until its row is written."""

    call_id: str
    slot: int


def noted(exchange: Exchange) -> Noted:
    """Return what is to be freed once the call's row is written; the exchange itself need not be kept for that."""
    slot, exchange.slot = exchange.slot, -1
    return Noted(exchange.call_id, slot)


@dataclass(slots=True)
class _Shown:
    """What the store says of a call that is under way, and when that is to be looked at again."""

    due_ns: int
    call: Call | None = None


class Underway:
    """The calls that have left and not ended, and the slots of those that ended and are not in the store yet."""

    def __init__(self, store: str, *, default_task: str, writer_id: str = "") -> None:
        self._store = store
        self._moved_ns = 0
        self._writer_id = writer_id
        self._default_task = default_task
        self._journal: Journal | None = None
        self._opening = threading.RLock()
        self._tried = self._opened = False
        self._left_to_worker = False
        """Whether the journal could not be opened where the first call left."""
        self._open: dict[str, tuple[weakref.ref[Exchange], int]] = {}
        self._seen: dict[str, tuple[weakref.ref[Exchange], int]] = {}
        self._shown: dict[str, _Shown] = {}
        self._unheld: dict[str, int] = {}
        """Calls that nothing holds any more, and that have not ended; when a sweep first found that."""

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, exchange: Exchange) -> None:
        """Note a call that leaves."""
        if not self._opened:
            with self._opening:  # calls that leave together are all noted; a signal's handler may come here from inside
                if not self._tried:
                    self._open_journal()
        journal = self._journal
        if journal is not None and _generates(exchange.api):
            exchange.slot = journal.begin(_begun(exchange, self._default_task))
        # Weak: an exchange that its hook let go of without an end (a redirect) was no call.
        self._open[exchange.call_id] = (weakref.ref(exchange), exchange.slot)

    def end(self, exchange: Exchange) -> None:
        """Note that a call ended, with the usage that its last bytes hold."""
        if self._open.pop(exchange.call_id, None) is None:
            # The collector takes weak references away before it lets a stream end its exchange: a sweep between the
            # two has let go of it, and its slot may be another call's by now.
            exchange.slot = -1
        if exchange.slot >= 0 and self._journal is not None:
            self._journal.end(exchange.slot, _ended(exchange))

    def let_go(self, is_whole: Callable[[Exchange], bool], call_id: str) -> Exchange | None:
        """End a stream that its host has all of and holds on to; return it, or None if it may bring more, or is over.

        One that is left before its terminator ends by itself only when the collector finds it, which may be much later.
        """
        exchange = next(iter(self.exchanges(call_id)), None)
        if exchange is None or not _is_marked(exchange.api):
            return None
        # Costs less than to read it all.
        usage, _ = find_usage(exchange.api, exchange.chunks, exchange.content_encoding)
        if usage is None or not is_whole(exchange) or not exchange.seal("dropped"):
            return None
        self.end(exchange)
        self._seen.pop(call_id, None)
        return exchange

    def free(self, calls: Iterable[Noted]) -> None:
        """Forget calls that stand in the store, or never will."""
        for call in calls:
            self._shown.pop(call.call_id, None)
            if self._journal is not None:
                self._journal.free(call.slot)

    def was_shown(self, exchange: Exchange) -> bool:
        """Return whether rows of this call were given out while it was under way; asked once, when it has ended."""
        shown = self._shown.pop(exchange.call_id, None)
        return shown is not None and shown.call is not None

    def sweep(self, now: int, last: bool = False) -> tuple[list[Call], list[str]]:
        """Return rows of calls that have been under way for long, and the ids of those that were none after all.

        A row has status `cut` and what is known so far; it is given out when it is new, and again at intervals that
        double while more becomes known. The `last` sweep gives out none: whoever opens the store next does.
        """
        rows: list[Call] = []
        gone: list[str] = []
        unheld, self._unheld = self._unheld, {}
        for call_id, (reference, slot) in self._open.copy().items():
            exchange = reference()
            if exchange is None:
                # One that the collector found ends yet: a long collection lets this thread in before that.
                since = unheld.get(call_id, now)
                if now - since < _ENDING_NS and not last:
                    self._unheld[call_id] = since
                else:
                    self._let_go(call_id, slot, gone)
            elif len(rows) < _MAX_ROWS and not last:
                row = self._news_of(exchange, now)
                if row is not None:
                    rows.append(row)
        if self._journal is not None:
            self._journal.restore()
        self.make_room()
        return rows, gone

    def redate(self, moved_ns: int) -> None:
        """Note by how many ns the system's clock has moved against the recorder's."""
        with self._opening:
            self._moved_ns = moved_ns
            if self._journal is not None:
                self._journal.redate(moved_ns)

    def make_room(self) -> None:
        """Make room in the journal where that is getting scarce: for the worker, wherever it may be busy for long."""
        if self._left_to_worker:
            self._left_to_worker = False
            with self._opening:
                self._open_journal()
        if self._journal is not None:
            self._journal.grow()

    def exchanges(self, call_id: str | None = None) -> list[Exchange]:
        """Return the exchanges that are under way, or the one with this id if it is."""
        some = list(self._open.copy().values()) if call_id is None else [self._open.get(call_id)]
        return _alive(some)

    def look(self) -> None:
        """Note what is under way, before the worker takes up what has ended by now."""
        self._seen = self._open.copy()

    def untaken(self, call_id: str | None = None) -> list[Exchange]:
        """Return the exchanges that are under way or have ended since the last look, or the one with this id."""
        if call_id is None:
            return _alive({**self._seen, **self._open.copy()}.values())
        return _alive([self._open.get(call_id) or self._seen.get(call_id)])

    def close(self) -> None:
        """Let go of the journal; nothing that is still under way will be written by this process."""
        journal, self._journal = self._journal, None
        self._tried = self._opened = True
        if journal is not None:
            for reference, slot in self._open.copy().values():
                if reference() is None:  # as in a sweep, which is the worker's, if there is one
                    journal.free(slot)
            journal.close()

    def close_unused(self) -> None:
        """Let go of the journal if no call is in it; one that ends before the process does is noted there."""
        if self._journal is not None and self._journal.is_unused():
            self.close()

    def leave_to_parent(self) -> None:
        """In a forked child, let go of the parent's journal without a change to it."""
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.leave()

    def _let_go(self, call_id: str, slot: int, gone: list[str]) -> None:
        """Forget an exchange that its hook let go of without an end."""
        if self._open.pop(call_id, None) is None:
            return  # it has ended meanwhile
        if self._journal is not None:
            self._journal.free(slot)
        shown = self._shown.pop(call_id, None)
        if shown is not None and shown.call is not None:
            gone.append(call_id)

    def _news_of(self, exchange: Exchange, now: int) -> Call | None:
        shown = self._shown.get(exchange.call_id)
        age = now - exchange.started_at_ns
        if exchange.packed is not None:
            return None  # long enough to have been shown
        if shown is None:
            if age < _STREAM_NS or not _generates(exchange.api) or _is_retry(exchange):
                return None
            shown = self._shown[exchange.call_id] = _Shown(exchange.started_at_ns + _PLAIN_NS)
        # A call that has answered nothing yet has less to lose, and most are over soon.
        if now < shown.due_ns and not (shown.call is None and is_stream(exchange.content_type) and exchange.chunks):
            return None
        shown.due_ns = now + max(age, _PLAIN_NS)
        row = _row(exchange, _begun(exchange, self._default_task))
        if row == shown.call or exchange.end is not None:
            return None
        shown.call = row
        return row

    def _open_journal(self) -> None:
        self._tried = True
        try:
            journal = Journal.open(self._store, self._writer_id)
            journal.redate(self._moved_ns)
            self._journal = journal
        except OSError as error:
            _log.debug("tokenflation: no journal beside %s: %s", self._store, error)
        except Exception as error:  # of a host that lets nobody touch a file in its event loop (blockbuster)
            let_through(error)
            _log.debug("tokenflation: no journal beside %s yet: %s", self._store, error)
            self._left_to_worker = True
        finally:
            self._opened = True


def _alive(some: Iterable[tuple[weakref.ref[Exchange], int] | None]) -> list[Exchange]:
    return [exchange for one in some if one is not None and (exchange := one[0]()) is not None]


@lru_cache(maxsize=256)
def _generates(api: str) -> bool:
    dialects = dialects_of(api)
    return bool(dialects) and not any(dialect.fetches for dialect in dialects)


@lru_cache(maxsize=256)
def _is_marked(api: str) -> bool:
    """Return whether streams of an api have a mark at their end: others may go on after what looks like it."""
    return not any(one.answer.ends_with_finish or one.answer.ends_unmarked for one in dialects_of(api))


@lru_cache(maxsize=1024)
def _provider(host: str, api: str) -> str:
    return provider_of(host, dialects_of(api)[0].compatible)


def _begun(exchange: Exchange, default_task: str) -> Begun:
    sent = exchange.context if isinstance(exchange.context, SentFrom) else _NO_ONE
    provider = _provider(exchange.host, exchange.api)
    begun = Begun(exchange.call_id, exchange.started_at_ns, exchange.api, provider, default_task)
    scope = sent.scope
    if scope is not None:
        begun.trace_id, begun.parent_id = scope.trace_id, scope.span_id
        begun.task, begun.task_id = scope.task, scope.task_id
        begun.agent, begun.agent_run_id = scope.agent or "", scope.agent_run_id or ""
        begun.depth = scope.depth
    if sent.foreign is not None:
        begun.trace_id, begun.parent_id = sent.foreign
    return begun


def _ended(exchange: Exchange) -> Ended:
    usage, first_usage = find_usage(exchange.api, exchange.chunks, exchange.content_encoding)
    return Ended(
        exchange.ended_at_ns or exchange.started_at_ns,
        exchange.end or "dropped",
        exchange.status_code,
        exchange.error_type,
        is_stream(exchange.content_type),
        usage,
        first_usage,
    )


def _is_retry(exchange: Exchange) -> bool:
    """Return whether it is said to be tried again: its call has a row, that of the attempt before."""
    return exchange.resent or exchange.request_headers.get(RETRY_COUNT, "0") != "0"


def _row(exchange: Exchange, begun: Begun) -> Call:
    chunks = exchange.chunks[:_MAX_CHUNKS]
    if not chunks:
        call = row_of(begun, None)
    else:
        last, first = find_usage(exchange.api, chunks, exchange.content_encoding)
        known = msgspec.to_builtins(last or first)  # structs, which only the journal writes as they are
        call = row_of(begun, Ended(exchange.chunks[-1][0], "", exchange.status_code, None, True, None, known))
    return replace(
        call,
        status="cut",
        error_type=None,
        finish_reasons=("error",),
        stream=is_stream(exchange.content_type),
        model=_model(exchange.request_body),
        ttfc_s=(chunks[0][0] - exchange.started_at_ns - exchange.waited_ns) / 1e9 if chunks else None,
    )


class _Asked(msgspec.Struct):
    model: str | None = None


_asked = msgspec.json.Decoder(_Asked)


def _model(body: bytes | None) -> str | None:
    if body is None or len(body) > _MAX_REQUEST_BYTES:
        return None
    try:
        return text(_asked.decode(body).model)
    except (ValueError, RecursionError):
        return None
