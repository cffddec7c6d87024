"""A server that answers as Bedrock's runtime does: four model operations, event-stream frames with their checksums.

Frames are cut every 23 bytes, so that preludes, headers and UTF-8 characters are cut anywhere.
"""

import base64
import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from struct import pack
from typing import Any, Self
from zlib import crc32

import boto3
from botocore.config import Config

MARKER = "MARKER-9c1be7"
"""Stands in every prompt, error message and secret."""
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
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's delayed acknowledgement
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
