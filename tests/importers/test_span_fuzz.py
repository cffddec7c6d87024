"""Traces and exports that were cut, shuffled, repeated, mixed or damaged: a clear report, every good record taken."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.importers.spans import CHAT, TRACE, request, rows, span, usage
from tests.importers.test_agent_events import CLAUDE, event, logged
from tests.importers.test_exports import MLFLOW, OBSERVATIONS, PHOENIX, RUNS

from tokenflation.sdk.errors import ImportSourceError
from tokenflation.sdk.importers import ImportSummary, import_paths
from tokenflation.sdk.importers.spans.usage import counted, from_langfuse, from_provider

AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner", **usage(999, 99)}
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
OTLP = [
    request(span(1, "invoke_agent planner", lasts=9.0, _=AGENT)),
    request(span(2, parent=1, at=1.0, _={**CHAT, **usage(200, 20)})),
    request(span(3, "execute_tool search", 1, 2.0, _=TOOL)),
    request(span(4, parent=3, at=2.1, lasts=0.5, _={**CHAT, **usage(50, 5)})),
    request(span(5, trace=TRACE[::-1], _={**CHAT, **usage(7, 1)})),
    request(span(6, parent=1, at=5.0, _={**CHAT, **usage(300, 30)})),
]
EVENTS = [
    logged(event("claude_code.api_request", 3 * n, **(CLAUDE | {"request_id": f"r{n}", "session.id": f"s{n % 2}"})))
    for n in range(4)
]
FILES: dict[str, list[dict[str, Any]]] = {
    "otlp": OTLP, "events": EVENTS, "langfuse": OBSERVATIONS, "langsmith": RUNS, "mlflow": [MLFLOW], "phoenix": PHOENIX,
}  # fmt: skip
LINES = {name: [json.dumps(one) for one in records] for name, records in FILES.items()}
BY_FORMAT = pytest.mark.parametrize("name", FILES)
SEEN = "call_id, task_id, agent, depth, step, input_tokens, output_tokens, tool_calls"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def take(content: str | bytes) -> tuple[ImportSummary | None, list[tuple[Any, ...]]]:
    """Import a file of this content; return the summary and what the store has, or no summary if nothing is in it."""
    with tempfile.TemporaryDirectory() as folder:
        file, store = Path(folder, "f.jsonl"), Path(folder, "runs.db")
        file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        refused = ""
        try:
            summary = import_paths([file], store)
        except ImportSourceError as error:
            refused = str(error)
        if refused:
            assert str(file) in refused or "hold nothing to import" in refused
            return None, []
        assert import_paths([file], store).calls == 0, "a second import adds nothing"
        return summary, rows(store, SEEN)


WHOLE = {name: take("\n".join(lines))[1] for name, lines in LINES.items()}


def test_the_files_hold_what_the_others_are_compared_with() -> None:
    assert {name: len(found) for name, found in WHOLE.items()} == {
        "otlp": 4, "events": 4, "langfuse": 3, "langsmith": 3, "mlflow": 3, "phoenix": 3,
    }  # fmt: skip
    assert [row[2:7] for row in WHOLE["otlp"]][1:] == [
        ("planner", 0, 0, 200, 20),
        ("planner", 0, 1, 50, 5),
        ("planner", 0, 2, 300, 30),
    ]


@BY_FORMAT
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_the_order_of_records_and_their_repetition_change_no_row(name: str, data: st.DataObject) -> None:
    lines = LINES[name]
    more = data.draw(st.lists(st.sampled_from(lines), max_size=3))
    summary, found = take("\n".join(data.draw(st.permutations([*lines, *more]))))
    assert found == WHOLE[name]
    assert summary is not None
    assert set(summary.broken) <= {"a span that the files hold more than once"}


@BY_FORMAT
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_a_file_cut_anywhere_gives_what_its_whole_lines_give(name: str, data: st.DataObject) -> None:
    content = "\n".join(LINES[name])
    end = data.draw(st.integers(0, len(content)))
    kept = [line for at, line in enumerate(LINES[name]) if len("\n".join(LINES[name][: at + 1])) <= end]
    _, found = take(content[:end])
    tokens = {row[0]: row[5:7] for row in WHOLE[name]}
    ids = {row[0] for row in found}
    if name == "mlflow":  # one document, closed where its last whole value ends
        assert ids <= set(tokens)
    else:
        assert ids == {row[0] for row in take("\n".join(kept))[1]}
    assert all(tokens[row[0]] == row[5:7] or row[5:7] == (None, None) for row in found)


@BY_FORMAT
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_foreign_and_broken_lines_cost_no_good_record(name: str, data: st.DataObject) -> None:
    lines = list(LINES[name])
    strangers = st.one_of(
        st.text(max_size=20).filter(lambda text: "\n" not in text and "\r" not in text),
        json_values.map(json.dumps),
        st.dictionaries(st.sampled_from(sorted(_keys(FILES[name]))), json_values, max_size=4).map(json.dumps),
    )
    for _ in range(data.draw(st.integers(1, 4))):
        lines.insert(data.draw(st.integers(1, len(lines))), data.draw(strangers))
    summary, found = take("\n".join(lines))
    assert summary is not None
    assert set(WHOLE[name]) <= set(found)


@BY_FORMAT
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_any_value_anywhere_in_a_record_costs_that_record_at_most(name: str, data: st.DataObject) -> None:
    records: list[dict[str, Any]] = json.loads(json.dumps(FILES[name]))
    victim = data.draw(st.integers(0, len(records) - 1))
    place: Any = records[victim]
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(json_values)
        break
    summary, found = take("\n".join(json.dumps(one) for one in records))
    if summary is None or len(records) == 1:
        return
    others = take("\n".join(line for at, line in enumerate(LINES[name]) if at != victim))[1]
    # A damaged parent or trace moves calls to another place, but loses none that other lines tell.
    damaged = LINES[name][victim]
    assert {row[0] for row in found} >= {row[0] for row in others if row[0] not in damaged}


def test_what_cannot_be_events_or_costs_loses_no_call() -> None:
    trace, runs = (json.loads(json.dumps(FILES[name])) for name in ("mlflow", "langsmith"))
    trace[0]["data"]["spans"][0]["events"] = 0.5
    runs[1]["total_cost"] = 10**400
    for name, records in (("mlflow", trace), ("langsmith", runs)):
        summary, found = take("\n".join(json.dumps(one) for one in records))
        assert summary is not None
        assert (found, summary.problems) == (WHOLE[name], ())


def _keys(records: list[dict[str, Any]]) -> set[str]:
    return {key for one in records for key in one}


@given(content=st.binary(max_size=400))
@settings(max_examples=40, deadline=None)
def test_bytes_of_any_kind_are_read_or_refused_with_words(content: bytes) -> None:
    take(content)
    take(b"\x0a" + content)
    take(b"traceId,type,startTime,usageDetails\n" + content)


counts = st.none() | st.integers(-5, 2**60) | st.floats(0, 1e6) | st.text(max_size=3)


@given(*[counts] * 6, st.sampled_from(["", "strands", "openlit"]), st.sampled_from(["", "anthropic"]))
@settings(deadline=None)
def test_no_part_is_above_its_total_and_nothing_is_made_of_nothing(
    given_in: Any, read: Any, write: Any, output: Any, reasoning: Any, total: Any, library: str, provider: str
) -> None:
    usage_ = counted(given_in, read, write, output, reasoning, total, library=library, provider=provider).usage
    assert max(usage_.cache_read_tokens or 0, usage_.cache_write_tokens or 0) <= (usage_.input_tokens or 2**60)
    assert (usage_.reasoning_tokens or 0) <= (usage_.output_tokens or 2**60)
    if given_in is None:
        assert usage_.input_tokens is None
    if output is None:
        assert usage_.output_tokens is None


@given(
    st.dictionaries(
        st.sampled_from(["input", "input_cached_tokens", "output", "output_reasoning", "total", "x"]), counts
    )
)
@settings(deadline=None)
def test_langfuses_kinds_are_summed_without_loss(kinds: dict[str, Any]) -> None:
    for found in (from_langfuse(kinds), from_provider(kinds)):
        assert (found.usage.cache_read_tokens or 0) <= (found.usage.input_tokens or 2**60)
