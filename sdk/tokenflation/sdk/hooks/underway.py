"""Which exchange is being sent right now in this context: a hook further down must not record the same one again.

An httpx client may send through aiohttp or urllib3. Whoever records puts what it sends here before and what stood here
back after; whoever stands further down asks first. A task that was started meanwhile inherits the answer only until the
response is there.
"""

from contextvars import ContextVar
from typing import Protocol

from tokenflation.sdk.exchange import Exchange

__all__ = ["UNDERWAY", "Sent", "underway"]


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
    exchange = sent.exchange if sent is not None else None
    return exchange is not None and exchange.status_code is None and exchange.end is None
