"""Every recorded exchange of the four apis, replayed in random chunks, must count as the independent truth table."""

import csv
import itertools
import json
import lzma
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tokenflation.sdk.records import Reading
from tokenflation.sdk.wire import ExchangeBytes, read, recognise

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "wire"
APIS = ("openai.chat", "openai.responses", "anthropic.messages", "google.generate_content")

# Snowflake answers with an object of empty strings where there is no call: `"function_call": {"arguments": "", "name":
# ""}, "tool_calls": null`, beside a plain text answer. The table took the object for a call; there is none.
TABLE_ERRORS = {(f"pydantic-ai/{number}.json", "tool_calls"): ("1", "0") for number in ("1180", "1181", "1183", "1189")}

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not (DATA / "truth.csv").exists(), reason="the recorded exchanges are not beside the checkout"),
]


def _exchanges() -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    with (DATA / "truth.csv").open(encoding="utf-8", newline="") as table:
        truth = {row["file"]: row for row in csv.DictReader(table)}
    with lzma.open(DATA / "exchanges.jsonl.xz", "rt", encoding="utf-8") as lines:
        for line in lines:
            exchange = json.loads(line)
            row = truth[exchange["file"]]
            if row["api"] in APIS:
                yield exchange, row


def _cut(body: bytes, rng: random.Random) -> list[tuple[int, bytes]]:
    cuts = sorted(rng.randrange(len(body) + 1) for _ in range(rng.randrange(12)))
    edges = [0, *cuts, len(body)]
    return [(1000 + at, body[a:b]) for at, (a, b) in enumerate(itertools.pairwise(edges))]


def _read(exchange: dict[str, Any], rng: random.Random, share: float = 1) -> Reading | None:
    """Read an exchange cut at random; of its answer only the first `share`."""
    url = urlsplit(exchange["url"])
    path = f"{url.path}?{url.query}" if url.query else url.path
    api = recognise(exchange["method"], path)
    assert api is not None, exchange["url"]
    asked = exchange["request_body"]
    answer = exchange["response_body"].encode("utf-8", "surrogatepass")
    view = ExchangeBytes(
        api=api,
        method=exchange["method"],
        host=url.netloc,
        path=path,
        request_body=None if asked is None else json.dumps(asked).encode(),
        status_code=exchange["status"],
        chunks=_cut(answer[: int(len(answer) * share)], rng),
        end="read",
    )
    return read(view, key=b"k")


def _cells(reading: Reading) -> dict[str, str]:
    def cell(value: int | str | None) -> str:
        return "" if value is None else str(value)

    failed = reading.status == "error" and not reading.stream
    reported = "error" if failed else "none" if reading.usage_source == "absent" else "reported"
    usage = reading.usage
    return {
        "input_total": cell(usage.input_tokens),
        "cached_read": cell(usage.cache_read_tokens),
        "cache_write": cell(usage.cache_write_tokens),
        "output_total": cell(usage.output_tokens),
        "reasoning": cell(usage.reasoning_tokens),
        "tool_calls": str(sum(call.kind == "client" for call in reading.tool_calls)),
        "finish": next(iter(reading.finish_reasons), ""),
        "model_response": cell(reading.response_model),
        "usage_status": reported,
        "billed_input_total": cell(reading.extra.get("billed_input_tokens")),
        "billed_output_total": cell(reading.extra.get("billed_output_tokens")),
    }


def _differences() -> tuple[int, dict[tuple[str, str], tuple[str, str]]]:
    rng = random.Random(20261121)
    compared = 0
    differences = {}
    for exchange, row in _exchanges():
        reading = _read(exchange, rng)
        cells = _cells(reading) if reading is not None else {}
        for column in cells or ["usage_status"]:
            compared += 1
            if cells.get(column) != row[column]:
                differences[exchange["file"], column] = (row[column], cells.get(column, "unread"))
    return compared, differences


def test_every_recorded_exchange_counts_as_the_truth_table_says() -> None:
    compared, differences = _differences()

    print(f"{compared} cells compared, {len(differences)} differ: {Counter(column for _, column in differences)}")
    assert compared > 25_000
    assert differences == TABLE_ERRORS


def test_no_recorded_stream_is_whole_without_its_last_part() -> None:
    rng = random.Random(7)
    cut = 0
    for exchange, row in _exchanges():
        if row["stream_response"] == "1" and row["api"] != "google.generate_content":  # which has no terminator
            reading = _read(exchange, rng, share=rng.uniform(0.05, 0.9))
            assert reading is not None
            assert reading.status in ("cut", "error")
            assert not reading.usage_complete
            if row["api"] == "anthropic.messages":
                assert reading.usage.output_tokens in (None, int(row["output_total"]))
            cut += 1
    assert cut > 300


def test_every_recorded_call_that_re_sends_another_starts_with_its_history() -> None:
    rng = random.Random(11)
    readings = {exchange["file"]: (_read(exchange, rng), row) for exchange, row in _exchanges()}
    pairs = 0
    for reading, row in readings.values():
        if row["parent_kind"] == "message_prefix" and row["parent_file"] in readings:
            parent = readings[row["parent_file"]][0]
            assert reading is not None
            assert parent is not None
            assert reading.message_hashes[: len(parent.message_hashes)] == parent.message_hashes
            assert len(reading.message_hashes) > len(parent.message_hashes)
            if reading.instructions_hash == parent.instructions_hash:
                assert reading.prompt.startswith(parent.prompt)
            pairs += 1
    print(f"{pairs} pairs of calls, all with equal beginnings")
    assert pairs > 500
