"""Tells whether a generator that opened a scope runs now: a context variable that it set leaks to whoever iterates it.

Between two values a generator is suspended, but its context variables are its consumer's (PEP 567 left that open, PEP
568 is deferred). So a scope that was opened in a generator holds only while that generator is on the stack. What a
generator begins inside its scope (threads, tasks) has the scope without having the generator on its stack: there it
holds.
"""

import inspect
import sys
import threading
from types import CodeType, FrameType

__all__ = ["Opener", "opener_of"]

_CARRIERS = frozenset(("contextlib", "_pytest.fixtures", "pytest_asyncio.plugin"))
"""Modules that run a generator to its `yield` in order that what it opened holds for others."""
_GENERATORS = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


class Opener:
    """The running of a generator in which a scope was opened; holds no reference to it, which would be a cycle."""

    __slots__ = ("_code", "_frame_id", "_task", "_thread")

    def __init__(self, frame: FrameType) -> None:
        self._frame_id = id(frame)  # of its generator alone, while that lives
        self._code: CodeType = frame.f_code
        self._thread = threading.get_ident()
        self._task = _running_task()

    def is_suspended(self) -> bool:
        """Return whether this is the generator's own thread and task, and the generator does not run in it now."""
        if threading.get_ident() != self._thread or _running_task() != self._task:
            return False
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code is self._code and id(frame) == self._frame_id:
                return False
            frame = frame.f_back
        return True


def opener_of(frame: FrameType | None) -> Opener | None:
    """Return the generator whose frame this is, None for any other frame or for one that opens scopes for others."""
    if frame is None or not frame.f_code.co_flags & _GENERATORS:
        return None
    around = frame.f_back
    if around is not None and around.f_globals.get("__name__") in _CARRIERS:
        return None
    return Opener(frame)


def _running_task() -> int | None:
    """Return what tells the running task of asyncio or trio from all others; None outside of them."""
    for name in ("asyncio", "trio.lowlevel"):
        library = sys.modules.get(name)
        if library is not None:
            try:
                return id(library.current_task())
            except (RuntimeError, AttributeError):  # no event loop runs here
                continue
    return None
