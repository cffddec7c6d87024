"""Runs as a plan has them: cut call by call where a budget ends, shared out over models, never pooled in silence."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analysis.test_forecast import some_calls

from tokenflation import analysis as an
from tokenflation.analysis.comparison.costs import Price, PriceTable
from tokenflation.analysis.fleet.planned import cut_at_budget, models_of_runs, planned
from tokenflation.analysis.planning.limits import Budget
from tokenflation.analysis.planning.parts import Users
from tokenflation.analysis.planning.plan import Plan
from tokenflation.sdk.errors import PlanError

S = 1_000_000_000


def run(
    calls: list[tuple[float, float, int, int]], task_id: str = "t", model: str = "m", kind: str = "a"
) -> pd.DataFrame:
    """One run whose calls are (start in s, duration in s, input, output)."""
    return pd.DataFrame([
        {"task": kind, "task_id": task_id, "model": model, "started_at_ns": round(start * S), "duration_s": duration,
         "ttft_s": duration / 4, "input_tokens": read, "output_tokens": wrote, "cache_read_tokens": 0}
        for start, duration, read, wrote in calls
    ]).convert_dtypes()  # fmt: skip


SEQUENCE = [(0.0, 1.0, 100, 10), (2.0, 1.0, 200, 10), (4.0, 1.0, 300, 10), (6.0, 1.0, 400, 10)]


@pytest.mark.parametrize(("budget", "made"), [
    (Budget(max_calls=2), 2),
    (Budget(max_input_tokens=100), 1),
    (Budget(max_input_tokens=301), 3),
    (Budget(max_output_tokens=20), 2),
    (Budget(max_tokens=320), 2),
    (Budget(max_calls=3, max_tokens=110), 1),
    (Budget(max_calls=100), 4),
])  # fmt: skip
def test_no_call_starts_once_the_budget_is_used_up(budget: Budget, made: int) -> None:
    found, row = cut_at_budget(run(SEQUENCE), "a", budget)
    assert found["input_tokens"].tolist() == [100, 200, 300, 400][:made]
    assert (row["runs"], row["cut"]) == (1, int(made < 4))
    assert row["input_tokens_saved"] == pytest.approx(1 - sum([100, 200, 300, 400][:made]) / 1000)


def test_calls_under_way_go_on_and_what_started_later_does_not() -> None:
    parallel = run([(0.0, 9.0, 100, 10), (1.0, 9.0, 100, 10), (9.5, 1.0, 100, 10), (20.0, 1.0, 100, 10)])
    found, _ = cut_at_budget(parallel, "a", Budget(max_input_tokens=150))
    # At 9.5 s only the first call has ended: 100 are used. At 20 s three have.
    assert len(found) == 3


def test_a_budget_in_money_counts_cache_reads_at_their_price() -> None:
    calls = run(SEQUENCE)
    calls["cache_read_tokens"] = pd.array([0, 100, 200, 300], dtype="Int64")
    prices = PriceTable(prices=(Price(model="m", input=1e6, output=1e6, cache_read=0.0),))
    # 100 + 10, then 100 + 10 each: 110, 220, 330.
    found, _ = cut_at_budget(calls, "a", Budget(max_cost=220.0), prices=prices)
    assert len(found) == 2
    with pytest.raises(PlanError, match=r"plan\.prices has no price of 'm'"):
        cut_at_budget(
            calls, "a", Budget(max_cost=1.0), prices=PriceTable(prices=(Price(model="x", input=1, output=1),))
        )


def test_prices_that_no_budget_uses_are_said_to_have_no_effect() -> None:
    prices = PriceTable(prices=(Price(model="m", input=1.0, output=1.0),))
    idle = Plan(tasks_per_day=1e4, prices=prices, budgets={"triage": Budget(max_calls=3)})
    used = Plan(tasks_per_day=1e4, prices=prices, budgets={"triage": Budget(max_cost=1e9)})
    said = [" ".join(planned(some_calls(), plan).assumptions) for plan in (idle, used)]
    assert ["plan.prices has no effect" in one for one in said] == [True, False]


def kept_by_hand(calls: pd.DataFrame, budget: Budget) -> list[int]:
    kept = []
    for _, mine in calls.groupby("task_id", sort=False):
        ordered = mine.sort_values("started_at_ns", kind="stable")
        for number, (place, call) in enumerate(ordered.iterrows()):
            ended = ordered[(ordered["started_at_ns"] + (ordered["duration_s"] * S).round() <= call["started_at_ns"])
                            & (ordered.index != place)]  # fmt: skip
            used = {"max_calls": number, "max_input_tokens": ended["input_tokens"].sum(),
                    "max_output_tokens": ended["output_tokens"].sum()}  # fmt: skip
            if any(used[name] >= limit for name, limit in (
                    ("max_calls", budget.max_calls), ("max_input_tokens", budget.max_input_tokens),
                    ("max_output_tokens", budget.max_output_tokens)) if limit is not None):  # fmt: skip
                break
            kept.append(place)
    return sorted(kept)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1_000), st.integers(1, 12), st.integers(1, 20_000), st.integers(1, 2_000))
def test_runs_are_cut_where_a_walk_through_each_would_stop(seed: int, calls: int, read: int, wrote: int) -> None:
    frame = some_calls(runs=6, seed=seed)
    budget = Budget(max_calls=calls, max_input_tokens=read, max_output_tokens=wrote)
    found, row = cut_at_budget(frame, "triage", budget)
    kept = kept_by_hand(frame, budget)
    pd.testing.assert_frame_equal(found, frame.loc[kept].reset_index(drop=True))
    assert found["task_id"].nunique() == 6
    assert row["calls_saved"] == pytest.approx(1 - len(kept) / len(frame))


def test_a_budget_changes_the_forecast_as_the_cut_runs_alone_would() -> None:
    calls = some_calls()
    budget = Budget(max_calls=3)
    planned_so = an.forecast(calls, Plan(tasks_per_day=1e4, budgets={"triage": budget}))
    cut, row = cut_at_budget(calls, "triage", budget)
    pd.testing.assert_frame_equal(planned_so, an.forecast(cut, Plan(tasks_per_day=1e4)))
    manifest = planned_so.attrs["manifest"]
    assert manifest["budgets"] == [row]
    assert 0 < row["cut"] < row["runs"]
    assert f"cuts {row['cut']} of 40 runs" in manifest["assumptions"][0]


def of_two_models() -> pd.DataFrame:
    large, small = some_calls(runs=20, seed=3), some_calls(runs=12, seed=4)
    small["task_id"] = "small-" + small["task_id"].astype(str)
    small["model"], small["input_tokens"] = "small", small["input_tokens"] * 3
    return pd.concat([large.assign(model="large"), small], ignore_index=True).convert_dtypes()


def total(demand: pd.DataFrame, resource: str) -> float:
    rows = demand[(demand["bucket_start"] == -1) & (demand["resource"] == resource) & (demand["statistic"] == "mean")]
    return float(rows["value"].iloc[0])


@pytest.mark.parametrize("models", [{"large": 0.25, "small": 0.75}, {"triage": {"large": 0.25, "small": 0.75}}])
def test_a_mix_of_models_weighs_the_runs_of_each(models: dict[str, object]) -> None:
    calls = of_two_models()
    found = an.forecast(calls, Plan(tasks_per_day={"triage": 1e4}, models=models))  # type: ignore[arg-type]  # both forms
    means = calls.groupby("model")["input_tokens"].sum() / calls.groupby("model")["task_id"].nunique()
    assert total(found, "input_tokens") == pytest.approx(1e4 * (0.25 * means["large"] + 0.75 * means["small"]))
    kinds = found.attrs["manifest"]["kinds"]
    assert [(row["task"], row["model"], row["runs"], row["tasks_per_day"]) for row in kinds] == [
        ("triage on large", "large", 20, 2_500.0), ("triage on small", "small", 12, 7_500.0)]  # fmt: skip


def test_a_model_that_takes_all_leaves_the_runs_of_others_out() -> None:
    calls = of_two_models()
    only = calls[calls["model"] == "small"].reset_index(drop=True)
    one = an.forecast(calls, Plan(tasks_per_day=1e4, models={"small": 1.0, "large": 0.0}))
    pd.testing.assert_frame_equal(one, an.forecast(only, Plan(tasks_per_day=1e4)))


def test_a_model_that_was_not_recorded_is_named_with_those_that_were() -> None:
    with pytest.raises(
        PlanError, match=r"names 'huge', on which no run of 'triage'.*'large' \(20 runs\), 'small' \(12 runs\)"
    ):
        planned(of_two_models(), Plan(tasks_per_day=1, models={"huge": 0.5, "large": 0.5}))


def test_runs_of_several_models_are_pooled_only_with_a_warning() -> None:
    found = planned(of_two_models(), Plan(tasks_per_day=10))
    assert found.warnings[0].startswith("triage: its runs are of several models (20 on large, 12 on small)")
    assert planned(some_calls(), Plan(tasks_per_day=10)).warnings == ()


def test_a_run_of_several_models_is_a_model_of_its_own() -> None:
    both = pd.concat([run(SEQUENCE[:1], model="b"), run(SEQUENCE[1:], model="a")], ignore_index=True)
    assert set(models_of_runs(both)) == {"a + b"}
    shared = pd.concat([both, run(SEQUENCE, task_id="u", model="a")], ignore_index=True)
    # They have a model in common, as where one writes titles: no warning.
    assert planned(shared, Plan(tasks_per_day=10)).warnings == ()


def test_kinds_without_a_mix_stay_as_they_are() -> None:
    calls = pd.concat([of_two_models(), some_calls(runs=10, kind="other", seed=8)], ignore_index=True)
    plan = Plan(tasks_per_day={"triage": Users(users=10, tasks_per_user_per_day=2), "other": 5},
                models={"triage": {"large": 1.0}}, budgets={"other": Budget(max_calls=2)})  # fmt: skip
    found = planned(calls, plan)
    assert found.volumes == {"other": 5.0, "triage on large": 20.0}
    assert found.calls[found.calls["task"] == "other"].groupby("task_id").size().max() <= 2
    assert found.kind_and_model["triage on large"] == ("triage", "large")


def test_of_many_kinds_that_were_recorded_once_the_first_are_named() -> None:
    calls = pd.concat([some_calls(runs=1, kind=f"k{number}") for number in range(30)], ignore_index=True)
    with pytest.raises(PlanError, match=r"run of 'k0', 'k1', 'k2', 'k3', 'k4' and each of 25 other kinds: one run"):
        planned(calls, Plan(tasks_per_day=10))


@pytest.mark.parametrize(("kinds", "told"), [(1, False), (30, True)])
def test_where_many_kinds_were_recorded_once_the_error_says_how_they_are_made_one(kinds: int, told: bool) -> None:
    calls = pd.concat([some_calls(runs=1, kind=f"k{number}") for number in range(kinds)], ignore_index=True)
    with pytest.raises(PlanError) as refused:
        planned(calls, Plan(tasks_per_day=10))
    assert ("--task NAME" in str(refused.value)) is told


def test_one_recorded_run_is_refused_and_one_beside_others_is_not() -> None:
    one, many = some_calls(runs=1, kind="rare"), some_calls(runs=12)
    with pytest.raises(
        PlanError, match=r"plan\.tasks_per_day rests on one recorded run of 'rare'.*Record at least 9 more"
    ):
        an.forecast(one, Plan(tasks_per_day=100))
    both = an.forecast(pd.concat([one, many], ignore_index=True), Plan(tasks_per_day={"rare": 1, "triage": 100}))
    assert any("rare: 1 run is too few" in one for one in both.attrs["manifest"]["warnings"])
    assert np.isfinite(both["value"]).all()


def test_what_only_embeds_is_no_part_of_a_fleet_unless_the_plan_gives_it_a_volume() -> None:
    agents = some_calls(runs=12).assign(api="openai.chat")
    index = some_calls(runs=60, kind="task-embeddings").assign(api="openai.embeddings", output_tokens=0)
    calls = pd.concat([agents, index], ignore_index=True)

    found = planned(calls, Plan(tasks_per_day=100))

    assert found.volumes == {"triage": 100}
    assert any("task-embeddings (60 tasks) is no part of the fleet" in one for one in found.assumptions)
    assert planned(index, Plan(tasks_per_day=100)).volumes == {"task-embeddings": 100}
    both = Plan(tasks_per_day={"triage": 10, "task-embeddings": 5})
    assert planned(calls, both).volumes == {"triage": 10, "task-embeddings": 5}


def test_kinds_of_few_tasks_that_their_prompts_named_are_said_to_be_one_perhaps() -> None:
    scattered = pd.concat([some_calls(runs=2, kind=f"task-{number:04x}") for number in range(5)], ignore_index=True)
    named = pd.concat([some_calls(runs=2, kind=f"kind-{number}") for number in range(5)], ignore_index=True)

    first, *_ = an.forecast(scattered, Plan(tasks_per_day=100)).attrs["manifest"]["warnings"]
    others = an.forecast(named, Plan(tasks_per_day=100)).attrs["manifest"]["warnings"]

    assert first.startswith("5 kinds (task-0000, task-0001, task-0002 and 2 more) have 10 tasks in all")
    assert "--rename 'task-????' NAME" in first
    assert not any("--rename" in one for one in others)
