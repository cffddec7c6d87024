"""What-ifs: worked by hand on small runs, and what they refuse."""

import pandas as pd
import pytest

from tokenflation import analysis as an
from tokenflation.analysis.planning.limits import Budget
from tokenflation.analysis.planning.parts import Uncertain, Users
from tokenflation.analysis.planning.plan import Plan
from tokenflation.analysis.whatif import (
    caching_off,
    caching_on,
    depth_capped,
    history_compacted,
    model_replaced,
    only_model,
    scaled,
    volume_that_fits,
)
from tokenflation.sdk.errors import FrameError, PlanError


def run(inputs: list[int], task_id: str = "t", model: str = "m") -> pd.DataFrame:
    """One agent run whose call i reads inputs[i] tokens and continues the call before it."""
    names = [f"{task_id}-{step}" for step in range(len(inputs))]
    return pd.DataFrame({
        "call_id": names, "continues_call_id": [None, *names[:-1]], "task": "a", "task_id": task_id, "agent_run_id": task_id,
        "depth": 0, "model": model, "started_at_ns": [10**9 * 10 * step for step in range(len(inputs))], "duration_s": 2.0,
        "ttft_s": 0.5, "input_tokens": inputs, "cache_read_tokens": 0, "output_tokens": 10,
    }).convert_dtypes()  # fmt: skip


def test_a_cache_serves_each_call_the_one_it_continues() -> None:
    calls = run([100, 250, 400])
    assert caching_on(calls)["cache_read_tokens"].tolist() == [0, 100, 250]
    assert calls["cache_read_tokens"].tolist() == [0, 0, 0]


def test_a_history_that_would_pass_the_limit_is_summed_up_first() -> None:
    found = history_compacted(run([400, 900, 1_400, 1_500]), 1_000, keep_tokens=100)
    # 1,400 would pass: the 900 are read once more and become 100, to which the call adds its 500.
    assert found["input_tokens"].tolist() == [400, 900, 600, 700, 900]
    assert found["output_tokens"].tolist()[-1] == 100


def test_a_history_that_fell_a_little_or_is_not_reported_once_stays_summed_up() -> None:
    calls = run([400, 900, 1_400, 1_390, 1_500, 1_550])
    calls.loc[4, "input_tokens"] = pd.NA
    found = history_compacted(calls, 1_000, keep_tokens=100)
    # After the summary 600; the fall by 10 leaves that or less, and 160 come to it.
    assert found["input_tokens"].fillna(-1).tolist() == [400, 900, 600, 600, -1, 760, 900]
    # A fall below what the summary had left is the program's own.
    fallen = history_compacted(run([400, 900, 1_400, 300, 350]), 1_000, keep_tokens=100)
    assert fallen["input_tokens"].tolist() == [400, 900, 600, 300, 350, 900]


def test_a_limit_that_no_history_reaches_changes_nothing() -> None:
    calls = run([400, 900])
    pd.testing.assert_frame_equal(history_compacted(calls, 10_000), calls)


def test_what_lies_deeper_than_the_cap_is_gone() -> None:
    calls = run([1, 2, 3])
    calls["depth"] = pd.array([0, 1, 2], dtype="Int64")
    assert depth_capped(calls, 1)["input_tokens"].tolist() == [1, 2]


def test_only_runs_of_one_model_are_kept_and_a_model_without_any_is_refused() -> None:
    calls = pd.concat([run([1, 2], "x", "old"), run([3], "y", "new")], ignore_index=True)
    assert only_model(calls, "new")["input_tokens"].tolist() == [3]
    with pytest.raises(PlanError, match="record runs with that model"):
        only_model(calls, "newest")


def test_a_model_is_known_by_the_name_that_answered_too() -> None:
    calls = pd.concat([run([1], "x", "auto"), run([2], "y", "auto"), run([3], "z", "small")], ignore_index=True)
    calls["response_model"] = ["small-v1", "big-v1", None]
    calls.loc[2, "model"] = None
    assert only_model(calls, "big-v1")["input_tokens"].tolist() == [2]
    assert only_model(calls, "auto")["input_tokens"].tolist() == [1, 2]


