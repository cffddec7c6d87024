"""The calls under way, in a file beside the store that outlives the process: what a killed program finished is in it.

The host's thread notes a call when it leaves and when it ends, into shared memory of a file: no system call, and the
page cache keeps it when the process is killed. Once the worker has written the call's row, its slot is free again. A
process holds its file by `flock`; a file that nobody holds is a dead process's (`orphans`), and `recover` makes rows of
it.

The file, `DB.underway-PID-WRITER`, is slots of 1,024 bytes; the first begins with `MAGIC`. Of every other slot, byte 0
says 0 free, 1 under way, 2 finished; bytes 2-3 and 4-5 are the lengths (little endian) of two JSON objects, `Begun` at
byte 8 and `Ended` at byte 456. So whatever a killed process had finished is read with nothing but the standard library:

    data = open(path, "rb").read()
    for slot in range(1024, len(data), 1024):
        if data[slot] == 2:
            size = int.from_bytes(data[slot + 4:slot + 6], "little")
            print(json.loads(data[slot + 456:slot + 456 + size])["usage"])

The file grows where room is getting scarce: by the worker, ahead of need, or by a host's thread that finds none. Two
counts at the bytes 64 and 72 of the first slot, 8 bytes each, say how many calls found no slot all the same, and how
many of those stand in the store: the difference is what a kill lost. The number at byte 80, 8 bytes with a sign, is to
be added to all times: ns by which the system's clock was set since the program began.

There is no text of prompts or answers in it, nor hosts, paths or headers: ids and names of scopes, times, and numbers.
Knows nothing of SQL.
"""

import contextlib
import mmap
import os
import secrets
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from tokenflation.sdk.store.descriptors import held_on, is_at, never_close
from tokenflation.sdk.store.holding import hold
from tokenflation.sdk.store.mapped import keep_in_place
from tokenflation.sdk.store.paths import real_path

__all__ = ["DRAFT", "MAGIC", "Begun", "Ended", "Journal", "entries", "moved_by", "without_slot"]

MAGIC = b"tokenflation calls under way, 1\n"
_SLOT_BYTES = 1024
_BEGUN_AT = 8
_ENDED_AT = 456
_BEGUN_BYTES = _ENDED_AT - _BEGUN_AT
_ENDED_BYTES = _SLOT_BYTES - _ENDED_AT
_FULL_AT = 64
_STORED_AT = 72
_MOVED_AT = 80
_FIRST_SLOTS = 512
_MAX_SLOTS = 32_768
_GROWTH = 4
_MOST_GROWTHS = 3
"""By so much at a time, and so often at most."""
_LATE_S = 0.05
"""A host's thread waits no longer for another that makes room."""
_NO_ROOM = -2
DRAFT = ".draft"
"""What a file's name ends with until it is held and may be seen."""
_MAX_NAME = 48


class Begun(msgspec.Struct, omit_defaults=True, gc=False):
    """What is known when a call leaves."""

    call_id: str
    started_at_ns: int
    api: str
    provider: str
    task: str = ""
    task_id: str = ""
    """Empty for a call outside any scope."""
    trace_id: str = ""
    parent_id: str = ""
    agent: str = ""
    agent_run_id: str = ""
    depth: int = 0


class Ended(msgspec.Struct, gc=False):
    """What is known when it ended; `usage` and `first_usage` are numbers under the provider's own names."""

    ended_at_ns: int
    end: str
    status_code: int | None = None
    error_type: str | None = None
    stream: bool = False
    usage: Any = None
    first_usage: Any = None


_encode = msgspec.json.Encoder().encode
_begun = msgspec.json.Decoder(Begun)
_ended = msgspec.json.Decoder(Ended)


