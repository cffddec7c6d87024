"""Figures say what their frames say, and stay whole on odd input."""

import json
import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from tests.analysis.prompts import asked, calls_of
from tests.browser.frames import calls_frame, demand_frame, fleet

from tokenflation.analysis import inflation
from tokenflation.analysis.columns.inflation import FACTORS
from tokenflation.analysis.context.kvcache import hits_by_bytes, hits_by_ttl
from tokenflation.analysis.context.pauses import PAUSE_COLUMNS
from tokenflation.analysis.frames import from_rows
from tokenflation.exporters.report import parts, theme
from tokenflation.exporters.report.figures.cache import bytes_figure, pause_label, pauses_figure, ttl_figure
from tokenflation.exporters.report.figures.demand import demand_figure
from tokenflation.exporters.report.figures.forecast import split_figure
from tokenflation.exporters.report.figures.inflation import drivers_figure, inflation_figure
from tokenflation.exporters.report.figures.token import growth_figure, kinds_figure, steps_figure
from tokenflation.exporters.report.numbers import count, share
from tokenflation.exporters.report.sections.demand import wide


@pytest.fixture(scope="module")
def calls() -> pd.DataFrame:
    return fleet()


@pytest.fixture(scope="module")
def factors(calls: pd.DataFrame) -> pd.DataFrame:
    found = inflation(calls, baseline="answer-once", rng=np.random.default_rng(1))
    return found[found["task"] != "answer-once"].reset_index(drop=True)


def test_bars_of_a_kind_add_up_to_its_mean_input(calls: pd.DataFrame) -> None:
    figure = kinds_figure(parts.by_kind(calls), "input")
    drawn = sum(sum(trace.x) for trace in figure.data if trace.type == "bar")
    expected = sum(group["input_tokens"].sum() / 30 for _, group in calls.groupby("task"))
    assert drawn == pytest.approx(expected)


def test_a_name_with_tags_is_shown_letter_by_letter(calls: pd.DataFrame) -> None:
    text = kinds_figure(parts.by_kind(calls), "input").to_json()
    assert "<b>" not in json.dumps(json.loads(text)["layout"])
    assert "fix &lt;b&gt;" in text


def test_steps_are_drawn_once_per_part(calls: pd.DataFrame) -> None:
    figure = steps_figure(parts.by_step(calls[calls["task"] == "triage"]))
    assert [trace.name for trace in figure.data] == [part.label for part in parts.INPUT_PARTS]
    assert figure.layout.xaxis.ticktext[0] == "0"


def test_growth_draws_all_runs_as_one_trace_with_gaps(calls: pd.DataFrame) -> None:
    figure = growth_figure(*parts.growth(calls[calls["task"] == "research"]))
    names = [trace.name for trace in figure.data]
    assert names == ["one agent run", "one sub-agent run", "p10 to p90 of runs", "median"]
    assert None in figure.data[0].y


def test_growth_of_a_single_short_run_is_drawn() -> None:
    one = calls_frame([{"call_id": "a", "task": "k", "task_id": "t", "agent_run_id": "r", "input_tokens": 5}])
    figure = growth_figure(*parts.growth(one))
    assert figure.data[-1].mode == "markers"


def test_lengths_of_the_drivers_add_up_to_the_factor(factors: pd.DataFrame) -> None:
    figure = drivers_figure(factors)
    *bars, together = (np.array(trace.x, dtype=float) for trace in figure.data)
    changing = [name for name in FACTORS if (factors[f"factor_{name}"] - 1).abs().max() > 1e-9]
    assert len(bars) == len(changing)
    assert sum(bars) == pytest.approx(together)
    assert 10 ** together[0] == pytest.approx(factors["inflation_billed"][0])


def test_what_does_not_change_anything_has_no_bar(factors: pd.DataFrame) -> None:
    plain = factors.assign(factor_retry=1.0, factor_recursion=1.0)
    assert {"sub-agents", "failed calls"}.isdisjoint(trace.name for trace in drivers_figure(plain).data)
    nothing = factors.assign(**{f"factor_{name}": 1.0 for name in FACTORS})
    assert [trace.name for trace in drivers_figure(nothing).data] == ["together"]


def test_where_no_output_is_reported_the_input_is_compared(factors: pd.DataFrame) -> None:
    silent = factors.assign(inflation_billed=math.nan, inflation_computed=math.nan)
    bar, *_ = inflation_figure(silent).data
    assert bar.name == "input"
    assert list(bar.x) == pytest.approx(factors["inflation_input"].tolist())


def test_each_driver_begins_where_the_one_before_it_ends(factors: pd.DataFrame) -> None:
    *bars, together = drivers_figure(factors).data
    for before, bar in pairwise(bars):
        assert np.array(bar.base, float) == pytest.approx(np.array(before.base, float) + np.array(before.x, float))
    assert set(together.base) == {0.0}


