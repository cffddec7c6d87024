"""The Responses API over a socket, and frames as they may come: each answer is one exchange."""

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.hooks.conftest import Collected
from websockets.sync.server import ServerConnection, serve

import tokenflation.sdk as tf
from tokenflation.sdk.hooks.sessions import RealtimeSession, ResponsesSession, session_for

# openai's own way to connect
pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")

USAGE = {
    "input_tokens": 36,
    "input_tokens_details": {"cached_tokens": 16},
    "output_tokens": 87,
    "output_tokens_details": {"reasoning_tokens": 40},
    "total_tokens": 123,
}


def respond(socket: ServerConnection, number: int, asked: dict[str, Any]) -> None:
    """Answer one request of the Responses API over a socket; `user` says what goes wrong."""
    lane = {"stream_id": asked["stream_id"]} if "stream_id" in asked else {}
    if asked.get("user") == "refuse":
        error = {"type": "invalid_request_error", "code": "previous_response_not_found", "message": "no"}
        socket.send(json.dumps({"type": "error", "status": 400, "error": error, **lane}))
        return
    base = {"id": f"resp_{number}", "object": "response", "model": "gpt-x-1", "output": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "content": [], "status": "in_progress"}
    done = {**item, "content": [{"type": "output_text", "text": "42", "annotations": []}], "status": "completed"}
    at = {"item_id": "msg_1", "output_index": 0}
    for event in (
        {"type": "response.created", "response": {**base, "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_text.delta", **at, "content_index": 0, "delta": '"response.completed" 42'},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {"type": "response.completed", "response": {**base, "status": "completed", "output": [done], "usage": USAGE}},
    ):
        socket.send(json.dumps({**event, **lane}))


@pytest.fixture
def address() -> Iterator[str]:
    """Run a server of the Responses API over sockets on loopback and yield its address."""

    def talk(socket: ServerConnection) -> None:
        for number, raw in enumerate(socket, 1):
            respond(socket, number, json.loads(raw))

    with serve(talk, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}/v1"
        server.shutdown()
        thread.join()


def ask(address: str, *requests: dict[str, Any]) -> list[str]:
    """Send requests one after the other and return the types of the last events."""
    last = []
    with openai.OpenAI(base_url=address, api_key="s3cret") as client, client.responses.connect() as connection:
        for request in requests:
            connection.response.create(model="gpt-x", input="hi", **request)
            for event in connection:
                if event.type in ("response.completed", "error"):
                    last.append(event.type)
                    break
    return last


def test_each_answer_of_the_responses_api_over_a_socket_is_one_exchange(address: str, recorded: Collected) -> None:
    assert ask(address, {}, {"previous_response_id": "resp_1"}) == ["response.completed"] * 2
    assert recorded.ends == ["read", "read"]
    assert not recorded.failures
    for number, exchange in enumerate(recorded.exchanges, 1):
        said = [json.loads(chunk) for _, chunk in exchange.chunks]
        assert (exchange.api, exchange.path, exchange.status_code) == ("openai.responses", "/v1/responses", 200)
        assert json.loads(exchange.request_body or b"")["input"] == "hi"
        assert [said[0]["response"]["id"], said[-1]["response"]["id"]] == [f"resp_{number}"] * 2
        assert len(said) == 5
        assert "s3cret" not in repr(exchange)


def test_a_refused_request_is_an_exchange_with_its_status(address: str, recorded: Collected) -> None:
    assert ask(address, {"user": "refuse"}, {}) == ["error", "response.completed"]
    assert [exchange.status_code for exchange in recorded.exchanges] == [400, 200]
    assert recorded.ends == ["read", "read"]


def test_a_call_over_a_socket_is_stored_with_the_providers_own_counts(address: str, tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    with tf.instrument(store):
        ask(address, {}, {"user": "refuse"})
    with contextlib.closing(sqlite3.connect(store)) as connection:
        query = "SELECT api, model, input_tokens, cache_read_tokens, output_tokens, reasoning_tokens, status FROM calls"
        rows = connection.execute(query).fetchall()
    assert rows[0] == ("openai.responses", "gpt-x", 36, 16, 87, 40, "ok")
    assert rows[1][-1] == "error"


def test_no_response_is_asked_for_beyond_a_limit_and_the_socket_goes_on(address: str, tmp_path: Path) -> None:
    with (
        tf.instrument(tmp_path / "runs.db") as handle,
        openai.OpenAI(base_url=address, api_key="k") as client,
        client.responses.connect() as connection,
    ):

        def ask_once() -> str:
            connection.response.create(model="gpt-x", input="hi")
            return next(event.response.id for event in connection if event.type == "response.completed")

        with pytest.raises(tf.LimitReached), tf.task("capped", max_calls=1):
            ids = [ask_once() for _ in range(2)]
        ids = [ask_once(), ask_once()]
        assert ids == ["resp_2", "resp_3"]
        assert handle.flush()
        assert (handle.recorded, handle.drops) == (3, {})


def test_lanes_of_one_connection_are_told_apart(collected: Collected) -> None:
    session = session_for(collected.tap, "h", "/v1/responses", "")
    assert session is not None
    for lane in ("a", "b"):
        session.sent(b'{"type": "response.create", "model": "m", "stream_id": "%b"}' % lane.encode())
    for lane in ("b", "a"):
        for name in ("created", "completed"):
            session.received(b'{"type": "response.%b", "stream_id": "%b"}' % (name.encode(), lane.encode()))
    assert [json.loads(exchange.request_body or b"")["stream_id"] for exchange in collected.exchanges] == ["b", "a"]
    for exchange in collected.exchanges:
        assert {json.loads(chunk)["stream_id"] for _, chunk in exchange.chunks} <= {"a", "b"}
        assert len(exchange.chunks) == 2


def test_a_lane_for_each_request_keeps_nothing_of_those_that_are_over(collected: Collected) -> None:
    session = session_for(collected.tap, "api.openai.com", "/v1/responses", "")
    assert isinstance(session, ResponsesSession)
    for number in range(1000):
        session.sent(b'{"type": "response.create", "model": "m", "stream_id": "%d"}' % number)
        if number != 7:
            session.received(b'{"type": "response.completed", "stream_id": "%d"}' % number)
    session.received(b'{"type": "response.completed", "stream_id": "7"}')
    assert len(collected.exchanges) == 1000
    assert len(session._lanes) + len(session._models) < 200


def _steered(collected: Collected, *, asked: bytes = b"") -> None:
    """Steer an answer twice, once in vain; it stops, and another one comes: asked for by the host if `asked` is."""
    session = session_for(collected.tap, "h", "/v1/responses", "")
    assert session is not None
    usage = b'"usage": {"input_tokens": 9, "output_tokens": 4}'
    stopped = b'"status": "incomplete", "incomplete_details": {"reason": "steered"}, ' + usage
    session.sent(b'{"type": "response.create", "model": "m", "input": "plan"}')
    session.received(b'{"type": "response.created", "response": {"id": "resp_1"}}')
    for text in (b'"in two weeks"', b'[{"role": "user", "content": "cheaply"}]'):
        session.sent(b'{"type": "response.steer", "previous_response_id": "resp_1", "input": %b}' % text)
    session.received(b'{"type": "response.steer.accepted", "steer": {"id": "s", "previous_response_id": "resp_1"}}')
    session.received(b'{"type": "response.steer.failed", "error": {"code": "invalid_input", "type": "x"}}')
    session.received(b'{"type": "response.incomplete", "response": {"id": "resp_1", %b}}' % stopped)
    if asked:
        session.sent(asked)
    follower = b'"id": "resp_2", "previous_response_id": "resp_1"'
    session.received(b'{"type": "response.created", "response": {%b}}' % follower)
    session.received(b'{"type": "response.completed", "response": {%b, "status": "completed", %b}}' % (follower, usage))
    session.end("closed")


def test_an_answer_that_goes_on_from_a_steered_one_is_an_exchange_of_its_own(collected: Collected) -> None:
    _steered(collected)

    first, second = collected.exchanges
    assert (collected.ends, collected.failures) == (["read", "read"], [])
    assert json.loads(second.request_body or b"") == {
        "type": "response.create",
        "model": "m",
        "previous_response_id": "resp_1",
        "input": [
            {"type": "message", "role": "user", "content": "in two weeks"},
            {"role": "user", "content": "cheaply"},
        ],
    }
    assert [json.loads(chunk)["type"] for _, chunk in first.chunks] == ["response.created", "response.incomplete"]
    assert [json.loads(chunk)["type"] for _, chunk in second.chunks] == ["response.created", "response.completed"]


def test_a_host_that_goes_on_from_a_steered_answer_itself_asks_once(collected: Collected) -> None:
    asked = b'{"type": "response.create", "model": "m", "previous_response_id": "resp_1", "input": []}'

    _steered(collected, asked=asked)

    assert [exchange.request_body for exchange in collected.exchanges][1:] == [asked]
    assert collected.ends == ["read", "read"]


@dataclass
class Frame:
    opcode: int
    data: bytes
    fin: bool = True


@pytest.mark.parametrize(
    ("settings", "model"),
    [
        ({"audio": {"input": {"transcription": {"model": "t"}}}}, "t"),
        ({"input_audio_transcription": {"model": "t"}}, "t"),
        ({"input_audio_transcription": None}, None),
        ([], None),
    ],
)
def test_the_settings_of_a_realtime_session_name_who_writes_down_what_is_said(
    settings: Any, model: str | None, collected: Collected
) -> None:
    session = RealtimeSession(collected.tap, "h", "/v1/realtime", "model=m")
    session.received(json.dumps({"type": "session.updated", "session": settings}).encode())
    session.received(b'{"type": "conversation.item.input_audio_transcription.failed", "item_id": "i"}')
    assert json.loads(collected.only.request_body or b"")["model"] == model


def test_a_fragmented_message_is_recorded_as_one(collected: Collected) -> None:
    session = RealtimeSession(collected.tap, "h", "/v1/realtime", "model=m")
    created = b'{"type": "response.created", "response": {"id": "resp_1"}}'
    done = b'{"type": "response.done", "response": {"id": "resp_1"}}'
    frames = [Frame(1, created[:9], False), Frame(0, created[9:30], False), Frame(9, b"ping"), Frame(0, created[30:])]
    session.events([*frames, Frame(2, b"binary"), Frame(1, done)])
    assert [chunk for _, chunk in collected.only.chunks] == [created, done]


def test_a_response_outside_of_the_conversation_names_none(collected: Collected) -> None:
    session = RealtimeSession(collected.tap, "h", "/v1/realtime", "model=m")
    for number, wish in enumerate((b"{}", b'{"conversation":"none"}', b'{"conversation":"auto"}')):
        session.sent(b'{"type":"response.create","response":%b}' % wish)
        for kind in (b"created", b"done"):
            session.received(b'{"type":"response.%b","response":{"id":"resp_%d"}}' % (kind, number))
    named = [json.loads(one.request_body or b"")["conversation"] for one in collected.exchanges]
    assert named[0] == named[2] is not None
    assert named[1] is None


def test_of_the_sound_of_an_answer_only_the_first_is_kept(collected: Collected) -> None:
    session = RealtimeSession(collected.tap, "h", "/v1/realtime", "model=m")
    for number in range(2):
        named = b'"response_id":"resp_%d"' % number
        session.received(b'{"type":"response.created","response":{"id":"resp_%d"}}' % number)
        for _ in range(3):
            session.received(b'{"type":"response.output_audio.delta",%b,"delta":"AAAA"}' % named)
        session.received(b'{"type":"response.done","response":{"id":"resp_%d"}}' % number)
    for exchange in collected.exchanges:
        assert [b"AAAA" in chunk for _, chunk in exchange.chunks] == [False, True, False, False, False]


WRITTEN = {
    "input_tokens": 26,
    "input_token_details": {"text_tokens": 4, "audio_tokens": 22},
    "output_tokens": 17,
    "total_tokens": 43,
}
"""As in the example of .../realtime-server-events/conversation/item/input_audio_transcription/completed."""


def written(socket: ServerConnection) -> None:
    """Write down what is said, twice at a time: gpt-4o-transcribe counts tokens, whisper-1 seconds."""
    said = "conversation.item.input_audio_transcription"
    settings = {"type": "transcription", "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
    socket.send(json.dumps({"type": "session.created", "event_id": "e", "session": settings}))
    for _ in socket:
        for item, words in (("item_1", "good"), ("item_2", "bye"), ("item_1", " day")):
            socket.send(json.dumps({"type": f"{said}.delta", "event_id": "e", "item_id": item, "delta": words}))
        so_far = {"event_id": "e", "item_id": "item_1", "transcript": "good", "status": "in_progress"}  # as xAI's
        socket.send(json.dumps({"type": f"{said}.completed", **so_far}))
        for item, usage in (("item_1", WRITTEN), ("item_2", {"type": "duration", "seconds": 2.5})):
            ended = {"event_id": "e", "item_id": item, "transcript": "good day", "usage": usage}
            socket.send(json.dumps({"type": f"{said}.completed", **ended}))


def test_who_writes_down_what_is_said_in_a_realtime_session_is_a_call_of_its_own(tmp_path: Path) -> None:
    with tf.instrument(tmp_path / "runs.db"), serve(written, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.socket.getsockname()[1]}/v1"
        client = openai.OpenAI(base_url=address, api_key="s3cret")
        with client, client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
            connection.input_audio_buffer.append(audio="AAAA")
            heard = [event for _, event in zip(range(6), connection, strict=False)]
        server.shutdown()
    assert heard[-1].type.endswith("transcription.completed")
    with contextlib.closing(sqlite3.connect(tmp_path / "runs.db")) as store:
        columns = "api, model, status, input_tokens, output_tokens, extra ->> 'audio_input_seconds'"
        rows = store.execute(f"SELECT {columns} FROM calls ORDER BY input_tokens DESC").fetchall()
    of = ("openai.transcriptions", "gpt-4o-transcribe", "ok")
    assert rows == [(*of, 26, 17, None), (*of, None, None, 2.5)]


def failing(socket: ServerConnection) -> None:
    """Hear two turns, the first of which fails."""
    socket.send(json.dumps({"type": "session.created", "event_id": "e", "session": {"type": "realtime"}}))
    for number, _ in enumerate(socket):
        status = "completed" if number else "failed"
        response = {"id": f"resp_{number}", "object": "realtime.response", "output": []}
        socket.send(json.dumps({"type": "response.created", "event_id": "e", "response": response}))
        details = {"type": status, "error": {"type": "server_error", "code": None}} if not number else None
        ended = {**response, "status": status, "status_details": details, "usage": USAGE}
        socket.send(json.dumps({"type": "response.done", "event_id": "e", "response": ended}))


def test_a_turn_after_one_that_failed_is_no_attempt_of_that(tmp_path: Path) -> None:
    with tf.instrument(tmp_path / "runs.db"), serve(failing, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.socket.getsockname()[1]}/v1"
        client = openai.OpenAI(base_url=address, api_key="s3cret")
        with client, client.realtime.connect(model="m") as connection:
            for _ in range(2):
                connection.input_audio_buffer.append(audio="AAAA")
                next(event for event in connection if event.type == "response.done")
        server.shutdown()
    with contextlib.closing(sqlite3.connect(tmp_path / "runs.db")) as store:
        rows = store.execute("SELECT status, attempts, input_tokens FROM calls ORDER BY started_at_ns").fetchall()
    assert rows == [("error", 1, 36), ("ok", 1, 36)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"type": 1}',
        b'{"type":"response.created","response":[]}',
        b'{"type":"response.steer","previous_response_id":[]}',
        b'{"type":"conversation.item.input_audio_transcription.failed","item_id":[]}',
    ],
)
def test_messages_of_another_shape_pass(data: bytes, collected: Collected) -> None:
    for path in ("/v1/realtime", "/v1/responses"):
        session = session_for(collected.tap, "h", path, "")
        assert session is not None
        session.sent(data)
        session.received(data)
        session.end("closed")
    assert not collected.failures


def test_transcriptions_that_never_end_do_not_add_up(collected: Collected) -> None:
    session = session_for(collected.tap, "h", "/v1/realtime", "")
    assert session is not None
    for number in range(70):
        said = {"type": "conversation.item.input_audio_transcription.delta", "item_id": str(number), "delta": "a"}
        session.received(json.dumps(said).encode())
    assert [one.end for one in collected.exchanges] == ["closed"] * 6


@pytest.mark.parametrize("path", ["", "/", "/chat", "/v1/realtime/x", "/xrealtime"])
def test_connections_to_other_paths_are_not_ours(path: str, collected: Collected) -> None:
    assert session_for(collected.tap, "h", path, "model=m") is None


@pytest.mark.parametrize(
    ("host", "path", "name"),
    [
        ("generativelanguage.googleapis.com", "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateMusic",
         "generativelanguage.googleapis.com"),
        ("api.mistral.ai", "/v1/audio/transcriptions/realtime", "api.mistral.ai"),
    ],
)  # fmt: skip
def test_a_socket_to_models_in_a_protocol_of_its_own_is_said_once_to_be_unseen(
    host: str, path: str, name: str, collected: Collected, caplog: pytest.LogCaptureFixture
) -> None:
    assert [session_for(collected.tap, host, path, "key=s3cret") for _ in range(2)] == [None, None]
    assert collected.failures == [f"unseen:{name}"]
    assert [name in record.getMessage() for record in caplog.records] == [True]
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("host", ["localhost", "stream.example", "events.amazonaws.com", "huggingface.co"])
def test_a_socket_that_may_lead_anywhere_is_nobodys_business(host: str, collected: Collected) -> None:
    assert session_for(collected.tap, host, "/events", "") is None
    assert collected.failures == []
