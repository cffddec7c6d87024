"""Realtime over websockets: each response of a model is one exchange, with what the server said of it."""

import asyncio
import contextlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import openai
import pytest
import websockets
import websockets.protocol
from tests.hooks.conftest import Collected
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

import tokenflation.sdk as tf
from tokenflation.sdk.exchange import Exchange, Tap
from tokenflation.sdk.hooks import install, sessions
from tokenflation.sdk.hooks.sessions import RealtimeSession, Session

# openai's own way to connect
pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")

HOOKED = ("send_text", "send_close", "events_received", "receive_eof", "fail")
USAGE = {
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {"text_tokens": 119, "audio_tokens": 13, "cached_tokens": 64},
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}
"""As in the example of platform.openai.com/docs/api-reference/realtime-server-events/response/done."""


@dataclass
class Realtime:
    """A realtime endpoint on loopback; the `instructions` of a `response.create` say what becomes of that response."""

    received: list[dict[str, Any]] = field(default_factory=list)
    responses: int = 0
    left: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._server = serve(self._talk, "127.0.0.1", 0)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.address = f"127.0.0.1:{self._server.socket.getsockname()[1]}"
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()

    def _talk(self, socket: ServerConnection) -> None:
        session = {"id": "sess_1", "model": "gpt-realtime", "instructions": "Be brief.", "tools": []}
        send(socket, type="session.created", session=session)
        for raw in socket:
            event = json.loads(raw)
            self.received.append(event)
            if event["type"] == "response.create":
                self._respond(socket, event.get("response", {}).get("instructions", ""))
            elif event["type"] == "input_audio_buffer.append" and event["audio"] == "silence":
                send(socket, type="input_audio_buffer.speech_stopped", item_id="item_9")
                self._respond(socket, "")
        self.left.set()

    def _respond(self, socket: ServerConnection, wish: str) -> None:
        if wish == "refuse":
            error = {"type": "invalid_request_error", "code": "bad", "message": "no"}
            send(socket, type="error", error=error)
            return
        self.responses += 1
        names = [f"resp_{self.responses}"]
        if wish == "two":
            self.responses += 1
            names.append(f"resp_{self.responses}")
        for name in names:
            send(socket, type="response.created", response={"id": name, "status": "in_progress", "usage": None})
        for word in ("The ", 'answer "response.done" ', "is ", "42."):
            for name in names:
                send(socket, type="response.output_text.delta", response_id=name, item_id="item_1", delta=word)
            if wish == "hang":
                return
            if wish == "drop":
                socket.socket.shutdown(2)
                return
            if wish == "close":
                socket.close(1011, "overloaded")
                return
        send(socket, type="rate_limits.updated", rate_limits=[])
        for name in reversed(names):
            done = {"id": name, "object": "realtime.response", "status": "completed", "output": [], "usage": USAGE}
            send(socket, type="response.done", response=done)


def send(socket: ServerConnection, **event: Any) -> None:
    socket.send(json.dumps({"event_id": "event_1", **event}))


@pytest.fixture
def realtime() -> Iterator[Realtime]:
    with Realtime() as running:
        yield running


def client(realtime: Realtime) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"http://{realtime.address}/v1", api_key="s3cret")


def async_client(realtime: Realtime) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"http://{realtime.address}/v1", api_key="s3cret")


def text_item(text: str) -> Any:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def talk(realtime: Realtime, *wishes: str) -> None:
    """Ask for a response for each wish, one after the other, and read each to its end."""
    with client(realtime) as openai_client, openai_client.realtime.connect(model="gpt-realtime") as connection:
        for wish in wishes:
            connection.conversation.item.create(item=text_item(f"hi {wish}"))
            connection.response.create(response={"instructions": wish})
            for event in connection:
                if event.type in ("response.done", "error"):
                    break


def talk_async(realtime: Realtime, *wishes: str) -> None:
    async def main() -> None:
        async with (
            async_client(realtime) as openai_client,
            openai_client.realtime.connect(model="gpt-realtime") as connection,
        ):
            for wish in wishes:
                await connection.conversation.item.create(item=text_item(f"hi {wish}"))
                await connection.response.create(response={"instructions": wish})
                async for event in connection:
                    if event.type in ("response.done", "error"):
                        break

    asyncio.run(main())


def messages(exchange: Exchange) -> list[dict[str, Any]]:
    return [json.loads(chunk) for _, chunk in exchange.chunks]


