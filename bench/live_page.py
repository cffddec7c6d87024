"""What a live page costs while its store grows: CPU seconds a minute of the server, how late the page is, how large.

    python bench/live_page.py [--calls N] [--rate R] [--seconds S] [--store DB]

Makes a store of N calls (or copies one), serves it by the command, follows its events as a browser does, adds R calls a
second for S seconds, and prints what the server took of one core. Linux: reads /proc. Needs the serve extra.
"""

import argparse
import http.client
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from profile_scale import STEPS, make_store, task_count

KINDS = 20
SERVE = "from tokenflation.cli import main; main()"


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def grow(store: Path, rate: int, seconds: float) -> int:
    """Add so many calls a second, copies of those there under new ids, a commit each second; return how many."""
    with sqlite3.connect(store, timeout=30) as connection:
        columns = [row[1] for row in connection.execute("pragma table_info(calls)")]
        new = {"call_id": "printf('f%015x', :round + rowid)", "task_id": "task_id || '-' || :round",
               "agent_run_id": "agent_run_id || '-' || :round"}  # fmt: skip
        values = ", ".join(new.get(name, name) for name in columns)
        text = f"insert into calls ({', '.join(columns)}) select {values} from calls where rowid between :a and :b"
        added, started = 0, time.monotonic()
        while time.monotonic() - started < seconds:
            connection.execute(text, {"round": 1_000_000 * (added + 1), "a": added + 1, "b": added + rate})
            connection.commit()
            added += rate
            time.sleep(max(0.0, started + added / rate - time.monotonic()))
    connection.close()
    return added


def follow(port: int, seen: list[tuple[float, str, dict[str, object], int]]) -> None:
    """Note each event: when, which, its data, its bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/events?since=")
    answer = connection.getresponse()
    kind = ""
    try:
        while line := answer.readline():
            if line.startswith(b"event: "):
                kind = line[7:].decode().strip()
            elif line.startswith(b"data: "):
                seen.append((time.monotonic(), kind, json.loads(line[6:]), len(line)))
    except (OSError, http.client.HTTPException):
        return


def main() -> None:
    """Read the arguments, grow a store under a server, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=float, default=1e6)
    parser.add_argument("--rate", type=int, default=100, help="calls a second; default 100")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--store", type=Path, help="a store to copy in place of one that is made")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "runs.db"
        if given.store:
            shutil.copy(given.store, store)
        else:
            make_store(store, task_count(int(given.calls), KINDS), KINDS)
        measure(store, given.rate, given.seconds)


def measure(store: Path, rate: int, seconds: float) -> None:
    """Serve the store while it grows, and print what that took."""
    with sqlite3.connect(store) as connection:
        calls = connection.execute("select count(*) from calls").fetchone()[0]
    connection.close()
    started = time.monotonic()
    server = subprocess.Popen(
        [sys.executable, "-u", "-c", SERVE, "serve", str(store), "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    port = next(int(line.split("/")[2].rpartition(":")[2]) for line in server.stdout if line.startswith("http"))
    print(f"{calls:,} calls (tasks of {STEPS[0]} to {STEPS[1]}): served after {time.monotonic() - started:.1f} s, "
          f"{cpu_s(server.pid):.1f} s CPU")  # fmt: skip
    seen: list[tuple[float, str, dict[str, object], int]] = []
    threading.Thread(target=follow, args=(port, seen), daemon=True).start()
    before, started = cpu_s(server.pid), time.monotonic()
    added = grow(store, rate, seconds)
    took, wall = cpu_s(server.pid) - before, time.monotonic() - started
    changes = [one for one in seen if one[1] == "change"]
    told = [one for one in seen if one[1] == "state"]
    print(f"{added:,} calls added in {wall:.0f} s: {60 * took / wall:.1f} CPU seconds a minute ({took:.1f} s in all)")
    print(f"page sent {len(changes)} times, {sum(one[3] for one in changes) / 1e6:.1f} MB; state told {len(told)} times, "
          f"last: {told[-1][2] if told else 'none'}")  # fmt: skip
    stopped = time.monotonic()
    server.send_signal(signal.SIGINT)
    server.wait()
    print(f"stopped by Ctrl-C after {time.monotonic() - stopped:.1f} s, exit code {server.returncode}")


if __name__ == "__main__":
    main()
