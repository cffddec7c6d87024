"""Quantiles of single tasks with what they need, and tails that are too heavy."""

import numpy as np
import pandas as pd
import pytest
from tests.analysis.test_censored import cut_after
from tests.analysis.test_forecast import some_calls

from tokenflation import analysis as an
from tokenflation.analysis.fleet.per_task import hill_index
from tokenflation.analysis.planning.plan import Plan
from tokenflation.analysis.whatif import volume_that_fits
from tokenflation.sdk.errors import PlanError


def quantiles(runs: int) -> dict[tuple[str, str], dict[str, object]]:
    rows = an.forecast(some_calls(runs=runs), an.Plan(tasks_per_day=1e4)).attrs["manifest"]["task_quantiles"]
    return {(row["resource"], row["quantile"]): row for row in rows}


@pytest.mark.parametrize(("runs", "known"), [(12, ["p50"]), (22, ["p50", "p90"]), (45, ["p50", "p90", "p95"]),
                                             (230, ["p50", "p90", "p95", "p99"])])  # fmt: skip
def test_each_quantile_comes_only_from_the_runs_it_needs(runs: int, known: list[str]) -> None:
    found = quantiles(runs)
    for resource in ("input_tokens", "output_tokens", "calls", "duration_s"):
        assert [name for name in ("p50", "p90", "p95", "p99") if found[resource, name]["value"] is not None] == known
    if runs < 230:
        assert found["calls", "p99"]["refused"] == f"needs 230 finished runs; there are {runs}"


def test_quantiles_are_those_of_the_recorded_runs() -> None:
    calls = some_calls(runs=60)
    tokens = calls.groupby("task_id")["input_tokens"].sum().to_numpy(dtype=float)
    assert quantiles(60)["input_tokens", "p95"]["value"] == pytest.approx(np.quantile(tokens, 0.95))
    assert quantiles(60)["duration_s", "p50"]["unit"] == "s"


def test_of_cut_runs_quantiles_are_those_of_the_longer_ones_and_none_beyond_them() -> None:
    calls = some_calls(runs=60)
    tokens = calls.groupby("task_id")["input_tokens"].sum().sort_values()
    demand = an.forecast(cut_after(calls, 12, tokens.index[-5:].tolist()), an.Plan(tasks_per_day=1e4))
    rows = {row["quantile"]: row for row in demand.attrs["manifest"]["task_quantiles"] if row["resource"] == "calls"}
    assert rows["p90"]["value"] is not None
    assert rows["p95"]["refused"] == "lies beyond the longest finished run; record runs with a higher limit"


def test_hills_estimate_finds_the_index_of_a_power_law() -> None:
    values = np.random.default_rng(2).pareto(1.5, 20_000) + 1
    assert hill_index(values) == pytest.approx(1.5, rel=0.05)
    assert hill_index(values[:99]) is None
    assert hill_index(np.ones(200)) is None


def test_a_tail_of_infinite_variance_is_warned_of() -> None:
    calls = some_calls(runs=120)
    factor = np.random.default_rng(3).pareto(1.1, 120) + 1
    names = {name: factor[place] for place, name in enumerate(calls["task_id"].unique())}
    calls["input_tokens"] = (calls["input_tokens"] * calls["task_id"].map(names)).round().astype("Int64")
    manifest = an.forecast(calls, an.Plan(tasks_per_day=1e4)).attrs["manifest"]
    assert manifest["kinds"][0]["tail_index"] < 2
    assert any("power law of index" in one for one in manifest["warnings"])
    calm = an.forecast(some_calls(runs=120), an.Plan(tasks_per_day=1e4)).attrs["manifest"]
    assert not any("power law" in one for one in calm["warnings"])


def test_tokens_that_no_run_reports_have_no_quantile_and_the_fleet_none_of_them() -> None:
    calls = some_calls(runs=40).assign(output_tokens=pd.NA)

    demand = an.forecast(calls, Plan(tasks_per_day=1_000))

    silent = demand["resource"].isin(["decode_tokens_per_s", "output_tokens", "output_tokens_per_hour"])
    assert demand.loc[silent, "value"].isna().all()
    assert demand.loc[~demand["resource"].str.contains("output|decode"), "value"].notna().all()
    rows = [row for row in demand.attrs["manifest"]["task_quantiles"] if row["resource"] == "output_tokens"]
    assert {(row["value"], row["refused"]) for row in rows} == {(None, "is not known: no recorded run reports it")}
    with pytest.raises(PlanError, match="no recorded call of the fleet reports"):
        volume_that_fits(calls, Plan(tasks_per_day=1_000), resource="decode_tokens_per_s", limit=1.0)


def test_quantiles_of_tokens_are_of_the_runs_that_report_them() -> None:
    calls = some_calls(runs=60)
    silent = set(calls["task_id"].unique()[:40])
    calls["output_tokens"] = calls["output_tokens"].mask(calls["task_id"].isin(silent))
    told = calls[~calls["task_id"].isin(silent)].groupby("task_id")["output_tokens"].sum()

    rows = an.forecast(calls, Plan(tasks_per_day=1_000)).attrs["manifest"]["task_quantiles"]

    found = {row["quantile"]: row for row in rows if row["resource"] == "output_tokens"}
    assert found["p50"]["value"] == pytest.approx(told.median())
    assert found["p90"]["refused"] == "needs 22 finished runs; there are 20"
