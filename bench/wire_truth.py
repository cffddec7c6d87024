"""Recorded exchanges through real clients into a real store, compared cell by cell with an independent truth table.

    python bench/wire_truth.py [EXCHANGES TRUTH] [--seed N] [--only TEXT]

Every exchange is sent by a client of httpx or httpx2, sync or async, under `tf.instrument`; its recorded body comes
back in random chunks cut anywhere, of one in three gzip-encoded, plain answers read at once and streams piece by piece.
After each one the row of its call is read back from the store. A GET of a stored answer has no row: the row of the call
that it belongs to is compared, once the GET shows it finished. What only counts tokens must leave no row at all.

Cells in which the table itself is wrong are listed with the evidence, apart from those that differ. Exits 1 if any
does.
"""

import argparse
import asyncio
import gzip
import itertools
import json
import random
import sqlite3
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import httpx2

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.wire.recorded import COUNTING, DATA, Recorded, expected, recorded, table_error

import tokenflation.sdk as tf

FETCHED = ("openai.responses.retrieve", "openai.assistants.run", "google.interactions")
_SQL = (
    "SELECT input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, tool_calls,"
    " finish_reasons, response_model, model, usage_source, status, stream FROM calls WHERE task_id = ?"
)


@dataclass
class Tally:
    """What came out for one api."""

    exchanges: int = 0
    rows: int = 0
    cells: int = 0
    differing: list[str] = field(default_factory=list)
    table_errors: list[str] = field(default_factory=list)


class Replay:
    """Sends recorded exchanges, each as a task of its own; every way of sending takes its turn."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._turns = itertools.cycle((lib, way) for lib in (httpx, httpx2) for way in (self._sync, self._async))

    def send(self, one: Recorded) -> None:
        """Send one exchange and read its answer to the end."""
        lib, way = next(self._turns)
        headers = {name: value for name, value in one.headers.items() if name in _SENT_BACK}
        body = one.body
        if self._rng.random() < 1 / 3:
            headers["content-encoding"] = "gzip"
            body = gzip.compress(body, 1)
        cuts = sorted(self._rng.randrange(len(body) + 1) for _ in range(self._rng.randrange(40)))
        pieces = [body[a:b] for a, b in itertools.pairwise([0, *cuts, len(body)])]
        asked = {"content": one.request, "headers": {"content-type": "application/json"}} if one.request else {}
        with tf.task("recorded", id=one.file):
            way(lib, one, asked, _answer(lib, one.status, headers, pieces))

    def _sync(self, lib: Any, one: Recorded, asked: dict[str, Any], answer: Any) -> None:
        with lib.Client(transport=lib.MockTransport(lambda _: answer)) as client:
            if not one.streamed:
                client.request(one.method, one.url, **asked)
                return
            with client.stream(one.method, one.url, **asked) as response:
                read = response.iter_raw if self._rng.random() < 0.5 else response.iter_bytes
                for _ in read():
                    pass

    def _async(self, lib: Any, one: Recorded, asked: dict[str, Any], answer: Any) -> None:
        async def send() -> None:
            async with lib.AsyncClient(transport=lib.MockTransport(lambda _: answer)) as client:
                if not one.streamed:
                    await client.request(one.method, one.url, **asked)
                    return
                async with client.stream(one.method, one.url, **asked) as response:
                    read = response.aiter_raw if self._rng.random() < 0.5 else response.aiter_bytes
                    async for _ in read():
                        pass

        asyncio.run(send())


_SENT_BACK = frozenset(("content-type", "x-amzn-errortype")) | {
    f"x-amzn-bedrock-{name}-token-count" for name in ("input", "output", "cache-read-input", "cache-write-input")
}


def _answer(lib: Any, status: int, headers: dict[str, str], pieces: list[bytes]) -> Any:
    class Body(lib.SyncByteStream, lib.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __iter__(self) -> Iterator[bytes]:
            yield from pieces

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

    return lib.Response(status, headers=headers, stream=Body())


def _cells(row: tuple[Any, ...]) -> dict[str, str]:
    """Return the compared cells of a row of `calls`."""
    *counts, tool_calls, finish, response_model, model, source, status, stream = row
    names = ("input_total", "cached_read", "cache_write", "output_total", "reasoning")
    cells = {name: "" if count is None else str(count) for name, count in zip(names, counts, strict=True)}
    failed = status == "error" and not stream
    return {
        **cells,
        "tool_calls": str(tool_calls),
        "finish": next(iter(json.loads(finish)), ""),
        "model": response_model or "",
        "model_asked": model or "",
        "usage_status": "error" if failed else "none" if source == "absent" else "reported",
    }


class Comparison:
    """Reads rows back and holds what came out; `creators` knows which call made the answer that a GET asks for."""

    def __init__(self, store: str) -> None:
        self._database = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
        self._creators: dict[tuple[str, str], str] = {}
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)

    def compare(self, one: Recorded) -> None:
        """Compare what one exchange left in the store with the table's row of it."""
        tally = self.tallies[one.row["api"]]
        tally.exchanges += 1
        rows = self._rows(one.file)
        fetched = one.method == "GET" and one.row["api"] in FETCHED
        if one.row["api"] in COUNTING or fetched or (one.row["usage_status"] == "n/a" and not rows):
            tally.cells += 1
            if rows:
                tally.differing.append(f"{one.file} rows: table none, store {len(rows)}")
            if fetched:
                self._compare_fetched(one, tally)
            return
        tally.rows += len(rows)
        if len(rows) != 1:
            tally.cells += 1
            tally.differing.append(f"{one.file} rows: table 1, store {len(rows)}")
            return
        for response_id in _ids_in(one.body):
            self._creators[one.row["cassette"], response_id] = one.file
        self._compare_row(one, rows[0], tally, expected(one.row))

    def _compare_fetched(self, one: Recorded, tally: Tally) -> None:
        """Compare the row of the call whose answer a GET fetched: finished as the GET says, else as it was."""
        creator = self._creators.get((one.row["cassette"], one.path.partition("?")[0].rpartition("/")[2]))
        rows = self._rows(creator) if creator is not None else []
        if not rows:
            return
        said = expected(one.row)
        if one.row["usage_status"] != "reported":  # it goes on: the call stays as it was, uncounted
            said = {name: value for name, value in said.items() if name not in ("finish", "tool_calls")}
        said.pop("model_asked")  # a GET names none
        if one.row["api"] == "openai.assistants.run":  # the row holds the calls of all its steps, a GET those now open
            said.pop("tool_calls", None)
        self._compare_row(one, rows[0], tally, said)

    def _compare_row(self, one: Recorded, row: tuple[Any, ...], tally: Tally, said: dict[str, str]) -> None:
        cells = _cells(row)
        if said["usage_status"] == "n/a":  # to the table not even uncounted; a row of ours must be
            said = {**said, "usage_status": "none"}
        tally.cells += len(said)
        for name, value in said.items():
            if cells[name] == value:
                continue
            text = f"{one.file} {name}: table {value or 'blank'}, store {cells[name] or 'blank'}"
            evidence = table_error(one, name, cells[name])
            if evidence is None:
                tally.differing.append(text)
            else:
                tally.table_errors.append(f"{text}: {evidence}")

    def _rows(self, task_id: str) -> list[tuple[Any, ...]]:
        return self._database.execute(_SQL, (task_id,)).fetchall()


