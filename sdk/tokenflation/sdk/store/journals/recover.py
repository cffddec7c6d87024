"""Makes rows of what killed processes had under way: whoever opens a store next does so, once.

Knows the file format by `journal` alone; what usage objects mean it asks the dialects.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from msgspec.structs import replace

from tokenflation.sdk.records import Attempt, Call, Status, Usage, UsageSource
from tokenflation.sdk.scoping.scopes import new_trace_id
from tokenflation.sdk.store.journals.journal import Begun, Ended, entries, moved_by, without_slot
from tokenflation.sdk.store.journals.orphans import dead_journals
from tokenflation.sdk.store.journals.tail import dialects_of
from tokenflation.sdk.store.losses import note_written, noted_waiting
from tokenflation.sdk.store.tables import BLOCK_TOKENS
from tokenflation.sdk.store.write import Batch, SqliteWriter, open_writer
from tokenflation.sdk.wire.shapes import Dialect
from tokenflation.sdk.wire.usage import usage_extra, usage_of
from tokenflation.sdk.wire.values import word

__all__ = ["recover", "row_of"]

_TIMEOUT_S = 5.0
_log = logging.getLogger("tokenflation")


def recover(store: str | os.PathLike[str], writer: SqliteWriter | None = None) -> int:
    """Write what dead processes left beside a store into it; returns how many calls were added or completed.

    A finished call becomes a row with the provider's counts and without what only its bodies could say (NULL); a call
    that was under way becomes a row with status `cut`. What its process had written itself is left as it is. Any number
    of processes may do so at once. Never raises: what cannot be written now waits for the next.
    """
    count = 0
    try:
        for path, data in dead_journals(store):
            left, writer_id = list(entries(data)), path.name.rpartition("-")[2]
            lost = without_slot(data)
            written = 0
            if (left or lost) and writer is not None:
                written = _write(writer, left, lost, writer_id, moved_by(data))
            elif left or lost:
                with closing(open_writer(store, timeout_s=_TIMEOUT_S)) as own:
                    written = _write(own, left, lost, writer_id, moved_by(data))
            path.unlink()
            note_written(store, writer_id, written)
            count += written
    except Exception:  # reading a store must not fail because a dead process's calls cannot be added to it
        _log.debug("tokenflation: what a killed process left beside %s cannot be recovered", store, exc_info=True)
    return count


def _write(
    writer: SqliteWriter, left: Sequence[tuple[Begun, Ended | None]], lost: int, writer_id: str, moved_ns: int
) -> int:
    """Write a dead process's calls, and how many it had no room to note; return how many were added or completed."""
    with writer.transaction():
        shown = writer.shown([begun.call_id for begun, ended in left if ended is not None])
        # By its time, not its id: a retry stands in the store under the id of its first attempt.
        # Rows of a task that began before the system's clock was set have times by the former one.
        written = {
            at + late
            for late in {0, moved_ns}
            for at in writer.attempts_started_at([b.started_at_ns - late for b, _ in left])
        }
        finished: list[Call] = []
        cut: list[Call] = []
        attempts: list[Attempt] = []
        for begun, ended in left:
            if begun.started_at_ns in written or not _is_call(begun, ended):
                continue
            call = row_of(begun, ended)
            if begun.call_id in shown:
                model, ttfc_s = shown[begun.call_id]
                call = replace(call, model=model, ttfc_s=ttfc_s if call.stream else None)
            (cut if ended is None else finished).append(call)
            if ended is not None:
                attempts.append(_attempt(call, ended))
        # A call that was still under way when its process last wrote it is in the store as cut, with what was known.
        writer.write(Batch(calls=finished, attempts=attempts), replace=True)
        writer.write(Batch(calls=cut), replace=False)
        count = len(finished) + len(cut)
        lost -= max(0, noted_waiting(writer.path, writer_id) - count)  # what is noted beside the store counts already
        if lost > 0:
            writer.write(Batch(drops={"journal_full": lost}, writer_id=writer_id))
    return count


def _is_call(begun: Begun, ended: Ended | None) -> bool:
    """Return whether it can be told without its bodies that this was a model call."""
    dialects = dialects_of(begun.api)
    if not any(dialect.common_path for dialect in dialects):
        return bool(dialects)
    return ended is not None and ended.usage is not None


def row_of(begun: Begun, ended: Ended | None) -> Call:
    """Return the row of a call of which only its ends are known; what only its bodies could say is NULL."""
    usage, source, extra = _usage(begun, ended)
    status, error_type = _verdict(ended, source)
    ended_at_ns = ended.ended_at_ns if ended else None
    return Call(
        call_id=begun.call_id,
        trace_id=begun.trace_id or new_trace_id(),
        parent_id=begun.parent_id or None,
        task=begun.task,
        task_id=begun.task_id or begun.call_id,
        agent=begun.agent or "agent",
        agent_run_id=begun.agent_run_id or begun.call_id,
        depth=begun.depth,
        structure_source="scope" if begun.task_id else "wire",
        provider=begun.provider,
        api=begun.api,
        stream=ended.stream if ended else False,
        status=status,
        error_type=error_type,
        finish_reasons=() if status == "ok" else ("error",),
        started_at_ns=begun.started_at_ns,
        ended_at_ns=ended_at_ns,
        duration_s=(ended_at_ns - begun.started_at_ns) / 1e9 if ended_at_ns is not None else None,
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        usage_source=source,
        usage_complete=source == "provider",
        block_tokens=BLOCK_TOKENS,
        extra=extra,
    )


def _usage(begun: Begun, ended: Ended | None) -> tuple[Usage, UsageSource, Mapping[str, Any]]:
    """Return the counts by the first dialect of the api that finds any in what was saved."""
    if ended is not None and (ended.usage or ended.first_usage):
        for dialect in dialects_of(begun.api):
            raw = _merged(dialect, ended)
            # Of several answers that are counted apart, the last one's counts alone were looked for.
            whole = ended.usage is not None and dialect.answer.apart is None
            usage = usage_of(raw, dialect.answer, provider=begun.provider, model="", final=whole)
            known = usage.input_tokens is not None, usage.output_tokens is not None
            if any(known):
                return usage, "provider" if all(known) and whole else "partial", usage_extra(raw, dialect.answer)
    return Usage(), "absent", {}


def _merged(dialect: Dialect, ended: Ended) -> dict[str, Any]:
    placeholders = frozenset[str]().union(*dialect.answer.placeholders.values())
    first = {name: value for name, value in (ended.first_usage or {}).items() if name not in placeholders}
    return first | (ended.usage or {})


def _verdict(ended: Ended | None, source: UsageSource) -> tuple[Status, str | None]:
    if ended is None:
        return "cut", None
    error_type = word(ended.error_type)
    if ended.status_code is None:
        return ("cancelled", error_type) if ended.end == "cancelled" else ("error", error_type or "connection_error")
    if not 200 <= ended.status_code < 300:
        return "error", f"http_{ended.status_code}"
    if ended.end == "read" or source == "provider":
        return "ok", None
    if ended.end == "cancelled":
        return "cancelled", error_type
    return ("error", error_type or "connection_error") if ended.end == "failed" else ("cut", None)


def _attempt(call: Call, ended: Ended) -> Attempt:
    return Attempt(
        call_id=call.call_id,
        attempt=0,
        status_code=ended.status_code,
        error_type=call.error_type,
        started_at_ns=call.started_at_ns,
        ended_at_ns=ended.ended_at_ns,
    )