def test_the_volume_that_fits_reaches_the_limit_and_no_more() -> None:
    calls = pd.concat([run([100 * one, 200 * one], str(one)) for one in range(1, 21)], ignore_index=True)
    plan = Plan(tasks_per_day=1e6)
    factor = volume_that_fits(calls, plan, resource="concurrent_calls", limit=500.0, statistic="mean")
    assert factor == pytest.approx(500 / (1e6 / 86_400 * 4), rel=2e-3)


def test_what_makes_no_sense_is_refused_by_name() -> None:
    calls = run([1])
    with pytest.raises(FrameError, match="depth"):
        depth_capped(calls.drop(columns="depth"), 1)
    with pytest.raises(PlanError, match="keep_tokens is 20"):
        history_compacted(calls, 10, keep_tokens=20)
    with pytest.raises(PlanError, match="above 0"):
        volume_that_fits(calls, Plan(tasks_per_day=1), resource="kv_tokens", limit=0.0)
    with pytest.raises(PlanError, match="no p95 of 'gpu'"):
        volume_that_fits(
            pd.concat([calls, run([1], "u")], ignore_index=True), Plan(tasks_per_day=1), resource="gpu", limit=1.0
        )


def test_a_cache_serves_prefix_blocks_where_no_call_says_what_it_continues() -> None:
    calls = run([100, 250, 400]).assign(
        continues_call_id=None, shared_blocks=pd.array([0, 1, 3], dtype="Int64"), block_tokens=64
    )
    calls["cache_read_tokens"] = pd.array([None, None, 300], dtype="Int64")
    assert caching_on(calls)["cache_read_tokens"].tolist() == [0, 64, 300]
    assert caching_off(calls)["cache_read_tokens"].tolist() == [0, 0, 0]


def test_a_cache_of_calls_that_say_nothing_of_their_prefixes_is_refused() -> None:
    with pytest.raises(FrameError, match="these calls have neither"):
        caching_on(run([100, 250]).assign(continues_call_id=None))


def test_a_summary_reads_what_the_cache_holds_and_the_call_after_it_starts_anew() -> None:
    calls = run([400, 900, 1_400, 1_500])
    calls["cache_read_tokens"] = pd.array([0, 400, 900, 1_400], dtype="Int64")
    found = history_compacted(calls, 1_000, keep_tokens=100)
    assert found["cache_read_tokens"].tolist() == [0, 400, 0, 600, 900]
    assert pd.isna(found["duration_s"].iloc[-1])
    assert caching_on(found)["cache_read_tokens"].tolist() == [0, 400, 0, 600, 900]


def test_compaction_makes_no_zero_of_what_is_not_reported() -> None:
    calls = run([400, 900, 1_400])
    calls.loc[0, "input_tokens"] = pd.NA
    assert history_compacted(calls, 1_000)["input_tokens"].isna().tolist() == [True, False, False, False]


def test_the_volume_of_a_replaced_model_goes_to_the_runs_of_the_new_one() -> None:
    runs = [run([1], "x", "old"), run([2], "y", "new"), run([3], "z", "other"), run([4], "w", "old")]
    calls = pd.concat(runs, ignore_index=True).assign(response_model=None)
    found, plan = model_replaced(calls, Plan(tasks_per_day=40.0), "old", "new")
    assert plan.tasks_per_day == {"a": 10.0, "a (new)": 30.0}
    assert dict(zip(found["task"], found["input_tokens"], strict=True)) == {"a (new)": 2, "a": 3}


