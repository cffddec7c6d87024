"""Turns a frame of calls into sessions: one per task, its calls in order of time, as plain values. Does no I/O.

Sessions are made when they are asked for, so an export holds few calls at a time, or one session, beside the frame.
"""

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tokenflation.exporters.summary import ExportOptions, Tally
from tokenflation.sdk.errors import ExportError

__all__ = ["CallRow", "Export", "Session", "check_columns", "ended_ns", "read_sessions", "store_block", "waits_s"]

_COLUMNS = (
    "call_id",
    "task",
    "task_id",
    "agent",
    "agent_run_id",
    "depth",
    "step",
    "model",
    "response_model",
    "stream",
    "finish_reasons",
    "started_at_ns",
    "ended_at_ns",
    "duration_s",
    "ttft_s",
    "input_tokens",
    "cache_read_tokens",
    "output_tokens",
    "tool_calls",
    "system_tokens",
    "tool_definition_tokens",
    "block_tokens",
    "shared_blocks",
    "extra",
)


_TOGETHER = 1_000
"""Calls that are taken from the frame at a time: one look at it takes milliseconds, of however few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """One call as plain values; the fields are columns of `calls` (units in `store/tables.py`)."""

    call_id: str
    agent: str
    agent_run_id: str
    depth: int
    step: int
    model: str
    stream: bool
    finish_reasons: tuple[str, ...]
    started_at_ns: int
    """Of its last attempt: a back-off is a wait before it."""
    ended_at_ns: int | None
    duration_s: float | None
    ttft_s: float | None
    input_tokens: int
    cache_read_tokens: int | None
    output_tokens: int | None
    tool_calls: int
    system_tokens: int | None
    tool_definition_tokens: int | None
    block_hashes: bytes | None
    shared_blocks: int | None
    extra: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One task: `calls` is not empty and in order of time, within an agent run in order of step."""

    id: str
    task: str
    task_id: str
    calls: tuple[CallRow, ...]
    kept: Mapping[str, Any]
    """What the importer kept of the source's session; empty for a recorded one."""

    @property
    def dated(self) -> bool:
        """Whether the times are unix times; those of an import may count from the session's own start."""
        return not self.kept.get("session_relative_time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Everything a format's writer needs to know."""

    sessions: Iterator[Session]
    path: Path
    folder: bool
    """The user asked for a folder: OUT ends with a slash, or is one."""
    block_tokens: int
    """Tokens per block in the store."""
    block_size: int
    """Tokens per block in the file; a multiple of `block_tokens`."""
    options: ExportOptions
    tally: Tally


def ended_ns(call: CallRow) -> int | None:
    """Return when the call ended, unix ns, or None if nobody knows."""
    if call.ended_at_ns is not None:
        return call.ended_at_ns
    return None if call.duration_s is None else call.started_at_ns + round(call.duration_s * 1e9)


def waits_s(calls: Sequence[CallRow]) -> list[float | None]:
    """Return for each call, in order of time, the s since all before it had ended; None if the last end is unknown."""
    waits: list[float | None] = [0.0]
    latest_ns = 0
    for before, call in itertools.pairwise(calls):
        end_ns = ended_ns(before)
        latest_ns = max(latest_ns, end_ns or 0)
        waits.append(None if end_ns is None else max(0.0, (call.started_at_ns - latest_ns) / 1e9))
    return waits


def check_columns(calls: pd.DataFrame) -> None:
    """Raise ExportError unless the frame has every column an export reads and a call that can be written."""
    missing = [name for name in _COLUMNS if name not in calls.columns]
    if missing:
        raise ExportError(
            f"An export needs the columns {missing}; the frame has {list(calls.columns)}. "
            "Load it with tokenflation.analysis.load(path, blocks=True)."
        )
    if calls.empty:
        raise ExportError("There are no calls to export; check the store with `tokenflation info` and the task filter.")
    if not (calls["input_tokens"].astype("Int64") > 0).fillna(value=False).any():
        which = "The only call has no" if len(calls) == 1 else f"None of the {len(calls):,} calls has an"
        raise ExportError(
            f"{which} input count, so there is nothing to write. "
            "`tokenflation info` shows where the usage comes from; streams must ask their provider to report it."
        )


def store_block(calls: pd.DataFrame) -> int:
    """Return the tokens per block of the calls' hashes and counts.

    Raises:
        ExportError: the calls use several block sizes; ids of different sizes cannot stand in one file.
    """
    known = calls["shared_blocks"].notna()
    if "block_hashes" in calls.columns:
        known |= calls["block_hashes"].notna()
    sizes = sorted({int(size) for size in calls.loc[known, "block_tokens"]}) or [int(calls["block_tokens"].min())]
    if len(sizes) > 1:
        raise ExportError(
            f"The calls use blocks of {sizes} tokens and one file has one block size. "
            'Export them apart, for example by kind: calls[calls["task"] == "..."].'
        )
    return sizes[0]


def read_sessions(calls: pd.DataFrame, tally: Tally) -> Iterator[Session]:
    """Yield one session per task, in order of their first call; counts what is skipped in `tally`.

    Calls without an input count, or with an input of 0 tokens, are skipped: no format can hold the first and every
    reader tried refuses the second.
    """
    columns = [*_COLUMNS, *(name for name in ("attempts", "block_hashes") if name in calls.columns)]
    order = np.argsort(calls["started_at_ns"].to_numpy(dtype=np.int64), kind="stable")
    ordered = calls[columns].iloc[order]
    places: dict[tuple[str, str], list[int]] = {}
    for place, (task, task_id) in enumerate(zip(ordered["task"], ordered["task_id"], strict=True)):
        places.setdefault((str(task), str(task_id)), []).append(place)
    kinds = Counter(task_id for _, task_id in places)
    for together in _together(places):
        records = iter(ordered.iloc[[row for rows in together.values() for row in rows]].to_dict("records"))
        for (task, task_id), rows in together.items():
            read = [_row(record) for record in itertools.islice(records, len(rows)) if _writable(record, tally)]
            if not read:
                tally.skipped_sessions += 1
                continue
            read.sort(key=lambda row: (row.started_at_ns, row.depth, row.step))
            # A task's id is unique together with its kind; the file knows only one id, and an empty one is refused.
            name = task_id if task_id and kinds[task_id] == 1 else f"{task}:{task_id}"
            kept: Mapping[str, Any] = next(
                (row.extra["session"] for row in read if isinstance(row.extra.get("session"), Mapping)), {}
            )
            yield Session(id=name, task=task, task_id=task_id, calls=tuple(read), kept=kept)


def _together(places: dict[tuple[str, str], list[int]]) -> Iterator[dict[tuple[str, str], list[int]]]:
    """Yield tasks with so many calls in all as are worth one look at the frame, or one task with more."""
    held: dict[tuple[str, str], list[int]] = {}
    calls = 0
    for task, rows in places.items():
        if held and calls + len(rows) > _TOGETHER:
            yield held
            held, calls = {}, 0
        held[task] = rows
        calls += len(rows)
    if held:
        yield held


def _writable(record: Mapping[Any, Any], tally: Tally) -> bool:
    if (_int(record["input_tokens"]) or 0) > 0:
        return True
    tally.skip(str(record["call_id"]))
    return False


def _row(record: Mapping[Any, Any]) -> CallRow:
    hashes = record.get("block_hashes")
    return CallRow(
        call_id=str(record["call_id"]),
        agent=_text(record["agent"]) or "",
        agent_run_id=str(record["agent_run_id"]),
        depth=int(record["depth"]),
        step=int(record["step"]),
        model=_text(record["model"]) or _text(record["response_model"]) or "unknown",
        stream=bool(record["stream"]),
        finish_reasons=_reasons(record["finish_reasons"]),
        started_at_ns=_left_ns(record),
        ended_at_ns=_int(record["ended_at_ns"]),
        duration_s=_float(record["duration_s"]),
        ttft_s=_float(record["ttft_s"]),
        input_tokens=int(record["input_tokens"]),
        cache_read_tokens=_int(record["cache_read_tokens"]),
        output_tokens=_int(record["output_tokens"]),
        tool_calls=int(record["tool_calls"]),
        system_tokens=_int(record["system_tokens"]),
        tool_definition_tokens=_int(record["tool_definition_tokens"]),
        block_hashes=bytes(hashes) if isinstance(hashes, (bytes, bytearray, memoryview)) and hashes else None,
        shared_blocks=_int(record["shared_blocks"]),
        extra=_extra(record["extra"]),
    )


def _left_ns(record: Mapping[Any, Any]) -> int:
    """Return when the last attempt of a call left: what a model served ends with the call and lasts its duration."""
    started_ns, ended_ns = int(record["started_at_ns"]), _int(record["ended_at_ns"])
    duration_s = _float(record["duration_s"])
    if (_int(record.get("attempts")) or 1) < 2 or ended_ns is None or duration_s is None:
        return started_ns
    return max(started_ns, ended_ns - round(duration_s * 1e9))


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _int(value: Any) -> int | None:
    return None if _missing(value) else int(value)


def _float(value: Any) -> float | None:
    return None if _missing(value) else float(value)


def _text(value: Any) -> str | None:
    return None if _missing(value) else str(value)


def _reasons(value: Any) -> tuple[str, ...]:
    """Return the finish reasons from the store's JSON list, or from a sequence."""
    if _missing(value) or value == "":
        return ()
    return tuple(str(one) for one in (json.loads(value) if isinstance(value, str) else value))


def _extra(value: Any) -> Mapping[str, Any]:
    """Return `extra` from the store's JSON object, or from a mapping."""
    if isinstance(value, Mapping):
        return value
    parsed = json.loads(value) if isinstance(value, str) and value else {}
    return parsed if isinstance(parsed, dict) else {}
