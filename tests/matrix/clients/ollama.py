"""The scenarios of the client `ollama`, from 0.1 on."""

import asyncio
from collections.abc import Callable
from typing import Any

import ollama
from tests.matrix.clients.shared import TOOLS, ask, awaited, cancel, has, plain, same_prompts

__all__ = ["DISTRIBUTION", "SCENARIOS"]

DISTRIBUTION = "ollama"


def _chat(url: str, prompt: str) -> Any:
    return plain(ollama.Client(host=url).chat(model="m-1", messages=ask(prompt)))


def _stream(url: str, prompt: str) -> Any:
    return [plain(part) for part in ollama.Client(host=url).chat(model="m-1", messages=ask(prompt), stream=True)]


def _tools(url: str, prompt: str) -> Any:
    return plain(ollama.Client(host=url).chat(model="m-1", messages=ask(prompt), tools=TOOLS))


def _tools_stream(url: str, prompt: str) -> Any:
    client = ollama.Client(host=url)
    return [plain(part) for part in client.chat(model="m-1", messages=ask(prompt), tools=TOOLS, stream=True)]


def _generate(url: str, prompt: str) -> Any:
    return plain(ollama.Client(host=url).generate(model="m-1", prompt=prompt))


def _generate_stream(url: str, prompt: str) -> Any:
    return [plain(part) for part in ollama.Client(host=url).generate(model="m-1", prompt=prompt, stream=True)]


def _embeddings(url: str, prompt: str) -> Any:
    return plain(has(ollama.Client(host=url), "embed")(model="m-1", input=prompt))


def _made_before(url: str, prompt: str) -> Any:
    client = ollama.Client(host=url)
    yield
    yield plain(client.chat(model="m-1", messages=ask(prompt)))


def _abandoned(url: str, prompt: str) -> Any:
    parts: Any = ollama.Client(host=url).chat(model="m-1", messages=ask(prompt), stream=True)
    first = plain(next(parts))
    parts.close()
    return first


async def _async_chat(url: str, prompt: str) -> Any:
    return plain(await ollama.AsyncClient(host=url).chat(model="m-1", messages=ask(prompt)))


async def _async_stream(url: str, prompt: str) -> Any:
    client = ollama.AsyncClient(host=url)
    return [plain(part) async for part in await client.chat(model="m-1", messages=ask(prompt), stream=True)]


async def _async_abandoned(url: str, prompt: str) -> Any:
    client = ollama.AsyncClient(host=url)
    parts: Any = await client.chat(model="m-1", messages=ask(prompt), stream=True)
    first = plain(await anext(parts))
    await parts.aclose()
    return first


async def _read(url: str, prompt: str, started: Callable[[], None]) -> None:
    client = ollama.AsyncClient(host=url)
    async for _ in await client.chat(model="m-1", messages=ask(prompt), stream=True):
        started()


async def _parallel(url: str, prompt: str) -> Any:
    client = ollama.AsyncClient(host=url)
    calls = [client.chat(model="m-1", messages=ask(one)) for one in same_prompts(prompt)]
    return plain(list(await asyncio.gather(*calls)))


SCENARIOS = {
    "chat": _chat,
    "stream": _stream,
    "async_chat": awaited(_async_chat),
    "async_stream": awaited(_async_stream),
    "tools": _tools,
    "tools_stream": _tools_stream,
    "generate": _generate,
    "generate_stream": _generate_stream,
    "embeddings": _embeddings,
    "gzip": _stream,
    "made_before": _made_before,
    "parallel": awaited(_parallel),
    "abandoned": _abandoned,
    "async_abandoned": awaited(_async_abandoned),
    "cancelled": cancel(_read),
    "broken": _stream,
    "refused": _chat,
    "failed": _chat,
}
