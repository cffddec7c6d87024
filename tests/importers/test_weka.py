"""How a Weka session becomes rows."""

import re
from typing import Any

import pytest
from tests.importers.traces import marker, request, session

from tokenflation.sdk.importers.workloads.weka import rows
from tokenflation.sdk.importers.workloads.weka_format import Trace, convert, digest
from tokenflation.sdk.records import Call
from tokenflation.sdk.store.write import Batch

KEY = b"k" * 16


def _read(trace: dict[str, Any]) -> Trace:
    read = convert(trace)
    assert isinstance(read, Trace), read
    return read


def _rows(trace: dict[str, Any], key: bytes = KEY) -> Batch:
    read = _read(trace)
    return rows(read, digest(read), task="kind", task_id=read.id, key=key)


def _calls(*requests: Any, **fields: Any) -> list[Call]:
    return list(_rows(session(*requests, **fields)).calls)


def _blocks(call: Call) -> list[bytes]:
    assert call.block_hashes is not None
    return [call.block_hashes[at : at + 8] for at in range(0, len(call.block_hashes), 8)]


def test_a_request_becomes_a_call_with_its_times_and_tokens() -> None:
    (call,) = _calls(request(1.5, type="s", ttft=0.05, stop="tool_use", think_time=3.0))
    assert (call.started_at_ns, call.ended_at_ns, call.duration_s) == (1_500_000_000, 1_700_000_000, 0.2)
    assert (call.stream, call.ttft_s, call.input_tokens, call.output_tokens) == (True, 0.05, 640, 50)
    assert (call.finish_reasons, call.tool_calls, call.usage_source) == (("tool_use",), 1, "provider")
    assert (call.task, call.task_id, call.agent, call.depth, call.step) == ("kind", "s1", "main", 0, 0)


def test_what_a_trace_does_not_report_stays_unknown() -> None:
    (call,) = _calls(request(0.0, api_time=None, stop=""))
    assert (call.ended_at_ns, call.duration_s, call.ttft_s, call.finish_reasons) == (None, None, None, ())
    assert (call.cache_read_tokens, call.reasoning_tokens, call.shared_blocks, call.resent_tokens) == (None,) * 4


def test_a_sub_agent_is_a_run_of_its_own_and_a_marker_inside_it_one_level_deeper() -> None:
    inner = marker(0.6, [request(0.7)], subagent_type="Search")
    calls = _calls(request(0.0), marker(0.5, [request(0.5), inner, request(0.9)]), request(1.5))
    assert [(call.agent, call.depth, call.step) for call in calls] == [
        ("main", 0, 0), ("Explore", 1, 0), ("Search", 2, 0), ("Explore", 1, 1), ("main", 0, 1),
    ]  # fmt: skip
    assert len({call.agent_run_id for call in calls}) == 3


def test_the_times_of_a_sub_agent_count_from_its_marker_where_they_would_lie_before_it() -> None:
    relative = _calls(request(0.0), marker(10.0, [request(0.0), request(2.0)]))
    absolute = _calls(request(0.0), marker(10.0, [request(10.0), request(12.0)]))
    assert [call.started_at_ns for call in relative] == [0, 10_000_000_000, 12_000_000_000]
    assert [call.started_at_ns for call in absolute] == [0, 10_000_000_000, 12_000_000_000]


def test_every_scope_has_a_span_that_covers_what_is_inside() -> None:
    spans = _rows(session(request(0.0), marker(0.5, [request(0.5, api_time=9.0)]), request(1.5))).spans
    assert [(span.kind, span.name, span.depth) for span in spans] == [
        ("task", "kind", 0), ("agent", "main", 0), ("agent", "Explore", 1),
    ]  # fmt: skip
    assert [span.ended_at_ns for span in spans] == [9_500_000_000] * 3
    assert [span.parent_id for span in spans] == [None, spans[0].span_id, spans[1].span_id]


def test_there_are_as_many_hashes_as_blocks_and_a_partial_block_is_shared_with_no_one() -> None:
    first, second = _calls(request(0.0, **{"in": 150}, hash_ids=[1, 2]), request(1.0, **{"in": 150}, hash_ids=[1, 2]))
    assert len(_blocks(first)) == len(_blocks(second)) == 3
    assert _blocks(first)[:2] == _blocks(second)[:2]
    assert _blocks(first)[2] != _blocks(second)[2]
    assert (first.prefix_blocks, first.shared_blocks, second.shared_blocks) == (2, 0, 2)


def test_only_leading_blocks_are_shared() -> None:
    _, call = _calls(request(0.0, **{"in": 192}, hash_ids=[1, 2, 3]), request(1.0, **{"in": 192}, hash_ids=[1, 9, 3]))
    assert call.shared_blocks == 1


def test_a_hash_stands_for_the_whole_prompt_up_to_it() -> None:
    one, other = _calls(request(0.0, **{"in": 128}, hash_ids=[1, 7]), request(1.0, **{"in": 128}, hash_ids=[2, 7]))
    assert not set(_blocks(one)) & set(_blocks(other))


def test_a_block_of_the_same_call_is_not_shared_with_itself() -> None:
    (call,) = _calls(request(0.0, **{"in": 192}, hash_ids=[5, 5, 5]))
    assert call.shared_blocks == 0


