"""The vendors' own clients, against a provider on loopback: every exchange is recorded, the host sees none of it."""

import asyncio
import zlib
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from google import genai
from tests.hooks.conftest import Collected, body
from tests.providers import DEFAULT_TEXT, Provider

from tokenflation.sdk.exchange import Exchange


def ask(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def unzipped(exchange: Exchange) -> str:
    # openai's stream stops reading at [DONE], before the trailer of the gzip member: gzip.decompress would refuse it.
    return zlib.decompressobj(wbits=31).decompress(body(exchange)).decode()


def openai_client(provider: Provider) -> openai.OpenAI:
    return openai.OpenAI(base_url=provider.openai_url, api_key="k")


def anthropic_client(provider: Provider) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=provider.url, api_key="k")


def google_client(provider: Provider) -> genai.Client:
    return genai.Client(api_key="k", http_options={"base_url": provider.url})


def chat(provider: Provider, prompt: str = "hi") -> Any:
    with openai_client(provider) as client:
        return client.chat.completions.create(model="m", messages=ask(prompt)).choices[0].message.content


def chat_stream(provider: Provider, prompt: str = "hi") -> Any:
    with openai_client(provider) as client:
        chunks = list(client.chat.completions.create(model="m", messages=ask(prompt), stream=True))
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def responses(provider: Provider, prompt: str = "hi") -> Any:
    with openai_client(provider) as client:
        return client.responses.create(model="m", input=prompt).output_text


def responses_stream(provider: Provider, prompt: str = "hi") -> Any:
    with openai_client(provider) as client, client.responses.stream(model="m", input=prompt) as stream:
        return stream.get_final_response().output_text


def messages(provider: Provider, prompt: str = "hi") -> Any:
    with anthropic_client(provider) as client:
        return client.messages.create(model="m", max_tokens=9, messages=ask(prompt)).content[0].text  # type: ignore[union-attr]


def messages_stream(provider: Provider, prompt: str = "hi") -> Any:
    with (
        anthropic_client(provider) as client,
        client.messages.stream(model="m", max_tokens=9, messages=ask(prompt)) as stream,
    ):
        return stream.get_final_text()


def gemini(provider: Provider, prompt: str = "hi") -> Any:
    with google_client(provider) as client:
        return client.models.generate_content(model="m", contents=prompt).text


def gemini_stream(provider: Provider, prompt: str = "hi") -> Any:
    with google_client(provider) as client:
        return "".join(c.text or "" for c in client.models.generate_content_stream(model="m", contents=prompt))


async def _chat(provider: Provider, prompt: str) -> Any:
    async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="k") as client:
        return (await client.chat.completions.create(model="m", messages=ask(prompt))).choices[0].message.content


async def _messages_stream(provider: Provider, prompt: str) -> Any:
    async with (
        anthropic.AsyncAnthropic(base_url=provider.url, api_key="k") as client,
        client.messages.stream(model="m", max_tokens=9, messages=ask(prompt)) as stream,
    ):
        return await stream.get_final_text()


async def _gemini_stream(provider: Provider, prompt: str) -> Any:
    # Where aiohttp is installed, google-genai would take it instead: that is another hook's traffic.
    options: Any = {"base_url": provider.url, "httpx_async_client": httpx2.AsyncClient()}
    async with options["httpx_async_client"], genai.Client(api_key="k", http_options=options).aio as client:
        chunks = await client.models.generate_content_stream(model="m", contents=prompt)
        return "".join([chunk.text or "" async for chunk in chunks])


def async_chat(provider: Provider, prompt: str = "hi") -> Any:
    return asyncio.run(_chat(provider, prompt))


def async_messages_stream(provider: Provider, prompt: str = "hi") -> Any:
    return asyncio.run(_messages_stream(provider, prompt))


def async_gemini_stream(provider: Provider, prompt: str = "hi") -> Any:
    return asyncio.run(_gemini_stream(provider, prompt))


