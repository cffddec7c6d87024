"""The journals of processes that have ended: found beside a store, held so that one reader acts on each, and read.

Knows nothing of what becomes of their calls.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tokenflation.sdk.clock import now_ns
from tokenflation.sdk.store.descriptors import is_at
from tokenflation.sdk.store.holding import CAN_HOLD, hold
from tokenflation.sdk.store.journals.journal import DRAFT, entries
from tokenflation.sdk.store.paths import real_path

__all__ = ["dead_journals", "left_beside"]

_OLD_DRAFT_S = 3600.0


def dead_journals(store: str | os.PathLike[str], *, to_read: bool = False) -> Iterator[tuple[Path, bytes]]:
    """Yield path and content of each file that a dead process left; it is held until the next is asked for.

    With `to_read` so that others may read it too, and where files may not be written.
    """
    if not CAN_HOLD:
        return
    for path in _beside(store):
        with _held(path, to_read=to_read) as descriptor:
            data = _content(descriptor) if descriptor is not None else None
            if data is not None:
                yield path, data


def left_beside(store: str | os.PathLike[str]) -> int:
    """Return how many calls of dead processes stand beside a store, and not in it."""
    return sum(sum(1 for _ in entries(data)) for _, data in dead_journals(store, to_read=True))


@contextlib.contextmanager
def _held(path: Path, *, to_read: bool = False) -> Iterator[int | None]:
    """Hold a file that nobody else holds; None if somebody does, or if it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY if to_read else os.O_RDWR)
    except OSError:
        yield None
        return
    try:
        hold(descriptor, shared=to_read)
        there = is_at(path, descriptor)  # whoever held it before us may have made rows of it and removed it
    except OSError:
        there = False
    try:
        yield descriptor if there else None
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _content(descriptor: int) -> bytes | None:
    """Return what a file holds; None where the disk refuses to tell, which costs the other files nothing."""
    try:
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    except OSError:
        return None


def _beside(store: str | os.PathLike[str]) -> list[Path]:
    file = real_path(store)
    found = []
    try:
        with os.scandir(file.parent) as listing:
            for entry in listing:
                if not entry.name.startswith(f"{file.name}.underway-"):
                    continue
                if not entry.name.endswith(DRAFT):
                    found.append(Path(entry.path))
                    continue
                with contextlib.suppress(OSError):  # another process's by now, or another user's
                    if now_ns() / 1e9 - entry.stat().st_mtime > _OLD_DRAFT_S:
                        os.unlink(entry.path)  # its maker was killed before anything stood in it
    except OSError:
        return found
    return found
