"""Reads inspect_ai's evaluation logs (`.json` and `.eval`): one sample (of one epoch) is one task.

As github.com/UKGovernmentBEIS/inspect_ai writes them (`src/inspect_ai`: `log/_log.py`, `event/_model.py`,
`model/_model_output.py`). An `.eval` file is a zip with `header.json` and `samples/*.json`, packed with Zstandard
in newer versions; a `.json` log holds both.

* An event `model` is one call; one that inspect_ai answered from its own cache (`cache` is `read`) is none. Without
  `completed` (before 2025) its time is when it was done. `retries` are further attempts.
* `input_tokens` leave the cache out where the provider reports it so (Anthropic): `total_tokens` tells which it is.
* Calls in a scorer's span or step are the agent run `scorer` beside the main one: `stats.model_usage` counts them too.
  A span of type `agent` inside another or inside a tool is an agent run one level deeper.
* The first score decides the outcome: `C` and `I`, true and false, or a number, which is kept as the score.
"""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokenflation.sdk.importers.agents.inspect_ai_sample import sample_rows
from tokenflation.sdk.importers.files.beginnings import decoded
from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.importers.files.fields import dicts, mapping
from tokenflation.sdk.importers.files.formats import Context, Format, Head, Skipped, Taken
from tokenflation.sdk.importers.files.reading import UNREADABLE, document, unreadable
from tokenflation.sdk.importers.files.zstandard import unzipped

__all__ = ["FORMAT"]

_KEYS = frozenset(("version", "status", "eval"))


def _sniff(head: Head) -> float:
    if {"header.json", "_journal/start.json"} & set(head.members):
        return 0.95
    return 0.95 if head.keys >= _KEYS else 0.6 if {"eval", "plan"} <= head.keys else 0.0


def _read(entries: Sequence[Entry], context: Context) -> Iterator[Taken | Skipped]:
    for entry in entries:
        empty = True
        for found in _samples(entry):
            empty = False
            if isinstance(found, Skipped):
                yield found
                continue
            where, about, sample = found
            rows = sample_rows(about, sample, context.kind(_kind(about, entry)))
            if rows is None:
                yield Skipped(where, "a sample without an id")
            else:
                yield Taken(rows.batch())
        if empty:
            yield Skipped(entry.shown, "without samples", what="session")


def _kind(about: Mapping[str, Any], entry: Entry) -> str:
    task = about.get("task")
    return task if isinstance(task, str) and task else entry.task


_Sample = tuple[str, Mapping[str, Any], Mapping[str, Any]]


def _samples(entry: Entry) -> Iterator[_Sample | Skipped]:
    try:
        with entry.open() as file:
            packed = file.read(4) == b"PK\x03\x04"
        if packed:
            with entry.path.open("rb") as raw, zipfile.ZipFile(raw) as archive:
                yield from _of_zip(entry, archive)
            return
    except (*UNREADABLE, zipfile.BadZipFile) as error:
        yield unreadable(entry.shown, error)
        return
    for found in document(entry):
        if isinstance(found, Skipped):
            yield found
        else:
            yield from ((entry.shown, mapping(found[1], "eval"), sample) for sample in dicts(found[1], "samples"))


def _of_zip(entry: Entry, archive: zipfile.ZipFile) -> Iterator[_Sample | Skipped]:
    names = archive.namelist()
    about: Mapping[str, Any] = {}
    for name in ("header.json", "_journal/start.json"):  # an evaluation that was cut off has no header
        if name in names and not about:
            found = _member(entry, archive, name)
            about = {} if isinstance(found, Skipped) else mapping(found, "eval")
    for name in sorted(one for one in names if one.startswith("samples/") and one.endswith(".json")):
        found = _member(entry, archive, name)
        yield found if isinstance(found, Skipped) else (f"{entry.shown}/{name}", about, found)


def _member(entry: Entry, archive: zipfile.ZipFile, name: str) -> dict[str, Any] | Skipped:
    shown = f"{entry.shown}/{name}"
    try:
        with unzipped(archive, archive.getinfo(name), shown) as member:
            found = decoded(member.read())
    except (*UNREADABLE, NotImplementedError, RuntimeError) as error:
        return Skipped(shown, "not unpackable", str(error))
    if isinstance(found, Exception):
        return Skipped(shown, "not JSON", str(found))
    return found if isinstance(found, dict) else Skipped(shown, "no JSON object")


FORMAT = Format(name="inspect-ai", title="inspect_ai evaluation log", sniff=_sniff, read=_read)
