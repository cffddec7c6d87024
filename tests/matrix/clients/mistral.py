"""The scenarios of the client `mistralai`, from 1.0 on."""

import asyncio
import importlib
from collections.abc import Callable
from typing import Any

from tests.matrix.clients.shared import TOOLS, ask, awaited, cancel, plain, same_prompts

__all__ = ["DISTRIBUTION", "SCENARIOS"]

DISTRIBUTION = "mistralai"


def _part(old: str, new: str, name: str) -> Any:
    """Return a name of the package, which moved below `mistralai.client` in version 2."""
    for module in (new, old):
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"mistralai has no {name}, neither in {new} nor in {old}")


_Mistral = _part("mistralai", "mistralai.client", "Mistral")
_RetryConfig = _part("mistralai.utils", "mistralai.client.utils", "RetryConfig")
_BackoffStrategy = _part("mistralai.utils", "mistralai.client.utils", "BackoffStrategy")


def _client(url: str, **options: Any) -> Any:
    return _Mistral(api_key="k", server_url=f"{url}/mistral", **options)


def _retrying(url: str) -> Any:
    return _client(url, retry_config=_RetryConfig("backoff", _BackoffStrategy(1, 2, 1.1, 20_000), False))


def _chat(url: str, prompt: str) -> Any:
    client = _client(url)
    return plain(client.chat.complete(model="m-1", messages=ask(prompt)))


def _stream(url: str, prompt: str) -> Any:
    client = _client(url)
    return [plain(event) for event in client.chat.stream(model="m-1", messages=ask(prompt))]


def _tools(url: str, prompt: str) -> Any:
    client = _client(url)
    return plain(client.chat.complete(model="m-1", messages=ask(prompt), tools=TOOLS))


def _tools_stream(url: str, prompt: str) -> Any:
    client = _client(url)
    return [plain(event) for event in client.chat.stream(model="m-1", messages=ask(prompt), tools=TOOLS)]


def _embeddings(url: str, prompt: str) -> Any:
    client = _client(url)
    method = client.embeddings.create
    words = "inputs" if "inputs" in method.__kwdefaults__ or "inputs" in method.__annotations__ else "input"
    return plain(method(model="m-1", **{words: prompt}))


def _made_before(url: str, prompt: str) -> Any:
    client = _client(url)
    yield
    yield plain(client.chat.complete(model="m-1", messages=ask(prompt)))


def _abandoned(url: str, prompt: str) -> Any:
    client = _client(url)
    events = client.chat.stream(model="m-1", messages=ask(prompt))
    first = plain(next(iter(events)))
    getattr(events, "response", events).close()
    return first


def _retries(url: str, prompt: str) -> Any:
    client = _retrying(url)
    return plain(client.chat.complete(model="m-1", messages=ask(prompt)))


async def _async_chat(url: str, prompt: str) -> Any:
    client = _client(url)
    return plain(await client.chat.complete_async(model="m-1", messages=ask(prompt)))


async def _async_stream(url: str, prompt: str) -> Any:
    client = _client(url)
    return [plain(event) async for event in await client.chat.stream_async(model="m-1", messages=ask(prompt))]


async def _async_abandoned(url: str, prompt: str) -> Any:
    client = _client(url)
    events = await client.chat.stream_async(model="m-1", messages=ask(prompt))
    async for event in events:
        first = plain(event)
        break
    await getattr(events, "response", events).aclose()
    return first


async def _read(url: str, prompt: str, started: Callable[[], None]) -> None:
    client = _client(url)
    async for _ in await client.chat.stream_async(model="m-1", messages=ask(prompt)):
        started()


async def _async_retries(url: str, prompt: str) -> Any:
    client = _retrying(url)
    return plain(await client.chat.complete_async(model="m-1", messages=ask(prompt)))


async def _parallel(url: str, prompt: str) -> Any:
    client = _client(url)
    calls = [client.chat.complete_async(model="m-1", messages=ask(one)) for one in same_prompts(prompt)]
    return plain(list(await asyncio.gather(*calls)))


SCENARIOS = {
    "chat": _chat,
    "stream": _stream,
    "async_chat": awaited(_async_chat),
    "async_stream": awaited(_async_stream),
    "tools": _tools,
    "tools_stream": _tools_stream,
    "embeddings": _embeddings,
    "gzip": _stream,
    "made_before": _made_before,
    "parallel": awaited(_parallel),
    "abandoned": _abandoned,
    "async_abandoned": awaited(_async_abandoned),
    "cancelled": cancel(_read),
    "broken": _stream,
    "retries": _retries,
    "async_retries": awaited(_async_retries),
    "refused": _chat,
    "failed": _chat,
}
