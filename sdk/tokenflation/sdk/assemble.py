"""From a finished exchange to the rows of the store: reads it, groups attempts, places it, splits its input.

Runs on the worker thread. Knows nothing of threads, queues or databases.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tokenflation.sdk.attempts import Attempts, Try, is_retryable
from tokenflation.sdk.exchange import Exchange
from tokenflation.sdk.lineage import MAX_HISTORIES, Lineage, Placement
from tokenflation.sdk.prefix import block_ends, extend_anchors
from tokenflation.sdk.records import Attempt, Call, Reading, ToolResult, ToolRun
from tokenflation.sdk.scopes import Scope, new_span_id, new_trace_id
from tokenflation.sdk.store.tables import BLOCK_TOKENS
from tokenflation.sdk.wire import ExchangeBytes, block_hashes, read, split

__all__ = ["Assembler", "Rows", "SentFrom"]

_MAX_BLOCKED_TOKENS = 2**25
"""No prompt has more; a provider that counts wrong must not cost the host a list of so many blocks."""


@dataclass(frozen=True, slots=True)
class SentFrom:
    """Where in the host's program a request left."""

    scope: Scope | None = None
    foreign: tuple[str, str] | None = None
    """Trace id and span id of a span of the user's own tracing that is nearer to the call than our scope."""


@dataclass(slots=True)
class Rows:
    """What one exchange adds to the store; `final` says that no attempt of the call can follow."""

    call: Call | None = None
    attempts: list[Attempt] = field(default_factory=list)
    tool_runs: list[ToolRun] = field(default_factory=list)
    final: list[Call] = field(default_factory=list)
    """Calls that are over for good, and so may be exported as spans."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a failed attempt leaves for its retry."""

    call: Call
    placement: Placement


