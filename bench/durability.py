"""How long after a client has its answer a kill can take it no more and its row can be read, and what a kill costs.

    python bench/durability.py [--rates 20,200] [--seconds 5] [--kills 20]

A recording process calls a model server on loopback at a steady rate; this process looks every millisecond, and takes
the time from the call's end to the moment it stands on disk, in the journal beside the store or in the store, and to
the moment its row can be read as any SQLite reader does. Then it kills such a process right after an answer, again and
again, and counts calls that are in no row. Prints, never gates.
"""

import argparse
import platform
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.providers import Provider  # the tests' model server, from the checkout

from tokenflation.sdk.store.journals.journal import entries
from tokenflation.sdk.store.journals.recover import recover

CLIENT = """
import os, signal, sys, time, httpx, tokenflation.sdk as tf
url, store, rate, seconds, kill = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), sys.argv[5] == "kill"
handle = tf.instrument(store)
body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
with httpx.Client() as client:
    start = time.monotonic()
    for number in range(int(rate * seconds)):
        time.sleep(max(0.0, start + number / rate - time.monotonic()))
        client.post(url, json=body)
    if kill:
        os.kill(os.getpid(), signal.SIGKILL)
handle.close()
"""


def client(url: str, store: Path, rate: float, seconds: float, end: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", CLIENT, url, str(store), str(rate), str(seconds), end])


def finished(store: Path) -> Iterator[tuple[str, int]]:
    """Yield id and end of each call that a journal holds: what a kill at this moment would leave."""
    for path in store.parent.glob(f"{store.name}.underway-*[!t]"):  # not those being made, which end in `.draft`
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        yield from ((begun.call_id, ended.ended_at_ns) for begun, ended in entries(data) if ended is not None)


def readable(connection: sqlite3.Connection, count: int) -> list[tuple[str, int]]:
    """Return id and end of the calls after the first `count` rows."""
    try:
        return connection.execute("SELECT call_id, ended_at_ns FROM calls WHERE rowid > ?", (count,)).fetchall()
    except sqlite3.OperationalError:  # the tables are being made
        return []


def delays_ms(url: str, store: Path, rate: float, seconds: float) -> tuple[list[float], list[float], float]:
    """Return, for each call, the time from its end until it was on disk and until its row was seen; and calls/s."""
    process = client(url, store, rate, seconds, "close")
    on_disk: dict[str, float] = {}
    seen: dict[str, float] = {}
    ends: list[int] = []
    connection = None
    while process.poll() is None:
        time.sleep(0.001)
        if connection is None:
            if not store.exists():
                continue
            connection = sqlite3.connect(store)
        noted = list(finished(store))
        for call_id, ended_at_ns in noted:
            on_disk.setdefault(call_id, (time.time_ns() - ended_at_ns) / 1e6)
        rows = readable(connection, len(seen))
        now = time.time_ns()
        for call_id, ended_at_ns in rows:
            seen[call_id] = (now - ended_at_ns) / 1e6
            on_disk.setdefault(call_id, seen[call_id])
            ends.append(ended_at_ns)
    return sorted(on_disk.values()), sorted(seen.values()), (len(ends) - 1) / (max(ends) - min(ends)) * 1e9


def spread(found_ms: list[float]) -> str:
    p99 = found_ms[int(len(found_ms) * 0.99)]
    return f"median {statistics.median(found_ms):.1f} ms, p99 {p99:.1f} ms, max {found_ms[-1]:.1f} ms"


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--rates", type=lambda text: [float(one) for one in text.split(",")], default=[20.0, 200.0])
    options.add_argument("--seconds", type=float, default=5.0)
    options.add_argument("--kills", type=int, default=20)
    args = options.parse_args()
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.machine()}")
    with tempfile.TemporaryDirectory() as folder, Provider() as provider:
        url = f"{provider.openai_url}/chat/completions"
        for rate in args.rates:
            on_disk, rows, reached = delays_ms(url, Path(folder) / f"rate-{rate:g}.db", rate, args.seconds)
            print(f"{rate:g} calls/s asked, {reached:.0f} made, {len(rows)} calls, from the answer")
            print(f"  to the disk: {spread(on_disk)}")
            print(f"  to a row:    {spread(rows)}")
        lost = calls = 0
        for number in range(args.kills):
            store = Path(folder) / f"kill-{number}.db"
            before = len(provider.requests)
            code = client(url, store, 200.0, 0.05 + 0.02 * number, "kill").wait()
            assert code == -signal.SIGKILL
            recover(store)
            made = len(provider.requests) - before
            connection = sqlite3.connect(store)
            lost += made - connection.execute("SELECT count(*) FROM calls").fetchone()[0]
            connection.close()
            calls += made
        print(f"{args.kills} kills right after an answer: {lost} of {calls} calls lost")


if __name__ == "__main__":
    main()