class Journal:
    """One process's file. `begin` and `end` are for the host's threads, the rest for the worker.

    They take no lock, but for the moment in which the file is changed as a whole.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.full = 0
        """Calls that found no free slot: they are recorded, but a kill before they are written loses them."""
        self._stored = 0
        self._changing = threading.Lock()
        self._refused = False
        """Whether there was no room for a larger file."""
        self._descriptor = descriptor
        self._slots = _FIRST_SLOTS
        self._file = mmap.mmap(descriptor, _FIRST_SLOTS * _SLOT_BYTES)
        self._held = held_on([descriptor])
        # The first to be freed is the next to be used: a program with few calls under way stays on a page or two.
        self._free = deque(range(_FIRST_SLOTS - 1, 0, -1))

    @classmethod
    def open(cls, store: str | os.PathLike[str], writer_id: str = "") -> "Journal":
        """Make this process's file beside a store, and hold it; `writer_id` is that of its notes of losses.

        Raises:
            OSError: the folder cannot be written, the disk is full, or the platform has no `flock`.
        """
        path = Path(f"{real_path(store)}.underway-{os.getpid()}-{writer_id or secrets.token_hex(4)}")
        descriptor = _new_file(path, _FIRST_SLOTS)
        try:
            return cls(path, descriptor)
        except OSError:  # no memory, no descriptor
            _remove(path, descriptor)
            raise

    def begin(self, begun: Begun) -> int:
        """Note a call that leaves; returns its slot, below 0 where there is none: for `end` and `free` alike."""
        try:
            text = _encode(begun)
        except UnicodeEncodeError:  # half of a character in a name, which the store cannot hold either
            text = _encode(_spelled(begun, "utf-8"))
        try:
            slot = self._free.pop()
        except IndexError:
            slot = self._late_slot()
            if slot < 0:
                return slot
        size = len(text)
        if size > _BEGUN_BYTES:
            text = _encode(_spelled(begun, "ascii", _MAX_NAME))[:_BEGUN_BYTES]
            size = len(text)
        file, at = self._file, slot * _SLOT_BYTES
        file[at + 2 : at + _BEGUN_AT + size] = size.to_bytes(_BEGUN_AT - 2, "little") + text
        file[at] = 1  # last, so that a kill in between leaves no half entry
        return slot

    def end(self, slot: int, ended: Ended) -> None:
        """Note that the call in this slot ended."""
        if slot < 0:
            return
        text = _encode(ended)
        size = len(text)
        if size > _ENDED_BYTES:
            text = _cut_down(ended)
            size = len(text)
        file, at = self._file, slot * _SLOT_BYTES
        begin = at + _ENDED_AT
        file[begin : begin + size] = text
        file[at + 4 : at + 6] = size.to_bytes(2, "little")
        file[at] = 2

    def free(self, slot: int) -> None:
        """Give a slot back: its call stands in the store, or is no call of ours."""
        if slot >= 0:
            self._file[slot * _SLOT_BYTES] = 0
            self._free.append(slot)
        elif slot == _NO_ROOM:
            self._stored += 1
            self._file[_STORED_AT : _STORED_AT + 8] = self._stored.to_bytes(8, "little")

    def redate(self, moved_ns: int) -> None:
        """Note by how many ns the system's clock has moved against the recorder's."""
        self._file[_MOVED_AT : _MOVED_AT + 8] = moved_ns.to_bytes(8, "little", signed=True)

    def restore(self) -> None:
        """Make the file anew if it is no longer under its name: somebody removed or renamed what lies beside the store.

        A call whose beginning a host's thread notes in this very moment may be missing in it.
        """
        if is_at(self.path, self._descriptor) or self._held.closed() or not self._changing.acquire(blocking=False):
            return
        try:
            self._restore()
        finally:
            self._changing.release()

    def grow(self, wait_s: float = 0.0) -> None:
        """Make room for more calls where it is getting scarce, up to 32,767; nothing where the disk has no room."""
        if not self._changing.acquire(timeout=wait_s):
            return
        try:
            self._grow()
        finally:
            self._changing.release()

    def _late_slot(self) -> int:
        """Return a slot for a call that found none: busy threads may leave the worker no turn to make room."""
        for _ in range(_MOST_GROWTHS):  # others may take all the room that was made before this thread goes on
            if self._refused:
                break
            self.grow(_LATE_S)
            with contextlib.suppress(IndexError):
                return self._free.pop()
        self.full += 1
        self._file[_FULL_AT:_STORED_AT] = self.full.to_bytes(8, "little")
        return _NO_ROOM

    def _restore(self) -> None:
        try:
            descriptor = _new_file(self.path, self._slots)
        except OSError:
            return
        try:
            made = mmap.mmap(descriptor, self._slots * _SLOT_BYTES)
        except OSError:
            _remove(self.path, descriptor)
            return
        made[_FULL_AT : _MOVED_AT + 8] = self._file[_FULL_AT : _MOVED_AT + 8]
        before, self._file = self._file, made
        for at in range(_SLOT_BYTES, self._slots * _SLOT_BYTES, _SLOT_BYTES):
            if before[at]:
                _carry_over(before[at : at + _SLOT_BYTES], made, at)
        before[: len(MAGIC)] = bytes(len(MAGIC))  # its calls are this file's now, whatever it is called
        self._held = held_on([descriptor])
        former, self._descriptor = self._descriptor, descriptor
        os.close(former)

    def _grow(self) -> None:
        slots = self._slots
        # Early, and by much: where many threads are busy, seconds may pass before the worker comes here again.
        if 8 * len(self._free) > 7 * slots or slots >= _MAX_SLOTS or self._held.closed():
            return
        more = _GROWTH * slots
        # A thread that writes into a former memory keeps its descriptor open a moment longer.
        former = held_on([self._descriptor]).without(self._descriptor)
        try:
            _reserve(self._descriptor, slots * _SLOT_BYTES, (more - slots) * _SLOT_BYTES)
            # Whoever writes into the former one meanwhile writes into the same memory.
            self._file = mmap.mmap(self._descriptor, more * _SLOT_BYTES)
        except OSError:
            self._refused = True
            return
        self._refused = False
        self._slots = more
        self._free.extendleft(range(slots, more))
        self._held = held_on([self._descriptor]) - former

    def is_unused(self) -> bool:
        """Return whether nothing in the file is needed any more."""
        return len(self._free) == self._slots - 1 and self.full == self._stored

    def close(self) -> None:
        """Remove the file if nothing in it is needed any more; else it stays for whoever opens the store next."""
        if self.is_unused():
            with contextlib.suppress(OSError):
                self.path.unlink()
        self.leave()

    def leave(self) -> None:
        """Let go of the file without a change to it: after a fork it is the parent's."""
        self._free.clear()
        descriptor, self._descriptor = self._descriptor, -1
        if self._held.closed():
            never_close(self._file)
            return
        self._file.close()
        if descriptor >= 0:
            with contextlib.suppress(OSError):  # a network's disk tells only now what it refused
                os.close(descriptor)  # never unlock: the lock is the parent's too


