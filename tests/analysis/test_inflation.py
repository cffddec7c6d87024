"""Inflation: worked by hand, exact products, and intervals that hold what they promise."""

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from tokenflation.analysis import inflation
from tokenflation.analysis.columns.inflation import INFLATION_COLUMNS
from tokenflation.analysis.comparison.baselines import INTRINSIC
from tokenflation.analysis.comparison.inflation import direct_kinds
from tokenflation.analysis.statistics.prototypes import LEAST_RUNS
from tokenflation.sdk.errors import FrameError

Calls = Callable[..., pd.DataFrame]

ENDS = ("low", "high")


def _call(task: str, task_id: object, tokens: tuple[int | None, int | None], **more: Any) -> dict[str, Any]:
    return {"task": task, "task_id": str(task_id), "input_tokens": tokens[0], "output_tokens": tokens[1]} | more


def _row(frame: pd.DataFrame, kind: str) -> "pd.Series[Any]":
    return frame[frame["task"] == kind].iloc[0]


def test_factors_are_ratios_of_means_and_not_means_of_ratios(make_calls: Calls) -> None:
    calls = make_calls(
        [
            _call("once", 1, (100, 50)),
            _call("once", 2, (300, 150)),
            _call("agent", 1, (1000, 100)),
            _call("agent", 1, (2000, 100)),
            _call("agent", 2, (5000, 200)),
        ]
    )

    row = _row(inflation(calls, baseline="once"), "agent")

    assert row["inflation_input"] == 4000 / 200
    assert row["inflation_output"] == 200 / 100
    assert row["inflation_billed"] == 4200 / 300
    assert (row["tasks"], row["baseline_tasks"], row["billed_tokens_mean"]) == (2, 2, 4200.0)


def test_computed_tokens_leave_out_what_a_cache_served(make_calls: Calls) -> None:
    calls = make_calls(
        [
            _call("once", 1, (100, 10), cache_read_tokens=0),
            _call("reported", 1, (1000, 10), cache_read_tokens=900),
            _call("blocks", 1, (1000, 10), shared_blocks=10),
            _call("unknown", 1, (1000, 10)),
        ]
    )

    frame = inflation(calls, baseline="once").set_index("task")

    assert frame["cached_source"].to_dict() == {
        "blocks": "blocks", "once": "provider", "reported": "provider", "unknown": "none",
    }  # fmt: skip
    assert frame.loc["reported", "inflation_computed"] == 110 / 110
    assert frame.loc["blocks", "inflation_computed"] == (1000 - 640 + 10) / 110
    assert list(frame.loc["unknown", ["inflation_computed", "inflation_billed"]]) == [1010 / 110] * 2


def test_calls_whose_cached_tokens_come_from_different_places_say_so(make_calls: Calls) -> None:
    calls = make_calls([_call("a", 1, (100, 1), cache_read_tokens=0), _call("a", 1, (100, 1), shared_blocks=1)])

    assert inflation(calls, baseline="a")["cached_source"].tolist() == ["provider+blocks"]


def test_tasks_without_usage_are_left_out_and_counted(make_calls: Calls) -> None:
    calls = make_calls([_call("once", 1, (10, 10)), _call("agent", 1, (40, 40)), _call("agent", 2, (None, None))])

    row = _row(inflation(calls, baseline="once"), "agent")

    assert (row["inflation_billed"], row["tasks"], row["tasks_without_usage"]) == (4.0, 2, 1)


def test_a_kind_without_any_usage_has_no_factor(make_calls: Calls) -> None:
    frame = inflation(make_calls([_call("once", 1, (10, 10)), _call("agent", 1, (None, None))]), baseline="once")

    assert pd.isna(_row(frame, "agent")["inflation_billed"])


def test_the_baseline_against_itself_is_one(make_calls: Calls) -> None:
    calls = make_calls([_call("once", task, (100 + task, 10)) for task in range(20)])

    row = _row(inflation(calls, baseline="once", rng=np.random.default_rng(0)), "once")

    costs = {"inflation_cost", "inflation_cost_low", "inflation_cost_high"}
    assert all(row[name] == 1 for name in row.index if name.startswith(("inflation_", "driver_")) and name not in costs)
    assert row[sorted(costs)].isna().all()


def test_the_columns_are_those_of_the_contract(make_calls: Calls) -> None:
    assert list(inflation(make_calls([_call("a", 1, (1, 1))]), baseline="a").columns) == list(INFLATION_COLUMNS)


def test_a_baseline_that_does_not_exist_is_refused_with_the_kinds_there_are(make_calls: Calls) -> None:
    with pytest.raises(FrameError, match=r"'once'; the kinds here are \['agent'\]"):
        inflation(make_calls([_call("agent", 1, (1, 1))]), baseline="once")


def test_a_baseline_without_usage_is_refused(make_calls: Calls) -> None:
    with pytest.raises(FrameError, match="reports usage"):
        inflation(make_calls([_call("once", 1, (None, None))]), baseline="once")


@pytest.mark.parametrize("level", [0, 1, 90])
def test_a_level_that_is_no_fraction_is_refused(make_calls: Calls, level: float) -> None:
    with pytest.raises(FrameError, match="level between 0 and 1"):
        inflation(make_calls([_call("once", 1, (1, 1))]), baseline="once", level=level)