class Assembler:
    """Holds what must be remembered between exchanges; used by one thread at a time."""

    def __init__(self, *, key: bytes, default_task: str = "task") -> None:
        self._key = key
        self._lineage = Lineage(default_task=default_task, new_trace_id=new_trace_id)
        self._attempts = Attempts()
        self._tool_runs: OrderedDict[tuple[str, str], ToolRun] = OrderedDict()

    def exchange(self, exchange: Exchange) -> Rows:
        """Return the rows of one finished exchange; no rows if its body shows that it is no model call."""
        reading = read(_bytes_of(exchange), key=self._key)
        if reading is None:
            return Rows()
        sent = exchange.context if isinstance(exchange.context, SentFrom) else SentFrom()
        scope_id = sent.scope.span_id if sent.scope else ""
        key, before = self._attempts.find(exchange, scope_id)
        kept = before.kept if before and isinstance(before.kept, _Kept) else None
        call_id = kept.call.call_id if kept else new_span_id()
        placement = kept.placement if kept else self._place(reading, call_id, sent, exchange.started_at_ns)
        attempts = list(before.attempts) if before else []
        attempts.append(_attempt(exchange, reading, call_id, len(attempts)))
        rows = Rows(attempts=[attempts[-1]])
        rows.call = self._call(exchange, reading, placement, call_id, attempts, sent)
        # Clients retry an answer that breaks while they read it whole; a broken stream has reached the host already.
        broken = exchange.end == "failed" and not reading.stream
        if reading.status == "error" and (broken or is_retryable(exchange.status_code)):
            given_up = self._attempts.keep(Try(key, attempts, _Kept(rows.call, placement)))
            rows.final = _calls_of([given_up] if given_up else [])
        else:
            rows.final = [rows.call]
        rows.tool_runs = self._tools(reading, placement, rows.call, first_attempt=kept is None)
        return rows

    def expire(self, now_ns: int) -> list[Call]:
        """Return the failed calls for which no retry came in time."""
        return _calls_of(self._attempts.expire(now_ns))

    def finish(self) -> list[Call]:
        """Return the failed calls that a retry could still have followed."""
        return _calls_of(self._attempts.give_up())

    def _place(self, reading: Reading, call_id: str, sent: SentFrom, started_at_ns: int) -> Placement:
        placement = self._lineage.place(reading, call_id, sent.scope, started_at_ns)
        if sent.foreign is not None:
            placement = replace(placement, trace_id=sent.foreign[0], parent_id=sent.foreign[1])
        return placement

    def _call(self, exchange: Exchange, reading: Reading, placement: Placement, call_id: str,
              attempts: list[Attempt], sent: SentFrom) -> Call:  # fmt: skip
        usage = reading.usage
        parts = _parts(reading, placement)
        anchors = self._anchors(reading, placement)
        hashes = None
        if anchors:
            hashes = block_hashes(reading.prompt, block_ends(anchors, BLOCK_TOKENS), self._key)
        ended_at_ns = exchange.ended_at_ns if exchange.ended_at_ns is not None else exchange.started_at_ns
        if reading.status != "error":
            self._lineage.remember(reading, placement, call_id, sent.scope, ended_at_ns, anchors)
        return Call(
            call_id=call_id,
            trace_id=placement.trace_id,
            parent_id=placement.parent_id,
            task=placement.task,
            task_id=placement.task_id,
            agent=placement.agent,
            agent_run_id=placement.agent_run_id,
            depth=placement.depth,
            step=placement.step,
            continues_call_id=placement.continues.call_id if placement.continues else None,
            inside_tool_call_id=placement.inside_tool_call_id,
            structure_source=placement.structure_source,
            provider=reading.provider,
            api=reading.api,
            model=reading.model,
            response_model=reading.response_model,
            response_id=reading.response_id,
            stream=reading.stream,
            status=reading.status,
            error_type=reading.error_type,
            finish_reasons=reading.finish_reasons,
            attempts=len(attempts),
            started_at_ns=attempts[0].started_at_ns,
            ended_at_ns=ended_at_ns,
            # Latency is the model's: the last attempt's, without the back-off before it.
            duration_s=(ended_at_ns - exchange.started_at_ns) / 1e9,
            ttfc_s=_seconds(exchange.started_at_ns, reading.first_chunk_ns if reading.stream else None),
            ttft_s=_seconds(exchange.started_at_ns, reading.first_token_ns),
            ttfo_s=_seconds(exchange.started_at_ns, reading.first_answer_ns),
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            output_tokens=usage.output_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            usage_source=reading.usage_source,
            usage_complete=reading.usage_complete,
            tool_calls=sum(one.kind == "client" for one in reading.tool_calls),
            system_tokens=parts.get("system"),
            tool_definition_tokens=parts.get("tool_definition"),
            resent_tokens=parts.get("resent"),
            tool_result_tokens=parts.get("tool_result"),
            new_tokens=parts.get("new"),
            split_method="bytes" if parts else None,
            block_tokens=BLOCK_TOKENS,
            block_hashes=hashes,
            shared_blocks=self._lineage.shared(placement.task_id, hashes) if hashes is not None else None,
            extra=reading.extra,
        )

    def _anchors(self, reading: Reading, placement: Placement) -> tuple[tuple[int, int], ...]:
        total = reading.usage.input_tokens
        if not total or total > _MAX_BLOCKED_TOKENS or not reading.prompt or reading.previous_response_id:
            return ()
        size = len(reading.prompt)
        if placement.continues is not None and placement.continues.anchors:
            known = placement.continues.anchors
        else:
            fixed = min(reading.system_bytes + reading.tool_definition_bytes, size)
            known = ((fixed, self._lineage.first_tokens(reading.instructions_hash, total * fixed // size)),)
        return extend_anchors(known, size, total)

    def _tools(self, reading: Reading, placement: Placement, call: Call, *, first_attempt: bool) -> list[ToolRun]:
        changed: dict[tuple[str, str], ToolRun] = {}
        if first_attempt:
            for run, result in self._answered_runs(reading, placement):
                changed[run.call_id, run.tool_call_id] = _answered(run, result.result_bytes, reading, call)
            inside = self._tool_runs.get((placement.inside_call_id or "", placement.inside_tool_call_id or ""))
            if inside is not None and inside.agent_run_id is None:
                changed[inside.call_id, inside.tool_call_id] = replace(inside, agent_run_id=placement.agent_run_id)
        for asked in reading.tool_calls:
            changed[call.call_id, asked.tool_call_id] = ToolRun(
                call_id=call.call_id,
                tool_call_id=asked.tool_call_id,
                name=asked.name,
                kind=asked.kind,
                arguments_bytes=asked.arguments_bytes,
                started_at_ns=call.ended_at_ns,
            )
        for key, run in changed.items():
            self._tool_runs[key] = run
            self._tool_runs.move_to_end(key)
        while len(self._tool_runs) > MAX_HISTORIES:
            self._tool_runs.popitem(last=False)
        return list(changed.values())

    def _answered_runs(self, reading: Reading, placement: Placement) -> list[tuple[ToolRun, ToolResult]]:
        """Return the tool calls that this request brings results for: of the call that it continues, by their ids.

        Where an api gives no ids, clients make up their own, so the ids of question and answer differ: then the order
        tells, if there are as many results as calls.
        """
        if placement.continues is None:
            return []
        asked = {
            id_: run
            for id_ in placement.continues.open_tool_calls
            if (run := self._tool_runs.get((placement.continues.call_id, id_))) is not None
        }
        named = [(asked[one.tool_call_id], one) for one in reading.tool_results if one.tool_call_id in asked]
        if named or len(asked) != len(reading.tool_results):
            return named
        return list(zip(asked.values(), reading.tool_results, strict=True))


def _bytes_of(exchange: Exchange) -> ExchangeBytes:
    return ExchangeBytes(
        api=exchange.api,
        method=exchange.method,
        host=exchange.host,
        path=exchange.path,
        request_body=exchange.request_body,
        request_headers=exchange.request_headers,
        status_code=exchange.status_code,
        content_type=exchange.content_type,
        content_encoding=exchange.content_encoding,
        chunks=exchange.chunks,
        started_at_ns=exchange.started_at_ns,
        end=exchange.end or "dropped",
        error_type=exchange.error_type,
    )


def _attempt(exchange: Exchange, reading: Reading, call_id: str, number: int) -> Attempt:
    return Attempt(
        call_id=call_id,
        attempt=number,
        status_code=exchange.status_code,
        error_type=reading.error_type,
        started_at_ns=exchange.started_at_ns,
        ended_at_ns=exchange.ended_at_ns if exchange.ended_at_ns is not None else exchange.started_at_ns,
    )


def _parts(reading: Reading, placement: Placement) -> Mapping[str, int]:
    """Return the five parts of the input in tokens, in proportion to their bytes; they sum to the provider's count.

    Empty where the count is not reported, or where part of the history is not in the request.
    """
    total = reading.usage.input_tokens
    if total is None or reading.previous_response_id or not reading.message_bytes:
        return {}
    sent = placement.sent_messages
    later = list(zip(reading.message_roles[sent:], reading.message_bytes[sent:], strict=True))
    results = sum(size for role, size in later if role == "tool")
    sizes = {
        "system": reading.system_bytes,
        "tool_definition": reading.tool_definition_bytes,
        "resent": sum(reading.message_bytes[:sent]),
        "tool_result": results,
        "new": sum(size for _, size in later) - results,
    }
    return dict(zip(sizes, split(total, list(sizes.values())), strict=True))


def _answered(run: ToolRun, result_bytes: int, reading: Reading, call: Call) -> ToolRun:
    total = reading.system_bytes + reading.tool_definition_bytes + sum(reading.message_bytes)
    tokens = round(call.input_tokens * result_bytes / total) if call.input_tokens is not None and total else None
    return replace(
        run,
        result_bytes=result_bytes,
        result_tokens=tokens,
        executed=(run.executed or 0) + 1,
        ended_at_ns=call.started_at_ns,
    )


def _calls_of(tries: list[Try]) -> list[Call]:
    return [one.kept.call for one in tries if isinstance(one.kept, _Kept)]


def _seconds(start_ns: int, end_ns: int | None) -> float | None:
    return None if end_ns is None else (end_ns - start_ns) / 1e9
