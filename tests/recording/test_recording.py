"""Recording end to end: real clients, a real server, a real store."""

import asyncio
import contextlib
import json
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.providers import Provider
from tests.stored import rows

import tokenflation.sdk as tf
from tokenflation.sdk import Instrumentation

MARKER = "MARKER-7f3a91"


@pytest.fixture
def handle(store: Path) -> Iterator[Instrumentation]:
    with tf.instrument(store, task="default") as running:
        yield running


def ask(provider: Provider, text: str, **more: Any) -> Any:
    with openai.OpenAI(base_url=provider.openai_url, api_key="k", max_retries=2) as client:
        return client.chat.completions.create(model="m-1", messages=[{"role": "user", "content": text}], **more)


def test_a_call_is_stored_with_the_providers_own_counts(
    provider: Provider, store: Path, handle: Instrumentation
) -> None:
    ask(provider, "hello")
    handle.flush()
    (call,) = rows(store)
    expected = {
        "input_tokens": 200,
        "cache_read_tokens": 64,
        "output_tokens": 150,
        "reasoning_tokens": 100,
        "usage_source": "provider",
        "usage_complete": 1,
        "status": "ok",
        "api": "openai.chat",
        "model": "m-1",
        "task": "default",
        "attempts": 1,
        "depth": 0,
        "step": 0,
        "structure_source": "wire",
    }
    assert {name: call[name] for name in expected} == expected
    parts = ("system_tokens", "tool_definition_tokens", "resent_tokens", "tool_result_tokens", "new_tokens")
    assert sum(call[part] for part in parts) == 200
    assert len(call["block_hashes"]) == 8 * 4


def test_retries_are_attempts_of_one_call_and_the_back_off_is_not_latency(
    provider: Provider, store: Path, handle: Instrumentation
) -> None:
    ask(provider, "hello [[status:429x2]]")
    handle.flush()
    (call,) = rows(store)
    attempts = rows(store, "SELECT * FROM attempts ORDER BY attempt")
    assert (call["attempts"], call["status"], call["input_tokens"]) == (3, "ok", 200)
    assert [attempt["status_code"] for attempt in attempts] == [429, 429, 200]
    last = attempts[-1]
    assert call["started_at_ns"] == attempts[0]["started_at_ns"]
    assert call["duration_s"] == pytest.approx((last["ended_at_ns"] - last["started_at_ns"]) / 1e9)


def test_tries_whose_answer_breaks_while_it_is_read_are_attempts_of_one_call(
    provider: Provider, store: Path, handle: Instrumentation
) -> None:
    with pytest.raises(openai.APIConnectionError):
        ask(provider, "hello [[cut:20]]")
    handle.flush()
    (call,) = rows(store)
    assert len(provider.requests) == call["attempts"] == 3
    assert [row["attempt"] for row in rows(store, "SELECT * FROM attempts ORDER BY attempt")] == [0, 1, 2]


def test_a_count_that_no_prompt_can_have_costs_its_blocks_and_not_the_host(
    provider: Provider, store: Path, handle: Instrumentation
) -> None:
    ask(provider, f"hello [[input:{2**50}]]")
    handle.flush()
    (call,) = rows(store)
    assert (call["input_tokens"], call["block_hashes"]) == (2**50, None)


def test_an_agent_loop_without_scopes_is_one_agent_run(
    provider: Provider, store: Path, handle: Instrumentation
) -> None:
    messages: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "[[tool:search]]"}]
    with openai.OpenAI(base_url=provider.openai_url, api_key="k") as client:
        answer = client.chat.completions.create(model="m", messages=messages).choices[0].message
        messages += [answer, {"role": "tool", "tool_call_id": answer.tool_calls[0].id, "content": "found it"}]  # type: ignore[index]
        client.chat.completions.create(model="m", messages=[*messages, {"role": "user", "content": "[[input:300]]"}])
    handle.flush()
    first, second = rows(store)
    (tool,) = rows(store, "SELECT * FROM tool_calls")
    assert second["continues_call_id"] == first["call_id"]
    assert (second["step"], second["agent_run_id"], second["task_id"]) == (1, first["agent_run_id"], first["task_id"])
    assert second["resent_tokens"] > 0
    assert second["tool_result_tokens"] > 0
    assert (tool["name"], tool["executed"], tool["result_bytes"] > 0) == ("search", 1, True)


