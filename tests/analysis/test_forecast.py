"""The forecast: exact identities, agreement with brute force, intervals, and what it refuses."""

import json
import lzma
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenflation import analysis as an
from tokenflation.analysis.fleet.demand import cumulants, jumps
from tokenflation.analysis.fleet.paths import RESOURCES, Runs, runs_of, summed
from tokenflation.analysis.fleet.simulate import simulate_load
from tokenflation.analysis.planning.arrivals import arrivals
from tokenflation.analysis.planning.plan import SHAPES, Plan
from tokenflation.analysis.statistics.mixtures import mixture_quantiles, smooth_laws
from tokenflation.analysis.statistics.quantiles import (
    GRID,
    lattice_quantiles,
    method_for,
    modulated,
    standard_quantiles,
)
from tokenflation.sdk.errors import FrameError, PlanError

SESSIONS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "agent_sessions" / "sessions.jsonl.xz"


def some_calls(runs: int = 40, seed: int = 1, kind: str = "triage") -> pd.DataFrame:
    """Runs of up to 12 calls, some of them in parallel, with known tokens and times."""
    rng = np.random.default_rng(seed)
    rows = []
    for run in range(runs):
        clock_s = 0.0
        for _ in range(int(rng.integers(1, 13))):
            duration_s = float(rng.lognormal(1.0, 0.6))
            rows.append({
                "task": kind, "task_id": f"{kind}-{run}", "model": "m", "stream": 1,
                "started_at_ns": int((1_000 * run + clock_s) * 1e9), "duration_s": duration_s,
                "ttft_s": 0.25 * duration_s, "input_tokens": int(rng.integers(100, 5_000)),
                "cache_read_tokens": 50, "output_tokens": int(rng.integers(1, 400)),
            })  # fmt: skip
            clock_s += duration_s * float(rng.uniform(0.4, 1.5))  # below 1: the next call overlaps
    return pd.DataFrame(rows).convert_dtypes()


def grid(runs: Runs, plan: Plan, count: int = 5) -> tuple[object, np.ndarray]:
    over = arrivals(plan, before_s=runs.longest_s + plan.bucket_s, after_s=plan.bucket_s)
    return over, (np.arange(count) + 0.5) * plan.bucket_s


@pytest.mark.parametrize("resource", list(RESOURCES))
@pytest.mark.parametrize("shape", list(SHAPES))
def test_the_fast_cumulants_equal_the_sum_over_every_segment(resource: str, shape: str) -> None:
    runs = runs_of(some_calls())
    over, times_s = grid(runs, Plan(tasks_per_day=1.0, day_shape=shape, bucket_s=300, growth_per_day=0.02))
    weight = np.full(40, 1e5 / 40)
    path = runs.paths[resource]
    fast = cumulants(path, weight, over, times_s)
    slow = np.stack([path.load**order for order in (1, 2, 3, 4)]) @ jumps(path, weight, over, times_s)
    np.testing.assert_allclose(fast, slow, rtol=1e-9)


def test_littles_law_holds_to_rounding() -> None:
    calls = some_calls()
    runs = runs_of(calls)
    over, times_s = grid(runs, Plan(tasks_per_day=1.0))
    mean = cumulants(runs.paths["concurrent_calls"], np.full(40, 86_400 / 40), over, times_s, 1)[0]
    np.testing.assert_allclose(mean, calls["duration_s"].sum() / 40, rtol=1e-9)


@pytest.mark.parametrize(("resource", "total"), [
    ("prefill_no_cache_tokens_per_s", "input_tokens"), ("decode_tokens_per_s", "output_tokens")])  # fmt: skip
def test_tokens_per_second_are_the_rate_times_tokens_per_task(resource: str, total: str) -> None:
    calls = some_calls()
    runs = runs_of(calls)
    over, times_s = grid(runs, Plan(tasks_per_day=1.0))
    mean = cumulants(runs.paths[resource], np.full(40, 86_400 / 40), over, times_s, 1)[0]
    np.testing.assert_allclose(mean, float(calls[total].sum()) / 40, rtol=1e-9)


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 100), st.floats(0.01, 50), st.floats(0.1, 9)), min_size=1))
def test_summed_segments_are_disjoint_and_keep_the_integral(calls: list[tuple[int, float, float, float]]) -> None:
    run, start, length, load = (np.array(column) for column in zip(*calls, strict=True))
    path = summed(run.astype(np.int64), start, start + length, load)
    np.testing.assert_allclose(path.integrals(5), np.bincount(run, load * length, 5), rtol=1e-6, atol=1e-9)
    same = path.run[1:] == path.run[:-1]
    assert (path.start_s[1:][same] >= path.end_s[:-1][same]).all()


