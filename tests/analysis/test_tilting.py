"""Intervals of what differs between two samples: what a mean has, and what few tasks miss of the larger side."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import tokenflation.analysis as an
from tokenflation.analysis.comparison.effects import Side, bounds, chains_of, effects_between, with_sums
from tokenflation.analysis.statistics.tilting import tilted

Floats = NDArray[np.float64]
SHARED = np.array([True])

samples = st.lists(st.one_of(st.just(0.0), st.floats(1e-3, 1e6)), min_size=10, max_size=60)


def side(calls: Floats, tokens: Floats) -> Side:
    return Side(kinds=np.array(["k"] * len(calls), dtype=object), amounts=np.column_stack([calls, tokens]))


def ends(a: Side, b: Side, seed: int = 0) -> tuple[Floats, Floats]:
    low, high = bounds(a, b, ["k"], SHARED, total=False, method="lmdi", rng=np.random.default_rng(seed), level=0.9)
    return low[0], high[0]


def mean_ends(values: Floats) -> Floats:
    return np.array(an.mean_interval(values, rng=np.random.default_rng(0)))


@given(samples)
def test_weights_sum_to_the_tasks_and_their_mean_size_is_an_end_of_its_interval(values: list[float]) -> None:
    sizes = np.array(values)
    weights = tilted(sizes, 0.9)
    assert weights.sum(axis=1) == pytest.approx(len(sizes))
    assert (weights >= 0).all()
    # An end beyond the largest task cannot be reached.
    reached = np.minimum(mean_ends(sizes), sizes.max())
    assert weights @ sizes / len(sizes) == pytest.approx(reached, rel=0.05, abs=1e-12)


def test_the_difference_from_a_side_without_spread_has_the_interval_of_the_other_sides_mean() -> None:
    rng = np.random.default_rng(3)
    calls, tokens = np.full(20, 4.0), 1000 * np.exp(rng.standard_normal(20))
    even, uneven = side(calls, np.full(20, 1500.0)), side(calls, tokens)
    low, high = ends(even, uneven)
    assert (low[-1], high[-1]) == pytest.approx(tuple(mean_ends(tokens) - 1500))
    low, high = ends(uneven, even)
    assert (low[-1], high[-1]) == pytest.approx(tuple(1500 - mean_ends(tokens)[::-1]))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_an_effect_lies_in_its_interval_and_the_turned_difference_has_the_turned_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    calls = [rng.integers(1, 30, 12).astype(np.float64) for _ in range(2)]
    a, b = (side(of, of * np.exp(rng.standard_normal(12))) for of in calls)
    point = with_sums(effects_between(chains_of(a, ["k"], False), chains_of(b, ["k"], False), SHARED, "lmdi"))[0]
    low, high = ends(a, b)
    assert (low <= point + 1e-9).all()
    assert (point - 1e-9 <= high).all()
    turned_low, turned_high = ends(b, a)
    assert (low[-1], high[-1]) == pytest.approx((-turned_high[-1], -turned_low[-1]), rel=1e-6)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_heavy_tailed_side_beside_an_even_one_leaves_an_interval_that_holds(swapped: bool) -> None:
    rng = np.random.default_rng(11)
    draws, tasks, truth = 300, 20, 2.0 * float(np.exp(0.5)) - 1.0
    held = 0
    for seed in range(draws):
        even = side(np.ones(tasks), np.exp(0.3 * rng.standard_normal(tasks) - 0.045))
        heavy = side(np.ones(tasks), 2.0 * np.exp(rng.standard_normal(tasks)))
        low, high = ends(heavy, even, seed) if swapped else ends(even, heavy, seed)
        held += bool(low[-1] <= (-truth if swapped else truth) <= high[-1])
    print(f"{held / draws:.3f}")
    assert 0.86 <= held / draws <= 0.97


def test_light_sides_get_an_interval_that_is_hardly_wider_than_students() -> None:
    rng = np.random.default_rng(5)
    a, b = (rng.normal(1, 0.2, 30).clip(0) for _ in range(2))
    low, high = ends(side(np.ones(30), a), side(np.ones(30), b))
    error = np.sqrt(a.var(ddof=1) / 30 + b.var(ddof=1) / 30)
    assert 2 * 1.67 < (high[-1] - low[-1]) / error < 1.25 * 2 * 1.67
