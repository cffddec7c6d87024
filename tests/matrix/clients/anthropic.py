"""The scenarios of the client `anthropic`, from the first with `messages.create` on."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import anthropic
from tests.matrix.clients.shared import ask, awaited, cancel, has, plain, same_prompts

__all__ = ["DISTRIBUTION", "SCENARIOS"]

DISTRIBUTION = "anthropic"
_TOOLS: list[Any] = [
    {"name": name, "description": name, "input_schema": {"type": "object", "properties": {"query": {"type": "string"}}}}
    for name in ("search", "fetch")
]


def _client(url: str, **options: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=url, api_key="k", **options)


def _async_client(url: str, **options: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=url, api_key="k", **options)


def _create(client: Any, prompt: str, **more: Any) -> Any:
    return client.messages.create(model="m-1", max_tokens=9, messages=ask(prompt), **more)


def _chat(url: str, prompt: str) -> Any:
    with _client(url) as client:
        return plain(_create(client, prompt))


def _stream(url: str, prompt: str) -> Any:
    with _client(url) as client:
        return [plain(event) for event in _create(client, prompt, stream=True)]


def _tools(url: str, prompt: str) -> Any:
    with _client(url) as client:
        return plain(_create(client, prompt, tools=_TOOLS))


def _tools_stream(url: str, prompt: str) -> Any:
    with _client(url) as client:
        return [plain(event) for event in _create(client, prompt, tools=_TOOLS, stream=True)]


def _helper(url: str, prompt: str) -> Any:
    with _client(url) as client, client.messages.stream(model="m-1", max_tokens=9, messages=ask(prompt)) as stream:
        return ["".join(stream.text_stream), plain(stream.get_final_message())]


async def _async_helper(url: str, prompt: str) -> Any:
    async with (
        _async_client(url) as client,
        client.messages.stream(model="m-1", max_tokens=9, messages=ask(prompt)) as stream,
    ):
        return ["".join([text async for text in stream.text_stream]), plain(await stream.get_final_message())]


def _raw_response(url: str, prompt: str) -> Any:
    with _client(url) as client:
        raw = client.messages.with_raw_response.create(model="m-1", max_tokens=9, messages=ask(prompt))
        return [raw.headers["x-request-id"], plain(raw.parse()), raw.http_response.is_closed]


def _raw_stream(url: str, prompt: str) -> Any:
    with _client(url) as client:
        method = client.messages.with_raw_response
        raw = method.create(model="m-1", max_tokens=9, messages=ask(prompt), stream=True)
        parsed = raw.parse()
        return [type(parsed).__name__, raw.http_response.is_closed, *(plain(event) for event in parsed)]


def _streaming_response(url: str, prompt: str) -> Any:
    with _client(url) as client:
        method = has(client, "messages.with_streaming_response")
        with method.create(model="m-1", max_tokens=9, messages=ask(prompt)) as response:
            early = response.http_response.is_closed
            text = "".join(response.iter_text())
        return [early, text, response.http_response.is_closed, response.elapsed.total_seconds() > 0]


def _made_before(url: str, prompt: str) -> Any:
    with _client(url) as client:
        yield
        yield plain(_create(client, prompt))


def _abandoned(url: str, prompt: str) -> Any:
    with _client(url) as client:
        events = _create(client, prompt, stream=True)
        first = next(iter(events))
        events.response.close()
        return plain(first)


def _dropped(url: str, prompt: str) -> Any:
    client = _client(url)
    kind = type(_create(client, prompt, stream=True)).__name__
    client.close()
    del client
    gc.collect()
    return kind


def _retries(url: str, prompt: str) -> Any:
    with _client(url, max_retries=2) as client:
        return plain(_create(client, prompt))


def _refused(url: str, prompt: str) -> Any:
    with _client(url, max_retries=0) as client:
        return plain(_create(client, prompt))


async def _async_chat(url: str, prompt: str) -> Any:
    async with _async_client(url) as client:
        return plain(await _create(client, prompt))


async def _async_stream(url: str, prompt: str) -> Any:
    async with _async_client(url) as client:
        return [plain(event) async for event in await _create(client, prompt, stream=True)]


async def _async_abandoned(url: str, prompt: str) -> Any:
    async with _async_client(url) as client:
        events = await _create(client, prompt, stream=True)
        async for event in events:
            first = plain(event)
            break
        await events.response.aclose()
        return first


async def _read(url: str, prompt: str, started: Callable[[], None]) -> None:
    async with _async_client(url) as client:
        async for _ in await _create(client, prompt, stream=True):
            started()


async def _async_retries(url: str, prompt: str) -> Any:
    async with _async_client(url, max_retries=2) as client:
        return plain(await _create(client, prompt))


async def _parallel(url: str, prompt: str) -> Any:
    async with _async_client(url) as client:
        return plain(list(await asyncio.gather(*(_create(client, one) for one in same_prompts(prompt)))))


SCENARIOS = {
    "chat": _chat,
    "stream": _stream,
    "async_chat": awaited(_async_chat),
    "async_stream": awaited(_async_stream),
    "tools": _tools,
    "tools_stream": _tools_stream,
    "raw_response": _raw_response,
    "raw_stream": _raw_stream,
    "streaming_response": _streaming_response,
    "helper": _helper,
    "async_helper": awaited(_async_helper),
    "gzip": _stream,
    "made_before": _made_before,
    "parallel": awaited(_parallel),
    "abandoned": _abandoned,
    "dropped": _dropped,
    "async_abandoned": awaited(_async_abandoned),
    "cancelled": cancel(_read),
    "broken": _stream,
    "retries": _retries,
    "async_retries": awaited(_async_retries),
    "refused": _refused,
    "failed": _refused,
    "failed_thrice": _retries,
}