@pytest.mark.parametrize(("resource", "tasks_per_s"), [("concurrent_calls", 0.05), ("decode_tokens_per_s", 0.3)])
def test_mean_and_deviation_agree_with_brute_force_within_three_standard_errors(
    resource: str, tasks_per_s: float
) -> None:
    runs = runs_of(some_calls())
    path = runs.paths[resource]
    over, times_s = grid(runs, Plan(tasks_per_day=1.0), 1)
    kappa = cumulants(path, np.full(40, tasks_per_s * 86_400 / 40), over, times_s)[:, 0]
    rng = np.random.default_rng(7)
    seen = simulate_load(path, 40, tasks_per_s, replicates=4_000, window_s=runs.longest_s, rng=rng)
    error = np.sqrt(kappa[1] / len(seen))
    assert abs(seen.mean() - kappa[0]) < 3 * error
    # Var(s^2) = (kappa4 + 2 kappa2^2) / n, and the deviation's error follows from it.
    error_sd = np.sqrt((kappa[3] + 2 * kappa[1] ** 2) / len(seen)) / (2 * np.sqrt(kappa[1]))
    assert abs(seen.std(ddof=1) - np.sqrt(kappa[1])) < 3 * error_sd
    print(f"{resource}: mean {seen.mean():.4f} / {kappa[0]:.4f}, sd {seen.std(ddof=1):.4f} / {np.sqrt(kappa[1]):.4f}")


def test_fft_quantiles_of_calls_in_flight_are_exact_where_few_overlap() -> None:
    runs = runs_of(some_calls())
    path = runs.paths["concurrent_calls"]
    rate, weight = 0.05, np.full(40, 0.05 * 86_400 / 40)
    over, times_s = grid(runs, Plan(tasks_per_day=1.0), 1)
    kappa = cumulants(path, weight, over, times_s)[:, 0]
    assert method_for(kappa) == "fft"
    counts = (path.end_s - path.start_s) * rate / 40
    found = lattice_quantiles(path.load, counts, kappa)
    seen = simulate_load(path, 40, rate, replicates=6_000, window_s=runs.longest_s, rng=np.random.default_rng(3))
    for level in (0.5, 0.95, 0.99):
        assert abs(found[np.searchsorted(GRID, level)] - np.quantile(seen, level)) <= 1.0


def test_a_large_load_is_normal_and_the_three_ways_meet() -> None:
    counts = np.full(10, 40.0)
    loads = np.arange(1.0, 11.0)
    kappa = np.array([np.sum(counts * loads**order) for order in (1, 2, 3, 4)])
    assert method_for(kappa) == "cornish-fisher"
    exact = lattice_quantiles(loads, counts, kappa)
    close = kappa[0] + np.sqrt(kappa[1]) * standard_quantiles(kappa)
    inner = (GRID > 0.01) & (GRID < 0.99)
    np.testing.assert_allclose(exact[inner], close[inner], rtol=0.01)
    assert method_for(kappa * np.array([1e6, 1e6, 1e6, 1e6])) == "normal"


def wide(demand: pd.DataFrame) -> pd.DataFrame:
    at_once = (demand["bucket_start"] == 0) & ~demand["resource"].str.contains("_per_(?:hour|day|month)$")
    return demand[at_once].pivot_table(index="resource", columns="statistic", values="value")


def test_ten_times_the_tasks_are_ten_times_the_mean() -> None:
    calls = some_calls()
    small, large = (wide(an.forecast(calls, Plan(tasks_per_day=n))) for n in (1e4, 1e5))
    np.testing.assert_allclose(large["mean"], 10 * small["mean"], rtol=1e-9)
    assert (large["p99"] >= large["p95"]).all()
    assert (large["mean_low"] < large["mean"]).all()
    assert (large["mean_high"] > large["mean"]).all()


