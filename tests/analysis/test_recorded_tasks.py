"""Recorded arrivals times what recorded tasks take: bounds know how little few tasks say, and how far tasks differ."""

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from tokenflation import analysis as an
from tokenflation.analysis.history.reading import History
from tokenflation.analysis.history.recorded import forecast_tasks

Floats = NDArray[np.float64]
PER_HOUR = 36.0


def steady(*kinds: str) -> dict[str, History]:
    """Return a week of arrivals that never change, 36 an hour of each kind."""
    return {name: History(name, 0.0, 3600, np.full(168, PER_HOUR / 3600), "tasks/s") for name in kinds}


def tasks_of(**kinds: Floats) -> pd.DataFrame:
    """Return a row per task with these input tokens."""
    parts = [pd.DataFrame({"calls": 1.0, "input_tokens": values, "output_tokens": np.nan}, index=[name] * len(values))
             for name, values in kinds.items()]  # fmt: skip
    return pd.concat(parts)


def next_hour(arrivals: dict[str, History], taken: pd.DataFrame) -> pd.DataFrame:
    """Return the statistics of the next hour; rows are task kinds and resources."""
    found = forecast_tasks(arrivals, taken, steps=1, step_s=3600.0)
    return found.pivot_table(index=["task", "resource"], columns="statistic", values="value", dropna=False)


def test_what_few_tasks_take_is_as_unsure_as_their_mean_for_the_tasks_of_a_step() -> None:
    values = np.random.default_rng(0).lognormal(8, 1, 12)
    rows = next_hour(steady("a"), tasks_of(a=values)).loc["a"]
    low, high = an.mean_interval(values, future=int(PER_HOUR), rng=np.random.default_rng(0))
    per_s = PER_HOUR / 3600
    assert rows.loc["tasks_per_s", ["low", "high"]].to_numpy() == pytest.approx([per_s, per_s])
    assert rows.loc["input_tokens_per_s", ["low", "high"]].to_numpy() == pytest.approx([per_s * low, per_s * high])
    assert rows.loc["input_tokens_per_s", "provision"] > per_s * high


def test_tasks_that_are_all_alike_add_nothing_to_the_bounds_of_what_arrives() -> None:
    noisy = {"a": History("a", 0.0, 3600, np.random.default_rng(1).poisson(PER_HOUR, 168) / 3600, "tasks/s")}
    rows = next_hour(noisy, tasks_of(a=np.full(20, 500.0))).loc["a"]
    assert rows.loc["input_tokens_per_s"].to_numpy() == pytest.approx(500 * rows.loc["tasks_per_s"].to_numpy())


def test_fewer_than_ten_tasks_have_a_mean_and_no_bounds_and_what_none_reports_has_neither() -> None:
    rows = next_hour(steady("a", "b"), tasks_of(a=np.full(9, 10.0), b=np.full(10, 20.0)))
    assert rows.loc[("a", "input_tokens_per_s"), "mean"] == pytest.approx(PER_HOUR * 10 / 3600)
    assert rows.loc[("a", "input_tokens_per_s"), ["low", "high", "provision"]].isna().all()
    assert rows.loc[("all", "input_tokens_per_s"), ["low", "high", "provision"]].isna().all()
    assert np.isfinite(rows.loc[("b", "input_tokens_per_s")]).all()
    assert np.isfinite(rows.loc[("all", "tasks_per_s")]).all()
    assert rows.loc[("b", "output_tokens_per_s")].isna().all()


def test_kinds_of_tasks_that_know_nothing_of_each_other_are_less_unsure_together_than_added_up() -> None:
    rng = np.random.default_rng(0)
    taken = tasks_of(a=rng.lognormal(8, 1, 15), b=rng.lognormal(8, 1, 15))
    rows = next_hour(steady("a", "b"), taken).xs("input_tokens_per_s", level="resource")
    above = rows["high"] - rows["mean"]
    assert above["all"] == pytest.approx(np.hypot(above["a"], above["b"]))
    assert rows.loc["all", "mean"] == pytest.approx(rows.loc["a", "mean"] + rows.loc["b", "mean"])
