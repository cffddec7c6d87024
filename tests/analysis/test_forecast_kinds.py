"""Intervals of the sum over many kinds of tasks: each kind's runs missed the large ones by chance of their own."""

import numpy as np
import pandas as pd
import pytest

from tokenflation import analysis as an
from tokenflation.analysis.planning.plan import Plan

MEAN = 4_000


def fleet(rng: np.random.Generator, kinds: int, runs: int = 10) -> pd.DataFrame:
    """Runs of one call each whose input is 2,000, 3,000, ... or 6,000 tokens, all as likely."""
    tokens = rng.integers(2, 7, (kinds, runs)) * 1_000
    rows = [
        {"task": f"kind-{kind:02d}", "task_id": f"{kind}-{run}", "model": "m", "stream": 1, "started_at_ns": run * 10**12,
         "duration_s": 10.0, "ttft_s": 5.0, "input_tokens": int(tokens[kind, run]), "cache_read_tokens": 0,
         "output_tokens": 10}
        for kind in range(kinds)
        for run in range(runs)
    ]  # fmt: skip
    return pd.DataFrame(rows).convert_dtypes()


def of_a_day(calls: pd.DataFrame) -> "pd.Series[float]":
    """Return the statistics of a day's input tokens, over its tasks."""
    asked = an.forecast(calls, Plan(tasks_per_day=1e6), resource="prefill_tokens_per_s")
    total = asked[(asked["bucket_start"] == -1) & (asked["resource"] == "input_tokens")]
    return total.set_index("statistic")["value"] / 1e6


def test_nine_in_ten_intervals_of_a_fleet_of_thirty_kinds_hold_the_truth_and_all_their_own_mean() -> None:
    rng = np.random.default_rng(3)
    found = [of_a_day(fleet(rng, 30)) for _ in range(20)]
    assert all(one["mean_low"] < one["mean"] < one["mean_high"] for one in found)
    assert sum(one["mean_low"] <= MEAN <= one["mean_high"] for one in found) >= 18


def test_the_interval_of_one_kind_is_that_of_its_mean() -> None:
    calls = fleet(np.random.default_rng(5), 1, 12)
    low, high = an.mean_interval(calls["input_tokens"].to_numpy(dtype=float), rng=np.random.default_rng(0))
    one = of_a_day(calls)
    assert one["mean_low"] == pytest.approx(low, rel=0.01)
    assert one["mean_high"] == pytest.approx(high, rel=0.01)
