"""Reads single fields out of JSON that others wrote: the value of the kind asked for, or None. Never raises.

A JSON object is a dict here: an abstract class is slow to ask for, and these are asked for a million times.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from math import isfinite
from typing import Any

import msgspec

__all__ = [
    "count", "dicts", "made_id", "made_trace_id", "mapping", "number", "seconds", "seconds_ns", "size", "text", "time_ns",
]  # fmt: skip

_MOST = 2**53
_MOST_SECONDS = 4e9


def count(source: Any, *names: str) -> int | None:
    """Return the number of tokens or things under the first of the names that has one: whole, not below 0."""
    for name in names:
        value = source.get(name) if isinstance(source, dict) else None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST:
            return value
    return None


def number(source: Any, *names: str) -> float | None:
    """Return the finite number under the first of the names that has one."""
    for name in names:
        value = source.get(name) if isinstance(source, dict) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 and isfinite(value):
            return float(value)
    return None


def seconds(source: Any, *names: str) -> float | None:
    """Return the time in seconds under the first name that has a number, None if it is below 0 or above a century."""
    found = number(source, *names)
    return found if found is not None and 0 <= found < _MOST_SECONDS else None


def text(source: Any, *names: str) -> str | None:
    """Return the text under the first of the names that has one that is not empty."""
    for name in names:
        value = source.get(name) if isinstance(source, dict) else None
        if isinstance(value, str) and value:
            return value.encode("utf-8", "replace").decode()
    return None


def mapping(source: Any, *names: str) -> Mapping[str, Any]:
    """Return the object at the end of a path of names, or an empty one."""
    for name in names:
        source = source.get(name) if isinstance(source, dict) else None
    return source if isinstance(source, dict) else {}


def dicts(source: Any, name: str) -> list[Mapping[str, Any]]:
    """Return the objects of the list under a name."""
    value = source.get(name) if isinstance(source, dict) else None
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def time_ns(source: Any, *names: str) -> int | None:
    """Return the time under the first of the names that has one, in unix ns.

    A text is ISO 8601, taken as UTC where it names no zone; a number is unix time in s, ms, us or ns, by its size.
    """
    for name in names:
        value = source.get(name) if isinstance(source, dict) else None
        found = _iso_ns(value) if isinstance(value, str) else _unix_ns(value)
        if found is not None:
            return found
    return None


def _iso_ns(value: str) -> int | None:
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    try:
        delta = at - datetime(1970, 1, 1, tzinfo=UTC)
    except OverflowError:
        return None
    found = (delta.days * 86400 + delta.seconds) * 10**9 + delta.microseconds * 1000
    return found if 0 <= found < _MOST_SECONDS * 1e9 else None


def _unix_ns(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 4e18:
        return None
    # 4e9 s is the year 2096; the same in ms is 1e3 times that, and so on: the ranges do not meet for times after 1972.
    for unit in (10**9, 10**6, 10**3, 1):
        if value * unit < _MOST_SECONDS * 1e9:
            return round(value * unit) if isinstance(value, float) else value * unit
    return None


def seconds_ns(value_s: float | None) -> int:
    """Return a time in seconds as ns; 0 where there is none or it is no time."""
    return round(value_s * 1e9) if value_s is not None and 0 <= value_s < _MOST_SECONDS else 0


def size(value: Any) -> int | None:
    """Return the bytes of a value as compact JSON, of a text its own bytes; None of nothing."""
    if value is None:
        return None
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    try:
        return len(msgspec.json.encode(value))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def made_id(*place: object) -> str:
    """Return 16 hex digits that stand for a place: the format's name, the session's id, and so on down."""
    return _digest(8, place)


def made_trace_id(*place: object) -> str:
    """Return 32 hex digits that stand for a place."""
    return _digest(16, place)


def _digest(bytes_: int, place: tuple[object, ...]) -> str:
    content = "\x1f".join(map(str, place)).encode("utf-8", "replace")
    return blake2b(content, digest_size=bytes_, person=b"tf-import").hexdigest()
