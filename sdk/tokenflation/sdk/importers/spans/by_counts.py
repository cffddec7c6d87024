"""Knows coding agents' calls by what their session logs and their telemetry both say. Knows no file.

The events of Codex and Gemini CLI name no answer that the log names (codex-rs/otel; gemini-cli,
packages/core/src/telemetry/types.ts), and the times differ by milliseconds: a call is known by its session and its
counts. Within a session each input holds the ones before: two calls of the same counts are as good as unheard of.
Copilot CLI's spans and its log name the answer; local servers give few ids, so that the counts are of use there too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tokenflation.sdk.importers.files.fields import made_id, text

__all__ = ["CODEX", "GEMINI", "answers_call_id", "call_id_of", "given_by"]

CODEX = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens")
"""The counts that tell calls apart, as the session log names them."""
GEMINI = ("input", "cached", "output", "thoughts", "total")
_COPILOT = "github.copilot"
"""Name of Copilot CLI's tracer."""
_EVENTS = {
    "codex": ("input_token_count", "cached_token_count", "output_token_count", "reasoning_token_count"),
    "gemini-cli": (
        "input_token_count", "cached_content_token_count", "output_token_count", "thoughts_token_count",
        "total_token_count",
    ),
}  # fmt: skip
"""The same as the events name them."""


def call_id_of(agent: str, session_id: str, counts: Sequence[int | None]) -> str | None:
    """Return the id of the call of a session that has these counts, in the log's order; None without an input."""
    return made_id(f"{agent}-call", session_id, *(one or 0 for one in counts)) if counts[0] else None


def answers_call_id(session_id: str, answer_id: str, put_in: int | None, made: int | None) -> str:
    """Return the id of the call of Copilot CLI that this answer is of, with its input and output tokens."""
    return made_id("copilot-cli-call", session_id, answer_id, put_in, made)


def given_by(attributes: Mapping[str, Any], library: str) -> dict[str, Any]:
    """Return the id of the call that an event or span of these agents tells of, nothing of other attributes."""
    if library == _COPILOT:
        session_id, answer_id = text(attributes, "gen_ai.conversation.id"), text(attributes, "gen_ai.response.id")
        counts = [_count(attributes.get(f"gen_ai.usage.{side}_tokens")) for side in ("input", "output")]
        known = session_id is not None and answer_id is not None
        return {"call_id": answers_call_id(str(session_id), str(answer_id), *counts)} if known else {}
    if attributes.get("event.kind") == "response.completed":
        agent, session_id = "codex", text(attributes, "conversation.id")
    elif attributes.get("event.name") == "gemini_cli.api_response":
        agent, session_id = "gemini-cli", text(attributes, "session.id")
    else:
        return {}
    counts = [_count(attributes.get(name)) for name in _EVENTS[agent]]
    call_id = None if session_id is None else call_id_of(agent, session_id, counts)
    return {} if call_id is None else {"call_id": call_id}


def _count(value: Any) -> int | None:
    digits = str(value)
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 16 else None
