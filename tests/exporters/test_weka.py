"""Weka traces: the fields, times, sub-agents and files that its readers take."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.exporters.frames import call, frame, rolling

from tokenflation.exporters import write
from tokenflation.sdk.errors import ExportError

# AIPerf 0.13, dataset/loader/weka_trace_models.py: every model forbids other fields.
_SESSION = {"id", "models", "block_size", "hash_id_scope", "tool_tokens", "system_tokens", "requests", "totals"}
_PLAIN = {
    "t",
    "type",
    "model",
    "in",
    "out",
    "hash_ids",
    "input_types",
    "output_types",
    "stop",
    "api_time",
    "think_time",
}
_MARKER = {"t", "type", "agent_id", "subagent_type", "duration_ms", "total_tokens", "tool_use_count", "status"}
_MARKER |= {"requests", "models", "tool_tokens", "system_tokens"}
_REQUIRED = {"t", "type", "model", "in", "out"}


def _written(calls: pd.DataFrame, tmp_path: Path) -> list[dict[str, Any]]:
    write(calls, tmp_path / "out.jsonl", format="weka")
    return [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]


def _with_sub_agent() -> pd.DataFrame:
    sub = {"agent": "Explore", "agent_run_id": "run-sub", "depth": 1, "model": "small"}
    return frame(
        [
            call(at_s=0, finish=["tool_calls"], tool_calls=1, tool_definition_tokens=128, system_tokens=64),
            call(at_s=2, duration_s=1.5, input_tokens=320, tool_calls=1, **sub),
            call(at_s=4, step=1, input_tokens=512, finish=["stop"], **sub),
            call(at_s=6, step=1, input_tokens=960, stream=1, ttft_s=0.25, finish=["stop"]),
        ]
    )


def test_a_session_has_only_the_fields_that_a_strict_reader_knows(tmp_path: Path) -> None:
    (session,) = _written(_with_sub_agent(), tmp_path)

    assert set(session) <= _SESSION
    marker = next(entry for entry in session["requests"] if entry["type"] == "subagent")
    assert set(marker) == _MARKER
    for request in [entry for entry in session["requests"] if entry is not marker] + marker["requests"]:
        allowed = _PLAIN | {"ttft"} if request["type"] == "s" else _PLAIN
        assert set(request) <= allowed
        assert set(request) >= _REQUIRED


def test_a_sub_agent_run_is_one_entry_between_the_calls_around_it(tmp_path: Path) -> None:
    (session,) = _written(_with_sub_agent(), tmp_path)

    before, marker, after = session["requests"]
    assert (before["t"], marker["t"], after["t"]) == (0.0, 2.0, 6.0)
    assert [request["t"] for request in marker["requests"]] == [2.0, 4.0]
    assert (marker["agent_id"], marker["subagent_type"], marker["status"]) == ("agent_001", "Explore", "completed")
    assert (marker["duration_ms"], marker["total_tokens"], marker["tool_use_count"]) == (3000, 852, 1)


def test_streamed_calls_of_a_sub_agent_are_written_as_the_plain_ones_that_inference_perf_takes(tmp_path: Path) -> None:
    streamed = {"stream": 1, "ttft_s": 0.25}
    calls = frame([call(at_s=0, **streamed), call(at_s=2, agent_run_id="sub", depth=1, **streamed)])

    summary = write(calls, tmp_path / "out.jsonl", format="weka")

    outer, marker = json.loads((tmp_path / "out.jsonl").read_text())["requests"]
    assert (outer["type"], outer["ttft"]) == ("s", 0.25)
    assert [(request["type"], "ttft" in request) for request in marker["requests"]] == [("n", False)]
    assert any(note.startswith("1 streamed call of sub-agents") for note in summary.notes)


def test_every_model_is_declared_those_of_sub_agents_too(tmp_path: Path) -> None:
    (session,) = _written(_with_sub_agent(), tmp_path)

    assert session["models"] == ["m", "small"]
    assert session["requests"][1]["models"] == ["small"]


def test_times_are_seconds_and_think_time_runs_since_the_same_agent_runs_last_answer(tmp_path: Path) -> None:
    (session,) = _written(_with_sub_agent(), tmp_path)

    first, marker, last = session["requests"]
    assert (first["api_time"], first["think_time"]) == (1.0, 0.0)
    assert [request["think_time"] for request in marker["requests"]] == [0.0, 0.5]
    assert (last["type"], last["ttft"], last["think_time"]) == ("s", 0.25, 5.0)


def test_think_time_runs_since_all_ended_that_stands_before_in_the_same_list(tmp_path: Path) -> None:
    deep = {"depth": 2, "agent_run_id": "run-deep"}
    beside = {"agent_run_id": "run-beside"}
    calls = frame(
        [
            call(at_s=0, duration_s=10.0), call(at_s=1, **beside), call(at_s=12, step=1),
            call(at_s=20, depth=1, agent_run_id="run-sub"), call(at_s=21.5, **deep), call(at_s=24, depth=1, agent_run_id="run-sub"),
        ]
    )  # fmt: skip

    (session,) = _written(calls, tmp_path)

    *main, marker = session["requests"]
    assert [request["think_time"] for request in main] == [0.0, 0.0, 2.0]
    assert [request["think_time"] for request in marker["requests"]] == [0.0, 0.5, 1.5]


def test_a_retried_call_stands_where_its_last_attempt_left_and_its_back_off_is_a_wait_before_it(tmp_path: Path) -> None:
    retried = call(at_s=2, attempts=3, step=1) | {"ended_at_ns": call(at_s=63)["started_at_ns"]}

    (session,) = _written(frame([call(at_s=0), retried, call(at_s=65, step=2)]), tmp_path)

    assert [request["t"] for request in session["requests"]] == [0.0, 62.0, 65.0]
    assert [request["api_time"] for request in session["requests"]] == [1.0, 1.0, 1.0]
    assert [request["think_time"] for request in session["requests"]] == [0.0, 61.0, 2.0]


def test_no_sessions_id_has_a_colon_and_each_stays_its_own(tmp_path: Path) -> None:
    rows = [call(task_id=name, agent_run_id=f"run-{name}") for name in ("a:b", "a/b", "A/b", "plain")]

    assert [session["id"] for session in _written(frame(rows), tmp_path)] == ["a/b", "a/b-2", "A/b", "plain"]


def test_an_unknown_duration_leaves_the_next_think_time_out(tmp_path: Path) -> None:
    calls = frame([call(at_s=0, duration_s=None), call(at_s=5, step=1)])

    (session,) = _written(calls, tmp_path)

    assert "api_time" not in session["requests"][0]
    assert "think_time" not in session["requests"][1]


def test_overlapping_calls_of_one_agent_run_have_no_negative_think_time(tmp_path: Path) -> None:
    calls = frame([call(at_s=0, duration_s=10.0), call(at_s=1, step=1)])

    (session,) = _written(calls, tmp_path)

    assert session["requests"][1]["think_time"] == 0.0


@pytest.mark.parametrize(
    ("finish", "tool_calls", "stop"),
    [
        (["stop"], 0, "end_turn"),
        (["end_turn"], 0, "end_turn"),
        (["completed"], 0, "end_turn"),
        (["tool_calls"], 0, "tool_use"),
        (["STOP"], 2, "tool_use"),
        (["length"], 0, ""),
        ([], 0, ""),
    ],
)
def test_the_stop_reason_is_one_of_the_formats_three_words(
    tmp_path: Path, finish: list[str], tool_calls: int, stop: str
) -> None:
    (session,) = _written(frame([call(finish=finish, tool_calls=tool_calls)]), tmp_path)

    assert session["requests"][0]["stop"] == stop


def test_totals_and_prefix_sizes_come_from_the_calls(tmp_path: Path) -> None:
    (session,) = _written(_with_sub_agent(), tmp_path)

    assert (session["tool_tokens"], session["system_tokens"]) == (128, 64)
    assert session["totals"]["parent_tokens"] == {"input": 1600, "output": 20}
    assert session["totals"]["combined_tokens"] == {"input": 2432, "output": 40}
    assert session["totals"]["subagent_count"] == 1


def test_deeper_agent_runs_are_written_inside_the_sub_agent_that_was_running(tmp_path: Path) -> None:
    calls = frame(
        [
            call(at_s=0, duration_s=1),
            call(at_s=2, agent_run_id="a", depth=1, duration_s=9),
            call(at_s=3, agent_run_id="b", depth=1, duration_s=1),
            call(at_s=5, agent_run_id="c", depth=2, duration_s=1),
            call(at_s=20, step=1),
        ]
    )

    summary = write(calls, tmp_path / "out.jsonl", format="weka")

    session = json.loads((tmp_path / "out.jsonl").read_text())
    assert [len(e.get("requests", [])) for e in session["requests"]] == [0, 2, 1, 0]
    assert [request["t"] for request in session["requests"][1]["requests"]] == [2.0, 5.0]
    assert summary.sub_agent_runs == 2
    assert any("deeper than one level" in note for note in summary.notes)


def test_several_outermost_agent_runs_become_one_list_and_the_summary_says_so(tmp_path: Path) -> None:
    calls = frame([call(at_s=0), call(at_s=1, agent_run_id="other"), call(at_s=2, step=1)])

    summary = write(calls, tmp_path / "out.jsonl", format="weka")

    session = json.loads((tmp_path / "out.jsonl").read_text())
    assert [request["t"] for request in session["requests"]] == [0.0, 1.0, 2.0]
    assert any("several outermost" in note for note in summary.notes)


def test_a_session_whose_outermost_calls_have_no_usage_is_written_from_the_next_level(tmp_path: Path) -> None:
    calls = frame([call(at_s=0, input_tokens=None), call(at_s=1, agent_run_id="sub", depth=1)])

    (session,) = _written(calls, tmp_path)

    assert [request["type"] for request in session["requests"]] == ["n"]


def test_block_ids_start_anew_in_every_session(tmp_path: Path) -> None:
    hashes = rolling("a", "b")
    calls = frame(
        [
            call(task_id="t1", input_tokens=128, block_hashes=hashes),
            call(task_id="t2", input_tokens=128, block_hashes=hashes, agent_run_id="r2"),
        ]
    )

    sessions = _written(calls, tmp_path)

    assert [session["requests"][0]["hash_ids"] for session in sessions] == [[0, 1], [0, 1]]


def test_tasks_of_thousands_of_calls_that_ran_at_once_each_keep_their_own(tmp_path: Path) -> None:
    sizes = {f"t{task}": 1_500 if task == 2 else 3 for task in range(800)}
    calls = [call(task_id=name, agent_run_id=name, at_s=at, input_tokens=64 + at)
             for name, size in sizes.items() for at in range(size)]  # fmt: skip

    sessions = _written(frame(calls), tmp_path)

    assert {session["id"]: len(session["requests"]) for session in sessions} == sizes
    assert all([one["in"] for one in session["requests"]] == [64 + at for at in range(sizes[session["id"]])]
               for session in sessions)  # fmt: skip


def test_two_kinds_with_one_task_id_are_two_sessions_with_different_ids(tmp_path: Path) -> None:
    calls = frame([call(task="fix"), call(task="review", agent_run_id="r2")])

    sessions = _written(calls, tmp_path)

    assert [session["id"] for session in sessions] == ["fix/t1", "review/t1"]


def test_what_the_source_said_of_a_session_and_a_sub_agent_is_written_back(tmp_path: Path) -> None:
    session_extra = {"models": ["m", "declared-only"], "tool_tokens": 7, "system_tokens": 3}
    marker_extra = {
        "agent_id": "agent_x",
        "subagent_type": "Plan",
        "duration_ms": 5,
        "total_tokens": None,
        "status": "done",
    }
    calls = frame(
        [
            call(at_s=0, extra={"session": session_extra, "input_types": ["text"], "think_time": 4.5}),
            call(at_s=1, agent_run_id="sub", depth=1, extra={"subagent": marker_extra}),
        ]
    )

    (session,) = _written(calls, tmp_path)

    request, marker = session["requests"]
    assert (session["models"], session["tool_tokens"], session["system_tokens"]) == (["m", "declared-only"], 7, 3)
    assert (request["think_time"], request["input_types"]) == (4.5, ["text"])
    assert {name: marker[name] for name in marker_extra} == marker_extra


def test_a_folder_gets_one_file_per_session(tmp_path: Path) -> None:
    calls = frame([call(task_id="a/b"), call(task_id="A_B", agent_run_id="r2")])

    write(calls, f"{tmp_path}/out/", format="weka")

    files = sorted((tmp_path / "out").iterdir())
    assert [file.suffix for file in files] == [".json", ".json"]
    assert {json.loads(file.read_text())["id"] for file in files} == {"a/b", "A_B"}


def test_a_json_file_holds_one_session_only(tmp_path: Path) -> None:
    calls = frame([call(task_id="a"), call(task_id="b", agent_run_id="r2")])

    write(calls.iloc[:1], tmp_path / "one.json", format="weka")
    with pytest.raises(ExportError, match="one session"):
        write(calls, tmp_path / "two.json", format="weka")

    assert [file.name for file in tmp_path.iterdir()] == ["one.json"]


def test_a_folder_with_files_in_it_is_not_mixed_with_new_sessions(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("{}")

    with pytest.raises(ExportError, match="not an empty folder"):
        write(frame([call()]), tmp_path, format="weka")

    assert [file.name for file in tmp_path.iterdir()] == ["old.json"]


def test_reuse_between_tasks_which_ids_of_one_session_cannot_show_is_named(tmp_path: Path) -> None:
    rows = [
        call(at_s=at, task_id=name, agent_run_id=name, input_tokens=320, block_hashes=rolling(*"abcd", name))
        for at, name in enumerate("xyz")
    ]

    (note,) = write(frame(rows), tmp_path / "out.jsonl", format="weka").notes

    assert note.startswith(
        "2 calls beginning as calls of other tasks do: 512 tokens or more of reuse (53 % of the input)"
    )
    assert write(frame(rows), tmp_path / "out.jsonl", format="mooncake", block_size=64).notes == ()


def test_reuse_within_a_task_is_not_named_as_reuse_between_tasks(tmp_path: Path) -> None:
    keys = rolling(*"abcd")
    rows = [
        call(agent_run_id="main", input_tokens=256, block_hashes=keys),
        call(at_s=1, agent_run_id="sub", depth=1, input_tokens=256, block_hashes=keys, shared_blocks=4),
    ]

    assert write(frame(rows), tmp_path / "out.jsonl", format="weka").notes == ()
