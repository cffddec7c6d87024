"""Intervals of a mean from few runs: what they are invariant to, and that they hold the truth as often as they say."""

import runpy
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import tokenflation.analysis as an
from tokenflation.analysis.statistics.prototypes import mean_factors
from tokenflation.sdk.errors import PlanError

Floats = NDArray[np.float64]
ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / ".." / "shared" / "data"

amounts = st.one_of(st.just(0.0), st.floats(1e-6, 1e6))
samples = st.lists(amounts, min_size=10, max_size=60)


def interval(values: list[float], future: int | None = None, level: float = 0.9) -> tuple[float, float]:
    return an.mean_interval(values, future=future, level=level, rng=np.random.default_rng(0))


@given(samples, st.sampled_from([2.0**-40, 0.5, 8.0, 2.0**60]))
def test_an_interval_scales_with_its_values(values: list[float], factor: float) -> None:
    scaled = interval([factor * value for value in values])
    assert scaled == pytest.approx(tuple(factor * end for end in interval(values)), rel=1e-9, abs=0)


@given(samples, st.floats(0.01, 0.999), st.floats(0.01, 0.999))
def test_a_higher_level_never_gives_a_narrower_interval(values: list[float], one: float, other: float) -> None:
    inner, outer = interval(values, level=min(one, other)), interval(values, level=max(one, other))
    assert outer[0] <= inner[0] <= inner[1] <= outer[1]


@given(samples, st.randoms(use_true_random=False))
def test_the_order_of_runs_says_nothing(values: list[float], random: Random) -> None:
    shuffled = random.sample(values, len(values))
    assert interval(shuffled) == pytest.approx(interval(values), rel=1e-9)


@given(samples, st.integers(1, 10_000))
def test_ends_are_numbers_around_the_mean_and_not_below_zero(values: list[float], future: int) -> None:
    low, high = interval(values, future=future)
    mean = float(np.mean(values))
    assert 0 <= low <= mean * (1 + 1e-12)
    assert mean * (1 - 1e-12) <= high < np.inf


@given(samples, st.integers(1, 1000), st.integers(1, 1000))
def test_the_mean_of_more_further_runs_is_known_better(values: list[float], one: int, other: int) -> None:
    few, many = interval(values, future=min(one, other)), interval(values, future=max(one, other))
    assert few[0] <= many[0] <= many[1] <= few[1]


@pytest.mark.parametrize("size", [1e-300, 1.0, 1e307])
def test_very_small_and_very_large_values_keep_their_interval(size: float) -> None:
    values = list(np.random.default_rng(3).lognormal(0, 0.5, 20))
    found = interval([size * value for value in values])
    assert found == pytest.approx(tuple(size * end for end in interval(values)), rel=1e-9, abs=0)


@pytest.mark.parametrize(("runs", "options"), [
    (["a"] * 10, {}), ([10**400] * 10, {}), (np.ones((5, 2)), {}), ([1 + 2j] * 10, {}), (np.ones(10), {"future": np.nan}),
    (np.ones(10), {"future": "3"}), (np.ones(10), {"level": "0.9"}), (np.ones(10), {"level": None})])  # fmt: skip
def test_what_is_no_number_is_refused_in_words(runs: Any, options: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=r"one number for each run|future is|level is"):
        an.mean_interval(runs, rng=np.random.default_rng(0), **options)


def test_nine_runs_are_refused_with_what_is_missing() -> None:
    with pytest.raises(PlanError, match="at least 10 runs, got 9"):
        interval([1.0] * 8 + [2.0])


def arms(values: list[float]) -> tuple[float, float]:
    """Return how far the ends lie below and above the mean, in standard errors."""
    low, high = interval(values)
    error = float(np.std(values, ddof=1)) / np.sqrt(len(values))
    return (np.mean(values) - low) / error, (high - np.mean(values)) / error


def test_runs_that_look_heavy_tailed_are_given_more_standard_errors_above() -> None:
    modest, heavy = arms([1.0] * 11 + [0.0] * 9)[1], arms([1.0] * 5 + [0.0] * 15)[1]
    print(f"standard errors above: {modest:.2f} at a spread of 0.93, {heavy:.2f} at 1.78")
    assert heavy > 2 * modest


