"""The scenarios of `litellm`: OpenAI's dialect through openai, Anthropic's and Gemini's through its own clients.

Its async calls go by aiohttp, below httpx's interface.
"""

import asyncio
import atexit
import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # its import would fetch a price list

import litellm
from tests.matrix.clients.shared import TOOLS, ask, awaited, cancel, plain, same_prompts

__all__ = ["DISTRIBUTION", "SCENARIOS"]

DISTRIBUTION = "litellm"
litellm.suppress_debug_info = True
litellm.telemetry = False
# It keeps its clients, and a worker of its own, for later calls: they must find the same loop again.
_LOOP = asyncio.new_event_loop()
_RUN = _LOOP.run_until_complete


@atexit.register
def _end() -> None:
    """End the worker's task with its loop: left to the interpreter's end, it can crash it."""
    for task in asyncio.all_tasks(_LOOP):
        task.cancel()
    _RUN(asyncio.sleep(0.05))
    _LOOP.close()


_USAGE = {"stream": True, "stream_options": {"include_usage": True}}


def _to(url: str, prompt: str, model: str = "openai/m-1", **more: Any) -> dict[str, Any]:
    bases = {"openai": f"{url}/v1", "anthropic": url, "gemini": f"{url}/v1beta"}
    options = {"model": model, "api_base": bases[model.partition("/")[0]], "api_key": "k", "max_retries": 0}
    return {**options, "messages": ask(prompt), **more}


def _known(answer: Any) -> Any:
    """Return an answer without what litellm makes up itself, differently each time."""
    seen = answer.model_dump() if hasattr(answer, "model_dump") else dict(answer)
    return plain({key: value for key, value in seen.items() if key not in ("id", "created")})


def _tool_names(answer: Any) -> list[str]:
    return [call.function.name for call in answer.choices[0].message.tool_calls]


def _chat(url: str, prompt: str) -> Any:
    return _known(litellm.completion(**_to(url, prompt)))


def _stream(url: str, prompt: str) -> Any:
    return [_known(chunk) for chunk in litellm.completion(**_to(url, prompt, **_USAGE))]


def _tools(url: str, prompt: str) -> Any:
    return _tool_names(litellm.completion(**_to(url, prompt, tools=TOOLS)))


def _embeddings(url: str, prompt: str) -> Any:
    answer = litellm.embedding(model="openai/m-1", input=[prompt], api_base=f"{url}/v1", api_key="k")
    return plain(answer.usage.prompt_tokens)


def _anthropic_chat(url: str, prompt: str) -> Any:
    return _known(litellm.completion(**_to(url, prompt, "anthropic/m-1")))


def _anthropic_stream(url: str, prompt: str) -> Any:
    return [_known(chunk) for chunk in litellm.completion(**_to(url, prompt, "anthropic/m-1", **_USAGE))]


def _google_chat(url: str, prompt: str) -> Any:
    return _known(litellm.completion(**_to(url, prompt, "gemini/m-1")))


def _retries(url: str, prompt: str) -> Any:
    return _known(litellm.completion(**_to(url, prompt, max_retries=2)))


async def _async_chat(url: str, prompt: str) -> Any:
    return _known(await litellm.acompletion(**_to(url, prompt)))


async def _async_stream(url: str, prompt: str) -> Any:
    return [_known(chunk) async for chunk in await litellm.acompletion(**_to(url, prompt, **_USAGE))]


async def _async_anthropic_chat(url: str, prompt: str) -> Any:
    return _known(await litellm.acompletion(**_to(url, prompt, "anthropic/m-1")))


async def _async_anthropic_stream(url: str, prompt: str) -> Any:
    chunks = await litellm.acompletion(**_to(url, prompt, "anthropic/m-1", **_USAGE))
    return [_known(chunk) async for chunk in chunks]


async def _async_google_stream(url: str, prompt: str) -> Any:
    return [_known(chunk) async for chunk in await litellm.acompletion(**_to(url, prompt, "gemini/m-1", **_USAGE))]


async def _read(url: str, prompt: str, started: Callable[[], None]) -> None:
    async for _ in await litellm.acompletion(**_to(url, prompt, **_USAGE)):
        started()


async def _async_retries(url: str, prompt: str) -> Any:
    return _known(await litellm.acompletion(**_to(url, prompt, max_retries=2)))


async def _parallel(url: str, prompt: str) -> Any:
    calls = [litellm.acompletion(**_to(url, one)) for one in same_prompts(prompt)]
    return [_known(answer) for answer in await asyncio.gather(*calls)]


SCENARIOS = {
    "chat": _chat,
    "stream": _stream,
    "async_chat": awaited(_async_chat, _RUN),
    "async_stream": awaited(_async_stream, _RUN),
    "tools": _tools,
    "embeddings": _embeddings,
    "anthropic_chat": _anthropic_chat,
    "anthropic_stream": _anthropic_stream,
    "async_anthropic_chat": awaited(_async_anthropic_chat, _RUN),
    "async_anthropic_stream": awaited(_async_anthropic_stream, _RUN),
    "google_chat": _google_chat,
    "async_google_stream": awaited(_async_google_stream, _RUN),
    "gzip": _stream,
    "parallel": awaited(_parallel, _RUN),
    "cancelled": cancel(_read, _RUN),
    "broken": _stream,
    "retries": _retries,
    "async_retries": awaited(_async_retries, _RUN),
    "refused": _chat,
    "failed": _chat,
    "failed_thrice": _retries,
}
