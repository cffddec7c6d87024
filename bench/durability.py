"""How long after a client has its answer another process can read the row, and what a kill right then costs.

    python bench/durability.py [--rates 20,200] [--seconds 5] [--kills 20]

A recording process calls a model server on loopback at a steady rate; this process reads the store as any SQLite reader
does, every millisecond, and takes the time from the call's end to the moment its row can be seen. Then it kills such a
process right after an answer, again and again, and counts calls that are in no row. Prints, never gates.
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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.providers import Provider  # the tests' model server, from the checkout

from tokenflation.sdk.store.recover import recover

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


def delays_ms(url: str, store: Path, rate: float, seconds: float) -> list[float]:
    """Return, for each call, the time from its end to the moment its row was first seen."""
    process = client(url, store, rate, seconds, "close")
    seen: dict[str, float] = {}
    connection = None
    while process.poll() is None:
        time.sleep(0.001)
        if connection is None:
            if not store.exists():
                continue
            connection = sqlite3.connect(store)
        try:
            rows = connection.execute("SELECT call_id, ended_at_ns FROM calls WHERE rowid > ?", (len(seen),)).fetchall()
        except sqlite3.OperationalError:  # the tables are being made
            continue
        now = time.time_ns()
        for call_id, ended_at_ns in rows:
            seen.setdefault(call_id, (now - ended_at_ns) / 1e6)
    return list(seen.values())


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
            found = sorted(delays_ms(url, Path(folder) / f"rate-{rate:g}.db", rate, args.seconds))
            p99 = found[int(len(found) * 0.99)]
            print(f"{rate:5g} calls/s: {len(found)} calls, from answer to readable row: median "
                  f"{statistics.median(found):.1f} ms, p99 {p99:.1f} ms, max {found[-1]:.1f} ms")  # fmt: skip
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
