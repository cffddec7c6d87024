"""The Weka session trace as typed records: one JSON object per session. Knows nothing of our rows, does no I/O.

Fields as in AIPerf 0.13 (`weka_trace_models.py`), plus `n_blocks` and `hit_blocks` of traces that leave out `hash_ids`.
Names a recorder may have added are ignored.
"""

from hashlib import blake2b
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

__all__ = ["Entry", "Request", "SubAgent", "Trace", "convert", "digest"]

# The store keeps nanoseconds in 64 bits: 4e9 s is 127 years.
_Seconds = Annotated[float, Meta(ge=0, le=4e9)]
_Count = Annotated[int, Meta(ge=0, le=2**53)]


class Request(Struct, kw_only=True, tag_field="type", rename={"input_tokens": "in", "output_tokens": "out"}):
    """One call: of type `n` (plain) or `s` (streamed)."""

    t: _Seconds
    model: str
    input_tokens: _Count
    output_tokens: _Count
    hash_ids: list[int] | None = None
    """One id per block of the full prompt; recorders leave out or write the last, partial block."""
    n_blocks: _Count | None = None
    hit_blocks: _Count | None = None
    """Leading blocks that an earlier call had."""
    input_types: list[str] | None = None
    output_types: list[str] | None = None
    stop: str | None = None
    api_time: _Seconds | None = None
    think_time: float | None = None
    ttft: _Seconds | None = None


class Plain(Request, tag="n"):
    """A call whose answer came at once."""


class Streamed(Request, tag="s"):
    """A call whose answer was streamed."""


class SubAgent(Struct, kw_only=True, tag_field="type", tag="subagent"):
    """The marker of a sub-agent with the calls it made; what is unset was not in the trace."""

    t: _Seconds
    requests: list["Entry"]
    agent_id: str | UnsetType | None = UNSET
    subagent_type: str | UnsetType | None = UNSET
    duration_ms: int | float | UnsetType | None = UNSET
    total_tokens: int | UnsetType | None = UNSET
    tool_use_count: int | UnsetType | None = UNSET
    status: str | UnsetType | None = UNSET
    models: list[str] | UnsetType | None = UNSET
    tool_tokens: _Count | UnsetType | None = UNSET
    system_tokens: _Count | UnsetType | None = UNSET


Entry = Plain | Streamed | SubAgent


class Trace(Struct, kw_only=True):
    """One session."""

    id: str
    block_size: Annotated[int, Meta(gt=0, le=2**31)]
    requests: list[Entry]
    models: list[str] | UnsetType = UNSET
    hash_id_scope: Literal["local", "global"] = "local"
    tool_tokens: _Count | UnsetType | None = UNSET
    system_tokens: _Count | UnsetType | None = UNSET
    totals: Any | UnsetType = UNSET


_ENCODER = msgspec.json.Encoder(order="deterministic")


def convert(given: Any) -> Trace | str:
    """Return the session that an object holds, or why it is none: the message names the field."""
    try:
        trace = msgspec.convert(given, Trace)
        _check(trace.requests, trace.block_size, "$.requests")
    except RecursionError:
        return "it nests too deeply"
    except (msgspec.ValidationError, ValueError) as error:
        return str(error)
    return trace


def digest(trace: Trace) -> str:
    """Return 32 hex digits that stand for all of a session's content, however its JSON was laid out."""
    return blake2b(_ENCODER.encode(trace), digest_size=16, person=b"tf-weka").hexdigest()


def _check(entries: list[Entry], block_size: int, where: str) -> None:
    for position, entry in enumerate(entries):
        place = f"{where}[{position}]"
        if isinstance(entry, SubAgent):
            _check(entry.requests, block_size, f"{place}.requests")
            continue
        blocks = -(-entry.input_tokens // block_size)
        given = entry.n_blocks if entry.hash_ids is None else len(entry.hash_ids)
        if given is not None and given > blocks:
            raise ValueError(f"{given} blocks of {block_size} tokens in {entry.input_tokens} input tokens at `{place}`")
        if entry.hit_blocks is not None and entry.hit_blocks > (blocks if given is None else given):
            raise ValueError(f"`hit_blocks` {entry.hit_blocks} is more than the prompt's blocks at `{place}`")