TALKS = pytest.mark.parametrize("talking", [talk, talk_async], ids=["sync", "async"])


@TALKS
def test_each_response_of_a_connection_is_one_exchange_with_its_own_messages(
    talking: Callable[..., None], realtime: Realtime, recorded: Collected
) -> None:
    talking(realtime, "first", "second")
    assert recorded.ends == ["read", "read"]
    assert not recorded.failures
    for number, exchange in enumerate(recorded.exchanges, 1):
        said = messages(exchange)
        assert [event["type"] for event in said] == [
            "response.created",
            *["response.output_text.delta"] * 4,
            "response.done",
        ]
        assert said[-1]["response"]["usage"] == USAGE
        assert {event.get("response_id", f"resp_{number}") for event in said} == {f"resp_{number}"}
        assert (exchange.api, exchange.method, exchange.path) == ("openai.realtime", "GET", "/v1/realtime")
        assert (exchange.host, exchange.status_code, exchange.context) == ("127.0.0.1", 200, "scope")
        times = [exchange.started_at_ns, *(time_ns for time_ns, _ in exchange.chunks), exchange.ended_at_ns]
        assert times == sorted(times)  # type: ignore[type-var]


@TALKS
def test_the_request_holds_model_settings_and_what_the_host_said_since_the_response_before(
    talking: Callable[..., None], realtime: Realtime, recorded: Collected
) -> None:
    talking(realtime, "first", "second")
    for wish, exchange in zip(("first", "second"), recorded.exchanges, strict=True):
        request = json.loads(exchange.request_body or b"")
        assert request["model"] == "gpt-realtime"
        assert request["session"]["instructions"] == "Be brief."
        assert [item["content"][0]["text"] for item in request["input"]] == [f"hi {wish}"]
        assert "s3cret" not in repr(exchange)


def test_two_responses_at_a_time_are_told_apart(realtime: Realtime, recorded: Collected) -> None:
    talk(realtime, "two")
    realtime.left.wait(5)
    done = [exchange for exchange in recorded.exchanges if exchange.end == "read"]
    assert len(recorded.exchanges) == 2
    for exchange in done:
        names = {event.get("response_id") or event["response"]["id"] for event in messages(exchange)}
        assert len(names) == 1
        assert len(exchange.chunks) == 6


def test_a_response_that_the_server_begins_by_itself_is_recorded_without_the_audio(
    realtime: Realtime, recorded: Collected
) -> None:
    with client(realtime) as openai_client, openai_client.realtime.connect(model="gpt-realtime") as connection:
        for audio in ("AAAA", "AAAA", "silence"):
            connection.input_audio_buffer.append(audio=audio)
        next(event for event in connection if event.type == "response.done")
    exchange = recorded.only
    assert exchange.end == "read"
    assert exchange.context == "scope"
    assert b"AAAA" not in (exchange.request_body or b"")
    assert exchange.chunks[0][0] - exchange.started_at_ns < 1_000_000


@pytest.mark.parametrize("wish", ["drop", "close"])
@TALKS
def test_a_connection_that_breaks_within_a_response_leaves_a_failed_exchange(
    talking: Callable[..., None], wish: str, realtime: Realtime, recorded: Collected
) -> None:
    with pytest.raises(websockets.ConnectionClosedError):
        talking(realtime, "first", wish)
    assert recorded.ends == ["read", "failed"]
    assert recorded.exchanges[1].error_type == "ConnectionClosedError"
    assert [event["type"] for event in messages(recorded.exchanges[1])][:1] == ["response.created"]


def until_text(connection: Any) -> None:
    connection.response.create(response={"instructions": "hang"})
    next(event for event in connection if event.type == "response.output_text.delta")


def test_a_host_that_leaves_within_a_response_leaves_a_closed_exchange(realtime: Realtime, recorded: Collected) -> None:
    with client(realtime) as openai_client, openai_client.realtime.connect(model="m") as connection:
        until_text(connection)
    assert recorded.only.end == "closed"
    assert len(recorded.only.chunks) == 2


def test_a_cancelled_host_leaves_a_cancelled_exchange(realtime: Realtime, recorded: Collected) -> None:
    async def host(started: asyncio.Event) -> None:
        async with async_client(realtime) as openai_client, openai_client.realtime.connect(model="m") as connection:
            await connection.response.create(response={"instructions": "hang"})
            async for event in connection:
                if event.type == "response.output_text.delta":
                    started.set()

    async def main() -> None:
        started = asyncio.Event()
        task = asyncio.create_task(host(started))
        await started.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert (recorded.only.end, recorded.only.error_type) == ("cancelled", "CancelledError")


