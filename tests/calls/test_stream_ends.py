"""Streams that do not come to their end: one row and one span each, and nothing that the provider did not count."""

import asyncio
import contextlib
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.recording import scripted_bodies as bodies
from tests.recording.scripted import Scripted, as_events
from tests.stored import only_call

import tokenflation.sdk as tf
from tokenflation.sdk import Instrumentation


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def handle(tmp_path: Path, spans: InMemorySpanExporter) -> Iterator[Instrumentation]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    with tf.instrument(tmp_path / "runs.db", tracer_provider=provider) as running:
        yield running


QUESTION: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}], "stream": True}


def leave_after_one(url: str) -> None:
    with anthropic.Anthropic(base_url=url, api_key="k") as client, client.messages.create(**QUESTION) as stream:
        for _ in stream:
            break


def never_read(url: str) -> None:
    client = anthropic.Anthropic(base_url=url, api_key="k")
    stream = client.messages.create(**QUESTION)
    del stream
    gc.collect()
    client.close()


def broken(url: str) -> None:
    with anthropic.Anthropic(base_url=url, api_key="k") as client, contextlib.suppress(httpx2.HTTPError):
        for _ in client.messages.create(**QUESTION):
            pass


def cancelled(url: str) -> None:
    async def read(begun: asyncio.Event) -> None:
        async with anthropic.AsyncAnthropic(base_url=url, api_key="k") as client:
            async for _ in await client.messages.create(**QUESTION):
                begun.set()
                await asyncio.sleep(10)

    async def main() -> None:
        begun = asyncio.Event()
        reader = asyncio.create_task(read(begun))
        await begun.wait()
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader

    asyncio.run(main())


@pytest.mark.parametrize(
    ("end", "status", "host"),
    [
        ("closed", "cut", leave_after_one),
        ("dropped", "cut", never_read),
        ("failed", "error", broken),
        ("cancelled", "cancelled", cancelled),
    ],
)
def test_a_stream_that_is_not_whole_is_one_row_and_one_span_that_say_who_ended_it(
    handle: Instrumentation, spans: InMemorySpanExporter, end: str, status: str, host: Callable[[str], None]
) -> None:
    with Scripted(as_events(bodies.messages_stream()[:3], dies=True)) as server:
        host(server.url)
    call = only_call(handle)
    handle.close()
    assert (call["status"], call["extra"]["stream_end"], call["attempts"]) == (status, end, 1)
    assert (call["output_tokens"], call["usage_complete"]) == (None, 0)  # message_start holds a placeholder only
    assert [(span.attributes or {})["tokenflation.stream.end"] for span in spans.get_finished_spans()] == [end]


@pytest.mark.parametrize(
    ("chunks", "counts", "told"),
    [
        (2, True, ("cut", "closed", None, 0)),
        (3, True, ("cut", "closed", None, 0)),
        (4, True, ("ok", None, 150, 1)),
        (3, False, ("ok", None, None, 0)),
    ],
    ids=["before its reason", "before its counts", "after its counts", "without counts"],
)
def test_a_chat_stream_is_whole_once_its_host_had_all_that_it_asked_for_before_it_left(
    handle: Instrumentation, chunks: int, counts: bool, told: tuple[Any, ...]
) -> None:
    asked: Any = {"stream_options": {"include_usage": True}} if counts else {}
    answer = as_events(bodies.chat_stream({"content": "yes"})[:chunks], dies=True)
    with Scripted(answer) as server, openai.OpenAI(base_url=server.openai_url, api_key="k") as client:
        stream = client.chat.completions.create(model="m", messages=QUESTION["messages"], stream=True, **asked)
        for _ in range(chunks):
            next(stream)
        stream.close()
    call = only_call(handle)
    assert (call["status"], call["extra"].get("stream_end"), call["output_tokens"], call["usage_complete"]) == told


def test_a_whole_stream_says_nothing_of_its_end(handle: Instrumentation, spans: InMemorySpanExporter) -> None:
    with Scripted(as_events(bodies.messages_stream())) as server:
        broken(server.url)
    call = only_call(handle)
    assert (call["status"], call["input_tokens"], call["output_tokens"]) == ("ok", 200, 150)
    assert "stream_end" not in call["extra"]
    assert "tokenflation.stream.end" not in (spans.get_finished_spans()[0].attributes or {})
