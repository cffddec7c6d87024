"""A server for tests that answers with what it was given, one answer after the other: real HTTP on 127.0.0.1.

For what `tests/providers.py` cannot be asked for in a prompt: answers that change from one request to the next, GETs of
stored answers, streams whose every piece has its moment.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.recording import scripted_bodies as bodies

__all__ = ["Answer", "Scripted", "as_events", "as_json"]

_PATIENCE = 5_000


@dataclass
class Answer:
    """One answer: its pieces leave one by one, each flushed."""

    status: int = 200
    content_type: str = "application/json"
    pieces: Sequence[bytes] = (b"{}",)
    headers: Mapping[str, str] = field(default_factory=dict)
    pause_s: float = 0.0
    """Wait before each piece but the first."""
    arrived: Callable[[], int] | None = None
    """Pieces that the client has by now: the wait begins when it has all before, so no gap is shorter than it."""
    dies: bool = False
    """The connection breaks after the last piece, in place of the body's end."""


def as_json(document: Mapping[str, Any], status: int = 200, **headers: str) -> Answer:
    """Return an answer with a JSON body; underscores in the names of headers are hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status=status, pieces=[json.dumps(document).encode()], headers=named)


def as_events(events: Sequence[bodies.Event], *, pause_s: float = 0.0, dies: bool = False) -> Answer:
    """Return an answer that streams these events, one in a piece."""
    pieces = [bodies.encode(event) for event in events]
    return Answer(content_type="text/event-stream", pieces=pieces, pause_s=pause_s, dies=dies)


class Scripted:
    """The running server; a context manager. `url` is its root; `requests` are the methods and paths that arrived."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self._lock = threading.Lock()
        self.requests: list[str] = []

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.script = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="scripted", daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.openai_url = f"{self.url}/v1"
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def next(self, line: str) -> Answer:
        """Note a request and return what it is answered with; the last answer goes on for ever."""
        with self._lock:
            self.requests.append(line)
            return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def _wait_for(answer: Answer, pieces: int) -> None:
    if answer.arrived is not None:
        for _ in range(_PATIENCE):
            if answer.arrived() >= pieces:
                return
            time.sleep(0.001)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    script: Scripted

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: clients under test hang up whenever they like."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's delayed acknowledgement
    server: _Server

    def log_message(self, *args: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        if "chunked" in self.headers.get("transfer-encoding", ""):
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("content-length", 0)))
        self._answer()

    def _answer(self) -> None:
        answer = self.server.script.next(f"{self.command} {self.path}")
        self.send_response(answer.status)
        head = {"content-type": answer.content_type, "transfer-encoding": "chunked", **answer.headers}
        for key, value in head.items():
            self.send_header(key, value)
        self.end_headers()
        for number, piece in enumerate(answer.pieces):
            if number:
                _wait_for(answer, number)
                time.sleep(answer.pause_s)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        if answer.dies:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")
