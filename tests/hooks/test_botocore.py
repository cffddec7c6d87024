"""boto3's bedrock-runtime client against a server that answers as Bedrock does, event-stream frames and all."""

import base64
import gc
import io
import json
import shutil
import sqlite3
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from struct import pack
from typing import Any, Self
from urllib.parse import unquote
from zlib import crc32

import boto3
import botocore
import pytest
from botocore.config import Config
from botocore.retries.standard import ExponentialBackoff
from tests.hooks.conftest import Collected, body

import tokenflation.sdk as tf
from tokenflation.sdk.hooks import install
from tokenflation.sdk.wire import recognise

MARKER = "MARKER-9c1be7"
MODEL = "anthropic.claude-sonnet-4-20250514-v1:0"
# Bedrock's `inputTokens` leaves the cached tokens out (API reference, TokenUsage): the whole prompt has 200.
USAGE = {
    "inputTokens": 100,
    "outputTokens": 150,
    "totalTokens": 350,
    "cacheReadInputTokens": 64,
    "cacheWriteInputTokens": 36,
}
CLAUDE_USAGE = {
    "input_tokens": 100,
    "output_tokens": 150,
    "cache_read_input_tokens": 64,
    "cache_creation_input_tokens": 36,
}
TEXT = "The answer is 42, naïvely."

pytestmark = pytest.mark.skipif(recognise("POST", f"/model/{MODEL}/converse") is None, reason="no Bedrock dialect")


def frame(kind: str, payload: dict[str, Any], message_type: str = "event") -> bytes:
    """Return one message of an AWS event stream (AWS SDK documentation, "Event stream encoding")."""
    names = {":message-type": message_type, ":content-type": "application/json"}
    names[":exception-type" if message_type == "exception" else ":event-type"] = kind
    headers = b"".join(
        pack(">B", len(name)) + name.encode() + pack(">BH", 7, len(value)) + value.encode()
        for name, value in names.items()
    )
    data = json.dumps(payload, ensure_ascii=False).encode()
    prelude = pack(">II", 16 + len(headers) + len(data), len(headers))
    message = prelude + pack(">I", crc32(prelude)) + headers + data
    return message + pack(">I", crc32(message))


def converse(_: dict[str, Any]) -> bytes:
    message = {"role": "assistant", "content": [{"text": TEXT}]}
    answer = {"output": {"message": message}, "stopReason": "end_turn", "usage": USAGE, "metrics": {"latencyMs": 9}}
    return json.dumps(answer).encode()


def converse_stream(_: dict[str, Any]) -> bytes:
    deltas = [frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": one}, "p": "ab"}) for one in TEXT]
    return b"".join(
        [
            frame("messageStart", {"role": "assistant", "p": "abcd"}),
            *deltas,
            frame("contentBlockStop", {"contentBlockIndex": 0}),
            frame("messageStop", {"stopReason": "end_turn"}),
            frame("metadata", {"usage": USAGE, "metrics": {"latencyMs": 9}}),
        ]
    )


def claude(_: dict[str, Any]) -> bytes:
    content = [{"type": "text", "text": TEXT}]
    answer = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-20250514"}
    return json.dumps({**answer, "content": content, "stop_reason": "end_turn", "usage": CLAUDE_USAGE}).encode()


def claude_stream(_: dict[str, Any]) -> bytes:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-20250514"}
    start = {"message": {**message, "content": [], "usage": {**CLAUDE_USAGE, "output_tokens": 1}}}
    events = [
        {"type": "message_start", **start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": one}} for one in TEXT),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 150}},
        {"type": "message_stop"},
    ]
    return b"".join(
        frame("chunk", {"bytes": base64.b64encode(json.dumps(event).encode()).decode(), "p": "abcdefgh"})
        for event in events
    )


ANSWERS = {
    "converse": ("application/json", converse),
    "converse-stream": ("application/vnd.amazon.eventstream", converse_stream),
    "invoke": ("application/json", claude),
    "invoke-with-response-stream": ("application/vnd.amazon.eventstream", claude_stream),
}


@dataclass
class Bedrock:
    """A server of the four model operations; the first `throttled` requests are refused, `cut` ends a body early."""

    throttled: int = 0
    cut: int | None = None
    held: bool = False
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    tls: ssl.SSLContext | None = None

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self._server.bedrock = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self._server.server_address[1]}"
        return self

    def __exit__(self, *exception: object) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def client(self, **more: Any) -> Any:
        options = Config(retries={"max_attempts": 3, "mode": "standard"})
        return boto3.client(
            "bedrock-runtime",
            **more,
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id="AKIAMARKER",
            aws_secret_access_key=MARKER,
            config=options,
        )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    bedrock: Bedrock

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: clients under test hang up whenever they like."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *args: object) -> None:
        """Log nothing."""

    def do_POST(self) -> None:
        bedrock = self.server.bedrock
        raw = self.rfile.read(int(self.headers["content-length"]))
        bedrock.asked.append((self.path, raw))
        if len(bedrock.asked) <= bedrock.throttled:
            self._answer(429, "application/json", [json.dumps({"message": f"{MARKER} too many"}).encode()])
            return
        content_type, make = ANSWERS[self.path.rpartition("/")[2]]
        answer = make(json.loads(raw))
        bedrock.sent.append(answer)
        self._answer(200, content_type, [answer[start : start + 23] for start in range(0, len(answer), 23)])

    def _answer(self, status: int, content_type: str, pieces: list[bytes]) -> None:
        bedrock = self.server.bedrock
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("x-amzn-requestid", "11111111-2222-3333-4444-555555555555")
        if status == 429:
            self.send_header("x-amzn-errortype", "ThrottlingException")
        streams = "eventstream" in content_type
        self.send_header(
            *(("transfer-encoding", "chunked") if streams else ("content-length", str(len(b"".join(pieces)))))
        )
        self.end_headers()
        for number, piece in enumerate(pieces):
            if streams and bedrock.cut is not None and number * 23 >= bedrock.cut:
                self.close_connection = True
                return
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if streams else piece)
            if bedrock.held and number == 20:
                bedrock.gate.wait(10)
        if streams:
            self.wfile.write(b"0\r\n\r\n")


