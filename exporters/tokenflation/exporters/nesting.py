"""Says which agent runs stand where in a format that nests once: a main list and sub-agents in it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenflation.exporters.sessions import CallRow
from tokenflation.exporters.summary import Tally

__all__ = ["Nested", "nested"]


@dataclass(frozen=True, slots=True)
class Nested:
    """The calls of the outermost agent runs, and those of each sub-agent; both in order of time, none empty."""

    main: tuple[CallRow, ...]
    sub_agents: tuple[tuple[CallRow, ...], ...]


@dataclass(frozen=True, slots=True)
class _Run:
    agent_run_id: str
    depth: int
    started_ns: int
    ended_ns: int


def nested(calls: Sequence[CallRow], tally: Tally) -> Nested:
    """Split a session's calls into main list and sub-agents; counts in `tally` what the format cannot say.

    Depth counts from the session's outermost written call: a reader refuses a session of sub-agents alone.
    """
    runs = _runs(calls)
    outermost = min(run.depth for run in runs.values())
    tally.promoted_sessions += outermost > 0
    tally.merged_sessions += sum(run.depth == outermost for run in runs.values()) > 1
    places: dict[str, str | None] = {}
    for run in sorted(runs.values(), key=lambda run: (run.depth, run.started_ns)):
        if run.depth == outermost:
            places[run.agent_run_id] = None
            continue
        host = _host(run, runs, outermost)
        tally.flattened_runs += host is not None
        places[run.agent_run_id] = run.agent_run_id if host is None else places[host.agent_run_id]
    main = tuple(call for call in calls if places[call.agent_run_id] is None)
    owners = dict.fromkeys(place for call in calls if (place := places[call.agent_run_id]) is not None)
    return Nested(main, tuple(tuple(call for call in calls if places[call.agent_run_id] == own) for own in owners))


def _runs(calls: Sequence[CallRow]) -> dict[str, _Run]:
    """Return each agent run with the time from its first call's start to its last known end."""
    grouped: dict[str, list[CallRow]] = {}
    for call in calls:
        grouped.setdefault(call.agent_run_id, []).append(call)
    return {
        run_id: _Run(
            run_id,
            min(call.depth for call in own),
            own[0].started_at_ns,
            max(call.ended_at_ns or call.started_at_ns for call in own),
        )
        for run_id, own in grouped.items()
    }


def _host(run: _Run, runs: Mapping[str, _Run], outermost: int) -> _Run | None:
    """Return the sub-agent run that a deeper run is inside of, or None if the run stands for itself.

    The calls do not name it, so time decides: of the runs one or more levels up that began before, the deepest that
    was still running comes first, then the one that began last.
    """
    above = [
        other for other in runs.values() if outermost < other.depth < run.depth and other.started_ns <= run.started_ns
    ]
    return max(above, key=lambda o: (o.ended_ns >= run.started_ns, o.depth, o.started_ns), default=None)
