"""Turns one sample of an inspect_ai log into rows. Pure; `inspect_ai` says what is taken how."""

from collections.abc import Mapping
from typing import Any

from tokenflation.sdk.importers.files.fields import count, dicts, mapping, number, seconds, size, text, time_ns
from tokenflation.sdk.importers.rows.building import Run, TaskRows

__all__ = ["sample_rows"]


def sample_rows(about: Mapping[str, Any], sample: Mapping[str, Any], task: str) -> TaskRows | None:
    """Return the rows of a sample, None if it has no id; `about` is the log's `eval`."""
    if not isinstance(sample.get("id"), int | str):
        return None
    name = f"{sample['id']}/{count(sample, 'epoch') or 1}"
    run_id = text(about, "eval_id", "run_id", "created") or ""
    rows = TaskRows("inspect-ai", f"{run_id}/{text(sample, 'uuid') or name}", task=task)
    rows.task_id = f"{name[:80]}#{rows.id_of('task')[:8]}"
    events = dicts(sample, "events")
    placing = _Placing(rows)
    for event in events:
        placing.add(event)
    if not placing.calls:
        _add_answers(rows, sample)
    _judge(rows, sample)
    said = mapping(sample, "model_usage")
    rows.session({"model_usage": dict(said) or None, "total_time_s": number(sample, "total_time")})
    return rows


class _Placing:
    """Holds the open spans and steps while the events come in order."""

    def __init__(self, rows: TaskRows) -> None:
        self.rows = rows
        self.calls = 0
        self._spans: dict[str, tuple[str, str | None, str]] = {}
        """Type, parent and name of each span."""
        self._steps: list[str] = []
        self._runs: dict[str, Run] = {}
        self._asking: dict[str, str] = {}

    def add(self, event: Mapping[str, Any]) -> None:
        """Take one event."""
        kind = event.get("event")
        if kind == "span_begin" and (span_id := text(event, "id")) is not None:
            place = text(event, "type") or "", text(event, "parent_id"), text(event, "name") or ""
            self._spans.setdefault(span_id, place)
        elif kind == "step":
            if event.get("action") == "begin":
                self._steps.append(text(event, "type") or "")
            elif self._steps:
                self._steps.pop()
        elif kind == "model":
            self._add_call(event)
        elif kind == "tool":
            self._add_result(event)
            for inner in dicts(event, "events"):  # before spans, what a tool did stood inside its event
                self.add(inner)

    def _run(self, event: Mapping[str, Any]) -> Run:
        """Return the run of the innermost span that is one."""
        around: list[tuple[str, str, str]] = []
        span_id, seen = text(event, "span_id"), set[str]()
        while span_id is not None and span_id not in seen and span_id in self._spans:
            seen.add(span_id)
            kind, parent, name = self._spans[span_id]
            around.append((span_id, kind, name))
            span_id = parent
        if "scorer" in self._steps or any(kind in ("scorer", "scorers") for _, kind, _ in around):
            if "scorer" not in self._runs:
                self._runs["scorer"] = self.rows.run("scorer", "scorer", None)
            return self._runs["scorer"]
        run, inside = self.rows.main, False
        for span_id, kind, name in reversed(around):
            if kind == "agent" and inside:
                if span_id not in self._runs:
                    self._runs[span_id] = self.rows.run(span_id, name or "subagent", run)
                run = self._runs[span_id]
            inside = inside or kind in ("agent", "tool")
        return run

    def _add_call(self, event: Mapping[str, Any]) -> None:
        output = mapping(event, "output")
        if event.get("cache") == "read":
            return
        run, call_id = self._run(event), self.rows.id_of("call", self.calls)
        self.calls += 1
        told_ns, done_ns = time_ns(event, "timestamp"), time_ns(event, "completed")
        spent_s = seconds(output, "time") or seconds(event, "working_time")
        started_at_ns, ended_at_ns, duration_s = _times(told_ns, done_ns, spent_s)
        choices = dicts(output, "choices")
        failed = text(event, "error") or text(output, "error")
        inputs = dicts(event, "input")
        self.rows.call(
            run,
            call_id,
            provider=(text(event, "model") or "unknown").split("/")[0],
            api="inspect-ai",
            model=text(event, "model"),
            response_model=text(output, "model"),
            status="ok" if failed is None else "error",
            error_type=None if failed is None else "model_error",
            finish_reasons=tuple(found for one in choices if (found := text(one, "stop_reason")) is not None),
            attempts=1 + min(count(event, "retries") or 0, 1000),
            started_at_ns=started_at_ns,
            ended_at_ns=ended_at_ns,
            duration_s=duration_s,
            prompted_by="tool" if inputs and inputs[-1].get("role") == "tool" else "user" if inputs else None,
            **_usage(mapping(output, "usage")),
        )
        for choice in choices:
            for position, asked in enumerate(dicts(mapping(choice, "message"), "tool_calls")):
                tool_id = text(asked, "id") or str(position)
                self._asking[tool_id] = call_id
                name = text(asked, "function") or "unknown"
                self.rows.tool(call_id, tool_id, name, arguments_bytes=size(asked.get("arguments")))

    def _add_result(self, event: Mapping[str, Any]) -> None:
        tool_id = text(event, "id")
        call_id = self._asking.get(tool_id) if tool_id is not None else None
        if tool_id is None or call_id is None:
            return
        at_ns, done_ns = time_ns(event, "timestamp"), time_ns(event, "completed")
        made = self.rows.tool(call_id, tool_id, text(event, "function") or "unknown")
        made |= {"executed": 1, "result_bytes": size(event.get("result")), "failed": bool(event.get("error"))}
        if at_ns is not None and done_ns is not None:
            made |= {"started_at_ns": at_ns, "ended_at_ns": max(done_ns, at_ns)}


