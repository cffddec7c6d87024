"""Reads ATIF trajectories (Agent Trajectory Interchange Format, v1.0 to v1.8), as Harbor and others write them.

Source: github.com/harbor-framework/harbor, `rfcs/0001-trajectory-format.md`, and the package `atif` 1.8. A step of
source `agent` is one call, unless `llm_call_count` is 0 (no model was asked) or `is_copied_context` (it belongs to an
earlier trajectory); with a count above 1 the step's metrics are sums, kept as one call with `extra.llm_call_count`.
`prompt_tokens` include `cached_tokens`. Sub-agents' trajectories stand in `subagent_trajectories`, or in files that
`subagent_trajectory_ref` names; trajectories of one `session_id` are read together, from several files or from the
lines of one. Harbor's Terminus 2 adds to the id of its session what wrote the trajectory: `-cont-1` goes on with it
behind a summary, and `-summarization-1-summary` (`-questions`, `-answers`) are the sub-agents that made the summary.
A step's time is taken for its start.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.importers.files.fields import count, dicts, mapping, number, size, text, time_ns
from tokenflation.sdk.importers.files.formats import Context, Format, Head, Skipped, Taken
from tokenflation.sdk.importers.files.reading import document, values
from tokenflation.sdk.importers.rows.building import Run, TaskRows
from tokenflation.sdk.importers.rows.chat import digest

__all__ = ["FORMAT"]

_VERSION = re.compile(rb'"schema_version"\s*:\s*"ATIF-v')
_SESSION_ID = re.compile(rb'"session_id"\s*:\s*"([^"\\]+)"')
_ADDED = re.compile(r"(?:-cont-\d+|-summarization-\d+-[a-z]+)+$")
_SUMMARY = re.compile(r"-summarization-\d+-")
_NUMBER = re.compile(r"\d+")
_MOST_DEPTH = 50


def _sniff(head: Head) -> float:
    if _VERSION.search(head.start):
        return 0.97
    return 0.7 if {"schema_version", "agent", "steps"} <= head.keys else 0.0


def _group(head: Head) -> str:
    found = None if head.name.endswith(".jsonl") else _SESSION_ID.search(head.start)
    return _ADDED.sub("", found[1].decode("utf-8", "replace")) if found else head.path


def _read(entries: Sequence[Entry], context: Context) -> Iterator[Taken | Skipped]:
    together: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for entry in entries:
        for found in values(entry, context) if entry.name.endswith(".jsonl") else document(entry):
            if isinstance(found, Skipped):
                yield found
                continue
            line, one = found
            if not isinstance(one.get("steps"), list):
                yield Skipped(entry.place(line), "a trajectory without steps")
                continue
            key = _ADDED.sub("", text(one, "session_id") or text(one, "trajectory_id") or "") or digest(one)
            known = together.setdefault(key, [])
            if all(one != other for _, other in known):
                known.append((entry.name, one))
    for session_id, found_here in together.items():
        found_here.sort(key=lambda found: _order(found[1]))
        task = context.kind(text(mapping(found_here[0][1], "agent"), "name") or "atif")
        yield _Reading(TaskRows("atif", session_id, task=task), found_here).taken()


def _order(one: Mapping[str, Any]) -> tuple[str, list[int]]:
    """Return what puts the trajectories of a session in order: the first, what goes on with it, then the others."""
    added = _added(one)
    return _NUMBER.sub("", added), [int(number) for number in _NUMBER.findall(added)]


def _added(one: Mapping[str, Any]) -> str:
    found = _ADDED.search(text(one, "session_id") or "")
    return found[0][:200] if found else ""


class _Reading:
    """Holds the trajectories of one session while they become rows."""

    def __init__(self, rows: TaskRows, found: list[tuple[str, Mapping[str, Any]]]) -> None:
        self.rows = rows
        self._found = found
        self._by_name = {name: one for named, one in found for name in (named, _summary_id(one)) if name}
        self._done: set[int] = set()
        self._place = 0
        self._compacted = False

    def taken(self) -> Taken:
        inner = {id(sub) for _, one in self._found for ref in _refs(one) if (sub := self._named(ref)) is not None}
        tops = [one for _, one in self._found if id(one) not in inner] or [one for _, one in self._found]
        for one in tops:
            self._add(one, self.rows.main, "", 0)
        said = mapping(tops[0], "final_metrics")
        self.rows.session({"final_metrics": dict(said) or None, "version": text(tops[0], "schema_version")})
        return Taken(self.rows.batch())

    def _add(self, one: Mapping[str, Any], run: Run, path: str, depth: int) -> None:
        if id(one) in self._done or depth > _MOST_DEPTH:
            return
        self._done.add(id(one))
        default = text(mapping(one, "agent"), "model_name")
        own = _added(one) or path or (text(one, "trajectory_id") or "")
        inner = {text(sub, "trajectory_id"): sub for sub in dicts(one, "subagent_trajectories")}
        before = None
        for step in dicts(one, "steps"):
            source = text(step, "source")
            if source != "agent" or step.get("llm_call_count") == 0 or step.get("is_copied_context") is True:
                before = "user" if source == "user" else before
            else:
                self._add_step(step, run, own, default, before)
                before = "tool" if dicts(step, "tool_calls") else None
            self._add_inner(step, run, inner, path, depth)
        for trajectory_id, sub in inner.items():  # those that no observation names
            self._add_sub(sub, run, None, f"{path}/{trajectory_id}", depth)

    def _add_step(self, step: Mapping[str, Any], run: Run, path: str, default: str | None, before: str | None) -> None:
        metrics = mapping(step, "metrics")
        more = mapping(metrics, "extra")
        self._place += 1
        call_id = self.rows.id_of("step", path, step.get("step_id") or self._place)
        calls, cost = count(step, "llm_call_count"), number(metrics, "cost_usd")
        said: dict[str, Any] = {"cost": cost, "llm_call_count": calls if calls is not None and calls > 1 else None}
        compacted = self._compacted and run.depth == 0
        self._compacted = self._compacted and not compacted
        self.rows.call(
            run,
            call_id,
            compacted=compacted,
            extra={name: value for name, value in said.items() if value is not None},
            provider="unknown",
            api="atif",
            model=text(step, "model_name") or default,
            started_at_ns=time_ns(step, "timestamp"),
            input_tokens=count(metrics, "prompt_tokens"),
            output_tokens=count(metrics, "completion_tokens"),
            cache_read_tokens=count(metrics, "cached_tokens"),
            cache_write_tokens=count(more, "cache_creation_input_tokens", "cache_write_tokens"),
            reasoning_tokens=count(more, "reasoning_tokens", "reasoning_output_tokens"),
            prompted_by=before,
        )
        results = {text(one, "source_call_id"): one for one in dicts(mapping(step, "observation"), "results")}
        for position, asked in enumerate(dicts(step, "tool_calls")):
            tool_id = text(asked, "tool_call_id") or str(position)
            came = results.get(tool_id)
            self.rows.tool(
                call_id,
                tool_id,
                text(asked, "function_name") or "unknown",
                arguments_bytes=size(asked.get("arguments")),
                result_bytes=None if came is None else size(came.get("content")),
                executed=None if came is None else 1,
            )

    def _add_inner(
        self, step: Mapping[str, Any], run: Run, inner: dict[str | None, Mapping[str, Any]], path: str, depth: int
    ) -> None:
        if depth == 0 and any(_summary_id(ref) for ref in _refs({"steps": [step]})):
            self._compacted = True
        for came in dicts(mapping(step, "observation"), "results"):
            for ref in dicts(came, "subagent_trajectory_ref"):
                trajectory_id, file = text(ref, "trajectory_id"), text(ref, "trajectory_path")
                sub = (inner.pop(trajectory_id, None) if trajectory_id else None) or self._named(ref)
                if sub is not None:
                    self._add_sub(sub, run, text(came, "source_call_id"), f"{path}/{trajectory_id or file}", depth)

    def _named(self, ref: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the trajectory that a reference names: by its file, or a summary by its session where it has none."""
        named = self._by_name.get(PurePath(text(ref, "trajectory_path") or "").name)
        return named or self._by_name.get(_summary_id(ref))

    def _add_sub(self, sub: Mapping[str, Any], run: Run, asked: str | None, path: str, depth: int) -> None:
        if id(sub) in self._done:
            return
        name = text(mapping(sub, "agent"), "name") or "subagent"
        asking = run.last_call_id if asked is not None else None
        inner = self.rows.run(path, name, run, inside_tool_call_id=asked, inside_call_id=asking)
        if asked is not None and asking is not None:
            self.rows.tool(asking, asked, name)["agent_run_id"] = inner.run_id
        self._add(sub, inner, path, depth + 1)


def _summary_id(one: Mapping[str, Any]) -> str:
    """Return the id of the session of a sub-agent that makes a summary, an empty text of any other."""
    session_id = text(one, "session_id") or ""
    return session_id if _SUMMARY.search(session_id) else ""


def _refs(one: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for step in dicts(one, "steps"):
        for came in dicts(mapping(step, "observation"), "results"):
            yield from dicts(came, "subagent_trajectory_ref")


FORMAT = Format(name="atif", title="ATIF trajectory", sniff=_sniff, read=_read, group=_group)
