"""The four shells over both libraries: each kind of client, transport and body, without a network."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.hooks.conftest import Collected, body

from tokenflation.sdk.hooks import install, transport

URL = "http://models.test/v1/chat/completions"
PIECES = (b'data: {"a', b'": 1}\n', b"\ndata: [DO", b"NE]\n\n")


def streaming(lib: Any, error: BaseException | None = None, closed: list[str] | None = None) -> Any:
    """Return a transport whose answers stream PIECES, sync and async alike, and then raise `error` if there is one."""

    class Body(lib.SyncByteStream, lib.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __iter__(self) -> Iterator[bytes]:
            yield from PIECES
            if error is not None:
                raise error

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for piece in PIECES:
                yield piece
            if error is not None:
                raise error

        def close(self) -> None:
            if closed is not None:
                closed.append("close")

        async def aclose(self) -> None:
            self.close()

    return lib.MockTransport(lambda request: lib.Response(200, stream=Body()))


def loaded(lib: Any, **answer: Any) -> Any:
    return lib.MockTransport(lambda request: lib.Response(200, **answer))


def read_sync(lib: Any, inner: Any) -> bytes:
    with lib.Client(transport=inner) as client, client.stream("POST", URL, json={"q": 1}) as response:
        return b"".join(response.iter_raw())


def read_async(lib: Any, inner: Any) -> bytes:
    async def read() -> bytes:
        async with lib.AsyncClient(transport=inner) as client, client.stream("POST", URL, json={"q": 1}) as response:
            return b"".join([chunk async for chunk in response.aiter_raw()])

    return asyncio.run(read())


def post_sync(lib: Any, inner: Any) -> Any:
    with lib.Client(transport=inner) as client:
        return client.post(URL, json={"q": 1})


def post_async(lib: Any, inner: Any) -> Any:
    async def post() -> Any:
        async with lib.AsyncClient(transport=inner) as client:
            return await client.post(URL, json={"q": 1})

    return asyncio.run(post())


READERS = pytest.mark.parametrize("read", [read_sync, read_async])
POSTERS = pytest.mark.parametrize("post", [post_sync, post_async])
Shell = Callable[[Any, Any], Any]


@READERS
def test_a_streamed_body_is_recorded_chunk_by_chunk(read: Shell, lib: Any, recorded: Collected) -> None:
    assert read(lib, streaming(lib)) == b"".join(PIECES)
    assert tuple(chunk for _, chunk in recorded.only.chunks) == PIECES
    assert (recorded.only.end, recorded.only.request_body) == ("read", b'{"q":1}')


@POSTERS
def test_an_answer_that_is_already_read_is_recorded_at_once(post: Shell, lib: Any, recorded: Collected) -> None:
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    response = lib.Response(200, content=b'{"a": 1}')
    response.headers.update(headers)  # as a cache gives it back: decoded, with the headers of the wire
    assert post(lib, lib.MockTransport(lambda request: response)).json() == {"a": 1}
    assert body(recorded.only) == b'{"a": 1}'
    assert (recorded.only.end, recorded.only.content_encoding) == ("read", "")


@POSTERS
def test_elapsed_works_as_uninstrumented(post: Shell, lib: Any, recorded: Collected) -> None:
    assert post(lib, streaming(lib)).elapsed.total_seconds() > 0


def test_the_chunk_reaches_the_host_before_the_next_is_asked_for(lib: Any, recorded: Collected) -> None:
    asked: list[int] = []

    class Body(lib.SyncByteStream):  # type: ignore[misc, name-defined]
        def __iter__(self) -> Iterator[bytes]:
            for number in range(3):
                asked.append(number)
                yield b"x"

    with lib.Client(transport=lib.MockTransport(lambda r: lib.Response(200, stream=Body()))) as client:
        response = client.send(client.build_request("POST", URL), stream=True)
        seen = [len(asked) for _ in response.iter_raw()]
    assert seen == [1, 2, 3]


@READERS
def test_the_very_exception_of_a_broken_stream_reaches_the_host(read: Shell, lib: Any, recorded: Collected) -> None:
    error = lib.ReadError("gone")
    with pytest.raises(lib.ReadError) as raised:
        read(lib, streaming(lib, error))
    assert raised.value is error
    assert (recorded.only.end, recorded.only.error_type) == ("failed", "ReadError")
    assert tuple(chunk for _, chunk in recorded.only.chunks) == PIECES


@POSTERS
def test_the_very_exception_of_a_transport_reaches_the_host(post: Shell, lib: Any, recorded: Collected) -> None:
    error = lib.ConnectError("no route")

    def refuse(request: Any) -> Any:
        raise error

    with pytest.raises(lib.ConnectError) as raised:
        post(lib, lib.MockTransport(refuse))
    assert raised.value is error
    assert (recorded.only.end, recorded.only.error_type, recorded.only.status_code) == ("failed", "ConnectError", None)


@READERS
def test_an_interrupt_inside_a_stream_ends_as_cancelled(read: Shell, lib: Any, recorded: Collected) -> None:
    with pytest.raises(KeyboardInterrupt):
        read(lib, streaming(lib, KeyboardInterrupt()))
    assert recorded.only.end == "cancelled"


def read_one_chunk_then_raise(lib: Any, inner: Any, error: BaseException) -> None:
    with lib.Client(transport=inner) as client, client.stream("POST", URL) as response:
        chunks = response.iter_raw()
        next(chunks)
        raise error


def test_an_interrupt_between_two_chunks_ends_as_cancelled(lib: Any, recorded: Collected) -> None:
    with pytest.raises(KeyboardInterrupt):
        read_one_chunk_then_raise(lib, streaming(lib), KeyboardInterrupt())
    assert (recorded.only.end, recorded.only.error_type) == ("cancelled", "KeyboardInterrupt")


def test_a_host_that_fails_between_two_chunks_ends_as_closed(lib: Any, recorded: Collected) -> None:
    closed: list[str] = []
    with pytest.raises(ZeroDivisionError):
        read_one_chunk_then_raise(lib, streaming(lib, closed=closed), ZeroDivisionError())
    assert (recorded.only.end, recorded.only.error_type) == ("closed", None)
    assert "close" in closed


def test_an_answer_dropped_unread_ends_as_dropped(lib: Any, recorded: Collected) -> None:
    with lib.Client(transport=streaming(lib)) as client:
        response = client.send(client.build_request("POST", URL), stream=True)
        assert recorded.ends == []
        del response
        gc.collect()
    assert recorded.ends == ["dropped"]


def test_an_async_answer_dropped_halfway_ends(lib: Any, recorded: Collected) -> None:
    async def drop() -> None:
        async with lib.AsyncClient(transport=streaming(lib)) as client:
            response = await client.send(client.build_request("POST", URL), stream=True)
            async for _ in response.aiter_raw():
                break
            del response
            gc.collect()
            await asyncio.sleep(0)

    asyncio.run(drop())
    gc.collect()
    assert recorded.only.end in {"closed", "dropped"}
    assert body(recorded.only) == PIECES[0]


def test_an_answer_closed_halfway_ends_with_the_last_byte_that_was_read(lib: Any, recorded: Collected) -> None:
    with lib.Client(transport=streaming(lib)) as client:
        response = client.send(client.build_request("POST", URL), stream=True)
        next(response.iter_raw())
        response.close()
    assert recorded.only.ended_at_ns == recorded.only.chunks[-1][0]


@READERS
def test_traffic_that_is_no_model_call_is_not_touched(read: Shell, lib: Any, recorded: Collected) -> None:
    with lib.Client(transport=streaming(lib)) as client:
        for method, path in (("POST", "/v1/traces"), ("GET", "/v1/chat/completions"), ("POST", "/v1/files")):
            with client.stream(method, f"http://models.test{path}") as response:
                assert type(response.stream).__module__.startswith(lib.__name__)
                response.read()
    assert not recorded.exchanges


def test_clients_made_before_and_after_are_recorded(lib: Any, collected: Collected) -> None:
    with lib.Client(transport=loaded(lib, json={})) as before:
        undo = install(collected.tap)
        with lib.Client(transport=loaded(lib, json={})) as after:
            before.post(URL)
            after.post(URL)
            undo()
            before.post(URL)
            after.post(URL)
    assert len(collected.exchanges) == 2


def test_an_asgi_app_is_recorded(lib: Any, recorded: Collected) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"answer"})

    assert post_async(lib, lib.ASGITransport(app=app)).text == "answer"
    assert (body(recorded.only), recorded.only.content_type) == (b"answer", "text/plain")


def test_a_subclass_of_a_client_is_recorded_once(lib: Any, recorded: Collected) -> None:
    class Mine(lib.Client):  # type: ignore[misc, name-defined]
        def _send_single_request(self, request: Any) -> Any:
            return super()._send_single_request(request)

    with Mine(transport=loaded(lib, json={})) as client:
        client.post(URL)
    assert recorded.only.end == "read"


def test_an_authentication_round_and_a_repeated_request_are_recorded_each(lib: Any, recorded: Collected) -> None:
    def answer(request: Any) -> Any:
        challenge = {"www-authenticate": 'Digest realm="r", nonce="n", algorithm=MD5'}
        return lib.Response(200) if "authorization" in request.headers else lib.Response(401, headers=challenge)

    with lib.Client(transport=lib.MockTransport(answer), auth=lib.DigestAuth("u", "p")) as client:
        client.send(client.build_request("POST", URL, json={}))
    assert [exchange.status_code for exchange in recorded.exchanges] == [401, 200]


def test_a_streaming_request_body_is_passed_on_as_it_is(lib: Any, recorded: Collected) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"q":'
        yield b" 2}"

    arrived: list[bytes] = []

    class Sink(lib.BaseTransport):  # type: ignore[misc, name-defined]
        def handle_request(self, request: Any) -> Any:
            arrived.extend(request.stream)
            return lib.Response(200, json={})

    with lib.Client(transport=Sink()) as client:
        client.post(URL, content=pieces())
    assert arrived == [b'{"q":', b" 2}"]
    assert recorded.only.request_body is None


@READERS
def test_a_wrapped_transport_records_without_any_patch(read: Shell, lib: Any, collected: Collected) -> None:
    assert read(lib, transport(streaming(lib), lambda: collected.tap)) == b"".join(PIECES)
    assert tuple(chunk for _, chunk in collected.only.chunks) == PIECES


@READERS
def test_a_wrapped_transport_under_a_patched_client_records_once(read: Shell, lib: Any, recorded: Collected) -> None:
    read(lib, transport(transport(streaming(lib), lambda: recorded.tap), lambda: recorded.tap))
    assert recorded.only.end == "read"


@POSTERS
def test_a_wrapped_transport_without_a_tap_only_passes_on(post: Shell, lib: Any) -> None:
    assert post(lib, transport(loaded(lib, text="t"), lambda: None)).text == "t"


def test_a_wrapped_transport_is_what_the_inner_one_is(lib: Any, collected: Collected) -> None:
    closed: list[str] = []

    class Inner(lib.BaseTransport):  # type: ignore[misc, name-defined]
        colour = "red"

        def close(self) -> None:
            closed.append("closed")

    wrapped = transport(Inner(), lambda: collected.tap)
    assert isinstance(wrapped, lib.BaseTransport)
    assert not isinstance(wrapped, lib.AsyncBaseTransport)
    assert wrapped.colour == "red"
    with lib.Client(transport=wrapped):
        pass
    assert closed == ["closed"]


def test_one_request_that_four_threads_send_at_once_is_four(lib: Any, recorded: Collected) -> None:
    together = threading.Barrier(4)

    def answer(request: Any) -> Any:
        together.wait(10)
        return lib.Response(200, json={})

    with lib.Client(transport=lib.MockTransport(answer)) as client, ThreadPoolExecutor(4) as pool:
        request = client.build_request("POST", URL, json={"q": 1})
        list(pool.map(client.send, [request] * 4))
    assert len(recorded.exchanges) == 4


def test_one_request_that_four_tasks_send_at_once_is_four(lib: Any, recorded: Collected) -> None:
    async def send() -> None:
        together = asyncio.Barrier(4)

        async def answer(request: Any) -> Any:
            await together.wait()
            return lib.Response(200, json={})

        inner = transport(lib.MockTransport(answer), lambda: recorded.tap)
        async with lib.AsyncClient(transport=inner) as client:
            request = client.build_request("POST", URL, json={"q": 1})
            await asyncio.gather(*(client.send(request) for _ in range(4)))

    asyncio.run(send())
    assert len(recorded.exchanges) == 4


def test_a_task_that_a_transport_leaves_behind_keeps_nothing_of_the_call(lib: Any, recorded: Collected) -> None:
    async def send() -> list[weakref.ref[Any]]:
        left: list[asyncio.Future[None]] = []

        async def answer(request: Any) -> Any:
            left.append(asyncio.ensure_future(asyncio.Event().wait()))  # type: ignore[arg-type]
            return lib.Response(200, json={})

        async with lib.AsyncClient(transport=lib.MockTransport(answer)) as client:
            request = client.build_request("POST", URL, json={"q": 1})
            await client.send(request)
        held = [weakref.ref(request), weakref.ref(recorded.exchanges.pop())]
        del request
        gc.collect()
        assert not left[0].done()
        return [one for one in held if one() is not None]

    assert asyncio.run(send()) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://models.test:8080/v1/chat/completions?api-version=1",
        "http://models.test/model/anthropic.claude%3A0/converse",
        "http://xn--mgbh0fb.test/v1/messages",
        "http://[::1]/v1/messages",
    ],
)
def test_host_and_path_are_what_the_library_says(lib: Any, recorded: Collected, url: str) -> None:
    with lib.Client(transport=loaded(lib, content=b"{}")) as client:
        client.post(url, json={"q": 1})
    asked = lib.URL(url)
    assert (recorded.only.host, recorded.only.path) == (asked.host, asked.path)
