"""Opens the store that an import adds to, in one transaction; a new store appears only when all went well."""

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tokenflation.sdk.errors import StoreError
from tokenflation.sdk.store.keys import keep_key, load_key, read_key
from tokenflation.sdk.store.paths import no_folder
from tokenflation.sdk.store.write import SqliteWriter, StoreUnwritableError, open_writer

__all__ = ["target"]

_CREATED_BY = "tokenflation import"


@contextmanager
def target(store: Path) -> Iterator[tuple[SqliteWriter, bytes]]:
    """Open the store in one transaction, or a draft of it that takes its place when all went well; with its key."""
    if store.exists() and not store.is_file() and not store.is_dir():
        # A device or a pipe looks like an empty file, whose place a draft would take.
        raise StoreError(f"{store} is no regular file, so it cannot be a store. Give the name of a file, new or old.")
    try:
        if store.exists() and (store.is_dir() or store.stat().st_size):
            with _writing(store, None) as opened:
                yield opened
        else:
            with _draft(store) as opened:
                yield opened
    except sqlite3.Error as error:
        raise StoreError(
            f"{store} cannot be written: {error}. Nothing was imported; check that the disk has room and that no other "
            "program keeps the store locked."
        ) from error


@contextmanager
def _writing(path: Path, key: bytes | None) -> Iterator[tuple[SqliteWriter, bytes]]:
    writer = open_writer(path, created_by=_CREATED_BY, key=key)
    try:
        with writer.transaction():
            yield writer, key if key is not None else load_key(path)
    finally:
        writer.close()


@contextmanager
def _draft(store: Path) -> Iterator[tuple[SqliteWriter, bytes]]:
    draft = store.with_name(f".{store.name}.{secrets.token_hex(4)}")
    if not store.parent.is_dir():
        raise StoreError(f"{store}: {no_folder(store)}")
    try:
        with _writing(draft, read_key(store) or secrets.token_bytes(16)) as opened:
            yield opened
        _publish(draft, store, opened[1])
    except StoreUnwritableError as error:
        raise StoreError(str(error).replace(str(draft), str(store))) from error
    except OSError as error:
        raise StoreError(f"{store} cannot be made: {error}. Nothing was imported.") from error
    finally:
        for ending in ("", "-wal", "-shm"):
            with suppress(OSError):  # a read-only disk refuses to remove what was never made
                draft.with_name(draft.name + ending).unlink(missing_ok=True)


def _publish(draft: Path, store: Path, key: bytes) -> None:
    """Give the draft the store's name, unless another process has made the store meanwhile."""
    if store.exists() and not store.stat().st_size:
        store.unlink()
    try:
        kept = keep_key(store, key)
        if kept:
            os.link(draft, store)
    except FileExistsError:
        kept = False
    if not kept:
        raise StoreError(f"{store} was made by another program during the import. Nothing was imported; try it again.")
