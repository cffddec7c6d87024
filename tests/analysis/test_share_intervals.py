"""Intervals of shares of one whole: they hold the truth, do not contradict one another, and say nothing of what was never seen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from tokenflation.analysis.statistics.of_tasks import ratios_of_sums
from tokenflation.analysis.statistics.ratios import agreed, bootstrapped

Floats = NDArray[np.float64]

MEDIANS, SIGMAS = np.array([10.0, 3.0, 1.0]), np.array([0.6, 0.6, 1.2])
"""Three parts of a task's time, log-normal: model calls, tools, and a program that now and then takes very long."""


def _intervals(parts: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the ends for each sample; `parts` has shape (samples, tasks, parts)."""
    samples, tasks, columns = parts.shape
    whole = np.broadcast_to(parts.sum(axis=2, keepdims=True), parts.shape)
    weights = rng.multinomial(tasks, np.full(tasks, 1 / tasks), size=1000).astype(np.float64)
    low, high = bootstrapped(parts, whole, np.ones(columns, dtype=np.bool_), weights, 0.9)
    assert len(low) == samples
    return agreed(low, high, range(columns))


@pytest.mark.parametrize("tasks", [10, 30])
def test_intervals_of_shares_that_add_up_to_one_hold_the_truth_nearly_as_often_as_they_claim(tasks: int) -> None:
    rng = np.random.default_rng(11)
    means = MEDIANS * np.exp(SIGMAS**2 / 2)
    parts = MEDIANS * np.exp(SIGMAS * rng.standard_normal((300, tasks, 3)))
    low, high = _intervals(parts, rng)
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
@given(arrays(np.float64, (12, 4), elements=st.integers(0, 10**15).map(float)), st.integers(0, 9))
def test_no_part_may_be_larger_than_the_others_leave_it_whatever_the_tasks(parts: Floats, seed: int) -> None:
    low, high = (ends[0] for ends in _intervals(parts[None], np.random.default_rng(seed)))
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
