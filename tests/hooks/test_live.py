"""Google's Live API through google-genai and the websockets library, against a server after recorded sessions of it."""

import asyncio
import base64
import contextlib
import json
import sqlite3
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from tests.hooks.conftest import Collected
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

import tokenflation.sdk as tf
from tokenflation.sdk.exchange import Exchange, Tap
from tokenflation.sdk.hooks.live import LiveSession
from tokenflation.sdk.hooks.sessions import session_for
from tokenflation.sdk.wire import read
from tokenflation.sdk.wire.view import ExchangeBytes

_PATH = "/ws/google.cloud.aiplatform.v1.LlmBidiService/BidiGenerateContent"
_SOUND = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": base64.b64encode(b"\0\1" * 4000).decode()}}
_CALL = {"functionCalls": [{"name": "weather", "args": {"city": "Rome"}, "id": "function-call-13213546273754148"}]}


def usage(prompt: int) -> dict[str, Any]:
    """Return counts as gemini-3.8-live gives them: the total leaves the thoughts out."""
    return {
        "promptTokenCount": prompt,
        "responseTokenCount": 42,
        "totalTokenCount": prompt + 42,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt - 165}, {"modality": "AUDIO", "tokenCount": 165}],
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 42}],
        "thoughtsTokenCount": 136,
    }  # fmt: skip


class Server:
    """One session: what it answers is told by the words of the host."""

    def __init__(self, socket: ServerConnection) -> None:
        self._socket = socket
        self._turns = 0

    def say(self, **message: Any) -> None:
        self._socket.send(json.dumps(message).encode())  # as binary frames, as Google's does

    def speak(self) -> None:
        self.say(serverContent={"inputTranscription": {"text": "hi"}})
        self.say(serverContent={"modelTurn": {"parts": [{"text": "**Thinking**", "thought": True}]}})
        for _ in range(3):
            self.say(serverContent={"modelTurn": {"parts": [_SOUND]}})
        self.say(serverContent={"outputTranscription": {"text": "hello"}})

    def end(self, **content: Any) -> None:
        self._turns += 1
        self.say(serverContent={"turnComplete": True, **content}, usageMetadata=usage(400 + 100 * self._turns))
        self.say(sessionResumptionUpdate={"newHandle": f"handle-{self._turns}", "resumable": True})
        self._socket.send(b"{}")

    def talk(self) -> None:
        self._socket.recv()
        self.say(setupComplete={})
        for raw in self._socket:
            asked = str(raw)
            if "tool please" in asked:
                self.say(toolCall=_CALL)
                continue
            if "half" in asked:
                self.speak()
                self._socket.close(1011)
                return
            if "mic" in asked and "END" not in asked:
                continue
            self.speak()
            if "interrupt" in asked:
                self.say(serverContent={"interrupted": True})
            self.end()


