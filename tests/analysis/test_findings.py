"""Findings: each kind by hand, in order of what could be saved, with its evidence; and none where there is nothing."""

import json
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from tests.analysis.conftest import SECOND_NS, Row, frame_of
from tests.analysis.prompts import BLOCK, asked, calls_of
from tests.analysis.trees import call, random_tasks, tools_of

from tokenflation.analysis.findings import FINDINGS, findings
from tokenflation.analysis.findings.finding import FINDING_COLUMNS
from tokenflation.analysis.frames import from_rows
from tokenflation.sdk.errors import FrameError, PlanError
from tokenflation.sdk.store.tables import TABLES

_TOOLS = next(table.columns for table in TABLES if table.name == "tool_calls")


def _tool(call_id: str, name: str, tool_call_id: str = "t", **values: Any) -> list[Any]:
    given = {"call_id": call_id, "tool_call_id": tool_call_id, "name": name, "kind": "client", "executed": 1}
    return [(given | values).get(column.name) for column in _TOOLS]


def _tools(*rows: list[Any]) -> pd.DataFrame:
    return from_rows(rows, _TOOLS)


def _run(*sizes: int, gap_s: float = 10, **values: Any) -> list[Row]:
    """Return an agent run whose calls have these inputs, nothing else and 10 output tokens."""
    ids = [f"c{step}" for step in range(len(sizes))]
    return [
        call(ids[step], "r", step, gap_s * step, input_tokens=size, continues_call_id=ids[step - 1] if step else None) | values
        for step, size in enumerate(sizes)
    ]  # fmt: skip


def _of(frame: pd.DataFrame, name: str) -> dict[str, Any]:
    (row,) = (row for row in frame.to_dict("records") if row["finding"] == name)
    return {str(key): value for key, value in row.items()}


def test_what_came_after_the_cache_had_expired_is_told_from_what_did_not() -> None:
    rows = _run(1000, 2000, 3000, 4000)
    rows = [{**row, "cache_read_tokens": read} for row, read in zip(rows, (0, 900, 0, 3000), strict=True)]
    rows[2]["started_at_ns"] += 600 * SECOND_NS
    rows[3]["started_at_ns"] += 600 * SECOND_NS
    rows[2]["prompted_by"] = "user"

    frame = findings(frame_of(rows))

    late, soon = _of(frame, "expired_cache"), _of(frame, "uncached_history")
    assert (late["saved_tokens"], late["saved_is"], late["counted_calls"], late["calls"]) == (2000, "measured", 4, 4)
    assert "1 call of `kind / r` came more than 5 minutes after" in late["sentence"]
    assert "the user spoke before 1 of them. A time to live of one hour would have kept 100 %" in late["sentence"]
    assert json.loads(late["call_ids"]) == ["c2"]
    assert (soon["saved_tokens"], json.loads(soon["call_ids"])) == (100, ["c1"])
    assert "2.5 % of what they sent again" in soon["sentence"]


def test_an_hour_of_cache_is_advised_only_where_it_would_have_kept_something() -> None:
    rows = [{**row, "cache_read_tokens": 0} for row in _run(1000, 2000, 3000)]
    for row, seconds in zip(rows, (0, 1800, 9000), strict=True):
        row["started_at_ns"] += seconds * SECOND_NS
    assert "longer time to live" in _of(findings(frame_of(rows)), "expired_cache")["advice"]

    rows[1]["started_at_ns"] += 3600 * SECOND_NS
    late = _of(findings(frame_of(rows)), "expired_cache")
    assert "would have kept 0 %" in late["sentence"]
    assert late["advice"].startswith("Cut the history down")


def test_a_beginning_that_changes_is_named_with_what_it_costs() -> None:
    prompts = ("s1sstt", "s2sstt", "s3sstt")
    parts = {"system_tokens": 4 * BLOCK, "tool_definition_tokens": 2 * BLOCK}
    rows = [
        asked(prompt + "abc"[at], at, **parts, call_id=f"c{at}", task_id=f"t{at}", instructions_hash=prompt.encode())
        for at, prompt in enumerate(prompts)
    ]

    row = _of(findings(calls_of(*rows)), "volatile_prefix")

    assert row["saved_tokens"] == 2 * 5 * BLOCK
    assert "Block 1 (tokens 4 to 7) differs in every call" in row["sentence"]
    assert row["counted_calls"] == 2
    assert row["calls"] == 3