def test_scopes_name_task_agent_and_depth_of_each_call(
    provider: Provider, store: Path, handle: Instrumentation
) -> None:
    with tf.task("triage", id="T-1"), tf.agent("planner"):
        ask(provider, "plan")
        with tf.tool("search"), tf.agent("searcher"):
            ask(provider, "search")
        tf.outcome(success=True)
    handle.flush()
    placed = [(call["task"], call["task_id"], call["agent"], call["depth"]) for call in rows(store)]
    assert placed == [("triage", "T-1", "planner", 0), ("triage", "T-1", "searcher", 1)]
    spans = rows(store, "SELECT kind, name, outcome FROM spans ORDER BY started_at_ns")
    assert [(span["kind"], span["name"]) for span in spans] == [
        ("task", "triage"),
        ("agent", "planner"),
        ("tool", "search"),
        ("agent", "searcher"),
    ]
    assert spans[0]["outcome"] == 1


def test_every_dialect_sync_and_async_plain_and_streamed_is_stored(
    provider: Provider, store: Path, handle: Instrumentation
) -> None:
    async def asynchronous() -> None:
        async with anthropic.AsyncAnthropic(base_url=provider.url, api_key="k") as client:
            async with client.messages.stream(
                model="c", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
            ) as stream:
                await stream.get_final_message()
            await client.messages.create(model="c", max_tokens=9, messages=[{"role": "user", "content": "hi"}])

    asyncio.run(asynchronous())
    with openai.OpenAI(base_url=provider.openai_url, api_key="k") as client:
        client.responses.create(model="r", input="hi")
        for _ in client.responses.create(model="r", input="hi", stream=True):
            pass
    with httpx.Client() as plain:
        url = f"{provider.url}/v1beta/models/g:streamGenerateContent?alt=sse"
        plain.post(url, json={"contents": [{"role": "user", "parts": [{"text": "hi"}]}]})
    handle.flush()
    found = rows(store)
    assert [call["api"] for call in found] == ["anthropic.messages"] * 2 + ["openai.responses"] * 2 + [
        "google.generate_content"
    ]
    assert {(call["input_tokens"], call["output_tokens"]) for call in found} == {(200, 150)}
    assert [call["stream"] for call in found] == [1, 0, 0, 1, 1]
    assert all(call["ttft_s"] > 0 for call in found if call["stream"])


def test_a_stream_left_early_is_cut_and_holds_no_placeholder(
    provider: Provider, store: Path, handle: Instrumentation
) -> None:
    with anthropic.Anthropic(base_url=provider.url, api_key="k") as client:
        stream = client.messages.create(
            model="c", max_tokens=9, messages=[{"role": "user", "content": "hi"}], stream=True
        )
        next(iter(stream))
        stream.close()
    handle.flush()
    (call,) = rows(store)
    assert (call["status"], call["output_tokens"], call["usage_complete"]) == ("cut", None, 0)


def test_no_text_of_the_prompt_the_answer_or_the_key_is_in_any_byte_of_the_store(
    provider: Provider, store: Path, handle: Instrumentation
) -> None:
    with openai.OpenAI(base_url=provider.openai_url, api_key=MARKER, default_headers={"x-own": MARKER}) as client:
        for text in (f"{MARKER} [[say:{MARKER}]]", f"{MARKER} [[tool:search]]", f"{MARKER} [[status:400]]"):
            tool = {"type": "function", "function": {"name": "f", "description": MARKER, "parameters": {}}}
            messages: list[Any] = [{"role": "system", "content": MARKER}, {"role": "user", "content": text}]
            with contextlib.suppress(openai.BadRequestError):
                client.chat.completions.create(model="m", messages=messages, tools=[tool], extra_query={"q": MARKER})  # type: ignore[list-item]
    handle.close()
    assert len(rows(store)) == 3
    for path in store.parent.iterdir():
        assert MARKER.encode() not in path.read_bytes()


