"""The texts in a JSON value, bounded: what to look for when the same words come back elsewhere. Pure and total."""

from typing import Any

__all__ = ["SHORTEST_SAID", "strings"]

_MAX_SAID = 4096
"""Characters kept of one tool call's arguments, or of one result."""
SHORTEST_SAID = 8
"""Characters of the shortest text that is kept of these: one with fewer stands in many prompts."""
_MAX_TEXTS = 16
_MAX_DEPTH = 8


def strings(value: Any, shortest: int) -> tuple[str, ...]:
    """Return the texts in `value` of at least `shortest` characters, in order: at most 16, 4,096 characters in all."""
    found: list[str] = []
    _collect(value, shortest, found, _MAX_SAID, 0)
    return tuple(found)


def _collect(value: Any, shortest: int, found: list[str], room: int, depth: int) -> int:
    kind = type(value)
    if kind is str:
        if len(value) >= shortest and room > 0 and len(found) < _MAX_TEXTS:
            found.append(value[:room])
            room -= len(value)
    elif (kind is dict or kind is list) and depth < _MAX_DEPTH:
        for entry in value.values() if kind is dict else value:
            room = _collect(entry, shortest, found, room, depth + 1)
            if room <= 0:
                break
    return room
