"""What the messages of a request hold: their first and last words, where an answer stands, whether they hold a text.

Pure: knows nothing of calls.
"""

from collections.abc import Sequence
from functools import lru_cache

from tokenflation.sdk.records import Reading
from tokenflation.sdk.wire.texts import texts
from tokenflation.sdk.wire.values import dumps

__all__ = [
    "LOOKED_AT_BYTES", "MIN_CHARS", "MIN_ID_CHARS", "SURE_CHARS", "contains", "first_messages", "first_text", "last_answer",
    "last_messages", "pieces", "times_in",
]  # fmt: skip

LOOKED_AT_BYTES = 32 * 1024
"""Of the beginning of messages, of their end, and of a result: what others said stands there or is not found."""
MIN_CHARS = 8
"""A shorter text that is repeated proves nothing."""
SURE_CHARS = 16
"""A shorter text may be repeated by chance."""
MIN_ID_CHARS = 6
"""Likewise a shorter id of a tool call: clients that make up their own count from 1."""


def contains(text: bytes, needle: str) -> bool:
    """Return whether canonical bytes hold a text, as JSON writes it, or as JSON inside of JSON does."""
    return any(map(text.__contains__, _as_written(needle)))


def times_in(text: bytes, needle: str) -> int:
    """Return how often canonical bytes hold a text, written in one of the ways that `contains` knows."""
    return max(map(text.count, _as_written(needle)), default=0)


@lru_cache(maxsize=256)
def _as_written(needle: str) -> tuple[bytes, ...]:
    """Return the canonical bytes of a text, and of it inside of JSON; new histories are held against the same."""
    needle = needle.strip()
    if not needle:
        return ()
    once = dumps(needle)[1:-1]
    twice = dumps(once.decode("utf-8", "replace"))[1:-1]
    return (once,) if twice == once else (once, twice)


def first_messages(reading: Reading) -> bytes:
    """Return the canonical bytes of the messages, or of a system prompt that has none behind it: the first 32 KiB."""
    start = reading.system_bytes + reading.tool_definition_bytes if reading.message_hashes else 0
    return reading.prompt[start : start + LOOKED_AT_BYTES]


def last_messages(reading: Reading) -> bytes:
    """Return the canonical bytes of the messages' last 32 KiB, as far as they are not the first."""
    start = reading.system_bytes + reading.tool_definition_bytes + LOOKED_AT_BYTES
    return reading.prompt[max(start, len(reading.prompt) - LOOKED_AT_BYTES) :]


def first_text(reading: Reading) -> str:
    """Return the beginning of the text of the first message; a summary may stand before, as a turn of the model's."""
    if not reading.message_bytes or not reading.prompt:
        return ""
    roles = reading.message_roles
    first = next((at for at, role in enumerate(roles) if role != "assistant"), 0)
    found = texts(pieces(reading, first, first + 1))
    return max(found, key=len)[:256] if found else ""


def pieces(reading: Reading, start: int, end: int) -> list[bytes]:
    """Return the canonical bytes of messages; none where the prompt was not kept."""
    if not reading.prompt:
        return []
    at = len(reading.prompt) - sum(reading.message_bytes[start:])
    found = []
    for size in reading.message_bytes[start:end]:
        found.append(reading.prompt[at : at + size])
        at += size
    return found


def last_answer(roles: Sequence[str]) -> tuple[int, int]:
    """Return where the last run of assistant messages begins and ends; 0, 0 if there is none."""
    if "assistant" not in roles:
        return 0, 0
    end = len(roles)
    while roles[end - 1] != "assistant":
        end -= 1
    start = end
    while start and roles[start - 1] == "assistant":
        start -= 1
    return start, end
