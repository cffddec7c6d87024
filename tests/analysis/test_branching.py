"""The branching factor: by hand, recovered from processes with a known one, and its alarm."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from tests.analysis.conftest import Row, frame_of
from tests.analysis.trees import call

from tokenflation.analysis.columns.structure import BRANCHING_COLUMNS
from tokenflation.analysis.structure.branching import branching


def _generations(task: str, *counts: int) -> list[Row]:
    """Return a task with so many agent runs at each level."""
    runs = [(depth, number) for depth, count in enumerate(counts) for number in range(count)]
    return [
        call(f"{task}-{depth}-{number}", f"{task}-{depth}-{number}", 0, depth, task_id=task, depth=depth)
        for depth, number in runs
    ]


def _grown(rng: np.random.Generator, mean: float, levels: int) -> list[int]:
    counts = [1]
    for _ in range(levels):
        counts.append(int(rng.poisson(mean, counts[-1]).sum()))
    return counts


def _row(tasks: Sequence[Sequence[int]], seed: int | None = None) -> "pd.Series[Any]":
    calls = [row for number, counts in enumerate(tasks) for row in _generations(f"t{number}", *counts)]
    frame = branching(frame_of(calls), rng=None if seed is None else np.random.default_rng(seed))
    assert list(frame.columns) == list(BRANCHING_COLUMNS)
    return frame.iloc[0]


def test_offspring_are_counted_per_run_that_could_be_seen_to_have_any() -> None:
    # Levels 1, 2, 4 and 1, 1: 7 sub-agent runs of 1 + 2 + 1 + 1 parents; the four at the deepest level are none.
    row = _row([(1, 2, 4), (1, 1)])
    assert (row["agent_runs"], row["sub_agent_runs"], row["deepest"], row["parents"]) == (9, 7, 2, 5)
    assert row["branching_factor"] == 7 / 5
    assert pd.isna(row["branching_factor_high"])


def test_a_full_tree_of_three_has_the_factor_three_however_deep() -> None:
    assert _row([(1, 3, 9, 27)])["branching_factor"] == 3
    assert _row([(1, 3)])["branching_factor"] == 3


def test_a_kind_without_sub_agents_has_the_factor_zero_and_no_alarm() -> None:
    row = _row([(1,)] * 12, seed=1)
    assert (row["branching_factor"], row["parents"]) == (0, 12)
    assert row[["branching_factor_low", "branching_factor_high", "alarm"]].isna().all()


def test_the_factor_of_a_known_process_lies_in_its_interval() -> None:
    rng = np.random.default_rng(7)
    row = _row([_grown(rng, 0.5, 3) for _ in range(300)], seed=3)
    assert 0.4 < row["branching_factor_low"] < 0.5 < row["branching_factor_high"] < 0.6
    assert pd.isna(row["alarm"])


def test_few_tasks_of_a_known_process_have_an_interval_of_use() -> None:
    # Large trees are those whose agents start many: the factor goes with the size of a task by what is counted.
    row = _row([_grown(np.random.default_rng([7, number]), 0.5, 3) for number in range(60)], seed=3)
    low, high = (row[f"branching_factor_{end}"] for end in ("low", "high"))
    assert 0.25 < low < 0.5 < high < 1


def test_the_alarm_says_what_reaches_one() -> None:
    over = _row([(1, 2, 2), (1, 1, 1)])["alarm"]
    assert over is not None
    assert over.startswith("An agent run starts 1.20 others on average: from 1 on")
    assert "(2 levels seen)" in over


def test_an_upper_end_that_reaches_one_is_enough() -> None:
    rare = _row([(1, 4 * (number == 0) + (number % 2)) for number in range(12)], seed=5)
    assert rare["branching_factor"] < 1 <= rare["branching_factor_high"]
    assert "may start up to" in rare["alarm"]
    assert "90 % interval" in rare["alarm"]


def test_workers_that_start_nobody_are_not_called_a_process_that_never_ends() -> None:
    assert "No sub-agent was seen to start another" in _row([(1, 3), (1, 3)])["alarm"]


def test_fewer_than_ten_tasks_have_no_interval() -> None:
    assert pd.isna(_row([(1, 1)] * 9, seed=1)["branching_factor_low"])
    assert _row([(1, 1)] * 10, seed=1)["branching_factor_low"] == 1
