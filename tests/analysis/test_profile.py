"""The profile of a task kind: worked by hand, against NumPy, and on data made with known parameters."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tokenflation.analysis import profile, tasks
from tokenflation.analysis.columns import MEASURES, QUANTILES

Calls = Callable[..., pd.DataFrame]


def _only(frame: pd.DataFrame) -> "pd.Series[Any]":
    assert len(frame) == 1
    return frame.iloc[0]


def test_statistics_are_over_tasks_and_sums_over_all_of_them(make_calls: Calls) -> None:
    sizes = {"a": [10, 20], "b": [70], "c": [100, 200, 300]}
    calls = make_calls([{"task_id": task, "input_tokens": size} for task, calls in sizes.items() for size in calls])

    row = _only(profile(calls))

    assert (row["tasks"], row["calls_sum"], row["calls_mean"], row["calls_p50"]) == (3, 6, 2.0, 2.0)
    assert (row["input_tokens_sum"], row["input_tokens_p50"]) == (700, 70.0)
    assert row["input_tokens_p90"] == pytest.approx(70 + 0.8 * (600 - 70))


def test_the_mean_of_a_ratio_is_the_ratio_of_sums(make_calls: Calls) -> None:
    calls = make_calls(
        [
            {"task_id": "small", "input_tokens": 10, "cache_read_tokens": 10},
            {"task_id": "big", "input_tokens": 990, "cache_read_tokens": 0},
        ]
    )

    row = _only(profile(calls))

    assert row["cache_hit_rate_mean"] == 0.01
    assert row["cache_hit_rate_p50"] == 0.5


def test_isl_is_of_calls_and_task_isl_is_of_tasks(make_calls: Calls) -> None:
    sizes = {"a": [10, 20, 30], "b": [100]}
    calls = make_calls([{"task_id": task, "input_tokens": size} for task, calls in sizes.items() for size in calls])

    row = _only(profile(calls))

    assert (row["isl_p50"], row["task_isl_p50"]) == (25.0, 60.0)
    assert row["isl_mean"] == row["task_isl_mean"] == 40.0


def test_what_no_task_reports_is_missing_in_every_statistic(make_calls: Calls) -> None:
    row = _only(profile(make_calls([{"input_tokens": 1}])))

    silent = [name for name in row.index if name.startswith(("reasoning_", "output_tokens_", "osl"))]
    assert row[[name for name in silent if not name.endswith("_coverage")]].isna().all()
    assert (row["output_tokens_coverage"], row["input_tokens_coverage"]) == (0.0, 1.0)
    assert (row["tasks_with_usage"], row["tasks_with_duration"]) == (0, 0)


def test_tasks_without_a_value_do_not_count_as_zero(make_calls: Calls) -> None:
    row = _only(profile(make_calls([{"task_id": "a", "output_tokens": 8}, {"task_id": "b"}])))

    assert (row["tasks"], row["output_tokens_mean"], row["output_tokens_sum"]) == (2, 8.0, 8)


def test_there_is_one_row_per_kind_in_order_and_every_sum_is_an_integer(make_calls: Calls) -> None:
    frame = profile(make_calls([{"task": "b", "input_tokens": 2**60 + 1}, {"task": "a"}]))

    assert list(frame["task"]) == ["a", "b"]
    assert frame["input_tokens_sum"].tolist() == [pd.NA, 2**60 + 1]


def test_every_measure_has_its_mean_and_quantiles(make_calls: Calls) -> None:
    frame = profile(make_calls([{}]))

    wanted = {f"{measure.name}_{name}" for measure in MEASURES for name in ("mean", *QUANTILES)}
    assert wanted <= set(frame.columns)


def test_quantiles_are_those_of_numpy_over_tasks_and_over_calls(make_calls: Calls) -> None:
    rng = np.random.default_rng(5)
    rows = [{"task_id": str(rng.integers(40)), "input_tokens": int(rng.integers(10**6))} for _ in range(500)]
    calls = make_calls(rows)
    per_task = tasks(calls)["input_tokens"].to_numpy(dtype=float)
    per_call = np.array([row["input_tokens"] for row in rows], dtype=float)

    row = _only(profile(calls))

    for name, level in QUANTILES.items():
        assert row[f"input_tokens_{name}"] == pytest.approx(np.quantile(per_task, level), rel=1e-12)
        assert row[f"isl_{name}"] == pytest.approx(np.quantile(per_call, level), rel=1e-12)


def test_the_parameters_of_made_tasks_are_recovered(make_calls: Calls) -> None:
    rng = np.random.default_rng(7)
    rows = [
        {"task_id": str(task), "input_tokens": 1000 * (step + 1), "output_tokens": int(rng.lognormal(5, 0.5))}
        for task in range(800)
        for step in range(rng.poisson(9) + 1)
    ]

    row = _only(profile(make_calls(rows)))

    assert row["calls_mean"] == pytest.approx(10, rel=0.05)
    assert row["osl_p50"] == pytest.approx(np.exp(5), rel=0.05)
    # A context that grows by c from c: n calls read c n (n + 1) / 2, which is (n + 1) / 2 times the last one.
    assert row["input_over_peak_context_p50"] == pytest.approx((row["calls_p50"] + 1) / 2)


def test_a_ratio_that_nobody_reports_has_no_interval(make_calls: Calls) -> None:
    calls = make_calls([{"task_id": f"{n}", "input_tokens": 10 + n, "output_tokens": 5 + n % 3} for n in range(12)])

    row = _only(profile(calls, rng=np.random.default_rng(0)))

    ratios = [name.removesuffix("_low") for name in row.index if name.endswith("_low")]
    unknown = [name for name in ratios if pd.isna(row[f"{name}_mean"])]
    assert "cache_write_of_billed" in unknown
    assert [name for name in unknown if pd.notna(row[f"{name}_low"]) or pd.notna(row[f"{name}_high"])] == []
    assert row["input_output_ratio_low"] < row["input_output_ratio_mean"] < row["input_output_ratio_high"]