@pytest.fixture
def address(certificate: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    with serve(lambda socket: Server(socket).talk(), "127.0.0.1", 0, ssl=tls) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


def spoken(address: str, *wishes: str, handle: str | None = None) -> None:
    """Say each wish to a session of google-genai and hear its answer to the end, tools included."""

    async def hear(session: Any) -> None:
        async for message in session.receive():
            if message.tool_call:
                ids = [one.id for one in message.tool_call.function_calls]
                results = [types.FunctionResponse(id=id_, name="weather", response={"output": "fog"}) for id_ in ids]
                await session.send_tool_response(function_responses=results)

    async def main() -> None:
        client = genai.Client(api_key="s3cret", http_options={"base_url": f"https://{address}"})
        config: Any = {"system_instruction": "Be brief.", "session_resumption": {"handle": handle}}
        async with client.aio.live.connect(model="gemini-3.8-live", config=config) as session:
            for wish in wishes:
                await session.send_client_content(turns=types.Content(role="user", parts=[types.Part(text=wish)]))
                await hear(session)
            await session._receive()

    asyncio.run(main())


def rows(store: Path, columns: str, table: str = "calls") -> list[Any]:
    with contextlib.closing(sqlite3.connect(store)) as connection:
        return connection.execute(f"SELECT {columns} FROM {table} ORDER BY started_at_ns").fetchall()


def test_each_turn_is_a_call_with_the_providers_own_counts(address: str, tmp_path: Path) -> None:
    with tf.instrument(tmp_path / "runs.db") as handle:
        spoken(address, "hi", "interrupt yourself")
        assert handle.drops == {}
    columns = (
        "api, model, status, stream, input_tokens, output_tokens, reasoning_tokens, usage_source, "
        "extra ->> 'audio_input_tokens', extra ->> 'audio_output_tokens', extra ->> 'interrupted'"
    )
    one = ("google.live", "gemini-3.8-live", "ok", 1)
    assert rows(tmp_path / "runs.db", columns) == [
        (*one, 500, 178, 136, "provider", 165, 42, None),
        (*one, 600, 178, 136, "provider", 165, 42, 1),
    ]


def test_the_turns_of_a_session_and_of_the_one_that_resumes_it_are_one_agent_run(address: str, tmp_path: Path) -> None:
    with tf.instrument(tmp_path / "runs.db"):
        spoken(address, "hi", "hi again")
        spoken(address, "still there?", handle="handle-2")
        spoken(address, "hi")
    found = rows(tmp_path / "runs.db", "task_id, step, continues_evidence, resent_tokens, new_tokens IS NULL")
    assert [row[1:] for row in found] == [
        (0, None, 0, 0), (1, "conversation_id", None, 1), (2, "conversation_id", None, 1), (0, None, 0, 0)
    ]  # fmt: skip
    assert len({row[0] for row in found[:3]}) == 1
    assert found[3][0] != found[0][0]


def test_a_tool_that_the_turn_waits_for_is_answered_within_it(address: str, tmp_path: Path) -> None:
    with tf.instrument(tmp_path / "runs.db"):
        spoken(address, "tool please")
    assert rows(tmp_path / "runs.db", "status, tool_calls, input_tokens") == [("ok", 1, 500)]
    columns = "name, arguments_bytes, result_bytes, executed, started_at_ns, ended_at_ns"
    assert rows(tmp_path / "runs.db", columns, "tool_calls") == [("weather", 15, 16, 1, None, None)]


def test_a_turn_that_breaks_is_a_failed_call_without_counts(address: str, tmp_path: Path) -> None:
    with tf.instrument(tmp_path / "runs.db"), pytest.raises(errors.APIError):
        spoken(address, "hi", "half of it")
    found = rows(tmp_path / "runs.db", "status, error_type, usage_source")
    assert found == [("ok", None, "provider"), ("error", "ConnectionClosedError", "absent")]


def test_a_turn_that_begins_by_itself_holds_neither_the_sound_of_the_host_nor_more_than_one_of_the_server(
    address: str, recorded: Collected
) -> None:
    with connect(f"wss://{address}{_PATH}") as socket:
        socket.send(json.dumps({"setup": {"model": "models/gemini-3.8-live"}}))
        for data in ("mic", "mic", "mic END"):
            socket.send(json.dumps({"realtimeInput": {"audio": {"data": data, "mimeType": "audio/pcm"}}}))
        while b"turnComplete" not in bytes(socket.recv(decode=False)):
            pass
    exchange = recorded.only
    assert (exchange.end, exchange.context, recorded.failures) == ("read", "scope", [])
    request = json.loads(exchange.request_body or b"")
    assert (request["model"], request["contents"]) == ("gemini-3.8-live", [])
    assert sum(b"inlineData" in chunk for _, chunk in exchange.chunks) == 1
    assert len(exchange.chunks) == 6


def live(collected: Collected) -> LiveSession:
    session = session_for(collected.tap, "h", _PATH, "")
    assert isinstance(session, LiveSession)
    return session


def test_a_turn_under_way_has_its_request(collected: Collected) -> None:
    begun: list[Exchange] = []
    tap = Tap(
        submit=collected.exchanges.append, context=lambda: None, failed=collected.failures.append, begun=begun.append
    )
    session = LiveSession(tap, "h", _PATH, "")
    session.sent(b'{"setup":{"model":"models/gemini-3.8-live"}}')
    session.received(b'{"serverContent":{"modelTurn":{"parts":[{"text":"hm"}]}}}')
    assert json.loads(begun[0].request_body or b"")["model"] == "gemini-3.8-live"
    assert collected.exchanges == []


def test_what_comes_between_turns_opens_none(collected: Collected) -> None:
    session = live(collected)
    for message in (
        {"setupComplete": {}},
        {"serverContent": {"interrupted": True}},
        {"serverContent": {"turnComplete": True}},
        {"serverContent": {"outputTranscription": {"text": "late"}}},
        {"serverContent": {}, "usageMetadata": {}},
        {"goAway": {"timeLeft": "9s"}},
    ):
        session.received(json.dumps(message).encode())
    session.end("closed")
    assert collected.exchanges == []


def test_a_question_within_a_turn_is_that_of_the_next(collected: Collected) -> None:
    session = live(collected)
    for wish in ("one", "two"):
        session.sent(json.dumps({"realtime_input": {"text": wish}}).encode())
        session.received(b'{"serverContent":{"modelTurn":{"parts":[{"text":"hm"}]}}}')
    session.sent(json.dumps({"realtime_input": {"text": "three"}}).encode())
    for _ in range(2):
        session.received(b'{"serverContent":{"modelTurn":{"parts":[{"text":"a"}]},"turnComplete":true}}')
    asked = [json.loads(one.request_body or b"")["contents"] for one in collected.exchanges]
    assert [[one["parts"][0]["text"] for one in contents] for contents in asked] == [["one"], ["two", "three"]]
    assert collected.ends == ["read", "read"]


def test_counts_that_come_in_pieces_are_all_read(collected: Collected) -> None:
    session = live(collected)
    for message in (
        {"serverContent": {}, "usageMetadata": {"promptTokenCount": 1003, "totalTokenCount": 1003}},
        {"serverContent": {"modelTurn": {"parts": [{"text": "a"}]}}, "usageMetadata": {"responseTokenCount": 8}},
        {"serverContent": {"turnComplete": True}, "usageMetadata": {}},
    ):
        session.received(json.dumps(message).encode())
    one = collected.only
    view = ExchangeBytes(
        api=one.api, method=one.method, host=one.host, path=one.path, request_body=one.request_body,
        status_code=200, content_type=one.content_type, chunks=one.body(), end=one.end or "dropped",
    )  # fmt: skip
    reading = read(view, key=b"k")
    assert reading is not None
    assert (reading.usage.input_tokens, reading.usage.output_tokens, reading.status) == (1003, 8, "ok")


@pytest.mark.parametrize("path", ["/v1alpha.GenerativeService.BidiGenerateContentConstrained", _PATH])
@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"1", b'{"setup":1}', b'{"setup":{"model":1,"sessionResumption":1}}',
                                  b'{"client_content":{"turns":1,"turn_complete":1}}', b'{"tool_response":[]}',
                                  b'{"serverContent":1}', b'{"serverContent":{"modelTurn":1}}', b'{"sessionResumptionUpdate":1}'])  # fmt: skip
