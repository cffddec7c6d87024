"""Which call continues which in recorded agents, compared with a truth table made without this library.

    python bench/lineage_truth.py [EXCHANGES TRUTH] [--list] [--only TEXT]

Every cassette is one program's run: its exchanges are put in order through the assembler of one recorder. The table
names as parent the call whose messages, byte for byte, begin the request; so it names none where a client moved a cache
marker, changed the api, or left the history with the provider. An edge that differs from the table is therefore looked
at in the bodies themselves: it is `proved` if an answer's id, tool call or text of the call we name stands in the
request, and nothing of that kind of the table's parent stands behind it. Exits 1 if an edge is missed, or differs and
is not proved, more often than the bars allow: 1 % of the calls with a parent, 0.5 % of those without.
"""

import argparse
import base64
import csv
import json
import lzma
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tokenflation.sdk.calls.assemble import Assembler, Rows
from tokenflation.sdk.exchange import Exchange, Tap
from tokenflation.sdk.wire import ExchangeBytes, read

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "wire"
KEY = b"bench" * 4
_RECOVERED, _NOT_INVENTED = 0.99, 0.995

Step = tuple[dict[str, Any], dict[str, str], Exchange, Rows]
"""An exchange as it was recorded, its row of the table, as the recorder sees it, and what becomes of it."""


@dataclass
class Edge:
    """One call: the file the table names as its parent, and the one that lineage names."""

    file: str
    table: str
    found: str
    evidence: str | None
    proved: bool


@dataclass
class Answer:
    """What of an answer may come back in a later request, and where its exchange stands in the cassette."""

    place: int
    marks: list[str] = field(default_factory=list)


def cassettes(exchanges: Path, truth: Path, only: str) -> Iterator[list[tuple[dict[str, Any], dict[str, str]]]]:
    """Yield each cassette's exchanges in order, with their rows of the table."""
    with truth.open(encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    found: dict[tuple[str, str], list[tuple[dict[str, Any], dict[str, str]]]] = defaultdict(list)
    with lzma.open(exchanges, "rt", encoding="utf-8") as lines:
        for line in lines:
            one = json.loads(line)
            row = rows[one["file"]]
            if only in f"{row['source']}/{row['cassette']}":
                found[row["source"], row["cassette"]].append((one, row))
    for members in found.values():
        yield sorted(members, key=lambda pair: int(float(pair[1]["seq"] or 0)))


def assembled(cassette: list[tuple[dict[str, Any], dict[str, str]]]) -> Iterator[Step]:
    """Yield what the assembler of one recorder makes of each exchange of a cassette that it takes for a model's."""
    assembler = Assembler(key=KEY)
    for one, row in cassette:
        exchange = _exchange(one)
        if exchange is not None:
            yield one, row, exchange, assembler.exchange(exchange)


def edges(steps: Iterable[Step]) -> Iterator[Edge]:
    """Yield the edge of each call of a cassette; fetching an answer again is no call of its own."""
    files: dict[str, str] = {}
    answers: dict[str, Answer] = {}
    for place, (one, row, exchange, rows) in enumerate(steps):
        if rows.call is None or rows.call.call_id in files:
            if rows.call is not None:
                answers[files[rows.call.call_id]].marks += _marks(exchange)
            continue
        files[rows.call.call_id] = one["file"]
        answers[one["file"]] = Answer(place, _marks(exchange))
        found = files.get(rows.call.continues_call_id or "", "")
        table = row["parent_file"]
        proved = found != table and bool(found) and _is_proved(_text(one["request_body"]), answers, found, table)
        yield Edge(one["file"], table, found, rows.call.continues_evidence, proved)


def shares(found: list[Edge]) -> tuple[float, float]:
    """Return the share of calls with a parent in the table that have it, and of those without that have none.

    What differs from the table and is proved by the bodies counts as right.
    """
    right = [
        [edge.proved or edge.found == edge.table for edge in found if bool(edge.table) == own] for own in (True, False)
    ]
    recovered, not_invented = (sum(some) / max(len(some), 1) for some in right)
    return recovered, not_invented


def _exchange(one: dict[str, Any]) -> Exchange | None:
    taken: list[Exchange] = []
    tap = Tap(submit=taken.append, context=lambda: None, failed=print)
    url = urlsplit(one["url"])
    exchange = tap.begin(one["method"], url.netloc, url.path, _text(one["request_body"]).encode("utf-8", "replace"), {})
    if exchange is None:
        return None
    body = one.get("response_body_b64")
    exchange.answer(one["status"], one.get("content_type") or "", "")
    exchange.add(base64.b64decode(body) if body else _text(one["response_body"]).encode("utf-8", "replace"))
    exchange.finish("read")
    return taken[0]


def _text(body: Any) -> str:
    return "" if body is None else body if isinstance(body, str) else json.dumps(body)


def _marks(exchange: Exchange) -> list[str]:
    """Return the ids and the text of an answer."""
    reading = read(
        ExchangeBytes(
            api=exchange.api,
            method=exchange.method,
            host=exchange.host,
            path=exchange.path,
            request_body=exchange.request_body,
            status_code=exchange.status_code,
            content_type=exchange.content_type,
            chunks=exchange.body(),
            end="read",
        ),
        key=KEY,
    )
    if reading is None:
        return []
    ids = [reading.response_id, reading.conversation_id, *(call.tool_call_id for call in reading.tool_calls)]
    marks = [one for one in ids if one is not None and len(one) > 5]
    said = reading.answer.strip()
    return [*marks, said[:200]] if len(said) > 5 else marks


def _is_proved(request: str, answers: dict[str, Answer], found: str, table: str) -> bool:
    """Return whether a mark of the call we name stands in the request, behind all marks of the table's parent."""
    values = _strings(json.loads(request)) if request.startswith(("{", "[")) else [request]
    last = max((at for at, value in enumerate(values) for mark in answers[found].marks if mark in value), default=-1)
    if table not in answers:
        return last >= 0
    other = max((at for at, value in enumerate(values) for mark in answers[table].marks if mark in value), default=-1)
    return last > other


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for entry in inner for text in _strings(entry)]