def test_half_of_long_instructions_is_the_yardstick() -> None:
    parts = {"system_tokens": 300, "tool_definition_tokens": 100, "resent_tokens": 0, "tool_result_tokens": 0}
    rows = [{**row, **parts, "new_tokens": 600, "tool_calls": 1} for row in _run(1000, 1000)]

    frame = findings(frame_of(rows))

    row = _of(frame, "overhead")
    assert (row["saved_tokens"], row["saved_is"]) == (400, "estimate")
    assert "40 % of the input of `kind / r` are the same instructions again" in row["sentence"]
    assert "unused_tools" not in set(frame["finding"])


def test_tool_definitions_of_an_agent_that_asks_for_no_tool_are_of_no_use() -> None:
    parts = {"system_tokens": 10, "tool_definition_tokens": 90, "resent_tokens": 0, "tool_result_tokens": 0}
    rows = [{**row, **parts, "new_tokens": 900} for row in _run(1000, 1000, 1000)]

    row = _of(findings(frame_of(rows)), "unused_tools")

    assert (row["saved_tokens"], row["saved_is"], row["counted_calls"]) == (270, "at most", 3)
    assert "tools, or of a schema for its answers, in 3 calls and never asked for a tool" in row["sentence"]


def test_a_large_result_is_paid_in_each_call_that_carries_it_until_the_history_is_cut() -> None:
    rows = _run(1000, 11_000, 11_500, 2_000, 2_500)
    tools = _tools(_tool("c0", "read", result_tokens=9_000), _tool("c2", "read", "u", result_tokens=50))

    row = _of(findings(frame_of(rows), tools), "large_results")

    # Carried by c1 and c2; the fall to 2,000 is a compaction.
    assert row["saved_tokens"] == 5_000 * 2
    assert "1 of 2 results of the tool `read`" in row["sentence"]
    assert "carried along 2 times" in row["sentence"]
    assert row["tool"] == "read"


def test_a_history_that_nobody_cuts_is_compared_with_one_cut_in_the_middle() -> None:
    rows = _run(*range(1_000, 11_000, 1_000))

    row = _of(findings(frame_of(rows)), "long_history")

    # Ten steps: at the fifth, 5,000 tokens become 2,500 for the five after it, and are read once more for the summary.
    assert row["saved_tokens"] == 5 * 2_500 - 5_000
    assert "to 50 % of the context there (assumed: fewer than 3 compactions are recorded)" in row["estimate"]
    assert "grew to 10,000 tokens of context (median of the peaks) in 10 steps" in row["sentence"]


def test_recorded_compactions_say_what_one_would_keep() -> None:
    rows = _run(*range(1_000, 21_000, 1_000))
    for number in range(3):
        more = _run(10_000, 20_000, 4_000)
        rows += [
            {**row, "call_id": f"x{number}{row['call_id']}", "task_id": f"x{number}", "agent_run_id": f"x{number}",
             "continues_call_id": row["continues_call_id"] and f"x{number}{row['continues_call_id']}"}
            for row in more
        ]  # fmt: skip

    row = _of(findings(frame_of(rows)), "long_history")

    # Cut at the tenth of twenty steps to a fifth: 10,000 to 2,000.
    assert row["saved_tokens"] == 10 * 8_000 - 10_000
    assert "to 20 % of the context there (median of 3 recorded compactions)" in row["estimate"]


def test_a_sub_agent_sends_its_opening_in_every_call() -> None:
    rows = _run(5_000) + [
        call(f"s{step}", "sub", step, 2 + step, depth=1, agent="sub", input_tokens=size)
        for step, size in enumerate((700, 900, 600))
    ]

    row = _of(findings(frame_of(rows)), "sub_agents")

    assert row["saved_tokens"] == 700 + 700 + 600
    assert (
        "1 sub-agent run of `kind` sent 2,200 tokens (31 % of the input); 2,000 of them are openings" in row["sentence"]
    )


