"""Runs of tools that were seen, and the tool calls on the wire that they are runs of."""

import contextlib
from typing import Any

import pytest
from msgspec.structs import replace

from tokenflation.sdk.calls.toolspans import ToolSpans
from tokenflation.sdk.records import Call, SpanRecord, ToolRun
from tokenflation.sdk.scoping import scopes
from tokenflation.sdk.scoping.openrun import OpenRun
from tokenflation.sdk.wire.toolcalls import digest_of
from tokenflation.sdk.wire.values import dumps

KEY = b"k" * 32


def call_of(call_id: str = "c1", **more: Any) -> Call:
    fixed: dict[str, Any] = {"trace_id": "t1", "task": "k", "task_id": "T", "agent": "a", "agent_run_id": "A"}
    return Call(call_id=call_id, provider="p", api="openai.chat", started_at_ns=0, **{**fixed, **more})


def asked_of(call_id: str = "c1", tool_call_id: str = "x1", name: str = "search", **more: Any) -> ToolRun:
    return ToolRun(call_id=call_id, tool_call_id=tool_call_id, name=name, started_at_ns=10, **more)


def span_of(**more: Any) -> SpanRecord:
    fixed: dict[str, Any] = {"span_id": "s1", "trace_id": "", "parent_id": None, "task_id": None, "agent_run_id": None}
    times = {"started_at_ns": 20, "ended_at_ns": 30}
    return SpanRecord(kind="tool", name="search", depth=0, status="ok", **{**fixed, **times, **more})


def test_a_run_gives_its_times_to_the_one_open_tool_call_of_its_name_and_keeps_them() -> None:
    spans = ToolSpans()
    spans.seen(call_of(), [asked_of(), asked_of(tool_call_id="x2", name="other")])
    span, (run,) = spans.place(span_of())
    assert (span.trace_id, span.task_id, span.agent_run_id) == ("t1", "T", "A")
    assert (run.tool_call_id, run.started_at_ns, run.ended_at_ns, run.run_span_id) == ("x1", 20, 30, "s1")
    (answered,) = spans.seen(call_of("c2"), [asked_of(executed=1, ended_at_ns=99)])
    assert (answered.executed, answered.started_at_ns, answered.ended_at_ns) == (1, 20, 30)


def test_a_run_is_not_taken_for_a_tool_call_that_is_answered_or_came_later_or_is_of_another_agent() -> None:
    spans = ToolSpans()
    spans.seen(call_of(structure_source="scope"), [asked_of()])
    for other in (span_of(agent_run_id="B", task_id="T"), span_of(task_id="U"), span_of(), span_of(started_at_ns=5)):
        assert spans.place(other)[1] == []
    spans.seen(call_of("c2"), [asked_of(executed=1)])
    assert spans.place(span_of(agent_run_id="A", task_id="T"))[1] == []


@pytest.mark.parametrize("asked", ["library_search", "mcp__library__search", "library-search"])
def test_a_run_is_known_by_the_end_of_a_name_that_has_its_servers_before_it(asked: str) -> None:
    spans = ToolSpans()
    spans.seen(call_of(), [asked_of(name=asked), asked_of(tool_call_id="x2", name="library_read")])
    span, (run,) = spans.place(span_of(arguments_bytes=2))
    assert (span.task_id, run.tool_call_id, run.run_span_id) == ("T", "x1", "s1")


def test_a_run_is_known_by_a_name_without_what_providers_allow_in_none() -> None:
    spans = ToolSpans()
    spans.seen(call_of(), [asked_of(name="files_read_all")])
    _, (run,) = spans.place(replace(span_of(result_bytes=2), name="read.all"))
    assert run.run_span_id == "s1"


def test_a_tool_call_of_the_runs_own_name_goes_before_a_longer_one_and_of_two_longer_ones_none_is_taken() -> None:
    spans = ToolSpans()
    spans.seen(call_of(), [asked_of(name="a_search"), asked_of(tool_call_id="x2")])
    (_, (run,)) = spans.place(span_of(arguments_bytes=2))
    assert run.tool_call_id == "x2"
    spans.seen(call_of("c2"), [asked_of("c2", name="b_search"), asked_of("c2", tool_call_id="x3", name="research")])
    assert spans.place(span_of(span_id="s2", arguments_bytes=2))[1] == []


