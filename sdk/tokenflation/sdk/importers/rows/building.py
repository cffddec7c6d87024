"""Puts a log's calls into rows: ids, places in the tree, order, spans. Knows no format, no file and no JSON."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tokenflation.sdk.importers.files.fields import made_id, made_trace_id
from tokenflation.sdk.records import Attempt, Call, SpanRecord, ToolRun
from tokenflation.sdk.store.write import Batch

__all__ = ["Run", "TaskRows", "prompted_by"]


@dataclass(slots=True, kw_only=True)
class Run:
    """One agent run; its calls are given in order."""

    run_id: str
    parent_id: str
    name: str
    depth: int
    inside_tool_call_id: str | None = None
    inside_call_id: str | None = None
    started_at_ns: int | None = None
    """Where the source says it; at the latest its first call's start."""
    ended_at_ns: int | None = None
    calls: int = 0
    last_call_id: str | None = None


class TaskRows:
    """Holds the rows of one task while a reader finds them; `batch` gives them all."""

    def __init__(self, format_: str, session_id: str, *, task: str, task_id: str | None = None) -> None:
        self.format = format_
        self.session_id = session_id
        self.task = task
        self.task_id = task_id or session_id
        self.trace_id = made_trace_id(format_, session_id)
        self.root_id = self.id_of("task")
        self.main = Run(run_id=self.id_of("agent"), parent_id=self.root_id, name="main", depth=0)
        self.outcome: bool | None = None
        self.score: float | None = None
        self._runs = [self.main]
        self._calls: list[dict[str, Any]] = []
        self._by_id: dict[str, dict[str, Any]] = {}
        self._tools: dict[tuple[str, str], dict[str, Any]] = {}
        self._attempts: list[Attempt] = []
        self._continued: dict[str, int] = {}

    def id_of(self, *place: object) -> str:
        """Return the id of something by its place in the session."""
        return made_id(self.format, self.session_id, *place)

    def run(
        self, place: object, name: str, outer: Run | None, *, inside_tool_call_id: str | None = None,
        inside_call_id: str | None = None,
    ) -> Run:  # fmt: skip
        """Add an agent run inside another one, or beside the main one where `outer` is None."""
        run = Run(
            run_id=self.id_of("agent", place),
            parent_id=self.root_id if outer is None else outer.run_id,
            name=name,
            depth=0 if outer is None else outer.depth + 1,
            inside_tool_call_id=inside_tool_call_id,
            inside_call_id=inside_call_id,
        )
        self._runs.append(run)
        return run

    def call(
        self,
        run: Run,
        call_id: str,
        *,
        continues: str | Literal["before"] | None = "before",
        compacted: bool = False,
        extra: Mapping[str, Any] | None = None,
        **columns: Any,
    ) -> dict[str, Any]:
        """Add a call, the next step of its run; `columns` are those of `records.Call`.

        Return what can still be changed.

        `continues` is the call whose history it extends, by default the one before it in the run; if `compacted`, by a
        summary of that. `usage_source` and `usage_complete` follow from the tokens unless given. `started_at_ns` is
        None where the source gives no time: the call then stands right behind the one added before it. Where only one
        moment is given, that is its start.
        """
        if call_id in self._by_id:  # the log repeats it
            return self._by_id[call_id]
        if continues == "before":
            continues = run.last_call_id
        if continues is not None:
            columns |= {"continues_call_id": continues, "continues_evidence": "compaction" if compacted else "history"}
            columns["branch"] = self._continued.get(continues, 0)
            self._continued[continues] = columns["branch"] + 1
        given = [columns.get(name) is not None for name in ("input_tokens", "output_tokens")]
        columns.setdefault("usage_source", "provider" if all(given) else "partial" if any(given) else "absent")
        columns.setdefault("usage_complete", all(given))
        made = {
            "call_id": call_id,
            "trace_id": self.trace_id,
            "parent_id": run.run_id,
            "task": self.task,
            "task_id": self.task_id,
            "agent": run.name,
            "agent_run_id": run.run_id,
            "depth": run.depth,
            "step": run.calls,
            "inside_tool_call_id": run.inside_tool_call_id,
            "inside_call_id": run.inside_call_id,
            "inside_evidence": None if run.inside_tool_call_id is None else "scope",
            "structure_source": "scope",
            "extra": {**(extra or {}), **({"gen_ai.conversation.compacted": True} if compacted else {})},
            **columns,
        }
        run.calls += 1
        run.last_call_id = call_id
        self._calls.append(made)
        self._by_id[call_id] = made
        return made

    def tool(self, call_id: str, tool_call_id: str, name: str, **columns: Any) -> dict[str, Any]:
        """Add a tool call that an answer asks for; `columns` are those of `records.ToolRun`."""
        made = {"call_id": call_id, "tool_call_id": tool_call_id, "name": name, **columns}
        return self._tools.setdefault((call_id, tool_call_id), made)

    def attempt(self, attempt: Attempt) -> None:
        """Add one HTTP attempt of a call."""
        self._attempts.append(attempt)

    def session(self, extra: Mapping[str, Any]) -> None:
        """Note what is true of the whole session: it goes to the first call, as `extra.session`."""
        kept = {name: value for name, value in extra.items() if value is not None}
        if self._calls and kept:
            self._calls[0]["extra"]["session"] = kept

    def batch(self) -> Batch:
        """Return the rows; client tool calls are counted into their calls."""
        self._place()
        asked: dict[str, int] = {}
        for tool in self._tools.values():
            if tool.get("kind", "client") == "client":
                asked[tool["call_id"]] = asked.get(tool["call_id"], 0) + 1
        calls = [Call(**{"tool_calls": asked.get(made["call_id"], 0), **made}) for made in self._calls]
        tools = [ToolRun(**_in_order(made)) for made in self._tools.values()]
        return Batch(calls=calls, tool_runs=tools, attempts=self._attempts, spans=self._spans() if calls else ())

    def _place(self) -> None:
        """Give calls without a time a place among the others, and no length to those whose length nobody knows."""
        known = [made["started_at_ns"] for made in self._calls if made["started_at_ns"]]
        leading = next((at for at, made in enumerate(self._calls) if made["started_at_ns"]), len(self._calls))
        before_ns = min(known) - leading - 1 if known else 0
        for made in self._calls:
            if not made["started_at_ns"]:
                made |= {"started_at_ns": before_ns + 1, "ended_at_ns": None}
                made["extra"]["time_unknown"] = True
            elif made.get("duration_s") is None and (made.get("ended_at_ns") or 0) <= made["started_at_ns"]:
                # A start that stands in for the end would make it a call of no time at all.
                made["ended_at_ns"] = None
            before_ns = made["started_at_ns"]
        if self._calls and not known:
            said = self._calls[0]["extra"].setdefault("session", {})
            self._calls[0]["extra"]["session"] = {"session_relative_time": True, "times_unknown": True, **said}

    def _spans(self) -> list[SpanRecord]:
        times = self._times()
        spans = [
            self._span(run.run_id, "agent", run.name, run.parent_id, run.depth, times)
            for run in self._runs
            if run.run_id in times
        ]
        outer = self._span(self.root_id, "task", self.task, None, 0, times)
        return [outer, *spans]

    def _times(self) -> dict[str, tuple[int, int]]:
        """Return start and end of each run and of the task, an outer one around all that is in it."""
        own: dict[str, list[int]] = {run.run_id: [] for run in self._runs}
        for made in self._calls:
            own[made["agent_run_id"]] += [made["started_at_ns"], made.get("ended_at_ns") or made["started_at_ns"]]
        for run in reversed(self._runs):  # an inner run comes after the one around it
            mine = own[run.run_id]
            mine += [at for at in (run.started_at_ns, run.ended_at_ns) if at is not None]
            own.setdefault(run.parent_id, []).extend(mine)
        return {span_id: (min(at), max(at)) for span_id, at in own.items() if at}

    def _span(
        self, span_id: str, kind: Literal["task", "agent"], name: str, parent_id: str | None, depth: int,
        times: Mapping[str, tuple[int, int]],
    ) -> SpanRecord:  # fmt: skip
        started_at_ns, ended_at_ns = times[span_id]
        return SpanRecord(
            span_id=span_id,
            trace_id=self.trace_id,
            parent_id=parent_id,
            kind=kind,
            name=name,
            task_id=self.task_id,
            agent_run_id=span_id if kind == "agent" else None,
            depth=depth,
            started_at_ns=started_at_ns,
            ended_at_ns=ended_at_ns,
            status="ok",
            outcome=self.outcome if kind == "task" else None,
            score=self.score if kind == "task" else None,
        )


def prompted_by(spoken: Collection[str]) -> str | None:
    """Return the column of this name, of who has spoken since the last answer: `user`, `tool`, both or nobody."""
    return "both" if len(spoken) > 1 else next(iter(spoken), None)


def _in_order(tool: dict[str, Any]) -> dict[str, Any]:
    """Return a tool run without its end, if that is said to be before its start."""
    start, end = tool.get("started_at_ns"), tool.get("ended_at_ns")
    return tool | {"ended_at_ns": None} if start is not None and end is not None and end < start else tool