def test_whiskers_end_at_the_interval_and_are_absent_without_one(factors: pd.DataFrame) -> None:
    bar = inflation_figure(factors).data[0]
    assert bar.x[0] + bar.error_x.array[0] == pytest.approx(factors["inflation_billed_high"][0])
    unknown = factors.assign(inflation_billed_low=math.nan, inflation_billed_high=math.nan)
    assert inflation_figure(unknown).data[0].error_x.visible is False


def test_a_kind_of_too_few_tasks_has_no_whisker_beside_one_that_has(factors: pd.DataFrame) -> None:
    first = factors.index == factors.index[0]
    some = factors.assign(inflation_billed_low=factors["inflation_billed_low"].mask(first))
    lengths = inflation_figure(some).data[0].error_x.array
    assert lengths[0] == "none"
    assert all(length > 0 for length in lengths[1:])


def test_curves_of_the_cache_say_what_their_frames_say() -> None:
    calls = calls_of(asked("abc", 0), asked("abcd", 10, call_id="b" * 16), asked("abc", 2000, call_id="c" * 16))
    ttl = ttl_figure(hits_by_ttl(calls, ttls_s=(0.0, 300.0, math.inf))).data[0]
    assert list(ttl.y) == pytest.approx([0, 3 / 10, 6 / 10])
    size = bytes_figure(hits_by_bytes(calls, kv_bytes_per_token=1000.0))
    assert "bytes" in size.layout.xaxis.title.text
    assert 10 ** size.data[0].x[-1] == pytest.approx(16_000)
    assert size.data[0].y[-1] == pytest.approx(6 / 10)


def test_shares_beside_an_axis_are_written_as_in_tables() -> None:
    ttl = ttl_figure(hits_by_ttl(calls_of(asked("abc", 0)), ttls_s=(0.0, math.inf)))
    split = split_figure(["Prefill"], {"share_load": [0.7], "share_prototypes": [0.3]})
    assert list(ttl.layout.yaxis.ticktext[1:3]) == ["20\N{NO-BREAK SPACE}%", "40\N{NO-BREAK SPACE}%"]
    assert split.layout.xaxis.ticktext[-1] == share(1) == "100\N{NO-BREAK SPACE}%"


def test_axes_have_letters_beyond_trillions_as_tables_do() -> None:
    figure = theme.base_figure(100, x="day", y="FLOP/s")
    assert figure.layout.yaxis.exponentformat == "SI extended"
    assert count(2.5e15) == "2.50P"


def test_pauses_are_named_in_few_letters_and_drawn_where_they_are() -> None:
    rows = [("p", "m", 0.0, 60.0, 5, 100, 10, 0.9), ("p", "m", 900.0, 3600.0, 1, 100, 75, 0.25)]
    figure = pauses_figure(from_rows(rows, tuple(PAUSE_COLUMNS.values())))
    assert list(figure.data[0].y) == [0.9, 0.25]
    assert list(figure.layout.xaxis.ticktext) == [
        "< 1<br>min",
        "15\N{NO-BREAK SPACE}min\N{EN DASH}<br>1\N{NO-BREAK SPACE}h",
    ]
    assert pause_label(60.0, 300.0) == "1\N{EN DASH}5\N{NO-BREAK SPACE}min"
    assert pause_label(3600.0, None).endswith("1\N{NO-BREAK SPACE}h")


def test_a_pause_after_which_nothing_was_read_is_told_from_one_that_nobody_made() -> None:
    rows = [("p", "m", 0.0, 60.0, 5, 100, 10, 0.9), ("p", "m", 900.0, 3600.0, 1, 100, 100, 0.0)]
    assert list(pauses_figure(from_rows(rows, tuple(PAUSE_COLUMNS.values()))).data[0].text) == ["", "0"]


def test_a_day_of_demand_has_its_bands_its_mean_and_its_interval() -> None:
    figure = demand_figure(wide(demand_frame(), "concurrent_calls"), "concurrent calls", "calls")
    names = [trace.name for trace in figure.data]
    assert names == ["p50 to p95", "p95 to p99", *["interval of the mean"] * 2, "mean"]
    assert max(figure.data[-1].x) == pytest.approx(24 - 2.5 / 60)


def test_every_colour_of_a_figure_has_a_dark_counterpart(calls: pd.DataFrame, factors: pd.DataFrame) -> None:
    known = set(theme.swaps())
    figures = [
        growth_figure(*parts.growth(calls)), kinds_figure(parts.by_kind(calls), "output"), inflation_figure(factors),
    ]  # fmt: skip
    for figure in figures:
        text = figure.to_json()
        hexes = {word for word in text.split('"') if word.startswith("#") and len(word) == 7}
        assert hexes
        assert hexes <= known


def test_swapping_colours_never_hits_a_colour_twice() -> None:
    swaps = theme.swaps()
    assert set(swaps) & set(swaps.values()) <= {key for key, value in swaps.items() if key == value}
