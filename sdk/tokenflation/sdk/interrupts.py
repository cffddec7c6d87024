"""Tells what a signal handler of the host raised from what failed in us: the former is for the host.

Python runs a handler inside whatever function of the main thread runs just then, which may be one of ours, and what it
raises comes out of that function: an alarm clock's exception, a worker's time limit. Knows nothing of what was done.
"""

from collections.abc import Callable
from types import FrameType

__all__ = ["count_failure", "let_through"]

_OURS = "tokenflation.sdk"


def let_through(error: Exception) -> None:
    """Raise `error` again if a signal handler raised it, else do nothing; for where our own failures end.

    A handler is known by its argument: it is given the frame that it interrupted, which is the one that called it. No
    function of ours is one, though some look at the frame of their caller too.
    """
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        interrupted, step = step.tb_frame, step.tb_next
        if _was_given(step.tb_frame, interrupted):
            raise error


def count_failure(failed: Callable[[str], None], error: Exception) -> None:
    """Count what failed in us where it ends, by `failed`, which may fail itself: the host must not notice us."""
    let_through(error)
    try:
        failed("hook_error")
    except Exception as failure:
        let_through(failure)


def _was_given(frame: FrameType, interrupted: FrameType) -> bool:
    if str(frame.f_globals.get("__name__")).startswith(_OURS):
        return False
    for value in frame.f_locals.values():
        if value is interrupted or (type(value) is tuple and any(one is interrupted for one in value)):
            return True
    return False
