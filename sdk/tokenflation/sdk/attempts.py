"""Which HTTP attempts are tries of one call. Pure: keeps what a retry needs to know, nothing else.

A retry sends the same body to the same path in the same scope. Clients made by Stainless say which try it is
(`x-stainless-retry-count`); for others, the same body after a failure that is worth a retry is taken as one, within a
minute. The tokens of a call are those of its last attempt, so they are counted once.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import blake2b

from tokenflation.sdk.exchange import Exchange
from tokenflation.sdk.records import Attempt

__all__ = ["Attempts", "Try", "is_retryable"]

_RETRY_WINDOW_NS = 60 * 1_000_000_000
_MAX_OPEN = 1024
_RETRYABLE = frozenset({408, 409, 425, 429})


@dataclass(slots=True)
class Try:
    """A call whose last attempt failed in a way that a retry may follow."""

    key: bytes
    attempts: list[Attempt] = field(default_factory=list)
    kept: object = None
    """Whatever the caller wants back when the retry comes."""


def is_retryable(status_code: int | None) -> bool:
    """Return whether clients retry after this status; None is a connection that failed."""
    return status_code is None or status_code in _RETRYABLE or status_code >= 500


class Attempts:
    """The calls that may still be retried; bounded, the oldest is given up first."""

    def __init__(self) -> None:
        self._open: OrderedDict[int, Try] = OrderedDict()
        self._next = 0

    def find(self, exchange: Exchange, scope_id: str) -> tuple[bytes, Try | None]:
        """Return the exchange's identity and, if it is a retry, the call it retries (which is then no longer open)."""
        key = _identity(exchange, scope_id)
        said = exchange.request_headers.get("x-stainless-retry-count", "")
        count = int(said) if said.isdecimal() else None
        if count == 0:
            return key, None
        for place, one in self._open.items():
            since = exchange.started_at_ns - one.attempts[-1].ended_at_ns
            # What left before the failure came back is no retry of it, but an equal call made beside it.
            follows = since >= 0 and (len(one.attempts) == count if count is not None else since < _RETRY_WINDOW_NS)
            if one.key == key and follows:
                del self._open[place]
                return key, one
        return key, None

    def keep(self, one: Try) -> Try | None:
        """Keep a failed call open for a retry; returns the call given up for it, if any."""
        self._open[self._next] = one
        self._next += 1
        return self._open.popitem(last=False)[1] if len(self._open) > _MAX_OPEN else None

    def expire(self, now_ns: int) -> list[Try]:
        """Return, and forget, the calls for which no retry came in time."""
        late = [k for k, one in self._open.items() if now_ns - one.attempts[-1].ended_at_ns > 2 * _RETRY_WINDOW_NS]
        return [self._open.pop(place) for place in late]

    def give_up(self) -> list[Try]:
        """Return, and forget, all open calls."""
        left = list(self._open.values())
        self._open.clear()
        return left


def _identity(exchange: Exchange, scope_id: str) -> bytes:
    digest = blake2b(exchange.request_body or b"", digest_size=16)
    digest.update(f"\0{exchange.host}\0{exchange.path}\0{scope_id}".encode())
    return digest.digest()
