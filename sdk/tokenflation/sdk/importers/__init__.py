"""Reads what other tools recorded into a store: all of it or nothing, and each session once."""

import os
import secrets
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tokenflation.sdk.errors import StoreError
from tokenflation.sdk.importers.sources import documents, find_sources
from tokenflation.sdk.importers.weka import rows
from tokenflation.sdk.importers.weka_format import Trace, decode, digest
from tokenflation.sdk.store.keys import keep_key, load_key, read_key
from tokenflation.sdk.store.write import Batch, SqliteWriter, StoreUnwritableError, open_writer

__all__ = ["ImportSummary", "import_paths"]

_CREATED_BY = "tokenflation import"

Progress = Callable[[int, int], None]
"""Told the bytes read so far and the bytes of all files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSummary:
    """What an import added to a store."""

    files: int
    tasks: int
    """Sessions added; each is one task."""
    calls: int
    sub_agent_runs: int
    sub_agent_calls: int
    input_tokens: int
    output_tokens: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Sessions left out, by reason."""


def import_paths(
    paths: Sequence[str | os.PathLike[str]],
    store: str | os.PathLike[str],
    *,
    task: str | None = None,
    progress: Progress | None = None,
) -> ImportSummary:
    """Add the Weka session traces in files and folders to a store, in one transaction.

    `task` is the kind of the tasks; by default the file's name without its endings, or the name of the folder. Memory
    holds one session. A session that the store has is skipped, so a second import adds nothing; another session under
    an id that is taken gets part of its digest appended to its id.

    Raises:
        ImportSourceError: a file is not what it should be; the store is as it was, and is not made if it was not there.
        StoreError: the store cannot be written, or is none.
    """
    sources = find_sources([Path(path) for path in paths])
    counts: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    total, done = sum(source.bytes for source in sources), 0
    with _target(Path(store).absolute()) as (writer, key):
        for source in sources:
            for document in documents(source):
                trace = decode(document.text, str(source.path), first_line=document.line)
                _add(writer, trace, task or source.task, key, counts, skipped)
                if progress is not None:
                    progress(done + document.read_bytes, total)
            done += source.bytes
    return ImportSummary(
        files=len(sources),
        tasks=counts["tasks"],
        calls=counts["calls"],
        sub_agent_runs=counts["sub_agent_runs"],
        sub_agent_calls=counts["sub_agent_calls"],
        input_tokens=counts["input_tokens"],
        output_tokens=counts["output_tokens"],
        skipped=dict(skipped),
    )


def _add(
    writer: SqliteWriter, trace: Trace, task: str, key: bytes, counts: Counter[str], skipped: Counter[str]
) -> None:
    trace_id = digest(trace)
    task_id = trace.id or trace_id[:16]
    if writer.has_task(task, task_id):
        task_id = f"{task_id}#{trace_id[:8]}"
    batch = rows(trace, trace_id, task=task, task_id=task_id, key=key)
    if not batch.calls:
        skipped["a session without calls"] += 1
    elif writer.has_call(batch.calls[0].call_id):
        skipped["already in the store"] += 1
    else:
        counts["calls"] += writer.write(batch, replace=False)
        counts["tasks"] += 1
        _count(batch, counts)


def _count(batch: Batch, counts: Counter[str]) -> None:
    inner = [call for call in batch.calls if call.depth > 0]
    counts["sub_agent_calls"] += len(inner)
    counts["sub_agent_runs"] += len({call.agent_run_id for call in inner})
    counts["input_tokens"] += sum(call.input_tokens or 0 for call in batch.calls)
    counts["output_tokens"] += sum(call.output_tokens or 0 for call in batch.calls)


@contextmanager
def _target(store: Path) -> Iterator[tuple[SqliteWriter, bytes]]:
    """Open the store in one transaction, or a draft of it that takes its place when all went well."""
    if store.exists() and not store.is_file() and not store.is_dir():
        # A device or a pipe looks like an empty file, whose place a draft would take.
        raise StoreError(f"{store} is no regular file, so it cannot be a store. Give the name of a file, new or old.")
    try:
        if store.exists() and (store.is_dir() or store.stat().st_size):
            with _writing(store, None) as opened:
                yield opened
        else:
            with _draft(store) as opened:
                yield opened
    except sqlite3.Error as error:
        raise StoreError(
            f"{store} cannot be written: {error}. Nothing was imported; check that the disk has room and that no other "
            "program keeps the store locked."
        ) from error


@contextmanager
def _writing(path: Path, key: bytes | None) -> Iterator[tuple[SqliteWriter, bytes]]:
    writer = open_writer(path, created_by=_CREATED_BY, key=key)
    try:
        with writer.transaction():
            yield writer, key if key is not None else load_key(path)
    finally:
        writer.close()


@contextmanager
def _draft(store: Path) -> Iterator[tuple[SqliteWriter, bytes]]:
    draft = store.with_name(f".{store.name}.{secrets.token_hex(4)}")
    if not store.parent.is_dir():
        raise StoreError(f"{store}: the folder {store.parent} does not exist. Make it, or give another path.")
    try:
        with _writing(draft, read_key(store) or secrets.token_bytes(16)) as opened:
            yield opened
        _publish(draft, store, opened[1])
    except StoreUnwritableError as error:
        raise StoreError(str(error).replace(str(draft), str(store))) from error
    except OSError as error:
        raise StoreError(f"{store} cannot be made: {error}. Nothing was imported.") from error
    finally:
        for ending in ("", "-wal", "-shm"):
            draft.with_name(draft.name + ending).unlink(missing_ok=True)


def _publish(draft: Path, store: Path, key: bytes) -> None:
    """Give the draft the store's name, unless another process has made the store meanwhile."""
    if store.exists() and not store.stat().st_size:
        store.unlink()
    try:
        kept = keep_key(store, key)
        if kept:
            os.link(draft, store)
    except FileExistsError:
        kept = False
    if not kept:
        raise StoreError(f"{store} was made by another program during the import. Nothing was imported; try it again.")
