"""A million calls through a local server under the recorder: is memory flat, is nothing lost, how large is the file?

    python bench/soak.py [--calls 1000000] [--store soak.db] [--threads 2]

A server in a process of its own answers chat completions with usage; httpx2 clients call it over keep-alive
connections, every tenth call streams. Prints resident memory, rows and drops as it goes, and at the end the bytes per
call and the growth of memory after the first tenth. Exit 1 if a row is missing, doubled or wrong, or a drop was
counted.
"""

import argparse
import json
import os
import socket
import sqlite3
import sys
import threading
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx2

import tokenflation.sdk as tf

STREAMED = 10
"""Every so many calls one is streamed."""
CHUNKS = 12


def main() -> None:
    """Serve, call, watch, and compare the store with what was sent."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--store", type=Path, default=Path("soak.db"))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.store.exists():
        parser.error(f"{arguments.store} exists; give another path or remove it")
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    port = ours.recv()
    with tf.instrument(arguments.store) as handle:
        memory = _call_all(f"http://127.0.0.1:{port}/v1/chat/completions", arguments.calls, arguments.threads, handle)
        handle.flush(60)
        drops = handle.drops
    server.terminate()
    sys.exit(_report(arguments.store, arguments.calls, memory, drops))


def _call_all(url: str, calls: int, threads: int, handle: Any) -> list[float]:
    """Make the calls and return resident memory in MiB after each twentieth of them."""
    done = [0] * threads
    share = calls // threads
    workers = [threading.Thread(target=_call, args=(url, number, share, done)) for number in range(threads)]
    for worker in workers:
        worker.start()
    memory: list[float] = []
    start = time.monotonic()
    print(f"{'calls':>10} {'calls/s':>8} {'RSS MiB':>8} {'in store':>10} drops", flush=True)
    while any(worker.is_alive() for worker in workers):
        time.sleep(0.2)
        if sum(done) >= (len(memory) + 1) * share * threads / 20:
            memory.append(_resident_mib())
            rate = sum(done) / (time.monotonic() - start)
            print(f"{sum(done):>10,} {rate:>8.0f} {memory[-1]:>8.1f} {handle.recorded:>10,} {handle.drops}", flush=True)
    return memory


def _call(url: str, number: int, share: int, done: list[int]) -> None:
    with httpx2.Client(timeout=60) as client:
        for turn in range(share):
            body = {"model": "m", "messages": [{"role": "user", "content": f"question {number}.{turn}"}]}
            if turn % STREAMED == 0:
                with client.stream("POST", url, json={**body, "stream": True}) as response:
                    for _ in response.iter_raw():
                        pass
            else:
                client.post(url, json=body)
            done[number] += 1


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _report(store: Path, calls: int, memory: list[float], drops: dict[str, int]) -> int:
    connection = sqlite3.connect(store)
    query = "SELECT count(*), count(DISTINCT call_id), count(DISTINCT response_id), sum(input_tokens), sum(output_tokens) FROM calls"
    rows, ids, answers, sent, got = connection.execute(query).fetchone()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    warm = memory[len(memory) // 10 : len(memory) // 10 + 1] or memory[:1]
    print(
        f"rows {rows:,}, distinct {ids:,}, answers {answers:,}, input tokens {sent:,}, output tokens {got:,}, drops {drops}"
    )
    print(f"file: {store.stat().st_size / max(rows, 1):.0f} bytes a call")
    print(
        f"memory after a tenth of the calls {warm[0]:.1f} MiB, at the end {memory[-1]:.1f} MiB, most {max(memory):.1f} MiB"
    )
    right = rows == ids == answers == calls and sent == 120 * calls and got == 58 * calls and not drops
    print("every call once, every count right, nothing lost" if right else "WRONG: see above")
    return 0 if right else 1


# The server: enough HTTP for keep-alive clients that send bodies with a length.


def _serve(pipe: Any) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    pipe.send(listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_converse, args=(connection, id(connection)), daemon=True).start()


def _converse(connection: socket.socket, number: int) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    held = b""
    turn = 0
    while True:
        while b"\r\n\r\n" not in held:
            more = connection.recv(65536)
            if not more:
                return
            held += more
        head, _, held = held.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(held) < length:
            held += connection.recv(65536)
        body, held = held[:length], held[length:]
        turn += 1
        connection.sendall(_answer(f"chatcmpl-{number}-{turn}", b'"stream"' in body))


def _answer(name: str, streamed: bool) -> bytes:
    usage = {
        "prompt_tokens": 120,
        "completion_tokens": 58,
        "total_tokens": 178,
        "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 10},
    }
    common = {"id": name, "model": "m-1", "created": 1}
    if not streamed:
        message = {"role": "assistant", "content": "word " * 40}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return _http(b"application/json", json.dumps({**common, "choices": [choice], "usage": usage}).encode())
    deltas = [{"delta": {"content": "word "}, "index": 0, "finish_reason": None} for _ in range(CHUNKS)]
    deltas.append({"delta": {}, "index": 0, "finish_reason": "stop"})
    events = [{**common, "choices": [one]} for one in deltas] + [{**common, "choices": [], "usage": usage}]
    return _http(
        b"text/event-stream",
        b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in events) + b"data: [DONE]\n\n",
    )


def _http(content_type: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (content_type, len(body), body)


if __name__ == "__main__":
    main()