CLIENTS = {
    chat: "openai.chat",
    chat_stream: "openai.chat",
    async_chat: "openai.chat",
    responses: "openai.responses",
    responses_stream: "openai.responses",
    messages: "anthropic.messages",
    messages_stream: "anthropic.messages",
    async_messages_stream: "anthropic.messages",
    gemini: "google.generate_content",
    gemini_stream: "google.generate_content",
    async_gemini_stream: "google.generate_content",
}


@pytest.mark.parametrize("call", CLIENTS, ids=lambda call: call.__name__)
def test_each_client_gets_its_answer_and_leaves_one_exchange_with_the_whole_body(
    call: Any, provider: Provider, recorded: Collected
) -> None:
    assert call(provider) == DEFAULT_TEXT
    exchange = recorded.only
    assert (exchange.api, exchange.host, exchange.status_code) == (CLIENTS[call], "127.0.0.1", 200)
    assert exchange.request_body == provider.requests[0].raw
    assert DEFAULT_TEXT.split()[-1].encode() in body(exchange)
    assert exchange.context == "scope"
    assert exchange.ended_at_ns is not None
    assert exchange.started_at_ns <= exchange.chunks[0][0] <= exchange.chunks[-1][0] <= exchange.ended_at_ns


@pytest.mark.parametrize("call", CLIENTS, ids=lambda call: call.__name__)
def test_gzip_bodies_are_recorded_as_they_came_and_read_by_the_host(
    call: Any, provider: Provider, recorded: Collected
) -> None:
    assert call(provider, "[[gzip:1]]") == DEFAULT_TEXT
    exchange = recorded.only
    assert exchange.content_encoding == "gzip"
    assert DEFAULT_TEXT.split()[-1] in unzipped(exchange)


def test_a_stream_arrives_in_many_chunks_each_with_its_time(provider: Provider, recorded: Collected) -> None:
    chat_stream(provider)
    times = [time_ns for time_ns, _ in recorded.only.chunks]
    assert len(times) > 20
    assert times == sorted(times)


def test_no_secret_header_is_kept(provider: Provider, recorded: Collected) -> None:
    chat(provider)
    messages(provider)
    gemini(provider)
    for exchange in recorded.exchanges:
        assert set(exchange.request_headers) <= {"x-stainless-retry-count"}


@pytest.mark.parametrize("call", [chat, messages, async_chat], ids=lambda call: call.__name__)
def test_two_refusals_and_an_answer_are_three_exchanges_in_order(
    call: Any, provider: Provider, recorded: Collected
) -> None:
    assert call(provider, "[[status:429x2]]") == DEFAULT_TEXT
    assert [exchange.status_code for exchange in recorded.exchanges] == [429, 429, 200]
    assert [e.request_headers["x-stainless-retry-count"] for e in recorded.exchanges] == ["0", "1", "2"]
    assert not recorded.failures


def test_an_error_answer_is_recorded_and_raised(provider: Provider, recorded: Collected) -> None:
    with openai_client(provider) as client, pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(model="m", messages=ask("[[status:401]]"))
    assert recorded.only.status_code == 401
    assert b"authentication_error" in body(recorded.only)


def test_a_redirect_is_no_exchange_of_its_own(provider: Provider, recorded: Collected) -> None:
    assert chat(provider, "[[redirect:307]]") == DEFAULT_TEXT
    assert [request.status for request in provider.requests] == [307, 200]
    assert recorded.only.status_code == 200
    assert recorded.only.request_body == provider.requests[1].raw


def test_a_stream_closed_after_one_event_ends_as_closed(provider: Provider, recorded: Collected) -> None:
    with openai_client(provider) as client:
        stream = client.chat.completions.create(model="m", messages=ask("[[hold:1]] [[pieces:400]]"), stream=True)
        next(iter(stream))
        stream.close()
    assert recorded.only.end == "closed"
    assert b"[DONE]" not in body(recorded.only)