def test_at_a_large_scale_the_uncertainty_is_the_prototypes() -> None:
    shares = [wide(an.forecast(some_calls(), Plan(tasks_per_day=n)))["share_prototypes"] for n in (1e2, 1e9)]
    assert (shares[0] < 0.3).all()
    assert (shares[1] > 0.99).all()


def test_below_ten_runs_there_is_no_interval_and_it_says_why() -> None:
    demand = an.forecast(some_calls(runs=9), Plan(tasks_per_day=1e4))
    assert "mean_low" not in set(demand["statistic"])
    assert "9 runs are too few" in demand.attrs["manifest"]["warnings"][0]


def test_the_same_seed_gives_the_same_forecast_and_the_frame_is_not_changed() -> None:
    calls = some_calls()
    before = calls.copy(deep=True)
    one, two = (an.forecast(calls, Plan(tasks_per_day=1e5), rng=np.random.default_rng(5)) for _ in range(2))
    pd.testing.assert_frame_equal(one, two)
    pd.testing.assert_frame_equal(calls, before)


def test_slow_modulation_widens_the_bands_by_its_share_of_the_mean() -> None:
    calm, wild = (wide(an.forecast(some_calls(), Plan(tasks_per_day=1e6, modulation_cv=z))) for z in (0.0, 0.3))
    expected = np.sqrt(calm["sd"] ** 2 + (0.3 * calm["mean"]) ** 2)
    np.testing.assert_allclose(wild["sd"], expected, rtol=1e-9)


def test_kinds_are_planned_apart() -> None:
    calls = pd.concat([some_calls(kind="a"), some_calls(kind="b", seed=2)], ignore_index=True)
    only_a = wide(an.forecast(calls, Plan(tasks_per_day={"a": 1e4, "b": 0})))
    alone = wide(an.forecast(some_calls(kind="a"), Plan(tasks_per_day=1e4)))
    np.testing.assert_allclose(only_a["mean"], alone["mean"], rtol=1e-9)


def test_calls_without_timing_are_filled_in_and_counted() -> None:
    calls = some_calls()
    calls.loc[calls.index % 4 == 0, ["duration_s", "ttft_s"]] = pd.NA
    notes = an.forecast(calls, Plan(tasks_per_day=1e4)).attrs["manifest"]["assumptions"]
    gone = int((calls["duration_s"].isna()).sum())
    assert any(note.startswith(f"{gone} of {len(calls)} calls have no duration") for note in notes)


def test_without_any_timing_it_refuses() -> None:
    calls = some_calls()
    calls[["duration_s", "ttft_s"]] = pd.NA
    with pytest.raises(FrameError, match="needs durations"):
        an.forecast(calls, Plan(tasks_per_day=1e4))


def test_a_missing_column_and_an_empty_frame_are_named() -> None:
    with pytest.raises(FrameError, match="output_tokens"):
        an.forecast(some_calls().drop(columns="output_tokens"), Plan(tasks_per_day=1))
    with pytest.raises(FrameError, match="none"):
        an.forecast(some_calls().iloc[:0], Plan(tasks_per_day=1))


@pytest.mark.parametrize(("field", "value"), [
    ("tasks_per_day", 0), ("tasks_per_day", float("nan")), ("tasks_per_day", {}), ("tasks_per_day", {"a": -1}),
    ("day_shape", "weird"), ("day_shape", [1.0] * 23), ("day_shape", [0.0] * 24), ("week_shape", [1.0]),
    ("growth_per_day", -1), ("modulation_cv", -0.1), ("days", 0), ("bucket_s", 700), ("level", 1.0),
    ("kv_bytes_per_token", 0)])  # fmt: skip
def test_a_plan_that_makes_no_sense_names_its_field(field: str, value: object) -> None:
    with pytest.raises(PlanError, match=f"plan.{field}"):
        Plan(**{"tasks_per_day": 1.0, field: value})


def test_an_unknown_kind_is_refused_with_the_kinds_there_are() -> None:
    with pytest.raises(PlanError, match=r"'other'.*'triage'"):
        an.forecast(some_calls(), Plan(tasks_per_day={"other": 5}))


