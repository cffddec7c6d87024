"""Runs that a limit cut: found in a store, said where what they used is counted, and completed by longer runs."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.analysis.test_forecast import some_calls, wide
from tests.providers import Provider
from tests.scoping.limited import asking

import tokenflation.sdk as tf
from tokenflation import analysis as an
from tokenflation.analysis.fleet.paths import runs_of
from tokenflation.analysis.planning.limits import Budget
from tokenflation.analysis.statistics.censoring import marked, run_shares, runs_cut, survival_weights
from tokenflation.analysis.structure.rows import censored_remarks, load_censored
from tokenflation.cli import main
from tokenflation.sdk.errors import PlanError

REMARK = "capped: a limit cut 2 of 12 runs, so what they used is a lower bound of what their task needs."


@pytest.fixture
def store(tmp_path: Path, provider: Provider) -> Path:
    """Return a store with 12 runs of two calls each, of which a limit cut the first two after one."""
    path = tmp_path / "runs.db"
    with tf.instrument(path), asking(provider) as ask:
        for number in range(12):
            try:
                with tf.task("capped", id=f"t{number:02}", max_calls=1 if number < 2 else 5):
                    ask(f"one {number}")
                    ask(f"two {number}")
            except tf.LimitReached:
                assert number < 2
    return path


def test_the_tasks_that_a_limit_cut_are_found(store: Path) -> None:
    assert load_censored(store).to_numpy().tolist() == [["capped", f"t{number:02}", "max_calls"] for number in (0, 1)]
    assert load_censored(f"sqlite:///{store}").to_dict("list") == load_censored(store).to_dict("list")


def test_each_kind_with_cut_runs_has_a_remark(store: Path) -> None:
    calls = an.load(store)
    assert censored_remarks(calls, load_censored(store)) == [REMARK]
    assert censored_remarks(calls, load_censored(store).iloc[:0]) == []


def test_a_plan_that_names_other_kinds_is_told_nothing_of_cut_runs(store: Path) -> None:
    calls = an.load(store)
    kinds = an.Plan(tasks_per_day={"other": 10}).kinds, an.Plan(tasks_per_day={"capped": 10}).kinds
    assert [censored_remarks(calls, load_censored(store), some) for some in kinds] == [[], [REMARK]]
    assert an.Plan(tasks_per_day=10).kinds is None


def test_a_source_without_scopes_has_none(tmp_path: Path) -> None:
    assert load_censored(tmp_path / "calls.parquet").empty


def test_profile_and_forecast_say_it(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["profile", str(store)], ["forecast", str(store), "--tasks-per-day", "1000", "--json"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
    shown = capsys.readouterr().out
    profile, _, forecast = shown.partition('{\n  "manifest"')
    assert "a limit cut 2 of 12 runs" in " ".join(profile.split())
    assert json.loads('{"manifest"' + forecast)["manifest"]["warnings"][0] == REMARK


def test_a_store_with_cut_runs_is_forecast_by_the_runs_that_went_on(store: Path) -> None:
    plan = an.Plan(tasks_per_day=1000)
    demand = an.forecast(marked(an.load(store), load_censored(store)), plan)
    calls = demand[(demand["bucket_start"] < 0) & (demand["resource"] == "calls")].set_index("statistic")["value"]
    # Of 12 runs 10 made two calls, and so would have the two that were cut after one.
    assert calls["mean"] == pytest.approx(2000)
    kind = demand.attrs["manifest"]["kinds"][0]
    assert (kind["runs"], kind["cut_runs"], kind["beyond_share"]) == (12, 2, 0.0)
    plain = an.forecast(an.load(store), plan)
    assert plain[plain["resource"] == "calls"].iloc[0]["value"] == pytest.approx(1000 * 22 / 12)


def test_masses_are_shared_out_as_worked_by_hand() -> None:
    # 1 finished, 2 cut, 3 finished, 4 cut, 5 finished: 1/5; then 4/5 over 3; the rest is the last one's.
    weights, beyond = survival_weights(np.array([1.0, 2, 3, 4, 5]), np.array([False, True, False, True, False]))
    assert weights.tolist() == pytest.approx([1 / 5, 0, 4 / 15, 0, 8 / 15])
    assert beyond == 0


def test_what_was_cut_beyond_the_longest_finished_run_keeps_its_mass() -> None:
    weights, beyond = survival_weights(np.array([4.0, 1, 3, 4]), np.array([True, False, False, True]))
    assert weights.tolist() == pytest.approx([0.25, 0.25, 0.25, 0.25])
    assert beyond == pytest.approx(0.5)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.booleans()), min_size=1, max_size=40))
def test_weights_sum_to_one_and_never_lower_the_mean(runs: list[tuple[int, bool]]) -> None:
    amount, cut = np.array([float(one) for one, _ in runs]), np.array([one for _, one in runs])
    weights, beyond = survival_weights(amount, cut)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    assert 0 <= beyond <= 1 + 1e-9
    assert weights @ amount >= amount.mean() * (1 - 1e-9)
    if not cut.any():
        assert weights == pytest.approx(np.full(len(runs), 1 / len(runs)))


def test_the_mean_of_cut_runs_is_right_where_the_plain_one_is_far_too_low() -> None:
    rng = np.random.default_rng(4)
    whole, limit = rng.lognormal(0, 0.7, (300, 60)), rng.exponential(3.0, (300, 60))
    cut = limit < whole
    used = np.where(cut, limit, whole)
    found = [run_shares(one, is_cut).weights @ one for one, is_cut in zip(used, cut, strict=True)]
    truth = np.exp(0.7**2 / 2)
    assert used.mean() / truth < 0.8
    assert np.mean(found) / truth == pytest.approx(1, abs=0.04)


def test_cut_runs_widen_the_interval_and_the_jackknife_knows_by_how_much() -> None:
    rng = np.random.default_rng(5)
    whole, limit = rng.lognormal(0, 0.7, (400, 50)), rng.exponential(3.0, (400, 50))
    used, cut = np.minimum(whole, limit), limit < whole
    every = [run_shares(one, is_cut) for one, is_cut in zip(used, cut, strict=True)]
    means = np.array([shares.weights @ one for shares, one in zip(every, used, strict=True)])
    errors = [float(shares.relative_error(one[:, None])[0]) for shares, one in zip(every, used, strict=True)]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(means.std() / means.mean(), rel=0.25)


def cut_after(calls: pd.DataFrame, kept: int, tasks: list[str]) -> pd.DataFrame:
    """The calls with the named runs cut after so many calls."""
    place = calls.groupby("task_id").cumcount()
    found = calls[~calls["task_id"].isin(tasks) | (place < kept)].reset_index(drop=True)
    return marked(found, pd.DataFrame({"task": "triage", "task_id": tasks, "censored_by": "max_tokens"}))


def test_a_cut_run_raises_the_forecast_and_is_said() -> None:
    calls = some_calls()
    long = calls["task_id"].value_counts().index[:6].tolist()
    cut = cut_after(calls, 2, long)
    plain, found = (an.forecast(of, an.Plan(tasks_per_day=1e5)) for of in (cut.drop(columns="censored_by"), cut))
    assert (wide(found)["mean"] > 1.02 * wide(plain)["mean"]).drop("kv_warm_tokens").all()
    notes = found.attrs["manifest"]["assumptions"]
    assert any("longer runs stand in for what 6 of 40 recorded runs had left to do" in note for note in notes)
    assert found.attrs["manifest"]["kinds"][0]["cut_runs"] == 6


@pytest.mark.parametrize(
    ("input_tokens", "said"), [(50_000, "lowers the mean input by "), (200, "leaves the mean input as it is.")]
)
def test_cut_runs_of_no_less_input_than_the_longer_ones_are_said_to_raise_nothing(input_tokens: int, said: str) -> None:
    calls = some_calls()
    short = calls["task_id"].unique()[:2].tolist()
    cut = cut_after(calls.groupby("task_id").head(2).reset_index(drop=True), 1, short)
    cut["input_tokens"], cut["output_tokens"] = 100, 100_000
    cut.loc[cut["task_id"].isin(short), ["input_tokens", "output_tokens"]] = input_tokens, 0
    cut[["cache_read_tokens", "reasoning_tokens"]] = 0
    notes = an.forecast(cut, an.Plan(tasks_per_day=1e4)).attrs["manifest"]["assumptions"]
    (note,) = [note for note in notes if "Kaplan-Meier" in note]
    assert said in note
    assert "-" not in note.partition("Kaplan-Meier")[2]


def test_a_run_whose_last_call_broke_off_counts_as_cut() -> None:
    calls = some_calls().assign(status="ok")
    last = calls.groupby("task_id").tail(1).index
    calls.loc[last[:3], "status"] = "cut"
    calls.loc[calls.index[0], "status"] = "cut" if calls.index[0] not in last else "ok"
    assert runs_cut(calls).to_dict() == {("triage", one): "broken off" for one in calls.loc[last[:3], "task_id"]}


def test_a_run_is_not_cut_for_its_id_being_that_of_a_cut_run_of_another_kind(store: Path, provider: Provider) -> None:
    with tf.instrument(store), asking(provider) as ask:
        for number in range(12):
            with tf.task("answer-once", id=f"t{number:02}"):
                ask(f"at once {number}")
    calls = an.load(store)
    demand = an.forecast(marked(calls, load_censored(store)), an.Plan(tasks_per_day=1000))
    assert [(kind["task"], kind["cut_runs"]) for kind in demand.attrs["manifest"]["kinds"]] == [
        ("capped", 2),
        ("answer-once", 0),
    ]
    assert censored_remarks(calls, load_censored(store)) == [REMARK]


def test_a_run_that_broke_off_counts_as_cut_though_another_kind_has_its_id() -> None:
    calls = some_calls().assign(status="ok")
    broken = calls.groupby("task_id").tail(1).index[:3]
    calls.loc[broken, "status"] = "cut"
    later = calls.assign(task="again", status="ok", started_at_ns=calls["started_at_ns"] + 10**12)
    assert set(runs_cut(pd.concat([calls, later], ignore_index=True)).index) == {
        ("triage", one) for one in calls.loc[broken, "task_id"]
    }


@pytest.mark.parametrize(
    ("many", "said"), [(40, "every recorded run was cut"), (25, "25 of 40 recorded runs were cut")]
)
def test_a_kind_of_which_most_runs_were_cut_is_refused(many: int, said: str) -> None:
    calls = some_calls()
    cut = cut_after(calls, 12, calls["task_id"].unique()[:many].tolist())
    with pytest.raises(PlanError, match=f"'triage', of which {said} short.*limits_hold"):
        an.forecast(cut, an.Plan(tasks_per_day=1e4))
    kept = an.forecast(cut, an.Plan(tasks_per_day=1e4, limits_hold=True))
    assert any("cut by the limits" in note for note in kept.attrs["manifest"]["assumptions"])


def test_runs_cut_beyond_the_longest_finished_one_are_warned_of() -> None:
    calls = some_calls()
    tokens = calls.groupby("task_id")["input_tokens"].sum().sort_values()
    cut = cut_after(calls, 12, tokens.index[-4:].tolist())
    demand = an.forecast(cut, an.Plan(tasks_per_day=1e4))
    warnings = demand.attrs["manifest"]["warnings"]
    assert any("10 % of its runs were cut after the longest finished one" in one for one in warnings)
    assert "mean_low" not in set(demand["statistic"])


def test_a_budget_that_ends_a_run_before_its_limit_did_makes_it_whole() -> None:
    calls = some_calls()
    long = calls["task_id"].value_counts().index[:6].tolist()
    demand = an.forecast(cut_after(calls, 3, long), an.Plan(tasks_per_day=1e4, budgets=Budget(max_calls=2)))
    assert demand.attrs["manifest"]["kinds"][0]["cut_runs"] == 0


def test_the_shares_of_a_frame_without_marks_are_even() -> None:
    calls = some_calls()
    assert marked(calls, None) is calls
    assert len(runs_cut(calls)) == 0
    shares = run_shares(runs_of(calls).totals["input_tokens"].to_numpy(), np.zeros(40, dtype=bool))
    assert shares.left_out is None
    assert set(shares.weights) == {1 / 40}


def test_json_gives_totals_of_hours_days_and_months_apart_from_loads(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["forecast", str(store), "--tasks-per-day", "1000", "--json"])
    found = json.loads(capsys.readouterr().out)
    means = {
        (row["resource"], row["bucket_start"]): row["value"] for row in found["windows"] if row["statistic"] == "mean"
    }
    assert means["calls_per_day", 0.0] == pytest.approx(2000)
    assert means["calls_per_hour", 3600.0] == pytest.approx(2000 / 24)
    assert means["calls_per_month", 0.0] == pytest.approx(2000 * 30.4375)
    assert not any("_per_day" in row["resource"] for row in found["buckets"])
