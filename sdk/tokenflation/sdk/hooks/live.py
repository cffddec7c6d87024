"""Google's Live API over a socket: one turn of the model is one exchange, as that is what the provider counts.

A turn ends when the server says so, after the tools that the model waited for; their results are in its request. What
it says is for `wire`. Knows no socket library.
"""

from typing import Any

import msgspec

from tokenflation.sdk.exchange import Exchange, Tap
from tokenflation.sdk.hooks.session import LATER_SOUND, MAX_INPUT_BYTES, Session

__all__ = ["LiveSession", "is_live"]

_PATHS = ("BidiGenerateContent", "BidiGenerateContentConstrained")
_SENT = ("setup", "client_content", "realtime_input", "tool_response")
_NOTHING = msgspec.Raw(b"null")
_AUDIO_BYTES = 256
"""Within the first so many bytes a message of audio or video says what it is."""
_SOUND, _DATA = b'"inlineData"', b'"data"'
_BESIDE_SOUND = (b'"turnComplete"', b'"usageMetadata"', b'"outputTranscription"')
"""What is read that may stand beside sound."""
_MAX_HANDLES = 1024


class _Content(msgspec.Struct, rename="camel"):
    model_turn: msgspec.Raw = _NOTHING
    turn_complete: Any = None
    turn_complete_reason: Any = None


class _Message(msgspec.Struct, rename="camel"):
    """What is read of a message of the server; the rest is skipped."""

    server_content: _Content | None = None
    tool_call: msgspec.Raw = _NOTHING
    usage_metadata: msgspec.Raw = _NOTHING
    session_resumption_update: Any = None


_message = msgspec.json.Decoder(_Message).decode
_sent = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def is_live(path: str) -> bool:
    """Return whether a socket of this path speaks this protocol."""
    return path.rpartition("/")[2].rpartition(".")[2] in _PATHS


