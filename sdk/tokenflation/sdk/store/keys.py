"""The key of a store's prompt hashes: random, in a file beside the store, never in the database.

Whoever has the store alone cannot test guessed prompts against its hashes. Knows nothing of what is hashed.
"""

import errno
import os
import secrets
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from tokenflation.sdk.errors import StoreError
from tokenflation.sdk.store.paths import real_path

__all__ = ["keep_key", "key_file", "key_id", "load_key", "read_key"]

_KEY_BYTES = 16
_WITHOUT_LINKS = frozenset((errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK))
"""What file systems without hard links say: those of memory cards, of other systems' shared folders."""


def key_file(store: str | os.PathLike[str]) -> Path:
    """Return the path of the file that holds a store's key."""
    path = real_path(store)
    return path.with_name(f"{path.name}.key")


def key_id(key: bytes) -> str:
    """Return what tells two keys apart without giving them away: 16 hex digits."""
    return blake2b(key, digest_size=8, person=b"tf-key-id").hexdigest()


def load_key(store: str | os.PathLike[str], *, former: bytes | None = None) -> bytes:
    """Return the 16-byte key of a store; makes the file, readable by its owner alone, when there is none.

    Then it holds the `former` key, where one is given. Processes that start at once agree on one key. Where the file
    can be neither read nor written the key lives in memory, so hashes compare within this process only.

    Raises:
        StoreError: the file is there and holds no key.
    """
    path = key_file(store)
    fresh = former if former is not None else secrets.token_bytes(_KEY_BYTES)
    try:
        found = read_key(store)
        if found is not None:
            return found
        _publish(path, fresh)
        found = read_key(store)
    except OSError:
        return fresh
    return found if found is not None else fresh


def keep_key(store: str | os.PathLike[str], key: bytes) -> bool:
    """Make `key` a store's key unless it has one already; returns whether it is the store's key now.

    Raises:
        OSError: the file cannot be written.
    """
    _publish(key_file(store), key)
    return read_key(store) == key


def read_key(store: str | os.PathLike[str]) -> bytes | None:
    """Return the key of a store, or None if it has no key file.

    Raises:
        OSError: the file cannot be read.
        StoreError: the file is there and holds no key.
    """
    path = key_file(store)
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise StoreError(
            f"{path} should hold the store's hash key, {2 * _KEY_BYTES} hex digits, and does not. Restore it, or remove "
            "it to get a new key; new prompts then share no prefix with those recorded before."
        )
    return key


def _publish(path: Path, key: bytes) -> None:
    """Put the key at `path` whole or not at all; a file that is there already stays."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key.hex().encode("ascii") + b"\n")
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in _WITHOUT_LINKS or path.exists():
                raise
            draft.rename(path)  # of two processes that do so at once the later one's key stays
    finally:
        with suppress(OSError):  # the key is there all the same
            draft.unlink()
