"""Reads the files of formats whose records are spans: each record apart, then all spans of a trace together."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.importers.files.formats import Context, Skipped, Taken
from tokenflation.sdk.importers.spans.calls import Node
from tokenflation.sdk.importers.spans.rows import SpanPile

__all__ = ["reader"]

Records = Callable[[Entry, Context], Iterable[tuple[int, dict[str, Any]] | Skipped]]
"""Yields line and object of each record of a file."""
Spans = Callable[[dict[str, Any], str], Iterable[Node | Skipped | None]]
"""Yields what stands in a record, given where that is: spans, what is to be reported, None for anything else."""


def reader(
    format_name: str, records: Records, spans: Spans
) -> Callable[[Sequence[Entry], Context], Iterator[Taken | Skipped]]:
    """Return the function that yields the tasks of the traces in files that belong together."""

    def read(entries: Sequence[Entry], context: Context) -> Iterator[Taken | Skipped]:
        pile = SpanPile(format_name)
        for entry in entries:
            for found in records(entry, context):
                if isinstance(found, Skipped):
                    yield found
                    continue
                line, record = found
                for one in spans(record, entry.place(line)):
                    skipped = pile.add(one) if isinstance(one, Node) else one
                    if skipped is not None:
                        yield skipped
        yield from pile.tasks(context, entries[0].task)

    return read
