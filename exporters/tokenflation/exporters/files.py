"""Writes a file or a folder so that it appears whole or not at all. Knows nothing of what is in it."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tokenflation.sdk.errors import ExportError

__all__ = ["atomic_file", "atomic_folder", "check_file"]

_SQLITE = b"SQLite format 3\0"


def check_file(name: str | os.PathLike[str]) -> Path:
    """Return the path of a file to write, once it is sure that one can stand there: before anything is made for it.

    Raises:
        ExportError: the folder does not exist, or `name` is a folder (also a new one, by its last slash), a device, a
            pipe, a database or `-`.
    """
    path = Path(name)
    if str(path) == "-":
        raise ExportError("- would be a file of that name: this is not written to standard output. Give another name.")
    if path.is_dir() or os.fspath(name).endswith(os.sep):
        raise ExportError(f"{path}{os.sep} is a folder, and what is written is one file. Give a file's name.")
    if path.exists() and not path.is_file():
        # To put a file in its place would remove the device: `-o /dev/null` by root, for all programs.
        raise ExportError(f"{path} is no regular file, so nothing was written. Give the name of a file, new or old.")
    _check_parent(path)
    _refuse_database(path)
    return path


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside `path` for writing and put it in its place when the block ends without an error.

    Raises:
        ExportError: the folder does not exist, `path` is a folder, a device or a pipe, or the disk refuses.
    """
    check_file(path)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with beside.open("xb") as file:
            yield file
        os.replace(beside, path)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        with suppress(OSError):  # a read-only disk refuses to remove what was never made
            beside.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Make a folder beside `path` to write into and put it in its place when the block ends without an error.

    Raises:
        ExportError: `path` holds files already (a reader would mix old and new sessions), or the disk refuses.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ExportError(
            f"{path} is not an empty folder; a reader would mix what is there with what is written now. "
            "Give a new or an empty folder, or a file name ending in .jsonl."
        )
    _check_parent(path)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        beside.mkdir()
        yield beside
        os.replace(beside, path)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _check_parent(path: Path) -> None:
    if not path.parent.is_dir():
        raise ExportError(f"{path} cannot be written: there is no folder {path.parent}. Make it first.")


def _refuse_database(path: Path) -> None:
    if not path.exists():
        return
    with path.open("rb") as file:
        head = file.read(len(_SQLITE))
    if head == _SQLITE:
        # The recording itself, more often than not: `report runs.db -o runs.db`.
        raise ExportError(f"{path} is a database, a store perhaps; it is unchanged. Give another file to write to.")


def _refused(path: Path, error: OSError) -> ExportError:
    return ExportError(
        f"{path} was not written: {error.strerror or error}. Nothing was left behind; free space or give another path."
    )
