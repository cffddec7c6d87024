"""From a finished exchange to the rows of the store: reads it, groups attempts, places it, splits its input.

Runs on the worker thread. Knows nothing of threads, queues or databases.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from tokenflation.sdk.calls.attempts import Attempts, Try, bill_of, failure_of, is_unfinished
from tokenflation.sdk.calls.heldcalls import HeldCalls
from tokenflation.sdk.calls.polling import Polls, awaits_poll, id_in, may_be_polled, merged, shows_finished
from tokenflation.sdk.calls.row import Asked, attempt_of, end_of, of_stream, row_of
from tokenflation.sdk.calls.structure import PlacedCalls
from tokenflation.sdk.calls.toolruns import ToolRuns
from tokenflation.sdk.calls.toolspans import ToolSpans
from tokenflation.sdk.exchange import Exchange
from tokenflation.sdk.lineage import MAX_HISTORIES, Lineage, Placement
from tokenflation.sdk.records import Attempt, Call, Reading, ToolRun
from tokenflation.sdk.scoping.scopes import new_span_id, new_trace_id
from tokenflation.sdk.scoping.sentfrom import SentFrom, sent_from
from tokenflation.sdk.store.tables import BLOCK_TOKENS
from tokenflation.sdk.tokens.parts import Parts, Splitter
from tokenflation.sdk.tokens.prefix import BlockHasher, extend_anchors
from tokenflation.sdk.wire import ExchangeBytes, read

__all__ = ["Assembler", "Rows"]

_MAX_BLOCKED_TOKENS = 2**25
"""No prompt has more; a provider that counts wrong must not cost the host a list of so many blocks."""


class Rows(Struct):
    """What one exchange adds to the store; `final` says that no attempt of the call can follow."""

    call: Call | None = None
    attempts: list[Attempt] = field(default_factory=list)
    tool_runs: list[ToolRun] = field(default_factory=list)
    moved: list[Call] = field(default_factory=list)
    """Earlier calls that turn out to stand elsewhere than their rows said."""
    final: list[Call] = field(default_factory=list)
    """Calls that are over for good, and so may be exported as spans."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a failed attempt leaves for the next one, or an unfinished response for the GET that finishes it."""

    call: Call
    asked: Asked
    bill: Mapping[str, Any] | None = None
    """What the provider may bill for the attempt although it failed."""
    awaits_poll: bool = False
    """A GET is expected to finish it; otherwise one may, but the call is over without it."""


