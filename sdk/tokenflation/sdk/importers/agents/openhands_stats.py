"""Reads what OpenHands keeps of its calls beside their texts: a conversation's state, an evaluation's `output.jsonl`.

Both hold the `Metrics` of each use of a model: `token_usages`, one entry a call, with `costs` (whose `timestamp` is
when the answer was there) and `response_latencies` (by `response_id`). A state (`base_state.json`) has them under
`stats.usage_to_metrics` by what the model was used for: `agent` is the agent, others (a condenser) are runs beside it.
A line of an evaluation has the sum of them as `metrics`, and its events as `history`. Cached tokens are part of
`prompt_tokens`. Versions that kept costs alone give calls without tokens. A call that a completion log of the same
conversation has too is that call. Where there are no times, the place in the list stands for them.

Source: github.com/OpenHands/OpenHands, `openhands/llm/metrics.py`, `evaluation/utils/shared.py` (EvalOutput) and
`openhands/events/tool.py`; github.com/OpenHands/software-agent-sdk, `openhands/sdk/llm/utils/metrics.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.importers.files.fields import (
    count,
    dicts,
    made_id,
    mapping,
    number,
    seconds,
    seconds_ns,
    size,
    text,
)
from tokenflation.sdk.importers.files.fields import time_ns as time_of
from tokenflation.sdk.importers.files.formats import Context, Format, Head, Skipped, Taken
from tokenflation.sdk.importers.files.reading import values
from tokenflation.sdk.importers.rows.building import Run, TaskRows
from tokenflation.sdk.importers.rows.chat import digest

__all__ = ["FORMAT"]

_EVALUATION = frozenset(("history", "metrics"))
_AGENT = ("agent", "default")


def _sniff(head: Head) -> float:
    if "stats" in head.keys and b'"usage_to_metrics"' in head.start:
        return 0.9
    return 0.85 if any(one.keys() >= _EVALUATION for one in head.objects) or head.keys >= _EVALUATION else 0.0


def _read(entries: Sequence[Entry], context: Context) -> Iterator[Taken | Skipped]:
    for entry in entries:
        for found in values(entry, context):
            if isinstance(found, Skipped):
                yield found
                continue
            line, record = found
            used = mapping(record, "stats", "usage_to_metrics") or {"agent": record.get("metrics")}
            metrics = {str(name): one for name, one in used.items() if isinstance(one, dict)}
            if not any(_calls(one) for one in metrics.values()):
                yield Skipped(entry.place(line), "a conversation without calls", what="session")
                continue
            yield Taken(_rows(record, metrics, context.kind("openhands")).batch())


def _rows(record: Mapping[str, Any], metrics: Mapping[str, Mapping[str, Any]], task: str) -> TaskRows:
    name = text(record, "instance_id", "id") or ""
    first = next(
        (found for one in metrics.values() for call in _calls(one) if (found := text(call, "response_id"))), None
    )
    session_id = first or digest([name, *metrics.values()])
    rows = TaskRows(
        "openhands", session_id, task=task, task_id=f"{name[:80]}#{made_id(session_id)[:8]}" if name else None
    )
    resolved = mapping(record, "test_result", "report").get("resolved", record.get("success"))
    rows.outcome = resolved if isinstance(resolved, bool) else None
    agent = next((one for one in _AGENT if one in metrics), next(iter(metrics)))
    made: list[dict[str, Any]] = []
    for used_for, one in sorted(metrics.items(), key=lambda found: found[0] != agent):
        run = rows.main if used_for == agent else rows.run(used_for, used_for, None)
        made += _add(rows, run, one)
    _add_tools(rows, {call["call_id"] for call in made}, dicts(record, "history"))
    timed = any(call["ended_at_ns"] is not None for call in made)
    rows.session({} if timed else {"session_relative_time": True, "times_unknown": True})
    return rows


def _calls(metrics: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return an entry for each call: its tokens, of older versions its cost."""
    costs = metrics.get("costs")
    return dicts(metrics, "token_usages") or ([{} for _ in costs] if isinstance(costs, list) else [])


def _add(rows: TaskRows, run: Run, metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Add the calls of a run and return them."""
    calls, costs = _calls(metrics), metrics.get("costs")
    # Costs have no ids: they are told to be of the calls by being as many.
    spent = costs if isinstance(costs, list) and len(costs) == len(calls) else []
    latencies = {text(one, "response_id"): seconds(one, "latency") for one in dicts(metrics, "response_latencies")}
    made = []
    for place, call in enumerate(calls):
        paid = spent[place] if spent else None
        cost = number({"cost": paid} if not isinstance(paid, Mapping) else dict(paid), "cost")
        response_id, ended_s = text(call, "response_id"), seconds(paid, "timestamp")
        latency_s = latencies.get(response_id) if response_id is not None else None
        made.append(
            rows.call(
                run,
                _call_id(rows, response_id, run.run_id, place),
                extra={} if cost is None else {"cost": cost},
                provider="unknown",
                api="openai.chat",
                model=text(call, "model") or text(paid, "model"),
                response_id=response_id,
                started_at_ns=seconds_ns(ended_s - (latency_s or 0.0)) if ended_s else place,
                ended_at_ns=seconds_ns(ended_s) if ended_s else None,
                duration_s=latency_s,
                input_tokens=count(call, "prompt_tokens"),
                output_tokens=count(call, "completion_tokens"),
                cache_read_tokens=count(call, "cache_read_tokens"),
                cache_write_tokens=count(call, "cache_write_tokens"),
                reasoning_tokens=count(call, "reasoning_tokens"),
            )
        )
    return made


def _call_id(rows: TaskRows, response_id: str | None, *place: object) -> str:
    # With the answer's id as completion logs give it: a call that both have is one.
    return made_id("openhands", response_id) if response_id is not None else rows.id_of(*place)


def _add_tools(rows: TaskRows, calls: set[str], events: Sequence[Mapping[str, Any]]) -> None:
    for event in events:
        said = mapping(event, "tool_call_metadata") or event
        asked = text(said, "tool_call_id")
        answer = text(mapping(said, "model_response"), "id") or text(said, "llm_response_id")
        if asked is None or answer is None or _call_id(rows, answer) not in calls:
            continue
        name, at_ns = text(said, "function_name", "tool_name") or "unknown", time_of(event, "timestamp")
        made = rows.tool(_call_id(rows, answer), asked, name)
        if "observation" not in event:
            arguments = event.get("args", event.get("action"))
            made |= {"arguments_bytes": size(arguments), "started_at_ns": at_ns}
        else:
            given = event["observation"] if isinstance(event["observation"], dict) else event.get("content")
            made |= {"executed": 1, "result_bytes": size(given), "ended_at_ns": at_ns}


FORMAT = Format(name="openhands-stats", title="OpenHands conversation state or evaluation", sniff=_sniff, read=_read)
