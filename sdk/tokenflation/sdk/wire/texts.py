"""What a model reads of canonical bytes: the texts, names and arguments in them, without the JSON around them.

A message's keys, ids and types are its provider's envelope: the model gets a few marks in their place. Pure and total.
"""

import json
from collections.abc import Sequence
from typing import Any

from tokenflation.sdk.wire.values import dumps, loads

__all__ = ["texts"]

_ENVELOPE = frozenset({"role", "type", "id", "call_id", "tool_call_id", "tool_use_id", "status", "index"})
_CONTENT = frozenset({"input", "args", "arguments", "response"})
_SCALARS = frozenset({int, float})
_LENIENT = json.JSONDecoder(strict=False)


def texts(pieces: Sequence[bytes]) -> list[str]:
    """Return what a model reads of canonical pieces, in order; a piece that is no JSON is read as it is.

    An object under a key that holds content (a tool's input, a result) is read as its JSON.
    """
    found: list[str] = []
    if len(pieces) == 1 and pieces[0].startswith(b"{"):
        value = loads(pieces[0])
        if type(value) is dict:
            _read(value, found)
            return found
    values = loads(b"[" + b",".join(pieces) + b"]")
    if type(values) is list and len(values) == len(pieces):
        for value in values:
            _read(value, found)
    else:
        for piece in pieces:
            _read_loosely(piece.decode("utf-8", "replace"), found)
    return found


def _read_loosely(text: str, found: list[str]) -> None:
    """Read values that follow one another; what is no JSON is text from there on."""
    at = 0
    while at < len(text):
        try:
            value, at = _LENIENT.raw_decode(text, at)
        except (ValueError, RecursionError):
            found.append(text[at:])
            return
        _read(value, found)


def _read(value: Any, found: list[str]) -> None:
    kind = type(value)
    if kind is str:
        found.append(value)
    elif kind is dict:
        for key, entry in value.items():
            kind = type(entry)
            if key in _ENVELOPE:
                continue
            if kind is str:
                found.append(entry)
            elif key in _CONTENT and (kind is dict or kind is list):
                found.append(dumps(entry).decode("utf-8", "replace"))
            else:
                _read(entry, found)
    elif kind is list:
        for entry in value:
            _read(entry, found)
    elif kind in _SCALARS:
        found.append(str(value))
