"""aiohttp: however the host reads an answer, one exchange holds what arrived, and the host sees no difference."""

import asyncio
import contextlib
import sqlite3
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import pytest
from google import genai
from tests.hooks.conftest import Collected, body
from tests.providers import DEFAULT_TEXT, Provider

import tokenflation.sdk as tf
from tokenflation.sdk.exchange import Exchange, Tap
from tokenflation.sdk.hooks import aiohttp as hook
from tokenflation.sdk.hooks import install

PATH = "/v1/chat/completions"
OWNERS = {
    aiohttp.BaseConnector: ("connect",),
    aiohttp.ClientRequest: ("send",),
    aiohttp.ClientResponse: ("start",),
    aiohttp.client_proto.ResponseHandler: ("set_response_params",),
    aiohttp.StreamReader: ("feed_data", "feed_eof", "set_exception", "_wait"),
}


def ask(text: str = "hi", **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def run(provider: Provider, host: Callable[[aiohttp.ClientSession, str], Awaitable[Any]], **options: Any) -> Any:
    """Run a host's coroutine over a session and the address of the chat endpoint."""

    async def main() -> Any:
        async with aiohttp.ClientSession(**options) as session:
            return await host(session, provider.url + PATH)

    return asyncio.run(main())


async def read(response: aiohttp.ClientResponse) -> bytes:
    return await response.read()


async def text(response: aiohttp.ClientResponse) -> bytes:
    return (await response.text()).encode()


async def lines(response: aiohttp.ClientResponse) -> bytes:
    return b"".join([line async for line in response.content])


async def iter_any(response: aiohttp.ClientResponse) -> bytes:
    return b"".join([chunk async for chunk in response.content.iter_any()])


async def iter_chunked(response: aiohttp.ClientResponse) -> bytes:
    return b"".join([chunk async for chunk in response.content.iter_chunked(7)])


async def iter_chunks(response: aiohttp.ClientResponse) -> bytes:
    return b"".join([chunk async for chunk, _ in response.content.iter_chunks()])


async def read_some(response: aiohttp.ClientResponse) -> bytes:
    got = await response.content.readexactly(3)
    while piece := await response.content.read(5):
        got += piece
    return got


async def readline(response: aiohttp.ClientResponse) -> bytes:
    got = b""
    while line := await response.content.readline():
        got += line
    return got


READERS = [read, text, lines, iter_any, iter_chunked, iter_chunks, read_some, readline]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@pytest.mark.parametrize("encoding", ["", "[[gzip:1]]"], ids=["plain", "gzip"])
def test_the_body_is_recorded_whichever_way_the_host_reads(
    encoding: str, reader: Any, stream: bool, provider: Provider, recorded: Collected
) -> None:
    async def host(session: aiohttp.ClientSession, url: str) -> bytes:
        async with session.post(url, json=ask(encoding, stream=stream)) as response:
            return await reader(response)  # type: ignore[no-any-return]

    got = run(provider, host)
    exchange = recorded.only
    assert got
    assert body(exchange) == got
    assert (exchange.api, exchange.host, exchange.path) == ("openai.chat", "127.0.0.1", PATH)
    assert (exchange.status_code, exchange.end, exchange.content_encoding) == (200, "read", "")
    assert exchange.request_body == provider.requests[0].raw
    assert not exchange.request_headers
    assert exchange.context == "scope"


def test_a_whole_answer_may_be_read_as_json(provider: Provider, recorded: Collected) -> None:
    async def host(session: aiohttp.ClientSession, url: str) -> Any:
        response = await session.post(url, json=ask())
        return (await response.json())["choices"][0]["message"]["content"]

    assert run(provider, host) == DEFAULT_TEXT
    assert recorded.ends == ["read"]


def test_a_stream_arrives_in_many_chunks_each_with_its_time(provider: Provider, recorded: Collected) -> None:
    async def host(session: aiohttp.ClientSession, url: str) -> None:
        async with session.post(url, json=ask("[[slow:0.001]]", stream=True)) as response:
            await response.read()

    run(provider, host)
    times = [time_ns for time_ns, _ in recorded.only.chunks]
    assert len(times) > 20
    assert recorded.only.started_at_ns <= times[0]
    assert times == sorted(times)
    assert times[-1] - times[0] > 20_000_000


def test_without_decompression_the_bytes_and_their_encoding_are_recorded_as_they_came(
    provider: Provider, recorded: Collected
) -> None:
    async def host(session: aiohttp.ClientSession, url: str) -> bytes:
        async with session.post(url, json=ask("[[gzip:1]]"), auto_decompress=False) as response:
            first = await response.read()
        async with session.post(url, json=ask("[[gzip:1]]")) as response:
            return first + await response.read()

    got = run(provider, host)
    first, second = recorded.exchanges
    assert body(first) + body(second) == got
    assert (first.content_encoding, second.content_encoding) == ("gzip", "")
    assert DEFAULT_TEXT.split()[-1] in zlib.decompressobj(wbits=31).decompress(body(first)).decode()


async def pieces() -> AsyncIterator[bytes]:
    yield b'{"model": "m", '
    yield b'"messages": [{"role": "user", "content": "hi"}]}'


def multipart() -> aiohttp.FormData:
    form = aiohttp.FormData()
    form.add_field("file", b"x", filename="x.bin")
    return form


RAW = b'{"model": "m", "messages": [{"role": "user", "content": "na\xc3\xafve"}]}'


@pytest.mark.parametrize(
    ("make", "kept"),
    [(lambda: RAW, RAW), (lambda: bytearray(RAW), RAW), (lambda: RAW.decode(), RAW), (pieces, None)],
    ids=["bytes", "bytearray", "str", "async iterator"],
)
def test_request_bodies_in_memory_are_kept_and_streams_are_not(
    make: Any, kept: bytes | None, provider: Provider, recorded: Collected
) -> None:
    async def host(session: aiohttp.ClientSession, url: str) -> int:
        async with session.post(url, data=make(), headers={"content-type": "application/json"}) as response:
            await response.read()
            return response.status

    assert run(provider, host) == 200
    assert recorded.only.request_body == kept
    assert provider.requests[0].body["model"] == "m"


def test_a_multipart_form_is_not_kept(provider: Provider, recorded: Collected) -> None:
    async def host(session: aiohttp.ClientSession, url: str) -> None:
        await session.post(url, data=multipart())

    with pytest.raises(aiohttp.ServerDisconnectedError):  # the provider reads JSON only
        run(provider, host)
    assert recorded.only.request_body is None
    assert (recorded.only.end, recorded.only.error_type) == ("failed", "ServerDisconnectedError")


def test_a_body_that_aiohttp_compresses_is_kept_as_the_host_gave_it(provider: Provider, recorded: Collected) -> None:
    async def host(session: aiohttp.ClientSession, url: str) -> None:
        await session.post(url, data=RAW, compress="gzip")

    with pytest.raises(aiohttp.ServerDisconnectedError):  # the provider reads no gzip
        run(provider, host)
    assert recorded.only.request_body == RAW


def test_secrets_in_headers_and_other_traffic_are_not_touched(provider: Provider, recorded: Collected) -> None:
    async def host(session: aiohttp.ClientSession, url: str) -> Any:
        async with session.post(url + "?key=s3cret", json=ask(), headers={"x-api-key": "s3cret"}) as response:
            await response.read()
        async with session.get(url) as response:
            kind = type(response.content)
            await response.read()
        return kind

    assert run(provider, host) is aiohttp.StreamReader
    assert "s3cret" not in repr(recorded.only)


def test_a_redirect_is_no_exchange_of_its_own(provider: Provider, recorded: Collected) -> None:
    async def host(session: aiohttp.ClientSession, url: str) -> Any:
        async with session.post(url, json=ask("[[redirect:307]]")) as response:
            return len(response.history), await response.read()

    assert run(provider, host)[0] == 1
    assert recorded.only.status_code == 200
    assert recorded.only.request_body == provider.requests[1].raw


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_stream_cut_anywhere_is_recorded_byte_for_byte(size: int, provider: Provider, recorded: Collected) -> None:
    async def host(session: aiohttp.ClientSession, url: str) -> bytes:
        async with session.post(url, json=ask(f"[[pieces:{size}]] [[gzip:1]]", stream=True)) as response:
            assert isinstance(response.content, aiohttp.StreamReader)
            return b"".join([line async for line in response.content])

    got = run(provider, host)
    assert got.endswith(b"data: [DONE]\n\n")
    assert body(recorded.only) == got


def test_each_request_that_a_middleware_sends_is_an_exchange(provider: Provider, recorded: Collected) -> None:
    async def again(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
        first = await handler(request)
        assert first.status == 503
        await first.read()
        return await handler(request)  # type: ignore[no-any-return]

    async def host(session: aiohttp.ClientSession, url: str) -> int:
        async with session.post(url, json=ask("[[status:503x1]]")) as response:
            await response.read()
            return response.status

    assert run(provider, host, middlewares=(again,)) == 200
    assert [exchange.status_code for exchange in recorded.exchanges] == [503, 200]
    assert recorded.ends == ["read", "read"]


def test_a_call_is_stored_with_the_providers_own_counts(provider: Provider, tmp_path: Path) -> None:
    async def host(session: aiohttp.ClientSession, url: str) -> None:
        async with session.post(url, json=ask(stream=True, stream_options={"include_usage": True})) as response:
            await response.read()

    store = tmp_path / "runs.db"
    with tf.instrument(store):
        run(provider, host)
    with contextlib.closing(sqlite3.connect(store)) as connection:
        query = "SELECT api, model, input_tokens, cache_read_tokens, output_tokens, status, stream FROM calls"
        assert connection.execute(query).fetchall() == [("openai.chat", "m", 200, 64, 150, "ok", 1)]


def test_a_session_made_before_is_recorded_and_undoing_restores_the_identical_classes(
    provider: Provider, collected: Collected
) -> None:
    before = {(owner, name): owner.__dict__[name] for owner, names in OWNERS.items() for name in names}

    async def host(session: aiohttp.ClientSession, url: str) -> None:
        undo = install(collected.tap)
        assert aiohttp.ClientResponse.__dict__["start"] is not before[aiohttp.ClientResponse, "start"]
        await (await session.post(url, json=ask())).read()
        pending = await session.post(url, json=ask("[[hold:1]] [[pieces:400]]", stream=True))
        undo()
        provider.release()
        await pending.read()
        await (await session.post(url, json=ask())).read()

    run(provider, host)
    assert {(owner, name): owner.__dict__[name] for owner, name in before} == before
    assert collected.ends == ["read", "read"]
    assert len(provider.requests) == 3


def test_a_version_without_what_we_need_is_left_alone_and_counted_once(
    provider: Provider, collected: Collected, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(aiohttp.StreamReader, "_wait")
    monkeypatch.delattr(aiohttp.ClientRequest, "send")
    undo = install(collected.tap)
    undo()
    assert collected.failures == ["hook_missing"]
    assert [record.message for record in caplog.records if "aiohttp.client_reqrep.ClientRequest.send" in record.message]


def raising(*_: object, **__: object) -> Any:
    raise RuntimeError("ours")


OURS = [
    (Tap, "begin"),
    (Exchange, "answer"),
    (Exchange, "add"),
    (Exchange, "finish"),
    (hook, "recognise"),
    (hook, "passed_on"),
    (hook, "_body"),
    (hook, "_answered"),
    (hook, "_tapped_class"),
    (hook, "end_by"),
    (hook, "_broke"),
    (hook._Body, "end"),
]


@pytest.mark.parametrize(("owner", "name"), OURS, ids=[f"{owner.__name__}.{name}" for owner, name in OURS])
def test_the_host_gets_its_answers_and_its_exceptions_whatever_of_ours_raises(
    owner: Any, name: str, provider: Provider, recorded: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, raising)

    async def host(session: aiohttp.ClientSession, url: str) -> tuple[bytes, str]:
        async with session.post(url, json=ask("[[slow:0.001]]", stream=True)) as response:
            whole = await response.read()
        async with session.post(url, json=ask("[[cut:300]] [[slow:0.001]]", stream=True)) as response:
            with pytest.raises(aiohttp.ClientPayloadError) as raised:
                await response.read()
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.post("http://127.0.0.1:9" + PATH, json=ask())
        async with session.post(url, json=ask("[[hold:1]] [[pieces:400]]", stream=True)) as response:
            await response.content.readline()
        return whole, str(raised.value)

    whole, message = run(provider, host)
    assert whole.endswith(b"data: [DONE]\n\n")
    assert "ours" not in message
    assert set(recorded.failures) == {"hook_error"}


async def _gemini(provider: Provider, prompt: str, stream: bool) -> str | None:
    options: Any = {"base_url": provider.url}
    async with genai.Client(api_key="k", http_options=options).aio as client:
        if not stream:
            return (await client.models.generate_content(model="m", contents=prompt)).text
        chunks = await client.models.generate_content_stream(model="m", contents=prompt)
        return "".join([chunk.text or "" async for chunk in chunks])


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")  # google-genai's own
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("encoding", ["hi", "[[gzip:1]]"], ids=["plain", "gzip"])
def test_googles_client_over_aiohttp_leaves_one_exchange(
    encoding: str, stream: bool, provider: Provider, recorded: Collected
) -> None:
    assert asyncio.run(_gemini(provider, encoding, stream)) == DEFAULT_TEXT
    exchange = recorded.only
    assert (exchange.api, exchange.status_code, exchange.end) == ("google.generate_content", 200, "read")
    assert exchange.request_body == provider.requests[0].raw
    assert b"usageMetadata" in body(exchange)


def test_anthropics_client_over_aiohttp_is_recorded_once(provider: Provider, recorded: Collected) -> None:
    async def call() -> str:
        http = anthropic.DefaultAioHttpClient()
        client = anthropic.AsyncAnthropic(base_url=provider.url, api_key="k", http_client=http)
        prompt: Any = [{"role": "user", "content": "hi"}]
        async with client, client.messages.stream(model="m", max_tokens=9, messages=prompt) as stream:
            return await stream.get_final_text()

    assert asyncio.run(call()) == DEFAULT_TEXT
    assert recorded.only.api == "anthropic.messages"
    assert recorded.only.end in ("read", "closed")


def test_concurrent_calls_are_recorded_apart(provider: Provider, recorded: Collected) -> None:
    async def host(session: aiohttp.ClientSession, url: str) -> None:
        async def one(number: int) -> None:
            async with session.post(url, json=ask(f"[[say:{number}]]", stream=True)) as response:
                await response.read()

        await asyncio.gather(*(one(number) for number in range(20)))

    run(provider, host)
    assert {e.request_body for e in recorded.exchanges} == {request.raw for request in provider.requests}
    for exchange in recorded.exchanges:
        number = str(exchange.request_body).partition("say:")[2].partition("]]")[0]
        assert f'"{number}"'.encode() in body(exchange) or number.encode() in body(exchange)
