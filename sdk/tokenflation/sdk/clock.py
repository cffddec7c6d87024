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

__all__ = ["ORIGIN_NS", "now_ns", "ticks_ns"]


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
ORIGIN_NS = _own(time.time_ns, "CLOCK_REALTIME")() - ticks_ns()
"""Unix ns at which the monotonic clock stood at 0."""


def now_ns() -> int:
    """Return the unix time in nanoseconds; differences of two results are monotonic within a process."""
    return ORIGIN_NS + ticks_ns()
