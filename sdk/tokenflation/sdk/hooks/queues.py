"""Notes how long a request waits in its client for a free connection: it has not left, so no model's time is in that.

The pools of httpx and httpx2 wait for an event, aiohttp's connector in a method of its own, both only where all
connections that a client may have are in use: a request that finds one costs nothing here. urllib3 has a connection
before its hook begins. Imports no library.
"""

import functools
import inspect
import sys
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any

from tokenflation.sdk.clock import now_ns
from tokenflation.sdk.exchange import Exchange, Tap
from tokenflation.sdk.hooks.aiohttp import asked_for
from tokenflation.sdk.hooks.bodies import safely
from tokenflation.sdk.hooks.patches import Patches
from tokenflation.sdk.hooks.underway import UNDERWAY

__all__ = ["install"]

_PLACES = {
    "httpcore._synchronization": (("Event", "wait"), ("AsyncEvent", "wait")),
    "httpcore2._synchronization": (("Event", "wait"), ("AsyncEvent", "wait")),
    "aiohttp.connector": (("BaseConnector", "_wait_for_available_connection"),),
}
"""Module -> class and what waits in it; in a version without it the wait stays part of the duration."""


def install(tap: Tap) -> Callable[[], None]:
    """See every wait of clients made before or after; return the function that undoes it. Nothing is imported by us."""
    return _Installation(tap).wait_for(*_PLACES)


def _waiting(caller: FrameType) -> Exchange | None:
    """Return what the request is recorded as that waits in a function with this caller."""
    # aiohttp does not say what waits, but its caller has it: to note it elsewhere would cost every request.
    sent = asked_for(caller.f_locals.get("req")) or UNDERWAY.get()
    exchange = sent if sent is None or isinstance(sent, Exchange) else sent.exchange
    return exchange if exchange is not None and exchange.status_code is None else None


def _left(exchange: Exchange | None) -> None:
    if exchange is not None and exchange.end is None:
        exchange.waited_ns = now_ns() - exchange.started_at_ns


class _Installation(Patches):
    """The patches of what waits in the clients of all libraries."""

    def _patch(self, library: ModuleType) -> None:
        for owner, name in _PLACES[library.__name__]:
            original = getattr(getattr(library, owner, None), "__dict__", {}).get(name)
            if original is not None:
                shell = self._async_shell if inspect.iscoroutinefunction(original) else self._sync_shell
                self._layers.cover(getattr(library, owner), name, shell)

    def _sync_shell(self, original: Any) -> Any:
        @functools.wraps(original)
        def wait(*args: Any, **kwargs: Any) -> Any:
            exchange = safely(self._count, _waiting, sys._getframe(1))
            try:
                return original(*args, **kwargs)
            finally:
                safely(self._count, _left, exchange)

        return wait

    def _async_shell(self, original: Any) -> Any:
        @functools.wraps(original)
        async def wait(*args: Any, **kwargs: Any) -> Any:
            exchange = safely(self._count, _waiting, sys._getframe(1))
            try:
                return await original(*args, **kwargs)
            finally:
                safely(self._count, _left, exchange)

        return wait

    def _count(self, reason: str) -> None:
        if self._tap is not None:
            self._tap.failed(reason)
