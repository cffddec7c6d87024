"""How contexts grow: recovered from runs made with known growth, worked out by hand, refused where unknown."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analysis.conftest import frame_of

from tokenflation.analysis.columns.context import CONTEXT_KIND_COLUMNS, CONTEXT_RUN_COLUMNS
from tokenflation.analysis.context.growth import context_kinds, context_runs
from tokenflation.analysis.context.steps import context_steps


def _run(sizes: list[int | None], run: str = "r", **values: Any) -> list[dict[str, Any]]:
    given_ = {"model": "m", "task_id": f"t-{run}", "agent_run_id": run, "output_tokens": 10}
    return [given_ | {"step": at, "input_tokens": size} | values for at, size in enumerate(sizes)]


def _linear(steps: int, first: int = 3000, growth: int = 900) -> list[int | None]:
    return [first + growth * at for at in range(steps)]


def _only_run(sizes: list[int | None]) -> dict[str, Any]:
    (row,) = context_runs(frame_of(_run(sizes))).to_dict("records")
    return row


@pytest.mark.parametrize(("steps", "exponent"), [(5, 1.47), (10, 1.64), (20, 1.78), (40, 1.88), (80, 1.93)])
def test_the_exponent_of_linear_growth_is_that_of_the_closed_form(steps: int, exponent: float) -> None:
    row = _only_run(_linear(steps))

    assert row["growth_exponent"] == pytest.approx(exponent, abs=0.005)
    assert row["growth_per_step"] == pytest.approx(900)


def test_contexts_that_stay_the_same_have_the_exponent_one() -> None:
    row = _only_run([5000] * 8)

    assert (row["growth_exponent"], row["growth_exponent_fit"]) == pytest.approx((1, 1))
    assert row["growth_r2"] == pytest.approx(1)


def test_cutting_histories_down_brings_the_exponent_back_towards_one() -> None:
    row = _only_run(_linear(12) * 4)

    assert row["growth_exponent"] < 1.2
    assert row["compactions_inferred"] == 3


def test_re_send_factors_are_worked_out_from_growth() -> None:
    row = _only_run(_linear(10))

    assert (row["input_tokens"], row["peak_context_tokens"]) == (70_500, 11_100)
    assert row["input_over_peak_context"] == 70_500 / 11_100
    assert row["distinct_tokens"] == 11_100
    assert row["input_over_distinct"] == row["input_over_peak_context"]
    assert row["redundant_input_ratio"] == 1 - 11_100 / 70_500


def test_the_fitted_exponent_is_the_slope_in_logarithms() -> None:
    sizes = [100 * ((at + 1) ** 2 - at**2) for at in range(9)]

    assert _only_run(sizes)["growth_exponent_fit"] == pytest.approx(2)


def test_short_and_silent_runs_are_refused_with_the_reason() -> None:
    runs = context_runs(frame_of([*_run(_linear(4), "short"), *_run([1, 2, None, 3, 4, 5], "silent")]))

    assert runs["growth_refused"].tolist() == ["fewer than 5 steps", "1 of 6 steps does not report input"]
    assert runs["growth_exponent"].isna().all()
    assert runs["steps"].tolist() == [4, 6]
    assert runs["calls"].tolist() == [4, 5]


def test_near_the_window_is_counted_only_where_the_window_is_known() -> None:
    calls = frame_of([*_run([700, 800, 900], "a"), *_run([700, 800, 900], "b", model="unknown")])

    runs = context_runs(calls, steps=context_steps(calls, windows={"m": 1000}))

    assert runs["calls_near_window"].tolist() == [2, 0]
    assert runs["calls_with_window"].tolist() == [3, 0]


def _fleet(lengths: list[int], rng: np.random.Generator | None = None, power: float = 1.6) -> list[dict[str, Any]]:
    rows = []
    for number, steps in enumerate(lengths):
        noise = 1.0 if rng is None else float(rng.lognormal(0, 0.2))
        rows += _run([round(noise * 1e6 * steps ** (power - 1))] * steps, f"r{number}")
    return rows


def test_the_exponent_of_a_kind_is_recovered_from_runs_of_different_lengths() -> None:
    lengths = [1 + at % 16 for at in range(64)]
    calls = frame_of(_fleet(lengths, np.random.default_rng(7)))

    (row,) = context_kinds(calls, rng=np.random.default_rng(1)).to_dict("records")

    assert row["growth_exponent"] == pytest.approx(1.6, abs=0.1)
    assert row["growth_exponent_low"] < 1.6 < row["growth_exponent_high"]
    assert row["growth_exponent_high"] - row["growth_exponent_low"] < 0.3
    assert (row["runs"], row["growth_runs"]) == (64, 64)


def test_ten_tasks_hold_their_exponent_nearly_as_often_as_they_claim() -> None:
    rng = np.random.default_rng(3)
    rows: list[dict[str, Any]] = []
    for number in range(250):
        for at, steps in enumerate([1, 16, *rng.integers(1, 9, 8)]):
            size = round(float(rng.lognormal(0, 0.3)) * 1e6 * steps**0.6)
            rows += _run([size] * int(steps), f"{number} {at}", task=f"kind {number}")

    kinds = context_kinds(frame_of(rows), rng=np.random.default_rng(1))

    held = kinds["growth_exponent_low"].lt(1.6) & kinds["growth_exponent_high"].gt(1.6)
    assert len(kinds) == 250
    assert 0.86 < held.mean() < 0.96


def test_an_exponent_that_one_task_makes_has_no_interval() -> None:
    rows = _fleet([5] * 11 + [20])

    row = context_kinds(frame_of(rows), rng=np.random.default_rng(1)).iloc[0]

    assert row["growth_exponent"] == pytest.approx(1.6)
    assert row[["growth_exponent_low", "growth_exponent_high"]].isna().all()


def test_a_kind_without_enough_runs_or_spread_is_refused() -> None:
    few = context_kinds(frame_of(_fleet([1, 2, 4, 8, 16]))).iloc[0]
    alike = context_kinds(frame_of(_fleet([6, 7, 8] * 4))).iloc[0]

    assert few["growth_refused"] == "fewer than 10 runs that report every input"
    assert alike["growth_refused"] == "the longest run has less than 4 times the steps of the shortest"
    assert pd.isna(few["growth_exponent"])
    assert pd.isna(alike["growth_exponent"])


def test_ratios_of_a_kind_are_ratios_of_sums_with_intervals_around_them() -> None:
    rows = [one for at in range(12) for one in _run(_linear(3 + at), f"r{at}")]

    (row,) = context_kinds(frame_of(rows), rng=np.random.default_rng(1)).to_dict("records")

    inputs = sum(size or 0 for at in range(12) for size in _linear(3 + at))
    peaks = sum(3000 + 900 * (2 + at) for at in range(12))
    assert row["input_over_peak_context"] == inputs / peaks
    for name in ("input_over_peak_context", "redundant_input_ratio"):
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]


def test_no_interval_is_given_below_ten_tasks_or_without_random_numbers() -> None:
    few = frame_of([one for at in range(9) for one in _run(_linear(5), f"r{at}")])
    many = frame_of([one for at in range(12) for one in _run(_linear(5), f"r{at}")])

    assert pd.isna(context_kinds(few, rng=np.random.default_rng(1))["input_over_peak_context_low"]).all()
    assert pd.isna(context_kinds(many)["redundant_input_ratio_high"]).all()


@given(st.lists(st.lists(st.none() | st.integers(0, 9999), min_size=1, max_size=7), min_size=1, max_size=5))
@settings(deadline=None, max_examples=12)
def test_runs_sum_to_their_kind_and_re_sent_and_distinct_to_the_input(sizes: list[list[int | None]]) -> None:
    rows = [one for at, run in enumerate([[1], *sizes]) for one in _run(run, f"r{at}")]
    calls = frame_of(rows)

    runs, kinds = context_runs(calls), context_kinds(calls)

    assert list(runs) == list(CONTEXT_RUN_COLUMNS)
    assert list(kinds) == list(CONTEXT_KIND_COLUMNS)
    for name in ("calls", "input_tokens", "distinct_tokens", "compactions_inferred", "reductions"):
        assert runs[name].sum() == kinds[name].sum()
    for frame in (runs, kinds):
        split = frame["resent_input_tokens"] + frame["distinct_tokens"]
        assert (split == frame["resent_known_input_tokens"]).all()
        assert frame["redundant_input_ratio"].dropna().between(0, 1).all()
        assert (frame["input_over_distinct"].dropna() >= 1).all()
