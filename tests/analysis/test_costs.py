"""Costs: worked by hand, exact sums, and price tables that are read or refused clearly."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from tokenflation.analysis import inflation
from tokenflation.analysis.columns.inflation import COST_COLUMNS
from tokenflation.analysis.comparison.costs import Price, PriceTable, costs, read_prices
from tokenflation.sdk.errors import PlanError

Calls = Callable[..., pd.DataFrame]

PRICES = PriceTable(
    prices=(
        Price(model="small-*", input=1, output=4),
        Price(model="*", input=3, output=15, cache_read=0.3, cache_write=3.75),
    ),
    currency="USD",
)


def _call(task: str, task_id: object, tokens: tuple[int | None, int | None], **more: Any) -> dict[str, Any]:
    sent, made = tokens
    return {"task": task, "task_id": str(task_id), "model": "large", "input_tokens": sent, "output_tokens": made} | more


def test_a_task_is_split_by_cached_prefix_fresh_input_and_output(make_calls: Calls) -> None:
    calls = make_calls(
        [
            _call("x", 1, (1_000_000, 100_000), cache_read_tokens=0, cache_write_tokens=1_000_000),
            _call("x", 1, (1_200_000, 100_000), cache_read_tokens=1_000_000, reasoning_tokens=50_000),
        ]
    )

    row = costs(calls, PRICES).iloc[0]

    # 1 M written at 3.75, then 1 M read at 0.3 and 0.2 M fresh at 3; 0.2 M of output at 15, a quarter of it reasoning.
    assert row["cached_cost_mean"] == pytest.approx(0.3)
    assert row["fresh_cost_mean"] == pytest.approx(3.75 + 0.6)
    assert row["written_cost_mean"] == pytest.approx(3.75)
    assert row["output_cost_mean"] == pytest.approx(3.0)
    assert row["reasoning_cost_mean"] == pytest.approx(0.75)
    assert row["cost_mean"] == pytest.approx(7.65)
    assert row["cache_saving_share"] == pytest.approx(1 - 7.65 / 9.6)


def test_cache_writes_for_an_hour_have_a_price_of_their_own(make_calls: Calls) -> None:
    written = [
        _call("x", n, (1_000_000, 0), cache_write_tokens=800_000, extra=extra)
        for n, extra in enumerate(['{"cache_write_1h_tokens":200000,"cache_write_5m_tokens":600000}', "{}",
                                   '{"cache_write_1h_tokens":900000}'])
    ]  # fmt: skip
    dear = Price(model="*", input=3, output=15, cache_write=3.75, cache_write_1h=6)
    found = [costs(make_calls([one]), PriceTable(prices=(dear,)))["cost_mean"][0] for one in written]

    # 0.2 M at 6, 0.6 M at 3.75, 0.2 M at 3; all writes at 3.75 where no lifetime is told; never more than all at 6.
    assert found == pytest.approx([1.2 + 2.25 + 0.6, 3.0 + 0.6, 4.8 + 0.6])
    assert costs(make_calls(written), PRICES)["cost_mean"][0] == pytest.approx(3.6)


def test_the_model_that_answered_counts_before_the_one_asked_for(make_calls: Calls) -> None:
    calls = make_calls([_call("x", 1, (1_000_000, 0), response_model="small-2")])

    assert costs(calls, PRICES).iloc[0]["cost_mean"] == pytest.approx(1)


def test_without_a_price_of_cache_reads_they_cost_what_input_costs(make_calls: Calls) -> None:
    calls = make_calls([_call("x", 1, (1_000_000, 0), model="small-1", cache_read_tokens=900_000)])

    assert costs(calls, PRICES).iloc[0]["cost_mean"] == pytest.approx(1)


def test_a_task_with_a_call_that_has_no_price_is_left_out_and_counted(make_calls: Calls) -> None:
    calls = make_calls(
        [
            _call("x", 1, (1_000_000, 0), model="small-1"),
            _call("x", 1, (1_000_000, 0), model="other"),
            _call("x", 2, (3_000_000, 0), model="small-1"),
        ]
    )
    table = PriceTable(prices=PRICES.prices[:1])

    row = costs(calls, table).iloc[0]

    assert (row["tasks"], row["tasks_without_cost"], row["unpriced_calls"], row["cost_mean"]) == (2, 1, 1, 3.0)


def test_a_task_that_reports_no_usage_is_left_out_and_not_free(make_calls: Calls) -> None:
    calls = make_calls([_call("x", 1, (1_000_000, None)), _call("x", 2, (None, None)), _call("x", 3, (None, 200_000))])

    row = costs(calls, PRICES).iloc[0]

    # 1 M of input at 3 and 0.2 M of output at 15, over the two tasks that report.
    assert (row["tasks"], row["tasks_without_cost"]) == (3, 1)
    assert row["cost_mean"] == pytest.approx((3 + 3) / 2)


def test_models_that_no_price_is_for_are_named(make_calls: Calls) -> None:
    with pytest.raises(PlanError, match=r"the models here are \['large'\]"):
        costs(make_calls([_call("x", 1, (1, 1))]), PriceTable(prices=PRICES.prices[:1]))


def test_inflation_of_cost_is_the_ratio_of_mean_costs(make_calls: Calls) -> None:
    calls = make_calls(
        [
            _call("once", 1, (1000, 100), cache_read_tokens=0),
            _call("agent", 1, (1000, 100), cache_read_tokens=0),
            _call("agent", 1, (2000, 100), cache_read_tokens=1000),
        ]
    )

    row = inflation(calls, baseline="once", prices=PRICES).iloc[0]

    assert row["task"] == "agent"
    assert row["inflation_cost"] == pytest.approx((2 * 1000 * 3 + 1000 * 0.3 + 200 * 15) / (1000 * 3 + 100 * 15))
    assert row["inflation_billed"] * row["factor_price"] == pytest.approx(row["inflation_cost"])


def test_the_interval_of_a_mean_cost_holds_it(make_calls: Calls) -> None:
    rng = np.random.default_rng(3)
    calls = make_calls([_call("x", n, (int(rng.lognormal(8, 1)), 1)) for n in range(40)])

    row = costs(calls, PRICES, rng=rng).iloc[0]

    assert row["cost_mean_low"] < row["cost_mean"] < row["cost_mean_high"]


_tokens = st.one_of(st.none(), st.integers(0, 10**7))
_random_call = st.fixed_dictionaries({
    "task": st.sampled_from("pq"), "task_id": st.sampled_from("012"), "model": st.sampled_from(["small-1", "large"]),
    "input_tokens": _tokens, "output_tokens": _tokens, "cache_read_tokens": _tokens, "cache_write_tokens": _tokens,
    "reasoning_tokens": _tokens,
})  # fmt: skip


@settings(deadline=None, max_examples=20)
@given(some=st.lists(_random_call, max_size=10))
def test_the_parts_sum_to_the_cost_and_no_part_is_negative(make_calls: Calls, some: list[Any]) -> None:
    frame = costs(make_calls([*some, _call("p", 9, (10, 10))]), PRICES)

    assert list(frame.columns) == list(COST_COLUMNS)
    for row in frame.dropna(subset=["cost_mean"]).to_dict("records"):
        parts = [row[f"{name}_cost_mean"] for name in ("cached", "fresh", "output")]
        assert min(parts) >= 0
        assert sum(parts) == pytest.approx(row["cost_mean"], rel=1e-9)
        assert row["reasoning_cost_mean"] <= row["output_cost_mean"] * (1 + 1e-12)


TABLE = {"currency": "EUR", "per_tokens": 1000, "prices": [{"model": "m*", "input": 2, "cache_read": 1, "output": 5}]}


def test_json_toml_and_csv_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps(TABLE))
    (tmp_path / "p.toml").write_text(
        'currency = "EUR"\nper_tokens = 1000\n[[prices]]\nmodel = "m*"\ninput = 2\ncache_read = 1\noutput = 5\n'
    )
    (tmp_path / "p.csv").write_text("model,input,cache_read,cache_write,output\nm*,2000,1000,,5000\n")

    json_table, toml_table, csv_table = (read_prices(tmp_path / f"p.{kind}") for kind in ("json", "toml", "csv"))

    assert json_table == toml_table
    assert (json_table.currency, json_table.of_model("m1")) == (
        "EUR", Price(model="m*", input=2, output=5, cache_read=1),
    )  # fmt: skip
    assert csv_table.of_model("m1") == Price(model="m*", input=2000, output=5000, cache_read=1000)
    assert json_table.of_model("other") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no price table"),
        ("[1]", "no list `prices`"),
        ('{"prices": []}', "no list `prices`"),
        ('{"prices": [3]}', "names no model"),
        ('{"prices": [{"model": "m", "input": 1}]}', r"lacks \['output'\]"),
        ('{"prices": [{"model": "m", "input": -1, "output": 1}]}', "at least 0"),
        ('{"prices": [{"model": "m", "input": "x", "output": 1}]}', "at least 0"),
        ('{"prices": [{"model": "m", "input": 1, "output": 1, "cached": 1}]}', r"has \['cached'\]"),
        ('{"per_tokens": 0, "prices": [{"model": "m", "input": 1, "output": 1}]}', "per_tokens is 0"),
        (
            '{"prices": [{"model": "m", "input": 3e-6, "output": 1.5e-5}]}',
            r"if prices are of one token, .*\"per_tokens\": 1",
        ),
    ],
)
def test_what_is_no_price_table_is_refused_with_an_example(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(PlanError, match=says):
        read_prices(path)


def test_a_model_that_is_priced_twice_is_refused_and_a_pattern_may_follow_one_of_its_models(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("model,input,output\nm-large,3,15\nm-*,1,2\n")
    assert [price.model for price in read_prices(path).prices] == ["m-large", "m-*"]
    path.write_text("model,input,output\nm-large,3,15\nm-*,1,2\nm-large,4,20\n")
    with pytest.raises(PlanError, match=r"price 3 is for 'm-large', as price 1 is; keep one of them\."):
        read_prices(path)


def test_a_price_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot be read"):
        read_prices(tmp_path / "none.json")
