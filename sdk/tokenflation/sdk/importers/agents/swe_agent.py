"""Reads trajectories of SWE-agent (`.traj`) and mini-swe-agent (`.traj.json`), and plain lists of chat messages.

SWE-agent tells tokens for the whole run only (`info.model_stats`: `tokens_sent`, `tokens_received`, `api_calls`,
`instance_cost`; github.com/SWE-agent/SWE-agent, `sweagent/agent/models.py`): a call's own are not reported, the run's
stand in `extra.session.model_stats`. One `trajectory` step is one call, and its `action` a tool call named after the
command's first word. mini-swe-agent writes messages, from version 1 on with the whole response in `extra.response`, or
as the message itself where it uses the Responses API; an answer that it could not understand stands in the message that
says so (github.com/SWE-agent/mini-swe-agent, `src/minisweagent/models/litellm_model.py`, `litellm_response_model.py`).
A list of messages that nothing names as its own is somebody's: its kind is the file's or folder's name. Where there are
no times, the place in the run stands for them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.importers.files.fields import dicts, mapping, number, seconds, size, text, time_ns
from tokenflation.sdk.importers.files.formats import Context, Format, Head, Skipped, Taken
from tokenflation.sdk.importers.files.reading import document, values
from tokenflation.sdk.importers.rows.building import TaskRows
from tokenflation.sdk.importers.rows.chat import (
    add_asked,
    add_messages,
    digest,
    finish_reasons,
    results_of,
    usage_columns,
)

__all__ = ["MINI", "SWE_AGENT"]


def _sniff_swe(head: Head) -> float:
    if {"trajectory", "history"} <= head.keys or {"trajectory", "environment"} <= head.keys:
        return 0.95
    return 0.8 if head.name.endswith(".traj") and {"trajectory", "history"} & head.keys else 0.0


def _sniff_mini(head: Head) -> float:
    if "trajectory_format" in head.keys and {"messages", "info"} & head.keys:
        return 0.95
    if head.name.endswith(".traj.json") and ({"messages", "info"} & head.keys or {"role", "content"} <= head.keys):
        return 0.9
    return 0.55 if head.start.lstrip()[:1] == b"[" and {"role", "content"} <= head.keys else 0.0


def _read_swe(entries: Sequence[Entry], context: Context) -> Iterator[Taken | Skipped]:
    for entry in entries:
        for found in document(entry):
            if isinstance(found, Skipped):
                yield found
            else:
                yield Taken(_swe_rows(found[1], entry, context.kind("swe-agent")).batch())


def _swe_rows(run: Mapping[str, Any], entry: Entry, task: str) -> TaskRows:
    rows = TaskRows("swe-agent", digest(run), task=task, task_id=_task_id(run, entry))
    steps = dicts(run, "trajectory")
    if steps:
        _add_steps(rows, steps, _model(run))
    else:
        spoken = [one for one in dicts(run, "history") if one.get("is_demo") is not True]
        add_messages(rows, spoken, model=_model(run))
    stats = mapping(run, "info", "model_stats")
    said = {"model_stats": dict(stats) or None, "exit_status": text(mapping(run, "info"), "exit_status")}
    rows.session({"session_relative_time": True, "times_unknown": True, **said})
    return rows


def _task_id(run: Mapping[str, Any], entry: Entry) -> str:
    name = text(mapping(run, "replay_config", "problem_statement"), "id") or entry.name.split(".")[0]
    return f"{name[:80]}#{digest(run)[:8]}"


def _model(run: Mapping[str, Any]) -> str | None:
    return text(mapping(run, "replay_config", "agent", "model"), "name")


def _add_steps(rows: TaskRows, steps: Sequence[Mapping[str, Any]], model: str | None) -> None:
    for position, step in enumerate(steps):
        call_id = rows.id_of("step", position)
        rows.call(
            rows.main, call_id, provider="unknown", api="unknown", model=model, started_at_ns=position,
            prompted_by="tool" if position else "user",
        )  # fmt: skip
        action = text(step, "action")
        if action is not None and action.strip():
            run_s = seconds(step, "execution_time")
            rows.tool(
                call_id,
                "0",
                action.split()[0][:64],
                arguments_bytes=size(action),
                result_bytes=size(step.get("observation")),
                executed=1,
                **({} if run_s is None else {"started_at_ns": position, "ended_at_ns": position + round(run_s * 1e9)}),
            )


def _read_mini(entries: Sequence[Entry], context: Context) -> Iterator[Taken | Skipped]:
    for entry in entries:
        run: dict[str, Any] = {}
        messages: list[Mapping[str, Any]] = []
        for found in values(entry, context):
            if isinstance(found, Skipped):
                yield found
            elif "messages" in found[1]:
                run, messages = found[1], dicts(found[1], "messages")
            elif "role" in found[1] or "object" in found[1] or "call_id" in found[1]:
                messages.append(found[1])
        own = run or entry.name.endswith(".traj.json") or any(_response(one) is not None for one in messages)
        kind = context.kind("mini-swe-agent" if own else entry.task)
        rows = TaskRows("mini-swe-agent", digest(messages), task=kind)
        rows.task_id = f"{(text(run, 'instance_id') or entry.name.split('.')[0])[:80]}#{rows.session_id[:8]}"
        timed = _add_responses(rows, messages)
        if not timed:
            add_messages(rows, messages, model=text(mapping(run, "info", "config", "model"), "model_name"))
        stats = mapping(run, "info", "model_stats")
        relative = {} if timed else {"session_relative_time": True, "times_unknown": True}
        rows.session(
            {**relative, "model_stats": dict(stats) or None, "exit_status": text(mapping(run, "info"), "exit_status")}
        )
        yield Taken(rows.batch())


def _add_responses(rows: TaskRows, messages: Sequence[Mapping[str, Any]]) -> bool:
    """Add the calls of messages that keep the response they came from; return whether there are any."""
    kept = [(place, one) for place, one in enumerate(messages) if _response(one) is not None]
    results = results_of(messages)
    for place, message in kept:
        response, more = _response(message) or {}, mapping(message, "extra")
        call_id = rows.id_of("message", place)
        ended_at_ns = time_ns(more, "timestamp") or time_ns(response, "created", "created_at")
        cost = number(more, "cost")
        rows.call(
            rows.main,
            call_id,
            extra={} if cost is None else {"cost": cost},
            provider="unknown",
            api="openai.responses" if response.get("object") == "response" else "openai.chat",
            model=text(response, "model"),
            response_id=text(response, "id"),
            finish_reasons=finish_reasons(response),
            started_at_ns=ended_at_ns if ended_at_ns is not None else place,
            ended_at_ns=ended_at_ns,
            **usage_columns(mapping(response, "usage")),
        )
        add_asked(rows, call_id, response if message.get("role") != "assistant" else message, results)
    return bool(kept)


def _response(message: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the response that a message has or is, None if it has none; an empty one was not kept as JSON."""
    if message.get("object") == "response":
        return message
    kept = mapping(message, "extra").get("response")
    return kept if isinstance(kept, dict) else None if kept is None else {}


SWE_AGENT = Format(name="swe-agent", title="SWE-agent trajectory", sniff=_sniff_swe, read=_read_swe)
MINI = Format(
    name="mini-swe-agent",
    title="mini-swe-agent trajectory or list of chat messages",
    sniff=_sniff_mini,
    read=_read_mini,
)
