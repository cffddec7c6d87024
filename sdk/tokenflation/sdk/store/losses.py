"""What could not be written to a store, noted beside it: the last resort of a recorder whose store fails.

A loss goes into the store's own `drops` table when it can; when the store itself is what fails, into a small JSON file
next to it, and when not even that can be written, into a folder of this user's own among the system's temporary files.
Knows nothing of SQL.
"""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import blake2b
from operator import itemgetter
from pathlib import Path

from tokenflation.sdk.store.paths import real_path

__all__ = [
    "WAITING",
    "forget_former",
    "forget_losses",
    "is_there",
    "note_losses",
    "note_written",
    "noted_waiting",
    "read_losses",
]

WAITING = "waiting_for_store"
"""What a writer could not wait for any longer: lost, unless somebody writes it later."""


def note_losses(store: str | os.PathLike[str], writer_id: str, drops: Mapping[str, int]) -> Path | None:
    """Write one writer's losses so far, replacing what it noted before; returns the file, None if none could be."""
    for folder, stem in _places(store):
        path = folder / f"{stem}{writer_id}.json"
        try:
            if folder != real_path(store).parent:  # where the store's own folder is gone, it is not ours to make
                folder.mkdir(parents=True, exist_ok=True)
            _write(path, drops, has_store=is_there(store))
        except OSError:
            continue
        return path
    return None


def forget_losses(store: str | os.PathLike[str], writer_id: str) -> None:
    """Remove one writer's note, once its losses stand in the store itself."""
    for folder, stem in _places(store):
        try:
            (folder / f"{stem}{writer_id}.json").unlink(missing_ok=True)
        except OSError:
            continue


def forget_former(store: str | os.PathLike[str]) -> None:
    """Remove the notes on what a store lost that was here before the one that is made now.

    What was lost while there was no store is this one's from now on, and not that of a later one too.
    """
    for folder, stem in _places(store):
        with suppress(OSError):
            for path in _notes(folder, stem):
                with suppress(OSError, ValueError, KeyError, TypeError):
                    note = json.loads(path.read_text(encoding="utf-8"))
                    if note["has_store"]:
                        path.unlink()
                        continue
                    written_ns = path.stat().st_mtime_ns
                    _write(path, note["drops"], has_store=True)
                    os.utime(path, ns=(written_ns, written_ns))  # of two notes of a writer the later one counts


def noted_waiting(store: str | os.PathLike[str], writer_id: str) -> int:
    """Return how many records a writer noted beside the store as waiting."""
    found = 0
    for folder, stem in _places(store):
        with suppress(OSError, ValueError, KeyError, TypeError):
            text = (folder / f"{stem}{writer_id}.json").read_text(encoding="utf-8")
            found = max(found, int(json.loads(text)["drops"][WAITING]))
    return found


def note_written(store: str | os.PathLike[str], writer_id: str, count: int) -> None:
    """Note that so many of the records that a dead writer noted as waiting stand in the store now."""
    for folder, stem in _places(store):
        path = folder / f"{stem}{writer_id}.json"
        try:
            drops = Counter[str](json.loads(path.read_text(encoding="utf-8"))["drops"])
            drops[WAITING] -= count
            if +drops:
                _write(path, +drops, has_store=True)
            else:
                path.unlink()
        except (OSError, ValueError, KeyError, TypeError):
            continue


def read_losses(store: str | os.PathLike[str]) -> Counter[str]:
    """Return what all writers of this store noted as lost, by reason; a note that cannot be read counts as one loss."""
    latest: dict[str, tuple[int, Counter[str]]] = {}
    for folder, stem in _places(store, of_all=True):
        try:
            paths = _notes(folder, stem)
        except OSError:
            continue
        for path in paths:
            try:
                written_ns = path.stat().st_mtime_ns
                drops = json.loads(path.read_text(encoding="utf-8"))["drops"]
                note = written_ns, Counter({str(reason): int(count) for reason, count in drops.items()})
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                note = 0, Counter(unreadable_note=1)
            # A writer that could not replace its note wrote the next one elsewhere: both are totals.
            writer_id = path.name.removeprefix(stem)
            latest[writer_id] = max(note, latest.get(writer_id, note), key=itemgetter(0))
    return sum((drops for _, drops in latest.values()), Counter())


def is_there(store: str | os.PathLike[str]) -> bool:
    """Return whether a store's file is there and not empty, be it without tables."""
    with suppress(OSError):
        return real_path(store).stat().st_size > 0
    return False


def _notes(folder: Path, stem: str) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(stem) and path.suffix == ".json"]


def _write(path: Path, drops: Mapping[str, int], *, has_store: bool) -> None:
    """Write a note whole or, where there is no room for it, not at all."""
    draft = path.with_suffix(".draft")
    try:
        draft.write_text(json.dumps({"drops": dict(drops), "has_store": has_store}, sort_keys=True), encoding="utf-8")
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise


def _places(store: str | os.PathLike[str], *, of_all: bool = False) -> Iterator[tuple[Path, str]]:
    """Yield each folder that may hold notes, and how their names begin; `of_all`: those of other users too."""
    path = real_path(store)
    yield path.parent, f"{path.name}.lost-"
    with suppress(OSError):  # there may be no such folder that can be written
        stem = f"{blake2b(os.fsencode(path), digest_size=8).hexdigest()}-"
        temporary = Path(tempfile.gettempdir())
        # One folder for all would be the first user's, and nobody else could write there.
        own = temporary / (f"tokenflation-lost-{os.getuid()}" if hasattr(os, "getuid") else "tokenflation-lost")
        yield own, stem
        if of_all:
            yield from ((folder, stem) for folder in temporary.glob("tokenflation-lost*") if folder != own)
