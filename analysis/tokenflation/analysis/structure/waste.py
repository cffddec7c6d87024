"""What each task spent on attempts that failed or asked again: tokens and seconds, as far as they are known. Pure.

Three things, kept apart because they are known differently:

* retries: HTTP attempts of one call beyond the first. Their time is known where the call came to an answer: from the
  first send to the last attempt's (the call's times less its duration, which is the last attempt's). Their tokens are
  not: a provider reports usage with an answer, and none came. Whether it bills them is for the invoice to say.
* failed calls: those that came to no whole answer. Their tokens are what they report all the same (a stream that broke
  off after its first event reports its input); those that report nothing are counted, not guessed.
* repeated calls: the same request, by model, instructions and messages, as one of the task that was answered. That is a
  second sample as often as waste, so it is never added to the others.

Source: metric 21 of the inference profile; the factor "retry" of the inflation identity is over the same failed calls.
"""

from collections import defaultdict
from typing import Any, NamedTuple

import pandas as pd

from tokenflation.analysis.columns.structure import WASTE_COLUMNS
from tokenflation.analysis.frames import from_records, prepared
from tokenflation.analysis.plain import plain_records

__all__ = ["waste"]


class _Call(NamedTuple):
    task: str
    task_id: str
    call_id: str
    status: str
    attempts: int
    started_at_ns: int
    ended_at_ns: int | None
    duration_s: float | None
    input_tokens: int | None
    output_tokens: int | None
    model: str | None
    continues_call_id: str | None
    kept_messages: int | None
    instructions_hash: bytes | None
    history: bytes | None


def waste(calls: pd.DataFrame) -> pd.DataFrame:
    """Return a row per task, in order of start: its retries, failed and repeated calls; columns as in `WASTE_COLUMNS`.

    Raises:
        FrameError: `calls` is empty or lacks columns.
    """
    by_task: dict[tuple[str, str], list[_Call]] = defaultdict(list)
    for call in plain_records(prepared(calls, _Call._fields, "waste"), _Call):
        by_task[call.task, call.task_id].append(call)
    groups = [sorted(group, key=lambda call: call.started_at_ns) for group in by_task.values()]
    groups.sort(key=lambda group: (group[0].started_at_ns, group[0].task, group[0].task_id))
    return from_records(map(_row, groups), WASTE_COLUMNS)


def _row(calls: list[_Call]) -> dict[str, Any]:
    failed = [call for call in calls if call.status != "ok"]
    reporting = [call for call in failed if _tokens(call) is not None]
    retried = [call for call in calls if call.status == "ok" and call.attempts > 1]
    retry_ns = [length for call in retried if (length := _before_last_attempt(call)) is not None]
    failed_ns = [max(0, call.ended_at_ns - call.started_at_ns) for call in failed if call.ended_at_ns is not None]
    repeated = _repeated(calls)
    known_requests = sum(call.history is not None for call in calls)
    known = [tokens for call in calls if (tokens := _tokens(call)) is not None]
    return {
        "task": calls[0].task,
        "task_id": calls[0].task_id,
        "calls": len(calls),
        "tokens": sum(known) if known else None,
        "retries": sum(max(0, call.attempts - 1) for call in calls),
        "retry_ns": sum(retry_ns) if retry_ns or not retried else None,
        "retry_ns_known": len(retry_ns),
        "failed_calls": len(failed),
        "failed_with_usage": len(reporting),
        "failed_tokens": sum(_tokens(call) or 0 for call in reporting) if reporting or not failed else None,
        "failed_ns": sum(failed_ns),
        "failed_without_end": len(failed) - len(failed_ns),
        "repeated_calls": len(repeated),
        "repeated_tokens": sum(_tokens(call) or 0 for call in repeated) if known_requests else None,
        "requests_known": known_requests,
    }


def _tokens(call: _Call) -> int | None:
    if call.input_tokens is None and call.output_tokens is None:
        return None
    return (call.input_tokens or 0) + (call.output_tokens or 0)


def _before_last_attempt(call: _Call) -> int | None:
    if call.ended_at_ns is None or call.duration_s is None:
        return None
    return max(0, call.ended_at_ns - call.started_at_ns - round(call.duration_s * 1e9))


def _repeated(calls: list[_Call]) -> list[_Call]:
    """Return the calls that ask what an answered one asked before them."""
    answered: set[tuple[Any, ...]] = set()
    found = []
    for call in calls:
        if call.history is None:
            continue
        asked = (call.model, call.continues_call_id, call.kept_messages, call.instructions_hash, bytes(call.history))
        if asked in answered:
            found.append(call)
        if call.status == "ok":
            answered.add(asked)
    return found
