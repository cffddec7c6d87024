"""Writes Mooncake JSONL: one line per call with its arrival, its sizes and its block ids.

`{"timestamp": ms, "input_length": tokens, "output_length": tokens, "hash_ids": [...]}`, ordered by timestamp; every row
is a full prompt and ids hold over the whole file. Timestamps count from the earliest call written. Sessions that were
imported without a date all arrive at 0: spread them with `start_offsets_s`, which puts a task's first call where it
says. An answer of 0 tokens, or of an unknown number, is written as 1: AIPerf refuses a file with a 0, GuideLLM takes it
for no limit, and vLLM's server refuses the request.

`sessions=True` adds `session_id`, for readers that group rows, and from a session's second row on `delay`, the ms since
all before it in the session had ended: without it Dynamo waits for the difference of timestamps after each answer, and
so counts the time of calls twice. They read such rows differently: AIPerf takes every later row of a session as *new*
tokens on top of its history, and so does Dynamo with `trace_format="mooncake-delta"`; Dynamo with `"mooncake"` takes
them as full prompts, which is what is written here, and runs a session's rows one after another.
Source: AIPerf 0.13, GuideLLM 0.8.1, vLLM 0.33 and ai-dynamo-runtime 1.6.1, as they behave.
"""

import tempfile
from collections.abc import Iterator

import msgspec

from tokenflation.exporters.blocks import BlockIds
from tokenflation.exporters.files import atomic_file
from tokenflation.exporters.sessions import Export, Session, ended_ns, waits_s

__all__ = ["BLOCK_SIZE", "write_mooncake"]

BLOCK_SIZE = 512
"""Tokens per block of the published Mooncake traces, and what their readers take as the default."""

_LEAST_OUTPUT = 1
"""Tokens of an answer that every reader takes."""


def write_mooncake(export: Export) -> int:
    """Write one line per call, ordered by timestamp, and return the number of sessions.

    Lines wait in a temporary file until their order is known: memory holds few sessions and four numbers per call.
    """
    ids = BlockIds(export.block_tokens, export.block_size, export.tally)
    export.tally.least_output = _LEAST_OUTPUT
    shifts_ns: list[int | None] = []
    origins_ns: list[int] = []
    index: list[tuple[int, int, int, int]] = []
    with atomic_file(export.path) as file, tempfile.TemporaryFile(dir=export.path.parent) as waiting:
        for number, session in enumerate(export.sessions):
            shifts_ns.append(_shift_ns(session, export))
            origins_ns += [session.calls[0].started_at_ns] if session.dated else []
            for started_at_ns, line in _lines(session, ids, export):
                index.append((started_at_ns, number, waiting.tell(), waiting.write(line)))
        for timestamp, place, size in sorted(_timed(index, shifts_ns, min(origins_ns, default=0))):
            waiting.seek(place)
            file.write(b'{"timestamp":%d,' % timestamp + waiting.read(size))
    return len(shifts_ns)


def _shift_ns(session: Session, export: Export) -> int | None:
    """Return what to add to a session's times to count from the trace's start; None: less the earliest dated call."""
    offset_s = export.options.start_offsets_s.get(session.task_id)
    if offset_s is not None:
        return round(offset_s * 1e9) - session.calls[0].started_at_ns
    if session.dated:
        return None
    export.tally.undated_sessions += 1
    return 0


def _timed(
    index: list[tuple[int, int, int, int]], shifts_ns: list[int | None], origin_ns: int
) -> Iterator[tuple[int, int, int]]:
    """Yield the timestamp in whole ms, the place and the size of each waiting line."""
    for started_ns, number, place, size in index:
        shift_ns = shifts_ns[number]
        yield round((started_ns + (-origin_ns if shift_ns is None else shift_ns)) / 1e6), place, size


def _lines(session: Session, ids: BlockIds, export: Export) -> Iterator[tuple[int, bytes]]:
    """Yield each call's start as the store has it, and its line without the timestamp."""
    ids.begin_session(session.task)
    latest_ns = 0
    for call, wait_s in zip(session.calls, waits_s(session.calls), strict=True):
        row: dict[str, object] = {"session_id": session.id} if export.options.sessions else {}
        if export.options.sessions and call is not session.calls[0] and wait_s is not None:
            row["delay"] = round(wait_s * 1e3)
        export.tally.in_turn += export.options.sessions and call.started_at_ns < latest_ns
        latest_ns = max(latest_ns, ended_ns(call) or 0)
        row |= {
            "input_length": call.input_tokens,
            "output_length": max(call.output_tokens or 0, _LEAST_OUTPUT),
            "hash_ids": ids.ids(call).tolist(),
        }
        export.tally.add(call.input_tokens, call.output_tokens)
        export.tally.unnamed_models.add(call.model)
        yield call.started_at_ns, msgspec.json.encode(row)[1:] + b"\n"