def main() -> None:
    """Print what differs and how much; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("exchanges", nargs="?", type=Path, default=DATA / "exchanges.jsonl.xz")
    parser.add_argument("truth", nargs="?", type=Path, default=DATA / "truth.csv")
    parser.add_argument("--list", action="store_true", help="list every edge that differs from the table")
    parser.add_argument("--only", default="", help="cassettes whose name contains this")
    given = parser.parse_args()
    programs = cassettes(given.exchanges, given.truth, given.only)
    found = [edge for one in programs for edge in edges(assembled(one))]
    with_parent = [edge for edge in found if edge.table]
    roots = [edge for edge in found if not edge.table]
    differs = [edge for edge in found if edge.found != edge.table]
    open_ = [edge for edge in differs if not edge.proved]
    for edge in sorted(differs if given.list else open_, key=lambda one: (one.proved, one.file)):
        mark = "proved" if edge.proved else "DIFFERS"
        print(f"{mark:8}{edge.file:28} table {edge.table or '-':28} found {edge.found or '-':28} {edge.evidence or ''}")
    print(f"calls {len(found):,}: with a parent in the table {len(with_parent):,}, without {len(roots):,}")
    recovered, not_invented = shares(found)
    for name, some, share in (("recovered", with_parent, recovered), ("not invented", roots, not_invented)):
        same = sum(edge.found == edge.table for edge in some)
        proved = sum(edge.proved for edge in some)
        print(
            f"{name}: {share:.2%} (as the table has it {same / max(len(some), 1):.2%}; "
            f"{proved} others are proved by the bodies)"
        )
    print(
        "evidence: "
        + ", ".join(f"{name} {n:,}" for name, n in Counter(e.evidence for e in found if e.found).most_common())
    )
    sys.exit(recovered < _RECOVERED or not_invented < _NOT_INVENTED)


if __name__ == "__main__":
    main()
