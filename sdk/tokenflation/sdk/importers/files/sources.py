"""Finds the files to import, in folders and archives too, and what they begin with. Knows nothing of what they mean."""

import os
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from tokenflation.sdk.errors import ImportSourceError
from tokenflation.sdk.importers.files.beginnings import first_keys, line_objects, objects_behind, pieces
from tokenflation.sdk.importers.files.entries import PACKED, Entry
from tokenflation.sdk.importers.files.formats import Head, Skipped
from tokenflation.sdk.importers.files.zstandard import unzipped

__all__ = ["HEAD_BYTES", "find_entries", "further_head_of", "head_of", "members_of"]

HEAD_BYTES = 1 << 16
_FURTHER_BYTES = 1 << 24
_MOST_BYTES = 1 << 28
_ZIP = b"PK\x03\x04"
_ENDINGS = (*PACKED, ".jsonl", ".json", ".ndjson", ".tar", ".tgz", ".txz", ".zip")


def find_entries(paths: Iterable[Path], folder: Path) -> list[Entry]:
    """Return the files that the paths name, those of a folder in order of name; hidden folders inside one are walked.

    What a pipe gives, or standard input (`-`), is put into `folder` first: a file is read more than once.

    Raises:
        ImportSourceError: a path does not exist, or is a folder without files.
    """
    return [entry for path in paths for entry in _entries(path, folder)]


def _entries(path: Path, folder: Path) -> list[Entry]:
    if str(path) == "-":
        return [_unpack(sys.stdin.buffer, "standard input", folder, "task")]
    if path.is_fifo():
        with path.open("rb") as pipe:
            return [_unpack(pipe, str(path), folder, "task")]
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file())
        if not inside and not os.access(path, os.R_OK | os.X_OK):
            raise ImportSourceError(f"{path}: the folder cannot be read. Check its permissions.")
        if not inside:
            raise ImportSourceError(f"{path}: the folder holds no file. Give the folder that holds the logs.")
        task = path.resolve().name or "task"
        return [Entry(file, str(file), task, file.stat().st_size) for file in inside]
    if not path.exists():
        raise ImportSourceError(f"{path}: there is no such file. Check the path.")
    if not path.is_file():
        raise ImportSourceError(f"{path} is no regular file. Give a file or a folder.")
    return [Entry(path, str(path), _stem(path.name) or "task", path.stat().st_size, alone=True)]


def _stem(name: str) -> str:
    while name.endswith(_ENDINGS):
        name = name[: name.rfind(".")]
    return name


def further_head_of(entry: Entry, head: Head) -> Head | None:
    """Return more of a file whose beginning says nothing, None if that is no help; raises what `Entry.open` does.

    A first line with a picture or a file in it may be longer than `HEAD_BYTES`, and than any memory: what tells the
    format stands behind it. In one document it may stand behind a long value: the keys are looked for in its first 256
    MB.
    """
    if head.members or b"\0" in head.start or len(head.start) < HEAD_BYTES:
        return None
    with entry.open() as file:
        start = file.read(_FURTHER_BYTES)
        objects = line_objects(start, whole=len(start) < _FURTHER_BYTES) or objects_behind(file)
    with entry.open() as file:
        keys = first_keys(pieces(file, _MOST_BYTES))
    return Head(name=entry.name, path=entry.shown, start=start, objects=objects, keys=keys)


def head_of(entry: Entry) -> Head:
    """Return the beginning of a file; raises what `Entry.open` does."""
    with entry.open() as file:
        start = file.read(HEAD_BYTES)
    members: tuple[str, ...] = ()
    if start.startswith(_ZIP):
        with entry.open() as file, zipfile.ZipFile(cast("Any", file)) as archive:
            members = tuple(archive.namelist())
    text = not members and not _is_tar(start)
    return Head(
        name=entry.name,
        path=entry.shown,
        start=start,
        objects=line_objects(start, whole=len(start) < HEAD_BYTES) if text else (),
        keys=first_keys([start]) if text else frozenset(),
        members=members,
    )


def _is_tar(start: bytes) -> bool:
    return start[257:262] == b"ustar"


def members_of(entry: Entry, head: Head, folder: Path) -> Iterator[Entry | Skipped]:
    """Unpack an archive (tar or zip) into a folder and yield its files; nothing if it is no archive.

    Members get names of our own, so that no path in the archive can lead outside; links are not followed. Raises what
    `Entry.open` does; what was yielded before is whole.
    """
    task = entry.task
    if _is_tar(head.start):
        with entry.open() as file, tarfile.open(fileobj=file, mode="r|") as tar:
            for member in tar:
                if member.isfile() and (source := tar.extractfile(member)) is not None:
                    yield _unpack(cast("BinaryIO", source), f"{entry.shown}/{member.name}", folder, task)
    elif head.members:
        with entry.open() as file, zipfile.ZipFile(cast("Any", file)) as archive:
            for info in archive.infolist():
                if info.is_dir():
                    continue
                shown = f"{entry.shown}/{info.filename}"
                try:
                    with unzipped(archive, info, shown) as content:
                        yield _unpack(content, shown, folder, task)
                except (NotImplementedError, RuntimeError, ImportSourceError) as error:  # a packing, or a password
                    yield Skipped(shown, "not unpackable", str(error), "file")


def _unpack(source: BinaryIO, shown: str, folder: Path, task: str) -> Entry:
    folder.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder)
    with os.fdopen(handle, "wb") as target:
        while piece := source.read(1 << 20):
            target.write(piece)
    path = Path(name)
    return Entry(path, shown, task, path.stat().st_size)
