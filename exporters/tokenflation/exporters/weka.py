"""Writes Weka session traces: one JSON object per task, read by AIPerf, inference-perf and Dynamo.

Times are seconds from the task's first call, those inside a sub-agent too: readers take a nested time before its marker
as relative and any other as absolute, so only absolute times mean the same everywhere. An agent run at depth 1 is one
`subagent` entry; a deeper one is written inside the entry that was running when it began, as the format nests once.
Calls in it are plain, unless a Weka file had them streamed: inference-perf 0.7 refuses a session with such.
Block ids hold within a session. Fields follow AIPerf 0.13, which refuses unknown ones. A session's id has a slash where
a task's has a colon: inference-perf 0.7 takes what stands before one for the whole id, and waits for ever. GuideLLM 0.8
takes the format too, and sends each prompt behind all before it.

Fields that no column holds (`think_time`, `input_types`, a marker's `agent_id` ...) come from `extra` where the
importer kept them. Elsewhere `think_time` is the time since all before it in the same list ended, and a marker's are
computed; its `status` is always `completed` then, the only one that Dynamo reads.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from tokenflation.exporters.blocks import BlockIds
from tokenflation.exporters.files import atomic_file, atomic_folder
from tokenflation.exporters.nesting import Nested, nested
from tokenflation.exporters.sessions import CallRow, Export, Session, ended_ns, waits_s
from tokenflation.sdk.errors import ExportError

__all__ = ["write_weka"]

_DONE = frozenset(("stop", "end_turn", "STOP", "completed"))
_TOOLS = frozenset(("tool_calls", "tool_use", "function_call"))


def write_weka(export: Export) -> int:
    """Write one object per session and return their number; memory holds few sessions.

    A path ending in `.json` holds one session, any other file one per line, a folder one file per session.
    """
    if export.folder:
        return _write_folder(export)
    count, taken = 0, set[str]()
    with atomic_file(export.path) as file:
        for count, session in enumerate(export.sessions, start=1):
            if count > 1 and export.path.suffix == ".json":
                raise ExportError(
                    f"{export.path}: a .json file holds one session and there are more. "
                    "Name it .jsonl, or give a folder for one file each."
                )
            file.write(msgspec.json.encode(_session(session, export, taken)) + b"\n")
    return count


def _write_folder(export: Export) -> int:
    names, taken = set[str](), set[str]()
    with atomic_folder(export.path) as folder:
        for session in export.sessions:
            written = msgspec.json.encode(_session(session, export, taken))
            (folder / _file_name(session.id, names)).write_bytes(written)
    return len(names)


def _file_name(session_id: str, taken: set[str]) -> str:
    """Return a name that every file system takes and that no earlier session has, letters in either case."""
    stem = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "_" for letter in session_id
    )
    return f"{_free(stem[:100], taken, str.lower)}.json"


def _free(wanted: str, taken: set[str], alike: Callable[[str], str] = str) -> str:
    """Return the name, with a number behind it if one that is alike is taken."""
    name, number = wanted, 1
    while alike(name) in taken:
        number += 1
        name = f"{wanted}-{number}"
    taken.add(alike(name))
    return name


def _session(session: Session, export: Export, taken: set[str]) -> dict[str, Any]:
    """Return the session as the format's object."""
    ids = BlockIds(export.block_tokens, export.block_size, export.tally, local=True)
    ids.begin_session(session.task)
    # Times that count from the session's start stay as they are: its first call need not be at 0.
    first_ns = session.calls[0].started_at_ns if session.dated else 0
    plan = nested(session.calls, export.tally)
    requests = _requests(session.calls, first_ns, ids, _gaps_s(plan))
    for call in session.calls:
        export.tally.add(call.input_tokens, call.output_tokens)
    kept = session.kept
    for call in (call for run in plan.sub_agents if "subagent" not in run[0].extra for call in run):
        export.tally.unstreamed += requests[call.call_id]["type"] == "s"
        requests[call.call_id] = _plain(requests[call.call_id])
    markers = [_marker(number, run, requests) for number, run in enumerate(plan.sub_agents, start=1)]
    export.tally.sub_agent_runs += len(markers)
    empty = kept.get("empty_subagents")
    export.tally.empty_sub_agents += len(empty) if isinstance(empty, list) else 0
    entries = [requests[call.call_id] for call in plan.main] + markers
    return {
        "id": _free(session.id.replace(":", "/"), taken),
        "models": _models(session.calls, kept),
        "block_size": export.block_size,
        "hash_id_scope": "local",
        **_prefix_sizes(plan.main, kept),
        # On equal times the request comes before the sub-agent it may have started: sort is stable.
        "requests": sorted(entries, key=lambda entry: float(entry["t"])),
        "totals": {**_mapping(kept.get("totals")), **_totals(plan.main, plan.sub_agents)},
    }


