"""Records what models answer over sockets of the `websockets` library, sync, async and any other.

It listens where the library's I/O layers meet its protocol (`websockets.protocol.Protocol`, documented as Sans-I/O):
text sent, events received, the closing. Imports no websockets; other sockets are looked at once.
"""

import functools
import logging
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tokenflation.sdk.exchange import Tap
from tokenflation.sdk.hooks.bodies import safely
from tokenflation.sdk.hooks.sessions import Session, session_for
from tokenflation.sdk.hooks.sockets import SocketPatches
from tokenflation.sdk.interrupts import let_through

__all__ = ["install"]

_SESSION = "__tokenflation_session__"
"""Set on a connection's protocol when it is first seen: whose it is, and its `Session` or None if it is not ours."""
_HOOKED = ("send_text", "send_close", "events_received", "receive_eof", "fail")
_log = logging.getLogger(__name__)


def install(tap: Tap) -> Callable[[], None]:
    """Record every connection, made before or after; return the function that undoes it. Nothing is imported by us."""
    return _Installation(tap).wait_for("websockets.protocol")


# The patches.


class _Installation(SocketPatches):
    """The patches of this library."""

    def _patch(self, library: ModuleType) -> None:
        protocol = getattr(library, "Protocol", None)
        missing = [name for name in _HOOKED if not callable(getattr(protocol, "__dict__", {}).get(name))]
        if protocol is None or missing:
            remedy = "Realtime connections are not recorded; use a version of websockets that tokenflation knows"
            self._say_missing(_log, "websockets.protocol.Protocol lacks %s in this version. %s.", missing, remedy)
            return
        after: dict[str, Callable[..., None]] = {
            "send_text": _sent,
            "send_close": _closing,
            "receive_eof": _over,
            "fail": _over,
        }
        for name in _HOOKED:
            make = self._events_shell if name == "events_received" else functools.partial(self._shell, after[name])
            self._layers.cover(protocol, name, make)

    def _known(self, protocol: Any) -> Session | None:
        """Return what we know of a connection; None if it is not ours to look at."""
        tap = self._tap
        if tap is None:
            return None
        owner, session = getattr(protocol, _SESSION, (None, None))
        return session if owner is self else safely(tap.failed, self._met, tap, protocol)

    def _met(self, tap: Tap, protocol: Any) -> Session | None:
        """Look at a connection for the first time."""
        uri = getattr(protocol, "uri", None) or getattr(protocol, "wsuri", None)  # until 14 it was wsuri
        session = session_for(tap, uri.host, uri.path, uri.query or "") if uri is not None else None
        setattr(protocol, _SESSION, (self, session))
        if session is not None:
            self._sessions.add(session)
        return session

    def _shell(self, after: Callable[..., None], original: Any) -> Any:
        @functools.wraps(original)
        def shell(this: Any, *args: Any, **kwargs: Any) -> Any:
            session = self._known(this)
            if session is None:
                return original(this, *args, **kwargs)
            if after is _sent:
                safely(session.tap.failed, _asking, session, *args)
            result = original(this, *args, **kwargs)
            safely(session.tap.failed, after, session, this, *args)
            return result

        return shell

    def _events_shell(self, original: Any) -> Any:
        @functools.wraps(original)
        def events_received(this: Any) -> Any:
            events = original(this)
            if events:
                session = self._known(this)
                if session is not None:
                    safely(session.tap.failed, session.events, events)
            return events

        return events_received


def _asking(session: Session, data: Any = b"", fin: bool = True) -> None:
    if fin:
        session.asking(bytes(data))


def _sent(session: Session, _protocol: Any, data: Any = b"", fin: bool = True) -> None:
    if fin:
        session.sent(bytes(data))


def _closing(session: Session, _protocol: Any, *_: object) -> None:
    """Note that the host closes: because it was cancelled, or because it has had enough."""
    handled = sys.exception()
    session.end("closed", None if isinstance(handled, Exception) else handled)


def _over(session: Session, protocol: Any, *_: object) -> None:
    """Note that the connection broke, or that the server closed it."""
    try:
        error: BaseException = protocol.close_exc
    except Exception as missing:  # it is not closed yet, as the library sees it
        let_through(missing)
        error = ConnectionError()
    session.end("failed", error)
