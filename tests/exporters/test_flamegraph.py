"""Flame graphs: every call is there once with its tokens, and readers made from the formats' definitions read it."""

import gzip
import json
import os
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from tests.analysis.conftest import ORIGIN_NS, SECOND_NS, Row, frame_of
from tests.analysis.trees import call, random_tasks, research, tool, tools_of
from tests.exporters.profiles import pprof_message, pprof_samples, speedscope_file, speedscope_stacks

from tokenflation.analysis.structure.trees import trees
from tokenflation.cli import main
from tokenflation.exporters import write
from tokenflation.exporters.flamegraph import Flames, flames_of
from tokenflation.exporters.pprof import encode_pprof
from tokenflation.exporters.speedscope import encode_speedscope
from tokenflation.sdk.errors import ExportError
from tokenflation.sdk.records import Call, ToolRun
from tokenflation.sdk.store.write import Batch, open_writer

_EVERY = pytest.mark.parametrize("name", ["pprof", "speedscope"])
_STACK = ("task kind", "agent planner", "planner step 0")
_DEEPEST = (
    *_STACK,
    "tool ask_reader",
    "agent reader",
    "reader step 0",
    "tool check",
    "agent checker",
    "checker step 0",
)


def _flames(calls: list[Row], tools: list[dict[str, Any]] | None = None) -> Flames:
    return flames_of(trees(frame_of(calls), tools_of(tools or [])))


def test_speedscope_has_a_stack_per_call_from_the_task_to_the_step() -> None:
    content = encode_speedscope(_flames(*research()))
    assert [profile.name for profile in speedscope_file(content).profiles] == ["input tokens", "output tokens", "calls"]
    stacks = speedscope_stacks(content, "input tokens")
    assert (stacks[_STACK], stacks[_DEEPEST], sum(stacks.values())) == (1_000, 50, 3_350)
    assert sum(speedscope_stacks(content, "calls").values()) == 6


def test_pprof_has_the_same_stacks_with_all_measures_and_labels() -> None:
    samples = pprof_samples(encode_pprof(_flames(*research())))
    (deepest,) = [one for one in samples if one[0] == _DEEPEST]
    assert deepest[1] == {
        "input_tokens": 50,
        "output_tokens": 5,
        "reasoning_tokens": 0,
        "cache_read_tokens": 0,
        "calls": 1,
    }
    assert deepest[2] == {"task_id": "t", "agent_run_id": "checker", "status": "ok"}


def test_pprof_says_when_it_was_and_what_to_show_first() -> None:
    content = encode_pprof(_flames(*research()))
    message = pprof_message(content)
    assert (message.time_nanos, message.duration_nanos) == (ORIGIN_NS, 7 * SECOND_NS)
    assert message.string_table[message.default_sample_type] == "input_tokens"
    assert [message.string_table[one.unit] for one in message.sample_type] == ["tokens"] * 4 + ["count"]
    assert content == encode_pprof(_flames(*research()))


def test_a_session_without_a_date_does_not_stretch_the_time_of_those_that_have_one() -> None:
    undated = call("b", "q", 0, 0) | {"task_id": "u", "started_at_ns": 0, "ended_at_ns": 90 * SECOND_NS}
    message = pprof_message(encode_pprof(_flames([*research()[0], undated])))
    assert (message.time_nanos, message.duration_nanos) == (ORIGIN_NS, 7 * SECOND_NS)
    alone = pprof_message(encode_pprof(_flames([undated])))
    assert (alone.time_nanos, alone.duration_nanos) == (0, 90 * SECOND_NS)


def test_calls_without_usage_have_no_width_in_tokens_and_are_named_as_such() -> None:
    silent = call("b", "r", 1, 2, status="cut", input_tokens=None, output_tokens=None)
    flames = _flames([call("a", "r", 0, 0), silent])
    names = [profile.name for profile in speedscope_file(encode_speedscope(flames)).profiles]
    assert names == ["input tokens (1 of 2 calls not reported)", "output tokens (1 of 2 calls not reported)", "calls"]
    (_, values, labels) = pprof_samples(encode_pprof(flames))[1]
    assert (values["input_tokens"], values["calls"], labels["status"]) == (0, 1, "cut")
    assert labels["usage"] == "input and output not reported"


def test_a_store_that_reports_nothing_still_shows_its_calls() -> None:
    flames = _flames([call("a", "r", 0, 0, input_tokens=None, output_tokens=None)])
    assert [profile.name for profile in speedscope_file(encode_speedscope(flames)).profiles] == ["calls"]
    assert len(pprof_samples(encode_pprof(flames))) == 1


@given(random_tasks())
@settings(deadline=None)
def test_both_formats_hold_exactly_the_tokens_of_the_calls(task: tuple[list[Row], Any]) -> None:
    calls, tools = task
    flames = _flames(calls, tools)
    samples = pprof_samples(encode_pprof(flames))
    for name in ("input_tokens", "output_tokens", "reasoning_tokens", "calls"):
        expected = len(calls) if name == "calls" else sum(row.get(name) or 0 for row in calls)
        assert sum(values[name] for _, values, _ in samples) == expected
        by_stack: Counter[tuple[str, ...]] = Counter()
        for stack, values, _ in samples:
            by_stack[stack] += values[name]
        assert +by_stack == speedscope_stacks(encode_speedscope(flames), name.replace("_", " "))


