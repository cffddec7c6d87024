"""Model answers over sockets, whichever library moves them: which messages make up one exchange.

Two protocols of OpenAI: a realtime session, and the Responses API in its WebSocket mode; Google's stands in `live`. One
answer of a model is one exchange, its chunks the server's messages of it. Of a message no more is read than what opens,
ends and names an answer; what it says is for `wire`. Knows no socket library: it is told what was sent, what came, and
the end.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

import msgspec

from tokenflation.sdk.exchange import Exchange, Tap
from tokenflation.sdk.hooks.live import LiveSession, is_live
from tokenflation.sdk.hooks.session import LATER_SOUND, MAX_INPUT_BYTES, Session
from tokenflation.sdk.hooks.unseen import socket_unread

__all__ = ["RealtimeSession", "ResponsesSession", "Session", "session_for"]

_MAX_ASKED = 64
_TRANSCRIPTION = b"conversation.item.input_audio_transcription."
_SOUND = frozenset((b"response.output_audio.delta", b"response.audio.delta"))
_NOTHING = msgspec.Raw(b"null")


class _Message(msgspec.Struct):
    """What is read of a message of either side; the rest is skipped."""

    type: str = ""
    item: msgspec.Raw = _NOTHING
    item_id: Any = None
    session: msgspec.Raw = _NOTHING
    response: msgspec.Raw = _NOTHING
    stream_id: Any = None
    status: Any = None
    model: msgspec.Raw = _NOTHING
    input: msgspec.Raw = _NOTHING
    previous_response_id: Any = None


class _Response(msgspec.Struct):
    id: str = ""
    previous_response_id: Any = None
    conversation: Any = None


_message = msgspec.json.Decoder(_Message).decode
_response = msgspec.json.Decoder(_Response).decode


def _parsed(data: bytes) -> _Message:
    try:
        return _message(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Message()


_HEAD = re.compile(rb'\s*\{\s*(?:"event_id"\s*:\s*"[^"\\]*"\s*,\s*)?"type"\s*:\s*"([^"\\]+)"')


def _kind(data: bytes) -> bytes:
    """Return the type of a message: from its head, where OpenAI writes it, or else by reading it whole."""
    match = _HEAD.match(data)
    return match.group(1) if match is not None else str(_parsed(data).type).encode()


def _answer(message: _Message) -> _Response:
    try:
        return _response(message.response)
    except msgspec.MsgspecError:
        return _Response()


class ResponsesSession(Session):
    """The Responses API over a socket: `response.create` holds a whole request; per lane, answers come in its order.

    `response.steer` queues input for an answer under way, after which the server goes on by itself with one more.

    Source: developers.openai.com/api/docs/guides/websocket-mode and /steering, and openai's `ResponsesServerEvent`.
    """

    api = "openai.responses"
    method = "POST"
    """What a request over HTTP would be: a GET of this path fetches what was answered before."""
    _ends = frozenset((b"response.completed", b"response.failed", b"response.incomplete", b"error"))

    def __init__(self, tap: Tap, host: str, path: str, _query: str) -> None:
        super().__init__(tap, host, path)
        self._lanes: dict[str, deque[Exchange]] = {}
        self._models: dict[str, bytes] = {}
        """By lane, the model that the last request in it named."""
        self._steers: dict[str, tuple[object, list[bytes]]] = {}
        """By the answer that is to be steered: whose doing it is, and the input."""

    def sent(self, data: bytes) -> None:
        """Open an exchange for each request; keep what is to steer an answer for the one after it."""
        if b'"response.create"' not in data and b'"response.steer"' not in data:
            return
        message = _parsed(data)
        if message.type == "response.create":
            exchange = self._begin(data)
            name = str(message.stream_id)
            lane = self._lanes.setdefault(name, deque(maxlen=_MAX_ASKED))
            self._models[name] = bytes(message.model)
            if exchange is not None:
                lane.append(exchange)
            if len(self._lanes) > _MAX_ASKED:  # a host may name a lane for each request
                self._lanes = {one: waiting for one, waiting in tuple(self._lanes.items()) if waiting}
                self._models = {one: self._models.get(one, b"null") for one in (*self._lanes, name)}
        elif message.type == "response.steer" and isinstance(message.previous_response_id, str):
            steer = self._steers.setdefault(message.previous_response_id, (self.tap.context(), []))
            if sum(map(len, steer[1])) + len(data) <= MAX_INPUT_BYTES:
                steer[1].append(bytes(message.input))
            if len(self._steers) > _MAX_ASKED:
                del self._steers[next(iter(self._steers))]

    def received(self, data: bytes) -> None:
        """Note a message in the first exchange of its lane, and finish that at its last message."""
        name = str(_parsed(data).stream_id if b'"stream_id"' in data else None)
        kind = _kind(data)
        if kind.startswith(b"response.steer."):  # of the host's input, which may be refused while the answer goes on
            return
        if kind == b"response.created" and self._steers:
            self._go_on(name, _answer(_parsed(data)).previous_response_id)
        lane = self._lanes.get(name)
        if not lane:
            return
        exchange = lane[0]
        ended = kind in self._ends
        if exchange.status_code is None:
            status = _parsed(data).status if ended else None
            exchange.answer(status if isinstance(status, int) else 200, "application/json", "")
        exchange.add(data)
        if ended:
            lane.popleft()
            exchange.finish("read")

    def _go_on(self, name: str, previous: Any) -> None:
        """Open an exchange for an answer that goes on from a steered one without having been asked for."""
        steer = self._steers.pop(previous, None) if isinstance(previous, str) else None
        lane = self._lanes.setdefault(name, deque(maxlen=_MAX_ASKED))
        if steer is None or (lane and previous.encode() in (lane[0].request_body or b"")):
            return
        request = {
            "type": "response.create",
            "model": msgspec.Raw(self._models.get(name, b"null")),
            "previous_response_id": previous,
            "input": _joined(steer[1]),
        }
        self._context, exchange = steer[0], None
        try:
            exchange = self._begin(msgspec.json.encode(request))
        finally:
            self._context = None
        if exchange is not None:
            lane.appendleft(exchange)

    def _forgotten(self) -> Iterable[Exchange]:
        lanes, self._lanes = self._lanes, {}
        return [exchange for lane in lanes.values() for exchange in lane]


def _joined(inputs: list[bytes]) -> list[Any]:
    """Return inputs, each a text or a list of items, as one list of items."""
    items: list[Any] = []
    for given in map(msgspec.json.decode, inputs):
        items += given if isinstance(given, list) else [{"type": "message", "role": "user", "content": given}]
    return items


class RealtimeSession(Session):
    """A realtime session: settings and items make up the request; responses are asked for, or begin by themselves.

    What was said is written down, where the settings ask for it, by another model, which counts by itself.

    Source: platform.openai.com/docs/api-reference/realtime-client-events and /realtime-server-events.
    """

    api = "openai.realtime"

    def __init__(self, tap: Tap, host: str, path: str, query: str) -> None:
        super().__init__(tap, host, path)
        said = parse_qs(query)
        self._model: str | None = next(iter(said.get("model") or said.get("deployment") or ()), None)
        self._settings = b"null"
        self._input: list[bytes] = []
        self._input_bytes = 0
        self._turns = 0
        """Makes requests differ: of two that were heard, one would be an attempt of the other that failed."""
        self._asked: deque[tuple[Exchange, bytes, bool]] = deque(maxlen=_MAX_ASKED)
        """What was asked, with what the host sent for it, and whether it stands outside of the conversation."""
        self._running: dict[bytes, Exchange] = {}
        self._sounded: set[bytes] = set()
        """Of these, those that have brought sound."""
        self._written: dict[str, Exchange] = {}
        """By what was said: the transcription of it."""

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
            if self._input_bytes <= MAX_INPUT_BYTES:
                self._input.append(item)
        elif message.type == "response.create":
            self._refused()
            items, exchange = self._taken_input(), self._begin()
            if exchange is not None:
                self._asked.append((exchange, items, _answer(message).conversation == "none"))

    def received(self, data: bytes) -> None:
        """Note one message of the server in each response that it names, and open and end responses."""
        kind = _kind(data)
        if kind == b"response.created":
            self._open(_parsed(data))
        elif kind in (b"session.created", b"session.updated"):
            self._settings = bytes(_parsed(data).session)
        elif kind == b"error" and self._asked:
            self._asked[0][0].add(data)
        elif kind.startswith(_TRANSCRIPTION):
            self._write(kind, data)
        if not kind.startswith(b"response."):
            return
        alone = len(self._running) == 1
        for name, exchange in self._running.items():
            # What ends a response must name it: one that began before we listened may still be under way.
            if (alone and kind != b"response.done") or name in data:
                sound = kind in _SOUND
                exchange.add(LATER_SOUND if sound and name in self._sounded else data)
                if sound:
                    self._sounded.add(name)
                if kind == b"response.done":
                    del self._running[name]
                    self._sounded.discard(name)
                    exchange.finish("read")
                return

    def _forgotten(self) -> Iterable[Exchange]:
        self._refused()
        left = [*self._running.values(), *(self._with_body(*asked) for asked in self._asked), *self._written.values()]
        self._running.clear()
        self._sounded.clear()
        self._written.clear()
        self._asked.clear()
        return left

    def _taken_input(self) -> bytes:
        """Return the items that the host sent since the response before, as a JSON array, and forget them."""
        items = b"[" + b",".join(self._input) + b"]"
        self._input = []
        self._input_bytes = 0
        return items

    def _with_body(self, exchange: Exchange, items: bytes, alone: bool = False) -> Exchange:
        """Give an exchange its request: what the host sent for it, the model, and the settings of the session."""
        named = msgspec.json.encode(None if alone else self._conversation)
        model = msgspec.json.encode(self._model)
        self._turns += 1
        body = b'{"model":%b,"conversation":%b,"turn":%d,"session":%b,"input":%b}'
        exchange.request_body = body % (model, named, self._turns, self._settings, items)
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
        self._running[msgspec.json.encode(_answer(message).id)] = exchange

    def _write(self, kind: bytes, data: bytes) -> None:
        """Note one message of a transcription; xAI completes some several times, as more is said."""
        message = _parsed(data)
        name = str(message.item_id)
        exchange = self._written.pop(name, None)
        if exchange is None:
            asked = b'{"model":%b,"input_audio":null}' % msgspec.json.encode(_transcriber(self._settings))
            exchange = self._began("openai.transcriptions", "POST", asked)
            if exchange is None:
                return
            exchange.answer(200, "application/json", "")
        exchange.add(data)
        if kind.endswith((b".completed", b".failed")) and message.status != "in_progress":
            exchange.finish("read")
        else:
            if len(self._written) >= _MAX_ASKED:  # what never ends must not add up
                self._written.pop(next(iter(self._written))).finish("closed")
            self._written[name] = exchange

    def _refused(self) -> None:
        """Finish what was asked, never begun, and answered by an error: the host asks again."""
        while self._asked and self._asked[0][0].chunks:
            exchange = self._with_body(*self._asked.popleft())
            exchange.answer(200, "application/json", "")
            exchange.finish("read")


def _transcriber(settings: bytes) -> Any:
    """Return the model that writes down what is said, where the session's settings name it."""
    said: Any = msgspec.json.decode(settings)
    if isinstance(said, dict) and "input_audio_transcription" in said:  # Azure's Voice Live, and OpenAI's beta
        said = {"audio": {"input": {"transcription": said["input_audio_transcription"]}}}
    for key in ("audio", "input", "transcription", "model"):
        said = said.get(key) if isinstance(said, dict) else None
    return said


_SESSIONS: dict[str, Callable[[Tap, str, str, str], Session]] = {
    "realtime": RealtimeSession,
    "responses": ResponsesSession,
}


def session_for(tap: Tap, host: str, path: str, query: str) -> Session | None:
    """Return a session for a connection to this path, None for traffic that is not ours to look at."""
    # mistralai transcribes at /v1/audio/transcriptions/realtime, with events of its own.
    make = None if "/transcriptions/" in path else _SESSIONS.get(path.rpartition("/")[2])
    if make is None and is_live(path):
        make = LiveSession
    if make is None:
        socket_unread(tap, host, path)
        return None
    return make(tap, host, path, query)
