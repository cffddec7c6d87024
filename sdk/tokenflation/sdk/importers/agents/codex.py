"""Reads Codex CLI's session logs (`~/.codex/sessions/**/rollout-*.jsonl`): a session with its sub-agents is one task.

A line has `timestamp`, `type` and `payload` (github.com/openai/codex, `codex-rs/protocol/src/protocol.rs`,
`RolloutLine`; github.com/uw-syfi/TraceLab, `example_sessions/codex/explanation.md`):

* `event_msg` of type `token_count` ends a call: `info.last_token_usage` is its usage, `cached_input_tokens` part of
  `input_tokens` and `reasoning_output_tokens` of `output_tokens`. One whose `total_token_usage` has not changed repeats
  the last (a change of rate limits writes it again) and is no call. Where only totals are given, their growth is taken.
* `token_usage_record`, in newer versions, stands right behind what the model said and names the response: it ends the
  call, and the `token_count` that follows the tools' results repeats it.
* `response_item`s since the last call are what the model said: tool calls (`function_call`, `custom_tool_call`,
  `local_shell_call`; `web_search_call` runs at the provider), reasoning, messages; `*_output` are tool results.
* A call starts with the last thing that it answers (a message, a tool result) and ends with the last that it said.
* `compacted`: the next call continues by a summary. `stream_error`: an attempt that failed and was tried again.
* `turn_context` names the model. A sub-agent has a file of its own, whose `session_meta` names its parent
  (`parent_thread_id`, or `source` in older versions); its `session_id` is the outermost thread's, its `id` its own
  (openai/codex, pull request 29327), so that sub-agents of sub-agents are found too. An `agent_message` is what another
  agent said.
* A call whose usage has not come is not finished and not counted, nor one that `turn_aborted` broke off. Versions
  before September 2025 wrote no usage: their sessions are left out and named.
* A fork (`forked_from_id`) begins with its parent's records, written again: calls before its own first `task_started`,
  the first that is not older than the session, are not its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokenflation.sdk.importers.agents.codex_session import Thread
from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.importers.files.fields import mapping, text, time_ns
from tokenflation.sdk.importers.files.formats import Context, Format, Head, Skipped, Taken
from tokenflation.sdk.importers.files.reading import lines
from tokenflation.sdk.importers.rows.building import Run, TaskRows

__all__ = ["FORMAT"]

_KINDS = frozenset(("session_meta", "response_item", "event_msg", "turn_context", "compacted"))


def _sniff(head: Head) -> float:
    if any(text(one, "type") in _KINDS and isinstance(one.get("payload"), Mapping) for one in head.objects):
        return 0.96
    return 0.6 if {"timestamp", "type", "payload"} <= head.keys else 0.0


def _group(head: Head) -> str:
    for one in head.objects:
        if one.get("type") == "session_meta":
            return _root(mapping(one, "payload")) or head.path
    return head.path


def _root(meta: Mapping[str, Any]) -> str | None:
    """Return the session that a thread belongs to: the outermost thread's, as far as the thread knows it."""
    return text(meta, "session_id") or _parent(meta) or text(meta, "id")


def _parent(meta: Mapping[str, Any]) -> str | None:
    """Return the thread whose sub-agent this one is."""
    spawn = mapping(meta, "source", "subagent", "thread_spawn")
    return text(spawn, "parent_thread_id") or text(meta, "parent_thread_id")


def _name(meta: Mapping[str, Any]) -> str:
    inner, spawn = mapping(meta, "source", "subagent"), mapping(meta, "source", "subagent", "thread_spawn")
    named = text(spawn, "agent_role", "agent_nickname") or text(meta, "agent_role", "agent_nickname")
    return named or text(inner, "other") or text(mapping(meta, "source"), "subagent") or "subagent"


def _read(entries: Sequence[Entry], context: Context) -> Iterator[Taken | Skipped]:
    threads: dict[str, Thread] = {}
    for entry in entries:
        records: list[tuple[int, Mapping[str, Any]]] = []
        at_ns = 0
        for found in lines(entry, context):
            if isinstance(found, Skipped):
                yield found
                continue
            line, record = found
            if not isinstance(record.get("payload"), Mapping) or text(record, "type") is None:
                yield Skipped(entry.place(line), "no record of a session")
                continue
            at_ns = time_ns(record, "timestamp") or at_ns
            records.append((at_ns, record))
        records.sort(key=lambda one: one[0])
        thread = Thread(records, default_id=entry.name.removesuffix(".jsonl"))
        if not thread.calls:
            yield Skipped(entry.shown, "without token counts", what="session")
            continue
        if thread.thread_id not in threads or len(thread.calls) > len(threads[thread.thread_id].calls):
            threads[thread.thread_id] = thread
    if threads:
        yield _taken(list(threads.values()), context.kind("codex"))


def _taken(threads: list[Thread], task: str) -> Taken:
    mains = [one for one in threads if _parent(one.meta) is None] or threads
    rows = TaskRows("codex", _root(mains[0].meta) or mains[0].thread_id, task=task)
    runs: dict[str, Run] = {}
    for main in mains:
        main.add_to(rows, rows.main)
        runs[main.thread_id] = rows.main
    waiting = [thread for thread in threads if thread not in mains]
    while waiting:
        # Those whose parent is placed; if there are none, the parent is not in the files, or they name each other.
        ready = [one for one in waiting if _parent(one.meta) in runs] or waiting
        for thread in ready:
            runs[thread.thread_id] = _add_inner(rows, thread, runs.get(_parent(thread.meta) or "", rows.main), threads)
        waiting = [one for one in waiting if one not in ready]
    rows.session(
        {
            "version": text(mains[0].meta, "cli_version"),
            "calls_of_the_parent": mains[0].copied or None,
            "unfinished_calls": sum(thread.unfinished for thread in threads) or None,
        }
    )
    formerly = {call_id: older for thread in threads for call_id, older in thread.formerly().items()}
    return Taken(rows.batch(), formerly)


def _add_inner(rows: TaskRows, thread: Thread, outer: Run, threads: Sequence[Thread]) -> Run:
    asked = next((found for one in threads if (found := one.asking(thread.thread_id)) is not None), None)
    call_id, tool_id = asked or (None, None)
    run = rows.run(thread.thread_id, _name(thread.meta), outer, inside_tool_call_id=tool_id, inside_call_id=call_id)
    if call_id is not None and tool_id is not None:
        rows.tool(call_id, tool_id, "spawn_agent")["agent_run_id"] = run.run_id
    thread.add_to(rows, run)
    return run


FORMAT = Format(name="codex", title="Codex CLI session log", sniff=_sniff, read=_read, group=_group)