def test_many_light_runs_get_the_normal_interval() -> None:
    assert arms(list(np.random.default_rng(6).normal(1, 0.2, 1000).clip(0))) == pytest.approx((1.645, 1.645), rel=0.02)


def test_few_light_runs_get_no_absurd_interval() -> None:
    assert sum(arms(list(np.linspace(0.7, 1.3, 10)))) < 1.5 * 2 * 1.833  # Student's t with 9 degrees of freedom


def test_a_run_of_ten_with_all_there_is_gives_no_absurd_end() -> None:
    _, high = interval([0.0] * 9 + [1.0])
    assert high < 10


@settings(max_examples=25, deadline=None)
@given(st.integers(10, 80), st.integers(0, 2**32 - 1))
def test_the_forecasts_draws_have_the_intervals_quantiles(runs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.lognormal(0, 1, (runs, 2))
    factors = mean_factors(values, 4000, rng, future=50)
    for column in range(2):
        drawn = np.quantile(factors[:, column], [0.05, 0.95]) * values[:, column].mean()
        assert drawn == pytest.approx(interval(list(values[:, column]), future=50), rel=0.01)


def test_columns_that_rise_together_in_the_runs_rise_together_in_the_draws() -> None:
    rng = np.random.default_rng(4)
    base = rng.lognormal(0, 1, 40)
    values = np.column_stack([base, base * 3.0, base * rng.lognormal(0, 0.1, 40), rng.lognormal(0, 1, 40)])
    factors = mean_factors(values, 1000, rng)
    assert np.array_equal(factors[:, 0], factors[:, 1])
    together = np.corrcoef(np.log(factors), rowvar=False)[0]
    assert together[2] > 0.9
    assert abs(together[3] - np.corrcoef(base, values[:, 3])[0, 1]) < 0.2


def test_the_mean_of_equal_or_absent_values_is_not_in_doubt() -> None:
    factors = mean_factors(np.column_stack([np.full(12, 0.1), np.zeros(12)]), 100, np.random.default_rng(0))
    assert (factors == 1.0).all()


@pytest.mark.parametrize("law", ["gamma", "lognormal", "uniform"])
def test_intervals_of_known_laws_hold_their_mean(law: str) -> None:
    rng = np.random.default_rng(8)
    laws: dict[str, Callable[[], Floats]] = {"gamma": lambda: rng.gamma(0.8, 1, 20),
                                             "lognormal": lambda: rng.lognormal(0, 0.9, 20),
                                             "uniform": lambda: rng.uniform(0, 1, 20)}  # fmt: skip
    truth = {"gamma": 0.8, "lognormal": float(np.exp(0.405)), "uniform": 0.5}[law]
    ends = np.array([interval(list(laws[law]())) for _ in range(1500)])
    held = float(np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])))
    print(f"{law}: {held:.3f}")
    assert 0.86 <= held <= 0.96


@pytest.mark.shared_data
def test_intervals_hold_the_rest_of_recorded_populations_and_the_plug_in_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not DATA.exists():
        pytest.skip(f"no recorded populations at {DATA}")
    monkeypatch.syspath_prepend(ROOT / "bench")
    bench = runpy.run_path(str(ROOT / "bench" / "interval_coverage.py"))
    measure, populations = bench["measure"], bench["populations"]
    everyone = {k: v for group in populations(DATA, calls=False).values() for k, v in group.items()}
    for n in (10, 30, 100):
        parts = [measure(values, n, 100, [5, k, n]).assign(of=k) for k, values in enumerate(everyone.values())]
        found = pd.concat(parts)
        found["held"] = ~(found["above"] | found["below"])
        held = found.groupby("method")["held"].mean()
        ours = found[found["method"] == "ours"]
        wide = found.groupby("method")["width"].median()
        print(n, held.round(3).to_dict(), wide.round(3).to_dict())
        assert 0.87 <= held["ours"] <= 0.93
        assert held["plug-in"] < 0.6
        assert ours["above"].mean() <= (0.1 if n == 10 else 0.08)
        assert wide["ours"] <= 1.01 * wide["log-t"]