def test_a_refused_response_is_an_answer_with_an_error_and_the_next_is_not(
    realtime: Realtime, recorded: Collected
) -> None:
    talk(realtime, "refuse", "second")
    refused, answered = recorded.exchanges
    assert [event["type"] for event in messages(refused)] == ["error"]
    assert messages(answered)[0]["type"] == "response.created"
    assert recorded.ends == ["read", "read"]


def test_other_sockets_are_not_looked_at(
    realtime: Realtime, recorded: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RealtimeSession, "received", raising)
    monkeypatch.setattr(RealtimeSession, "sent", raising)
    with connect(f"ws://{realtime.address}/v1/chatter") as socket:
        socket.send('{"type": "response.create"}')
        for raw in socket:
            if json.loads(raw)["type"] == "response.done":
                break
    assert not recorded.exchanges
    assert not recorded.failures


def test_a_connection_made_before_is_recorded_and_undoing_restores_the_identical_methods(
    realtime: Realtime, collected: Collected
) -> None:
    protocol = websockets.protocol.Protocol
    before = {name: protocol.__dict__[name] for name in HOOKED}
    with client(realtime) as openai_client, openai_client.realtime.connect(model="m") as connection:
        next(event for event in connection if event.type == "session.created")
        undo = install(collected.tap)
        connection.response.create()
        next(event for event in connection if event.type == "response.done")
        until_text(connection)
        undo()
        assert {name: protocol.__dict__[name] for name in HOOKED} == before
        connection.response.create()
        next(event for event in connection if event.type == "response.done")
    assert collected.ends == ["read", "closed"]


def test_a_version_without_what_we_need_is_left_alone_and_counted_once(
    collected: Collected, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(websockets.protocol.Protocol, "events_received")
    install(collected.tap)()
    assert collected.failures == ["hook_missing"]
    assert [record for record in caplog.records if "events_received" in record.message]


def raising(*_: object, **__: object) -> Any:
    raise RuntimeError("ours")


OURS = [
    (Tap, "begin"),
    (Exchange, "add"),
    (Exchange, "finish"),
    (RealtimeSession, "__init__"),
    (RealtimeSession, "sent"),
    (Session, "events"),
    (Session, "end"),
    (sessions, "_parsed"),
]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("owner", "name"), OURS, ids=[f"{owner.__name__}.{name}" for owner, name in OURS])
@TALKS
def test_the_host_gets_its_events_and_its_exceptions_whatever_of_ours_raises(
    talking: Callable[..., None],
    owner: Any,
    name: str,
    realtime: Realtime,
    recorded: Collected,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owner, name, raising)
    talking(realtime, "first", "second")
    with pytest.raises(websockets.ConnectionClosedError) as raised:
        talking(realtime, "drop")
    assert "ours" not in str(raised.value)
    assert set(recorded.failures) == {"hook_error"}


def test_a_call_is_stored_with_the_counts_of_response_done(realtime: Realtime, tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    with tf.instrument(store, task="voice"):
        talk(realtime, "first", "second")
    with contextlib.closing(sqlite3.connect(store)) as connection:
        query = "SELECT api, model, input_tokens, cache_read_tokens, output_tokens, status, stream FROM calls"
        rows = connection.execute(query).fetchall()
    assert rows == [("openai.realtime", "gpt-realtime", 132, 64, 121, "ok", 1)] * 2


def test_the_responses_of_a_session_are_steps_of_one_agent_run_and_invent_no_parts(
    realtime: Realtime, tmp_path: Path
) -> None:
    store = tmp_path / "runs.db"
    with tf.instrument(store):
        talk(realtime, "first", "second", "third")
        talk(realtime, "first")
    with contextlib.closing(sqlite3.connect(store)) as connection:
        query = "SELECT task_id, step, continues_evidence, new_tokens IS NULL FROM calls ORDER BY started_at_ns"
        rows = connection.execute(query).fetchall()
    named = "conversation_id"
    assert [row[1:] for row in rows] == [(0, None, 0), (1, named, 1), (2, named, 1), (0, None, 0)]
    assert [row[0] == rows[0][0] for row in rows] == [True, True, True, False]
