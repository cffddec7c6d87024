"""The one clock of the recorder: unix time that never runs backwards. Knows nothing of calls.

Durations must not jump when the system's clock is set, and times must be comparable between processes: so we take
the unix time once at import and add what the monotonic clock says since.
"""

import time

__all__ = ["ORIGIN_NS", "now_ns"]

ORIGIN_NS = time.time_ns() - time.perf_counter_ns()
"""Unix ns at which the monotonic clock stood at 0."""


def now_ns() -> int:
    """Return the unix time in nanoseconds; differences of two results are monotonic within a process."""
    return ORIGIN_NS + time.perf_counter_ns()