def test_direct_kinds_are_those_of_single_calls(make_calls: Calls) -> None:
    rows = [_call("b", 1, (1, 1)), _call("b", 2, (1, 1)), _call("a", 1, (1, 1)), _call("a", 1, (1, 1))]

    assert direct_kinds(make_calls(rows)) == ["b"]


_tokens = st.one_of(st.none(), st.integers(1, 10**7))
_some_call = st.tuples(st.sampled_from(["once", "agent"]), st.integers(0, 4), st.tuples(_tokens, _tokens))


@settings(deadline=None, max_examples=25)
@given(some=st.lists(_some_call, max_size=20))
def test_the_drivers_multiply_to_the_factors_exactly(make_calls: Calls, some: list[Any]) -> None:
    calls = make_calls([_call("once", 9, (7, 3)), _call("agent", 9, (70, 30)), *(_call(*call) for call in some)])

    for row in inflation(calls, baseline="once").to_dict("records"):
        for name in ("input", "output"):
            product = row["driver_calls"] * row[f"driver_{name}_reported"] * row[f"driver_{name}_per_call"]
            assert product == pytest.approx(row[f"inflation_{name}"], rel=1e-12)
        assert row["inflation_computed"] == pytest.approx(row["inflation_billed"])


def _population(rng: np.random.Generator, agents: int, direct: int) -> list[dict[str, Any]]:
    """Agent tasks of mean 40,000 and direct ones of mean 1,000 tokens, both lognormal."""
    rows = []
    for kind, number, mean, spread in (("agent", agents, 40_000, 0.9), ("once", direct, 1_000, 0.3)):
        for task in range(number):
            rows.append(_call(kind, task, (int(mean * rng.lognormal(-(spread**2) / 2, spread)) + 1, 1)))
    return rows


def test_the_interval_covers_the_known_factor_about_as_often_as_it_says(
    make_calls: Calls,
) -> None:
    rng = np.random.default_rng(11)
    trials = 100
    covered = 0
    for _ in range(trials):
        row = _row(inflation(make_calls(_population(rng, 30, 20)), baseline="once", rng=rng), "agent")
        covered += row["inflation_input_low"] <= 40 <= row["inflation_input_high"]

    # 0.9 within three standard errors of 100 trials.
    assert 0.81 <= covered / trials <= 0.99


def test_more_tasks_make_the_interval_narrower_around_the_known_factor(make_calls: Calls) -> None:
    widths = []
    for number in (30, 300):
        rng = np.random.default_rng(3)
        row = _row(inflation(make_calls(_population(rng, number, number)), baseline="once", rng=rng), "agent")
        low, high = (row[f"inflation_input_{end}"] for end in ENDS)
        assert low < 40 < high
        assert low < row["inflation_input"] < high
        widths.append(np.log(high / low))

    assert widths[1] < 0.5 * widths[0]


def test_an_interval_of_the_same_tasks_and_its_normal_limit_agree_where_they_meet(
    make_calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = (np.random.default_rng(4).lognormal(8, 0.5, (1500, 3)) + 1).astype(int).tolist()
    calls = make_calls([_call("agent", task, (size, 9)) for task, steps in enumerate(sizes) for size in steps])
    ends = []
    for limit in (2000, 1000):
        monkeypatch.setattr("tokenflation.analysis.statistics.ratios.NORMAL_TASKS", limit)
        row = _row(inflation(calls, baseline=INTRINSIC, rng=np.random.default_rng(0)), "agent")
        ends.append([np.log(row[f"inflation_billed_{end}"] / row["inflation_billed"]) for end in ENDS])

    assert ends[0] == pytest.approx(ends[1], rel=0.1)
    assert ends[0] != ends[1]


def test_the_same_generator_gives_the_same_interval_and_none_gives_none(make_calls: Calls) -> None:
    calls = make_calls(_population(np.random.default_rng(1), 20, 20))

    first, second = (inflation(calls, baseline="once", rng=np.random.default_rng(8)) for _ in range(2))
    without = _row(inflation(calls, baseline="once"), "agent")

    pd.testing.assert_frame_equal(first, second)
    assert without[[f"inflation_billed_{end}" for end in ENDS]].isna().all()


@pytest.mark.parametrize(("agents", "direct"), [(LEAST_RUNS - 1, 30), (30, LEAST_RUNS - 1)])
def test_too_few_tasks_on_a_side_give_no_interval(make_calls: Calls, agents: int, direct: int) -> None:
    rng = np.random.default_rng(2)
    row = _row(inflation(make_calls(_population(rng, agents, direct)), baseline="once", rng=rng), "agent")

    assert row[[f"inflation_input_{end}" for end in ENDS]].isna().all()
    assert row["inflation_input"] > 0


def test_tasks_that_are_all_alike_give_an_interval_of_no_width(make_calls: Calls) -> None:
    rows = [_call(kind, task, (size, 1)) for kind, size in (("agent", 99), ("once", 9)) for task in range(10)]

    row = _row(inflation(make_calls(rows), baseline="once", rng=np.random.default_rng(0)), "agent")

    assert row["inflation_billed_low"] == row["inflation_billed_high"] == pytest.approx(row["inflation_billed"])
