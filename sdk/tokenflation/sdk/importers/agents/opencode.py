"""Reads opencode's sessions: its database, the files of older versions, and what `opencode export` gives.

As versions 1.1 to 1.18 write them (github.com/anomalyco/opencode), and Kilo Code's command, a fork of it, with them.

* `opencode.db` or `kilo.db`, from 1.2 on: tables `session`, `message` and `part` with JSON in them.
* Before, files `storage/session/PROJECT/ses_*.json`, `storage/message/SESSION/msg_*.json` and
  `storage/part/MESSAGE/prt_*.json`. The files of one `storage` are read together, each when it is its turn.
* `opencode export`: one document with `info` and `messages`. Sub-agents are sessions of their own, to be exported too.

`opencode_session` says what sessions, messages and parts mean; ids are the same wherever a session is read.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath
from typing import Any

from tokenflation.sdk.importers.agents.opencode_database import IS_LOG, is_database, trees_of_database
from tokenflation.sdk.importers.agents.opencode_session import Message, Session, Tree, rows_of
from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.importers.files.fields import dicts, mapping, text, time_ns
from tokenflation.sdk.importers.files.formats import Context, Format, Head, Skipped, Taken
from tokenflation.sdk.importers.files.reading import document

__all__ = ["DATABASE", "EXPORT", "FILES"]

_FILES = {
    "ses_": frozenset(("id", "projectID", "directory", "time")),
    "msg_": frozenset(("id", "sessionID", "role", "time")),
    "prt_": frozenset(("id", "sessionID", "messageID", "type")),
}
_BESIDE = re.compile(r"(?:^|/)storage/(?:project/(?:global|[0-9a-f]{40})|(?:session_diff|todo)/ses_\w+)\.json$")
"""Files of other use beside those of the sessions."""
_ROOT = re.compile(r"^(.*?)(?:^|/)(?:storage|session|message|part)/")
_EXPORTED = re.compile(rb'"(?:projectID|sessionID)"\s*:\s*"')
_SESSION_IDS = [re.compile(rb'"%s"\s*:\s*"(ses_[^"\\]+)"' % name) for name in (b"parentID", b"id")]


def _read(trees: Callable[[Sequence[Entry]], Iterator[Tree | Skipped]]) -> Callable[..., Iterator[Taken | Skipped]]:
    def read(entries: Sequence[Entry], context: Context) -> Iterator[Taken | Skipped]:
        kind = "kilo-code" if any(entry.name.startswith("kilo") for entry in entries) else "opencode"
        for found in trees(entries):
            if isinstance(found, Skipped):
                yield found
                continue
            left_out: list[Skipped] = []
            rows = rows_of(found, context.kind(kind), left_out.append)
            yield from left_out
            if rows is not None:
                yield Taken(rows.batch())

    return read


def _is_export(head: Head) -> float:
    return 0.95 if {"info", "messages"} <= head.keys and _EXPORTED.search(head.start) else 0.0


def _session_of_export(head: Head) -> str:
    about = head.start.partition(b'"messages"')[0]
    found = next((found for pattern in _SESSION_IDS if (found := pattern.search(about)) is not None), None)
    return head.path if found is None else found[1].decode("utf-8", "replace")


def _exports(entries: Sequence[Entry]) -> Iterator[Tree | Skipped]:
    sessions = []
    for entry in entries:
        cut = False
        for found in document(entry):
            if isinstance(found, Skipped):
                yield found
                cut = True
            else:
                messages = [one for one in dicts(found[1], "messages") if "parts" in one or not cut]
                sessions.append(Session(mapping(found[1], "info"), [_message(one) for one in messages]))
    if sessions:
        yield iter(sorted(sessions, key=lambda one: text(one.info, "parentID") is not None))


def _message(told: Any) -> Message:
    return Message(mapping(told, "info"), dicts(told, "parts"))


def _is_file(head: Head) -> float:
    keys = _FILES.get(head.name[:4])
    return 0.95 if keys is not None and keys <= head.keys else 0.6 if _BESIDE.search(head.path) else 0.0


def _storage(head: Head) -> str:
    root = _ROOT.search(head.path)
    return root[1] if root else str(PurePath(head.path).parent.parent)


class _Storage:
    """The files of one `storage`, by the session or message that they belong to."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.sessions: list[Entry] = []
        self._messages: dict[str, list[Entry]] = {}
        self._parts: dict[str, list[Entry]] = {}
        for entry in sorted(entries, key=lambda one: one.name):
            outer = PurePath(entry.shown).parent.name
            if entry.name.startswith("msg_"):
                self._messages.setdefault(outer, []).append(entry)
            elif entry.name.startswith("prt_"):
                self._parts.setdefault(outer, []).append(entry)
            elif entry.name.startswith("ses_") and outer != "session_diff":
                self.sessions.append(entry)

    def tree(self, about: dict[str, Any], inside: dict[str, list[dict[str, Any]]]) -> Tree:
        """Yield a session and those inside it."""
        session_id = about["id"]
        yield Session(about, self._messages_of(session_id))
        for inner in inside.pop(session_id, ()):
            yield from self.tree(inner, inside)

    def lonely(self, known: set[str]) -> list[str]:
        """Return the sessions that have messages and no file of their own."""
        return sorted(self._messages.keys() - known)

    def _messages_of(self, session_id: str) -> Iterator[Message | Skipped]:
        for entry in self._messages.get(session_id, ()):
            found = _whole(entry)
            yield found if isinstance(found, Skipped) else Message(found, self._parts_of(entry.name))

    def _parts_of(self, name: str) -> Iterator[dict[str, Any] | Skipped]:
        return (_whole(entry) for entry in self._parts.get(name.removesuffix(".json"), ()))


def _files(entries: Sequence[Entry]) -> Iterator[Tree | Skipped]:
    storage, known = _Storage(entries), dict[str, dict[str, Any]]()
    for entry in storage.sessions:
        found = _whole(entry)
        if isinstance(found, Skipped):
            yield found
        elif (session_id := text(found, "id")) is not None:
            kept = {name: found.get(name) for name in ("parentID", "version", "time")}
            known[session_id] = {"id": session_id, **kept}
    for session_id in storage.lonely(set(known)):
        known[session_id] = {"id": session_id}
    inside: dict[str, list[dict[str, Any]]] = {}
    for about in sorted(known.values(), key=lambda one: time_ns(mapping(one, "time"), "created") or 0):
        parent_id = text(about, "parentID")
        inside.setdefault(parent_id if parent_id in known and parent_id is not None else "", []).append(about)
    for about in inside.pop("", ()):
        yield storage.tree(about, inside)


def _whole(entry: Entry) -> dict[str, Any] | Skipped:
    """Return the object that a file is; one that is cut off is left out, for its counts may be what is missing."""
    found, *rest = document(entry)
    if not isinstance(found, Skipped):
        return found[1]
    return Skipped(found.where, found.reason) if rest else found


DATABASE = Format(
    name="opencode",
    title="opencode database",
    sniff=lambda head: 0.9 if is_database(head.name, head.start) else 0.0,
    read=_read(trees_of_database),
    group=lambda head: IS_LOG.sub("", head.path),
)
FILES = Format(
    name="opencode-files", title="opencode session in files", sniff=_is_file, read=_read(_files), group=_storage
)
EXPORT = Format(
    name="opencode-export", title="opencode export", sniff=_is_export, read=_read(_exports), group=_session_of_export
)