def test_messages_of_another_shape_pass(path: str, data: bytes, collected: Collected) -> None:
    session = session_for(collected.tap, "h", path, "")
    assert session is not None
    steps: tuple[Callable[[bytes], None], ...] = (session.asking, session.sent, session.received)
    for step in steps:
        step(data)
    session.end("closed")
    assert collected.failures == []


@pytest.mark.parametrize("sound", ["AAAA", "AAAA" * 1000])
@pytest.mark.parametrize("beside", [{"turnComplete": True}, {"outputTranscription": {"text": "b" * 900}}])
def test_what_stands_beside_sound_is_read(sound: str, beside: dict[str, Any], collected: Collected) -> None:
    session = live(collected)
    content = {"modelTurn": {"parts": [{"inlineData": {"data": sound}}]}}
    for message in (content, content | beside, {"turnComplete": True}):
        session.received(json.dumps({"usageMetadata": {"promptTokenCount": 9}, "serverContent": message}).encode())
    for key in (*beside, "usageMetadata"):
        assert any(key.encode() in chunk for _, chunk in collected.exchanges[0].chunks[1:])


def test_handles_do_not_add_up(collected: Collected) -> None:
    session = live(collected)
    for number in range(3000):
        session.received(b'{"sessionResumptionUpdate":{"newHandle":"h%d","resumable":true}}' % number)
    assert len(collected.tap.resumed) <= 1024
