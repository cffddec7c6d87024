"""Writes Mooncake JSONL: one line per call with its arrival, its sizes and its block ids.

`{"timestamp": ms, "input_length": tokens, "output_length": tokens, "hash_ids": [...]}`, ordered by timestamp; every row is
a full prompt and ids hold over the whole file. Timestamps count from the earliest call written. A store whose sessions
all start at the same time (an import without real dates) gives rows that all start at 0: spread them with
`start_offsets_s`, which puts a task's first call where it says.

`sessions=True` adds `session_id`, for readers that group rows. They read such rows differently: AIPerf takes every later
row of a session as *new* tokens on top of its history, and so does Dynamo with `trace_format="mooncake-delta"`; Dynamo with
`"mooncake"` takes them as full prompts, which is what is written here, and runs a session's rows one after another.
Source: AIPerf 0.13 and ai-dynamo-runtime 1.6.1, as they behave.
"""

import tempfile
from collections.abc import Iterator

import msgspec

from tokenflation.exporters.blocks import BlockIds
from tokenflation.exporters.files import atomic_file
from tokenflation.exporters.sessions import Export, Session

__all__ = ["BLOCK_SIZE", "write_mooncake"]

BLOCK_SIZE = 512
"""Tokens per block of the published Mooncake traces, and what their readers take as the default."""


def write_mooncake(export: Export) -> int:
    """Write one line per call, ordered by timestamp, and return the number of sessions.

    Lines wait in a temporary file until their order is known: memory holds one session and 24 bytes per call.
    """
    ids = BlockIds(export.block_tokens, export.block_size, export.tally)
    count = 0
    index: list[tuple[int, int, int]] = []
    with atomic_file(export.path) as file, tempfile.TemporaryFile(dir=export.path.parent) as waiting:
        for session in export.sessions:
            count += 1
            offset_s = export.options.start_offsets_s.get(session.task_id)
            late_ms = (session.calls[0].started_at_ns - export.origin_ns) / 1e6
            arrival_ms = late_ms if offset_s is None else offset_s * 1e3
            for after_ms, line in _lines(session, ids, export):
                index.append((round(arrival_ms + after_ms), waiting.tell(), waiting.write(line)))
        for timestamp, place, size in sorted(index):
            waiting.seek(place)
            file.write(b'{"timestamp":%d,' % timestamp + waiting.read(size))
    return count


def _lines(session: Session, ids: BlockIds, export: Export) -> Iterator[tuple[float, bytes]]:
    """Yield each call's time after the session's first one, in ms, and its line without the timestamp."""
    ids.begin_session()
    for call in session.calls:
        row: dict[str, object] = {"session_id": session.id} if export.options.sessions else {}
        row |= {
            "input_length": call.input_tokens,
            "output_length": call.output_tokens or 0,
            "hash_ids": ids.ids(call).tolist(),
        }
        export.tally.add(call.input_tokens, call.output_tokens)
        yield (call.started_at_ns - session.calls[0].started_at_ns) / 1e6, msgspec.json.encode(row)[1:] + b"\n"
