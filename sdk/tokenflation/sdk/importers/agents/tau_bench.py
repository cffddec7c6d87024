"""Reads results of tau-bench: one trial of one task is one task here; no tokens and no times are in it.

A result has `task_id`, `trial`, `reward` (1 for success), `info` and `traj`, the agent's messages (github.com/
sierra-research/tau-bench, `tau_bench/types.py`, `EnvRunResult`). The simulated user's own calls are not in it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.importers.files.fields import dicts, number
from tokenflation.sdk.importers.files.formats import Context, Format, Head, Skipped, Taken
from tokenflation.sdk.importers.files.reading import values
from tokenflation.sdk.importers.rows.building import TaskRows
from tokenflation.sdk.importers.rows.chat import add_messages, digest

__all__ = ["FORMAT"]

_KEYS = frozenset(("task_id", "reward", "traj"))


def _sniff(head: Head) -> float:
    if head.keys >= _KEYS or any(one.keys() >= _KEYS for one in head.objects):
        return 0.95
    return 0.6 if {"task_id", "reward", "info"} <= head.keys else 0.0


def _read(entries: Sequence[Entry], context: Context) -> Iterator[Taken | Skipped]:
    for entry in entries:
        for found in values(entry, context):
            if isinstance(found, Skipped):
                yield found
            elif not dicts(found[1], "traj"):
                yield Skipped(entry.place(found[0]), "a result without messages")
            else:
                yield Taken(_rows(found[1], context.kind("tau-bench")).batch())


def _rows(result: dict[str, Any], task: str) -> TaskRows:
    reward, session_id = number(result, "reward"), digest(result)
    name = f"{result.get('task_id')}/{result.get('trial')}" if isinstance(result.get("task_id"), int | str) else ""
    rows = TaskRows("tau-bench", session_id, task=task, task_id=f"{name[:80]}#{session_id[:8]}")
    if reward is not None:
        rows.outcome, rows.score = reward >= 1, reward
    add_messages(rows, dicts(result, "traj"))
    rows.session({"session_relative_time": True, "times_unknown": True, "reward": reward})
    return rows


FORMAT = Format(name="tau-bench", title="tau-bench result", sniff=_sniff, read=_read)
