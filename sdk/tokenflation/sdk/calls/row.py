"""The row of one call, from what its bytes said, where it stands and when it was asked for. Pure."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from tokenflation.sdk.calls.structure import structure_of
from tokenflation.sdk.calls.timing import chunk_gaps_s
from tokenflation.sdk.exchange import Exchange
from tokenflation.sdk.lineage import Placement
from tokenflation.sdk.records import Attempt, Call, Reading
from tokenflation.sdk.scoping.sentfrom import SentFrom
from tokenflation.sdk.store.tables import BLOCK_TOKENS
from tokenflation.sdk.tokens.parts import Parts

__all__ = ["Asked", "attempt_of", "end_of", "of_stream", "row_of"]


class Asked(Struct, frozen=True, kw_only=True):
    """What a row needs to know of its call beside the reading: who asked, how often, and when."""

    call_id: str
    placement: Placement
    sent: SentFrom
    attempts: int
    first_left_at_ns: int
    left_at_ns: int
    """When the last attempt left: no model's time is in what it waited for a free connection."""
    extra: Mapping[str, Any]
    """What this exchange and the attempts before it add to the row's `extra`."""


def row_of(
    reading: Reading,
    asked: Asked,
    parts: Parts | None,
    ended_at_ns: int,
    *,
    block_hashes: bytes | None,
    shared_blocks: int | None,
) -> Call:
    """Return the row of a call."""
    usage, placement, left_at_ns = reading.usage, asked.placement, asked.left_at_ns
    extra = {**reading.extra, **asked.extra} if asked.extra else reading.extra
    if placement.changed and placement.continues_evidence not in ("flow_result", "words"):
        extra = {**extra, "gen_ai.conversation.compacted": True}
    if reading.forced_tool is not None:
        extra = {**extra, "forced_tool": reading.forced_tool}
    return Call(
        **structure_of(placement, reading, asked.sent.after),
        call_id=asked.call_id,
        provider=reading.provider,
        api=reading.api,
        model=reading.model,
        response_model=reading.response_model,
        response_id=reading.response_id,
        stream=reading.stream,
        status=reading.status,
        error_type=reading.error_type,
        finish_reasons=reading.finish_reasons,
        attempts=asked.attempts,
        started_at_ns=asked.first_left_at_ns,
        ended_at_ns=ended_at_ns,
        # Latency is the model's: the last attempt's, without the back-off before it.
        duration_s=(ended_at_ns - left_at_ns) / 1e9,
        ttfc_s=_seconds(left_at_ns, reading.first_chunk_ns if reading.stream else None),
        ttft_s=_seconds(left_at_ns, reading.first_token_ns),
        ttfo_s=_seconds(left_at_ns, reading.first_answer_ns),
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        usage_source=reading.usage_source,
        usage_complete=reading.usage_complete,
        tool_calls=sum([one.kind == "client" for one in reading.tool_calls]),
        system_tokens=parts.system if parts else None,
        tool_definition_tokens=parts.tool_definition if parts else None,
        resent_tokens=parts.resent if parts else None,
        tool_result_tokens=parts.tool_result if parts else None,
        new_tokens=parts.new if parts else None,
        split_method=parts.method if parts else None,
        block_tokens=BLOCK_TOKENS,
        block_hashes=block_hashes,
        shared_blocks=shared_blocks,
        extra=extra,
    )


def attempt_of(exchange: Exchange, reading: Reading, call_id: str, number: int) -> Attempt:
    """Return the row of one attempt of a call."""
    return Attempt(
        call_id=call_id,
        attempt=number,
        status_code=exchange.status_code,
        error_type=reading.error_type,
        started_at_ns=exchange.started_at_ns,
        ended_at_ns=end_of(exchange),
    )


def of_stream(exchange: Exchange, reading: Reading) -> dict[str, Any]:
    """Return what a row's `extra` says of a stream: gaps between its chunks, and who ended one that is not whole."""
    extra: dict[str, Any] = {}
    gaps = chunk_gaps_s(exchange.body())
    if gaps is not None:
        extra["chunk_gaps_s"] = gaps
    if reading.status != "ok":
        extra["stream_end"] = exchange.end
    return extra


def end_of(exchange: Exchange) -> int:
    """Return when an exchange ended; its start where that is not known."""
    return exchange.ended_at_ns if exchange.ended_at_ns is not None else exchange.started_at_ns


def _seconds(start_ns: int, end_ns: int | None) -> float | None:
    return None if end_ns is None else (end_ns - start_ns) / 1e9
