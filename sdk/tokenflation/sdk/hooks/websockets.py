"""Records the responses that models give over a socket of the `websockets` library, sync, async and any other.

It listens where the library's I/O layers meet its protocol (`websockets.protocol.Protocol`, documented as Sans-I/O):
text sent, events received, the closing. Of OpenAI's realtime protocol it knows what opens and ends a response, and
which messages belong to it; one response is one exchange. Imports no websockets; other sockets are looked at once.
"""

import functools
import logging
import sys
from collections import deque
from collections.abc import Callable
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs
from weakref import WeakSet

import msgspec

from tokenflation.sdk.exchange import Exchange, Tap
from tokenflation.sdk.hooks.bodies import end_by, safely
from tokenflation.sdk.hooks.patching import Layer, cover, uncover, when_imported

__all__ = ["install"]

_API = "openai.realtime"
_PATH = "/realtime"
_SESSION = "__tokenflation_session__"
"""Set on a connection's protocol when it is first seen: our `_Session`, or False for traffic that is not ours."""
_HOOKED = ("send_text", "send_close", "events_received", "receive_eof", "fail")
_MAX_INPUT_BYTES = 8 * 1024 * 1024
"""Of what the host sends for one response we keep at most so much."""
_MAX_ASKED = 64
_NOTHING = msgspec.Raw(b"null")
_TEXT, _CONTINUATION = 1, 0
"""Opcodes of RFC 6455, section 5.2."""
_log = logging.getLogger(__name__)


def install(tap: Tap) -> Callable[[], None]:
    """Record every connection, made before or after; return the function that undoes it. Nothing is imported by us."""
    installation = _Installation(tap)
    when_imported("websockets.protocol", installation.patch)
    return installation.undo


# The core: what one connection has said so far.


class _Message(msgspec.Struct):
    """What we read of a message of either side; the rest is skipped."""

    type: str = ""
    item: msgspec.Raw = _NOTHING
    session: msgspec.Raw = _NOTHING
    response: msgspec.Raw = _NOTHING


class _Response(msgspec.Struct):
    id: str = ""


_message = msgspec.json.Decoder(_Message).decode
_response = msgspec.json.Decoder(_Response).decode