def _gaps_s(plan: Nested) -> dict[str, float | None]:
    """Return by call id the seconds since what stands before it in its list had ended; None if the end is unknown.

    Readers send a list one by one, also one in which several agent runs are written.
    """
    return {
        call.call_id: wait_s
        for calls in (plan.main, *plan.sub_agents)
        for call, wait_s in zip(calls, waits_s(calls), strict=True)
    }


def _requests(
    calls: Sequence[CallRow], first_ns: int, ids: BlockIds, gaps_s: Mapping[str, float | None]
) -> dict[str, dict[str, Any]]:
    """Return the request of each call by call id; fields without a value are left out, as recorders of it do."""
    requests: dict[str, dict[str, Any]] = {}
    for call in calls:
        think_s = call.extra["think_time"] if "think_time" in call.extra else gaps_s[call.call_id]
        request = {
            "t": (call.started_at_ns - first_ns) / 1e9,
            "type": "s" if call.stream else "n",
            "model": call.model,
            "in": call.input_tokens,
            "out": call.output_tokens or 0,
            "hash_ids": ids.ids(call).tolist(),
            "input_types": call.extra.get("input_types"),
            "output_types": call.extra.get("output_types"),
            "stop": _stop(call),
            "api_time": call.duration_s,
            "think_time": think_s,
            "ttft": call.ttft_s if call.stream else None,
        }
        requests[call.call_id] = {name: value for name, value in request.items() if value is not None}
    return requests


def _plain(request: Mapping[str, Any]) -> dict[str, Any]:
    return {name: "n" if name == "type" else value for name, value in request.items() if name != "ttft"}


def _stop(call: CallRow) -> str:
    """Return why the answer ended, in the format's three words; tool calls come first, since Gemini stops with both."""
    if call.tool_calls > 0 or not _TOOLS.isdisjoint(call.finish_reasons):
        return "tool_use"
    return "end_turn" if not _DONE.isdisjoint(call.finish_reasons) else ""


def _marker(number: int, calls: Sequence[CallRow], requests: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the entry of one sub-agent with its requests in order of time."""
    first = calls[0]
    kept = _mapping(first.extra.get("subagent"))
    last_ns = max(ended_ns(call) or call.started_at_ns for call in calls)
    computed = {
        "duration_ms": round((last_ns - first.started_at_ns) / 1e6),
        "total_tokens": sum(call.input_tokens + (call.output_tokens or 0) for call in calls),
        "tool_use_count": sum(call.tool_calls for call in calls),
    }
    return {
        "t": min(requests[first.call_id]["t"], kept.get("t", math.inf)),
        "type": "subagent",
        "agent_id": kept.get("agent_id") or f"agent_{number:03d}",
        "subagent_type": kept.get("subagent_type") or first.agent or "agent",
        # Readers take None for a sub-agent whose end nobody waited for, and no fractions.
        **{name: _whole(kept.get(name, value)) for name, value in computed.items()},
        "status": kept.get("status") or "completed",
        "requests": [requests[call.call_id] for call in calls],
        "models": _models(calls, kept),
        **_prefix_sizes(calls, kept),
    }


def _whole(value: Any) -> int | None:
    return round(value) if isinstance(value, (int, float)) else None


def _models(calls: Iterable[CallRow], kept: Mapping[str, Any]) -> list[str]:
    """Return every model used, those that the source declared first; a reader refuses a model that is not declared."""
    declared = kept.get("models")
    names = [str(name) for name in declared] if isinstance(declared, list) else []
    return list(dict.fromkeys([*names, *(call.model for call in calls)]))


def _prefix_sizes(calls: Sequence[CallRow], kept: Mapping[str, Any]) -> dict[str, int]:
    """Return the tokens of tools and system prompt: the source's, else those of the first call that knows them."""
    tools = next((call.tool_definition_tokens for call in calls if call.tool_definition_tokens is not None), 0)
    system = next((call.system_tokens for call in calls if call.system_tokens is not None), 0)
    return {"tool_tokens": kept.get("tool_tokens") or tools, "system_tokens": kept.get("system_tokens") or system}


def _totals(main: Iterable[CallRow], sub_agents: Sequence[Iterable[CallRow]]) -> dict[str, Any]:
    """Return the summary that public corpora of this format carry, computed from what is written."""
    parent = _sum(main)
    subs = _sum(call for calls in sub_agents for call in calls)
    return {
        "parent_tokens": parent,
        "subagent_tokens": subs,
        "combined_tokens": {name: parent[name] + subs[name] for name in parent},
        "subagent_count": len(sub_agents),
    }


def _sum(calls: Iterable[CallRow]) -> dict[str, int]:
    read = list(calls)
    return {"input": sum(c.input_tokens for c in read), "output": sum(c.output_tokens or 0 for c in read)}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
