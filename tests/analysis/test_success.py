"""What success takes: by hand, and bounds of the curve on random outcomes."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analysis.conftest import Row, frame_of
from tests.analysis.trees import call

from tokenflation.analysis.columns.structure import CURVE_COLUMNS, FAILURE_COLUMNS, OUTCOME_COLUMNS, SUCCESS_COLUMNS
from tokenflation.analysis.statistics.intervals import per_success_interval
from tokenflation.analysis.structure.success import expensive_failures, success, success_curve, task_outcomes

_NAMES = ("task", "task_id", "outcome", "score", "status", "error_type", "censored_by")


def _task(number: int, tokens: int | None, outcome: int | None, **said: Any) -> tuple[Row, dict[str, Any]]:
    """Return a task of one call, and what its scope says."""
    output = None if tokens is None else 0
    row = call(f"c{number}", f"r{number}", 0, number, task_id=f"t{number}", input_tokens=tokens, output_tokens=output)
    return row, dict.fromkeys(_NAMES) | {
        "task": "kind",
        "task_id": f"t{number}",
        "outcome": outcome,
        "status": "ok",
    } | said


def _frames(*tasks: tuple[Row, dict[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    return frame_of([row for row, _ in tasks]), pd.DataFrame([said for _, said in tasks], columns=list(_NAMES))


def _four() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return two successes of 100 and 300 tokens, failures of 400 and 800, and a task of which nothing is known."""
    return _frames(
        _task(0, 100, 1),
        _task(1, 300, 1),
        _task(2, 400, 0),
        _task(3, 800, 0, censored_by="max_tokens"),
        _task(4, 50, None),
    )


def test_failures_are_paid_for_by_successes() -> None:
    frame = success(*_four())
    [row] = frame.to_dict("records")
    assert list(frame.columns) == list(SUCCESS_COLUMNS)
    assert (row["tasks"], row["tasks_with_outcome"], row["counted"], row["successes"]) == (5, 4, 4, 2)
    # (100 + 300 + 400 + 800) / 2; failures have 600 on average, successes 200.
    assert (row["success_rate"], row["tokens_per_success"]) == (0.5, 800)
    assert (row["tokens_of_success"], row["tokens_of_failure"], row["failure_over_success"]) == (200, 600, 3)
    # Largest 800: (1 - 100/800 + 1 - 300/800) / 4.
    assert (row["budget_tokens"], row["success_area"]) == (800, pytest.approx((0.875 + 0.625) / 4))
    assert pd.isna(row["cost_per_success"])


def test_cost_is_over_the_tasks_that_have_one() -> None:
    costs = pd.DataFrame({"task": "kind", "task_id": ["t0", "t2", "t3"], "cost": [0.5, 1.5, np.nan]})
    row = success(*_four(), costs).iloc[0]
    assert (row["priced"], row["cost_per_success"]) == (2, 2.0)


def test_the_curve_rises_at_each_success_up_to_the_largest_task() -> None:
    frame = success_curve(*_four())
    assert list(frame.columns) == list(CURVE_COLUMNS)
    assert frame["budget_tokens"].tolist() == [0, 100, 300, 800]
    assert frame["success_share"].tolist() == [0, 0.25, 0.5, 0.5]


def test_without_outcomes_nothing_is_claimed() -> None:
    calls, _ = _four()
    row = success(calls).iloc[0]
    assert (row["tasks"], row["tasks_with_outcome"], row["counted"]) == (5, 0, 0)
    assert row[["success_rate", "tokens_per_success", "failure_over_success", "success_area"]].isna().all()
    assert success_curve(calls).empty
    assert expensive_failures(calls).empty


def test_no_success_has_no_price() -> None:
    row = success(*_frames(_task(0, 100, 0), _task(1, 100, 0))).iloc[0]
    assert (row["success_rate"], row["success_area"], row["tokens_of_failure"]) == (0, 0, 100)
    assert row[["tokens_per_success", "failure_over_success"]].isna().all()


