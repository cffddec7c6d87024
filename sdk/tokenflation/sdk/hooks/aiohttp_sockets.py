"""Records what models answer over sockets of aiohttp's client, as `websockets.py` does for that library.

A message is noted when the host takes it: aiohttp's own queue of messages is compiled and cannot be listened to.
Imports no aiohttp; other sockets are looked at once.
"""

import functools
import inspect
import logging
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tokenflation.sdk.exchange import Tap
from tokenflation.sdk.hooks.bodies import safely
from tokenflation.sdk.hooks.sessions import Session, session_for
from tokenflation.sdk.hooks.sockets import SocketPatches

__all__ = ["install"]

_SESSION = "__tokenflation_session__"
"""Set on a socket when it is first seen: whose it is, and its `Session` or None if it is not ours."""
_HOOKED = ("send_str", "receive", "close")
_TEXT, _BINARY = 1, 2
_OVER = frozenset((0x8, 0x101, 0x102))
"""`aiohttp.WSMsgType`: CLOSE, CLOSED and ERROR; CLOSING says that the host closes."""
_log = logging.getLogger(__name__)


def install(tap: Tap) -> Callable[[], None]:
    """Record every socket, opened before or after; return the function that undoes it. Nothing is imported by us."""
    return _Installation(tap).wait_for("aiohttp")


class _Installation(SocketPatches):
    """The patches of this library."""

    def _patch(self, library: ModuleType) -> None:
        socket = getattr(library, "ClientWebSocketResponse", None)
        methods = getattr(socket, "__dict__", {})
        missing = [name for name in _HOOKED if not inspect.iscoroutinefunction(methods.get(name))]
        if socket is None or missing:
            remedy = "Realtime connections over aiohttp are not recorded; use a version that tokenflation knows"
            self._say_missing(_log, "aiohttp.ClientWebSocketResponse lacks %s in this version. %s.", missing, remedy)
            return
        steps: tuple[tuple[str, Any, Any], ...] = (
            ("send_str", _asking, _sent),
            ("receive", None, _received),
            ("close", _closing, None),
        )
        for name, before, after in steps:
            self._layers.cover(socket, name, functools.partial(self._shell, before, after))

    def _shell(self, before: Any, after: Any, original: Any) -> Any:
        @functools.wraps(original)
        async def shell(this: Any, *args: Any, **kwargs: Any) -> Any:
            session = self._known(this)
            if session is not None and before is not None:
                safely(session.tap.failed, before, session, this, *args)
            result = await original(this, *args, **kwargs)
            if session is not None and after is not None:
                safely(session.tap.failed, after, session, result, *args)
            return result

        return shell

    def _known(self, socket: Any) -> Session | None:
        """Return what we know of a socket; None if it is not ours to look at."""
        tap = self._tap
        if tap is None:
            return None
        owner, session = getattr(socket, _SESSION, (None, None))
        return session if owner is self else safely(tap.failed, self._met, tap, socket)

    def _met(self, tap: Tap, socket: Any) -> Session | None:
        """Look at a socket for the first time."""
        url = socket._response.url
        session = session_for(tap, url.host or "", url.path, url.raw_query_string)
        setattr(socket, _SESSION, (self, session))
        if session is not None:
            self._sessions.add(session)
        return session


def _asking(session: Session, _socket: Any, data: Any = b"", *_: object) -> None:
    session.asking(data.encode() if isinstance(data, str) else bytes(data))


def _sent(session: Session, _result: Any, data: Any = b"", *_: object) -> None:
    session.sent(data.encode() if isinstance(data, str) else bytes(data))


def _received(session: Session, message: Any, *_: object) -> None:
    if message.type == _TEXT or (message.type == _BINARY and session.binary):
        session.received(message.data.encode() if isinstance(message.data, str) else bytes(message.data))
    elif message.type in _OVER:
        session.end("failed", message.data if isinstance(message.data, Exception) else ConnectionError())


def _closing(session: Session, socket: Any, *_: object) -> None:
    """Note that the host closes; with a close code it is aiohttp that answers a close or a failure."""
    handled = sys.exception()
    if socket.close_code is not None and (handled is None or isinstance(handled, Exception)):
        session.end("failed", handled or ConnectionError())
    else:
        session.end("closed", None if isinstance(handled, Exception) else handled)