def _times(
    told_ns: int | None, done_ns: int | None, spent_s: float | None
) -> tuple[int | None, int | None, float | None]:
    """Return start, end and duration.

    Older logs note when a call was over, newer ones its start and when it was completed.
    """
    if told_ns is None:
        return None, None, spent_s
    if done_ns is not None:
        return told_ns, max(done_ns, told_ns), max(done_ns - told_ns, 0) / 1e9
    return max(told_ns - round((spent_s or 0) * 1e9), 0), told_ns, spent_s


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    given, made = count(usage, "input_tokens"), count(usage, "output_tokens")
    read, written = count(usage, "input_tokens_cache_read"), count(usage, "input_tokens_cache_write")
    total, cached = count(usage, "total_tokens"), (read or 0) + (written or 0)
    if given is not None and cached and total == given + (made or 0) + cached:
        given += cached
    return {
        "input_tokens": given,
        "output_tokens": made,
        "cache_read_tokens": read,
        "cache_write_tokens": written,
        "reasoning_tokens": count(usage, "reasoning_tokens"),
    }


def _add_answers(rows: TaskRows, sample: Mapping[str, Any]) -> None:
    """Add a call for each answer of a sample whose events were not logged; one alone has its usage and model."""
    messages = dicts(sample, "messages")
    answers = [one for one in messages if one.get("role") == "assistant" and one.get("source") == "generate"]
    output = mapping(sample, "output") if len(answers) == 1 else {}
    used = [str(name) for name in mapping(sample, "model_usage")]
    asked = used[0] if len(used) == 1 else None
    at_ns = time_ns(sample, "started_at")
    for position, answer in enumerate(answers):
        # The ids of `_Placing`: a log of the same sample with its events has the same calls, not more.
        rows.call(
            rows.main, rows.id_of("call", position), provider=(asked or "unknown").split("/")[0], api="inspect-ai",
            model=asked or text(answer, "model"), response_model=text(answer, "model") or text(output, "model"),
            started_at_ns=None if at_ns is None else at_ns + position, **_usage(mapping(output, "usage")),
        )  # fmt: skip


def _judge(rows: TaskRows, sample: Mapping[str, Any]) -> None:
    for score in mapping(sample, "scores").values():
        value = score.get("value") if isinstance(score, Mapping) else None
        if value in ("C", "I") or isinstance(value, bool):
            rows.outcome = value in ("C", True)
            return
        if (found := number({"value": value}, "value")) is not None:
            rows.score = found
            return
