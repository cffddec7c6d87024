"""How an answer over aiohttp ends for its host: read, closed, dropped, cancelled, timed out, broken; so recorded."""

import asyncio
import gc
import socket
from typing import Any

import aiohttp
import pytest
from tests.hooks.conftest import Collected, body
from tests.hooks.test_aiohttp import PATH, ask, lines, read, run
from tests.providers import Provider


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
