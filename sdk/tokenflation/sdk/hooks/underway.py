"""Which exchange is being sent right now in this context: a hook further down must not record the same one again.

An httpx client may send through aiohttp or urllib3. Whoever records enters before it sends and leaves after; whoever
stands further down asks first. A task that was started meanwhile inherits the answer only until the response is there.
"""

from contextvars import ContextVar

from tokenflation.sdk.exchange import Exchange

__all__ = ["enter", "leave", "underway"]

_EXCHANGE: ContextVar[Exchange | None] = ContextVar("tokenflation_underway", default=None)


def enter(exchange: Exchange | None) -> Exchange | None:
    """Say that this exchange is being sent; return what `leave` wants. Never raises, as little as `leave` does."""
    before = _EXCHANGE.get()
    _EXCHANGE.set(exchange)
    return before


def leave(before: Exchange | None) -> None:
    """Say that it has been sent. No token is reset: a coroutine may be closed in another context than it ran in."""
    _EXCHANGE.set(before)


def underway() -> bool:
    """Return whether a hook further up records what is being sent now."""
    exchange = _EXCHANGE.get()
    return exchange is not None and exchange.status_code is None and exchange.end is None
