"""The body of an answer that the host reads by asking for it, piece by piece, as http.client and urllib3 have it."""

import sys
from typing import Any

from tokenflation.sdk.exchange import Exchange
from tokenflation.sdk.hooks.bodies import end_by

__all__ = ["ReadBody"]

_SMALL_BYTES = 8
_LINE_BYTES = 1024


class ReadBody:
    """What is noted of a body while the host reads it; lies on http.client's response and goes with it."""

    __slots__ = ("_line", "exchange", "owner")

    def __init__(self, owner: object, exchange: Exchange) -> None:
        self.owner = owner
        """The installation that notes it: the shells of any other let it pass."""
        self.exchange = exchange
        self._line = bytearray()

    def note(self, data: bytes) -> None:
        """Note bytes as they were read; single ones, as `readline` reads them, by the line."""
        if len(data) >= _SMALL_BYTES and not self._line:
            self.exchange.add(data)
        elif data:
            self._line += data
            if data[-1:] == b"\n" or len(self._line) >= _LINE_BYTES or len(data) >= _SMALL_BYTES:
                self._note_line()

    def finish(self) -> None:
        """Note that the host has read to the end."""
        self._note_line()
        self.exchange.finish("read")

    def end_by(self, error: BaseException | None) -> None:
        """Note that the host did not read on, by what kept it from it."""
        self._note_line()
        end_by(self.exchange, error)

    def drop(self) -> None:
        """Note that nobody is left to read the rest."""
        self._note_line()
        self.exchange.finish("dropped")

    def close(self, response: Any) -> None:
        """Note that a response is closed: by the host, by what cancels it, or by the garbage collector."""
        if response.__dict__.get("_finalizing"):  # set by io.IOBase where the garbage collector closes
            self.drop()
            return
        handled = sys.exception()
        cancelled = handled is not None and not isinstance(handled, (Exception, GeneratorExit))
        self.end_by(handled if cancelled else None)

    def _note_line(self) -> None:
        if self._line:
            line, self._line = bytes(self._line), bytearray()
            self.exchange.add(line)

    def __del__(self) -> None:
        try:  # at interpreter shutdown contextlib may be gone, like anything else
            if self.exchange.end is None:
                self.drop()
        except BaseException:  # noqa: S110  # the collector has nobody to tell
            pass
