"""What stands in the recorder's queue: exchanges, spans, and marks between them that tell its worker what to do."""

import queue
import threading
from typing import Any

from tokenflation.sdk.exchange import MAX_KEPT_BYTES, Exchange

__all__ = ["Flush", "Grown", "Wake", "next_items", "size_of"]

_MAX_BATCH = 256


class Flush:
    """Everything before it has been written, or counted as lost, when `done` is set."""

    def __init__(self) -> None:
        self.done = threading.Event()


class Wake:
    """A call is under way."""


class Grown:
    """A stream has become so long that it is to be packed."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange


def next_items(waiting: "queue.SimpleQueue[Any]", patience_s: float) -> list[Any]:
    """Return what is in the queue, at most 256 items; waits so long for the first, and returns none if none came."""
    items: list[Any] = []
    try:
        items.append(waiting.get(timeout=patience_s))
        while len(items) < _MAX_BATCH:
            items.append(waiting.get_nowait())
    except queue.Empty:
        pass
    return items


def size_of(exchange: Exchange) -> int:
    """Return how many bytes an exchange keeps in memory."""
    return min(exchange.kept_bytes, MAX_KEPT_BYTES) + len(exchange.request_body or b"")