MESSAGES = [{"role": "user", "content": [{"text": f"What is the answer? {MARKER}"}]}]
CLAUDE_BODY = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 99,
    "messages": [{"role": "user", "content": f"What is the answer? {MARKER}"}],
}


def call_converse(client: Any) -> str:
    answer = client.converse(modelId=MODEL, messages=MESSAGES, system=[{"text": MARKER}])
    assert answer["usage"]["outputTokens"] == 150
    return str(answer["output"]["message"]["content"][0]["text"])


def call_converse_stream(client: Any) -> str:
    events = list(client.converse_stream(modelId=MODEL, messages=MESSAGES)["stream"])
    assert events[-1]["metadata"]["usage"]["outputTokens"] == 150
    return "".join(event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event)


def call_invoke(client: Any) -> str:
    answer = client.invoke_model(modelId=MODEL, body=json.dumps(CLAUDE_BODY))
    return str(json.loads(answer["body"].read())["content"][0]["text"])


def call_invoke_stream(client: Any) -> str:
    answer = client.invoke_model_with_response_stream(modelId=MODEL, body=json.dumps(CLAUDE_BODY))
    events = [json.loads(event["chunk"]["bytes"]) for event in answer["body"]]
    return "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")


CALLS = pytest.mark.parametrize(
    "call", [call_converse, call_converse_stream, call_invoke, call_invoke_stream], ids=lambda call: call.__name__
)


@pytest.fixture(autouse=True)
def no_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda self, context: 0.0)


@pytest.fixture
def bedrock() -> Iterator[Bedrock]:
    with Bedrock() as running:
        yield running


@CALLS
def test_every_operation_is_recorded_byte_for_byte(call: Any, bedrock: Bedrock, recorded: Collected) -> None:
    assert call(bedrock.client()) == TEXT
    only = recorded.only
    assert body(only) == bedrock.sent[0]
    path, raw = bedrock.asked[0]
    assert (only.path, only.request_body, only.end) == (unquote(path), raw, "read")
    assert only.path.split("/")[2] == MODEL
    assert set(only.request_headers) <= {"content-type"}


def test_a_client_made_before_is_recorded(bedrock: Bedrock, collected: Collected) -> None:
    client = bedrock.client()
    call_converse(client)
    undo = install(collected.tap)
    call_converse(client)
    undo()
    call_converse(client)
    assert body(collected.only) == bedrock.sent[1]


def test_a_body_given_as_a_file_in_memory_is_kept(bedrock: Bedrock, recorded: Collected) -> None:
    raw = json.dumps(CLAUDE_BODY).encode()
    bedrock.client().invoke_model(modelId=MODEL, body=io.BytesIO(raw))["body"].read()
    assert bedrock.asked[0][1] == raw
    assert recorded.only.request_body == raw


def lines(stream: Any) -> bytes:
    return b"".join(stream.iter_lines(keepends=True))


def buffered(stream: Any) -> bytes:
    buffer = bytearray(31)
    return b"".join(bytes(buffer[:count]) for count in iter(lambda: stream.readinto(buffer), 0))


@pytest.mark.parametrize(
    "read", [lambda it: it.read(), lambda it: b"".join(it.iter_chunks(13)), lambda it: b"".join(it), lines, buffered]
)
def test_a_streaming_body_is_recorded_however_it_is_read(read: Any, bedrock: Bedrock, recorded: Collected) -> None:
    stream = bedrock.client().invoke_model(modelId=MODEL, body=json.dumps(CLAUDE_BODY))["body"]
    assert read(stream) == bedrock.sent[0]
    assert body(recorded.only) == bedrock.sent[0]
    assert recorded.only.end == "read"


