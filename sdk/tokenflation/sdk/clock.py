"""The one clock of the recorder: unix time that never runs backwards. Knows nothing of calls.

Durations must not jump when the system's clock is set, and times must be comparable between processes: so we take
the unix time once at import and add what a monotonic clock says since; on Linux one that goes on while the machine
sleeps, else what a notebook asks in the morning would be recorded as of last night. A host that freezes its time, as
tests do, freezes neither: what it puts in place of the functions of `time` is passed by.
"""

import contextlib
import time
from collections.abc import Callable
from functools import partial
from types import BuiltinFunctionType

__all__ = ["ORIGIN_NS", "moved_ns", "now_ns", "ticks_ns"]

_AT_ONCE_NS = 100_000_000


def _own(function: Callable[[], int], clock: str) -> Callable[[], int]:
    """Return a function of `time`, or what reads the same clock of the system where the host replaced it.

    As a `partial`: freezegun replaces the function itself wherever a module has it.
    """
    read = getattr(time, "clock_gettime_ns", None)
    if isinstance(function, BuiltinFunctionType) or not isinstance(read, BuiltinFunctionType):
        return partial(function)
    return partial(read, getattr(time, clock))


def _ticks() -> Callable[[], int]:
    read, clock = getattr(time, "clock_gettime_ns", None), getattr(time, "CLOCK_BOOTTIME", None)
    if clock is not None and isinstance(read, BuiltinFunctionType):
        with contextlib.suppress(OSError):  # a sandbox may lack it
            read(clock)
            return partial(read, clock)
    return _own(time.perf_counter_ns, "CLOCK_MONOTONIC")


ticks_ns = _ticks()
"""The monotonic clock, in ns from an origin of its own."""
_unix_ns = _own(time.time_ns, "CLOCK_REALTIME")
ORIGIN_NS = _unix_ns() - ticks_ns()
"""Unix ns at which the monotonic clock stood at 0."""


def now_ns() -> int:
    """Return the unix time in nanoseconds; differences of two results are monotonic within a process."""
    return ORIGIN_NS + ticks_ns()


def moved_ns() -> int | None:
    """Return by how much the system's clock has moved against this one; None if it cannot be told at this moment.

    It was set, or the machine stood still without a word to the monotonic clock: a virtual one that was paused, or a
    sleep where no clock of the system goes on.
    """
    before_ns = ticks_ns()
    unix_ns, after_ns = _unix_ns(), ticks_ns()
    return unix_ns - ORIGIN_NS - before_ns if after_ns - before_ns < _AT_ONCE_NS else None
