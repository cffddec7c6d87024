"""Files of ours that a host closes behind our back, as daemons do with all that is open when they begin.

The numbers may be the host's own files soon after: who closes or writes them then does it to those. Knows nothing of
what the files are for.
"""

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator

__all__ = ["Held", "Spare", "held_on", "is_at", "never_close"]

_never_closed: list[object] = []


class Held:
    """Descriptors of this process and which file each is open on; none where the platform does not tell."""

    def __init__(self, files: dict[int, tuple[int, int]]) -> None:
        self._files = files

    def __bool__(self) -> bool:
        return bool(self._files)

    def __sub__(self, other: "Held") -> "Held":
        return Held({number: file for number, file in self._files.items() if other._files.get(number) != file})

    def without(self, number: int) -> "Held":
        """Return the others."""
        return Held({one: file for one, file in self._files.items() if one != number})

    def taken(self) -> bool:
        """Return whether a file is open on none of them any more, and another on one: what is merely closed is not."""
        return any(now is not None for now in self._lost())

    def closed(self) -> bool:
        """Return whether a file is open on none of them any more.

        Of several one may be the host's, who had the same file open just then, and may close what is its own.
        """
        return bool(self._lost())

    def _lost(self) -> list[tuple[int, int] | None]:
        """Return what is open now on the descriptors of files that none is open on any more."""
        now = {number: _file_of(number) for number in self._files}
        there = {file for number, file in self._files.items() if now[number] == file}
        return [now[number] for number, file in self._files.items() if file not in there]


class Spare:
    """A descriptor kept back for what must be written in a process that has no other left."""

    def __init__(self) -> None:
        self._number = -1
        self._held = Held({})
        self.take()

    def take(self) -> None:
        """Keep one back, if there is one."""
        with contextlib.suppress(OSError):
            self._number, other = os.pipe()  # a file of its own, so that none of the host's is taken for it
            os.close(other)
            found = _file_of(self._number)  # also where nobody lists descriptors, as without /proc
            self._held = Held({self._number: found} if found is not None else {})

    def give_back(self) -> None:
        """Let go of it, unless the host has done so and has a file of its own there."""
        number, self._number = self._number, -1
        if number >= 0 and not self._held.closed():
            os.close(number)

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Let what is done meanwhile have it."""
        self.give_back()
        try:
            yield
        finally:
            self.take()


def held_on(paths: Iterable[str | os.PathLike[str] | int]) -> Held:
    """Return the descriptors that are open on these files, each given by a path or an open descriptor."""
    wanted = set()
    for path in paths:
        with contextlib.suppress(OSError):
            found = os.stat(path)
            wanted.add((found.st_dev, found.st_ino))
    try:
        numbers = [int(name) for name in os.listdir("/dev/fd")]
    except (OSError, ValueError):
        return Held({})
    files = ((number, _file_of(number)) for number in numbers)
    return Held({number: file for number, file in files if file in wanted})


def is_at(path: str | os.PathLike[str], descriptor: int) -> bool:
    """Return whether a path leads to the file that a descriptor is open on."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def never_close(owner: object) -> None:
    """Keep what would close descriptors at its end from ever ending, at the interpreter's end too."""
    _never_closed.append(owner)
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))


def _file_of(number: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(number)
    except OSError as error:
        return None if error.errno == errno.EBADF else (-1, -1)
    except AssertionError:  # of pyfakefs, which stands in place of the real file system and knows no pipes
        return -1, -1
    return found.st_dev, found.st_ino
