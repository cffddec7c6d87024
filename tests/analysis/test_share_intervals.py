"""Intervals of shares of one whole: they hold the truth, agree, and say nothing of what was never seen."""

import math
from random import Random
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from tokenflation.analysis.profiles.uneven import uneven_kinds, uneven_remarks
from tokenflation.analysis.statistics.of_tasks import ratios_of_sums
from tokenflation.analysis.statistics.ratios import agreed, from_tasks, normal

Floats = NDArray[np.float64]

MEDIANS, SIGMAS = np.array([10.0, 3.0, 1.0]), np.array([0.6, 0.6, 1.2])
"""Three parts of a task's time, log-normal: model calls, tools, and a program that now and then takes very long."""


def _intervals(parts: Floats) -> tuple[Floats, Floats]:
    """Return the ends for each sample; `parts` has shape (samples, tasks, parts)."""
    whole = np.broadcast_to(parts.sum(axis=2, keepdims=True), parts.shape)
    low, high = from_tasks(parts, whole, np.ones(parts.shape[2], dtype=np.bool_), 0.9)
    assert len(low) == len(parts)
    return agreed(low, high, range(parts.shape[2]))


@pytest.mark.parametrize("tasks", [10, 30])
def test_intervals_of_shares_that_add_up_to_one_hold_the_truth_nearly_as_often_as_they_claim(tasks: int) -> None:
    rng = np.random.default_rng(11)
    means = MEDIANS * np.exp(SIGMAS**2 / 2)
    parts = MEDIANS * np.exp(SIGMAS * rng.standard_normal((300, tasks, 3)))
    low, high = _intervals(parts)
    held = ((low <= means / means.sum()) & (means / means.sum() <= high)).mean(axis=0)
    assert (held > 0.84).all()
    assert (high - low).mean() < 0.5


def test_one_task_that_takes_most_of_the_time_widens_both_shares_alike() -> None:
    model_calls = np.array([9.0, 10, 11, 10, 9, 12, 10, 11, 9, 10])
    program = np.array([0.01, 0.02, 0.01, 0.01, 0.03, 0.02, 0.01, 0.02, 0.01, 25.0])
    sides = np.stack([model_calls, program], axis=1)
    whole = np.repeat(sides.sum(axis=1, keepdims=True), 2, axis=1)
    _, low, high = ratios_of_sums(sides, whole, np.array([True, True]), rng=np.random.default_rng(1), level=0.9)
    assert high[1] > 0.5
    assert low == pytest.approx(1 - high[::-1])


@settings(deadline=None, max_examples=40)
@given(arrays(np.float64, (12, 4), elements=st.integers(0, 10**15).map(float)))
def test_no_part_may_be_larger_than_the_others_leave_it_whatever_the_tasks(parts: Floats) -> None:
    low, high = (ends[0] for ends in _intervals(parts[None]))
    share = parts.sum(axis=0) / max(parts.sum(), 1)
    for one in np.flatnonzero(~np.isnan(low)):
        assert -1e-9 <= low[one] <= share[one] + 1e-9
        assert share[one] - 1e-9 <= high[one] <= 1 + 1e-9
        assert all(
            high[one] + low[other] <= 1 + 1e-9 for other in range(4) if other != one and not np.isnan(low[other])
        )


def test_what_no_task_had_and_what_all_of_them_are_has_no_interval() -> None:
    tasks = np.stack([np.zeros(20), np.full(20, 5.0)], axis=1)
    whole = np.full((20, 2), 5.0)
    ratio, low, high = ratios_of_sums(tasks, whole, np.array([True, True]), rng=np.random.default_rng(0), level=0.9)
    assert ratio.tolist() == [0, 1]
    assert np.isnan([low, high]).all()


def test_a_ratio_that_few_tasks_know_rests_on_those_alone() -> None:
    rng = np.random.default_rng(4)
    above, below = rng.uniform(1, 3, (30, 2)), rng.uniform(5, 9, (30, 2))
    below[:21, 1] = np.nan
    ratio, low, high = ratios_of_sums(above, below, np.array([False, False]), rng=rng, level=0.9)
    assert ratio == pytest.approx([above[:, 0].sum() / below[:, 0].sum(), above[21:, 1].sum() / below[21:, 1].sum()])
    assert low[0] < ratio[0] < high[0]
    assert np.isnan([low[1], high[1]]).all()


@pytest.mark.parametrize("tasks", [0, 9])
def test_fewer_than_ten_tasks_have_no_interval_even_none_at_all(tasks: int) -> None:
    sides = np.full((tasks, 1), 3.0)
    ratio, low, high = ratios_of_sums(sides, 2 * sides, np.array([True]), rng=np.random.default_rng(0), level=0.9)
    assert np.isnan([low, high]).all()
    assert ratio.tolist() == ([0.5] if tasks else pytest.approx([np.nan], nan_ok=True))


