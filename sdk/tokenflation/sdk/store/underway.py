"""Which calls of this process are under way, here in memory and in the journal beside the store.

`begin` and `end` run on the host's threads and cost a few microseconds; the rest is the worker's. Without a journal (a
folder that cannot be written, a full disk, no `flock`) everything else works; a kill then loses what is not written.
"""

import logging
import weakref
from collections.abc import Iterable
from functools import lru_cache

from tokenflation.sdk.assemble import SentFrom
from tokenflation.sdk.exchange import Exchange
from tokenflation.sdk.store.journal import Begun, Ended, Journal
from tokenflation.sdk.store.tail import dialects_of, find_usage
from tokenflation.sdk.wire import provider_of

__all__ = ["Underway"]

_NO_ONE = SentFrom()
_log = logging.getLogger("tokenflation")


class Underway:
    """The calls that have left and not ended, and the slots of those that ended and are not in the store yet."""

    def __init__(self, store: str, *, default_task: str) -> None:
        self._store = store
        self._default_task = default_task
        self._journal: Journal | None = None
        self._tried = False
        self._open: dict[str, tuple[weakref.ref[Exchange], int]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, exchange: Exchange) -> None:
        """Note a call that leaves."""
        journal = self._journal
        if journal is None and not self._tried:
            journal = self._open_journal()
        if journal is not None and _generates(exchange.api):
            exchange.slot = journal.begin(_begun(exchange, self._default_task))
        # Weak: an exchange that its hook let go of without an end (a redirect) was no call.
        self._open[exchange.call_id] = (weakref.ref(exchange), exchange.slot)

    def end(self, exchange: Exchange) -> None:
        """Note that a call ended, with the usage that its last bytes hold."""
        self._open.pop(exchange.call_id, None)
        if exchange.slot >= 0 and self._journal is not None:
            self._journal.end(exchange.slot, _ended(exchange))

    def free(self, exchanges: Iterable[Exchange]) -> None:
        """Forget calls that stand in the store, or never will."""
        for exchange in exchanges:
            slot, exchange.slot = exchange.slot, -1
            if slot >= 0 and self._journal is not None:
                self._journal.free(slot)

    def sweep(self) -> list[Exchange]:
        """Return the calls that are under way, the oldest first; forget what was let go of, and make room."""
        found = []
        for call_id, (reference, slot) in self._open.copy().items():
            exchange = reference()
            if exchange is not None:
                found.append(exchange)
            elif self._open.pop(call_id, None) is not None and slot >= 0 and self._journal is not None:
                self._journal.free(slot)
        if self._journal is not None:
            self._journal.grow()
        return found

    def close(self) -> None:
        """Let go of the journal; nothing that is still under way will be written by this process."""
        journal, self._journal = self._journal, None
        self._tried = True
        if journal is not None:
            journal.close()

    def leave_to_parent(self) -> None:
        """In a forked child, let go of the parent's journal without a change to it."""
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.leave()

    def _open_journal(self) -> Journal | None:
        self._tried = True
        try:
            self._journal = Journal.open(self._store)
        except OSError as error:
            _log.debug("tokenflation: no journal beside %s: %s", self._store, error)
        return self._journal


@lru_cache(maxsize=256)
def _generates(api: str) -> bool:
    dialects = dialects_of(api)
    return bool(dialects) and not any(dialect.fetches for dialect in dialects)


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
        "stream" in exchange.content_type or "ndjson" in exchange.content_type,
        usage,
        first_usage,
    )
