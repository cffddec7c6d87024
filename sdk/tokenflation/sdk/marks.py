"""What stands in the recorder's queue, exchanges, spans and marks between them, and how much of it is taken when."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tokenflation.sdk.clock import now_ns
from tokenflation.sdk.exchange import MAX_KEPT_BYTES, Exchange

__all__ = [
    "Flush", "Grown", "Hurry", "Wake", "in_order", "next_items", "of_now", "portions", "rest", "rest_s", "size_of",
]  # fmt: skip

_MAX_BATCH = 256
_WINDOW_S = 0.03
"""After a commit the worker waits so long before the next: one then serves all calls that end meanwhile."""
_BUSY_PER_S = 60.0
_BUSY_WINDOW_S = 0.25
"""The same where so many end a second, and go on to: work done together costs half, and the journal holds it meanwhile."""
_LOOK_S = 0.05
_PORTION = 32
_PORTION_BYTES = 4 * 1024 * 1024


class Flush:
    """Everything before it has been written, or counted as lost, when `done` is set."""

    def __init__(self) -> None:
        self.done = threading.Event()


class Hurry:
    """Asks the worker not to wait for more.

    Takes no lock as an `Event` would: a stream that is collected as garbage may ask from within whatever is done here.
    """

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        """Ask, until it is cleared."""
        if self._asked.empty():
            self._asked.put(None)

    def wait(self, timeout_s: float) -> bool:
        """Return whether somebody asks, at once if so, else after so long."""
        with contextlib.suppress(queue.Empty):
            self._asked.get(timeout=timeout_s)
            self._asked.put(None)
        return not self._asked.empty()

    def clear(self) -> None:
        """Forget who asked so far."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._asked.get_nowait()


class Wake:
    """A call is under way."""


class Grown:
    """A stream has become so long that it is to be packed."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange


def of_now(waiting: "queue.SimpleQueue[Any]") -> "queue.SimpleQueue[Any]":
    """Return a queue that lets others run while a thread of now waits for it, with what is in this one.

    Once gevent has put its own in the place of threads and queues, a new thread is a greenlet, and stops all others if
    it waits for a queue from before.
    """
    if type(waiting) is queue.SimpleQueue:
        return waiting
    made: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with contextlib.suppress(queue.Empty):
        while True:
            made.put(waiting.get_nowait())
    return made


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


def rest_s(count: int, took_ns: int) -> float:
    """Return how long to wait for more, at most, after a batch of `count` items that came in so long."""
    is_busy = count > 1 and count * 1e9 >= _BUSY_PER_S * took_ns
    return _BUSY_WINDOW_S if is_busy else _WINDOW_S


def rest(waiting: "queue.SimpleQueue[Any]", hurry: Hurry, longest_s: float, look: Callable[[], bool]) -> None:
    """Wait while more comes and does not fill a batch, unless in a hurry; `look` says now and then if that is enough."""
    until_ns, before, count = now_ns() + int(longest_s * 1e9), -1, waiting.qsize()
    while before < count < _MAX_BATCH and (left_ns := until_ns - now_ns()) > 0:
        if hurry.wait(min(left_ns / 1e9, _LOOK_S)) or look():
            break
        before, count = count, waiting.qsize()
    if waiting.qsize() < _MAX_BATCH:  # else whoever is in a hurry may stand behind the next batch
        hurry.clear()


def in_order(items: list[Any], let_go: Callable[[str], Exchange | None]) -> list[Any]:
    """Return items so that a call comes behind the one that left before it in its context, even if that ended later.

    A host may hold on to a stream that it has all of, and go on with the answer: `let_go` gives such a call by its id.
    """
    late = {one.call_id: one for one in items if isinstance(one, Exchange)}
    placed: set[int] = set()
    found: list[Any] = []
    for item in items:
        if not isinstance(item, Exchange):
            found.append(item)
            continue
        line: list[Exchange] = []
        one: Exchange | None = item
        while one is not None and id(one) not in placed:
            placed.add(id(one))
            line.append(one)
            after = getattr(one.context, "after", None)
            one = (late.get(after) or let_go(after)) if after else None
        found += reversed(line)
    return found


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