@pytest.mark.parametrize(("scope", "equal"), [("local", False), ("global", True)])
def test_ids_of_two_sessions_mean_the_same_only_where_their_scope_is_global(scope: str, equal: bool) -> None:
    one, other = (
        _calls(request(0.0, hash_ids=list(range(10))), id=name, hash_id_scope=scope)[0] for name in ("s1", "s2")
    )
    assert (one.block_hashes == other.block_hashes) is equal


def test_hashes_of_stores_with_other_keys_share_nothing() -> None:
    trace = session(request(0.0, hash_ids=list(range(10))))
    one, other = _rows(trace).calls[0], _rows(trace, b"other key" * 2).calls[0]
    assert not set(_blocks(one)) & set(_blocks(other))


def test_without_hashes_the_counts_of_the_source_stand() -> None:
    (call,) = _calls(request(0.0, n_blocks=10, hit_blocks=4))
    assert (call.block_hashes, call.prefix_blocks, call.shared_blocks) == (None, 10, 4)


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"hit_blocks": 0, "input_types": ["text"]}, (100, 50, 0, 0, 490)),
        ({"hit_blocks": 5, "input_types": ["tool_result"]}, (100, 50, 170, 320, 0)),
        ({"hit_blocks": 5, "input_types": ["text", "tool_result"]}, (100, 50, 170, 0, 320)),
        ({"hit_blocks": 1}, (100, 50, 0, 0, 490)),
        ({"in": 120, "hit_blocks": 1}, (100, 20, 0, 0, 0)),
        ({"in": 60, "hit_blocks": 0}, (60, 0, 0, 0, 0)),
    ],
)
def test_the_parts_of_an_input_sum_to_it(fields: dict[str, Any], parts: tuple[int, ...]) -> None:
    (call,) = _calls(request(0.0, **fields), tool_tokens=100, system_tokens=50)
    found = (
        call.tool_definition_tokens,
        call.system_tokens,
        call.resent_tokens,
        call.tool_result_tokens,
        call.new_tokens,
    )
    assert found == parts
    assert sum(parts) == call.input_tokens


@pytest.mark.parametrize(
    ("types", "by"),
    [
        (["text"], "user"), (["text", "image"], "user"), (["tool_result", "tool_result"], "tool"),
        (["tool_result", "text"], "both"), (["text", "thinking", "tool_result", "tool_use"], None), ([], None), (None, None),
    ],
)  # fmt: skip
def test_who_prompted_a_call_is_read_from_the_types_of_its_input(types: list[str] | None, by: str | None) -> None:
    (call,) = _calls(request(0.0) | {"input_types": types})

    assert call.prompted_by == by


def test_what_has_no_column_is_kept_for_an_export() -> None:
    calls = _calls(
        request(0.0, think_time=1.0, input_types=["text"], output_types=[]),
        marker(0.5, [request(0.5)], duration_ms=900, tool_use_count=None),
        tool_tokens=7, totals={"x": 1},
    )  # fmt: skip
    kept = {"models": ["m"], "tool_tokens": 7, "totals": {"x": 1}, "session_relative_time": True}
    assert calls[0].extra == {"think_time": 1.0, "input_types": ["text"], "output_types": [], "session": kept}
    assert calls[1].extra["subagent"] == {
        "agent_id": "agent_001", "subagent_type": "Explore", "duration_ms": 900, "tool_use_count": None,
    }  # fmt: skip


def test_a_sub_agent_without_calls_is_kept_with_the_session() -> None:
    batch = _rows(session(request(0.0), marker(2.0, [])))
    assert batch.calls[0].extra["session"]["empty_subagents"][0]["t"] == 2.0
    assert [span.name for span in batch.spans] == ["kind", "main", "Explore"]


def test_ids_depend_on_the_content_and_not_on_its_layout() -> None:
    trace = session(request(0.0), marker(0.5, [request(0.5)]))
    turned = dict(reversed(trace.items()))
    assert digest(_read(trace)) == digest(_read(turned))
    changed = session(request(0.0), marker(0.5, [request(0.5, out=51)]))
    ids = [{call.call_id for call in _rows(one).calls} for one in (trace, changed)]
    assert len(ids[0]) == 2
    assert not ids[0] & ids[1]


@pytest.mark.parametrize(
    ("trace", "message"),
    [
        ([], "Expected `object`, got `array`"),
        ({"id": "a"}, "missing required field `block_size`"),
        ({"timestamp": 1, "input_length": 5}, "missing required field `id`"),
        (session(request(-1.0)), r"Expected `float` >= 0.* at `\$.requests\[[^]]*\].t`"),
        (session(request(0.0, out="many")), r"Expected `int`, got `str` - at `\$.requests\[[^]]*\].out`"),
        (session(request(0.0, type="x")), "Invalid value 'x'"),
        (session(request(0.0), request(1.0, hash_ids=list(range(11)))), r"11 blocks .*\$.requests\[1\]"),
        (session(request(0.0, n_blocks=3, hit_blocks=4)), "`hit_blocks` 4 is more than"),
        (session(block_size=0), "Expected `int` >= 1"),
    ],
)
def test_a_broken_session_is_refused_with_its_field(trace: Any, message: str) -> None:
    found = convert(trace)
    assert isinstance(found, str)
    assert re.search(message, found)
