"""Which agent runs turn out to have been inside a tool call: their answers stand in its result. Pure."""

from collections.abc import Sequence

from tokenflation.sdk.lineage.histories import Edge, History, Host, Run, is_around
from tokenflation.sdk.lineage.messages import LOOKED_AT_BYTES, MIN_CHARS, SURE_CHARS, contains, times_in
from tokenflation.sdk.lineage.recalling import Near
from tokenflation.sdk.records import ToolResult

__all__ = ["found_inside"]


def found_inside(asked: History, results: Sequence[ToolResult], near: Near) -> list[tuple[Run, Host]]:
    """Return the finished agent runs whose answers are in the results of a call's tool calls, with their hosts."""
    told = [one for one in results if one.said and one.tool_call_id in asked.open_tool_calls]
    found: list[tuple[Run, Host]] = []
    said = b"".join(text[:LOOKED_AT_BYTES].encode("utf-8", "replace") for one in told for text in one.said)
    since_ns = asked.ended_at_ns
    begun = [run for run in near(said, since_ns) if run.started_at_ns >= since_ns] if told else []
    for run in begun:
        answer = run.newest.answer.strip() if run.newest is not None else ""
        within = [one for one in told if _is_in(answer, one.said)] if _may_move(run, answer, asked) else []
        if not within:
            continue
        own = run.host.tool_call_id if run.host is not None and run.host.run is asked.run else None
        runs = {one.tool_call_id: asked.open_tool_calls[one.tool_call_id].runs for one in within}
        best = min(within, key=lambda one: runs[one.tool_call_id] - (one.tool_call_id == own))
        if best.tool_call_id != own and (own is not None or not _is_told_of(best, answer, asked, found)):
            edge = Edge("flow_result", "strong" if len(answer) >= SURE_CHARS else "weak")
            found.append((run, Host(asked.call_id, best.tool_call_id, asked.run, edge)))
    return found


def _may_move(run: Run, answer: str, asked: History) -> bool:
    """Return whether a run that began meanwhile may turn out to have been inside one of these tool calls."""
    if run is asked.run or run.scope_run_id != asked.run.scope_run_id or run.placed_by_scope:
        return False
    if len(answer) < MIN_CHARS or run.newest is None or run.newest.waits:
        return False
    if run.host is None:
        return not is_around(run, asked.run)
    if run.host.edge.strength != "weak":
        return False
    if run.host.run is asked.run:
        return True
    # Guessed to be inside another run; one inside of this one passes on the answers of its own.
    return len(answer) >= SURE_CHARS and not is_around(asked.run, run.host.run) and not is_around(run, asked.run)


def _is_in(answer: str, said: Sequence[str]) -> bool:
    """Return whether an answer stands in a result, or a result of some length in the answer."""
    for text in said:
        if answer in text or contains(text.encode("utf-8", "replace"), answer):
            return True
        if len(text.strip()) >= SURE_CHARS and text.strip() in answer:
            return True
    return False


def _is_told_of(result: ToolResult, answer: str, asked: History, found: Sequence[tuple[Run, Host]]) -> bool:
    """Return whether runs inside a tool call said an answer as often as its result does: each has its own."""
    place = asked.call_id, result.tool_call_id
    hosted: list[tuple[Run, Host | None]] = [*[(run, run.host) for run in asked.run.inner], *found]
    inside = [run for run, host in hosted if host is not None and (host.call_id, host.tool_call_id) == place]
    same = sum(run.newest is not None and run.newest.answer.strip() == answer for run in inside)
    said = sum(max(text.count(answer), times_in(text.encode("utf-8", "replace"), answer)) for text in result.said)
    return same >= max(1, said)
