"""Dates of records where the system's clock was set, or stood still unseen, since the recorder began.

The recorder's own clock goes on evenly, so that durations and order hold; what it says is brought to what the system's
clock says only here, on the way out. Within a task times never go back: where the clock was set back, a task that had
begun keeps to the former one until it ends. Knows nothing of calls but their times and tasks.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from tokenflation.sdk.calls.assemble import Rows
from tokenflation.sdk.clock import moved_ns, now_ns
from tokenflation.sdk.records import Attempt, Call, SpanRecord, ToolRun

__all__ = ["Dates"]

_LEAST_NS = 1_000_000_000
"""Less than this is the clocks' own inaccuracy, or a correction that nobody's numbers show."""
_MOST_CHANGES = 256
_MOST_TASKS = 4096
_Dated = TypeVar("_Dated", Call, SpanRecord)


class Dates:
    """By how much times are to be moved, from when on and for which tasks; for one thread."""

    def __init__(self) -> None:
        self._changes = [(0, 0)]
        """From which time on (of our clock) by how many ns, in order."""
        self._looked_ns = now_ns()
        self._first: dict[str, int] = {}
        """Which change held as a task began; the latest tasks alone."""

    @property
    def moved_ns(self) -> int:
        """By how much the times of now are to be moved."""
        return self._changes[-1][1]

    def look(self, tell: Callable[[int], object]) -> None:
        """Note where the system's clock stands, and tell by how much it has moved against ours if that is news."""
        now, moved = now_ns(), moved_ns()
        if moved is None:
            return
        if abs(moved - self.moved_ns) > _LEAST_NS:
            if len(self._changes) == _MOST_CHANGES:
                self._changes, self._first = self._changes[-1:], {}
            self._changes.append((self._looked_ns, moved))  # what has begun since the last look came after it
            tell(moved)
        self._looked_ns = now

    def rows(self, rows: Rows) -> tuple[Call | None, Sequence[Attempt], Sequence[ToolRun]]:
        """Return call, attempts and tool runs with their dates."""
        if rows.call is None:
            return None, rows.attempts, rows.tool_runs
        first = self._first_of(rows.call)
        if len(self._changes) == 1:
            return rows.call, rows.attempts, rows.tool_runs
        attempts, runs = ([self._dated(one, first) for one in some] for some in (rows.attempts, rows.tool_runs))
        return self._dated(rows.call, first), attempts, runs

    def runs(self, runs: Sequence[ToolRun], span: SpanRecord) -> list[ToolRun]:
        """Return tool calls with the dates of the span that they are."""
        first = self._first_of(span)
        return [self._dated(one, first) for one in runs]

    def one(self, record: _Dated) -> _Dated:
        """Return a call or a span with its dates."""
        dated: _Dated = self._dated(record, self._first_of(record))
        return dated

    def _first_of(self, record: Call | SpanRecord) -> int:
        """Return which change held as the record's task began."""
        first = self._first.pop(record.task_id or "", -1)
        if first < 0:
            first = len(self._changes) - 1
            while first and self._changes[first][0] > record.started_at_ns:
                first -= 1
        if record.task_id is not None:
            self._first[record.task_id] = first
            if len(self._first) > _MOST_TASKS:
                del self._first[next(iter(self._first))]
        return first

    def _dated(self, record: Any, first: int) -> Any:
        if len(self._changes) == 1:
            return record
        started, ended = self._at(record.started_at_ns, first), self._at(record.ended_at_ns, first)
        return replace(record, started_at_ns=started, ended_at_ns=ended)

    def _at(self, time_ns: int | None, first: int) -> int | None:
        if time_ns is None:
            return None
        later = [moved for from_ns, moved in self._changes[first + 1 :] if from_ns <= time_ns]
        return time_ns + max([self._changes[first][1], *later])