@settings(deadline=None, max_examples=60)
@given(
    arrays(np.float64, (11, 2), elements=st.integers(0, 10**9).map(float)), st.floats(0.05, 0.98), st.floats(0.05, 0.98)
)
def test_a_higher_level_never_narrows_a_share_and_its_rest_mirrors_it(parts: Floats, one: float, other: float) -> None:
    whole = np.repeat(parts.sum(axis=1, keepdims=True), 2, axis=1)
    shares = np.ones(2, dtype=np.bool_)
    inner, outer = (from_tasks(parts[None], whole[None], shares, level) for level in sorted((one, other)))
    if np.isnan(inner[0]).any():
        return
    assert (outer[0] <= inner[0] + 1e-12).all()
    assert (inner[1] <= outer[1] + 1e-12).all()
    assert outer[0][0] == pytest.approx(1 - outer[1][0][::-1], abs=1e-9)


@given(arrays(np.float64, (12, 2), elements=st.integers(1, 10**9).map(float)), st.randoms(use_true_random=False))
def test_neither_units_nor_the_order_of_tasks_move_an_interval(sides: Floats, random: Random) -> None:
    places = random.sample(range(12), 12)
    plain = from_tasks(sides[None, :, :1], sides[None, :, 1:], np.array([False]), 0.9)
    moved = from_tasks(1e6 * sides[None, places, :1], 1e-3 * sides[None, places, 1:], np.array([False]), 0.9)
    assert np.array(moved) / 1e9 == pytest.approx(np.array(plain), rel=1e-6)


def _by_hand(above: Floats, below: Floats, *, share: bool) -> tuple[float, float]:
    """Return the ends at 90 %, as the docstring of `ratios` has them, for tasks that all report both."""
    rest = below - above if share else below
    x, y, n, z = above / above.sum(), rest / rest.sum(), len(above), NormalDist().inv_cdf(0.95)
    size = (x + y) / 2
    error = math.sqrt(n / (n - 1) * ((x - y) ** 2).sum())
    place = np.log(0.1 + n * size)
    grows = np.corrcoef(place, (x - y) / size)[0, 1]
    wholes = 1.5 * np.log(0.1 + n * below / below.sum()).std(ddof=1)
    unequal = min(place.std(ddof=1), wholes) if share else place.std(ddof=1)
    wider = unequal * (10 / n) ** 0.7 / (1 + 4 * error**2) * (math.log(1 + math.exp(2 * z)) / 2) ** 2
    odds = above.sum() / rest.sum()
    towards = [(1 + at) ** 2 * (1 + 8 * max(at - 0.75, 0) * share) for at in (-grows, grows)]
    low, high = (odds * math.exp(side * error * (z + wider * at)) for side, at in zip((-1, 1), towards, strict=True))
    return (low / (1 + low), high / (1 + high)) if share else (low, high)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("spread", [0.5, 2.0])
@pytest.mark.parametrize("steep", [False, True])
def test_ends_are_those_of_the_formula_over_the_tasks_that_report(share: bool, spread: float, steep: bool) -> None:
    rng = np.random.default_rng(7)
    below = np.exp(spread * rng.standard_normal(16))
    above = below * (below / (below + 3) if steep else rng.beta(0.5, 1.5, 16))
    hidden = np.where(np.arange(16) % 4 == 1, np.nan, below)
    low, high = from_tasks(above[None, :, None], hidden[None, :, None], np.array([share]), 0.9)
    kept = ~np.isnan(hidden)
    assert (low.item(), high.item()) == pytest.approx(_by_hand(above[kept], below[kept], share=share))


def test_many_tasks_have_the_normal_limit_of_a_ratios_logarithm_and_of_a_shares_log_odds() -> None:
    ratio, error, count = np.array([[0.8, 0.8]]), np.array([[0.02, 0.02]]), np.array([[5000.0, 5000.0]])
    low, high = normal(ratio, error, count, np.array([True, False]), 0.9)
    z = NormalDist().inv_cdf(0.95)
    odds = [4 * math.exp(side * z * 0.02 / 0.2) for side in (-1, 1)]
    assert (low[0, 0], high[0, 0]) == pytest.approx((odds[0] / (1 + odds[0]), odds[1] / (1 + odds[1])))
    assert (low[0, 1], high[0, 1]) == pytest.approx((0.8 * math.exp(-z * 0.02), 0.8 * math.exp(z * 0.02)))


