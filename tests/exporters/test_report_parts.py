"""Which part of the tokens goes where, on calls worked out by hand."""

from typing import Any

import numpy as np
import pytest
from tests.browser.frames import agent_rows, calls_frame, fleet

from tokenflation.analysis import profile
from tokenflation.exporters.report.parts import by_kind, by_step, growth


def _call(step: int, tokens: int | None, **more: Any) -> dict[str, Any]:
    run = more.pop("run", "r")
    return {
        "call_id": f"{run}-{step}", "task": "k", "task_id": run, "agent_run_id": run, "step": step,
        "input_tokens": tokens,
    } | more  # fmt: skip


def _split(system: int, resent: int, new: int) -> dict[str, int]:
    return {
        "system_tokens": system, "tool_definition_tokens": 0, "resent_tokens": resent, "tool_result_tokens": 0,
        "new_tokens": new,
    }  # fmt: skip


def test_parts_are_means_per_task_and_sum_to_the_tokens_of_the_kind() -> None:
    calls = fleet()
    shares = by_kind(calls)
    for kind, group in calls.groupby("task"):
        tasks = group["task_id"].nunique()
        for side in ("input", "output"):
            shown = shares[(shares["task"] == kind) & (shares["side"] == side)]["tokens"].sum()
            assert shown == pytest.approx(group[f"{side}_tokens"].sum() / tasks)


def test_a_call_whose_input_is_not_split_stays_a_part_of_its_own() -> None:
    calls = calls_frame([_call(0, 100, **_split(40, 0, 60)), _call(1, 30)])
    shares = by_kind(calls).set_index("part")["tokens"]
    assert shares.to_dict() == {"system prompt": 40, "new": 60, "input, not split": 30}


def test_each_part_of_a_chart_has_a_colour_of_its_own() -> None:
    whole = [_call(0, 100, reasoning_tokens=10, **{**_split(20, 20, 20), "tool_result_tokens": 20}), _call(1, 10)]
    shares = by_kind(calls_frame([*whole, _call(2, 30, output_tokens=9)]))
    for _, side in shares.groupby("side"):
        assert side["colour"].is_unique
    assert {"input, not split", "output, reasoning not reported"} <= set(shares["part"])


def test_without_parts_the_input_is_split_by_what_the_cache_held() -> None:
    calls = calls_frame(
        [
            _call(0, 100, cache_read_tokens=0, cache_write_tokens=80),
            _call(1, 300, cache_read_tokens=100, cache_write_tokens=150),
            _call(2, 50, cache_read_tokens=20),
        ]
    )
    shares = by_kind(calls).set_index("part")["tokens"]
    assert shares.to_dict() == {"read from the cache": 120, "written to the cache": 230, "fresh": 100}
    assert shares["fresh"] == profile(calls)["fresh_tokens_mean"].iloc[0]


def test_a_part_that_no_step_has_takes_no_place_among_them() -> None:
    steps = by_step(calls_frame([_call(0, 100, cache_read_tokens=0), _call(1, 300, cache_read_tokens=100)]))
    assert steps["part"].unique().tolist() == ["read from the cache", "fresh"]


def test_shared_blocks_stand_in_for_cache_reads_and_never_exceed_the_input() -> None:
    calls = calls_frame([_call(0, 100, shared_blocks=0), _call(1, 100, shared_blocks=2)])
    shares = by_kind(calls).set_index("part")["tokens"]
    assert shares.to_dict() == {"seen before, in whole blocks": 100, "not seen before": 100}


def test_a_kind_that_reports_nothing_has_no_row() -> None:
    assert by_kind(calls_frame([_call(0, None)])).empty


def test_steps_are_means_over_the_calls_that_reach_them() -> None:
    calls = calls_frame(
        [
            _call(0, 100, **_split(40, 0, 60)),
            _call(1, 200, **_split(40, 100, 60)),
            _call(0, 300, run="s", **_split(40, 0, 260)),
        ]
    )
    steps = by_step(calls)
    assert steps.groupby("first")["tokens"].sum().to_dict() == {0: 200, 1: 200}
    assert steps.drop_duplicates("first")["runs"].tolist() == [2, 1]


def test_long_runs_are_binned_and_their_tail_holds_every_later_step() -> None:
    long = [_call(step, 1_000, run=f"long{run}") for run in range(9) for step in range(200)]
    calls = calls_frame(long + [_call(step, 1_000, run="longest") for step in range(900)])
    bins = by_step(calls).drop_duplicates("first")
    assert len(bins) <= 41
    assert bins["calls"].sum() == len(calls)
    assert bins["last"].isna().tolist() == [False] * (len(bins) - 1) + [True]


def test_sub_agents_do_not_count_as_steps_of_the_outer_run() -> None:
    calls = calls_frame(agent_rows(np.random.default_rng(1), "k", 0, mean_steps=9, sub_agent=True))
    outer = calls[calls["depth"] == 0]
    assert by_step(calls).drop_duplicates("first")["calls"].sum() == len(outer)


def test_growth_draws_at_most_sixty_runs_the_shortest_and_the_longest_among_them() -> None:
    rows = [_call(step, 10 * step + run, run=f"r{run}") for run in range(100) for step in range(run + 1)]
    bands, lines = growth(calls_frame(rows))
    assert lines["agent_run_id"].nunique() == 60
    assert {"r0", "r99"} <= set(lines["agent_run_id"])
    assert bands["runs"].min() >= 5


def test_growth_bands_are_quantiles_over_runs() -> None:
    rows = [_call(step, (run + 1) * 100, run=f"r{run}") for run in range(11) for step in (0, 1)]
    bands, _ = growth(calls_frame(rows))
    assert [float(bands[name].iloc[0]) for name in ("p10", "p50", "p90")] == [200, 600, 1_000]


def test_a_long_run_keeps_its_last_call_when_it_is_thinned() -> None:
    _, lines = growth(calls_frame([_call(step, step + 1) for step in range(2_003)]))
    assert len(lines) < 300
    assert lines["step"].max() == 2_002


def test_tasks_that_report_nothing_of_a_side_are_no_tasks_that_took_nothing() -> None:
    calls = calls_frame([_call(0, 100, run="a", output_tokens=8), _call(0, 300, run="b", output_tokens=None)])
    shares = by_kind(calls).groupby("side")["tokens"].sum()
    assert shares.to_dict() == {"input": 200, "output": 8}
