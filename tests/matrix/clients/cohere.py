"""The scenarios of the client `cohere`, from 5.5 on: both versions of its Chat api."""

import asyncio
from collections.abc import Callable
from typing import Any

import cohere
from tests.matrix.clients.shared import TOOLS, ask, awaited, cancel, has, plain, same_prompts

__all__ = ["DISTRIBUTION", "SCENARIOS"]

DISTRIBUTION = "cohere"
_RETRY: Any = {"max_retries": 2}
_ONCE: Any = {"max_retries": 0}


def _base(url: str) -> str:
    # The first versions have the api's version in their base URL, later ones in each path.
    return f"{url}/v1" if not hasattr(cohere, "ClientV2") else url


def _client(url: str) -> Any:
    return getattr(cohere, "ClientV2", cohere.Client)("k", base_url=_base(url))


def _async_client(url: str) -> Any:
    return getattr(cohere, "AsyncClientV2", cohere.AsyncClient)("k", base_url=_base(url))


def _ask(prompt: str) -> Any:
    """Return the arguments of a chat, in the first version of the api where the client has no other."""
    return {"model": "m-1"} | ({"messages": ask(prompt)} if hasattr(cohere, "ClientV2") else {"message": prompt})


def _tools_of_v2() -> Any:
    has(cohere, "ClientV2")
    return TOOLS


def _chat(url: str, prompt: str) -> Any:
    client = _client(url)
    return plain(client.chat(**_ask(prompt), request_options=_ONCE))


def _stream(url: str, prompt: str) -> Any:
    client = _client(url)
    return [plain(event) for event in client.chat_stream(**_ask(prompt))]


def _tools(url: str, prompt: str) -> Any:
    client = _client(url)
    return plain(client.chat(**_ask(prompt), tools=_tools_of_v2()))


def _tools_stream(url: str, prompt: str) -> Any:
    client = _client(url)
    return [plain(event) for event in client.chat_stream(**_ask(prompt), tools=_tools_of_v2())]


def _v1_chat(url: str, prompt: str) -> Any:
    client = cohere.Client("k", base_url=_base(url))
    return plain(client.chat(model="m-1", message=prompt))


def _v1_stream(url: str, prompt: str) -> Any:
    client = cohere.Client("k", base_url=_base(url))
    return [plain(event) for event in client.chat_stream(model="m-1", message=prompt)]


def _raw_response(url: str, prompt: str) -> Any:
    client = _client(url)
    raw = has(client, "with_raw_response").chat(**_ask(prompt))
    return [raw.headers["x-request-id"], plain(raw.data)]


def _made_before(url: str, prompt: str) -> Any:
    client = cohere.Client("k", base_url=_base(url))
    yield
    yield plain(client.chat(model="m-1", message=prompt))


def _abandoned(url: str, prompt: str) -> Any:
    client = _client(url)
    events = client.chat_stream(**_ask(prompt))
    first = plain(next(events))
    events.close()
    return first


def _retries(url: str, prompt: str) -> Any:
    client = _client(url)
    return plain(client.chat(**_ask(prompt), request_options=_RETRY))


async def _async_chat(url: str, prompt: str) -> Any:
    client = _async_client(url)
    return plain(await client.chat(**_ask(prompt)))


async def _async_stream(url: str, prompt: str) -> Any:
    client = _async_client(url)
    return [plain(event) async for event in client.chat_stream(**_ask(prompt))]


async def _async_abandoned(url: str, prompt: str) -> Any:
    client = _async_client(url)
    events = client.chat_stream(**_ask(prompt))
    first = plain(await anext(events))
    await events.aclose()
    return first


async def _read(url: str, prompt: str, started: Callable[[], None]) -> None:
    client = _async_client(url)
    async for _ in client.chat_stream(**_ask(prompt)):
        started()


async def _async_retries(url: str, prompt: str) -> Any:
    client = _async_client(url)
    return plain(await client.chat(**_ask(prompt), request_options=_RETRY))


async def _parallel(url: str, prompt: str) -> Any:
    client = _async_client(url)
    calls = [client.chat(**_ask(one)) for one in same_prompts(prompt)]
    return plain(list(await asyncio.gather(*calls)))


SCENARIOS = {
    "chat": _chat,
    "stream": _stream,
    "async_chat": awaited(_async_chat),
    "async_stream": awaited(_async_stream),
    "tools": _tools,
    "tools_stream": _tools_stream,
    "raw_response": _raw_response,
    "v1_chat": _v1_chat,
    "v1_stream": _v1_stream,
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
    "failed_thrice": _retries,
}