def _ids_in(body: bytes) -> list[str]:
    """Return the ids that an answer gives itself: of its object, or of the first object in its events."""
    text = body.decode("utf-8", "replace")
    found = []
    for line in [text, *text.splitlines()[:4]]:
        try:
            document = json.loads(line.removeprefix("data:"))
        except ValueError:
            continue
        if isinstance(document, dict):
            inner = document.get("response")
            found += [
                one["id"] for one in (document, inner) if isinstance(one, dict) and isinstance(one.get("id"), str)
            ]
    return found


def _report(tallies: dict[str, Tally], drops: dict[str, int]) -> int:
    """Print what came out and return how many cells differ."""
    print(f"{'api':<28}{'exchanges':>10}{'rows':>8}{'cells':>8}{'differ':>8}{'table wrong':>13}")
    for api, one in sorted(tallies.items()):
        numbers = (one.exchanges, one.rows, one.cells, len(one.differing), len(one.table_errors))
        print(f"{api:<28}" + "".join(f"{n:>{w}}" for n, w in zip(numbers, (10, 8, 8, 8, 13), strict=True)))
    differing = [text for one in tallies.values() for text in one.differing]
    wrong = [text for one in tallies.values() for text in one.table_errors]
    for title, texts in (("Cells that differ", differing), ("Cells in which the table is wrong", wrong)):
        print(f"\n{title}: {len(texts)}", *texts[:200], sep="\n  ")
    total = Counter(
        {name: sum(getattr(one, name) for one in tallies.values()) for name in ("exchanges", "rows", "cells")}
    )
    print(
        f"\ntotal: {total['exchanges']} exchanges, {total['rows']} rows, {total['cells']} cells, {len(differing)} differ,"
        f" {len(wrong)} table errors proven; dropped {drops or 0}"
    )
    return len(differing)


def main() -> None:
    """Replay, compare, print; exit 1 if a cell differs or a record was dropped: what is unseen by design is none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exchanges", nargs="?", type=Path, default=DATA / "exchanges.jsonl.xz")
    parser.add_argument("truth", nargs="?", type=Path, default=DATA / "truth.csv")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="files whose name holds this text")
    arguments = parser.parse_args()
    start = time.monotonic()
    replay = Replay(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "wire.db")
        with tf.instrument(store, task="recorded") as handle:
            comparison = Comparison(store)
            for one in recorded(arguments.exchanges, arguments.truth):
                if arguments.only in one.file:
                    replay.send(one)
                    if not handle.flush(60):
                        sys.exit("The recorder did not come to rest within 60 s; nothing can be compared.")
                    comparison.compare(one)
            drops = handle.drops
    differing = _report(comparison.tallies, drops)
    print(f"seed {arguments.seed}, {time.monotonic() - start:.0f} s")
    lost = [name for name in drops if not name.startswith("unseen:")]
    sys.exit(1 if differing or lost else 0)


if __name__ == "__main__":
    main()