@pytest.mark.parametrize(("tasks", "good"), [(20, 5), (100, 31), (100, 90)])
def test_outcomes_of_tasks_have_the_interval_of_a_proportion(tasks: int, good: int) -> None:
    """That of E. B. Wilson, "Probable inference", J. Am. Stat. Assoc. 22 (1927)."""
    outcomes = (np.arange(tasks) < good).astype(np.float64)[:, None]
    share, z = good / tasks, NormalDist().inv_cdf(0.95)
    middle, half = share + z * z / (2 * tasks), z * math.sqrt(share * (1 - share) / tasks + (z / (2 * tasks)) ** 2)
    wilson = [(middle + side * half) / (1 + z * z / tasks) for side in (-1, 1)]
    _, *ends = ratios_of_sums(outcomes, np.ones((tasks, 1)), np.array([True]), rng=np.random.default_rng(1), level=0.9)
    assert [float(end[0]) for end in ends] == pytest.approx(wilson, abs=0.02)


def test_a_share_of_tasks_that_contradict_one_another_stays_between_nothing_and_all() -> None:
    # Parts larger than their wholes, as a source may report them, leave next to nothing of the sums and much of the
    # squares.
    part = np.tile([[150.0, 5.0, 145.0 - 1e-4]], (1000, 1)).reshape(-1, 1)
    low, high = (ends.item() for ends in ratios_of_sums(
        part, np.full((3000, 1), 100.0), np.array([True]), rng=np.random.default_rng(0), level=0.9)[1:])  # fmt: skip
    assert (low, high) == (0, 1)


def _held(sizes: Floats, parts: Floats, truth: float) -> float:
    low, high = from_tasks((sizes * parts)[..., None], sizes[..., None], np.array([True]), 0.9)
    return float(((low <= truth) & (truth <= high)).mean())


@pytest.mark.parametrize("spread", [0.5, 1.0, 1.5])
def test_ten_tasks_of_heavy_tailed_sizes_give_shares_that_hold_the_truth(spread: float) -> None:
    rng = np.random.default_rng(5)
    sizes = np.exp(spread * rng.standard_normal((2000, 10)))
    parts = rng.beta(0.9, 2.1, sizes.shape)
    assert 0.86 < _held(sizes, parts, 0.3) < 0.97


@pytest.mark.parametrize(("spread", "tasks"), [(0.05, 10), (0.05, 30), (0.1, 30)])
def test_a_small_share_of_nearly_equal_tasks_is_hardly_wider_than_of_equal_ones(spread: float, tasks: int) -> None:
    rng = np.random.default_rng(8)
    parts = rng.beta(0.5, 9.5, (1000, tasks))
    widths = []
    for sizes in (np.exp(spread * rng.standard_normal(parts.shape)), np.ones(parts.shape)):
        low, high = from_tasks((sizes * parts)[..., None], sizes[..., None], np.array([True]), 0.9)
        widths.append(float(np.median(high - low)))
        held = float(((low <= 0.05) & (high >= 0.05)).mean())
        assert held > 0.8
    assert widths[0] < 2 * widths[1]


def test_a_share_that_grows_with_the_task_is_wide_towards_what_large_tasks_have() -> None:
    sizes = np.exp(np.linspace(-1, 2, 12))
    grows, falls = (sizes * np.linspace(*ends, 12) for ends in ((0.2, 0.6), (0.6, 0.2)))
    sides = np.stack([grows, falls], axis=1)
    ratio, low, high = ratios_of_sums(
        sides, np.repeat(sizes[:, None], 2, axis=1), np.array([True, True]), rng=np.random.default_rng(0), level=0.9
    )
    assert high[0] - ratio[0] > 2 * (ratio[0] - low[0])
    assert ratio[1] - low[1] > 2 * (high[1] - ratio[1])


@pytest.mark.parametrize(("spread", "tasks"), [(1.25, 30), (1.5, 10), (1.5, 30)])
def test_a_share_that_goes_with_the_square_of_the_size_holds_the_truth(spread: float, tasks: int) -> None:
    sizes = np.exp(spread * np.random.default_rng(2).standard_normal((1500, tasks)))
    # Of a log-normal law: the mean, and the mean square.
    mean, square = np.exp(spread**2 / 2), 0.3 * np.exp(2 * spread**2)
    held = _held(sizes + 0.3 * sizes**2, 0.3 * sizes / (1 + 0.3 * sizes), float(square / (mean + square)))
    print(f"{held:.3f}")
    assert 0.86 <= held <= 0.97


def test_a_kind_most_of_whose_tokens_few_tasks_have_is_named() -> None:
    rows = pd.DataFrame({
        "task": ["even"] * 12 + ["uneven"] * 12, "task_id": [str(one) for one in range(24)],
        "input_tokens": [100] * 12 + [100] * 11 + [10_000], "output_tokens": [0] * 24,
    })  # fmt: skip
    kinds = uneven_kinds(rows).set_index("task")["effective_tasks"]
    assert kinds["even"] == pytest.approx(12)
    assert kinds["uneven"] == pytest.approx(11_100**2 / (11 * 100**2 + 10_000**2))
    (remark,) = uneven_remarks(uneven_kinds(rows))
    assert remark.startswith("uneven: few of its 12 tasks have most of the tokens, as if there were 1.2.")
