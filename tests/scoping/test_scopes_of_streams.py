"""Async generators that hold a scope, as web servers stream: closed in another task, they leave nothing behind."""

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.providers import Provider
from tests.stored import rows

import tokenflation.sdk as tf

Stream = AsyncIterator[str]
Close = Callable[[Stream], Awaitable[None]]


async def _ask(client: openai.AsyncOpenAI, text: str) -> None:
    await client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": text}])


async def _in_another_task(stream: Stream) -> None:
    await asyncio.create_task(stream.aclose())  # type: ignore[attr-defined]


async def _in_a_task_that_is_cancelled(stream: Stream) -> None:
    task: asyncio.Task[str] = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
        await task


async def _by_the_garbage_collector(stream: Stream) -> None:
    await asyncio.to_thread(gc.collect)  # the event loop closes it in a task of its own, once nobody holds it


@pytest.mark.parametrize("close", [_in_another_task, _in_a_task_that_is_cancelled, _by_the_garbage_collector])
def test_a_scope_in_a_generator_that_another_task_closes_logs_nothing_and_has_no_later_call_inside(
    close: Close, provider: Provider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    memory = InMemorySpanExporter()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(memory))

    async def main(client: openai.AsyncOpenAI) -> None:
        async def answer() -> Stream:
            with tf.task("streamed"), tf.agent("writer"):
                await _ask(client, "Write.")
                yield "one"
                await asyncio.sleep(0)
                yield "two"

        stream = answer()
        assert await anext(stream) == "one"
        closing = close(stream)
        del stream
        await closing
        await asyncio.sleep(0.01)
        await _ask(client, "Something else.")
        with tf.task("later"):
            await _ask(client, "Something else again.")
        await client.close()

    caplog.set_level(logging.DEBUG, "opentelemetry")
    with tf.instrument(tmp_path / "runs.db", tracer_provider=tracing):
        asyncio.run(main(openai.AsyncOpenAI(base_url=provider.openai_url, api_key="k")))

    first, second, third = rows(tmp_path / "runs.db")
    assert (first["task"], first["agent"], second["structure_source"], third["task"]) == (
        "streamed", "writer", "wire", "later",
    )  # fmt: skip
    assert len({first["task_id"], second["task_id"], third["task_id"]}) == 3
    assert second["parent_id"] is None
    assert [record.getMessage() for record in caplog.records if "detach" in record.getMessage().lower()] == []
    assert [record.levelname for record in caplog.records if record.levelno >= logging.WARNING] == []
    dead = {span.context.span_id for span in memory.get_finished_spans() if span.name in ("streamed", "writer")}
    parents = {span.parent.span_id for span in _calls_after(memory, first) if span.parent is not None}
    assert not dead & parents


def _calls_after(memory: InMemorySpanExporter, first: dict[str, Any]) -> list[Any]:
    return [span for span in memory.get_finished_spans() if (span.start_time or 0) > first["ended_at_ns"]]
