"""The measures of a profile that come from calls alone: worked by hand, and splits that add up for any calls."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from tests.analysis.conftest import ORIGIN_NS, SECOND_NS, frame_of
from tests.analysis.trees import random_tasks

from tokenflation.analysis import measured, profile, shares, tasks
from tokenflation.analysis.columns import MEASURES, RATIOS, TASK_COLUMNS
from tokenflation.sdk.errors import FrameError

Calls = Callable[..., pd.DataFrame]

PARTS = ("system_tokens", "tool_definition_tokens", "resent_tokens", "tool_result_tokens", "new_tokens")
BILLED = ("cache_read", "cache_write", "fresh", "cache_unreported_input", "visible", "reasoning",
          "reasoning_unreported_output")  # fmt: skip


def _by_hand() -> pd.DataFrame:
    """Return a planner of three calls, the second of them without cache and reasoning, a helper, and a failed call."""
    parts = [dict(zip(PARTS, values, strict=True)) for values in ((50, 150, 0, 0, 800), (50, 150, 1050, 200, 50))]
    return frame_of(
        [
            {"agent": "planner", "agent_run_id": "p", "step": 0, "model": "big", "input_tokens": 1000, "output_tokens": 100,
             "cache_read_tokens": 0, "cache_write_tokens": 900, "reasoning_tokens": 60, **parts[0]},
            {"agent": "planner", "agent_run_id": "p", "step": 1, "model": "big", "input_tokens": 1500, "output_tokens": 200,
             **parts[1]},
            {"agent": "helper", "agent_run_id": "h", "depth": 1, "step": 0, "model": "big", "response_model": "small",
             "input_tokens": 400, "output_tokens": 50, "cache_read_tokens": 100, "reasoning_tokens": 10},
            {"agent": "planner", "agent_run_id": "p", "step": 2, "model": "big", "input_tokens": 600, "usage_complete": 0},
            {"agent": "planner", "agent_run_id": "p", "step": 3, "status": "error", "usage_complete": 0},
        ]
    )  # fmt: skip


def _row() -> "pd.Series[Any]":
    return profile(_by_hand()).iloc[0]


def test_tokens_by_kind_of_a_task_worked_by_hand() -> None:
    row = tasks(_by_hand()).iloc[0]

    assert (row["input_tokens"], row["output_tokens"], row["billed_tokens"]) == (3500, 350, 3850)
    assert (row["cache_read_tokens"], row["cache_write_tokens"], row["fresh_tokens"]) == (100, 900, 1400 - 1000)
    assert (row["cache_reported_input_tokens"], row["cache_unreported_input_tokens"]) == (1400, 2100)
    assert (row["reasoning_tokens"], row["visible_tokens"]) == (70, 80)
    assert row["reasoning_unreported_output_tokens"] == 200


def test_measures_of_an_agent_run_a_step_a_call_and_all_worked_by_hand() -> None:
    runs, steps, calls, fleet = (measured(_by_hand(), per=per) for per in ("run", "step", "call", "fleet"))

    planner = runs.set_index("agent_run_id").loc["p"]
    assert (planner["calls"], planner["input_tokens"], planner["output_tokens"], planner["failed_calls"]) == (
        4,
        3100,
        300,
        1,
    )
    assert (planner["peak_context_tokens"], planner["reported_calls"], planner["unreported_calls"]) == (1500, 2, 1)
    assert planner["input_over_peak_context"] == pytest.approx(3100 / 1500)
    assert planner["reasoning_share"] == pytest.approx(60 / 100)
    assert runs.set_index("agent_run_id").loc["h", "cache_hit_rate"] == pytest.approx(100 / 400)
    assert list(zip(steps["agent"], steps["step"], steps["input_tokens"].fillna(-1), strict=True)) == [
        ("helper", 0, 400), ("planner", 0, 1000), ("planner", 1, 1500), ("planner", 2, 600), ("planner", 3, -1),
    ]  # fmt: skip
    assert sorted(calls["billed_tokens"].dropna()) == [450, 600, 1100, 1700]
    assert "duration_s" not in steps.columns
    assert (len(fleet), fleet.loc[0, "input_tokens"], fleet.loc[0, "agent_runs"]) == (1, 3500, 2)


@settings(max_examples=30, deadline=None)
@given(tree=random_tasks())
def test_sums_of_any_grain_add_up_to_those_of_tasks(tree: Any) -> None:
    calls = frame_of(tree[0])
    whole = tasks(calls)
    for per in ("task", "run", "step", "call", "fleet"):
        found = measured(calls, per=per)
        for name in (
            "calls",
            "input_tokens",
            "output_tokens",
            "cache_read_tokens",
            "billed_tokens",
            "calls_with_input",
        ):
            assert found[name].sum() == whole[name].sum(), (per, name)


def test_shares_of_billed_tokens_worked_by_hand() -> None:
    row = _row()

    found = [row[f"{name}_of_billed_mean"] for name in BILLED]
    assert found == pytest.approx([one / 3850 for one in (100, 900, 400, 2100, 80, 70, 200)])


def test_reasoning_share_is_of_what_reports_it_and_the_rest_stands_apart() -> None:
    row = _row()

    assert row["reasoning_share_mean"] == pytest.approx(70 / 150)
    assert row["reasoning_unreported_share_mean"] == pytest.approx(200 / 350)


def test_accumulated_over_trajectory_counts_each_agent_runs_longest_call_once() -> None:
    row = tasks(_by_hand()).iloc[0]

    assert (row["accumulated_tokens"], row["trajectory_tokens"]) == (1100 + 1700 + 450 + 600, 1700 + 450)
    assert row["accumulated_over_trajectory"] == pytest.approx(3850 / 2150)


def test_input_to_output_is_of_the_calls_that_report_both() -> None:
    assert _row()["input_output_ratio_mean"] == pytest.approx(2900 / 350)


def test_observation_share_and_fixed_overhead_are_of_the_input_that_is_split() -> None:
    row = _row()

    assert row["observation_share_mean"] == pytest.approx(200 / 2500)
    assert row["fixed_overhead_share_mean"] == pytest.approx((100 + 300) / 2500)
    assert row["observation_share_coverage"] == pytest.approx(2 / 5)


def test_coverage_says_how_many_calls_a_number_rests_on() -> None:
    row = _row()

    assert [row[f"{name}_share_mean"] for name in ("reported", "partial", "unreported")] == [0.6, 0.2, 0.2]
    wanted = {"input_tokens": 0.8, "output_tokens": 0.6, "cache_read_tokens": 0.4, "reasoning_share": 0.4, "calls": 1.0}
    assert {name: row[f"{name}_coverage"] for name in wanted} == pytest.approx(wanted)


def test_coverage_of_what_a_cache_shares_and_of_times_is_that_of_the_calls_that_tell() -> None:
    calls = [
        {"task_id": "a", "input_tokens": 640, "shared_blocks": 5, "cache_read_tokens": 0, "cache_write_tokens": 64,
         "ended_at_ns": ORIGIN_NS + 10 * SECOND_NS},
        {"task_id": "a", "input_tokens": 640, "cache_read_tokens": 0, "ended_at_ns": ORIGIN_NS + 10 * SECOND_NS},
        {"task_id": "b", "shared_blocks": 5},
        {"task_id": "b", "shared_blocks": 5, "prefix_blocks": 10},
    ]  # fmt: skip
    row = profile(frame_of(calls)).iloc[0]

    wanted = {
        "shared_prefix_tokens": 1 / 4, "cache_hit_rate_blocks": 2 / 4, "cache_write_tokens": 1 / 4,
        "cache_read_tokens": 2 / 4, "duration_s": 2 / 4,
    }  # fmt: skip
    assert {name: row[f"{name}_coverage"] for name in wanted} == pytest.approx(wanted)


@pytest.mark.parametrize(("last_s", "coverage"), [(9, 1), (10, 0), (12, 0)])
def test_a_call_of_unknown_end_that_began_no_earlier_than_the_last_end_leaves_a_task_without_a_duration(
    last_s: int, coverage: float
) -> None:
    calls = [
        {"task_id": "a", "ended_at_ns": ORIGIN_NS + 10 * SECOND_NS},
        {"task_id": "a", "started_at_ns": ORIGIN_NS + last_s * SECOND_NS, "ended_at_ns": None},
    ]
    row = profile(frame_of(calls)).iloc[0]
    assert row["duration_s_coverage"] == coverage
    assert pd.isna(row["duration_s_mean"]) == (not coverage)


def test_shares_by_agent_worked_by_hand() -> None:
    frame = shares(_by_hand(), by="agent").set_index("part")

    assert frame["input_tokens"].to_dict() == {"helper": 400, "planner": 3100}
    assert frame["input_tokens_share"].to_dict() == pytest.approx({"helper": 4 / 35, "planner": 31 / 35})
    assert frame[["reported_calls", "partial_calls", "unreported_calls"]].loc["planner"].tolist() == [2, 1, 1]


def test_shares_by_model_are_of_the_model_that_answered() -> None:
    frame = shares(_by_hand(), by="model", per="fleet")

    assert frame["part"].fillna("-").tolist() == ["big", "small", "-"]
    assert frame["output_tokens"].tolist() == [300, 50, pd.NA]


def test_shares_by_step_stand_in_order_of_number() -> None:
    frame = shares(frame_of([{"step": step, "input_tokens": 10} for step in (10, 9, 0)]), by="step", per="task")

    assert frame["part"].tolist() == ["0", "9", "10"]
    assert frame["task_id"].tolist() == ["t"] * 3


def test_shares_by_something_else_are_refused() -> None:
    with pytest.raises(FrameError, match=r"by=\['agent', 'model', 'step'\]"):
        shares(_by_hand(), by="tool")  # type: ignore[arg-type]  # what the test is about


def test_the_fleet_is_a_last_row_over_all_tasks(make_calls: Calls) -> None:
    calls = make_calls([{"task": kind, "task_id": str(n), "input_tokens": n} for n, kind in enumerate("aabbb")])

    frame = profile(calls, fleet=True)
    whole = profile(calls.assign(task="all"))

    assert frame["task"].fillna("-").tolist() == ["a", "b", "-"]
    pd.testing.assert_frame_equal(
        frame.iloc[[2]].drop(columns="task").reset_index(drop=True), whole.drop(columns="task")
    )


def test_every_measure_has_a_definition_a_unit_a_source_and_columns_that_exist() -> None:
    for one in MEASURES:
        assert one.meaning
        assert one.source
        assert {one.reads, *(one.ratio or ()), one.covered or "calls"} <= set(TASK_COLUMNS)


_count = st.none() | st.integers(0, 2**40)


@settings(deadline=None, max_examples=12)
@given(tree=random_tasks(), data=st.data())
def test_every_split_of_a_random_tree_adds_up_exactly(tree: tuple[list[Any], Any], data: st.DataObject) -> None:
    rows = [_filled(row, data.draw) for row in tree[0]]
    calls = frame_of(rows)

    (row,) = tasks(calls).to_dict("records")

    value = {name: 0 if pd.isna(one) else one for name, one in row.items()}
    assert sum(value[f"{name}_tokens"] for name in BILLED) == value["billed_tokens"]
    assert value["billed_tokens"] == sum((one["input_tokens"] or 0) + (one["output_tokens"] or 0) for one in rows)
    assert value["reported_calls"] + value["partial_calls"] + value["unreported_calls"] == len(rows)
    assert sum(value[name] for name in PARTS) == value["parts_input_tokens"]
    assert (
        value["cached_by_provider_calls"] + value["cached_by_blocks_calls"] + value["cached_by_none_calls"]
        == (value["calls_with_input"])
    )
    mean = profile(calls).iloc[0]
    if value["billed_tokens"]:
        assert np.nansum([mean[f"{name}_of_billed_mean"] for name in BILLED]) == pytest.approx(1, abs=1e-12)
    for by in ("agent", "model", "step"):
        parts = shares(calls, by=by)  # type: ignore[arg-type]  # it is one of those
        for name in ("calls", "input_tokens", "output_tokens", "billed_tokens"):
            assert parts[name].fillna(0).sum() == value[name]


def _filled(row: dict[str, Any], draw: Callable[..., Any]) -> dict[str, Any]:
    """Give a call of a tree its parts of input and output, none of them more than the whole, some not reported."""
    size, out = row["input_tokens"], row["output_tokens"]
    share = draw(st.lists(st.floats(0, 1), min_size=4, max_size=4).map(sorted))
    cuts = [0, *(int(one * (size or 0)) for one in share), size or 0]
    parts = dict(zip(PARTS, (b - a for a, b in pairwise(cuts)), strict=True))
    reads, writes = cuts[1], cuts[2] - cuts[1]
    known = draw(st.tuples(*[st.booleans()] * 4))
    return {
        **row,
        "cache_read_tokens": reads if known[0] else None,
        "cache_write_tokens": writes if known[1] else None,
        "reasoning_tokens": int(share[0] * out) if known[2] and out is not None else None,
        "usage_complete": int(draw(st.booleans())),
        "model": draw(st.sampled_from([None, "a", "b"])),
        **(parts if known[3] and size is not None else {}),
    }


def test_intervals_hold_what_they_claim_for_ratios_of_skewed_tasks() -> None:
    rng = np.random.default_rng(3)
    kinds, count = 400, 30
    sizes = rng.lognormal(8, 0.8, (kinds, count)).astype(int) + 1
    rows = [
        {"task": f"{kind:03}", "task_id": str(task), "input_tokens": int(size), "output_tokens": int(size * share) + 1}
        for kind in range(kinds)
        for task, (size, share) in enumerate(zip(sizes[kind], rng.lognormal(-3, 0.8, count), strict=True))
    ]
    frame = profile(frame_of(rows), rng=np.random.default_rng(4), level=0.9)

    truth = 1 / np.exp(-3 + 0.8**2 / 2)
    hit = (frame["input_output_ratio_low"] < truth) & (truth < frame["input_output_ratio_high"])
    assert 0.84 < hit.mean() < 0.97


def test_a_share_has_its_interval_inside_zero_and_one_and_around_itself() -> None:
    rows = [{"task_id": str(n), "input_tokens": 100, "cache_read_tokens": 99 - n % 2 * 98} for n in range(12)]

    row = profile(frame_of(rows), rng=np.random.default_rng(1)).iloc[0]

    assert 0 < row["cache_hit_rate_low"] < row["cache_hit_rate_mean"] == 0.5 < row["cache_hit_rate_high"] < 1


def test_there_is_no_interval_without_rng_or_with_few_tasks() -> None:
    rows = [{"task_id": str(n), "input_tokens": 100 + n, "output_tokens": 7} for n in range(9)]
    ends = [f"{one.name}_{end}" for one in RATIOS for end in ("low", "high")]

    assert profile(frame_of(rows), rng=np.random.default_rng(1))[ends].isna().all(axis=None)
    assert (
        profile(frame_of([*rows, *(row | {"task_id": f"b{row['task_id']}"} for row in rows)]))[ends]
        .isna()
        .all(axis=None)
    )


def test_tasks_that_agree_have_the_ratio_itself_as_both_ends() -> None:
    rows = [{"task_id": str(n), "input_tokens": 100, "output_tokens": 50} for n in range(12)]

    row = profile(frame_of(rows), rng=np.random.default_rng(1)).iloc[0]

    assert row["input_output_ratio_low"] == row["input_output_ratio_high"] == 2.0


def test_the_normal_limit_of_many_tasks_is_what_all_of_them_give(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    rows = [
        {"task_id": str(n), "input_tokens": int(rng.lognormal(8, 0.5)), "output_tokens": int(rng.lognormal(5, 0.5))}
        for n in range(1500)
    ]
    calls = frame_of(rows)
    whole = profile(calls, rng=np.random.default_rng(1)).iloc[0]
    monkeypatch.setattr("tokenflation.analysis.profiles.kind_intervals.NORMAL_TASKS", 1000)

    limit = profile(calls, rng=np.random.default_rng(1)).iloc[0]

    for name in ("input_output_ratio", "cache_unreported_input_of_billed", "isl"):
        assert limit[f"{name}_high"] != whole[f"{name}_high"]
        assert limit[f"{name}_mean"] == whole[f"{name}_mean"]
        for end in ("low", "high"):
            far = abs(limit[f"{name}_{end}"] - limit[f"{name}_mean"])
            assert far == pytest.approx(abs(whole[f"{name}_{end}"] - whole[f"{name}_mean"]), rel=0.15)
