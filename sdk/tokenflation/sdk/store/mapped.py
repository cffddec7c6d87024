"""Memory that a file shares among processes, ours and SQLite's: who writes there where the disk has no room is killed.

Room is taken ahead, and the file system must leave it at that. Knows nothing of what is in the files.
"""

import contextlib
import os
import sys
from collections.abc import Iterator

from tokenflation.sdk.store.paths import real_path

__all__ = ["has_room", "index_in_place", "keep_in_place"]

try:
    import fcntl
except ImportError:  # a platform where disks are another matter
    fcntl = None  # type: ignore[assignment]

_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_NO_COPY_ON_WRITE = 0x00800000
"""Linux' `FS_IOC_GETFLAGS`, `FS_IOC_SETFLAGS` and `FS_NOCOW_FL`."""
_PAGE_BYTES = 4096
_LEAST_BYTES = 256 * 1024


def keep_in_place(descriptor: int) -> None:
    """Have what is written to a new file again take no new room on btrfs; elsewhere it takes none anyway."""
    if fcntl is None or sys.platform != "linux":
        return
    flags = bytearray(8)
    with contextlib.suppress(OSError):
        fcntl.ioctl(descriptor, _GET_FLAGS, flags)
        wanted = int.from_bytes(flags[:4], sys.byteorder) | _NO_COPY_ON_WRITE
        fcntl.ioctl(descriptor, _SET_FLAGS, wanted.to_bytes(4, sys.byteorder) + bytes(4))


@contextlib.contextmanager
def index_in_place(store: str | os.PathLike[str]) -> Iterator[None]:
    """Have SQLite, as it opens a store inside, keep the index of its log in place."""
    path = f"{real_path(store)}-shm"
    made = False
    with contextlib.suppress(OSError):
        # btrfs, and what lies on it, has no number of files that there may be.
        if hasattr(os, "statvfs") and not os.statvfs(os.path.dirname(path)).f_files:
            # A new file alone: to close one that SQLite has open would take its locks.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)  # SQLite gives it the store's mode
            made = True
            keep_in_place(descriptor)
            os.close(descriptor)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if made and not os.path.getsize(path):  # SQLite has no use for it: of another database
                os.unlink(path)


def has_room(store: str | os.PathLike[str]) -> bool:
    """Return whether SQLite can open a store: not on a disk of smaller pieces than it expects that is all but full.

    It takes room for its index by a byte in each page, which there is not room for the page.
    """
    if not hasattr(os, "statvfs"):
        return True
    found = os.statvfs(real_path(store).parent)
    return not found.f_blocks or found.f_frsize >= _PAGE_BYTES or found.f_bavail * found.f_frsize >= _LEAST_BYTES
