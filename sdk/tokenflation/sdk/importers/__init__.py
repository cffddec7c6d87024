"""Reads what other tools recorded into a store: every good record of every known format, and each record once.

An importer is one module here with a constant `FORMAT` (`formats.Format`), named in `registry.FORMATS`:

* `name`, `title`: what we and what users call the format.
* `sniff(head) -> float`: how sure it is (0 to 1) that a file is of this format, from its beginning alone
  (`formats.Head`: first bytes, the objects among its first lines, the first object's keys, a zip's members). 0.9 and
  more: it cannot be anything else; 0.5: likely; below that no one takes it. Never raises for bytes of any kind.
* `group(head) -> str`: files that belong together (the files of one session, of one trace) have equal groups; by
  default each file is its own.
* `read(entries, context)`: yields `formats.Taken` (the rows of one task, a `store.write.Batch`) and `formats.Skipped`
  (file and line, a reason to count by, a detail) in any order. `reading.lines`, `reading.values` and `reading.document`
  give the JSON of a file and yield `Skipped` for what is broken; hand that on. A record that cannot be understood is
  `Skipped` by the reader itself; `fields` reads counts, texts and times out of JSON without raising. As a last line of
  defence, what a reader raises costs the rest of its group, which is then named as one `Skipped` file. `rows.building`
  puts the calls of a log into rows, `spans.files.reader` is the reader of formats whose records are spans.

Ids (`call_id`, `span_id` 16 hex digits, `trace_id` 32) must follow from the content: a session's own id with a call's
own id or place, hashed (`fields.made_id`), never paths, times of the import or random numbers. That is what makes a
second import add nothing. The kind of a task is `context.kind(default)`: the user's word, else the default that the
format finds in the source, `Entry.task` (the file's or folder's name) if there is nothing better. What a source does
not say stays None.

Archives (tar, zip) whose file no format claims are unpacked and their members taken as files; .xz, .gz, .zst and a byte
order mark are gone before any importer looks.
"""

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from tokenflation.sdk.errors import ImportSourceError
from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.importers.files.foreign import SQLITE, UNREAD_DATABASE, foreign
from tokenflation.sdk.importers.files.formats import Context, Format, Skipped, Taken
from tokenflation.sdk.importers.files.reading import UNREADABLE, unreadable
from tokenflation.sdk.importers.files.sources import find_entries, further_head_of, head_of, members_of
from tokenflation.sdk.importers.registry import FORMATS, recognise
from tokenflation.sdk.importers.rows.tally import ImportSummary, Tally
from tokenflation.sdk.importers.rows.target import target

__all__ = ["FORMATS", "ImportSummary", "import_paths"]

Progress = Callable[[int, int], None]
"""Told the bytes read so far and the bytes of all files."""

_Group = tuple[Format, list[Entry]]
_BROKEN = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)
"""What a reader raises over content that nobody thought of: it must not cost the other files."""


def import_paths(
    paths: Sequence[str | os.PathLike[str]],
    store: str | os.PathLike[str],
    *,
    task: str | None = None,
    progress: Progress | None = None,
    left_out: Callable[[Skipped], None] | None = None,
) -> ImportSummary:
    """Add the logs in files, folders and archives to a store, in one transaction; the format is found by content.

    A path may be a pipe, or `-`: standard input. `task` is the kind of the tasks; by default each format finds one.
    Memory holds one session. What the store has is left as it is, so a second import adds nothing; a session that has
    grown adds its new calls. A broken record is left out and named in the summary, which names the first hundred of
    each reason; `left_out` is told of every one.

    Raises:
        ImportSourceError: a path does not exist, or nothing in any file could be taken; the store is as it was, and is
            not made if it was not there.
        StoreError: the store cannot be written, or is none.
    """
    tally = Tally(left_out)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tokenflation-import-")))
        groups = _grouped(find_entries([Path(path) for path in paths], folder), folder, tally)
        total = sum(entry.bytes for _, entries in groups for entry in entries)
        if not groups:
            raise ImportSourceError(tally.nothing())
        writer, key = stack.enter_context(target(Path(store).absolute()))
        done = 0
        context = Context(task=task, key=key, has_task=writer.has_task)
        for format_, entries in groups:
            if progress is not None:
                context.progress = _after(progress, done, total)
            for found in _read(format_, entries, context):
                if isinstance(found, Taken):
                    tally.add(found, writer, entries[0].shown)
                else:
                    tally.skip(found)
            done += sum(entry.bytes for entry in entries)
            tally.files[format_.title] += len(entries)
            if progress is not None:
                progress(done, total)
        if tally.empty:
            raise ImportSourceError(tally.nothing())
    return tally.summary()


def _after(progress: Progress, done: int, total: int) -> Callable[[int], None]:
    return lambda read: progress(min(done + read, total), total)


def _grouped(entries: Sequence[Entry], folder: Path, tally: Tally) -> list[_Group]:
    """Recognise the files, unpack archives into the folder, and put together what belongs together."""
    groups: dict[tuple[str, str], _Group] = {}
    waiting = deque(entries)
    while waiting:
        entry = waiting.popleft()
        try:
            head = head_of(entry)
            if (what := foreign(head)) is not None:
                tally.skip(Skipped(entry.shown, what, what="file"))
                continue
            format_ = recognise(head)
            if format_ is None and (further := further_head_of(entry, head)) is not None:
                head, format_ = further, recognise(further)
            if format_ is not None:
                groups.setdefault((format_.name, format_.group(head)), (format_, []))[1].append(entry)
                continue
            inside = False
            for member in members_of(entry, head, folder):
                inside = True
                if isinstance(member, Skipped):
                    tally.skip(member)
                else:
                    waiting.append(member)
            if not inside:
                reason = UNREAD_DATABASE if head.start.startswith(SQLITE) else "of no known format"
                tally.skip(Skipped(entry.shown, reason if head.start.strip() else "empty", what="file"))
        except (*UNREADABLE, ImportSourceError) as error:
            tally.skip(unreadable(entry.shown, error))
    return list(groups.values())


def _read(format_: Format, entries: Sequence[Entry], context: Context) -> Iterator[Taken | Skipped]:
    """Yield what a format finds; what it raises ends its files and nothing else."""
    try:
        yield from format_.read(entries, context)
    except (*UNREADABLE, ImportSourceError) as error:
        yield unreadable(entries[0].shown, error)
    except _BROKEN as error:
        detail = f"{type(error).__name__} while reading it as a {format_.title}"
        yield Skipped(entries[0].shown, "not understood to its end", detail, "file")
