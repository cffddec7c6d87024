"""Which exchange is being sent right now in this context: a hook further down must not record the same one again.

An httpx client may send through aiohttp or urllib3, or ask another model before it does (is this prompt allowed?).
Whoever records puts what it sends here before and what stood here back after; whoever stands further down asks first.
A task that was started meanwhile inherits the answer only until the response is there.
"""

from contextvars import ContextVar
from typing import Protocol

from tokenflation.sdk.exchange import Exchange

__all__ = ["UNDERWAY", "Sent", "passed_on", "underway"]


class Sent(Protocol):
    """What is being sent, as the hook knows it that sends it."""

    @property
    def exchange(self) -> Exchange | None:
        """What it is recorded as; None if it is not."""


UNDERWAY: ContextVar[Sent | None] = ContextVar("tokenflation_underway", default=None)
"""No token of it is reset: a coroutine may be closed in another context than it ran in."""


def underway() -> bool:
    """Return whether a hook further up records what is being sent now."""
    sent = UNDERWAY.get()
    return sent is not None and _unanswered(sent.exchange) is not None


def passed_on(host: str, path: str, body: bytes | None, *, whole: bool = False) -> Sent | None:
    """Return what a hook further up sends now and records if that is this request, None if this is another.

    Whoever passes a request on by another library may write it anew, or turn it to another place, not both; unless it
    is to be the `whole` of it.
    """
    sent = UNDERWAY.get()
    exchange = _unanswered(sent.exchange) if sent is not None else None
    if exchange is None:
        return None
    known = exchange.request_body
    here = exchange.path == path and exchange.host.lower() == host.lower()
    if whole:
        return sent if here and body is not None and body == known else None
    return sent if here or body is None or known is None or body == known else None


def _unanswered(exchange: Exchange | None) -> Exchange | None:
    return exchange if exchange is not None and exchange.status_code is None and exchange.end is None else None