def test_a_stream_cut_by_the_network_ends_as_failed_and_raises_what_it_would(recorded: Collected) -> None:
    with Bedrock(cut=230) as bedrock, pytest.raises(Exception, match=r"prematurely|broken|IncompleteRead"):
        call_converse_stream(bedrock.client())
    assert recorded.only.end == "failed"
    assert body(recorded.only) == bedrock.sent[0][:230]


def test_a_stream_closed_after_one_event_ends_as_closed(recorded: Collected) -> None:
    with Bedrock(held=True) as bedrock:
        stream = bedrock.client().converse_stream(modelId=MODEL, messages=MESSAGES)["stream"]
        assert "messageStart" in next(iter(stream))
        stream.close()
        assert recorded.only.end == "closed"
    assert body(recorded.only) == bedrock.sent[0][: len(body(recorded.only))]


@pytest.mark.filterwarnings("ignore:unclosed", "ignore::pytest.PytestUnraisableExceptionWarning")  # botocore's socket
def test_a_stream_that_nobody_reads_ends_when_it_is_collected(recorded: Collected) -> None:
    with Bedrock(held=True) as bedrock:
        answer = bedrock.client().converse_stream(modelId=MODEL, messages=MESSAGES)
        del answer
        gc.collect()
        assert recorded.only.end == "dropped"


def test_a_request_that_waits_to_be_told_to_continue_is_recorded(bedrock: Bedrock, recorded: Collected) -> None:
    client = bedrock.client()

    def expect(request: Any, **_: Any) -> None:
        request.headers.add_header("Expect", "100-continue")

    client.meta.events.register("before-sign.bedrock-runtime.*", expect)
    assert call_converse(client) == TEXT
    assert body(recorded.only) == bedrock.sent[0]
    assert recorded.only.request_body == bedrock.asked[0][1]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a file with a certificate for 127.0.0.1, signed by itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    file = str(tmp_path_factory.mktemp("tls") / "both.pem")
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", file, "-out", f"{file}.crt"]
    subprocess.run([openssl, "req", *options, *names], check=True, capture_output=True)
    Path(file).write_bytes(Path(file).read_bytes() + Path(f"{file}.crt").read_bytes())
    return file


@CALLS
def test_calls_over_tls_are_recorded(call: Any, certificate: str, recorded: Collected) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with Bedrock(tls=tls) as bedrock:
        assert call(bedrock.client(verify=f"{certificate}.crt")) == TEXT
    assert body(recorded.only) == bedrock.sent[0]
    assert recorded.only.end == "read"


# End to end: what the store holds.


def stored(store: Path) -> list[dict[str, Any]]:
    with sqlite3.connect(store) as connection:
        connection.row_factory = sqlite3.Row
        found = [dict(row) for row in connection.execute("SELECT * FROM calls ORDER BY started_at_ns")]
    connection.close()
    return found


@CALLS
def test_the_stores_row_holds_what_the_server_counted(call: Any, bedrock: Bedrock, tmp_path: Path) -> None:
    with tf.instrument(tmp_path / "runs.db") as handle:
        assert call(bedrock.client()) == TEXT
        handle.flush()
        assert handle.drops == {}
    (row,) = stored(tmp_path / "runs.db")
    expected = {
        "input_tokens": 200,
        "cache_read_tokens": 64,
        "cache_write_tokens": 36,
        "output_tokens": 150,
        "usage_source": "provider",
        "status": "ok",
        "model": MODEL,
        "attempts": 1,
    }
    assert {name: row[name] for name in expected} == expected


@CALLS
def test_botocores_own_retries_are_attempts_of_one_call(call: Any, tmp_path: Path) -> None:
    with Bedrock(throttled=2) as bedrock, tf.instrument(tmp_path / "runs.db") as handle:
        assert call(bedrock.client()) == TEXT
        handle.flush()
    (row,) = stored(tmp_path / "runs.db")
    assert len(bedrock.asked) == 3
    assert (row["attempts"], row["status"], row["input_tokens"]) == (3, "ok", 200)


def test_a_call_that_stays_throttled_is_one_failed_call(tmp_path: Path) -> None:
    with Bedrock(throttled=9) as bedrock, tf.instrument(tmp_path / "runs.db") as handle:
        with pytest.raises(botocore.exceptions.ClientError, match="ThrottlingException"):
            call_converse(bedrock.client())
        handle.flush()
    (row,) = stored(tmp_path / "runs.db")
    assert (row["attempts"], row["status"], row["output_tokens"]) == (len(bedrock.asked), "error", None)


@CALLS
def test_no_text_and_no_secret_is_in_the_store(call: Any, tmp_path: Path) -> None:
    with Bedrock(throttled=1) as bedrock, tf.instrument(tmp_path / "runs.db"):
        call(bedrock.client())
    for file in tmp_path.iterdir():
        raw = file.read_bytes()
        assert MARKER.encode() not in raw, file
        assert b"AKIAMARKER" not in raw, file
