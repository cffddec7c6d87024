"""Ends the asyncio tasks of a run that a limit has stopped but that does not come to its end.

An exception that is no `Exception` ends the asyncio task that it was raised in. An agent loop that waits for a word
from that task, and sends the word only after an `Exception`, would wait for ever. So once a run whose limit was reached
has had nothing under way for `GRACE_S`, its tasks are cancelled, as `asyncio.timeout` would do it: the one that the run
began in and those that sent its requests, or all of a loop that was started inside the run. Knows nothing of limits. Of
trio's tasks, and of threads that wait for each other, none can be ended from outside.
"""

import sys
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["GRACE_S", "Stopping"]

GRACE_S = 5.0
_MESSAGE = "a limit of tokenflation's task() was reached"


class Stopping:
    """The asyncio tasks of one run, which begins now."""

    def __init__(self) -> None:
        self._thread_id = threading.get_ident()
        self._is_outside_loops = _current_task() is None
        self._tasks: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        """With how often each had been cancelled when it came in: a TaskGroup that failed leaves that count raised."""
        self._cancelled: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        """Likewise, of those that were cancelled here, right before that."""
        self._watched: set[Any] = set()
        """Loops that a look is due in: one for all that is refused."""
        self._noted = 0
        self._over = False
        self.note()

    def note(self) -> None:
        """Remember the asyncio task that runs now as one of the run's, if there is one: a request of its leaves."""
        self._noted += 1
        task = _current_task()
        if task is not None and task not in self._tasks:
            self._tasks[task] = task.cancelling()

    def begin(self, is_busy: Callable[[], bool]) -> None:
        """See to it that the run ends; `is_busy` says whether anything of it is still under way."""
        task = _current_task()
        if task is not None and (loop := task.get_loop()) not in self._watched:
            self._watched.add(loop)
            loop.call_later(GRACE_S, self._look, loop, is_busy, self._quiet(is_busy))

    def end(self) -> None:
        """Note that the run has ended."""
        self._over = True

    def is_cause(self, error: BaseException) -> bool:
        """Return whether the cancellation that reaches the end of the run is ours alone, and take ours back."""
        if not self._cancelled:
            return False
        task = _current_task()
        if task is None or task not in self._cancelled:
            return task is None
        left = task.uncancel()
        # A TaskGroup that failed inside the run has raised the count too, but what it raised is over.
        return left <= self._tasks.get(task, 0) or (left <= self._cancelled[task] and _is_ours_alone(error))

    def _look(self, loop: Any, is_busy: Callable[[], bool], before: int | None) -> None:
        if self._over:
            return
        quiet = self._quiet(is_busy)
        if quiet is None or quiet != before:  # what ended only now is still being taken in
            loop.call_later(GRACE_S, self._look, loop, is_busy, quiet)
            return
        self._watched.discard(loop)
        # The run began in this very thread, outside any loop: it waits for the loop, so all of that is inside.
        is_inside = self._is_outside_loops and self._thread_id == threading.get_ident()
        for task in sys.modules["asyncio"].all_tasks(loop) if is_inside else tuple(self._tasks):
            # Once each: a second cancellation would break what the task does about the first.
            if task.get_loop() is loop and not task.done() and task not in self._cancelled:
                self._cancelled[task] = task.cancelling()
                task.cancel(_MESSAGE)

    def _quiet(self, is_busy: Callable[[], bool]) -> int | None:
        """Return what stays the same while nothing is under way, not even in between; None while something is."""
        return None if is_busy() else self._noted


def _is_ours_alone(error: BaseException) -> bool:
    """Return whether no cancellation but ours led to this one."""
    one: BaseException | None = error
    while one is not None and (type(one).__name__ != "CancelledError" or _MESSAGE in one.args):
        one = one.__context__
    return one is None


def _current_task() -> Any | None:
    asyncio = sys.modules.get("asyncio")
    try:
        return asyncio.current_task() if asyncio is not None else None
    except RuntimeError:  # no loop runs in this thread
        return None
