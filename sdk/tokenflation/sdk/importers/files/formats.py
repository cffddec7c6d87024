"""What an importer is: a name, a guess from a file's beginning, and a reader that yields tasks.

Knows no format itself.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.store.write import Batch

__all__ = ["Context", "Format", "Head", "Skipped", "Taken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The beginning of a file, unpacked: all that `sniff` may look at."""

    name: str
    """The file's name, without .xz, .gz and .zst."""
    path: str
    """Where it lies, as messages show it; a member of an archive stands behind the archive's path."""
    start: bytes
    """Its first bytes, at most `sources.HEAD_BYTES`, without a byte order mark."""
    objects: Sequence[Mapping[str, Any]] = ()
    """The JSON objects that are whole lines of it, in order; of a .json file laid out over lines there is none."""
    keys: frozenset[str] = frozenset()
    """Keys of its first JSON object, or of the first object of its array, as far as the beginning shows them."""
    members: Sequence[str] = ()
    """Names of the members, if it is a zip file."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Rows of one task.

    Ids must follow from the content alone (a session's id and a call's own id or position, never the file's path): the
    store knows by them what it has. Calls that the store has in the same task are replaced if the task has new ones;
    calls that it has in another task (a resumed session repeats them) are left out with their tool calls.
    """

    batch: Batch
    formerly: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By call id, ids that earlier versions gave the call: a call that the store has under one is left out."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record, session or file that was left out."""

    where: str
    """Path of the file, with `:` and the line (from 1) where that is known."""
    reason: str
    """What it is, in words that stand for all such cases, for example `not JSON`: cases are counted by it."""
    detail: str = ""
    """What is wrong with this one."""
    what: str = "record"
    """What was left out, in the singular: record, session or file."""


@dataclass(slots=True, kw_only=True)
class Context:
    """What a reader may use of the import it is part of."""

    task: str | None = None
    """Kind of the tasks, if the user named one; see `kind`."""
    key: bytes = b""
    """The store's hash key, for keyed hashes."""
    has_task: Callable[[str, str], bool] = lambda _task, _task_id: False
    """Whether the store has a call of this task (kind and id)."""
    progress: Callable[[int], None] = lambda _read_bytes: None
    """To be told, now and then, the bytes read so far of the entry in hand; `reading` does it."""

    def kind(self, default: str) -> str:
        """Return the kind that the user named, else this one."""
        return self.task or default or "task"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One importer."""

    name: str
    """Lower case with hyphens; stands in `calls.api` where the source names no api of a provider."""
    title: str
    """What a user calls it, for messages."""
    sniff: Callable[[Head], float]
    """How sure it is, 0 to 1, that the file is of this format; the surest wins, below 0.5 none does."""
    read: Callable[[Sequence[Entry], Context], Iterator[Taken | Skipped]]
    """Yield the tasks of files that belong together; holds one task in memory, or one file."""
    group: Callable[[Head], str] = field(default=lambda head: head.path)
    """Files whose groups are equal are read together, in order of path; by default each alone."""
