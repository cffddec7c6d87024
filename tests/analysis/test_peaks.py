"""Bursts and peaks: variances of arrivals that are not Poisson, and the highest load of a day, against brute force."""

import numpy as np
import pandas as pd
import pytest

from tokenflation import analysis as an
from tokenflation.analysis.fleet import bursts
from tokenflation.analysis.fleet.paths import Path
from tokenflation.analysis.fleet.peaks import autocorrelation, highest_scores
from tokenflation.analysis.fleet.simulate import loads_at
from tokenflation.analysis.planning.parts import Bursts


@pytest.fixture(scope="module")
def path() -> Path:
    """Two runs: one call of 10 s, and two calls at once for 30 s."""
    return Path(np.array([0, 1]), np.array([0.0, 5.0]), np.array([10.0, 35.0]), np.array([1.0, 2.0]))


def test_poisson_variance_by_autocovariance_is_campbells(path: Path) -> None:
    gamma = bursts.cox_autocovariance(0.5, 0.0, 3600.0, 0.5, 100)
    found = bursts.arrival_variance(path, np.full(2, 0.5), 0.5, gamma, 0.5)
    assert found == pytest.approx(0.5 * (10 * 1 + 30 * 4) / 2, rel=1e-9)


def test_a_renewal_process_with_cv_one_is_poisson() -> None:
    gamma = bursts.renewal_autocovariance(0.5, 1.0, 0.5, 40)
    assert gamma[0] == pytest.approx(0.25, rel=1e-3)
    assert np.abs(gamma[1:]).max() < 1e-3 * gamma[0]


@pytest.mark.parametrize(("branching", "tasks"), [(0.5, 4.0), (0.8, 25.0)])
def test_dispersion_over_long_times_is_that_of_the_clusters(branching: float, tasks: float) -> None:
    hawkes = bursts.hawkes_autocovariance(1.0, branching, 10.0, 1.0, 5_000)
    sessions = bursts.session_autocovariance(1.0, tasks, 10.0, 1.0, 5_000)
    assert hawkes[0] + 2 * hawkes[1:].sum() == pytest.approx(1 / (1 - branching) ** 2, rel=1e-3)
    assert sessions[0] + 2 * sessions[1:].sum() == pytest.approx(2 * tasks - 1, rel=1e-3)


def test_a_burst_widens_the_load_as_much_as_simulated_sessions_do(path: Path) -> None:
    rng = np.random.default_rng(5)
    current = rng.uniform(0, 400_000.0, 40_000)
    found = [current]
    while len(current):
        current = current[rng.random(len(current)) < 0.8]
        current = current + rng.exponential(20.0, len(current))
        found.append(current)
    starts = np.concatenate(found)
    seen = loads_at(path, 2, starts, step_s=5.0, from_s=5_000.0, until_s=395_000.0, rng=rng)
    gamma = bursts.session_autocovariance(0.5, 5.0, 20.0, 0.25, 200)
    said = bursts.arrival_variance(path, np.full(2, 0.5), 0.5, gamma, 0.25)
    assert said == pytest.approx(seen.var(), rel=0.04)


def test_calls_shorter_than_a_minute_leave_no_memory_from_one_minute_to_the_next(path: Path) -> None:
    found = autocorrelation(path, np.full(2, 0.5), 10)
    assert found[0] == 1.0
    assert np.abs(found[1:]).max() < 1e-9


def test_a_long_run_is_remembered_as_its_overlap() -> None:
    long = Path(np.array([0]), np.array([0.0]), np.array([600.0]), np.array([3.0]))
    found = autocorrelation(long, np.ones(1), 20)
    np.testing.assert_allclose(found[:11], 1 - np.arange(11) / 10, atol=0.01)


def test_highest_scores_of_independent_minutes_are_those_of_sixty_normals() -> None:
    alone = np.concatenate(([1.0], np.zeros(1_439)))
    found = highest_scores([alone], 3600, np.random.default_rng(2))[0]
    expected = np.random.default_rng(3).standard_normal((20_000, 60)).max(axis=1)
    assert found.shape == (1_000, 24)
    assert found.mean() == pytest.approx(expected.mean(), abs=0.02)
    assert found.std() == pytest.approx(expected.std(), abs=0.02)


def test_the_days_peak_lies_above_the_p99_of_an_instant_and_below_the_horizons() -> None:
    rng = np.random.default_rng(0)
    calls = pd.DataFrame({
        "task": "a", "task_id": [str(one) for one in range(30)], "model": "m", "started_at_ns": 0,
        "duration_s": rng.lognormal(2, 0.3, 30), "ttft_s": 1.0, "input_tokens": 100, "output_tokens": 10,
    }).convert_dtypes()  # fmt: skip
    demand = an.forecast(calls, an.Plan(tasks_per_day=1e5, days=3))
    of = demand[demand["resource"] == "concurrent_calls"].groupby("statistic")["value"].max()
    assert of["p99"] < of["day_peak_p99"] <= of["horizon_peak_p99"] * 1.001
    assert of["day_peak_p50"] < of["horizon_peak_p50"]


def sessions(rate_per_s: float, tasks: float, gap_s: float, until_s: float, rng: np.random.Generator) -> np.ndarray:
    """Starts of Poisson sessions of a geometric number of tasks at exponential gaps."""
    current = rng.uniform(0, until_s, rng.poisson(rate_per_s / tasks * until_s))
    found = [current]
    while len(current):
        current = current[rng.random(len(current)) < 1 - 1 / tasks]
        current = current + rng.exponential(gap_s, len(current))
        found.append(current)
    return np.concatenate(found)


