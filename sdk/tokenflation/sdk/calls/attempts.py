"""Which HTTP exchanges are attempts of one call. Pure: keeps what the next attempt needs to know, nothing else.

An attempt follows one that failed: it leaves after that failure came back, with the same body, to the same host and
path, in the same scope. What came before it decides what else must hold:

- `retry`: no answer, or 408, 409, 425, 429, 5xx, or an answer that broke while the client read it whole. Clients made
  by Stainless count their tries (`x-stainless-retry-count`): the count must be one more, and 0 begins a call of its own
  (the program asked again, not the client). From others the same body within a minute is the next attempt, and so it is
  from a transport that was seen to send the request again: its count stays what it was.
- `auth`: 401. The same request with credentials (Digest, a renewed token) is the next attempt within 10 s; a client
  that counts may count it or not.
- `broken`: a stream of status 2xx that died, by a reset, by an error event or without its end. No client repeats that
  by itself, as its host has seen the beginning, so whoever asks again within a minute is believed, whatever the count.

Once another call has answered in its place (a fallback) it is over as well, unless its client counts: who asks the same
again begins anew.

No failure, so never followed by an attempt: an answer that the host closed or dropped, a request that was cancelled
(pressing a button again is a new call), any other status. Another body, model, host or path is another call: a fallback
(`assemble` puts it beside the call that failed). A redirect is not even an exchange: no model has answered it.

The tokens of a call are those of its last attempt, so they are counted once. What an earlier attempt had begun to
answer may be billed all the same: `bill_of` says what is known of it. A request that timed out before its answer began
may be billed too, but nothing was seen of that; its attempt has the timeout's name as `error_type`.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Generic, Literal, TypeVar

from tokenflation.sdk.exchange import RETRIED_CODES, RETRY_COUNT, Exchange
from tokenflation.sdk.records import Reading, Usage

__all__ = ["MAX_ATTEMPTS", "Attempts", "Failure", "Try", "bill_of", "failure_of", "is_unfinished"]

Failure = Literal["retry", "auth", "broken"]
T = TypeVar("T")

MAX_ATTEMPTS = 64
"""A program that asks a dead server for ever makes calls of so many attempts, not one call without end."""
_WINDOW_NS = {"retry": 60_000_000_000, "auth": 10_000_000_000, "broken": 60_000_000_000}
_FORGET_NS = 120_000_000_000
_MAX_OPEN = 1024
_BILLED = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")

_Shape = tuple[str, str, str, int]
"""Host, path, scope and size of the body: cheap to compare, so that only equals are hashed."""


@dataclass(slots=True)
class Try(Generic[T]):
    """A call whose last attempt failed in a way that another may follow."""

    call_id: str
    failure: Failure
    count: int | None
    """What the client counted, from 0; None if it does not count."""
    shape: _Shape
    digest: bytes
    attempts: int
    """Attempts so far."""
    ended_at_ns: int
    kept: T
    """Whatever the caller wants back when the next attempt comes."""


def failure_of(exchange: Exchange, reading: Reading) -> Failure | None:
    """Return how an exchange failed, if in a way that an attempt may follow, else None."""
    code = exchange.status_code
    if exchange.end == "cancelled" or reading.status in ("ok", "cancelled"):
        return None
    if code is not None and 200 <= code < 300:
        if reading.stream:
            # A client closes the body itself once an error event came; without one, closing is what the host wanted.
            died = reading.status == "error" or exchange.end == "failed"
            return "broken" if died or (exchange.end == "read" and is_unfinished(reading)) else None
        return "retry" if exchange.end == "failed" else None
    if code is None or code in RETRIED_CODES:
        return "retry" if reading.status == "error" else None
    return "auth" if code == 401 else None


def bill_of(exchange: Exchange, usage: Usage, attempt: int) -> Mapping[str, int] | None:
    """Return what a provider that had begun to answer may bill although the answer never came whole; else None.

    `attempt` and `answer_bytes` (the body so far, as it came over the wire), and the counts that it had reported.
    """
    if exchange.status_code is None or not 200 <= exchange.status_code < 300:
        return None
    reported = {key: value for key in _BILLED if (value := getattr(usage, key)) is not None}
    return {"attempt": attempt, "answer_bytes": sum([len(chunk) for _, chunk in exchange.body()]), **reported}


def is_unfinished(reading: Reading) -> bool:
    """Return whether a choice has no end: some servers end a whole stream without the mark that should close it."""
    return not reading.finish_reasons or "error" in reading.finish_reasons


class Attempts(Generic[T]):
    """The calls that another attempt may follow; bounded, the oldest is given up first."""

    def __init__(self) -> None:
        self._open: OrderedDict[int, Try[T]] = OrderedDict()
        self._places: dict[_Shape, list[int]] = {}
        self._next = 0

    def find(self, exchange: Exchange, scope_id: str) -> Try[T] | None:
        """Return the call that this exchange is an attempt of (which is then no longer open), or None.

        Costs next to nothing where nothing failed; a body is hashed only if a failed one was as long.
        """
        if not self._open:
            return None
        places = self._places.get(_shape(exchange, scope_id))
        if places is None:
            return None
        count = _count(exchange)
        fits = [place for place in places if _follows(exchange, count, self._open[place])]
        if not fits:
            return None
        digest = _digest(exchange)
        for place in fits:
            if self._open[place].digest == digest:
                return self._pop(place)
        return None

    def keep(
        self, exchange: Exchange, scope_id: str, failure: Failure, *, call_id: str, attempts: int, kept: T
    ) -> list[Try[T]]:
        """Keep a failed call open for its next attempt; returns those that are given up for it.

        A request whose body could not be kept has nothing to be known by again, unless its client counts.
        """
        one = Try(
            call_id=call_id,
            failure=failure,
            count=_count(exchange),
            shape=_shape(exchange, scope_id),
            digest=_digest(exchange),
            attempts=attempts,
            ended_at_ns=exchange.ended_at_ns or exchange.started_at_ns,
            kept=kept,
        )
        if attempts >= MAX_ATTEMPTS or (exchange.request_body is None and one.count is None):
            return [one]
        self._open[self._next] = one
        self._places.setdefault(one.shape, []).append(self._next)
        self._next += 1
        return [self._pop(next(iter(self._open)))] if len(self._open) > _MAX_OPEN else []

    def drop(self, kept: T) -> bool:
        """Forget the call of which this was kept, as it is over; False if it was not open."""
        places = [place for place, one in self._open.items() if one.kept is kept]
        for place in places:
            self._pop(place)
        return bool(places)

    def answered_elsewhere(self, call_id: str) -> Try[T] | None:
        """Return, and forget, a call as another has answered in its place; None if no attempt could follow it.

        One whose client counts stays: only what that counts on from it is an attempt.
        """
        found = next((at for at, one in self._open.items() if one.call_id == call_id and one.count is None), None)
        return self._pop(found) if found is not None else None

    def expire(self, now_ns: int) -> list[Try[T]]:
        """Return, and forget, the calls for which no further attempt came in time."""
        late = []
        while self._open:
            place, one = next(iter(self._open.items()))
            if now_ns - one.ended_at_ns <= _FORGET_NS:
                break
            late.append(self._pop(place))
        return late

    def give_up(self) -> list[Try[T]]:
        """Return, and forget, all open calls."""
        left = list(self._open.values())
        self._open.clear()
        self._places.clear()
        return left

    def _pop(self, place: int) -> Try[T]:
        one = self._open.pop(place)
        places = self._places[one.shape]
        places.remove(place)
        if not places:
            del self._places[one.shape]
        return one


def _follows(exchange: Exchange, count: int | None, one: Try[T]) -> bool:
    since_ns = exchange.started_at_ns - one.ended_at_ns
    if since_ns < 0:  # what left before the failure came back is an equal call made beside it
        return False
    if count is None or one.count is None or exchange.resent:
        return count == one.count and since_ns < _WINDOW_NS[one.failure]
    if count == one.count + 1:
        return True
    return one.failure != "retry" and count in (0, one.count) and since_ns < _WINDOW_NS[one.failure]


def _count(exchange: Exchange) -> int | None:
    said = exchange.request_headers.get(RETRY_COUNT, "")
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 7 else None


def _shape(exchange: Exchange, scope_id: str) -> _Shape:
    return exchange.host, exchange.path, scope_id, len(exchange.request_body or b"")


def _digest(exchange: Exchange) -> bytes:
    return blake2b(exchange.request_body or b"", digest_size=16).digest()