class LiveSession(Session):
    """A live session: setup and content make up the request of a turn, which is asked for or begins by itself.

    A session that is resumed goes on with the conversation of the one that was given its handle.

    Source: ai.google.dev/api/live, google-genai's `LiveServerMessage` and `LiveClientMessage`.
    """

    api = "google.live"
    binary = True

    def __init__(self, tap: Tap, host: str, path: str, _query: str) -> None:
        super().__init__(tap, host, path)
        self._setup = b"null"
        self._model: Any = None
        self._input: list[bytes] = []
        self._turn_input: list[bytes] = []
        """What the turn under way was asked, and the results that it waited for."""
        self._input_bytes = 0
        self._asked: Exchange | None = None
        self._turn: Exchange | None = None
        self._sounded = False
        """Whether the turn has brought sound."""

    def asking(self, data: bytes) -> None:
        """Hold a message that asks for an answer to the host's limits.

        Raises:
            LimitReached: it must not be sent.
        """
        if self._asks(data)[2]:
            self.tap.hold(self.api, self.method, self._host, self._path)

    def sent(self, data: bytes) -> None:
        """Note what the host sends: setup, content, results and the wish for an answer; audio only passes by."""
        self._context = self.tap.context()
        content, results, asks = self._asks(data)
        self._input_bytes += sum(map(len, (*content, *results)))
        if self._input_bytes <= MAX_INPUT_BYTES:
            self._input += content
            (self._input if self._turn is None else self._turn_input).extend(results)
        if asks and self._asked is None:
            self._asked = self._begin()

    def received(self, data: bytes) -> None:
        """Note one message of the server in the turn that is under way; open and end turns."""
        sound = _is_sound(data)
        if sound and self._turn is not None and self._sounded:
            self._turn.add(LATER_SOUND)
            return
        message = _read(data)
        said = message.server_content or _Content()
        if self._turn is None and any(map(_tells, (said.model_turn, message.tool_call, message.usage_metadata))):
            self._open()
        if self._turn is not None:
            self._turn.add(data)
            self._sounded = self._sounded or sound
            if said.turn_complete:
                turn, self._turn = self._turn, None
                self._with_body(turn, self._turn_input).finish("read")
        self._resumable(message.session_resumption_update)

    def _asks(self, data: bytes) -> tuple[list[bytes], list[bytes], bool]:
        """Return the content and the results of tools in a message of the host, and whether the model is to answer."""
        head = data[:_AUDIO_BYTES]
        if b'"realtime' in head and b'"text"' not in head:
            return [], [], False
        try:
            sent = {_snake(name): value for name, value in _sent(data).items()}
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return [], [], False
        setup, content, spoken, results = (_object(sent.get(name)) for name in _SENT)
        if "setup" in sent:
            self._set_up(bytes(sent["setup"]), setup)
        turns = content.get("turns")
        found = turns if isinstance(turns, list) else [turns] if turns else []
        if isinstance(text := spoken.get("text"), str):
            found.append({"role": "user", "parts": [{"text": text}]})
        answers = results.get("functionResponses") or results.get("function_responses")
        brought = {"role": "user", "parts": [{"functionResponse": one} for one in answers or ()]}
        wants = content.get("turnComplete", content.get("turn_complete")) is True
        encode = msgspec.json.encode
        return [encode(one) for one in found], [encode(brought)] if answers else [], wants or isinstance(text, str)

    def _set_up(self, raw: bytes, setup: dict[str, Any]) -> None:
        self._setup = raw
        if isinstance(model := setup.get("model"), str):
            self._model = model.rpartition("/")[2]
        handle = _object(setup.get("sessionResumption") or setup.get("session_resumption")).get("handle")
        self._conversation = self.tap.resumed.get(str(handle), self._conversation)

    def _resumable(self, update: Any) -> None:
        """Note by which handle another connection may go on with this conversation."""
        handle = update.get("newHandle") if isinstance(update, dict) else None
        if isinstance(handle, str):
            self.tap.resumed[handle] = self._conversation
            if len(self.tap.resumed) > _MAX_HANDLES:
                self.tap.resumed.pop(next(iter(self.tap.resumed)), None)

    def _open(self) -> None:
        """Take up what was asked; a turn that the server began by itself (it heard a turn end) is new."""
        self._turn, self._asked = self._asked or self._begin(), None
        self._turn_input, self._input, self._input_bytes = self._input, [], 0
        self._sounded = False
        if self._turn is not None:
            self._with_body(self._turn, self._turn_input).answer(200, "application/json", "")

    def _with_body(self, exchange: Exchange, contents: list[bytes]) -> Exchange:
        """Give an exchange its request: what the host sent for it, and the setup of the session."""
        exchange.request_body = b'{"model":%b,"conversation":%b,"setup":%b,"contents":[%b]}' % (
            msgspec.json.encode(self._model),
            msgspec.json.encode(self._conversation),
            self._setup,
            b",".join(contents),
        )
        return exchange

    def _forgotten(self) -> list[Exchange]:
        left = (self._turn, self._turn_input), (self._asked, self._input)
        self._turn = self._asked = None
        return [self._with_body(exchange, contents) for exchange, contents in left if exchange is not None]


def _read(data: bytes) -> _Message:
    try:
        return _message(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Message()


def _is_sound(data: bytes) -> bool:
    """Return whether a message holds sound and nothing that is read; the sound itself is skipped."""
    if _SOUND not in data[:_AUDIO_BYTES]:
        return False
    start = data.find(b'"', data.find(_DATA) + len(_DATA)) + 1
    rest = data[:start] + data[data.find(b'"', start) :]
    return not any(name in rest for name in _BESIDE_SOUND)


def _tells(raw: msgspec.Raw) -> bool:
    """Return whether something stands there: an empty object says nothing."""
    return bytes(raw) not in (b"null", b"{}")


def _object(value: Any) -> dict[str, Any]:
    """Return a JSON object, given as such or as its bytes; an empty one for anything else."""
    value = msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value
    return value if isinstance(value, dict) else {}


def _snake(name: str) -> str:
    return "".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in name)
