"""The scenarios of the client `openai`, from 1.0 on."""

from typing import Any

import openai
from pydantic import BaseModel
from tests.matrix.clients.shared import TOOLS, ask, awaited, chat_scenarios, has, plain

__all__ = ["DISTRIBUTION", "SCENARIOS"]

DISTRIBUTION = "openai"
_FLAT_TOOLS: list[Any] = [{"type": "function", **tool["function"], "strict": False} for tool in TOOLS]


class _Answer(BaseModel):
    answer: int


def _client(url: str, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="k", **options)


def _async_client(url: str, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", **options)


def _chat(client: Any, name: str) -> Any:
    """Return a method of chat completions that was in beta for a while."""
    owner = client.chat.completions
    return getattr(owner, name, None) or has(client, f"beta.chat.completions.{name}")


def _stream_without_usage(url: str, prompt: str) -> Any:
    with _client(url) as client:
        chunks = client.chat.completions.create(model="m-1", messages=ask(prompt), stream=True)
        return [plain(chunk) for chunk in chunks]


def _helper(url: str, prompt: str) -> Any:
    with _client(url) as client:
        method = _chat(client, "stream")
        with method(model="m-1", messages=ask(prompt), stream_options={"include_usage": True}) as stream:
            kinds = [event.type for event in stream]
            return [kinds, plain(stream.get_final_completion())]


async def _async_helper(url: str, prompt: str) -> Any:
    async with _async_client(url) as client:
        method = _chat(client, "stream")
        async with method(model="m-1", messages=ask(prompt), stream_options={"include_usage": True}) as stream:
            kinds = [event.type async for event in stream]
            return [kinds, plain(await stream.get_final_completion())]


def _parse(url: str, prompt: str) -> Any:
    with _client(url) as client:
        done = _chat(client, "parse")(model="m-1", messages=ask(prompt), response_format=_Answer)
        return [done.choices[0].message.parsed.answer, plain(done.usage)]


def _responses(url: str, prompt: str) -> Any:
    with _client(url) as client:
        return plain(has(client, "responses").create(model="m-1", input=prompt))


def _responses_stream(url: str, prompt: str) -> Any:
    with _client(url) as client:
        return [plain(event) for event in has(client, "responses").create(model="m-1", input=prompt, stream=True)]


def _responses_helper(url: str, prompt: str) -> Any:
    with _client(url) as client, has(client, "responses.stream")(model="m-1", input=prompt) as stream:
        return [[event.type for event in stream], plain(stream.get_final_response())]


def _responses_tools(url: str, prompt: str) -> Any:
    with _client(url) as client:
        return plain(has(client, "responses").create(model="m-1", input=prompt, tools=_FLAT_TOOLS))


def _embeddings(url: str, prompt: str) -> Any:
    with _client(url) as client:
        return plain(client.embeddings.create(model="m-1", input=prompt, encoding_format="float"))


SCENARIOS = {
    # extra_body, because the first versions know no stream_options.
    **chat_scenarios(_client, _async_client, extra_body={"stream_options": {"include_usage": True}}),
    "stream_without_usage": _stream_without_usage,
    "helper": _helper,
    "async_helper": awaited(_async_helper),
    "parse": _parse,
    "responses": _responses,
    "responses_stream": _responses_stream,
    "responses_helper": _responses_helper,
    "responses_tools": _responses_tools,
    "embeddings": _embeddings,
}