def test_an_async_stream_left_after_one_event_ends_as_closed(provider: Provider, recorded: Collected) -> None:
    async def leave() -> None:
        async with anthropic.AsyncAnthropic(base_url=provider.url, api_key="k") as client:
            stream = await client.messages.create(
                model="m", max_tokens=9, messages=ask("hi [[slow:0.001]]"), stream=True
            )
            async with stream:
                async for _ in stream:
                    break

    asyncio.run(leave())
    assert recorded.only.end == "closed"
    assert b"message_stop" not in body(recorded.only)


def test_a_cancelled_stream_ends_as_cancelled(provider: Provider, recorded: Collected) -> None:
    async def read(started: asyncio.Event) -> None:
        async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="k") as client:
            prompt = ask("[[hold:1]] [[pieces:400]]")
            async for _ in await client.chat.completions.create(model="m", messages=prompt, stream=True):
                started.set()

    async def cancel() -> None:
        started = asyncio.Event()
        task = asyncio.create_task(read(started))
        await started.wait()
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    assert (recorded.only.end, recorded.only.error_type) == ("cancelled", "CancelledError")


@pytest.mark.parametrize("call", [chat_stream, messages_stream, gemini_stream], ids=lambda call: call.__name__)
def test_a_stream_cut_by_the_network_ends_as_failed_and_raises_what_it_would(
    call: Any, provider: Provider, recorded: Collected
) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011  # each client has its own
        call(provider, "[[cut:300]]")
    causes = {type(raised.value).__name__, type(raised.value.__cause__).__name__}
    assert "RemoteProtocolError" in causes
    assert (recorded.only.end, recorded.only.error_type) == ("failed", "RemoteProtocolError")
    assert len(body(recorded.only)) == 300


def test_raw_and_streaming_responses_behave_as_uninstrumented(provider: Provider, recorded: Collected) -> None:
    with openai_client(provider) as client:
        raw = client.chat.completions.with_raw_response.create(model="m", messages=ask("hi"))
        assert raw.headers["x-request-id"] == "req_1"
        assert raw.parse().choices[0].message.content == DEFAULT_TEXT
        assert raw.elapsed.total_seconds() > 0
        assert raw.http_response.is_closed
        with client.chat.completions.with_streaming_response.create(model="m", messages=ask("hi")) as response:
            assert response.http_response.is_closed is False
            text = "".join(response.iter_text())
        assert text.endswith("}")
        assert response.elapsed.total_seconds() > 0
    assert recorded.ends == ["read", "read"]


def test_a_raw_response_of_a_stream_parses_into_the_clients_own_stream(provider: Provider, recorded: Collected) -> None:
    with openai_client(provider) as client:
        raw = client.chat.completions.with_raw_response.create(model="m", messages=ask("hi"), stream=True)
        stream = raw.parse()
        assert isinstance(stream, openai.Stream)
        assert len(list(stream)) > 5
        assert isinstance(client.chat.completions.create(model="m", messages=ask("hi"), stream=True), openai.Stream)
    assert body(recorded.exchanges[0]).rstrip().endswith(b"[DONE]")


@pytest.mark.parametrize("vendor", [openai, anthropic], ids=["openai", "anthropic"])
def test_the_vendors_own_aiohttp_transport_is_recorded(vendor: Any, provider: Provider, recorded: Collected) -> None:
    pytest.importorskip("aiohttp", reason="aiohttp is not installed; the vendors' aiohttp transports need it")

    async def call() -> Any:
        http = vendor.DefaultAioHttpClient()
        if vendor is openai:
            async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="k", http_client=http) as client:
                answer = await client.chat.completions.create(model="m", messages=ask("[[gzip:1]]"))
                return answer.choices[0].message.content
        other = anthropic.AsyncAnthropic(base_url=provider.url, api_key="k", http_client=http)
        prompt = ask("[[gzip:1]]")
        async with other, other.messages.stream(model="m", max_tokens=9, messages=prompt) as stream:
            return await stream.get_final_text()

    assert asyncio.run(call()) == DEFAULT_TEXT
    assert DEFAULT_TEXT.split()[-1] in unzipped(recorded.only)