@settings(max_examples=20, deadline=None)
@given(st.integers(10, 200))
def test_an_interval_holds_the_recorded_mean(runs: int) -> None:
    values = np.random.default_rng(runs).lognormal(0, 1, runs)
    low, high = an.mean_interval(values, rng=np.random.default_rng(0))
    assert 0 < low < values.mean() < high


def test_intervals_cover_what_they_claim_and_the_plug_in_does_not() -> None:
    rng = np.random.default_rng(11)
    truth = float(np.exp(0.5))
    hits = []
    for _ in range(300):
        low, high = an.mean_interval(rng.lognormal(0, 1, 30), rng=rng)
        hits.append(low <= truth <= high)
    print(f"coverage at n=30 of a lognormal: {np.mean(hits):.3f} for 0.90")
    assert 0.85 <= np.mean(hits) <= 0.95


def test_an_interval_for_few_further_runs_is_wider() -> None:
    values = np.random.default_rng(1).lognormal(0, 1, 50)
    few, all_ = (an.mean_interval(values, future=f, rng=np.random.default_rng(0)) for f in (20, None))
    assert few[0] < all_[0] < all_[1] < few[1]


@pytest.mark.parametrize("values", [[1.0] * 9, [1.0] * 9 + [-1.0], [1.0] * 9 + [float("nan")]])
def test_an_interval_of_too_few_or_bad_values_is_refused(values: list[float]) -> None:
    with pytest.raises(PlanError):
        an.mean_interval(values, rng=np.random.default_rng(0))


def test_equal_runs_leave_no_doubt() -> None:
    assert an.mean_interval([3.0] * 20, rng=np.random.default_rng(0)) == (3.0, 3.0)
    assert an.mean_interval([0.0] * 20, rng=np.random.default_rng(0)) == (0.0, 0.0)


@pytest.mark.shared_data
def test_the_recorded_sessions_obey_littles_law() -> None:
    if not SESSIONS.exists():
        pytest.skip(f"no recorded sessions at {SESSIONS}")
    rows = []
    with lzma.open(SESSIONS, "rt") as lines:
        for line in lines:
            session = json.loads(line)
            for request in session["requests"]:
                if request["type"] != "subagent":
                    rows.append({"task": "s", "task_id": session["id"], "model": request["model"],
                                 "started_at_ns": round(request["t"] * 1e9), "duration_s": request.get("api_time"),
                                 "ttft_s": request.get("ttft"), "input_tokens": request["in"],
                                 "output_tokens": request["out"], "shared_blocks": request["hit_blocks"],
                                 "block_tokens": 64})  # fmt: skip
    calls = pd.DataFrame(rows).convert_dtypes()
    demand = wide(an.forecast(calls, Plan(tasks_per_day=86_400)))
    tokens = float(calls["input_tokens"].sum()) / calls["task_id"].nunique()
    assert demand.loc["prefill_no_cache_tokens_per_s", "mean"] == pytest.approx(tokens, rel=1e-9)


def test_few_and_equal_runs_give_a_forecast_without_a_warning_from_numpy() -> None:
    calls = some_calls(runs=3)
    calls["input_tokens"] = 100
    demand = an.forecast(calls, Plan(tasks_per_day=1e6))
    assert np.isfinite(demand["value"]).all()


def test_a_kind_of_one_run_does_not_take_the_doubt_about_the_others_away() -> None:
    many, rare = some_calls(runs=40), some_calls(runs=1, kind="rare", seed=9)
    both = pd.concat([many, rare], ignore_index=True)
    plan = Plan(tasks_per_day={"triage": 1e9, "rare": 1.0})
    alone = wide(an.forecast(many, Plan(tasks_per_day=1e9), rng=np.random.default_rng(2)))
    found = wide(an.forecast(both, plan, rng=np.random.default_rng(2)))
    assert found.loc["concurrent_calls", "p99"] == pytest.approx(alone.loc["concurrent_calls", "p99"], rel=0.02)


