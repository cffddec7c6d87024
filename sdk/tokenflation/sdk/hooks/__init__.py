"""Hooks into HTTP libraries: each pours the exchanges with model endpoints into a tap, and does nothing else.

Importing this package imports no HTTP library; a library that the host never imports costs nothing.
"""

from collections.abc import Callable

from tokenflation.sdk.exchange import Tap
from tokenflation.sdk.hooks import aiohttp, aiohttp_sockets, httpx, mcp, unseen, urllib3, websockets
from tokenflation.sdk.hooks.httpx import transport

__all__ = ["install", "transport"]

_HOOKS = (
    httpx.install,
    aiohttp.install,
    aiohttp_sockets.install,
    urllib3.install,
    websockets.install,
    mcp.install,
    unseen.install,
)


def install(tap: Tap) -> Callable[[], None]:
    """Install every hook for one tap and return the function that takes them all off again.

    Clients made before are recorded too. Undoing restores the identical class attributes; where another wrapper was
    put on top meanwhile, ours stays below it and passes everything through.
    """
    undos = [install_one(tap) for install_one in _HOOKS]

    def undo() -> None:
        for undo_one in reversed(undos):
            undo_one()

    return undo