class Assembler:
    """Holds what must be remembered between exchanges; used by one thread at a time."""

    def __init__(
        self,
        *,
        key: bytes,
        default_task: str = "",
        exact_tokens: bool = False,
        under_way: Callable[[str | None], Iterable[Exchange]] = lambda _: (),
    ) -> None:
        self._key = key
        self._held = HeldCalls(under_way, self.read)
        self._early: OrderedDict[str, tuple[Asked, Call]] = OrderedDict()
        """Calls that were placed before they ended."""
        self._lineage = Lineage(default_task=default_task, new_trace_id=new_trace_id, key=key)
        self._attempts: Attempts[_Kept] = Attempts()
        self._splitter = Splitter(exact=exact_tokens)
        self._hasher = BlockHasher(key, BLOCK_TOKENS)
        self._polls: Polls[_Kept] = Polls()
        self._placed = PlacedCalls()
        self._tool_runs = ToolRuns()
        self.tool_spans = ToolSpans()
        """The runs of tools that were seen as they ran."""

    def read(self, exchange: Exchange) -> Reading | None:
        """Return what the bytes of a finished exchange say, None if they show that it is no model call."""
        return read(_bytes_of(exchange), key=self._key)

    def is_whole(self, exchange: Exchange) -> bool:
        """Return whether a stream that is under way has brought all that was asked for, its counts among it."""
        reading = self.read(exchange)
        return reading is not None and reading.stream and reading.status == "ok" and reading.usage_complete

    def exchange(self, exchange: Exchange) -> Rows:
        """Return the rows of one finished exchange; no rows if its body shows that it is no model call."""
        return self.rows(exchange, self.read(exchange))

    def rows(self, exchange: Exchange, reading: Reading | None) -> Rows:
        """Return the rows of one finished exchange that has been read."""
        sent = sent_from(exchange)
        if reading is None or reading.fetched:
            self._lineage.link(exchange.call_id, sent.after)
        if reading is None:
            return Rows()
        if reading.fetched:
            return self._polled(exchange, reading)
        if may_be_polled(exchange, reading):
            reading = self._polls.find_early(reading, exchange.started_at_ns)
        rows = Rows(tool_runs=self._take_held(exchange, reading))
        early = self._early.pop(exchange.call_id, None)
        if early is not None:
            asked, call = self._ended(exchange, reading, early)
            rows.tool_runs += self.tool_spans.seen(call, self._tool_runs.weighed(reading, asked.placement, call))
        else:
            asked, call, tool_runs = self._taken(exchange, reading, sent, end_of(exchange))
            rows.tool_runs += tool_runs
        rows.call = call
        rows.attempts = [attempt_of(exchange, reading, call.call_id, asked.attempts - 1)]
        moves = self._lineage.take_moves()
        if moves:
            rows.moved = self._placed.moved(moves)
            rows.tool_runs += self.tool_spans.seen(call, self._tool_runs.moved(rows.moved))
        rows.final = self._remember(exchange, reading, call, asked)
        if reading.status == "ok":
            rows.final += self._answered_for(asked)
        return rows

    def _taken(
        self, exchange: Exchange, reading: Reading, sent: SentFrom, ended_at_ns: int
    ) -> tuple[Asked, Call, list[ToolRun]]:
        """Place an exchange; return what is known of its call, the row of that, and those of tool calls."""
        before = self._attempts.find(exchange, sent.scope_id)
        kept = before.kept if before is not None else None
        asked = self._asked(exchange, reading, sent, kept)
        self._lineage.link(exchange.call_id, asked.call_id if kept is not None else sent.after)
        call = self._call(reading, asked, ended_at_ns)
        again = kept is not None or asked.placement.follows_failed_call_id is not None
        changed = self._tool_runs.take(reading, asked.placement, call, None if again else exchange.started_at_ns)
        return asked, call, self.tool_spans.seen(call, changed)

    def _take_held(self, exchange: Exchange, reading: Reading) -> list[ToolRun]:
        """Place the calls under way that come before this one; return the rows of their tool calls."""
        tool_runs: list[ToolRun] = []
        for held, said in self._held.before(exchange, reading, self._lineage.knows, self._early):
            if held.call_id not in self._early:  # what comes before one of them may be another of them
                tool_runs += [*self._take_held(held, said), *self._take_early(held, said)]
        return tool_runs

    def _take_early(self, exchange: Exchange, reading: Reading) -> list[ToolRun]:
        """Place a call under way by what it has said so far; return the rows of its tool calls."""
        asked, call, tool_runs = self._taken(exchange, reading, sent_from(exchange), exchange.chunks[-1][0])
        self._early[exchange.call_id] = asked, call
        if len(self._early) > MAX_HISTORIES:
            self._early.popitem(last=False)
        return tool_runs

    def _ended(self, exchange: Exchange, reading: Reading, early: tuple[Asked, Call]) -> tuple[Asked, Call]:
        """Return what is known of a call that was placed before it ended, and its row."""
        asked, before = early
        extra = {key: value for key, value in asked.extra.items() if key not in ("chunk_gaps_s", "stream_end")}
        asked = replace(asked, extra={**extra, **(of_stream(exchange, reading) if reading.stream else {})})
        return asked, self._call(reading, asked, end_of(exchange), early=before)

    def _asked(self, exchange: Exchange, reading: Reading, sent: SentFrom, kept: _Kept | None) -> Asked:
        """Return what is known of the call that this exchange is an attempt of; `kept` is from the attempt before."""
        extra = of_stream(exchange, reading) if reading.stream else {}
        first_left_at_ns = left_at_ns = exchange.started_at_ns + exchange.waited_ns
        attempts = 1
        if kept is None:
            call_id = exchange.call_id or new_span_id()
            placement = self._place(reading, call_id, sent, exchange.started_at_ns)
            if placement.follows_failed_call_id is not None:
                extra["follows_failed_call_id"] = placement.follows_failed_call_id
        else:
            call_id, placement = kept.asked.call_id, kept.asked.placement
            attempts, first_left_at_ns = kept.asked.attempts + 1, kept.asked.first_left_at_ns
            self._polls.forget(kept.call.response_id)  # the call has another answer now
            inherited = kept.asked.extra
            extra.update({key: inherited[key] for key in ("follows_failed_call_id",) if key in inherited})
            bills = [*inherited.get("possible_double_billing", ()), *([kept.bill] if kept.bill else ())]
            if bills:
                extra["possible_double_billing"] = bills
        return Asked(
            call_id=call_id,
            placement=placement,
            sent=sent,
            attempts=attempts,
            first_left_at_ns=first_left_at_ns,
            left_at_ns=left_at_ns,
            extra=extra,
        )

    def _remember(self, exchange: Exchange, reading: Reading, call: Call, asked: Asked) -> list[Call]:
        """Keep what a later exchange may change; return the calls that none can change any more."""
        failure = failure_of(exchange, reading)
        polled = may_be_polled(exchange, reading)
        broken_off = reading.status != "ok" and is_unfinished(reading)
        if failure is not None or reading.status == "error" or broken_off:
            ended_at_ns = call.ended_at_ns or call.started_at_ns
            self._lineage.note_failure(reading, asked.placement, call.call_id, asked.sent.scope, ended_at_ns)
        if failure is None and not polled:
            return [call]
        kept = _Kept(
            call,
            asked,
            bill=bill_of(exchange, reading.usage, asked.attempts - 1) if failure else None,
            awaits_poll=polled and awaits_poll(exchange, reading),
        )
        over = [] if failure or kept.awaits_poll else [call]
        if polled:
            over += _final(self._polls.keep(reading, kept), awaiting_poll=True)
        if failure:
            tries = self._attempts.keep(
                exchange, asked.sent.scope_id, failure, call_id=call.call_id, attempts=asked.attempts, kept=kept
            )
            over += _calls_of(tries)
        return over

    def _answered_for(self, asked: Asked) -> list[Call]:
        """Return the failed calls in whose place a call has answered, and that no attempt can follow any more."""
        over: list[Call] = []
        failed = asked.extra.get("follows_failed_call_id")
        while failed is not None:
            one = self._attempts.answered_elsewhere(failed)
            over += _calls_of([one] if one is not None else [])
            failed = one.kept.asked.extra.get("follows_failed_call_id") if one is not None else None
        return over

    def _polled(self, exchange: Exchange, reading: Reading) -> Rows:
        """Return the finished row of the call that created a response, if this GET is the first to show it finished."""
        response_id = reading.response_id or id_in(exchange.path)
        one = self._polls.find(response_id, reading)
        finished = shows_finished(exchange, reading)
        if one is None or not finished:
            if finished:
                self._polls.note_early(response_id, exchange.started_at_ns, reading)
            return Rows()
        self._polls.forget(response_id)
        extra = {key: value for key, value in one.kept.asked.extra.items() if key != "stream_end"}
        asked = replace(one.kept.asked, extra={**extra, "polls": one.polls})
        whole = merged(one.reading, reading)
        call = self._call(whole, asked, end_of(exchange))
        changed = self._tool_runs.take(whole, asked.placement, call, None)
        rows = Rows(call=call, tool_runs=self.tool_spans.seen(call, changed))
        if self._attempts.drop(one.kept) or one.kept.awaits_poll:
            rows.final = [call]  # otherwise it was final when its stream was cut
        return rows

    def expire(self, now_ns: int) -> list[Call]:
        """Return the failed calls for which no retry came in time."""
        return _calls_of(self._attempts.expire(now_ns))

    def finish(self) -> list[Call]:
        """Return the failed calls that a retry could still have followed."""
        return [*_calls_of(self._attempts.give_up()), *_final(self._polls.give_up(), awaiting_poll=True)]

    def _place(self, reading: Reading, call_id: str, sent: SentFrom, started_at_ns: int) -> Placement:
        placement = self._lineage.place(reading, call_id, sent.scope, started_at_ns, sent.after)
        if sent.foreign is not None:
            placement = replace(placement, trace_id=sent.foreign[0], parent_id=sent.foreign[1])
        return placement

    def _call(self, reading: Reading, asked: Asked, ended_at_ns: int, early: Call | None = None) -> Call:
        """Return the row of a call; `early` is the one from before it ended, by which others have gone on from it."""
        placement, call_id = asked.placement, asked.call_id
        parts = self._parts(reading, placement, call_id)
        anchors = self._anchors(reading, placement, parts)
        hashes = None
        if anchors:
            before = placement.continues.call_id if placement.continues else None
            hashes = self._hasher.hashes(reading, anchors, call_id, before)
        if reading.status != "error" and early is None:
            self._lineage.remember(reading, placement, call_id, asked.sent.scope, ended_at_ns, anchors)
        if early is not None:
            shared = early.shared_blocks
        else:
            shared = self._lineage.shared(placement.task_id, hashes) if hashes is not None else None
        call = row_of(reading, asked, parts, ended_at_ns, block_hashes=hashes, shared_blocks=shared)
        self._placed.keep(call)
        return call

    def _parts(self, reading: Reading, placement: Placement, call_id: str) -> Parts | None:
        before = placement.continues.call_id if placement.continues else None
        return self._splitter.take(reading, call_id, sent=placement.sent_messages, continues=before)

    def _anchors(self, reading: Reading, placement: Placement, parts: Parts | None) -> tuple[tuple[int, int], ...]:
        total = reading.usage.input_tokens
        kept = reading.previous_response_id or (reading.conversation_id and placement.continues)
        if not total or total > _MAX_BLOCKED_TOKENS or not reading.prompt or kept:
            return ()
        size = len(reading.prompt)
        if placement.continues is not None and placement.continues.anchors and not placement.changed:
            known = placement.continues.anchors
        else:
            fixed = min(reading.system_bytes + reading.tool_definition_bytes, size)
            tokens = parts.system + parts.tool_definition if parts else total * fixed // size
            known = ((fixed, self._lineage.first_tokens(reading.instructions_hash, tokens)),)
        return extend_anchors(known, size, total)


def _bytes_of(exchange: Exchange) -> ExchangeBytes:
    return ExchangeBytes(
        api=exchange.api,
        method=exchange.method,
        host=exchange.host,
        path=exchange.path,
        request_body=exchange.request_body,
        status_code=exchange.status_code,
        response_headers=exchange.response_headers,
        content_type=exchange.content_type,
        content_encoding=exchange.content_encoding,
        chunks=exchange.body(),
        truncated=exchange.truncated,
        end=exchange.end or "dropped",
        error_type=exchange.error_type,
    )


def _calls_of(tries: Sequence[Try[_Kept]]) -> list[Call]:
    return _final([one.kept for one in tries], awaiting_poll=False)


def _final(given_up: Sequence[_Kept], *, awaiting_poll: bool) -> list[Call]:
    """Return the calls that are over now: one that waits for an attempt and for a GET is over when no GET can come."""
    return [one.call for one in given_up if one.awaits_poll == awaiting_poll]
