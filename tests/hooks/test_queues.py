"""Requests that wait in their client for a free connection: the wait is no time of the model's."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from tests.providers import Provider
from tests.stored import rows

import tokenflation.sdk as tf
from tokenflation.sdk import Instrumentation

RESULT = [
    {"role": "user", "content": "look it up [[tool:search]]"},
    {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function",
     "function": {"name": "search", "arguments": '{"query": "x"}'}}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "found"},
]  # fmt: skip


def asked(text: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}]}


def by_text(handle: Instrumentation) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the rows of the call that was held and of the one that waited for its connection."""
    assert handle.flush()
    assert rows(handle.store, "SELECT * FROM drops") == []
    first, second = rows(handle.store)
    return first, second


def only_after(handle: Instrumentation) -> None:
    """Assert that the second call begins after the first, and its attempt when it was asked for."""
    first, second = by_text(handle)
    assert second["started_at_ns"] >= first["ended_at_ns"]
    assert second["duration_s"] == (second["ended_at_ns"] - second["started_at_ns"]) / 1e9
    (attempt,) = rows(handle.store, f"SELECT * FROM attempts WHERE call_id = '{second['call_id']}'")
    assert attempt["started_at_ns"] < first["ended_at_ns"]


async def second_waits(provider: Provider, handle: Instrumentation, post: Callable[[str], Awaitable[object]]) -> None:
    """Let a call hold the only connection until another waits for it."""
    held = asyncio.create_task(post("one [[hold:1]]"))  # type: ignore[arg-type]
    while not provider.requests:
        await asyncio.sleep(0.001)
    waits = asyncio.create_task(post("two"))  # type: ignore[arg-type]
    while len(handle._recorder._underway.exchanges()) < 2:
        await asyncio.sleep(0)
    provider.release()
    await asyncio.gather(held, waits)


def test_a_wait_for_a_connection_of_httpx_is_no_part_of_a_call(
    provider: Provider, handle: Instrumentation, lib: Any
) -> None:
    async def main() -> None:
        async with lib.AsyncClient(limits=lib.Limits(max_connections=1)) as client:
            url = f"{provider.openai_url}/chat/completions"
            await second_waits(provider, handle, lambda text: client.post(url, json=asked(text)))

    asyncio.run(main())
    only_after(handle)


def test_a_wait_for_a_connection_of_aiohttp_is_no_part_of_a_call(provider: Provider, handle: Instrumentation) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:

            async def post(text: str) -> None:
                async with session.post(f"{provider.openai_url}/chat/completions", json=asked(text)) as answer:
                    await answer.read()

            await second_waits(provider, handle, post)

    asyncio.run(main())
    only_after(handle)


def test_a_thread_that_waits_for_a_connection_ends_its_tool_before(
    provider: Provider, handle: Instrumentation, lib: Any
) -> None:
    url = f"{provider.openai_url}/chat/completions"
    with lib.Client(limits=lib.Limits(max_connections=1)) as client, tf.task("t"):
        client.post(url, json={"model": "m", "messages": RESULT[:1]})
        with tf.agent("other"):
            holder = threading.Thread(target=client.post, args=(url,), kwargs={"json": asked("one [[hold:1]]")})
            holder.start()
        while len(provider.requests) < 2:
            time.sleep(0.001)
        releaser = threading.Thread(target=release_when_queued, args=(provider, client))
        releaser.start()
        client.post(url, json={"model": "m", "messages": RESULT})
        holder.join()
        releaser.join()
    assert handle.flush()
    _, held_call, call = rows(handle.store)
    assert call["started_at_ns"] >= held_call["ended_at_ns"]
    (tool,) = rows(handle.store, "SELECT * FROM tool_calls WHERE ended_at_ns IS NOT NULL")
    assert tool["ended_at_ns"] < held_call["ended_at_ns"]


def release_when_queued(provider: Provider, client: Any) -> None:
    while "1 queued" not in repr(client._transport._pool):
        time.sleep(0.001)
    provider.release()


def test_a_request_that_got_no_connection_took_no_time_of_a_model(provider: Provider, store: Path) -> None:
    url = f"{provider.openai_url}/chat/completions"
    limits, timeout = httpx.Limits(max_connections=1), httpx.Timeout(10, pool=0.05)
    with (
        tf.instrument(store),
        httpx.Client(limits=limits, timeout=timeout) as client,
        client.stream("POST", url, json=asked("one")),
        pytest.raises(httpx.PoolTimeout),
    ):
        client.post(url, json=asked("two"))
    (call,) = rows(store, "SELECT * FROM calls WHERE error_type = 'PoolTimeout'")
    (attempt,) = rows(store, f"SELECT * FROM attempts WHERE call_id = '{call['call_id']}'")
    assert call["started_at_ns"] - attempt["started_at_ns"] >= 0.05e9
