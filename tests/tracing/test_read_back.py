"""Our own spans, exported and imported again: the rows that were recorded, in every column but the prefix hashes."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openai
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from tests.importers.spans import CHAT, request, span, usage, write_requests
from tests.providers import Provider
from tests.stored import rows

import tokenflation.sdk as tf
from tokenflation.sdk.importers import import_paths

TOOLS: Any = [{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}]
_TABLES = {
    "calls": "call_id",
    "attempts": "call_id, attempt",
    "tool_calls": "call_id, tool_call_id",
    "spans": "span_id",
}


class _File(SpanExporter):
    """Writes what OTLP sends, as the collector's file exporter does."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        body = encode_spans(spans).SerializeToString()
        with self._path.open("ab") as file:
            file.write(struct.pack(">I", len(body)) + body)
        return SpanExportResult.SUCCESS


def _everything(store: Path) -> dict[str, list[dict[str, Any]]]:
    return {name: rows(store, f"SELECT * FROM {name} ORDER BY {key}") for name, key in _TABLES.items()}


def _ask(client: openai.OpenAI, *said: Any, **options: Any) -> Any:
    messages = [{"role": "user", "content": one} if isinstance(one, str) else one for one in said]
    return client.chat.completions.create(model="m-1", messages=messages, **options)


def _agent(client: openai.OpenAI, question: str) -> None:
    """Ask, run what is asked for, bring the result, read the end of a stream, and lose another."""
    first = _ask(client, f"{question} [[tool:search]]", tools=TOOLS).choices[0].message
    with tf.tool("search"), tf.agent("reader"):
        _ask(client, f"{question} read it [[status:429x1]]")
    result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "found " * 9}
    said = f"{question} [[tool:search]]", first.model_dump(exclude_none=True), result
    list(_ask(client, *said, "and?", tools=TOOLS, stream=True, stream_options={"include_usage": True}))
    next(iter(_ask(client, "and then?", stream=True))).model_dump()


def _work(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="k", max_retries=1) as client:
        with tf.task("research", id="R-1"), tf.agent("planner"):
            _agent(client, "one")
            tf.outcome(success=True, score=0.5)
        _agent(client, "two")
        with pytest.raises(openai.InternalServerError):
            _ask(client, "no [[status:503]]")


def test_what_is_read_back_from_our_own_spans_is_what_was_recorded(provider: Provider, tmp_path: Path) -> None:
    spans = TracerProvider()
    spans.add_span_processor(SimpleSpanProcessor(_File(tmp_path / "spans.pb")))
    with tf.instrument(tmp_path / "runs.db", tracer_provider=spans):
        _work(provider.openai_url)

    import_paths([tmp_path / "spans.pb"], tmp_path / "again.db")

    recorded, read = _everything(tmp_path / "runs.db"), _everything(tmp_path / "again.db")
    assert [len(recorded[name]) for name in _TABLES] == [9, 12, 2, 6]
    for call in recorded["calls"]:
        call["block_hashes"] = None
    assert read == recorded


def test_beneath_another_tracers_span_of_the_same_call_they_say_the_same(provider: Provider, tmp_path: Path) -> None:
    spans = TracerProvider()
    spans.add_span_processor(SimpleSpanProcessor(_File(tmp_path / "spans.pb")))
    tracer, theirs = spans.get_tracer("other"), {**CHAT, **usage(7, 3), "gen_ai.response.id": "theirs"}
    asked = '[{"role":"assistant","parts":[{"type":"tool_call","id":"call_0","name":"search"}]}]'
    with (
        tf.instrument(tmp_path / "runs.db", tracer_provider=spans),
        tracer.start_as_current_span("chat m-1", attributes={**theirs, "gen_ai.output.messages": asked}),
        openai.OpenAI(base_url=provider.openai_url, api_key="k") as client,
    ):
        _ask(client, "hi [[tool:search]]", tools=TOOLS)

    import_paths([tmp_path / "spans.pb"], tmp_path / "again.db")

    recorded, read = _everything(tmp_path / "runs.db"), _everything(tmp_path / "again.db")
    recorded["calls"][0]["block_hashes"] = None
    assert read == recorded


def test_values_that_no_column_can_have_cost_nothing_else(tmp_path: Path) -> None:
    ours = {**CHAT, **usage(9, 1), "tokenflation.api": "openai.chat", "tokenflation.input.new_tokens": -1,
            "tokenflation.call.history": "zz", "tokenflation.call.continues.evidence": 7, "tokenflation.call.status": "odd",
            "tokenflation.call.duration": float("inf"), "tokenflation.call.extra": "[]", "tokenflation.usage.source": "provider",
            "tokenflation.rows.tool_calls": '[{"call_id": 1}]', "tokenflation.rows.attempts": "{"}  # fmt: skip
    import_paths(
        [write_requests(tmp_path / "t.jsonl", request(span(1, library="tokenflation", _=ours)))], tmp_path / "a.db"
    )

    found = _everything(tmp_path / "a.db")
    (call,) = found["calls"]
    assert (call["input_tokens"], call["usage_source"], call["status"], call["duration_s"]) == (9, "provider", "ok", 1)
    assert (call["new_tokens"], call["history"], call["extra"], found["attempts"], found["tool_calls"]) == (
        None, None, "{}", [], [],
    )  # fmt: skip