def test_spans_carry_the_same_ids_and_counts_as_the_rows(provider: Provider, store: Path) -> None:
    exporter = InMemorySpanExporter()
    with tf.instrument(store, span_exporter=exporter) as handle:
        with tf.task("t"), tf.agent("a"):
            ask(provider, "hello [[status:429x1]]")
        handle.flush()
        handle.tracer_provider.force_flush()
    spans = {span.name: span for span in exporter.get_finished_spans()}
    (call,) = rows(store)
    chat = spans["chat m-1"]
    assert format(chat.context.span_id, "016x") == call["call_id"]
    assert format(chat.context.trace_id, "032x") == call["trace_id"]
    assert chat.attributes["gen_ai.usage.input_tokens"] == 200
    assert chat.attributes["http.request.resend_count"] == 1
    assert chat.parent.span_id == spans["invoke_agent a"].context.span_id
    assert set(spans) == {"chat m-1", "invoke_agent a", "invoke_workflow t"}
    assert "gen_ai.usage.input_tokens" not in spans["invoke_agent a"].attributes


def test_a_users_own_provider_gets_our_spans_nested_in_its_own(provider: Provider, store: Path) -> None:
    exporter = InMemorySpanExporter()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    with (
        tf.instrument(store, tracer_provider=tracers) as handle,
        tracers.get_tracer("app").start_as_current_span("request"),
        tf.task("t"),
    ):
        with tracers.get_tracer("app").start_as_current_span("inner"):
            ask(provider, "hello")
        handle.flush()
    spans = {span.name: span for span in exporter.get_finished_spans()}
    parents = {name: span.parent.span_id if span.parent else None for name, span in spans.items()}
    ids = {name: span.context.span_id for name, span in spans.items()}
    assert parents["chat m-1"] == ids["inner"]
    assert parents["inner"] == ids["invoke_workflow t"]
    assert parents["invoke_workflow t"] == ids["request"]
    assert len({span.context.trace_id for span in spans.values()}) == 1


def test_instrumenting_twice_gives_the_same_handle_and_closing_undoes_it(store: Path, tmp_path: Path) -> None:
    handle = tf.instrument(store)
    assert tf.instrument(store) is handle
    assert tf.instrument(tmp_path / "other.db") is handle
    handle.close()
    handle.close()
    assert tf.active() is None


def test_an_explicit_transport_records_once_with_and_without_the_hooks(provider: Provider, store: Path) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    client = httpx.Client(transport=tf.transport(httpx.HTTPTransport()))
    with client, tf.instrument(store) as handle:
        client.post(f"{provider.openai_url}/chat/completions", json=body)
        handle.flush()
    assert len(rows(store)) == 1


def _child(url: str) -> None:
    with httpx.Client() as client:
        client.post(f"{url}/chat/completions", json={"model": "m", "messages": [{"role": "user", "content": "hi"}]})


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_children_write_their_own_rows(provider: Provider, store: Path, handle: Instrumentation) -> None:
    ask(provider, "before")
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_child, args=(provider.openai_url,)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(20)
    ask(provider, "after")
    handle.flush()
    assert [child.exitcode for child in children] == [0] * 4
    assert len(rows(store)) == 6
    assert os.path.exists(store)


def test_what_only_some_providers_report_is_kept_as_json(
    provider: Provider, store: Path, handle: Instrumentation
) -> None:
    ask(provider, "hello")
    handle.flush()
    assert isinstance(json.loads(rows(store)[0]["extra"]), dict)
