"""Intervals of single hours: of what each recorded run puts there, where tasks last long and the day has a shape."""

import numpy as np
import pandas as pd
import pytest
from tests.analysis.test_forecast import grid, some_calls

from tokenflation import analysis as an
from tokenflation.analysis.fleet.demand import jumps, means_by_run
from tokenflation.analysis.fleet.paths import runs_of
from tokenflation.analysis.planning.plan import Plan


@pytest.mark.parametrize("apart", [1, 3])
def test_the_mean_of_each_run_equals_the_sum_over_its_segments(apart: int) -> None:
    runs = runs_of(some_calls(runs=150))
    over, times_s = grid(runs, Plan(tasks_per_day=1.0, day_shape="business_day", bucket_s=300), 24)
    times_s, path = times_s[::apart], runs.paths["concurrent_calls"]
    found = means_by_run(path, 150, over, times_s)
    for run in (0, 70, 149):
        only = np.where(np.arange(150) == run, 1.0, 0.0)
        assert found[run] == pytest.approx(path.load @ jumps(path, only, over, times_s), rel=1e-9, abs=1e-15)


def in_two_halves(kind: str = "long") -> pd.DataFrame:
    """20 runs of 900 to 1,100 tokens in all, of which the second call, 12 hours on, has from a hundredth to a half."""
    every = np.random.default_rng(4).permutation(np.linspace(900, 1_100, 20))
    late = np.linspace(0.01, 0.5, 20) * every
    rows = [
        {"task": kind, "task_id": f"{kind}-{run}", "model": "m", "stream": 1, "started_at_ns": int(hour * 3.6e12),
         "duration_s": 10.0, "ttft_s": 5.0, "input_tokens": round(float(tokens)), "cache_read_tokens": 0,
         "output_tokens": 10}
        for run in range(20)
        for hour, tokens in ((0, every[run] - late[run]), (12, late[run]))
    ]  # fmt: skip
    return pd.DataFrame(rows).convert_dtypes()


@pytest.mark.parametrize("resource", ["prefill_tokens_per_s", "prefill_tokens_per_hour"])
@pytest.mark.parametrize("kinds", [1, 2])
def test_the_interval_of_an_hour_is_that_of_what_each_run_puts_there(resource: str, kinds: int) -> None:
    calls = pd.concat([in_two_halves(), in_two_halves("none")], ignore_index=True)
    plan = Plan(
        tasks_per_day={"long": 1e6} | ({"none": 1e-3} if kinds == 2 else {}), day_shape=[0.0] * 9 + [1.0] + [0.0] * 14
    )
    found = an.forecast(calls, plan)
    found = found[found["resource"] == resource].pivot(index="bucket_start", columns="statistic", values="value")
    rng = np.random.default_rng(0)
    tokens = calls[calls["task"] == "long"]["input_tokens"].to_numpy(dtype=float).reshape(20, 2)
    for hour, of_runs in ((9, tokens[:, 0]), (21, tokens[:, 1])):
        low, high = an.mean_interval(of_runs, rng=rng) / of_runs.mean()
        said = found.loc[hour * 3_600.0]
        assert said["mean_low"] / said["mean"] == pytest.approx(low, rel=0.02)
        assert said["mean_high"] / said["mean"] == pytest.approx(high, rel=0.02)
