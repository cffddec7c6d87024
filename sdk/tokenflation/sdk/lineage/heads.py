"""The first words of a system prompt: an agent is known by them where the rest changes from call to call. Pure."""

import re
from functools import lru_cache

from tokenflation.sdk.lineage.histories import History
from tokenflation.sdk.lineage.naming import stable
from tokenflation.sdk.records import Reading
from tokenflation.sdk.wire.values import loads

__all__ = ["head_of", "is_of_one_agent"]

_HEAD_OF_SYSTEM = 48
_READ_OF_SYSTEM = 256
_FIRST_TEXT = re.compile(rb'[\[{](?:[\[{]|"(?:content|parts|text)":)*"((?:[^"\\]|\\.)*)')
"""The first text in the canonical JSON of a system prompt, which may be cut off."""


def head_of(reading: Reading) -> bytes:
    """Return the first words of the system prompt that stay as they are while it is one agent's: no date, no id."""
    return _head(reading.prompt[: min(_READ_OF_SYSTEM, reading.system_bytes)])


@lru_cache(maxsize=256)
def _head(beginning: bytes) -> bytes:
    """Return the first words without the JSON around them, which is another for another provider or model."""
    quoted = _FIRST_TEXT.match(beginning)
    if quoted is not None:
        beginning = quoted.group(1)
        whole = loads(b'"' + beginning.decode("utf-8", "ignore").encode() + b'"')
        beginning = whole.encode("utf-8", "replace") if type(whole) is str else beginning
    return stable(beginning.strip())[:_HEAD_OF_SYSTEM]


def is_of_one_agent(history: History, reading: Reading) -> bool:
    """Return whether instructions are a call's, or begin as those do, tools of the same size: a date may differ."""
    if history.instructions_hash == reading.instructions_hash:
        return True
    same = reading.tool_definition_bytes == history.tool_definition_bytes
    return same and bool(history.head) and head_of(reading) == history.head