def _parsed(data: bytes) -> _Message:
    try:
        return _message(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Message()


def _response_id(message: _Message) -> str:
    try:
        return _response(message.response).id
    except msgspec.MsgspecError:
        return ""


class _Session:
    """One connection to a realtime endpoint: what was asked, and the responses that are under way."""

    def __init__(self, owner: "_Installation", tap: Tap, uri: Any) -> None:
        self.owner = owner
        self.tap = tap
        self._host: str = uri.host
        self._path: str = uri.path
        query = parse_qs(uri.query or "")
        self._model: str | None = next(iter(query.get("model") or query.get("deployment") or ()), None)
        self._settings = b"null"
        self._context: object = None
        """Where the host last sent something: a response that the server begins by itself belongs there."""
        self._input: list[bytes] = []
        self._input_bytes = 0
        self._asked: deque[tuple[Exchange, bytes]] = deque(maxlen=_MAX_ASKED)
        self._running: dict[bytes, Exchange] = {}
        self._fragments: list[bytes] = []

    def __del__(self) -> None:
        try:  # noqa: SIM105  # at interpreter shutdown contextlib may be gone, like anything else
            self.end("dropped")
        except BaseException:  # noqa: S110  # the collector has nobody to tell
            pass

    def sent(self, data: bytes) -> None:
        """Note what the host sends: settings, items and the wish for a response; audio only passes by."""
        self._context = self.tap.context()
        if b'"input_audio_buffer.' in data[:256]:
            return
        message = _parsed(data)
        if message.type == "session.update":
            self._settings = bytes(message.session)
        elif message.type == "conversation.item.create":
            item = bytes(message.item)
            self._input_bytes += len(item)
            if self._input_bytes <= _MAX_INPUT_BYTES:
                self._input.append(item)
        elif message.type == "response.create":
            self._refused()
            items, exchange = self._taken_input(), self._begin()
            if exchange is not None:
                self._asked.append((exchange, items))

    def received(self, data: bytes) -> None:
        """Note one message of the server in each response that it names, and open and end responses."""
        if b'"response.created"' in data:
            message = _parsed(data)
            if message.type == "response.created":
                self._open(message)
        elif b'"session.' in data[:256]:
            message = _parsed(data)
            if message.type in ("session.created", "session.updated"):
                self._settings = bytes(message.session)
        elif self._asked and b'"error"' in data and _parsed(data).type == "error":
            self._asked[0][0].add(data)
        if not self._running:
            return
        ended = b'"response.done"' in data and _parsed(data).type == "response.done"
        for name, exchange in list(self._running.items()):
            if name in data:
                exchange.add(data)
                if ended:
                    del self._running[name]
                    exchange.finish("read")

    def event(self, frame: Any) -> None:
        """Note one frame, put together with those it continues."""
        opcode = getattr(frame, "opcode", None)
        if opcode != _TEXT and not (opcode == _CONTINUATION and self._fragments):
            return
        data = bytes(frame.data)
        if frame.fin and not self._fragments:
            self.received(data)
            return
        self._fragments.append(data)
        if frame.fin:
            data = b"".join(self._fragments)
            self._fragments = []
            self.received(data)

    def end(self, how: str, error: BaseException | None = None) -> None:
        """Note that the connection is over, for the responses under way and those that never came."""
        self._refused()
        open_now = [*self._running.values(), *(self._with_body(*asked) for asked in self._asked)]
        self._running.clear()
        self._asked.clear()
        for exchange in open_now:
            if how == "dropped":
                exchange.finish("dropped")
            else:
                end_by(exchange, error)

    def _begin(self) -> Exchange | None:
        return self.tap.begin("GET", self._host, self._path, None, {}, api=_API, context=self._context)

    def _taken_input(self) -> bytes:
        """Return the items that the host sent since the response before, as a JSON array, and forget them."""
        items = b"[" + b",".join(self._input) + b"]"
        self._input = []
        self._input_bytes = 0
        return items

    def _with_body(self, exchange: Exchange, items: bytes) -> Exchange:
        """Give an exchange its request: what the host sent for it, the model, and the settings of the session."""
        model = msgspec.json.encode(self._model)
        exchange.request_body = b'{"model":%b,"session":%b,"input":%b}' % (model, self._settings, items)
        return exchange

    def _open(self, message: _Message) -> None:
        """Take up what was asked first; a response that the server began by itself (it heard a turn end) is new."""
        if self._asked:
            exchange: Exchange | None = self._with_body(*self._asked.popleft())
        else:
            exchange = self._begin()
            if exchange is not None:
                self._with_body(exchange, self._taken_input())
        if exchange is None:
            return
        exchange.chunks.clear()  # errors that came meanwhile were not about this one
        exchange.kept_bytes = 0
        exchange.answer(200, "application/json", "")
        self._running[msgspec.json.encode(_response_id(message))] = exchange

    def _refused(self) -> None:
        """Finish what was asked, never begun, and answered by an error: the host asks again."""
        while self._asked and self._asked[0][0].chunks:
            exchange = self._with_body(*self._asked.popleft())
            exchange.answer(200, "application/json", "")
            exchange.finish("read")


# The patches.


class _Installation:
    """The patches made for one tap; holds them until `undo`."""

    def __init__(self, tap: Tap) -> None:
        self._tap: Tap | None = tap
        self._layers: list[Layer] = []
        self._sessions: WeakSet[_Session] = WeakSet()

    def patch(self, module: ModuleType) -> None:
        """Patch the protocol; never raises, as it runs inside the host's import statement."""
        if self._tap is not None:  # wrapt cannot forget a post-import hook: after undo it must do nothing
            safely(self._tap.failed, self._patch, module)

    def undo(self) -> None:
        """Take every patch off, close what is under way, and let go of the tap; calling it again does nothing."""
        tap, self._tap = self._tap, None
        while self._layers:
            uncover(self._layers.pop())
        for session in list(self._sessions):
            if tap is not None:
                safely(tap.failed, session.end, "closed")

    def _patch(self, module: ModuleType) -> None:
        protocol = getattr(module, "Protocol", None)
        missing = [name for name in _HOOKED if not callable(getattr(protocol, "__dict__", {}).get(name))]
        if protocol is None or missing:
            remedy = "Realtime connections are not recorded; use a version of websockets that tokenflation knows"
            _log.warning("websockets.protocol.Protocol lacks %s in this version. %s.", missing, remedy)
            if self._tap is not None:
                self._tap.failed("hook_missing")
            return
        after: dict[str, Callable[..., None]] = {
            "send_text": _sent,
            "send_close": _closing,
            "receive_eof": _over,
            "fail": _over,
        }
        for name in _HOOKED:
            make = self._events_shell if name == "events_received" else functools.partial(self._shell, after[name])
            self._layers.append(cover(protocol, name, make))

    def _session(self, protocol: Any) -> _Session | None:
        """Return what we know of a connection; None if it is not ours to look at."""
        tap = self._tap
        if tap is None:
            return None
        session = getattr(protocol, _SESSION, None)
        if session is None or (session is not False and session.owner is not self):
            uri = getattr(protocol, "uri", None) or getattr(protocol, "wsuri", None)  # until 14 it was wsuri
            session = False
            if uri is not None and uri.path.endswith(_PATH):
                session = _Session(self, tap, uri)
                self._sessions.add(session)
            setattr(protocol, _SESSION, session)
        return session if isinstance(session, _Session) else None

    def _known(self, protocol: Any) -> _Session | None:
        tap = self._tap
        session = safely(tap.failed, self._session, protocol) if tap is not None else None
        return session if isinstance(session, _Session) else None

    def _shell(self, after: Callable[..., None], original: Any) -> Any:
        @functools.wraps(original)
        def shell(this: Any, *args: Any, **kwargs: Any) -> Any:
            session = self._known(this)
            if session is None:
                return original(this, *args, **kwargs)
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
                    for event in events:
                        safely(session.tap.failed, session.event, event)
            return events

        return events_received


def _sent(session: _Session, _protocol: Any, data: Any = b"", fin: bool = True) -> None:
    if fin:
        session.sent(bytes(data))


def _closing(session: _Session, _protocol: Any, *_: object) -> None:
    """Note that the host closes: because it was cancelled, or because it has had enough."""
    handled = sys.exception()
    session.end("closed", None if isinstance(handled, Exception) else handled)


def _over(session: _Session, protocol: Any, *_: object) -> None:
    """Note that the connection broke, or that the server closed it."""
    try:
        error: BaseException = protocol.close_exc
    except Exception:  # it is not closed yet, as the library sees it
        error = ConnectionError()
    session.end("failed", error)
