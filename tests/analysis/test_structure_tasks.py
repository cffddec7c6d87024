"""All of a task's structure in one row, and ratios of sums per kind: by hand, and agreement on random trees."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from tests.analysis.conftest import Row, frame_of
from tests.analysis.trees import at, call, random_tasks, research, tool, tools_of

from tokenflation.analysis.columns.structure_kinds import KIND_COLUMNS, KIND_RATIOS, TASK_STRUCTURE_COLUMNS
from tokenflation.analysis.structure.summary import SUMMARY_COLUMNS, structure_summary
from tokenflation.analysis.structure.tasks import structure_kinds, structure_tasks
from tokenflation.sdk.errors import FrameError


def _two_tasks() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the research task, and one of a single agent with one tool call that failed."""
    calls, tools = research()
    calls += [
        call("x", "solo", 0, 100, task_id="u", tool_calls=1, prompted_by="user"),
        call("y", "solo", 1, 105, task_id="u", prompted_by="tool"),
    ]
    failing = tool("x", "t9", "search", started_at_ns=at(101), ended_at_ns=at(105)) | {"failed": 1, "result_tokens": 40}
    return frame_of(calls), pd.DataFrame([*tools, failing])


def test_a_kind_has_ratios_of_sums_and_never_means_of_ratios() -> None:
    tasks = structure_tasks(*_two_tasks())
    row = structure_kinds(tasks).iloc[0]
    assert list(tasks.columns) == list(TASK_STRUCTURE_COLUMNS)
    assert list(structure_kinds(tasks).columns) == list(KIND_COLUMNS)
    # Tokens 3,685 and 220, of which 885 inside sub-agents; calls 6 and 2, of which 4 are of outermost runs.
    assert (row["tasks"], row["tokens"], row["calls"]) == (2, 3_905, 8)
    assert row["sub_agent_token_share"] == pytest.approx(885 / 3_905)
    assert row["multi_agent_overhead"] == pytest.approx(3_905 / 3_020)
    assert row["recursion_factor"] == 2
    # Three agent runs started by two answers.
    assert (row["fan_out_mean"], row["fan_out_max"]) == (1.5, 2)
    # Busy 6 + 6 seconds, chains 5 + 6; durations 7 + 6, tools alone 0 + 4.
    assert row["parallelism"] == pytest.approx(12 / 11)
    assert (row["duration_s"], row["tool_s"], row["tool_time_share"]) == (13, 4, pytest.approx(4 / 13))
    # 4 tool calls of 8 calls in 2 tasks; the only task that knows of its user has one request and one tool call.
    assert (row["tool_calls"], row["tool_calls_per_call"], row["tool_calls_per_task"]) == (4, 0.5, 2)
    assert (row["user_requests"], row["tool_calls_per_request"]) == (1, 1)
    assert (row["tool_rows"], row["executed_tool_calls"], row["tool_error_rate"]) == (4, 4, 1)


def test_durations_add_up_where_they_are_more_than_64_bits_hold() -> None:
    rows = [call(f"c{task}{late}", f"r{task}", late, late * 1.7e9, task_id=f"t{task}")
            for task in range(8) for late in range(2)]  # fmt: skip
    row = structure_kinds(structure_tasks(frame_of(rows))).iloc[0]
    assert row["duration_s"] == pytest.approx(8 * 1.7e9)


def test_what_no_task_knows_is_missing() -> None:
    silent = {"input_tokens": None, "output_tokens": None, "ended_at_ns": None}
    tasks = structure_tasks(frame_of([call("a", "r", 0, 0, status="error", **silent)]))
    row = structure_kinds(tasks).iloc[0]
    assert (row["failed_calls"], row["tasks_with_tokens"], row["tasks_with_duration"]) == (1, 0, 0)
    unknown = (
        "tokens",
        "duration_s",
        "tool_s",
        "failed_tokens",
        "failed_token_share",
        "user_requests",
        "repeated_tokens",
    )
    assert row[list(unknown)].isna().all()
    assert row[["repeated_tool_share", "reflection_share", "reasoning_step_share", "tool_error_rate"]].isna().all()


