"""The tool calls of recent calls: what was asked for, and what became of it. Rows of the table `tool_calls`.

Bounded: those longest not heard of are forgotten. Knows nothing of runs that were seen as they ran (`toolspans` does).
"""

from collections import OrderedDict

from msgspec.structs import replace

from tokenflation.sdk.lineage import MAX_HISTORIES, Placement
from tokenflation.sdk.records import Call, Reading, ToolResult, ToolRun

__all__ = ["ToolRuns"]


class ToolRuns:
    """Tool calls by the call that asked for them and their id; used by one thread at a time."""

    def __init__(self) -> None:
        self._runs: OrderedDict[tuple[str, str], ToolRun] = OrderedDict()
        self._results: OrderedDict[tuple[str, str], int] = OrderedDict()
        """Fingerprints of the newest results: one that comes again after a failure or in a branch is the same run's."""

    def take(self, reading: Reading, placement: Placement, call: Call, asked_at_ns: int | None) -> list[ToolRun]:
        """Return the rows that a call adds (it asks for tool calls) or changes (it brings results of earlier ones).

        Results were there at `asked_at_ns`, when the host asked for the call, whenever that left; None for a further
        attempt, which brings nothing new.
        """
        if not reading.tool_calls and not reading.tool_results and placement.inside_call_id is None:
            return []
        changed: dict[tuple[str, str], ToolRun] = {}
        for run, result in self._answered(reading, placement):
            if asked_at_ns is not None and self._is_news(run, result):
                changed[run.call_id, run.tool_call_id] = _with_result(run, result, reading, call, asked_at_ns)
            elif (weighed := _weighed(run, result, reading, call)) is not run:
                changed[run.call_id, run.tool_call_id] = weighed
        if asked_at_ns is not None and reading.sought is None:
            self._begin(changed, placement.inside_call_id, placement.inside_tool_call_id, placement.agent_run_id)
        answered = reading.answered
        for asked in reading.tool_calls:
            own = answered.get(asked.tool_call_id)
            changed[call.call_id, asked.tool_call_id] = ToolRun(
                call_id=call.call_id,
                tool_call_id=asked.tool_call_id,
                name=asked.name,
                kind=asked.kind,
                arguments_bytes=asked.arguments_bytes,
                arguments_hash=asked.arguments_hash or None,
                result_bytes=own.result_bytes if own is not None else None,
                executed=1 if own is not None else None,
                failed=own.failed if own is not None else None,
                started_at_ns=call.ended_at_ns if own is None else None,
            )
        return self._keep(changed)

    def weighed(self, reading: Reading, placement: Placement, call: Call) -> list[ToolRun]:
        """Return the rows of the results whose tokens are known only now that a call has told its counts."""
        changed = {
            (run.call_id, run.tool_call_id): weighed
            for run, result in self._answered(reading, placement)
            if (weighed := _weighed(run, result, reading, call)) is not run
        }
        return self._keep(changed)

    def moved(self, calls: list[Call]) -> list[ToolRun]:
        """Return the rows of the tool calls that agent runs turn out to have been inside of, or beside of."""
        left = {call.call_id for call in calls}
        changed = {
            key: replace(run, agent_run_id=None)
            for key, run in self._runs.items()
            if run.agent_run_id in left  # an agent run's id is that of its first call
        }
        for call in calls:
            if call.step:  # one that only seeks something stands inside a tool call of its own agent run
                continue
            self._begin(changed, call.inside_call_id, call.inside_tool_call_id, call.agent_run_id)
        return self._keep(changed)

    def _begin(self, changed: dict[tuple[str, str], ToolRun], call_id: str | None, tool_call_id: str | None,
               run_id: str) -> None:  # fmt: skip
        """Note the first agent run that began inside a tool call."""
        key = (call_id or "", tool_call_id or "")
        inside = changed.get(key) or self._runs.get(key)
        if inside is not None and inside.agent_run_id is None:
            changed[key] = replace(inside, agent_run_id=run_id)

    def _is_news(self, run: ToolRun, result: ToolResult) -> bool:
        """Return whether this result was not the last one that came for a tool call, and note it."""
        key, said = (run.call_id, run.tool_call_id), hash((result.result_bytes, result.said))
        known = self._results.get(key)
        self._results[key] = said
        if len(self._results) > MAX_HISTORIES:
            self._results.popitem(last=False)
        return known != said

    def _keep(self, changed: dict[tuple[str, str], ToolRun]) -> list[ToolRun]:
        for key, run in changed.items():
            self._runs[key] = run
            self._runs.move_to_end(key)
        while len(self._runs) > MAX_HISTORIES:
            self._runs.popitem(last=False)
        return list(changed.values())

    def _answered(self, reading: Reading, placement: Placement) -> list[tuple[ToolRun, ToolResult]]:
        """Return the tool calls that this request brings results for: of the call that it continues, by their ids.

        Where an api gives no ids, clients make up their own, so the ids of question and answer differ: then the order
        tells, if there are as many results as calls.
        """
        before = placement.asked or placement.continues
        if before is None:
            return []
        asked = {
            id_: run for id_ in before.open_tool_calls if (run := self._runs.get((before.call_id, id_))) is not None
        }
        named = [(asked[one.tool_call_id], one) for one in reading.tool_results if one.tool_call_id in asked]
        if named or len(asked) != len(reading.tool_results):
            return named
        return list(zip(asked.values(), reading.tool_results, strict=True))


def _with_result(run: ToolRun, result: ToolResult, reading: Reading, call: Call, ended_at_ns: int) -> ToolRun:
    """Return the run with its result."""
    return replace(
        run,
        result_bytes=result.result_bytes,
        result_tokens=_tokens(result, reading, call),
        executed=(run.executed or 0) + 1,
        failed=result.failed,
        ended_at_ns=ended_at_ns,
    )


def _weighed(run: ToolRun, result: ToolResult, reading: Reading, call: Call) -> ToolRun:
    """Return the run with the tokens of its result, if none were known: a failed attempt reports no counts."""
    if run.result_tokens is not None or run.result_bytes != result.result_bytes:
        return run
    tokens = _tokens(result, reading, call)
    return run if tokens is None else replace(run, result_tokens=tokens)


def _tokens(result: ToolResult, reading: Reading, call: Call) -> int | None:
    """Return a result's share of the tokens of all results that the request brings."""
    whole = sum(one.result_bytes for one in reading.tool_results)
    if call.tool_result_tokens is None or not whole:
        return None
    return call.tool_result_tokens * result.result_bytes // whole
