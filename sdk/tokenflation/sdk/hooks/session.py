"""One connection to a model endpoint over a socket: what every protocol's session does. Knows no protocol."""

import os
from collections.abc import Iterable
from typing import Any

from tokenflation.sdk.exchange import Exchange, Tap
from tokenflation.sdk.hooks.bodies import end_by

__all__ = ["LATER_SOUND", "MAX_INPUT_BYTES", "Session"]

MAX_INPUT_BYTES = 8 * 1024 * 1024
"""Of what the host sends for one response we keep at most so much."""
LATER_SOUND = b"{}"
"""Stands for sound after the first of an answer, of which there is much: only when it came is wanted."""
_CONTINUATION, _TEXT, _BINARY = 0, 1, 2
"""Opcodes of RFC 6455, section 5.2."""


class Session:
    """One connection to a model endpoint: what was asked, and the answers that are under way."""

    api = ""
    method = "GET"
    binary = False
    """Whether a message may come as a binary frame, too."""

    def __init__(self, tap: Tap, host: str, path: str) -> None:
        self.tap = tap
        self._host = host
        self._path = path
        self._context: object = None
        self._conversation = f"socket-{os.urandom(8).hex()}"
        """Our name for the history that the provider keeps."""
        self._fragments: list[bytes] = []

    def __del__(self) -> None:
        try:  # noqa: SIM105  # at interpreter shutdown contextlib may be gone, like anything else
            self.end("dropped")
        except BaseException:  # noqa: S110  # the collector has nobody to tell
            pass

    def asking(self, data: bytes) -> None:
        """Hold one text message of the host, which is about to leave, to the host's limits if it asks for an answer.

        Raises:
            LimitReached: it must not be sent.
        """
        if b'"response.create"' in data or b'"response.steer"' in data:
            self.tap.hold(self.api, self.method, self._host, self._path)

    def sent(self, data: bytes) -> None:
        """Note one text message of the host."""
        raise NotImplementedError

    def received(self, data: bytes) -> None:
        """Note one text message of the server, as it arrives."""
        raise NotImplementedError

    def events(self, frames: Iterable[Any]) -> None:
        """Note frames of the server, put together with those they continue; of controls nothing."""
        for frame in frames:
            opcode = getattr(frame, "opcode", None)
            if opcode == _BINARY and self.binary:
                opcode = _TEXT
            if opcode == _TEXT and frame.fin:
                self.received(bytes(frame.data))
            elif opcode == _TEXT or (opcode == _CONTINUATION and self._fragments):
                self._fragments.append(bytes(frame.data))
                if frame.fin:
                    data = b"".join(self._fragments)
                    self._fragments = []
                    self.received(data)

    def end(self, how: str, error: BaseException | None = None) -> None:
        """Note that the connection is over, for the answers under way and those that never came."""
        for exchange in list(self._forgotten()):
            if how == "dropped":
                exchange.finish("dropped")
            else:
                end_by(exchange, error)

    def _forgotten(self) -> Iterable[Exchange]:
        """Return, and forget, what is under way."""
        raise NotImplementedError

    def _begin(self, body: bytes | None = None) -> Exchange | None:
        return self._began(self.api, self.method, body)

    def _began(self, api: str, method: str, body: bytes | None) -> Exchange | None:
        return self.tap.begin(method, self._host, self._path, body, {}, api=api, context=self._context, left=True)
