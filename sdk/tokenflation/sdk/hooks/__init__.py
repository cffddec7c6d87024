"""Hooks into HTTP libraries: each pours the exchanges with model endpoints into a tap, and does nothing else.

Importing this package imports no HTTP library; a library that the host never imports costs nothing.
"""

import contextlib
import logging
from collections.abc import Callable

from tokenflation.sdk.exchange import Tap
from tokenflation.sdk.hooks import (
    aiohttp,
    aiohttp_sockets,
    http_client,
    httpx,
    lm15,
    mcp,
    queues,
    unseen,
    urllib3,
    websockets,
)
from tokenflation.sdk.hooks.bodies import safely
from tokenflation.sdk.hooks.httpx import transport
from tokenflation.sdk.interrupts import let_through
from tokenflation.sdk.saying import say

__all__ = ["install", "transport"]

_HOOKS = (
    httpx.install,
    aiohttp.install,
    aiohttp_sockets.install,
    urllib3.install,
    http_client.install,
    lm15.install,
    queues.install,
    websockets.install,
    mcp.install,
    unseen.install,
)
_log = logging.getLogger(__name__)


def install(tap: Tap) -> Callable[[], None]:
    """Install every hook for one tap and return the function that takes them all off again.

    Clients made before are recorded too. Undoing restores the identical class attributes; where another wrapper was
    put on top meanwhile, ours stays below it and passes everything through.
    """
    with contextlib.ExitStack() as undos:  # a signal's handler of the host may raise in between
        for install_one in _HOOKS:
            if (undo_one := _installed(install_one, tap)) is not None:
                undos.callback(safely, tap.failed, undo_one)
        return undos.pop_all().close


def _installed(install_one: Callable[[Tap], Callable[[], None]], tap: Tap) -> Callable[[], None] | None:
    """Return what undoes one hook, None where it could not be installed: that is said and counted, the others go on."""
    try:
        return install_one(tap)
    except Exception as error:
        let_through(error)
        name = install_one.__module__
        say(_log, "%s could not be installed, what it would see is not recorded: %r", name, error)
        safely(tap.failed, tap.failed, "hook_missing")
        return None