@pytest.mark.parametrize(
    ("system", "tools", "said"),
    [
        (60, 0, "240 tokens of system prompts, about"),
        (0, 60, "240 tokens of tool definitions, about"),
        (30, 30, "120 tokens of system prompts and 120 of tool definitions, about"),
    ],
)
def test_instructions_of_one_sort_do_not_name_the_other(system: int, tools: int, said: str) -> None:
    parts = {"system_tokens": system, "tool_definition_tokens": tools}
    rows = [call(f"c{step}", "r", step, step, **parts) for step in range(4)]

    assert f"again: {said}" in _of(findings(frame_of(rows)), "overhead")["sentence"]


@pytest.mark.parametrize(("calls", "said"), [(1, "sent with its only call."), (3, "sent with each of 3 calls.")])
def test_an_opening_that_is_sent_once_is_not_said_to_be_sent_again(calls: int, said: str) -> None:
    rows = [call(f"s{step}", "sub", step, 2 + step, depth=1, agent="sub", input_tokens=700) for step in range(calls)]

    sentence = _of(findings(frame_of([*_run(5_000), *rows])), "sub_agents")["sentence"]

    assert sentence.endswith(f"instructions, tools and briefing, {said}")


def test_a_share_too_small_to_round_is_not_said_to_be_nothing() -> None:
    rows = [*_run(500_000), call("s0", "sub", 0, 2, depth=1, agent="sub", input_tokens=700)]
    rows.append(call("s1", "sub", 1, 3, depth=1, agent="sub", input_tokens=800))

    assert "(less than 1 % of the input)" in _of(findings(frame_of(rows)), "sub_agents")["sentence"]


def test_repeated_tool_calls_save_at_least_their_results() -> None:
    rows = _run(100, 200, 300)
    tools = _tools(
        _tool("c0", "read", arguments_hash=b"a", result_tokens=40),
        _tool("c1", "read", arguments_hash=b"a", result_tokens=41),
        _tool("c2", "read", arguments_hash=b"b", result_tokens=42),
    )

    row = _of(findings(frame_of(rows), tools), "repeated_tools")

    assert (row["saved_tokens"], row["saved_is"]) == (41, "at least")
    assert "1 of 3 calls of the tool `read`" in row["sentence"]
    assert json.loads(row["call_ids"]) == ["c1"]


def test_a_loop_costs_what_stands_behind_its_first_round() -> None:
    rows = [{**row, "tool_calls": 1} for row in _run(100, 200, 300, 400)]
    tools = _tools(*(_tool(f"c{step}", "poll", arguments_hash=b"a") for step in range(4)))

    row = _of(findings(frame_of(rows), tools), "loop")

    assert row["saved_tokens"] == 200 + 300 + 400 + 3 * 10
    assert "the longest 4 rounds of `poll`" in row["sentence"]


def test_steps_all_of_whose_tools_failed_are_counted_whole() -> None:
    rows = _run(100, 200, 300)
    tools = _tools(
        _tool("c0", "run", failed=1),
        _tool("c1", "run", failed=1),
        _tool("c1", "read", "u", failed=0),
        _tool("c2", "run", failed=0),
    )

    row = _of(findings(frame_of(rows), tools), "failed_tools")

    assert (row["saved_tokens"], row["calls"]) == (110, 1)
    assert "1 of 3 steps of `kind` with tool calls brought errors" in row["sentence"]


def test_failed_calls_without_usage_have_a_finding_without_a_saving_and_stand_last() -> None:
    rows = _run(100, 200)
    rows[1] |= {"status": "error", "input_tokens": None, "output_tokens": None, "attempts": 3}

    frame = findings(frame_of(rows))

    row = _of(frame, "failed_calls")
    assert pd.isna(row["saved_tokens"])
    assert "1 call of `kind` failed and 2 attempts had to be repeated" in row["sentence"]
    assert frame["finding"].iloc[-1] == "failed_calls"


