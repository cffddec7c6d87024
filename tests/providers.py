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
"""

import gzip
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

DEFAULT_TEXT = "The answer is 42, naïvely – 答えは四十二。"
DEFAULT_USAGE = {"input": 200, "cached": 64, "written": 0, "output": 150, "reasoning": 100}

Event = tuple[str | None, Any] | bytes
"""Name (None for events without one) and data of one server-sent event; data of type str goes out as it is.

Bytes are a piece of a body of another kind, such as a line of JSON.
"""


@dataclass
class Received:
    """One request that arrived, and what was answered."""

    method: str
    path: str
    headers: dict[str, str]
    """By lower-case name."""
    raw: bytes
    body: dict[str, Any]
    markers: list[tuple[str, str]]
    status: int = 0
    usage: dict[str, int] | None = None
    """Totals of the answer, as in `DEFAULT_USAGE`; None for errors and answers without usage."""
    stream_type: str = "text/event-stream; charset=utf-8"
    """Content type of a streamed answer."""

    def marker(self, name: str, default: str = "") -> str:
        """Return the value of the last marker of this name."""
        return next((value for key, value in reversed(self.markers) if key == name), default)

    @property
    def tools(self) -> list[str]:
        """Names of the tools to ask for."""
        return [value for key, value in self.markers if key == "tool"]

    @property
    def text(self) -> str:
        return self.marker("say", "" if self.tools else DEFAULT_TEXT)

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream")) or re.search(":streamGen|-stream$", self.path) is not None


@dataclass
class Provider:
    """The running server; a context manager. `url` is its root, `openai_url` the base URL for OpenAI clients."""

    more_dialects: "Mapping[str, Dialect]" = field(default_factory=dict)
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

    def dialect(self, path: str) -> "Dialect":
        """Return what answers a request to this path."""
        return next(make for part, make in {**self.more_dialects, **_DIALECTS}.items() if part in path)

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


def _words(text: str) -> Iterator[str]:
    return iter(re.findall(r"\s*\S+\s*$|\s*\S+", text))


def _openai_chat(request: Received) -> tuple[dict[str, Any], list[Event]]:
    head = {"id": "chatcmpl-1", "created": 1_760_000_000, "system_fingerprint": "fp"}
    head["model"] = request.body.get("model")
    usage = None
    if (u := request.usage) is not None:
        usage = {
            "prompt_tokens": u["input"],
            "completion_tokens": u["output"],
            "total_tokens": u["input"] + u["output"],
            "prompt_tokens_details": {"cached_tokens": u["cached"]},
            "completion_tokens_details": {"reasoning_tokens": u["reasoning"]},
        }
    calls = [
        {"index": i, "id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": '{"query": "x"}'}}
        for i, name in enumerate(request.tools)
    ]
    reason = "tool_calls" if calls else "stop"
    message: dict[str, Any] = {"role": "assistant", "content": request.text or None}
    if calls:
        message["tool_calls"] = [{key: value for key, value in call.items() if key != "index"} for call in calls]
    choice = {"index": 0, "message": message, "finish_reason": reason}
    whole = {**head, "object": "chat.completion", "choices": [choice]} | ({"usage": usage} if usage else {})
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word} for word in _words(request.text)] + [{"tool_calls": [call]} for call in calls]
    chunk = {**head, "object": "chat.completion.chunk"}
    ends = [(delta, None) for delta in deltas] + [({}, reason)]
    events: list[Event] = [
        (None, {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}) for delta, end in ends
    ]
    if usage and (request.body.get("stream_options") or {}).get("include_usage"):
        events.append((None, {**chunk, "choices": [], "usage": usage}))
    elif request.stream:
        request.usage = None
    return whole, [*events, (None, "[DONE]")]


def _openai_responses(request: Received) -> tuple[dict[str, Any], list[Event]]:
    usage = None
    if (u := request.usage) is not None:
        usage = {
            "input_tokens": u["input"],
            "input_tokens_details": {"cached_tokens": u["cached"], "cache_write_tokens": u["written"]},
            "output_tokens": u["output"],
            "output_tokens_details": {"reasoning_tokens": u["reasoning"]},
            "total_tokens": u["input"] + u["output"],
        }
    text = {"type": "output_text", "text": request.text, "annotations": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    output: list[dict[str, Any]] = [message] if request.text else []
    output += [
        {"id": f"fc_{i}", "type": "function_call", "call_id": f"call_{i}", "name": name, "arguments": '{"query": "x"}'}
        for i, name in enumerate(request.tools)
    ]
    base = {"id": "resp_1", "object": "response", "created_at": 1_760_000_000, "model": request.body.get("model")}
    base |= {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None, "metadata": {}}
    done = {**base, "status": "completed", "output": output, "usage": usage}
    data: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**base, "status": "in_progress", "output": [], "usage": None}}
    ]
    for index, item in enumerate(output):
        at = {"output_index": index, "item_id": item["id"]}
        part_at = {**at, "content_index": 0}
        if item["type"] == "message":
            data.append({"type": "response.output_item.added", "output_index": index, "item": {**item, "content": []}})
            data.append({"type": "response.content_part.added", **part_at, "part": {**text, "text": ""}})
            delta_at = {"type": "response.output_text.delta", **part_at, "logprobs": []}
            data += [{**delta_at, "delta": word} for word in _words(request.text)]
            data.append({"type": "response.output_text.done", **part_at, "text": request.text, "logprobs": []})
            data.append({"type": "response.content_part.done", **part_at, "part": text})
        else:
            empty = {**item, "arguments": ""}
            data.append({"type": "response.output_item.added", "output_index": index, "item": empty})
            arguments = {"arguments": item["arguments"]}
            data.append({"type": "response.function_call_arguments.delta", **at, "delta": item["arguments"]})
            data.append({"type": "response.function_call_arguments.done", **at, **arguments, "name": item["name"]})
        data.append({"type": "response.output_item.done", "output_index": index, "item": item})
    data.append({"type": "response.completed", "response": done})
    return done, [(entry["type"], {**entry, "sequence_number": number}) for number, entry in enumerate(data)]


def _anthropic(request: Received) -> tuple[dict[str, Any], list[Event]]:
    u = request.usage
    prompt = u and {
        "input_tokens": u["input"] - u["cached"] - u["written"],
        "cache_read_input_tokens": u["cached"],
        "cache_creation_input_tokens": u["written"],
    }
    content: list[dict[str, Any]] = [{"type": "text", "text": request.text}] if request.text else []
    content += [
        {"type": "tool_use", "id": f"toolu_{i}", "name": name, "input": {"query": "x"}}
        for i, name in enumerate(request.tools)
    ]
    reason = "tool_use" if request.tools else "end_turn"
    base = {"id": "msg_1", "type": "message", "role": "assistant", "model": request.body.get("model")}
    whole = {**base, "content": content, "stop_reason": reason, "stop_sequence": None}
    start = {**base, "content": [], "stop_reason": None, "stop_sequence": None}
    delta = {"stop_reason": reason, "stop_sequence": None}
    end: dict[str, Any] = {"type": "message_delta", "delta": delta, "usage": {}}
    if u and prompt:
        whole["usage"] = {**prompt, "output_tokens": u["output"]}
        start["usage"] = {**prompt, "output_tokens": 1}  # the placeholder that the real API sends
        end["usage"] = {"output_tokens": u["output"]}
    data: list[dict[str, Any]] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, block in enumerate(content):
        empty = {**block, "text": ""} if block["type"] == "text" else {**block, "input": {}}
        data.append({"type": "content_block_start", "index": index, "content_block": empty})
        deltas = [{"type": "text_delta", "text": word} for word in _words(block.get("text", ""))]
        deltas = deltas or [{"type": "input_json_delta", "partial_json": part} for part in ('{"query"', ': "x"}')]
        data += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        data.append({"type": "content_block_stop", "index": index})
    return whole, [(str(entry["type"]), entry) for entry in [*data, end, {"type": "message_stop"}]]


def _google(request: Received) -> tuple[dict[str, Any], list[Event]]:
    usage = {}
    if (u := request.usage) is not None:
        counts = {
            "promptTokenCount": u["input"],
            "cachedContentTokenCount": u["cached"],
            "candidatesTokenCount": u["output"] - u["reasoning"],
            "thoughtsTokenCount": u["reasoning"],
            "totalTokenCount": u["input"] + u["output"],
        }
        usage = {"usageMetadata": counts}
    parts: list[dict[str, Any]] = [{"text": request.text}] if request.text else []
    parts += [{"functionCall": {"name": name, "args": {"query": "x"}}} for name in request.tools]
    model = request.path.rpartition("/")[2].partition(":")[0]
    base = {"responseId": "resp_1", "modelVersion": model}

    def answer(some: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": some}, "index": 0}
        return {**base, "candidates": [candidate | ({"finishReason": reason} if reason else {})], **usage}

    words = [{"text": word} for word in _words(request.text)]
    last = answer(parts[1 if words else 0 :] or [{"text": ""}], "STOP")  # the real one's last chunk has an empty text
    chunks = [*(answer([part], None) for part in words), last]
    return answer(parts, "STOP"), [(None, chunk) for chunk in chunks]


# What answers a request: returns the whole answer, and the events it is streamed as.
Dialect = Callable[[Received], tuple[dict[str, Any], list[Event]]]
_DIALECTS: dict[str, Dialect] = {
    "/chat/completions": _openai_chat,
    "/responses": _openai_responses,
    "/v1/messages": _anthropic,
    "enerateContent": _google,
}