def test_names_of_any_kind_come_through_and_lone_surrogates_become_question_marks() -> None:
    flames = _flames([call("a", "q", 0, 0, task='<b>"\n\x1b名', agent="x" * 300 + "\ud800")])
    expected = ('task <b>"\n\x1b名', f"agent {'x' * 300}?", f"{'x' * 300}? step 0")
    assert list(speedscope_stacks(encode_speedscope(flames), "input")) == [expected]
    assert pprof_samples(encode_pprof(flames))[0][0] == expected


def test_a_count_of_any_size_is_written_exactly() -> None:
    flames = _flames([call("a", "r", 0, 0, input_tokens=2**62 + 1, output_tokens=127)])
    ((_, values, _),) = pprof_samples(encode_pprof(flames))
    assert (values["input_tokens"], values["output_tokens"]) == (2**62 + 1, 127)
    assert sum(speedscope_stacks(encode_speedscope(flames), "input").values()) == 2**62 + 1


@_EVERY
def test_write_says_what_is_in_the_file_and_what_is_not(tmp_path: Path, name: str) -> None:
    calls, tools = research()
    rows = [*calls, call("z", "lost", 0, 9, depth=4), call("y", "solo", 0, 50, task_id="t2", input_tokens=None)]
    done: list[tuple[int, int]] = []
    summary = write(
        frame_of(rows), tmp_path / "out", format=name, tool_calls=tools_of(tools), progress=lambda *at: done.append(at)
    )
    assert (summary.sessions, summary.calls, summary.sub_agent_runs, summary.input_tokens) == (2, 8, 4, 3_450)
    assert summary.notes == (
        "1 of 8 calls reports no input: no width in input tokens, counted among calls",
        "1 agent run of unknown place: written at their task",
    )
    assert done == [(1, 2), (2, 2)]


@_EVERY
def test_what_cannot_be_written_is_refused_and_nothing_is_left_behind(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    calls = frame_of([call("a", "r", 0, 0)])
    with pytest.raises(ExportError, match="no regular file"):
        write(calls, tmp_path / "pipe", format=name)
    with pytest.raises(ExportError, match="without rows"):
        write(calls.head(0), tmp_path / "out", format=name)
    with pytest.raises(ExportError, match="needs columns"):
        write(calls[["task"]], tmp_path / "out", format=name)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Return a store of two tasks whose planner starts a reader in a tool call, as the recorder writes it."""
    calls, tools = [], []
    for task_id in ("one", "two"):
        given = {"trace_id": "0" * 32, "task": "k", "task_id": task_id, "provider": "p", "api": "a", "input_tokens": 10}
        start = {"started_at_ns": ORIGIN_NS, "ended_at_ns": ORIGIN_NS + SECOND_NS, "output_tokens": 1}
        calls.append(Call(call_id=f"{task_id}-p", agent="planner", agent_run_id=f"{task_id}-P", **given, **start))
        inner = {"depth": 1, "inside_tool_call_id": "t"}
        calls.append(
            Call(call_id=f"{task_id}-r", agent="reader", agent_run_id=f"{task_id}-R", **inner, **given, **start)
        )
        tools.append(ToolRun(call_id=f"{task_id}-p", tool_call_id="t", name="ask", agent_run_id=f"{task_id}-R"))
    with closing(open_writer(tmp_path / "runs.db")) as writer:
        writer.write(Batch(calls=calls, tool_runs=tools))
    return str(tmp_path / "runs.db")


def _exported(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["export", *arguments])
    return int(caught.value.code or 0)


def test_the_command_writes_the_tool_calls_of_the_store_into_both_formats(store: str, tmp_path: Path) -> None:
    assert _exported(store, str(tmp_path / "a.json"), "--format", "speedscope") == 0
    assert _exported(store, str(tmp_path / "a.pb.gz"), "--format", "pprof", "--task-id", "two") == 0
    inner = ("task k", "agent planner", "planner step 0", "tool ask", "agent reader", "reader step 0")
    assert speedscope_stacks((tmp_path / "a.json").read_bytes(), "input") == {inner[:3]: 20, inner: 20}
    samples = pprof_samples((tmp_path / "a.pb.gz").read_bytes())
    assert [(stack, labels["task_id"]) for stack, _, labels in samples] == [(inner[:3], "two"), (inner, "two")]


def test_the_command_says_what_it_wrote_and_refuses_an_unknown_task(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "a.json")
    assert _exported(store, out, "--format", "speedscope") == 0
    told = capsys.readouterr().out
    assert told == f"{out}: speedscope, 2 tasks (2 sub-agent runs), 4 calls, 40 input and 4 output tokens\n"
    assert _exported(store, out, "--format", "speedscope", "--task-id", "nope") == 1
    assert "no such task 'nope'" in capsys.readouterr().err
    assert json.loads(Path(out).read_text())["exporter"].startswith("tokenflation@")


def test_a_file_of_pprof_is_a_gzip_stream_without_a_time_of_writing() -> None:
    content = encode_pprof(_flames([call("a", "r", 0, 0)], [tool("a", "t")]))
    assert content[:4] == b"\x1f\x8b\x08\x00"
    assert content[4:8] == bytes(4)
    assert gzip.decompress(content)
