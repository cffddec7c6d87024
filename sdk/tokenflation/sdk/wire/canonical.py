"""The canonical form of a piece of a prompt: equal content gives equal bytes, however a client writes it down.

Left out is what does not reach the model's context or moves between calls: cache markers, signatures, nulls, key order,
and the difference between a text and a list of one text part. Knows nothing of roles and tokens.
"""

import re
from hashlib import blake2b
from typing import Any, Final

from tokenflation.sdk.wire.values import dumps

__all__ = [
    "NOMINAL_PAYLOAD_BYTES",
    "PAYLOAD_FILL",
    "PAYLOAD_TOKENS_PER_BYTE",
    "canonical",
    "clean",
    "size_of",
    "text_bytes",
]

NOMINAL_PAYLOAD_BYTES: Final = 4096
"""What an image, a file or encrypted reasoning counts when its base64 is longer: about 1,000 tokens of text.

The size of the encoding says nothing about tokens; one photograph would outweigh everything else in the prompt.
"""

PAYLOAD_FILL: Final = 0x7F
"""The byte that fills a payload's nominal size behind its hash: no text has it, so payloads can be told from text."""

PAYLOAD_TOKENS_PER_BYTE: Final = 0.25
"""Of a payload's nominal bytes; providers count 800 to 1,600 tokens for most images."""

_MAX_DEPTH = 48
_SHORTEST_PAYLOAD = 1024
_PAYLOAD = re.compile(r"(?:data:[^,]{0,200},)?[A-Za-z0-9+/=_\-]{1024}")
_MOVING = frozenset({"cache_control", "prompt_cache_breakpoint", "signature", "thoughtSignature", "thought_signature"})
_TEXT_TYPES = frozenset({None, "text", "input_text", "output_text"})


def canonical(message: Any, content_key: str) -> bytes:
    """Return a message's canonical bytes; a lone text part is the same as its bare text.

    Clients turn one into the other when they move a cache marker along. Never raises; a few microseconds beside the
    encoding, whatever the size.
    """
    if type(message) is not dict:
        return dumps(clean(message))
    cleaned = _clean_object(message, 1)
    content = cleaned.get(content_key)
    if type(content) is list and len(content) == 1:
        bare = _bare_text(content[0])
        if bare is not None:
            cleaned = {**cleaned, content_key: bare}
    return dumps(cleaned)


def clean(value: Any, depth: int = 0) -> Any:
    """Return `value` without nulls and moving keys, and with payloads replaced by their hash at a nominal size.

    What needs no change is returned as it is, so that a plain message costs no copy.
    """
    kind = type(value)
    if kind is dict:
        return value if depth >= _MAX_DEPTH else _clean_object(value, depth + 1)
    if kind is list:
        return value if depth >= _MAX_DEPTH else _clean_list(value, depth + 1)
    if kind is str and len(value) > _SHORTEST_PAYLOAD and _PAYLOAD.match(value) is not None:
        return _payload(value)
    return value


def text_bytes(value: Any) -> bytes:
    """Return a string's own bytes, and any other value as canonical JSON."""
    return value.encode("utf-8", "surrogatepass") if type(value) is str else dumps(value)


def size_of(value: Any) -> int:
    """Return the bytes of `text_bytes(clean(value))`."""
    cleaned = clean(value)
    return len(cleaned) if type(cleaned) is str and cleaned.isascii() else len(text_bytes(cleaned))


def _clean_object(value: dict[str, Any], depth: int) -> dict[str, Any]:
    result = value
    for key, entry in value.items():
        kind = type(entry)
        if kind is str:
            if len(entry) <= _SHORTEST_PAYLOAD and key not in _MOVING:
                continue
        elif (kind is int or kind is bool or kind is float) and key not in _MOVING:
            continue
        if entry is None or key in _MOVING:
            if result is value:
                result = dict(value)
            del result[key]
            continue
        cleaned = clean(entry, depth)
        if cleaned is not entry:
            if result is value:
                result = dict(value)
            result[key] = cleaned
    return result


def _clean_list(value: list[Any], depth: int) -> list[Any]:
    result = value
    for position, entry in enumerate(value):
        cleaned = clean(entry, depth)
        if cleaned is not entry:
            if result is value:
                result = list(value)
            result[position] = cleaned
    return result


def _bare_text(part: Any) -> str | None:
    if type(part) is not dict or not part.keys() <= {"type", "text"} or type(part.get("text")) is not str:
        return None
    kind = part.get("type")
    return part["text"] if kind is None or (type(kind) is str and kind in _TEXT_TYPES) else None


def _payload(value: str) -> str:
    digest = blake2b(value.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return digest + chr(PAYLOAD_FILL) * (min(len(value), NOMINAL_PAYLOAD_BYTES) - len(digest))
