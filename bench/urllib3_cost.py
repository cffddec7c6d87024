"""What recording costs the host's thread in urllib3: bare pools against hooked ones, microseconds a call and a chunk.

    python bench/urllib3_cost.py [--calls 1000] [--chunks 20000] [--rounds 7]

Sockets in memory, so that only urllib3 and the recorder are measured; CPU time of the thread, best of the rounds, bare
and hooked taking turns. The recorder is whole but for its worker, whose share is not the host's. Prints, never gates.
"""

import argparse
import io
import json
import platform
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import urllib3
from idle_recorder import IdleRecorder, idle_recorder

from tokenflation.sdk.hooks import http_client, unseen
from tokenflation.sdk.hooks import urllib3 as hook

URL = "/v1/chat/completions?key=1"
OTHER_URL = "/v1/weather?key=1"
HEADERS = {"content-type": "application/json", "authorization": "Bearer k", "user-agent": "bench", "accept": "*/*"}
EVENT = b'data: {"id": "c", "choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": null}]}\n\n'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"


class Socket:
    """As much of a socket as http.client asks for; the answer is there from the start."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._answer)

    def sendall(self, data: bytes) -> None:
        pass

    def settimeout(self, _: object) -> None:
        pass

    def shutdown(self, _: int) -> None:
        pass

    def close(self) -> None:
        pass


def pool(chunks: int) -> Any:
    answer = HEAD + b"%x\r\n%b\r\n" % (len(EVENT), EVENT) * chunks + b"0\r\n\r\n"

    class Connection(urllib3.connection.HTTPConnection):
        def connect(self) -> None:
            self.sock = Socket(answer)  # type: ignore[assignment]

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Connection

    return Pool("models.test")


def run(url: str, body: bytes, read: str, calls: int, chunks: int) -> None:
    with pool(chunks) as connections:
        for _ in range(calls):
            response = connections.urlopen("POST", url, body=body, headers=HEADERS, preload_content=False)
            if read == "stream":
                for _ in response.stream():
                    pass
            else:
                while response.read(len(EVENT)):
                    pass


def cpu_us(step: Callable[[], None], units: int) -> float:
    start_ns = time.thread_time_ns()
    step()
    return (time.thread_time_ns() - start_ns) / units / 1000


def compare(one: IdleRecorder, step: Callable[[], None], units: int, rounds: int) -> tuple[float, float]:
    """Return the best bare and the best hooked time of one unit, in microseconds."""
    bare, hooked = [], []
    for _ in range(rounds):
        bare.append(cpu_us(step, units))
        undo = [hook.install(one.tap), http_client.install(one.tap), unseen.install(one.tap)]
        hooked.append(cpu_us(step, units))
        for undo_one in reversed(undo):
            undo_one()
        one.drain()
    return min(bare), min(hooked)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--calls", type=int, default=1000)
    options.add_argument("--chunks", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=7)
    args = options.parse_args()
    print(
        f"Python {platform.python_version()}, {platform.machine()}, urllib3 {urllib3.__version__}, best of {args.rounds}"
    )
    print(f"{'':34}{'bare us':>10}{'hooked us':>11}{'added us':>10}{'ratio':>8}")
    sizes = (("1 KB", 1_000), ("100 KB", 100_000), ("2 MB", 2_000_000))
    bodies = {name: json.dumps({"model": "m", "prompt": "x" * size}).encode() for name, size in sizes}
    cases: list[tuple[str, str, bytes, str, int, int]] = [
        *((f"model call, {name} asked", URL, body, "stream", args.calls, 1) for name, body in bodies.items()),
        ("chunk, stream()", URL, bodies["1 KB"], "stream", 1, args.chunks),
        ("chunk, read(n)", URL, bodies["1 KB"], "read", 1, args.chunks),
        ("other call", OTHER_URL, bodies["1 KB"], "stream", args.calls, 1),
        ("other call's chunk", OTHER_URL, bodies["1 KB"], "stream", 1, args.chunks),
    ]
    with idle_recorder() as one:
        for label, url, body, read, calls, chunks in cases:
            bare, hooked = compare(one, partial(run, url, body, read, calls, chunks), calls * chunks, args.rounds)
            print(f"{label:34}{bare:10.2f}{hooked:11.2f}{hooked - bare:10.2f}{hooked / bare:8.2f}")


if __name__ == "__main__":
    main()