def test_a_model_that_did_all_tasks_is_replaced_within_its_kind() -> None:
    calls = pd.concat([run([1], "x", "old"), run([2], "y", "new")], ignore_index=True).assign(response_model=None)
    found, plan = model_replaced(
        calls, Plan(tasks_per_day={"a": Users(users=3, tasks_per_user_per_day=2)}), "old", "new"
    )
    assert plan.tasks_per_day == {"a": Users(users=3, tasks_per_user_per_day=2)}
    assert found["input_tokens"].tolist() == [2]
    with pytest.raises(PlanError, match="no recorded call used 'older'"):
        model_replaced(calls, plan, "older", "new")
    with pytest.raises(PlanError, match="what it would take is not known"):
        model_replaced(calls, plan, "old", "newest")


def test_a_scaled_plan_is_as_unsure_as_it_was_in_proportion() -> None:
    plan = Plan(tasks_per_day={"a": 100.0}, assumptions={"tasks_per_day.a": Uncertain(sd=10.0)})
    assert scaled(plan, 3.0).assumptions == {"tasks_per_day.a": Uncertain(sd=30.0)}
    assert scaled(plan, 3.0).tasks_per_day == {"a": 300.0}


def test_an_unsure_volume_stays_so_with_another_model_unless_it_would_be_parted() -> None:
    calls = pd.concat([run([1], "x", "old"), run([2], "y", "new")], ignore_index=True).assign(response_model=None)
    unsure = {"tasks_per_day": Uncertain(cv=0.2)}
    _, plan = model_replaced(calls, Plan(tasks_per_day=40.0, assumptions=unsure), "old", "new")
    assert plan.assumptions == {"tasks_per_day.a": Uncertain(cv=0.2)}
    more = pd.concat([calls, run([3], "z", "other").assign(response_model=None)], ignore_index=True)
    with pytest.raises(PlanError, match=r"plan.tasks_per_day is unsure.*take its cv"):
        model_replaced(more, Plan(tasks_per_day=40.0, assumptions=unsure), "old", "new")
    by_kind = Plan(tasks_per_day={"a": 40.0}, assumptions={"tasks_per_day.a": Uncertain(cv=0.2)})
    with pytest.raises(PlanError, match=r"plan.tasks_per_day.a is unsure"):
        model_replaced(more, by_kind, "old", "new")


def test_a_budget_of_a_kind_holds_for_both_parts_of_it() -> None:
    runs = [run([1], "x", "old"), run([2], "y", "new"), run([3], "z", "other")]
    calls = pd.concat(runs, ignore_index=True).assign(response_model=None)
    budgets = {"a": Budget(max_calls=3)}
    _, plan = model_replaced(calls, Plan(tasks_per_day={"a": 30.0}, budgets=budgets), "old", "new")
    assert plan.budgets == {"a": Budget(max_calls=3), "a (new)": Budget(max_calls=3)}


def test_a_statistic_that_jumps_over_the_limit_has_the_largest_volume_below_the_jump() -> None:
    calls = pd.concat([run([100, 200], str(one)) for one in range(12)], ignore_index=True)
    asked = {"resource": "concurrent_calls", "statistic": "p95"}
    factor = volume_that_fits(calls, Plan(tasks_per_day=20.0), limit=2.5, **asked)  # type: ignore[arg-type]
    here, beyond = (an.forecast(calls, Plan(tasks_per_day=20.0 * factor * more)) for more in (1.0, 1.01))
    reached = [
        one[(one["resource"] == "concurrent_calls") & (one["statistic"] == "p95")]["value"].max()
        for one in (here, beyond)
    ]
    assert reached[0] == pytest.approx(2)
    assert reached[1] == pytest.approx(3)


def test_what_no_volume_reaches_or_limits_is_refused() -> None:
    calls = pd.concat([run([100, 200], str(one)) for one in range(12)], ignore_index=True).assign(output_tokens=0)
    with pytest.raises(PlanError, match="does not reach 5 at any volume"):
        volume_that_fits(calls, Plan(tasks_per_day=20.0), resource="decode_tokens_per_s", limit=5.0)
    with pytest.raises(PlanError, match="is a share, which no volume limits"):
        volume_that_fits(calls, Plan(tasks_per_day=20.0), resource="kv_tokens", limit=0.5, statistic="share_load")
