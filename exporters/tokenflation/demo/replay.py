"""A recorded provider: answers the demo's requests with what a real model server once answered, at its pace.

Requests are matched by their task (the header `x-demo-task`), their path and their order, not by their bodies: the
pages that the agent reads come from the Python that runs it and differ between versions. `record()` makes a recording
by standing between the clients and a live server. Knows nothing of the agent or of the recorder.
"""

import contextlib
import gzip
import http.client
import json
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any

from tokenflation.sdk.errors import TokenflationError

__all__ = ["TASK_HEADER", "Exchange", "Recording", "load_recording", "record", "replay", "save_recording"]

TASK_HEADER = "x-demo-task"

Respond = Callable[[BaseHTTPRequestHandler, str, bytes], None]
"""Answers a request: the handler, the path without its query, and the request's body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One answer of the provider."""

    task: str
    path: str
    status: int
    content_type: str
    body: str
    first_s: float
    """Seconds from the request to the first byte of the answer."""
    duration_s: float
    """Seconds from the request to the last byte of the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What a provider answered, in order, and what it was."""

    about: dict[str, Any]
    exchanges: tuple[Exchange, ...]

    def runs(self) -> int:
        """Return how many tasks of each kind it holds."""
        tasks = {one.task for one in self.exchanges if not one.task.startswith("once-")}
        kinds = Counter(task.rpartition("-")[0] for task in tasks)
        return min(kinds.values(), default=0)


def load_recording(path: Path | None = None) -> Recording:
    """Read a recording; without a path, the one that comes with this package."""
    source = path or resources.files("tokenflation.demo").joinpath("recording.json.gz")
    try:
        held = json.loads(gzip.decompress(source.read_bytes()))
        return Recording(about=held["about"], exchanges=tuple(Exchange(**one) for one in held["exchanges"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TokenflationError(
            f"{source} is no recorded provider ({error}); make one with `tokenflation demo --record-provider FILE`."
        ) from error


def save_recording(recording: Recording, path: Path) -> None:
    """Write a recording; the same recording gives the same bytes."""
    ordered = sorted(recording.exchanges, key=lambda one: one.task)
    held = {"about": recording.about, "exchanges": [asdict(one) for one in ordered]}
    path.write_bytes(gzip.compress(json.dumps(held, separators=(",", ":")).encode(), mtime=0))


@contextlib.contextmanager
def replay(recording: Recording, *, pace: float = 1.0) -> Iterator[str]:
    """Serve a recording on 127.0.0.1 and yield its root URL.

    Args:
        recording: the answers to give.
        pace: seconds to let pass per recorded second; 0 answers at once.
    """
    held: dict[tuple[str, str], list[Exchange]] = {}
    for one in recording.exchanges:
        held.setdefault((one.task, one.path), []).append(one)
    given: Counter[tuple[str, str]] = Counter()
    lock = threading.Lock()

    def respond(handler: BaseHTTPRequestHandler, path: str, _body: bytes) -> None:
        key = (handler.headers.get(TASK_HEADER, ""), path)
        with lock:
            at = given[key]
            given[key] += 1
        if at < len(held.get(key, ())):
            _send(handler, held[key][at], pace)
        else:
            message = f"the recording has no answer {at} to {path} for the task {key[0]!r}"
            body = json.dumps({"error": {"type": "not_recorded", "message": message}})
            _send(handler, _answer(key[0], path, 404, "application/json", body), 0)

    with _serving(respond) as url:
        yield url


@contextlib.contextmanager
def record(live_url: str, into: list[Exchange]) -> Iterator[str]:
    """Stand between clients and the live server, yield the URL to use, and add each exchange to `into`."""
    live = urllib.parse.urlsplit(live_url)

    def respond(handler: BaseHTTPRequestHandler, path: str, body: bytes) -> None:
        started = time.monotonic()
        connection = http.client.HTTPConnection(live.hostname or "", live.port, timeout=300)
        pieces, first_s = [], 0.0
        try:
            connection.request("POST", handler.path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            kind = response.headers.get_content_type()
            _begin(handler, response.status, kind)
            while piece := response.read1(65536):
                first_s = first_s or time.monotonic() - started
                pieces.append(piece)
                _pass_on(handler, piece)
            _pass_on(handler, b"")
        finally:
            connection.close()
        times = (round(first_s, 3), round(time.monotonic() - started, 3))
        text = b"".join(pieces).decode()
        into.append(_answer(handler.headers.get(TASK_HEADER, ""), path, response.status, kind, text, *times))

    with _serving(respond) as url:
        yield url


def _answer(
    task: str, path: str, status: int, kind: str, body: str, first_s: float = 0, duration_s: float = 0
) -> Exchange:
    return Exchange(
        task=task, path=path, status=status, content_type=kind, body=body, first_s=first_s, duration_s=duration_s
    )


def _send(handler: BaseHTTPRequestHandler, one: Exchange, pace: float) -> None:
    """Send one answer; events of a stream leave one by one, spread evenly over the recorded time."""
    time.sleep(one.first_s * pace)
    events = [f"{event}\n\n".encode() for event in one.body.split("\n\n") if event]
    if one.content_type != "text/event-stream":
        time.sleep((one.duration_s - one.first_s) * pace)
        events = [one.body.encode()]
    _begin(handler, one.status, one.content_type)
    gap_s = (one.duration_s - one.first_s) / max(len(events) - 1, 1) * pace
    for number, event in enumerate(events):
        if number:
            time.sleep(gap_s)
        _pass_on(handler, event)
    _pass_on(handler, b"")


def _begin(handler: BaseHTTPRequestHandler, status: int, content_type: str) -> None:
    handler.send_response(status)
    handler.send_header("content-type", content_type)
    handler.send_header("transfer-encoding", "chunked")
    handler.end_headers()


def _pass_on(handler: BaseHTTPRequestHandler, piece: bytes) -> None:
    """Send one chunk of an answer; an empty one ends it."""
    handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    respond: Respond

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: clients hang up on idle connections, and whatever else is wrong they see themselves."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *args: object) -> None:
        """Log nothing."""

    def do_POST(self) -> None:
        """Answer a request."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        with contextlib.suppress(ConnectionError):  # a client may hang up
            self.server.respond(self, self.path.partition("?")[0], body)


@contextlib.contextmanager
def _serving(respond: Respond) -> Iterator[str]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.respond = respond
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="provider", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
