"""Realtime over aiohttp's sockets: each response of a model is one exchange there, too."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import aiohttp
import pytest
from tests.hooks.conftest import Collected
from tests.hooks.test_websockets import USAGE, Realtime, raising

from tokenflation.sdk.exchange import Exchange, Tap
from tokenflation.sdk.hooks import install
from tokenflation.sdk.hooks.sessions import RealtimeSession, Session

HOOKED = ("send_str", "receive", "close")


@pytest.fixture
def realtime() -> Iterator[Realtime]:
    with Realtime() as running:
        yield running


def run(realtime: Realtime, host: Callable[[Any], Awaitable[Any]], path: str = "/v1/realtime?model=gpt-x") -> Any:
    async def main() -> Any:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"http://{realtime.address}{path}") as socket:
            return await host(socket)

    return asyncio.run(main())


async def ask(socket: Any, wish: str, until: str = "response.done") -> list[str]:
    """Ask for a response, read until an event of this type, and return the types."""
    await socket.send_json({"type": "response.create", "response": {"instructions": wish}})
    types: list[str] = []
    async for message in socket:
        types.append(json.loads(message.data)["type"])
        if types[-1] == until:
            break
    return types


def test_each_response_of_a_socket_is_one_exchange(realtime: Realtime, recorded: Collected) -> None:
    async def host(socket: Any) -> list[str]:
        return await ask(socket, "first") + await ask(socket, "second")

    assert run(realtime, host).count("response.done") == 2
    assert recorded.ends == ["read", "read"]
    assert not recorded.failures
    for exchange in recorded.exchanges:
        said = [json.loads(chunk) for _, chunk in exchange.chunks]
        assert said[0]["type"] == "response.created"
        assert said[-1]["response"]["usage"] == USAGE
        assert json.loads(exchange.request_body or b"")["model"] == "gpt-x"


@pytest.mark.parametrize("wish", ["drop", "close"])
def test_a_socket_that_breaks_within_a_response_leaves_a_failed_exchange(
    wish: str, realtime: Realtime, recorded: Collected
) -> None:
    run(realtime, lambda socket: ask(socket, wish))
    assert recorded.only.end == "failed"
    assert recorded.only.chunks


def test_a_host_that_leaves_or_is_cancelled_is_recorded_so(realtime: Realtime, recorded: Collected) -> None:
    async def cancelled(socket: Any) -> None:
        asyncio.get_running_loop().call_later(0.2, asyncio.current_task().cancel)  # type: ignore[union-attr]
        await ask(socket, "hang")

    run(realtime, lambda socket: ask(socket, "hang", until="response.output_text.delta"))
    with contextlib.suppress(asyncio.CancelledError):
        run(realtime, cancelled)
    assert recorded.ends == ["closed", "cancelled"]


def test_other_sockets_are_not_looked_at(
    realtime: Realtime, recorded: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "__init__", raising)
    assert run(realtime, lambda socket: ask(socket, ""), "/v1/chatter")[-1] == "response.done"
    assert not recorded.exchanges
    assert not recorded.failures


def test_a_socket_opened_before_is_recorded_and_undoing_restores_the_identical_methods(
    realtime: Realtime, collected: Collected
) -> None:
    before = {name: aiohttp.ClientWebSocketResponse.__dict__[name] for name in HOOKED}

    async def host(socket: Any) -> None:
        undo = install(collected.tap)
        await ask(socket, "first")
        await ask(socket, "hang", until="response.output_text.delta")
        undo()
        assert {name: aiohttp.ClientWebSocketResponse.__dict__[name] for name in HOOKED} == before
        await ask(socket, "second")

    run(realtime, host)
    assert collected.ends == ["read", "closed"]


OURS = [
    (Tap, "begin"),
    (Exchange, "add"),
    (Exchange, "finish"),
    (RealtimeSession, "__init__"),
    (RealtimeSession, "sent"),
    (RealtimeSession, "received"),
    (Session, "end"),
]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("owner", "name"), OURS, ids=[f"{owner.__name__}.{name}" for owner, name in OURS])
def test_the_host_gets_its_events_whatever_of_ours_raises(
    owner: Any, name: str, realtime: Realtime, recorded: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, raising)
    assert run(realtime, lambda socket: ask(socket, "first"))[-1] == "response.done"
    assert set(recorded.failures) <= {"hook_error"}


def test_a_version_without_what_we_need_is_left_alone_and_counted_once(
    collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiohttp.ClientWebSocketResponse, "receive", None)
    install(collected.tap)()
    assert collected.failures == ["hook_missing"]
