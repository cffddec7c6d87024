"""Real lm15 against a real server: its transports, sync and async, and the models of its own that send by them."""

import asyncio
import contextlib
import gc
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.hooks.conftest import Collected, body
from tests.providers import Provider

import tokenflation.sdk as tf
from tokenflation.sdk.hooks import install
from tokenflation.sdk.hooks import lm15 as hook

lm15 = pytest.importorskip("lm15", reason="lm15 is not installed")
transports = pytest.importorskip("lm15.transports")


def request(provider: Provider, prompt: str, *, path: str = "/chat/completions", stream: bool = True) -> Any:
    asked = {"model": "m", "messages": [{"role": "user", "content": prompt}], "stream": stream}
    headers = [("Content-Type", "application/json"), ("Authorization", "Bearer secret-key")]
    return transports.TransportRequest(
        "POST", f"{provider.openai_url}{path}?key=q", headers, json.dumps(asked).encode()
    )


async def read_async(asked: Any, chunks: int = 1_000_000) -> bytes:
    read = b""
    transport = transports.StdlibAsyncTransport()
    async with transport, transport.stream(asked) as response:
        async for chunk in response:
            read += chunk
            chunks -= 1
            if not chunks:
                break
    return read


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_an_answer_is_recorded_as_it_is_read(
    is_async: bool, stream: bool, provider: Provider, recorded: Collected
) -> None:
    asked = request(provider, "hi", stream=stream)
    if is_async:
        seen = asyncio.run(read_async(asked))
    else:
        with transports.StdlibTransport() as transport, transport.stream(asked) as response:
            seen = response.read()
    only = recorded.only
    assert body(only) == seen
    assert (only.api, only.host, only.path) == ("openai.chat", "127.0.0.1", "/v1/chat/completions")
    assert (only.status_code, only.end, only.request_body) == (200, "read", provider.requests[0].raw)
    assert not only.request_headers
    assert len(only.chunks) > 1


def test_an_answer_that_is_left_before_its_end_is_closed(provider: Provider, recorded: Collected) -> None:
    asyncio.run(read_async(request(provider, "hi"), chunks=1))
    with transports.StdlibTransport() as transport:
        with transport.stream(request(provider, "hi")) as response:
            next(iter(response))
        transport.stream(request(provider, "hi"))
        gc.collect()
    assert recorded.ends == ["closed", "closed", "dropped"]
    assert recorded.failures == []


def test_a_refusal_and_a_server_that_is_away_are_recorded(provider: Provider, recorded: Collected) -> None:
    away = transports.TransportRequest("POST", "http://127.0.0.1:9/v1/chat/completions", [], b'{"model": "m"}')
    with transports.StdlibTransport() as transport:
        with transport.stream(request(provider, "[[status:503]]")) as response:
            assert response.status == 503
            response.read()
        with pytest.raises(transports.ConnectError):
            transport.stream(away)
    with pytest.raises(transports.ConnectError):
        asyncio.run(read_async(away))
    assert [(one.status_code, one.end, one.error_type) for one in recorded.exchanges] == [
        (503, "read", None), (None, "failed", "ConnectError"), (None, "failed", "ConnectError")
    ]  # fmt: skip


def test_a_task_that_is_cancelled_while_it_reads_is_recorded_so(provider: Provider, recorded: Collected) -> None:
    async def main() -> None:
        task = asyncio.create_task(read_async(request(provider, "[[hold:1]]")))
        while not provider.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    provider.release()
    assert recorded.only.end == "cancelled"


def test_other_traffic_passes_untouched_and_undoing_leaves_the_class_as_it_was(
    provider: Provider, collected: Collected
) -> None:
    before = transports.StdlibTransport.__dict__["stream"], transports.StdlibAsyncTransport.__dict__["_do_stream"]
    undo = install(collected.tap)
    page = transports.TransportRequest("GET", provider.url)
    with transports.StdlibTransport() as transport, transport.stream(page) as response:
        response.read()
    undo()
    after = transports.StdlibTransport.__dict__["stream"], transports.StdlibAsyncTransport.__dict__["_do_stream"]
    assert (before, collected.exchanges, collected.failures) == (after, [], [])


def test_a_version_without_what_is_patched_is_said(collected: Collected, caplog: pytest.LogCaptureFixture) -> None:
    hook._Installation(collected.tap).patch(type(json)("lm15.transports._sync"))
    assert collected.failures == ["hook_missing"]
    assert "lm15.transports._sync lacks stream" in caplog.text


def test_lm15s_own_models_are_one_call_each_with_their_tokens(provider: Provider, tmp_path: Path) -> None:
    asked = lm15.Request(model="m", system="Be brief.", messages=(lm15.Message.user("Say hello."),))

    async def ask(model: Any) -> Any:
        return await model.complete(asked)

    with tf.instrument(tmp_path / "runs.db"):
        chat = lm15.OpenAIChatLM(api_key="k", base_url=provider.openai_url)
        anthropic = lm15.AnthropicLM(api_key="k", base_url=f"{provider.url}/v1")
        used = [chat.complete(asked).usage, anthropic.complete(asked).usage]
        streamed = list(anthropic.stream(asked))
        used.append(asyncio.run(ask(lm15.AsyncOpenAIChatLM(api_key="k", base_url=provider.openai_url))).usage)
    with contextlib.closing(sqlite3.connect(tmp_path / "runs.db")) as store:
        rows = store.execute(
            "SELECT api, input_tokens, output_tokens, stream, status, ttft_s > 0 FROM calls ORDER BY started_at_ns"
        ).fetchall()
        drops = store.execute("SELECT * FROM drops").fetchall()
    assert streamed
    # Its input of Anthropic's answers is without what was in the cache.
    assert [(one.input_tokens, one.output_tokens) for one in used] == [(200, 150), (136, 150), (200, 150)]
    assert [row[1:5] for row in rows] == [(200, 150, int(number == 2), "ok") for number in range(4)]
    assert (rows[2][5], drops) == (1, [])
