"""aiohttp: however the host reads an answer, one exchange holds what arrived, and the host sees no difference."""

import asyncio
import gc
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import anthropic
import pytest
from google import genai
from tests.hooks.conftest import Collected, body
from tests.providers import DEFAULT_TEXT, Provider

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


async def json_again(response: aiohttp.ClientResponse) -> bytes:
    await response.json(content_type=None)
    return await response.read()


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
    assert set(exchange.request_headers) == {"content-type"}
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
    assert "content-encoding" not in recorded.only.request_headers


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


def test_an_error_that_raise_for_status_raises_is_recorded(provider: Provider, recorded: Collected) -> None:
    async def host(session: aiohttp.ClientSession, url: str) -> None:
        await session.post(url, json=ask("[[status:429]]"))

    with pytest.raises(aiohttp.ClientResponseError):
        run(provider, host, raise_for_status=True)
    assert recorded.only.status_code == 429
    assert recorded.only.end in ("read", "closed")


def test_a_stream_closed_after_one_line_ends_as_closed(provider: Provider, recorded: Collected) -> None:
    async def host(session: aiohttp.ClientSession, url: str) -> None:
        async with session.post(url, json=ask("[[hold:1]] [[pieces:400]]", stream=True)) as response:
            async for _ in response.content:
                break

    run(provider, host)
    assert recorded.only.end == "closed"
    assert 0 < len(body(recorded.only)) <= 400


def test_a_response_that_nobody_keeps_ends_as_dropped(provider: Provider, recorded: Collected) -> None:
    async def host(session: aiohttp.ClientSession, url: str) -> None:
        await (await session.post(url, json=ask("[[hold:1]] [[pieces:400]]", stream=True))).content.readline()
        gc.collect()
        await asyncio.sleep(0)  # the connection learns that it is closed

    run(provider, host)
    gc.collect()
    assert recorded.only.end == "dropped"


async def _within(session: aiohttp.ClientSession, url: str, started: asyncio.Event) -> None:
    async with session.post(url, json=ask("[[hold:1]] [[pieces:400]]", stream=True)) as response:
        async for _ in response.content:
            started.set()


async def _without(session: aiohttp.ClientSession, url: str, started: asyncio.Event) -> None:
    response = await session.post(url, json=ask("[[hold:1]] [[pieces:400]]", stream=True))
    async for _ in response.content:
        started.set()


@pytest.mark.parametrize("reading", [_within, _without], ids=["in a with block", "left to the collector"])
def test_a_cancelled_stream_ends_as_cancelled(reading: Any, provider: Provider, recorded: Collected) -> None:
    async def host(session: aiohttp.ClientSession, url: str) -> None:
        started = asyncio.Event()
        task = asyncio.create_task(reading(session, url, started))
        await started.wait()
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        gc.collect()
        await asyncio.sleep(0.01)

    run(provider, host)
    gc.collect()
    assert (recorded.only.end, recorded.only.error_type) == ("cancelled", "CancelledError")


def test_a_request_cancelled_before_its_answer_ends_as_cancelled(recorded: Collected) -> None:
    async def host(session: aiohttp.ClientSession, url: str) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.post(url, json=ask()), 0.05)

    with_silence(host)
    assert (recorded.only.end, recorded.only.status_code) == ("cancelled", None)


TIMEOUTS = {
    "total": (aiohttp.ClientTimeout(total=0.1), "TimeoutError"),
    "sock_read": (aiohttp.ClientTimeout(sock_read=0.1), "SocketTimeoutError"),
}


def with_silence(host: Any) -> None:
    """Run a host against a server that never answers: the kernel takes the connection, and nobody reads from it."""

    async def main(url: str) -> None:
        async with aiohttp.ClientSession() as session:
            await host(session, url)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        asyncio.run(main(f"http://127.0.0.1:{silent.getsockname()[1]}{PATH}"))


@pytest.mark.parametrize("kind", TIMEOUTS)
def test_a_timeout_before_the_answer_is_a_failure_by_its_name(kind: str, recorded: Collected) -> None:
    timeout, name = TIMEOUTS[kind]

    async def host(session: aiohttp.ClientSession, url: str) -> None:
        with pytest.raises(TimeoutError):
            await session.post(url, json=ask(), timeout=timeout)

    with_silence(host)
    assert (recorded.only.end, recorded.only.error_type) == ("failed", name)
    assert recorded.only.status_code is None


@pytest.mark.parametrize("kind", TIMEOUTS)
@pytest.mark.parametrize("reader", [read, lines], ids=["read", "lines"])
def test_a_timeout_within_the_answer_is_a_failure_by_its_name(
    reader: Any, kind: str, provider: Provider, recorded: Collected
) -> None:
    timeout, name = TIMEOUTS[kind]

    async def host(session: aiohttp.ClientSession, url: str) -> None:
        prompt = ask("[[hold:1]] [[pieces:400]]", stream=True)
        async with session.post(url, json=prompt, timeout=timeout) as response:
            await reader(response)

    with pytest.raises(TimeoutError):
        run(provider, host)
    assert (recorded.only.end, recorded.only.error_type) == ("failed", name)
    assert body(recorded.only)


def test_a_read_given_up_by_wait_for_and_taken_up_again_is_read_to_its_end(
    provider: Provider, recorded: Collected
) -> None:
    async def host(session: aiohttp.ClientSession, url: str) -> None:
        async with session.post(url, json=ask("[[hold:1]] [[pieces:400]]", stream=True)) as response:
            await response.content.readany()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(response.content.readany(), 0.02)
            provider.release()
            await response.content.readany()

    run(provider, host)
    assert recorded.only.end in ("read", "closed")


def test_a_stream_cut_by_the_network_ends_as_failed_and_raises_what_it_would(
    provider: Provider, recorded: Collected
) -> None:
    async def host(session: aiohttp.ClientSession, url: str) -> None:
        async with session.post(url, json=ask("[[cut:300]]", stream=True)) as response:
            await response.read()

    with pytest.raises(aiohttp.ClientPayloadError):
        run(provider, host)
    assert (recorded.only.end, recorded.only.error_type) == ("failed", "ClientPayloadError")
    assert len(body(recorded.only)) == 300


def test_a_server_that_nobody_runs_is_a_failed_exchange(recorded: Collected, provider: Provider) -> None:
    async def host(session: aiohttp.ClientSession, url: str) -> None:
        await session.post("http://127.0.0.1:9" + PATH, json=ask())

    with pytest.raises(aiohttp.ClientConnectorError):
        run(provider, host)
    assert (recorded.only.end, recorded.only.error_type) == ("failed", "ClientConnectorError")


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
    (hook, "underway"),
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
