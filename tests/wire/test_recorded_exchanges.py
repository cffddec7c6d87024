"""Every recorded exchange of every api, replayed in random chunks, must count as the independent truth table."""

import itertools
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from tests.wire.recorded import COUNTING, DATA, Recorded, expected, recorded, table_error

from tokenflation.sdk.records import Reading
from tokenflation.sdk.wire import ExchangeBytes, read, recognise

# Cells in which the table is wrong, each with its evidence in `recorded.table_error`.
TABLE_ERRORS = {
    "finish": 7,
    "tool_calls": 4,
    "model": 1,
    "output_total": 1,
    "cached_read": 1,
    "cache_write": 1,
    "reasoning": 1,
}

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not (DATA / "truth.csv").exists(), reason="the recorded exchanges are not beside the checkout"),
]


def _calls() -> Iterator[Recorded]:
    return (one for one in recorded() if one.row["api"] not in COUNTING)


def _cut(body: bytes, rng: random.Random) -> list[tuple[int, bytes]]:
    cuts = sorted(rng.randrange(len(body) + 1) for _ in range(rng.randrange(12)))
    edges = [0, *cuts, len(body)]
    return [(1000 + at, body[a:b]) for at, (a, b) in enumerate(itertools.pairwise(edges))]


def _read(one: Recorded, rng: random.Random, share: float = 1) -> Reading | None:
    """Read an exchange cut at random; of its answer only the first `share`."""
    api = recognise(one.method, one.path)
    assert api is not None, one.url
    view = ExchangeBytes(
        api=api,
        method=one.method,
        host=one.host,
        path=one.path,
        request_body=one.request,
        status_code=one.status,
        response_headers=one.headers,
        chunks=_cut(one.body[: int(len(one.body) * share)], rng),
        end="read",
    )
    return read(view, key=b"k")


def _cells(reading: Reading) -> dict[str, str]:
    def cell(value: int | str | None) -> str:
        return "" if value is None else str(value)

    failed = reading.status == "error" and not reading.stream
    usage = reading.usage
    return {
        "input_total": cell(usage.input_tokens),
        "cached_read": cell(usage.cache_read_tokens),
        "cache_write": cell(usage.cache_write_tokens),
        "output_total": cell(usage.output_tokens),
        "reasoning": cell(usage.reasoning_tokens),
        "tool_calls": str(sum(call.kind == "client" for call in reading.tool_calls)),
        "finish": next(iter(reading.finish_reasons), ""),
        "model": cell(reading.response_model),
        "model_asked": cell(reading.model),
        "usage_status": "error" if failed else "none" if reading.usage_source == "absent" else "reported",
    }


def test_every_recorded_exchange_counts_as_the_truth_table_says() -> None:
    rng = random.Random(20261121)
    compared = 0
    differences = {}
    table_errors: Counter[str] = Counter()
    for one in _calls():
        reading = _read(one, rng)
        assert reading is not None, one.file
        cells = _cells(reading)
        compared += len(cells)
        for name, said in expected(one.row).items():
            if cells[name] != said and table_error(one, name, cells[name]):
                table_errors[name] += 1
            elif cells[name] != said:
                differences[one.file, name] = (said, cells[name])

    print(f"{compared} cells compared, {len(differences)} differ; the table is wrong in {dict(table_errors)}")
    assert compared > 30_000
    assert differences == {}
    assert table_errors == TABLE_ERRORS


def test_the_sums_over_hidden_iterations_are_those_of_the_truth_table() -> None:
    rng = random.Random(3)
    found = 0
    for one in _calls():
        if one.row["api"] == "anthropic.messages":
            reading = _read(one, rng)
            assert reading is not None
            for side in ("input", "output"):
                said = one.row[f"billed_{side}_total"]
                assert str(reading.extra.get(f"billed_{side}_tokens", "")) == said, one.file
                found += bool(said)
    assert found > 0


def test_what_generates_nothing_is_not_recognised_and_what_an_agent_asks_is_not_read() -> None:
    counting = [one for one in recorded() if one.row["api"] in COUNTING]

    assert len(counting) > 20
    assert {recognise(one.method, one.path) for one in counting} == {None, "bedrock.agents"}
    assert {one.row["api"] for one in counting if recognise(one.method, one.path)} == {"bedrock.agent"}


def test_no_recorded_stream_is_whole_without_its_last_part() -> None:
    rng = random.Random(7)
    cut = 0
    for one in _calls():
        # Gemini has no terminator, nor has a stream that says no reason at all.
        if one.streamed and one.row["api"] != "google.generate_content" and one.row["finish"]:
            reading = _read(one, rng, share=rng.uniform(0.05, 0.9))
            if reading is None:  # too short to say anything, on a path that others use too
                continue
            assert reading.status in ("cut", "error"), one.file
            assert not reading.usage_complete
            if one.row["api"] == "anthropic.messages":
                assert reading.usage.output_tokens in (None, int(one.row["output_total"]))
            cut += 1
    assert cut > 400


def test_every_recorded_call_that_re_sends_another_starts_with_its_history() -> None:
    rng = random.Random(11)
    readings = {one.file: (_read(one, rng), one.row) for one in _calls()}
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