def test_failures_are_told_by_outcome_then_by_scope_then_by_the_last_call() -> None:
    tasks = [
        _task(0, 10, 0),
        _task(1, 90, None, status="error", error_type="TimeoutError"),
        _task(2, None, None),
        _task(3, 70, 1, status="error"),
        _task(4, 40, None),
        _task(5, 20, None),
    ]
    calls, said = _frames(*tasks)
    calls["status"] = ["ok", "ok", "error", "error", "ok", "cancelled"]
    calls["error_type"] = [None, None, "rate_limit", "overloaded", None, None]
    frame = expensive_failures(calls, said)
    assert list(frame.columns) == list(FAILURE_COLUMNS)
    assert frame["task_id"].tolist() == ["t1", "t0", "t2"]
    assert frame["failed_by"].tolist() == ["scope", "outcome", "last call"]
    assert frame["error_type"].fillna("").tolist() == ["TimeoutError", "", "rate_limit"]
    assert frame["share_of_kind"].iloc[0] == pytest.approx(90 / 230)
    assert list(task_outcomes(calls, said).columns) == list(OUTCOME_COLUMNS)


def test_the_last_call_is_that_of_an_outermost_run() -> None:
    calls = [call("a", "r", 0, 0), call("b", "s", 0, 5, depth=1, status="error"), call("c", "r", 1, 2, status="ok")]
    assert task_outcomes(frame_of(calls))["failed_by"].isna().all()


def test_intervals_hold_the_numbers_they_are_for_and_need_ten_tasks() -> None:
    rng = np.random.default_rng(4)
    tasks = [_task(n, int(rng.integers(100, 1_000)), int(rng.random() < 0.5)) for n in range(60)]
    row = success(*_frames(*tasks), rng=np.random.default_rng(1)).iloc[0]
    for name in ("tokens_per_success", "failure_over_success", "success_area"):
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
    row = success(*_frames(*tasks[:9]), rng=np.random.default_rng(1)).iloc[0]
    assert row[["tokens_per_success_low", "failure_over_success_high", "success_area_low"]].isna().all()


@pytest.mark.parametrize(("tasks", "rate"), [(10, 0.7), (30, 0.5), (60, 0.3)])
def test_what_a_success_takes_is_missed_on_both_sides(tasks: int, rate: float) -> None:
    rng = np.random.default_rng(6)
    amounts = np.exp(0.5 * rng.standard_normal((800, tasks)))
    succeeded = (rng.random(amounts.shape) < rate).astype(np.float64)
    seen = succeeded.any(axis=1)
    pairs = zip(amounts[seen], succeeded[seen], strict=True)
    low, high = np.array([per_success_interval(*pair, 0.9) for pair in pairs]).T
    truth = np.exp(0.5**2 / 2) / rate
    assert 0.88 < ((low <= truth) & (truth <= high)).mean() < 0.96
    assert max((truth > high).mean(), (truth < low).mean()) < 0.08
    if tasks > 10:
        assert min((truth > high).mean(), (truth < low).mean()) > 0.02


def test_ten_tasks_that_all_succeeded_do_not_say_that_none_will_fail() -> None:
    tasks = [_task(n, 100, 1) for n in range(10)]
    row = success(*_frames(*tasks), rng=np.random.default_rng(1)).iloc[0]
    # Wilson: ten of ten leave a rate of 10 / (10 + 1.645^2).
    assert row["tokens_per_success_low"] == row["tokens_per_success"] == 100
    assert row["tokens_per_success_high"] == pytest.approx(100 * (1 + 1.6449**2 / 10), rel=1e-4)


@given(st.lists(st.tuples(st.none() | st.integers(0, 10**6), st.none() | st.integers(0, 1)), min_size=1, max_size=12))
@settings(deadline=None, max_examples=40)
def test_the_area_is_that_under_the_curve(tasks: list[tuple[int | None, int | None]]) -> None:
    frames = _frames(*(_task(number, *one) for number, one in enumerate(tasks)))
    row, curve = success(*frames).iloc[0], success_curve(*frames)
    assert row["counted"] == sum(tokens is not None and outcome is not None for tokens, outcome in tasks)
    assert curve["success_share"].is_monotonic_increasing
    if not row["counted"] or not row["budget_tokens"]:
        assert pd.isna(row["success_area"])
        return
    widths = np.diff(curve["budget_tokens"])
    area = float((widths * curve["success_share"].to_numpy()[:-1]).sum()) / row["budget_tokens"]
    assert row["success_area"] == pytest.approx(area)


def test_a_success_without_tokens_counts_for_the_rate_alone() -> None:
    row = success(*_frames(_task(0, None, 1), _task(1, 100, 0), _task(2, 50, 1))).iloc[0]
    assert (row["successes"], row["tasks_with_outcome"], row["success_rate"]) == (2, 3, pytest.approx(2 / 3))
    assert (row["counted"], row["tokens_per_success"]) == (2, 150)
