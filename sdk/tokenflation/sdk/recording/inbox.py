"""What waits for the recorder's worker, in a queue with bounds; and how the worker waits for more of it, or is woken.

A host's thread puts things in and goes on: it waits for nobody, and takes no lock that a thread could hold while it is
interrupted here, as a stream that is collected as garbage may come in from within whatever is done. Knows nothing of
what the things are.
"""

import contextlib
import queue
from collections.abc import Callable
from typing import Any

from tokenflation.sdk.clock import now_ns

__all__ = ["Hurry", "Inbox", "rest_s"]

_MAX_BYTES = 512 * 1024 * 1024
_HURRY_BYTES = 8 * 1024 * 1024
"""So much is not kept waiting."""
_MAX_BATCH = 256
_WINDOW_S = 0.03
"""After a commit the worker waits so long before the next: one then serves all calls that end meanwhile."""
_BUSY_PER_S = 60.0
_BUSY_WINDOW_S = 0.25
"""The same where so many end a second, and go on to: work done together costs half, and the journal holds
it meanwhile.
"""
_LOOK_S = 0.05
_IDLE_S = 30.0
_AWAKE_NS = 1_000_000_000
"""So long after the last item the worker looks around by itself; later it must be woken."""
_WAKE = object()


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


class Inbox:
    """The queue, for any number of threads that put things in and one that takes them out."""

    def __init__(self, most: int) -> None:
        """`most` is how many things may wait; their bytes are bounded too."""
        self._most = most
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._bytes = 0
        self._hurry = Hurry()
        self.asleep = True
        """Whether the worker waits for the queue alone, and so must be told of what it would look for elsewhere."""
        self._awake_until_ns = 0

    def __len__(self) -> int:
        return self._items.qsize()

    # For the host's threads.

    def put(self, item: Any, size: int = 0, *, force: bool = False) -> bool:
        """Add a thing of so many bytes; False where there is no room for it, which one that is forced in needs not."""
        items = self._items
        waiting = items.qsize()
        held = self._bytes + size
        if (waiting >= self._most or held > _MAX_BYTES) and not force:
            return False
        self._bytes = held
        items.put(item)
        if held > _HURRY_BYTES or 2 * waiting >= self._most:
            self._hurry.set()
        return True

    def hurry(self) -> None:
        """Ask the worker not to wait for more."""
        self._hurry.set()

    def wake(self) -> bool:
        """Let the worker look around if it waits for things alone; return whether it did."""
        if not self.asleep:
            return False
        self.asleep = False
        self._items.put(_WAKE)
        return True

    def renew(self) -> None:
        """Let others run while a thread of now waits here.

        Once gevent has put its own in the place of threads and queues, a new thread is a greenlet, and stops all others
        if it waits for a queue from before.
        """
        self._hurry, before = Hurry(), self._items
        if type(before) is queue.SimpleQueue:
            return
        self._items = queue.SimpleQueue()
        with contextlib.suppress(queue.Empty):
            while True:
                self._items.put(before.get_nowait())

    # For the worker.

    def next_items(self, look_s: float, is_busy: Callable[[], object]) -> list[Any]:
        """Return what waits, at most 256 things; none if none came until it is time to look around.

        While there is much to look for (`is_busy`) that is after `look_s`, and so for some time behind the last thing.
        """
        items: list[Any] = []
        try:
            items.append(self._items.get(timeout=self._patience_s(look_s, is_busy)))
            while len(items) < _MAX_BATCH:
                items.append(self._items.get_nowait())
        except queue.Empty:
            pass
        if items:
            self._awake_until_ns = now_ns() + _AWAKE_NS
        return items

    def release(self, size: int) -> None:
        """Note that a thing of so many bytes is out of memory."""
        self._bytes -= size

    def settle(self) -> None:
        """Mend the count of bytes where that is easy: threads add to it without a lock."""
        if self._items.empty():
            self._bytes = 0

    def rest(self, longest_s: float, look: Callable[[], object]) -> None:
        """Wait while more comes and does not fill a batch, unless in a hurry; `look` says at times if it is enough."""
        waiting, hurry = self._items, self._hurry
        until_ns, before, count = now_ns() + int(longest_s * 1e9), -1, waiting.qsize()
        while before < count < _MAX_BATCH and (left_ns := until_ns - now_ns()) > 0:
            if hurry.wait(min(left_ns / 1e9, _LOOK_S)) or look():
                break
            before, count = count, waiting.qsize()
        if waiting.qsize() < _MAX_BATCH:  # else whoever is in a hurry may stand behind the next batch
            hurry.clear()

    def _patience_s(self, look_s: float, is_busy: Callable[[], object]) -> float:
        if is_busy() or now_ns() < self._awake_until_ns:
            return look_s
        self.asleep = True
        return look_s if is_busy() else _IDLE_S  # what began before it could see this woke nobody


def rest_s(count: int, took_ns: int) -> float:
    """Return how long to wait for more, at most, after a batch of `count` things that came in so long."""
    is_busy = count > 1 and count * 1e9 >= _BUSY_PER_S * took_ns
    return _BUSY_WINDOW_S if is_busy else _WINDOW_S