def test_modulated_quantiles_agree_with_a_simulated_gamma_factor() -> None:
    rng = np.random.default_rng(4)
    loads, counts, cv = np.arange(1.0, 4.0), np.array([2.0, 1.0, 0.5]), 0.4
    factor = rng.gamma(1 / cv**2, cv**2, 200_000)
    seen = sum(load * rng.poisson(count * factor) for load, count in zip(loads, counts, strict=True))
    plain = np.array([np.sum(counts * loads**order) for order in (1, 2, 3, 4)])
    kappa = modulated(plain, cv)
    centred = seen - seen.mean()
    assert seen.var() == pytest.approx(kappa[1], rel=0.03)
    assert (centred**3).mean() == pytest.approx(kappa[2], rel=0.1)
    found = lattice_quantiles(loads, counts, kappa, cv)
    for level in (0.5, 0.95, 0.99):
        assert abs(found[np.searchsorted(GRID, level)] - np.quantile(seen, level)) <= 1.0


def test_quantiles_of_a_load_that_is_huge_beside_its_spread_are_not_lost_to_rounding() -> None:
    # As many tokens as 1e15 tasks a day ask for: the spread is a billionth of the mean.
    laws = smooth_laws(np.array([[1e19], [1e20], [0.0], [0.0]]), np.array([], dtype=np.int64))
    means, spreads = np.full((500, 1), 1e19), np.full((500, 1), 1e10)
    found = mixture_quantiles(np.array([0.5, 0.95]), means, spreads, laws)
    assert (found[:, 0] - 1e19) / 1e10 == pytest.approx([0, 1.645], abs=0.01)


def test_no_filled_in_prefill_is_faster_than_the_fastest_seen() -> None:
    calls = some_calls()
    calls.loc[0, ["duration_s", "ttft_s", "output_tokens"]] = [pd.NA, pd.NA, 1]
    calls.loc[0, "input_tokens"] = 10_000_000
    seen = ((calls["input_tokens"] - 50) / calls["ttft_s"]).iloc[1:].max()
    path = runs_of(calls).paths["prefill_tokens_per_s"]
    assert path.load.max() <= 2 * seen


def test_a_sample_of_mostly_zeros_leaves_room_above_its_mean() -> None:
    low, high = an.mean_interval([0.0] * 9 + [1.0], rng=np.random.default_rng(0))
    assert low < 0.1 < high


def test_a_few_slow_runs_do_not_make_an_absurd_forecast() -> None:
    calls = some_calls(runs=10)
    slow = calls["task_id"].isin(["triage-0", "triage-1", "triage-2"])
    calls.loc[slow, "duration_s"] *= 30
    found = wide(an.forecast(calls, Plan(tasks_per_day=1e6)))
    assert (found["p99"] < 20 * found["mean"]).all()
    calm = found.loc[["concurrent_calls", "requests_per_s"]]
    assert (calm["mean_low"] > 0).all()


def test_calls_without_any_token_count_are_refused() -> None:
    calls = some_calls()
    calls[["input_tokens", "output_tokens"]] = pd.NA
    with pytest.raises(FrameError, match="none of the"):
        an.forecast(calls, Plan(tasks_per_day=1e4))


@pytest.mark.parametrize("resource", ["decode_tokens_per_s", "calls_per_hour"])
def test_one_resource_alone_is_what_it_is_among_the_others(resource: str) -> None:
    calls, plan = some_calls(), Plan(tasks_per_day=5_000.0, day_shape="business_day")
    whole, alone = an.forecast(calls, plan), an.forecast(calls, plan, resource=resource)
    mine, same = (one[(one["resource"] == resource) & (one["bucket_start"] >= 0)] for one in (whole, alone))
    pd.testing.assert_frame_equal(mine.reset_index(drop=True), same.reset_index(drop=True))
    totals = {"tasks", "calls", "input_tokens", "prefill_tokens", "output_tokens"}
    assert set(alone["resource"]) == {resource, *totals}


def test_a_task_with_a_wrong_date_is_refused_by_its_name() -> None:
    calls = some_calls()
    calls.loc[len(calls) - 1, "started_at_ns"] += 4_000 * 86_400 * 10**9
    with pytest.raises(FrameError, match=r"The task 'triage-39' lasts 4,000 days by the times of its calls"):
        an.forecast(calls, Plan(tasks_per_day=1e4))