def entries(data: bytes) -> Iterator[tuple[Begun, Ended | None]]:
    """Yield the calls of a file's content, with None for the end of one that was under way; skips what is no entry."""
    moved = moved_by(data)
    if not data.startswith(MAGIC):
        return
    for at in range(_SLOT_BYTES, len(data) - _SLOT_BYTES + 1, _SLOT_BYTES):
        if data[at] not in (1, 2):
            continue
        sizes = (int.from_bytes(data[at + 2 : at + 4], "little"), int.from_bytes(data[at + 4 : at + 6], "little"))
        try:
            begun = _begun.decode(data[at + _BEGUN_AT : at + _BEGUN_AT + sizes[0]])
            ended = _ended.decode(data[at + _ENDED_AT : at + _ENDED_AT + sizes[1]]) if data[at] == 2 else None
        except ValueError:
            continue
        begun.started_at_ns += moved
        if ended is not None:
            ended.ended_at_ns += moved
        yield begun, ended


def moved_by(data: bytes) -> int:
    """Return by how many ns the times of a file's entries are later than its process had them."""
    return int.from_bytes(data[_MOVED_AT : _MOVED_AT + 8], "little", signed=True)


def without_slot(data: bytes) -> int:
    """Return how many calls a file's content has no entry for, as there was no room, and that are not in the store."""
    full, stored = (int.from_bytes(data[at : at + 8], "little") for at in (_FULL_AT, _STORED_AT))
    return max(0, full - stored) if data.startswith(MAGIC) else 0


def _carry_over(slot: bytes, file: mmap.mmap, at: int) -> None:
    """Put a slot of a former file into one that hosts' threads use already: the call may have ended there by now."""
    file[at + 2 : at + 4] = slot[2:4]
    file[at + _BEGUN_AT : at + _ENDED_AT] = slot[_BEGUN_AT:_ENDED_AT]
    if slot[0] == 2:
        file[at + 4 : at + 6] = slot[4:6]
        file[at + _ENDED_AT : at + _SLOT_BYTES] = slot[_ENDED_AT:]
        file[at] = 2
    elif not file[at]:
        file[at] = 1


def _new_file(path: Path, slots: int) -> int:
    """Make a file for so many slots and hold it; returns its descriptor.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    draft = path.with_name(path.name + DRAFT)
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        hold(descriptor)
        keep_in_place(descriptor)
        _share_as_store(path, descriptor)
        _reserve(descriptor, 0, slots * _SLOT_BYTES)
        os.pwrite(descriptor, MAGIC, 0)
        os.rename(draft, path)  # only now may others see it: it is held and has its magic
    except BaseException:
        _remove(draft, descriptor)
        raise
    return descriptor


def _share_as_store(path: Path, descriptor: int) -> None:
    """Let whoever may read or write the store do that with a file beside it, as SQLite does with its own."""
    with contextlib.suppress(OSError):
        found = path.with_name(path.name.rpartition(".underway-")[0]).stat()
        if os.geteuid() == 0:
            os.fchown(descriptor, found.st_uid, found.st_gid)
        os.fchmod(descriptor, found.st_mode & 0o666)


def _remove(path: Path, descriptor: int) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
    os.close(descriptor)


def _reserve(descriptor: int, offset: int, count: int) -> None:
    """Take the room on the disk now: shared memory of a file for which the disk has none kills who writes to it."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, offset, count)
    else:
        os.pwrite(descriptor, bytes(count), offset)


def _cut_down(ended: Ended) -> bytes:
    """Return what there is room for of the end of a call."""
    ended.first_usage = None
    text = _encode(ended)
    if len(text) > _ENDED_BYTES:
        ended.usage = None
        ended.error_type = None
        text = _encode(ended)
    return text


def _spelled(begun: Begun, encoding: str, longest: int | None = None) -> Begun:
    """Return it with names of so many characters, of which those that the encoding lacks are question marks."""
    names = (begun.task, begun.task_id, begun.agent)
    task, task_id, agent = (name.encode(encoding, "replace").decode(encoding)[:longest] for name in names)
    return msgspec.structs.replace(begun, task=task, task_id=task_id, agent=agent)
