"""Knows Codex's calls by what its session log and its telemetry both say: the thread and the counts. Knows no file.

Its event of an answer names neither the answer nor the turn (codex-rs/otel), and its time differs from the log's by
milliseconds. Within a thread each input holds the ones before: two calls of the same counts are as good as unheard of.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tokenflation.sdk.importers.files.fields import made_id, text

__all__ = ["COUNTS", "call_id_of", "given_by"]

COUNTS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens")
"""The counts that tell calls apart, as the log names them."""
_EVENTS = ("input_token_count", "cached_token_count", "output_token_count", "reasoning_token_count")
"""The same as the event names them."""


def call_id_of(thread_id: str, counts: Sequence[int | None]) -> str | None:
    """Return the id of the call of a thread that has these counts, in the order of `COUNTS`; None without an input."""
    return made_id("codex-call", thread_id, *(one or 0 for one in counts)) if counts[0] else None


def given_by(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the id of the call that an event of Codex tells of, nothing of other attributes."""
    thread_id = text(dict(attributes), "conversation.id")
    if attributes.get("event.kind") != "response.completed" or thread_id is None:
        return {}
    call_id = call_id_of(thread_id, [_count(attributes.get(name)) for name in _EVENTS])
    return {} if call_id is None else {"call_id": call_id}


def _count(value: Any) -> int | None:
    text_ = str(value)
    return int(text_) if text_.isascii() and text_.isdigit() and len(text_) < 16 else None