def test_failures_that_report_nothing_are_not_taken_for_failures_that_cost_nothing() -> None:
    silent = {"input_tokens": None, "output_tokens": None}
    calls = [
        call("a", "r", 0, 0),
        call("b", "s", 0, 5, task_id="u"),
        call("c", "s", 1, 6, task_id="u", status="error", **silent),
    ]
    row = structure_kinds(structure_tasks(frame_of(calls))).iloc[0]
    assert (row["failed_calls"], row["failed_with_usage"]) == (1, 0)
    assert row[["failed_tokens", "failed_token_share"]].isna().all()


def test_intervals_need_ten_tasks_and_hold_the_ratio() -> None:
    rng = np.random.default_rng(2)
    calls: list[Row] = []
    for number in range(30):
        calls.append(call(f"p{number}", f"p{number}", 0, 0, task_id=f"t{number}", input_tokens=1_000))
        for sub in range(int(rng.integers(0, 4))):
            inside = {"depth": 1, "task_id": f"t{number}", "input_tokens": int(rng.integers(10, 900))}
            calls.append(call(f"s{number}-{sub}", f"s{number}-{sub}", 0, 1, **inside))
    row = structure_kinds(structure_tasks(frame_of(calls)), rng=np.random.default_rng(1)).iloc[0]
    for name in ("sub_agent_token_share", "multi_agent_overhead", "recursion_factor", "fan_out_mean"):
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
    few = frame_of([one for one in calls if str(one["task_id"]) in {f"t{n}" for n in range(9)}])
    row = structure_kinds(structure_tasks(few), rng=np.random.default_rng(1)).iloc[0]
    assert row[[f"{ratio.name}_low" for ratio in KIND_RATIOS]].isna().all()


def test_calls_that_never_meet_are_in_flight_as_long_as_any_is_and_as_surely() -> None:
    rng = np.random.default_rng(8)
    calls: list[Row] = []
    for number in range(12):
        pause = float(rng.integers(1, 90))
        calls += [
            call(f"a{number}", f"r{number}", 0, 0, task_id=f"t{number}"),
            call(f"b{number}", f"r{number}", 1, 5 + pause, task_id=f"t{number}"),
        ]
    row = structure_kinds(structure_tasks(frame_of(calls)), rng=np.random.default_rng(1)).iloc[0]
    assert row["concurrency_max"] == 1
    for end in ("", "_low", "_high"):
        assert 0 < row[f"concurrency_mean{end}"] == row[f"generation_share{end}"] < 1
    assert row["generation_share_low"] == pytest.approx(1 - row["human_wait_share_high"])


def test_the_summary_has_all_of_a_kind_in_one_row() -> None:
    calls, tools = _two_tasks()
    outcomes = pd.DataFrame({"task": "kind", "task_id": ["t", "u"], "outcome": [1, 0], "status": "ok"})
    frame = structure_summary(calls, tools, None, outcomes, rng=np.random.default_rng(0))
    assert list(frame.columns) == list(SUMMARY_COLUMNS)
    row = frame.iloc[0]
    assert (row["tokens_per_success"], row["success_rate"], row["max_over_min"]) == (
        3_905,
        0.5,
        pytest.approx(3_685 / 220),
    )
    # Three sub-agent runs of the four above the deepest level: planner, two readers, the single agent.
    assert (row["parents"], row["branching_factor"]) == (4, 0.75)


def test_another_frame_is_refused_with_what_to_give() -> None:
    with pytest.raises(FrameError, match="structure_tasks"):
        structure_kinds(pd.DataFrame({"task": ["a"]}))


@given(random_tasks())
@settings(deadline=None, max_examples=25)
def test_splits_of_a_random_task_add_up(task: tuple[list[Row], list[dict[str, Any]]]) -> None:
    tasks = structure_tasks(frame_of(task[0]), tools_of(task[1]))
    row = structure_kinds(tasks).iloc[0]
    assert tasks["steps"].iloc[0] == row["calls"] == len(task[0])
    assert row["server_tool_calls"] + row["executed_tool_calls"] + row["unanswered_tool_calls"] == row["tool_rows"]
    assert row["tool_rows"] == len(task[1])
    if row["tasks_with_duration"]:
        parts = [row[f"{part}_s"] for part in ("generation", "tool", "human_wait", "rest", "unknown")]
        assert sum(parts) == pytest.approx(row["duration_s"], abs=1e-6)
    if row["tasks_with_tokens"] and not pd.isna(row["failed_tokens"]):
        assert row["failed_tokens"] <= row["tokens"]
