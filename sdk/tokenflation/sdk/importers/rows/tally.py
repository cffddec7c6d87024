"""Counts what an import takes and leaves out, and writes what it takes. Knows no format."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tokenflation.sdk.importers.files.formats import Skipped, Taken
from tokenflation.sdk.records import Call
from tokenflation.sdk.store.write import Batch, SqliteWriter

__all__ = ["ImportSummary", "Tally"]

_KEPT = 100
"""Places kept for the summary of what was left out, of each reason; all are counted."""
_IN_STORE = "already in the store"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSummary:
    """What an import added to a store."""

    files: int
    """Files of a known format."""
    tasks: int
    """Sessions added; each is one task."""
    calls: int
    sub_agent_runs: int
    sub_agent_calls: int
    input_tokens: int
    output_tokens: int
    """Sum of what is reported; see `calls_without_output`."""
    grown: int = 0
    """Sessions that the store had and that have new calls; the other counts hold what is new of them."""
    tool_calls: int = 0
    """What the answers asked for, whether or not the source names it."""
    compactions: int = 0
    """How often a call that was added continues by a summary of what was before."""
    calls_without_input: int = 0
    """Calls added whose input tokens the source does not report."""
    calls_without_output: int = 0
    """Calls added whose output tokens the source does not report."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Sessions left out, by reason."""
    broken: Mapping[str, int] = field(default_factory=dict)
    """Records left out, by reason."""
    foreign: Mapping[str, int] = field(default_factory=dict)
    """Files left out, by reason."""
    formats: Mapping[str, int] = field(default_factory=dict)
    """Files by format."""
    problems: tuple[Skipped, ...] = ()
    """The first of each reason that something was left out for, with file, line and what is wrong."""


class Tally:
    """Holds the counts of one import while it runs."""

    def __init__(self, left_out: Callable[[Skipped], None] | None = None) -> None:
        self._told = left_out
        self.files: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._left_out: Counter[tuple[str, str]] = Counter()
        self._problems: list[Skipped] = []

    @property
    def empty(self) -> bool:
        """Whether nothing was found that is a session, and something was found that is not right."""
        return not (self._counts["tasks"] or self._counts["grown"]) and not any(
            what == "session" for what, _ in self._left_out
        )

    def skip(self, skipped: Skipped) -> None:
        """Count what was left out, and keep the first of each reason."""
        self._left_out[skipped.what, skipped.reason] += 1
        if self._left_out[skipped.what, skipped.reason] <= _KEPT:
            self._problems.append(skipped)
        if self._told is not None:
            self._told(skipped)

    def add(self, taken: Taken, writer: SqliteWriter, where: str) -> None:
        """Write the rows of a task as far as the store lacks them, and count them; `where` is the file it stands in."""
        batch = taken.batch
        if not batch.calls:
            names = {span.task_id for span in batch.spans if span.task_id}
            self.skip(Skipped(where, "a session without calls", ", ".join(sorted(names)), "session"))
            return
        batch, known = _own(taken, writer)
        if len(known) == len({call.call_id for call in batch.calls}):
            self._left_out["session", _IN_STORE] += 1
            return
        self._counts["calls"] += writer.write(batch, replace=bool(known))
        self._counts["grown" if known else "tasks"] += 1
        self._count_calls([call for call in batch.calls if call.call_id not in known])

    def _count_calls(self, calls: Sequence[Call]) -> None:
        inner = [call for call in calls if call.depth > 0]
        self._counts["sub_agent_calls"] += len(inner)
        self._counts["tool_calls"] += sum(call.tool_calls for call in calls)
        self._counts["compactions"] += sum(_compactions(call) for call in calls)
        self._counts["sub_agent_runs"] += len({call.agent_run_id for call in inner})
        for name in ("input", "output"):
            reported = [tokens for call in calls if (tokens := getattr(call, f"{name}_tokens")) is not None]
            self._counts[f"{name}_tokens"] += sum(reported)
            self._counts[f"calls_without_{name}"] += len(calls) - len(reported)

    def nothing(self) -> str:
        """Return why nothing was imported, in one line."""
        if not self._problems:
            return "The files hold nothing to import. Nothing was imported."
        first = self._problems[0]
        others = sum(self._left_out.values()) - 1
        more = f"; {others:,} more {'was' if others == 1 else 'were'} left out too" if others else ""
        detail = f": {first.detail}" if first.detail else ""
        return (
            f"{first.where}: {first.what} is {first.reason}{detail}{more}. Nothing was imported; `tokenflation import "
            "--formats` lists the formats that are known."
        )

    def summary(self) -> ImportSummary:
        """Return the counts."""
        return ImportSummary(
            files=sum(self.files.values()),
            formats=dict(self.files),
            skipped=self._by_reason("session"),
            broken=self._by_reason("record"),
            foreign=self._by_reason("file"),
            problems=tuple(self._problems),
            **{name: self._counts[name] for name in _COUNTED},
        )

    def _by_reason(self, what: str) -> dict[str, int]:
        return {reason: count for (kind, reason), count in self._left_out.items() if kind == what}


def _compactions(call: Call) -> int:
    said = call.extra.get("compactions")
    return len(said) if isinstance(said, list) else int(call.extra.get("gen_ai.conversation.compacted") is True)


_COUNTED = (
    "tasks", "grown", "calls", "sub_agent_runs", "sub_agent_calls", "input_tokens", "output_tokens", "tool_calls", "compactions",
    "calls_without_input", "calls_without_output",
)  # fmt: skip


def _own(taken: Taken, writer: SqliteWriter) -> tuple[Batch, set[str]]:
    """Return the batch without calls that the store has in another task, and the calls that it has in this one."""
    batch = taken.batch
    older = [one for ids in taken.formerly.values() for one in ids]
    tasks = writer.tasks_of([*(call.call_id for call in batch.calls), *older])
    here = {call.call_id: call.task_id for call in batch.calls}
    known = {call_id for call_id in here if tasks.get(call_id) == here[call_id]}
    renamed = {one for one, ids in taken.formerly.items() if any(older in tasks for older in ids)}
    elsewhere = {one for one in here if (one in tasks and one not in known) or one in renamed}
    known -= elsewhere
    if not elsewhere:
        return batch, known
    own = Batch(
        calls=[call for call in batch.calls if call.call_id not in elsewhere],
        tool_runs=[run for run in batch.tool_runs if run.call_id not in elsewhere],
        attempts=[attempt for attempt in batch.attempts if attempt.call_id not in elsewhere],
        spans=batch.spans,
    )
    return own, known
