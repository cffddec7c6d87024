"""Whatever of ours raises, the host gets the answer or the exception it would have got without us."""

import _thread
import asyncio
import functools
import socket
import threading
from typing import Any

import pytest
from tests.hooks.conftest import Collected
from tests.hooks.test_shells import PIECES, POSTERS, READERS, URL, Shell, loaded, streaming

from tokenflation.sdk import exchange
from tokenflation.sdk.exchange import Exchange, Tap
from tokenflation.sdk.hooks import bodies, httpx, install


def raising(*_: object, **__: object) -> Any:
    raise RuntimeError("ours")


OURS = [
    (Tap, "begin"),
    (Exchange, "answer"),
    (Exchange, "seal"),
    (Exchange, "finish"),
    (httpx, "recognise"),
    (httpx, "tapped"),
    (httpx, "_picked"),
    (httpx, "_request_body"),
]
ENDING = [(bodies, "end_by"), (bodies, "end_by_close")]


@READERS
@pytest.mark.parametrize(("owner", "name"), OURS, ids=[name for _, name in OURS])
def test_a_stream_is_read_whole_whatever_of_ours_raises(
    owner: Any, name: str, read: Shell, lib: Any, recorded: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, raising)
    assert read(lib, streaming(lib)) == b"".join(PIECES)
    assert set(recorded.failures) == {"hook_error"}


@READERS
@pytest.mark.parametrize("name", ["add", "room"])
def test_a_stream_is_read_whole_though_a_chunk_of_a_long_one_cannot_be_noted(
    name: str, read: Shell, lib: Any, recorded: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "Exchange", functools.partial(Exchange, pack_at_bytes=1))
    monkeypatch.setattr(Exchange, name, raising)
    assert read(lib, streaming(lib)) == b"".join(PIECES)
    assert set(recorded.failures) == {"hook_error"}


@pytest.mark.parametrize(("owner", "name"), ENDING, ids=[name for _, name in ENDING])
def test_a_stream_is_closed_early_whatever_of_ours_raises(
    owner: Any, name: str, lib: Any, recorded: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, raising)
    closed: list[str] = []

    async def leave_early() -> None:
        transport = streaming(lib, closed=closed)
        async with lib.AsyncClient(transport=transport) as client, client.stream("POST", URL) as response:
            assert await anext(response.aiter_raw()) == PIECES[0]

    with lib.Client(transport=streaming(lib, closed=closed)) as client, client.stream("POST", URL) as response:
        assert next(response.iter_raw()) == PIECES[0]
    asyncio.run(leave_early())
    assert closed == ["close", "close"]
    assert set(recorded.failures) == {"hook_error"}


@READERS
@pytest.mark.parametrize(("owner", "name"), [*OURS, *ENDING], ids=[name for _, name in [*OURS, *ENDING]])
def test_the_hosts_exception_passes_whatever_of_ours_raises(
    owner: Any, name: str, read: Shell, lib: Any, recorded: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, raising)
    error = lib.ReadError("the host's")
    with pytest.raises(lib.ReadError) as raised:
        read(lib, streaming(lib, error))
    assert raised.value is error
    assert raised.value.__context__ is None


@POSTERS
@pytest.mark.parametrize("part", ["submit", "context", "failed"])
def test_a_tap_that_raises_is_not_noticed(part: str, post: Shell, lib: Any) -> None:
    parts: dict[str, Any] = {"submit": raising, "context": raising, "failed": lambda reason: None}
    undo = install(Tap(**{**parts, part: raising}))
    assert post(lib, loaded(lib, json={"a": 1})).json() == {"a": 1}
    assert post(lib, streaming(lib)).content == b"".join(PIECES)
    undo()


def test_an_interrupt_that_hits_our_code_is_the_hosts(lib: Any, recorded: Collected, monkeypatch: Any) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Exchange, "finish", interrupted)
    with lib.Client(transport=streaming(lib)) as client, pytest.raises(KeyboardInterrupt):
        client.post("http://models.test/v1/responses")


def test_concurrent_calls_are_recorded_apart(lib: Any, recorded: Collected) -> None:
    async def many() -> None:
        async with lib.AsyncClient(transport=streaming(lib)) as client:
            await asyncio.gather(
                *(client.post("http://models.test/v1/responses", json={"n": number}) for number in range(50))
            )

    asyncio.run(many())
    assert {exchange.request_body for exchange in recorded.exchanges} == {b'{"n":%d}' % n for n in range(50)}
    assert recorded.ends == ["read"] * 50


def test_a_name_that_a_bare_thread_looks_up_is_met_as_any_other(
    collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: looked_up.set())
    undo = install(collected.tap)
    _thread.start_new_thread(socket.getaddrinfo, ("api.openai.com", 443))  # no frame of Python stands above the look-up
    assert looked_up.wait(10)
    undo()
    assert collected.failures == ["unseen:api.openai.com"]
