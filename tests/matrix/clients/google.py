"""The scenarios of the client `google-genai`, from 1.0 on."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from google import genai
from google.genai import types
from tests.matrix.clients.shared import awaited, cancel, has, plain, same_prompts

__all__ = ["DISTRIBUTION", "SCENARIOS"]

DISTRIBUTION = "google-genai"
_TOOLS: Any = {
    "tools": [
        {
            "function_declarations": [
                {
                    "name": name,
                    "description": name,
                    "parameters": {"type": "OBJECT", "properties": {"query": {"type": "STRING"}}},
                }
                for name in ("search", "fetch")
            ]
        }
    ]
}


def _client(url: str, **options: Any) -> genai.Client:
    return genai.Client(api_key="k", http_options={"base_url": url, **options})


def _retrying(url: str, attempts: int) -> genai.Client:
    policy = has(types, "HttpRetryOptions")(attempts=attempts, initial_delay=0.001, max_delay=0.002, jitter=0)
    return _client(url, retry_options=policy)


def _chat(url: str, prompt: str) -> Any:
    client = _client(url)
    return plain(client.models.generate_content(model="m-1", contents=prompt))


def _stream(url: str, prompt: str) -> Any:
    client = _client(url)
    return [plain(one) for one in client.models.generate_content_stream(model="m-1", contents=prompt)]


def _tools(url: str, prompt: str) -> Any:
    client = _client(url)
    return plain(client.models.generate_content(model="m-1", contents=prompt, config=_TOOLS))


def _tools_stream(url: str, prompt: str) -> Any:
    client = _client(url)
    chunks = client.models.generate_content_stream(model="m-1", contents=prompt, config=_TOOLS)
    return [plain(chunk) for chunk in chunks]


def _auto_tools(url: str, prompt: str) -> Any:
    def search(query: str) -> str:
        """Search."""
        return f"[[input:30001]] found {query}"

    client = _client(url)
    return plain(client.models.generate_content(model="m-1", contents=prompt, config={"tools": [search]}))


def _helper(url: str, prompt: str) -> Any:
    client = _client(url)
    chat = client.chats.create(model="m-1")
    return [[plain(chunk) for chunk in chat.send_message_stream(prompt)], len(has(chat, "get_history")())]


def _made_before(url: str, prompt: str) -> Any:
    client = _client(url)
    yield
    yield plain(client.models.generate_content(model="m-1", contents=prompt))


def _abandoned(url: str, prompt: str) -> Any:
    client = _client(url)
    chunks: Any = client.models.generate_content_stream(model="m-1", contents=prompt)
    first = plain(next(iter(chunks)))
    chunks.close()
    return first


def _retries(url: str, prompt: str) -> Any:
    client = _retrying(url, 3)
    return plain(client.models.generate_content(model="m-1", contents=prompt))


def _refused(url: str, prompt: str) -> Any:
    client = _client(url)
    return plain(client.models.generate_content(model="m-1", contents=prompt))


async def _close(client: Any) -> None:
    close = getattr(client.aio, "aclose", None)
    if close is not None:
        await close()


async def _async_chat(url: str, prompt: str) -> Any:
    client = _client(url)
    answer = plain(await client.aio.models.generate_content(model="m-1", contents=prompt))
    await _close(client)
    return answer


async def _chunks(client: Any, prompt: str) -> Any:
    chunks = client.aio.models.generate_content_stream(model="m-1", contents=prompt)
    return await chunks if inspect.isawaitable(chunks) else chunks


async def _async_stream(url: str, prompt: str) -> Any:
    client = _client(url)
    answer = [plain(chunk) async for chunk in await _chunks(client, prompt)]
    await _close(client)
    return answer


async def _async_abandoned(url: str, prompt: str) -> Any:
    client = _client(url)
    chunks = await _chunks(client, prompt)
    first = plain(await anext(chunks))
    await chunks.aclose()
    await _close(client)
    return first


async def _read(url: str, prompt: str, started: Callable[[], None]) -> None:
    client = _client(url)
    try:
        async for _ in await _chunks(client, prompt):
            started()
    finally:
        await _close(client)


async def _async_retries(url: str, prompt: str) -> Any:
    client = _retrying(url, 3)
    answer = plain(await client.aio.models.generate_content(model="m-1", contents=prompt))
    await _close(client)
    return answer


async def _parallel(url: str, prompt: str) -> Any:
    client = _client(url)
    calls = [client.aio.models.generate_content(model="m-1", contents=one) for one in same_prompts(prompt)]
    answers = plain(list(await asyncio.gather(*calls)))
    await _close(client)
    return answers


SCENARIOS = {
    "chat": _chat,
    "stream": _stream,
    "async_chat": awaited(_async_chat),
    "async_stream": awaited(_async_stream),
    "tools": _tools,
    "tools_stream": _tools_stream,
    "auto_tools": _auto_tools,
    "helper": _helper,
    "gzip": _stream,
    "made_before": _made_before,
    "parallel": awaited(_parallel),
    "abandoned": _abandoned,
    "async_abandoned": awaited(_async_abandoned),
    "cancelled": cancel(_read),
    "broken": _stream,
    "retries": _retries,
    "async_retries": awaited(_async_retries),
    "refused": _refused,
    "failed": _refused,
    "failed_thrice": _retries,
}
