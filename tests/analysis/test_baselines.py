"""Which kinds are baselines, and what is left out of the fleet: one rule for every command."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from tokenflation.analysis import inflation
from tokenflation.analysis.columns.inflation import FACTORS, LEDGER_COLUMNS
from tokenflation.analysis.comparison.baselines import INTRINSIC, choose_baselines, without_baselines
from tokenflation.analysis.comparison.ledger import ledger
from tokenflation.cli import main
from tokenflation.sdk.errors import FrameError

Calls = Callable[..., pd.DataFrame]


def _call(task: str, task_id: object, tokens: tuple[int | None, int | None], **more: Any) -> dict[str, Any]:
    return {"task": task, "task_id": str(task_id), "input_tokens": tokens[0], "output_tokens": tokens[1]} | more


_AGENT = [_call("agent", 1, (10, 1)), _call("agent", 1, (20, 1))]


def test_the_only_kind_of_single_calls_is_the_baseline_and_no_part_of_the_fleet(make_calls: Calls) -> None:
    calls = make_calls([*_AGENT, _call("once", 1, (5, 5))])

    chosen = choose_baselines(calls)
    fleet, said = without_baselines(calls, chosen)

    assert chosen.kinds == chosen.names == ("once",)
    assert set(fleet["task"]) == {"agent"}
    assert said == "The baseline, once, is no part of the fleet."


def test_a_kind_of_single_calls_that_nobody_named_is_part_of_the_fleet_beside_its_agent(make_calls: Calls) -> None:
    calls = make_calls([*_AGENT, _call("task-91c6", 1, (5, 5)), _call("task-embeddings", 2, (5, 0))])

    chosen = choose_baselines(calls)

    assert chosen.kinds == ()
    assert "was named" in chosen.why
    assert len(without_baselines(calls, chosen)[0]) == 4
    assert choose_baselines(calls, ["task-91c6"]).kinds == ("task-91c6",)
    beside = make_calls([*_AGENT, _call("task-91c6", 1, (5, 5)), _call("once", 1, (5, 5))])
    assert choose_baselines(beside).kinds == ("once",)


def test_of_two_kinds_of_single_calls_none_is_taken_and_both_are_named(make_calls: Calls) -> None:
    calls = make_calls([*_AGENT, _call("once", 1, (5, 5)), _call("rag", 1, (5, 5))])

    chosen = choose_baselines(calls)

    assert (chosen.kinds, chosen.names) == ((), (INTRINSIC,))
    assert "there are 2 such kinds (once, rag)" in chosen.why
    assert len(without_baselines(calls, chosen)[0]) == 4


def test_a_store_of_one_kind_keeps_it_in_the_fleet(make_calls: Calls) -> None:
    calls = make_calls([_call("once", 1, (5, 5))])

    assert choose_baselines(calls).kinds == ()
    assert without_baselines(calls, choose_baselines(calls, ["once"]))[1] == ""


def test_several_baselines_may_be_named_the_intrinsic_one_among_them(make_calls: Calls) -> None:
    calls = make_calls([*_AGENT, _call("once", 1, (5, 5)), _call("rag", 1, (15, 5))])

    frame = inflation(calls, baseline=["once", "rag", INTRINSIC])
    agent = frame[frame["task"] == "agent"].set_index("baseline")

    assert agent["inflation_billed"].to_dict() == {"once": 32 / 10, "rag": 32 / 20, INTRINSIC: 32 / 11}
    assert agent["baseline_source"].tolist() == ["measured", "measured", "intrinsic"]
    assert without_baselines(calls, choose_baselines(calls, ["once", "rag"]))[1] == (
        "The baselines, once, rag, are no part of the fleet."
    )


def test_a_kind_that_does_not_exist_is_refused_with_those_that_do(make_calls: Calls) -> None:
    with pytest.raises(FrameError, match=r"'rag'; the kinds here are \['agent'\]"):
        choose_baselines(make_calls(_AGENT), ["rag"])


def test_the_intrinsic_baseline_is_the_first_request_and_the_visible_final_answer(make_calls: Calls) -> None:
    calls = make_calls(
        [
            _call("x", 1, (1000, 50), reasoning_tokens=0),
            _call("x", 1, (9000, 90), depth=1),
            _call("x", 1, (2000, 80), reasoning_tokens=20),
            _call("x", 1, (3000, 70), depth=1),
        ]
    )

    row = inflation(calls).iloc[0]

    assert (row["baseline"], row["baseline_source"]) == (INTRINSIC, "intrinsic")
    assert row["baseline_tokens_mean"] == 1000 + 60
    assert row["inflation_billed"] == pytest.approx(15290 / 1060)
    assert row["inflation_calls"] == row["calls_mean"] == 4


def test_what_generates_nothing_is_neither_the_first_request_nor_the_final_answer_of_the_intrinsic_baseline(
    make_calls: Calls,
) -> None:
    asked = _call("x", 1, (500, 40))
    embedded = _call("x", 1, (10, 0))
    calls = make_calls([embedded, asked, embedded, _call("task-embeddings", 2, (800, 0))])

    rows = inflation(calls).set_index("task")

    assert rows.loc["x", "baseline_tokens_mean"] == 540
    assert rows.loc["task-embeddings", "baseline_tokens_mean"] == 800


def test_a_task_that_is_one_call_without_reasoning_is_its_own_direct_answer(make_calls: Calls) -> None:
    row = inflation(make_calls([_call("x", n, (100 + n, 10)) for n in range(12)]), rng=np.random.default_rng(0)).iloc[0]

    assert row["inflation_billed"] == row["inflation_billed_low"] == row["inflation_billed_high"] == 1


def test_input_alone_is_compared_where_no_task_reports_output(make_calls: Calls) -> None:
    row = inflation(make_calls([_call("x", 1, (100, None)), _call("x", 1, (300, None))])).iloc[0]

    assert (row["counted"], row["inflation_input"]) == ("input", 4)
    assert np.prod([row[f"factor_{name}"] for name in FACTORS]) == pytest.approx(4)
    assert pd.isna(row["inflation_billed"])
    assert (row["calls"], row["calls_partial"]) == (2, 2)


def test_the_six_factors_are_as_worked_by_hand(make_calls: Calls) -> None:
    calls = make_calls(
        [
            _call("once", 1, (80, 20)),
            _call("x", 1, (640, 40), shared_blocks=0, reasoning_tokens=10),
            _call("x", 1, (1280, 40), shared_blocks=10, reasoning_tokens=10),
            _call("x", 1, (640, 50), shared_blocks=0, depth=1, reasoning_tokens=0),
            _call("x", 1, (500, 0), shared_blocks=0, status="error"),
        ]
    )

    row = inflation(calls, baseline="once").iloc[1]
    root, work = 2 * 640 + 2 * 30, 3 * 640 + 60 + 50

    assert row["task"] == "x"
    assert [row[f"factor_{name}"] for name in FACTORS] == pytest.approx(
        [2, root / 200, work / root, (work + 640) / work, (work + 660) / (work + 640), (work + 1160) / (work + 660)]
    )
    assert row["resent_source"] == "blocks"


_tokens = st.one_of(st.none(), st.integers(0, 10**7))
_random_call = st.fixed_dictionaries({
    "task": st.sampled_from(["once", "p", "q"]), "task_id": st.sampled_from("0123"), "depth": st.integers(0, 3),
    "status": st.sampled_from(["ok", "ok", "ok", "error", "cut"]), "input_tokens": _tokens, "output_tokens": _tokens,
    "cache_read_tokens": _tokens, "reasoning_tokens": _tokens, "resent_tokens": _tokens, "system_tokens": _tokens,
    "shared_blocks": st.one_of(st.none(), st.integers(0, 10**5)),
    "continues_call_id": st.sampled_from([None, "0000000000000000"]),
})  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(some=st.lists(_random_call, max_size=15), baseline=st.sampled_from(["once", INTRINSIC]))
def test_the_factors_multiply_to_the_inflation_over_random_call_trees(
    make_calls: Calls, some: list[Any], baseline: str
) -> None:
    calls = make_calls([*some, _call("once", 9, (7, 3)), _call("p", 9, (70, 30))])

    for row in inflation(calls, baseline=baseline).to_dict("records"):
        whole = row["inflation_billed"] if row["counted"] == "input+output" else row["inflation_input"]
        product = np.prod([row[f"factor_{name}"] for name in FACTORS])
        assert product == pytest.approx(whole, rel=1e-9, nan_ok=True)
        if row["counted"] == "input+output" and not pd.isna(row["factor_cache"]):
            assert product * row["factor_cache"] == pytest.approx(row["inflation_computed"], rel=1e-9, nan_ok=True)


@settings(deadline=None, max_examples=15)
@given(some=st.lists(_random_call, max_size=15))
def test_the_ledger_of_a_task_adds_up(make_calls: Calls, some: list[Any]) -> None:
    calls = make_calls([*some, _call("p", 9, (70, 30))])

    booked = ledger(calls)

    assert list(booked.columns) == list(LEDGER_COLUMNS)
    well = calls[calls["status"] == "ok"].groupby(["task", "task_id"])[["input_tokens", "output_tokens"]].sum()
    for row in booked.fillna(0).to_dict("records"):
        told = (
            well.loc[(row["task"], row["task_id"])] if (row["task"], row["task_id"]) in well.index else well.sum() * 0
        )
        assert row["new_tokens"] + row["resent_tokens"] == told["input_tokens"]
        assert row["visible_tokens"] + row["reasoning_tokens"] == told["output_tokens"]
        assert row["cached_tokens"] <= row["input_tokens"]


def test_an_exported_trace_says_that_it_holds_the_baseline_and_can_leave_it_out(
    tmp_path: Path, make_store: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store([*_AGENT, _call("once", 2, (5, 5))])
    said = []
    for options in ([], ["--without-baselines"]):
        with pytest.raises(SystemExit) as ended:
            main(["export", str(store), str(tmp_path / "out.jsonl"), "--format", "mooncake", *options])
        assert ended.value.code == 0
        said.append(capsys.readouterr())

    assert "The baseline, once, is part of the trace; --without-baselines leaves it out." in said[0].err
    assert "3 calls" in said[0].out
    assert "The baseline, once, is no part of the fleet." in said[1].err
    assert "2 calls" in said[1].out