def test_a_request_that_was_answered_before_is_found() -> None:
    rows = [{**row, "continues_call_id": None, "history": b"u12345678", "kept_messages": 0} for row in _run(100, 100)]

    row = _of(findings(frame_of(rows)), "repeated_requests")

    assert row["saved_tokens"] == 110
    assert "1 request of `kind` had been answered before" in row["sentence"]


def test_failed_tasks_are_named_the_most_expensive_first() -> None:
    rows = [
        call(f"c{number}", f"r{number}", 0, number, task_id=f"t{number}", input_tokens=100 * (number + 1))
        for number in range(3)
    ]
    said = pd.DataFrame(
        {"task": ["kind"] * 3, "task_id": ["t0", "t1", "t2"], "outcome": [0, 1, 0], "score": [None] * 3,
         "status": ["ok"] * 3, "error_type": [None] * 3, "censored_by": [None] * 3}
    )  # fmt: skip

    row = _of(findings(frame_of(rows), None, said), "failed_tasks")

    assert row["saved_tokens"] == 110 + 310
    assert json.loads(row["task_ids"]) == ["t2", "t0"]
    assert "2 of 3 tasks of `kind` failed (2 by outcome)" in row["sentence"]


def test_a_direct_answer_that_fails_is_what_it_was_recorded_for_and_no_finding() -> None:
    rows = [
        *(call(f"a{n}{step}", f"r{n}", step, 10 * n + step, task_id=f"t{n}") for n in range(2) for step in range(2)),
        *(call(f"o{n}", f"o{n}", 0, 50 + n, task="once", task_id=f"o{n}") for n in range(2)),
    ]
    said = pd.DataFrame(
        {"task": ["kind", "kind", "once", "once"], "task_id": ["t0", "t1", "o0", "o1"], "outcome": [0, 1, 0, 0],
         "score": [None] * 4, "status": ["ok"] * 4, "error_type": [None] * 4, "censored_by": [None] * 4}
    )  # fmt: skip
    failed = [
        found[found["finding"] == "failed_tasks"]["task"].tolist()
        for found in (findings(frame_of(rows), None, said), findings(frame_of(rows), None, said, baselines=()))
    ]

    assert failed[0] == ["kind"]
    assert sorted(failed[1]) == ["kind", "once"]


def test_findings_are_ranked_by_what_they_save() -> None:
    rows = [{**row, "cache_read_tokens": 0} for row in _run(*range(1_000, 11_000, 1_000))]

    frame = findings(frame_of(rows))

    assert frame["finding"].tolist() == ["uncached_history", "long_history"]
    assert frame["rank"].tolist() == [1, 2]
    assert frame["saved_share"].iloc[0] == pytest.approx(45_000 / 55_100)


def test_one_plain_call_gives_no_finding() -> None:
    frame = findings(frame_of(_run(100)))

    assert frame.empty
    assert list(frame.columns) == list(FINDING_COLUMNS)


def test_calls_without_any_usage_give_no_savings() -> None:
    rows = [{**row, "input_tokens": None, "output_tokens": None} for row in _run(1, 1)]

    assert findings(frame_of(rows))["saved_tokens"].isna().all()


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(PlanError, match="least_share"):
        findings(frame_of(_run(100)), least_share=2)


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(FrameError, match="without rows"):
        findings(frame_of(_run(100)).head(0))


@settings(max_examples=25, deadline=None)
@given(random_tasks())
def test_no_finding_saves_more_than_its_kind_used_and_all_are_in_words(
    task: tuple[list[Row], list[dict[str, Any]]],
) -> None:
    calls, tools = task
    frame = findings(frame_of(calls), tools_of(tools), least_share=0)

    used = sum((row["input_tokens"] or 0) + (row["output_tokens"] or 0) for row in calls)
    assert set(frame["finding"]) <= set(FINDINGS)
    assert (frame["saved_tokens"].dropna() <= used).all()
    assert (frame["saved_tokens"].dropna() > 0).all()
    assert (frame["counted_calls"] <= frame["calls"]).all()
    assert frame["rank"].tolist() == list(range(1, len(frame) + 1))
    assert frame["sentence"].str.endswith(".").all()
    known = frame["saved_tokens"].fillna(0).tolist()
    assert known == sorted(known, reverse=True)
