"""What stands in the recorder's queue: exchanges, spans, and marks between them that tell its worker what to do."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

from tokenflation.sdk.exchange import MAX_KEPT_BYTES, Exchange

__all__ = ["Flush", "Grown", "Wake", "next_items", "portions", "size_of"]

_MAX_BATCH = 256
_PORTION = 32
_PORTION_BYTES = 4 * 1024 * 1024


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


def portions(items: list[Any]) -> Iterator[list[Any]]:
    """Yield the items in order, some at a time: few enough that what was read of them may be held together."""
    some: list[Any] = []
    held_bytes = 0
    for item in items:
        some.append(item)
        held_bytes += size_of(item) if isinstance(item, Exchange) else 0
        if len(some) == _PORTION or held_bytes > _PORTION_BYTES:
            yield some
            some, held_bytes = [], 0
    if some:
        yield some


def size_of(exchange: Exchange) -> int:
    """Return how many bytes an exchange keeps in memory."""
    return min(exchange.kept_bytes, MAX_KEPT_BYTES) + len(exchange.request_body or b"")