def test_a_scope_inside_a_tool_of_a_longer_name_is_not_taken_for_it() -> None:
    spans = ToolSpans()
    spans.seen(call_of(), [asked_of(name="web_search")])
    assert spans.place(span_of())[1] == []
    assert len(spans.place(replace(span_of(span_id="s2"), name="web_search"))[1]) == 1


def test_a_name_that_only_ends_with_the_same_letters_is_another() -> None:
    spans = ToolSpans()
    spans.seen(call_of(), [asked_of(name="research"), asked_of(tool_call_id="x2", name="search_all")])
    assert spans.place(span_of(arguments_bytes=2))[1] == []


def test_a_run_beside_two_open_tool_calls_of_its_name_is_left_alone() -> None:
    spans = ToolSpans()
    spans.seen(call_of(), [asked_of(), asked_of(tool_call_id="x2")])
    span, runs = spans.place(span_of())
    assert (span.task_id, len(span.trace_id), runs) == (None, 32, [])


def test_of_two_open_tool_calls_of_its_name_a_run_is_the_one_with_its_arguments() -> None:
    spans = ToolSpans()
    hashes = [digest_of(dumps({"query": query}), KEY) for query in ("a", "b")]
    spans.seen(
        call_of(),
        [asked_of(tool_call_id=f"x{at}", arguments_hash=one) for at, one in enumerate(hashes)],
    )
    _, (run,) = spans.place(span_of(arguments_hash=hashes[0]))
    assert (run.tool_call_id, run.run_span_id) == ("x0", "s1")


def test_runs_that_one_answer_asked_for_with_equal_arguments_are_each_of_a_tool_call_of_their_own() -> None:
    spans = ToolSpans()
    same = digest_of(dumps({"query": "a"}), KEY)
    spans.seen(call_of(), [asked_of(tool_call_id=id_, arguments_hash=same) for id_ in ("x1", "x2")])
    told = [spans.place(span_of(span_id=f"s{at}", arguments_hash=same)) for at in range(3)]
    assert [[(run.tool_call_id, run.run_span_id) for run in runs] for _, runs in told] == [
        [("x1", "s0")],
        [("x2", "s1")],
        [],
    ]
    assert [span.task_id for span, _ in told] == ["T", "T", None]


def test_of_two_answers_that_asked_for_the_same_none_is_taken_for_the_run() -> None:
    spans = ToolSpans()
    same = digest_of(dumps({"query": "a"}), KEY)
    for call_id in ("c1", "c2"):
        spans.seen(call_of(call_id), [asked_of(call_id, f"of {call_id}", arguments_hash=same)])
    assert spans.place(span_of(arguments_hash=same))[1] == []


def test_of_the_arguments_of_a_run_only_a_hash_waits_to_be_written() -> None:
    waiting: list[SpanRecord] = []
    arguments = dumps({"query": "a" * 10_000})
    for around in (contextlib.nullcontext(), scopes.task("t")):
        stop = scopes.listen(lambda scope, opened: None if opened else waiting.append(scope.record()))
        with around:
            run = OpenRun("search", arguments, key=KEY, foreign=None, submit=waiting.append)
            assert arguments not in vars(run).values()
            run.close(error_type=None, result_bytes=1)
        stop()
    runs = [one for one in waiting if one.kind == "tool"]
    assert [one.arguments_bytes for one in runs] == [len(arguments)] * 2
    assert [one.arguments_hash for one in runs] == [digest_of(arguments, KEY)] * 2
    assert all("aaaa" not in repr(one) for one in waiting)


def test_a_run_without_a_scope_moves_with_the_call_that_asked_for_it() -> None:
    spans = ToolSpans()
    spans.seen(call_of(), [asked_of()])
    spans.place(span_of())
    (moved,) = spans.moved([replace(call_of(), task_id="U", agent_run_id="B", depth=1)])
    assert (moved.span_id, moved.task_id, moved.agent_run_id, moved.depth) == ("s1", "U", "B", 1)


def test_only_so_many_tool_calls_are_remembered() -> None:
    spans = ToolSpans()
    for number in range(5000):
        spans.seen(call_of(f"c{number}"), [asked_of(f"c{number}")])
    assert len(spans._open) == 4096
