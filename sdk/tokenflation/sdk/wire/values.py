"""JSON values from strangers: decode, look up and check them without ever raising. Knows nothing of any provider."""

import json
import re
from functools import lru_cache
from typing import Any, Final

import msgspec

__all__ = ["MAX_COUNT", "Path", "at", "count_of", "dumps", "first", "loads", "text", "word"]

Path = tuple[str | int, ...]
"""Keys (and list positions) from a JSON value inward; `()` is the value itself."""

MAX_COUNT: Final = 2**53
"""A larger number is no token count: it would not survive a float either."""

_LONGEST_WORD = 64
_WORD = re.compile(r"[A-Za-z0-9_.:/\-]+")
_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODER = msgspec.json.Decoder()


def loads(data: bytes) -> Any:
    """Return the JSON value in `data`, or None where there is none; lenient as the standard library is.

    msgspec is strict about UTF-8, surrogates, NaN and large integers: what it refuses goes through `json`.
    """
    try:
        return _DECODER.decode(data)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(data.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return None


def dumps(value: Any) -> bytes:
    """Return `value` as canonical JSON: keys sorted, no spaces, UTF-8; equal values give equal bytes."""
    try:
        return _ENCODER.encode(value)
    except (ValueError, OverflowError, RecursionError):  # lone surrogates, integers over 64 bits, deep nesting
        pass
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return b'"unreadable"'


def at(value: Any, path: Path) -> Any:
    """Return what stands at `path` inside `value`, or None where the path leads nowhere."""
    for key in path:
        if type(value) is dict:
            value = value.get(key)
        elif type(value) is list and type(key) is int and key < len(value):
            value = value[key]
        else:
            return None
    return value


def first(value: Any, paths: tuple[Path, ...]) -> Any:
    """Return the first of `paths` that leads to something else than null, or None."""
    if type(value) is not dict:
        return next((found for path in paths if (found := at(value, path)) is not None), None)
    for path in paths:
        # Most paths are one key of an object, or lead nowhere: a call for each would cost more than the look-up.
        found = value.get(path[0]) if path else value
        if found is None:
            continue
        if len(path) < 2:
            return found
        found = at(value, path)
        if found is not None:
            return found
    return None


def count_of(value: Any) -> int | None:
    """Return `value` if it is a token count (an int, not a bool, from 0 to 2**53), else None."""
    return value if type(value) is int and 0 <= value <= MAX_COUNT else None


def text(value: Any, limit: int = 256) -> str | None:
    """Return non-empty text as any database takes it (no NUL, no lone surrogate, cut at `limit`), else None."""
    if type(value) is not str or not value:
        return None
    value = value[:limit]
    if not value.isascii():
        value = value.encode("utf-8", "replace").decode()
    return value.replace("\0", "") or None


def word(value: Any) -> str | None:
    """Return an identifier such as `rate_limit_error`, or None: a sentence might be somebody's text."""
    if type(value) is int:
        return str(value) if 0 <= value <= MAX_COUNT else None
    return value if type(value) is str and len(value) <= _LONGEST_WORD and _is_word(value) else None


@lru_cache(maxsize=512)
def _is_word(value: str) -> bool:
    """Return whether this is an identifier; the same few come with every answer."""
    return _WORD.fullmatch(value) is not None