def test_without_bunches_the_correlation_is_that_of_the_runs_alone(path: Path) -> None:
    share = np.full(2, 0.5)
    alone = autocorrelation(path, share, 30)
    np.testing.assert_array_equal(alone, autocorrelation(path, share, 30, Bursts()))
    np.testing.assert_array_equal(alone, autocorrelation(path, share, 30, Bursts(kind="modulated", cv=0.3)))


def test_bunches_are_remembered_as_long_as_simulated_sessions_are(path: Path) -> None:
    rng = np.random.default_rng(6)
    bursts_ = Bursts(kind="sessions", tasks_per_session=5.0, gap_s=60.0)
    said = autocorrelation(path, np.full(2, 0.5), 12, bursts_)
    starts = sessions(0.5, 5.0, 60.0, 1_500_000.0, rng)
    seen = loads_at(path, 2, starts, step_s=60.0, from_s=5_000.0, until_s=1_495_000.0, rng=rng)
    seen = seen - seen.mean()
    measured = [float((seen[: len(seen) - lag] * seen[lag:]).mean() / seen.var()) for lag in range(12)]
    np.testing.assert_allclose(said, measured, atol=0.02)
    assert said[1] > 0.1


def test_the_variance_of_the_correlation_is_that_of_the_closed_form(path: Path) -> None:
    # Without normalising, lag 0 must hold the runs' own part and what bunches add: their ratio is dispersion's.
    share, bursts_ = np.full(2, 0.5), Bursts(kind="hawkes", branching=0.6, decay_s=120.0)
    more = bursts.clustering(bursts_, path, share)
    mean, square = (float(np.sum(0.5 * path.load**order * (path.end_s - path.start_s))) for order in (1, 2))
    alone, together = autocorrelation(path, share, 60), autocorrelation(path, share, 60, bursts_)
    # Far from lag 0 only bunches are left: exp(-t / memory), over the whole variance.
    assert alone[2:].max() < 1e-9
    decay = together[3:30] / together[2:29]
    np.testing.assert_allclose(decay, np.exp(-60.0 * (1 - 0.6) / 120.0), rtol=1e-3)
    assert together[2] < more * mean / (square + more * mean)


def test_the_peak_of_a_day_of_sessions_agrees_with_brute_force() -> None:
    rng = np.random.default_rng(8)
    calls = pd.DataFrame({
        "task": "a", "task_id": [str(one) for one in range(30)], "model": "m", "started_at_ns": 0,
        "duration_s": np.full(30, 100.0), "ttft_s": 1.0, "input_tokens": 100, "output_tokens": 10,
    }).convert_dtypes()  # fmt: skip
    burst = Bursts(kind="sessions", tasks_per_session=4.0, gap_s=120.0)
    demand = an.forecast(calls, an.Plan(tasks_per_day=17_280, burstiness=burst))
    rows = demand[(demand["resource"] == "concurrent_calls") & (demand["bucket_start"] < 0)].set_index("statistic")
    one = Path(np.array([0]), np.array([0.0]), np.array([100.0]), np.array([1.0]))
    seen = [loads_at(one, 1, sessions(0.2, 4.0, 120.0, 90_000.0, rng) - 3_600.0, step_s=60.0, from_s=0.0,
                     until_s=86_340.0, rng=rng).max() for _ in range(150)]  # fmt: skip
    for statistic, level in (("day_peak_p50", 0.5), ("day_peak_p95", 0.95)):
        said = float(rows.loc[statistic, "value"])
        print(f"{statistic}: {said:.1f} said, {np.quantile(seen, level):.1f} seen")
        assert said == pytest.approx(np.quantile(seen, level), rel=0.05)


def test_equal_buckets_have_one_peak_and_unequal_ones_their_own() -> None:
    rng = np.random.default_rng(0)
    calls = pd.DataFrame({
        "task": "a", "task_id": [str(one) for one in range(30)], "model": "m", "started_at_ns": 0,
        "duration_s": rng.lognormal(2, 0.3, 30), "ttft_s": 1.0, "input_tokens": 100, "output_tokens": 10,
    }).convert_dtypes()  # fmt: skip
    peaks = {}
    for bucket_s in (300, 3600):
        demand = an.forecast(calls, an.Plan(tasks_per_day=1e5, day_shape="business_day", bucket_s=bucket_s))
        rows = demand[(demand["resource"] == "concurrent_calls") & (demand["statistic"] == "day_peak_p50")]
        peaks[bucket_s] = float(rows["value"].iloc[0])
    assert peaks[300] == pytest.approx(peaks[3600], rel=0.03)


def test_a_trace_is_remembered_as_the_sessions_it_was_made_of(path: Path) -> None:
    share = np.full(2, 0.5)
    starts = np.sort(sessions(0.5, 5.0, 60.0, 200_000.0, np.random.default_rng(7)))
    trace = Bursts(kind="trace", times_s=tuple(starts[starts < 200_000.0].tolist()))
    said = autocorrelation(path, share, 10, trace)
    expected = autocorrelation(path, share, 10, Bursts(kind="sessions", tasks_per_session=5.0, gap_s=60.0))
    np.testing.assert_allclose(said, expected, atol=0.04)
    twice = autocorrelation(path, share, 10, trace, rate_ratio=2.0)
    assert twice[1] > said[1] > 0.1
