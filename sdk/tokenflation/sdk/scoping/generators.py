"""Tells whether a generator that opened a scope runs now: a context variable that it set leaks to whoever iterates it.

Between two values a generator is suspended, but its context variables are its consumer's (PEP 567 left that open, PEP
568 is deferred). So a scope that was opened in a generator holds only while that generator is on the stack. What a
generator begins inside its scope (threads, tasks) has the scope without having the generator on its stack: there it
holds. Who takes each value in a thread or a task of its own, as web servers stream, runs each step in another context:
there the scope is found by the generator on the stack.
"""

import inspect
import sys
import threading
import weakref
from functools import partial
from types import CodeType, FrameType
from typing import Any

__all__ = ["Opener", "hold", "innermost", "let_go", "opener_of"]

_CARRIERS = frozenset(("contextlib", "_pytest.fixtures", "pytest_asyncio.plugin"))
"""Modules that run a generator to its `yield` in order that what it opened holds for others."""
_GENERATORS = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_held: dict[int, weakref.ref[Any]] = {}
"""The innermost scope that each generator holds open, by the id of its frame."""


class Opener:
    """The running of a generator in which a scope was opened; holds no reference to it, which would be a cycle."""

    __slots__ = ("_code", "_task", "_thread", "frame_id")

    def __init__(self, frame: FrameType) -> None:
        self.frame_id = id(frame)  # of its generator alone, while that lives
        self._code: CodeType = frame.f_code
        self._thread = threading.get_ident()
        self._task = _running_task()

    def is_suspended(self) -> bool:
        """Return whether this is the generator's own thread and task, and the generator does not run in it now."""
        if threading.get_ident() != self._thread or _running_task() != self._task:
            return False
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if self.is_in(frame):
                return False
            frame = frame.f_back
        return True

    def is_in(self, frame: FrameType) -> bool:
        """Return whether this is the generator's frame."""
        return frame.f_code is self._code and id(frame) == self.frame_id


def hold(scope: Any, opener: Opener | None) -> None:
    """Note which generator a scope was opened in, if it was."""
    scope.opener = opener
    if opener is not None:
        _held[opener.frame_id] = weakref.ref(scope, partial(_forget, opener.frame_id))


def let_go(scope: Any) -> None:
    """Note that a scope is closed."""
    at = scope.opener.frame_id if scope.opener is not None else 0
    held, outer = _held.get(at), scope.parent
    if held is None or held() is not scope:
        return
    _held.pop(at, None)
    if outer is not None and outer.ended_at_ns is None and outer.opener is not None and outer.opener.frame_id == at:
        hold(outer, outer.opener)


def innermost(scope: Any) -> Any:
    """Return what a generator on this stack opened inside of the open scope (None: outside of any), else that scope."""
    frame: FrameType | None = sys._getframe(1) if _held else None
    while frame is not None:
        held = _held.get(id(frame))
        found = held() if held is not None else None
        if found is not None and found.opener.is_in(frame):
            around = found
            while around is not None and around is not scope:
                around = around.parent
            return found if around is scope else scope
        frame = frame.f_back
    return scope


def opener_of(frame: FrameType | None) -> Opener | None:
    """Return the generator whose frame this is, None for any other frame or for one that opens scopes for others."""
    if frame is None or not frame.f_code.co_flags & _GENERATORS:
        return None
    around = frame.f_back
    if around is not None and around.f_globals.get("__name__") in _CARRIERS:
        return None
    return Opener(frame)


def _forget(frame_id: int, reference: weakref.ref[Any]) -> None:
    if _held.get(frame_id) is reference:
        del _held[frame_id]


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
