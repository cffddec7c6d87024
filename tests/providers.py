"""A model provider for tests: real HTTP on 127.0.0.1, four dialects, and it does what the prompt asks for.

    with Provider() as provider:
        client = openai.OpenAI(base_url=provider.openai_url, api_key="k")
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi [[output:7]]"}])
        assert provider.requests[0].usage["output"] == 7

It answers `.../chat/completions` and `.../responses` (OpenAI), `/v1/messages` (Anthropic) and `:generateContent` /
`:streamGenerateContent` (Gemini), as JSON or as server-sent events, on any prefix. A body leaves in pieces of 23 bytes,
so that events, lines and UTF-8 characters are cut anywhere. Every answer holds the same known usage, in totals that
include their parts, and says `DEFAULT_TEXT`; markers in the **last message** of the request change that:

| marker | effect |
|---|---|
| `[[input:200]]` `[[cached:64]]` `[[written:0]]` `[[output:150]]` `[[reasoning:100]]` | token totals (these are the defaults) |
| `[[usage:none]]` | no usage at all |
| `[[say:TEXT]]` | the text of the answer |
| `[[tool:NAME]]` | the answer asks for this tool, with `{"query": "x"}`; may stand several times |
| `[[status:503]]`, `[[status:429x2]]` | this status, always or for the first so many equal requests; retry after 1 ms |
| `[[redirect:307]]` | first a redirect to the same path with `?again=1`, which then answers |
| `[[cut:200]]` | the connection breaks after so many bytes of the body |
| `[[error:event]]` | a stream ends with the dialect's error event in place of its end |
| `[[hold:1]]` | after the first piece it waits for `provider.release()` (10 s at most) |
| `[[slow:0.01]]` | so many seconds between pieces |
| `[[gzip:1]]` | the body is gzip-encoded |
| `[[pieces:7]]` | bytes in one piece |

Like OpenAI, a streamed chat answer holds usage only if the request has `stream_options.include_usage`.
What arrived stands in `provider.requests`, with the usage that was answered.
"""  # noqa: W505 (a table)

import gzip
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.provider_answers import DEFAULT_TEXT, DEFAULT_USAGE, DIALECTS, Dialect, Event, Received

__all__ = ["DEFAULT_TEXT", "DEFAULT_USAGE", "Dialect", "Event", "Provider", "Received"]


@dataclass
class Provider:
    """The running server; a context manager. `url` is its root, `openai_url` the base URL for OpenAI clients."""

    more_dialects: Mapping[str, Dialect] = field(default_factory=dict)
    """Part of a path -> what answers it; looked at before the dialects that stand here."""
    requests: list[Received] = field(default_factory=list)
    _seen: Counter[bytes] = field(default_factory=Counter)
    _gate: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.provider = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="provider", daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.openai_url = f"{self.url}/v1"
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def release(self) -> None:
        """Let answers go on that `[[hold:1]]` stopped, those to come included."""
        self._gate.set()

    def wait_for_release(self) -> None:
        self._gate.wait(10)

    def dialect(self, path: str) -> Dialect:
        """Return what answers a request to this path."""
        return next(make for part, make in {**self.more_dialects, **DIALECTS}.items() if part in path)

    def refusal(self, request: Received, status: int) -> tuple[dict[str, Any], dict[str, str]]:
        """Return body and headers of an answer that is an error."""
        kind = {429: "rate_limit_error", 401: "authentication_error"}.get(status, "api_error")
        error: dict[str, Any] = {"type": kind, "message": "refused as asked", "code": None}
        if "/models/" in request.path:
            error = {"code": status, "message": "refused as asked", "status": "RESOURCE_EXHAUSTED"}
        return {"type": "error", "error": error}, {"retry-after-ms": "1"}

    def note(self, request: Received) -> int:
        """Log a request and return how many equal ones came before it."""
        with self._lock:
            self.requests.append(request)
            self._seen[request.raw] += 1
            return self._seen[request.raw] - 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    provider: Provider

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: clients under test hang up whenever they like."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's delayed acknowledgement
    server: _Server

    def log_message(self, *args: object) -> None: ...

    def date_time_string(self, timestamp: float | None = None) -> str:
        return "Sat, 01 Jan 2000 00:00:00 GMT"

    def do_GET(self) -> None:
        self._head(200, "application/json", {"content-length": "16"})
        self.wfile.write(b'{"status": "ok"}')

    def do_POST(self) -> None:
        request = self._receive()
        earlier = self.server.provider.note(request)
        status, _, times = request.marker("status").partition("x")
        if request.marker("redirect") and "again=1" not in self.path:
            request.status = int(request.marker("redirect"))
            self._head(request.status, "text/plain", {"location": f"{self.path}?again=1", "content-length": "0"})
        elif status and (not times or earlier < int(times)):
            self._refuse(request, int(status))
        else:
            self._answer(request)

    def _receive(self) -> Received:
        if "chunked" in self.headers.get("transfer-encoding", ""):
            raw = b"".join(iter(self._read_chunk, b""))
        else:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        body: dict[str, Any] = json.loads(raw or b"{}")
        turns = next((body[key] for key in ("messages", "contents", "input", "prompt", "message") if body.get(key)), [])
        last = json.dumps(turns if isinstance(turns, str) else turns[-1:], ensure_ascii=False)
        headers = {key.lower(): value for key, value in self.headers.items()}
        found = re.findall(r"\[\[(\w+):(.*?)\]\]", last)
        markers = [(name, json.loads(f'"{value}"')) for name, value in found]
        return Received("POST", self.path, headers, raw, body, markers)

    def _read_chunk(self) -> bytes:
        piece = self.rfile.read(int(self.rfile.readline(), 16))
        self.rfile.readline()
        return piece

    def _refuse(self, request: Received, status: int) -> None:
        request.status = status
        body, headers = self.server.provider.refusal(request, status)
        raw = json.dumps(body).encode()
        self._head(status, "application/json", {"content-length": str(len(raw)), **headers})
        self.wfile.write(raw)

    def _answer(self, request: Received) -> None:
        request.status = 200
        usage = {name: int(request.marker(name, str(count))) for name, count in DEFAULT_USAGE.items()}
        request.usage = None if request.marker("usage") == "none" else usage
        whole, events = self.server.provider.dialect(self.path)(request)
        if request.stream:
            if request.marker("error"):
                error = {"type": "overloaded_error", "message": "m"}
                events = [*events[:-1], ("error", {"type": "error", "error": error})]
            content_type, raw = request.stream_type, b"".join(map(_encode, events))
        else:
            content_type, raw = "application/json", json.dumps(whole, ensure_ascii=False).encode()
        encoding = {"content-encoding": "gzip"} if request.marker("gzip") else {}
        raw = gzip.compress(raw) if encoding else raw
        self._head(200, content_type, {"transfer-encoding": "chunked", "x-request-id": "req_1", **encoding})
        self._write(request, raw)

    def _write(self, request: Received, raw: bytes) -> None:
        """Send the body in HTTP chunks; each is flushed."""
        size = int(request.marker("pieces", "23"))
        cut = int(request.marker("cut", "0"))
        for start in range(0, len(raw), size):
            piece = raw[start : min(start + size, cut or len(raw))]
            if not piece:
                break
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
            if request.marker("hold") and start == 0:
                self.server.provider.wait_for_release()
            time.sleep(float(request.marker("slow", "0")))
        if cut:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _head(self, status: int, content_type: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"content-type": content_type, **headers}.items():
            self.send_header(key, value)
        self.end_headers()


def _encode(event: Event) -> bytes:
    if isinstance(event, bytes):
        return event
    name, data = event
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()
