"""What the modules of the clients share: plain views of what a client returns, and clients that Stainless generates."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

from tests.matrix.scenarios import Play, Unsupported

__all__ = ["TOOLS", "ask", "awaited", "cancel", "chat_scenarios", "has", "plain", "same_prompts"]

TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": name,
            "parameters": {"type": "object", "properties": {"query": {"type": "string"}}},
        },
    }
    for name in ("search", "fetch")
]


def ask(prompt: str) -> list[Any]:
    """Return the messages of a chat with one turn."""
    return [{"role": "user", "content": prompt}]


def same_prompts(prompt: str, count: int = 8) -> list[str]:
    """Return prompts that differ in their totals alone."""
    return [f"{prompt} [[input:{20_000 + number}]]" for number in range(count)]


def plain(value: Any) -> Any:
    """Return what a client returned as plain values with the names of its types, to be compared."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    for dump in ("model_dump", "dict"):
        if hasattr(value, dump):
            return type(value).__name__, plain(getattr(value, dump)())
    return value if value is None or isinstance(value, (str, int, float, bool)) else repr(value)


def has(owner: Any, path: str) -> Any:
    """Return the attribute at a dotted path.

    Raises:
        Unsupported: this version of the client has no such attribute.
    """
    for name in path.split("."):
        try:
            owner = getattr(owner, name)
        except AttributeError:
            raise Unsupported(path) from None
    return owner


def awaited(scenario: Callable[[str, str], Awaitable[Any]], run: Callable[[Any], Any] = asyncio.run) -> Play:
    """Return an async scenario as a plain function; `run` runs a coroutine to its end."""
    return lambda url, prompt: run(scenario(url, prompt))


def cancel(
    read: Callable[[str, str, Callable[[], None]], Awaitable[Any]], run: Callable[[Any], Any] = asyncio.run
) -> Play:
    """Return a scenario that cancels `read(url, prompt, started)` after it called `started()`.

    Raises (the scenario):
        Unsupported: the reading cannot be cancelled.
    """

    async def cancelled(url: str, prompt: str) -> str:
        started = asyncio.Event()
        task = asyncio.ensure_future(read(url, prompt, started.set))
        waiting = asyncio.ensure_future(started.wait())
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0)
        task.cancel()
        waiting.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            return type(error).__name__
        raise Unsupported("this version reads a stream without letting others run, so it cannot be cancelled")

    return awaited(cancelled, run)


def chat_scenarios(make: Callable[..., Any], make_async: Callable[..., Any], **stream_options: Any) -> dict[str, Play]:
    """Return the scenarios of `client.chat.completions`, for clients that Stainless generates.

    `make(url, **options)` returns a client, `make_async` its async sister; `stream_options` go with each stream.
    """
    options: dict[str, Any] = {"model": "m-1"}
    streamed = {**options, "stream": True, **stream_options}

    def create(client: Any, prompt: str, **more: Any) -> Any:
        return client.chat.completions.create(messages=ask(prompt), **{**options, **more})

    def chat(url: str, prompt: str) -> Any:
        with make(url) as client:
            return plain(create(client, prompt))

    def stream(url: str, prompt: str) -> Any:
        with make(url) as client:
            return [plain(chunk) for chunk in create(client, prompt, **streamed)]

    def tools(url: str, prompt: str) -> Any:
        with make(url) as client:
            return plain(create(client, prompt, tools=TOOLS))

    def tools_stream(url: str, prompt: str) -> Any:
        with make(url) as client:
            return [plain(chunk) for chunk in create(client, prompt, tools=TOOLS, **streamed)]

    def raw_response(url: str, prompt: str) -> Any:
        with make(url) as client:
            raw = has(client, "chat.completions.with_raw_response").create(messages=ask(prompt), **options)
            response = raw.http_response
            return [
                raw.headers["x-request-id"],
                plain(raw.parse()),
                response.is_closed,
                raw.elapsed.total_seconds() > 0,
            ]

    def raw_stream(url: str, prompt: str) -> Any:
        with make(url) as client:
            raw = has(client, "chat.completions.with_raw_response").create(messages=ask(prompt), **streamed)
            parsed = raw.parse()
            return [type(parsed).__name__, raw.http_response.is_closed, *(plain(chunk) for chunk in parsed)]

    def streaming_response(url: str, prompt: str) -> Any:
        with make(url) as client:
            method = has(client, "chat.completions.with_streaming_response")
            with method.create(messages=ask(prompt), **options) as response:
                early = response.http_response.is_closed
                text = "".join(response.iter_text())
            return [early, text, response.http_response.is_closed, response.elapsed.total_seconds() > 0]

    def abandoned(url: str, prompt: str) -> Any:
        with make(url) as client:
            chunks = create(client, prompt, **streamed)
            first = next(iter(chunks))
            chunks.response.close()
            return plain(first)

    def dropped(url: str, prompt: str) -> Any:
        client = make(url)
        kind = type(create(client, prompt, **streamed)).__name__
        client.close()
        del client
        gc.collect()
        return kind

    def broken(url: str, prompt: str) -> Any:
        with make(url) as client:
            return [plain(chunk) for chunk in create(client, prompt, **streamed)]

    def retries(url: str, prompt: str) -> Any:
        with make(url, max_retries=2) as client:
            return plain(create(client, prompt))

    def refused(url: str, prompt: str) -> Any:
        with make(url, max_retries=0) as client:
            return plain(create(client, prompt))

    def made_before(url: str, prompt: str) -> Any:
        with make(url) as client:
            yield
            yield plain(create(client, prompt))

    async def async_chat(url: str, prompt: str) -> Any:
        async with make_async(url) as client:
            return plain(await create(client, prompt))

    async def async_stream(url: str, prompt: str) -> Any:
        async with make_async(url) as client:
            return [plain(chunk) async for chunk in await create(client, prompt, **streamed)]

    async def async_abandoned(url: str, prompt: str) -> Any:
        async with make_async(url) as client:
            chunks = await create(client, prompt, **streamed)
            async for chunk in chunks:
                first = plain(chunk)
                break
            await chunks.response.aclose()
            return first

    async def read(url: str, prompt: str, started: Callable[[], None]) -> None:
        async with make_async(url) as client:
            async for _ in await create(client, prompt, **streamed):
                started()

    async def async_retries(url: str, prompt: str) -> Any:
        async with make_async(url, max_retries=2) as client:
            return plain(await create(client, prompt))

    async def parallel(url: str, prompt: str) -> Any:
        async with make_async(url) as client:
            return plain(list(await asyncio.gather(*(create(client, one) for one in same_prompts(prompt)))))

    return {
        "chat": chat,
        "stream": stream,
        "async_chat": awaited(async_chat),
        "async_stream": awaited(async_stream),
        "tools": tools,
        "tools_stream": tools_stream,
        "raw_response": raw_response,
        "raw_stream": raw_stream,
        "streaming_response": streaming_response,
        "gzip": stream,
        "made_before": made_before,
        "parallel": awaited(parallel),
        "abandoned": abandoned,
        "dropped": dropped,
        "async_abandoned": awaited(async_abandoned),
        "cancelled": cancel(read),
        "broken": broken,
        "retries": retries,
        "async_retries": awaited(async_retries),
        "refused": refused,
        "failed": refused,
        "failed_thrice": retries,
    }
