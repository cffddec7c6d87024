"""This recorder as a system under test of a side-by-side bench: `recorders.py` puts it among that bench's adapters.

Reads the store with the standard library alone, as the bench asks: it must also read what a killed process left.
"""

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from typing import Any

from .base import Adapter, record  # type: ignore[import-not-found]  # a module of the bench

CALLS = """
    SELECT c.call_id, c.input_tokens, c.output_tokens, c.cache_read_tokens, c.reasoning_tokens, c.status, c.parent_id,
           (SELECT group_concat(t.name) FROM tool_calls t WHERE t.call_id = c.call_id), c.attempts
    FROM calls c ORDER BY c.started_at_ns
"""


class SUT(Adapter):  # type: ignore[misc]
    packages = ("openai", "anthropic", "--editable", os.environ.get("TOKENFLATION_CHECKOUT", "."))
    preload = (
        "tokenflation.sdk",
        "tokenflation.sdk.instrument",
        "tokenflation.sdk.recording.recorder",
        "tokenflation.sdk.hooks",
    )
    modes = ("record",)

    def install(self, mode: str, store: str, server: str) -> None:  # noqa: ARG002  (the bench's interface)
        import tokenflation.sdk as tf

        os.makedirs(store, exist_ok=True)
        stretch(float(os.environ.get("BENCH_SLOWER", "1")))
        self.handle = tf.instrument(os.path.join(store, "runs.db"))

    @contextlib.contextmanager
    def parent(self) -> Iterator[str]:
        import tokenflation.sdk as tf

        with tf.task("bench") as scope:
            yield scope.span_id

    def flush(self) -> None:
        self.handle.flush()

    def shutdown(self) -> None:
        self.handle.close()

    def read_calls(self, store: str) -> list[dict[str, Any]]:
        path = os.path.join(store, "runs.db")
        if not os.path.exists(path):
            return []
        with contextlib.closing(sqlite3.connect(path)) as connection:
            rows = connection.execute(CALLS).fetchall()
        records = []
        for _, input_tokens, output_tokens, cached, reasoning, status, parent, tools, attempts in rows:
            # One record per HTTP attempt; the tokens of a call are those of its last one.
            records += [record(error=True, parent=parent) for _ in range(attempts - 1)]
            records.append(
                record(input_tokens, output_tokens, cached, reasoning, tools or "", status == "error", parent)
            )
        return records + left_by_the_killed(store, {row[0] for row in rows})


def stretch(times: float) -> None:
    """Stretch what the recorder waits for by the clock, for a process that runs so many times slower than it would."""
    from tokenflation.sdk.recording import inbox, worker
    from tokenflation.sdk.store.journals import underway

    for module, names in (
        (inbox, ("_WINDOW_S", "_BUSY_WINDOW_S", "_LOOK_S")),
        (worker, ("SWEEP_S",)),
        (underway, ("_STREAM_NS", "_PLAIN_NS")),
    ):
        for name in names:
            setattr(module, name, type(getattr(module, name))(getattr(module, name) * times))
    inbox._BUSY_PER_S /= times


def left_by_the_killed(store: str, written: set[str]) -> list[dict[str, Any]]:
    """Return the finished calls that a killed process had no time to write, as the next opener of the store would add.

    The file's format is that of `tokenflation.sdk.store.journals.journal`.
    """
    records = []
    for name in sorted(os.listdir(store)):
        if ".underway-" not in name or name.endswith(".draft"):
            continue
        with open(os.path.join(store, name), "rb") as file:
            data = file.read()
        for slot in range(1024, len(data), 1024):
            begun, ended = data[slot + 8 :], data[slot + 456 :]
            if data[slot] != 2:
                continue
            call = json.loads(begun[: int.from_bytes(data[slot + 2 : slot + 4], "little")])
            usage = json.loads(ended[: int.from_bytes(data[slot + 4 : slot + 6], "little")])["usage"] or {}
            if call["call_id"] not in written:
                tokens = [usage.get(f"{side}_tokens") for side in ("prompt", "completion")]
                records.append(record(*tokens, parent=call.get("parent_id")))
    return records
