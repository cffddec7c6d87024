"""When calls run: contexts kept warm between calls, and re-timing that keeps tokens, gaps and order."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analysis.test_forecast import some_calls

from tokenflation import analysis as an
from tokenflation.analysis.fleet.call_times import call_times, numbers, retimed
from tokenflation.analysis.fleet.paths import runs_of
from tokenflation.analysis.fleet.planned import models_of_runs
from tokenflation.analysis.planning.parts import Timing
from tokenflation.sdk.errors import FrameError


def in_turn(*gaps_s: float, **columns: list[object]) -> pd.DataFrame:
    """Calls of 10 s of one run, each so long after the one before it; 100 tokens in for each before, 10 out."""
    starts = np.concatenate(([0.0], np.cumsum(10.0 + np.array(gaps_s))))
    count = len(starts)
    return pd.DataFrame({
        "task": "a", "task_id": "1", "model": "m", "started_at_ns": (starts * 1e9).astype(np.int64), "duration_s": 10.0,
        "ttft_s": 2.0, "input_tokens": 100 * np.arange(1, count + 1), "output_tokens": 10, **columns,
    }).convert_dtypes()  # fmt: skip


def test_a_context_is_warm_in_the_gap_before_the_call_that_goes_on_from_it() -> None:
    warm = runs_of(in_turn(5.0, 40.0), kv_ttl_s=30.0).paths["kv_warm_tokens"]
    assert list(zip(warm.start_s, warm.end_s, warm.load, strict=True)) == [(10.0, 15.0, 110.0), (25.0, 55.0, 210.0)]


def test_a_call_that_asked_for_no_model_is_of_the_one_that_answered() -> None:
    answered = {"model": [None] * 4, "response_model": ["fast", "slow", "slow", "fast"]}
    calls = in_turn(0.0, 0.0, 0.0, **answered, ttft_s=[None] * 4).assign(duration_s=[1.0, 9.0, None, None])
    written = numbers(calls, "output_tokens")
    durations_s, _ = call_times(calls.convert_dtypes(), numbers(calls, "input_tokens"), written, [])
    assert durations_s.tolist() == [1.0, 9.0, 9.0, 1.0]
    assert set(models_of_runs(calls)) == {"fast + slow"}


def test_an_answer_that_came_all_at_once_does_not_say_when_its_first_token_was_there() -> None:
    runs = runs_of(in_turn(0.0, 0.0, ttft_s=[2.0, 2.0, 9.9995], output_tokens=[90] * 3, input_tokens=[100] * 3))
    assert runs.paths["decode_tokens_per_s"].load.tolist() == [90 / 8] * 3
    assert (
        "1 of 3 calls has a time to first token that counts as none: the rest came at once, at more than 10,000 tokens/s."
        in runs.assumptions
    )
    few = runs_of(in_turn(0.0, ttft_s=[2.0, 9.9995], output_tokens=[90, 11]))
    assert few.paths["decode_tokens_per_s"].load.max() == pytest.approx(11 / 1e-3)


def test_where_a_plan_says_how_fast_the_fleet_is_nothing_is_assumed_of_recorded_first_tokens() -> None:
    calls = in_turn(0.0, 0.0, ttft_s=[2.0, None, 9.9995], output_tokens=[90] * 3)
    recorded, planned = (runs_of(calls, timing=one).assumptions for one in (None, Timing(ttft_s=1.0, tpot_s=0.02)))
    assert sum("time to first token" in one for one in recorded) == 2
    assert planned == tuple(one for one in recorded if "time to first token" not in one)


def test_without_a_time_to_live_nothing_is_warm_and_hot_is_as_it_was() -> None:
    with_, without = (runs_of(in_turn(5.0, 40.0), kv_ttl_s=ttl) for ttl in (30.0, 0.0))
    assert len(without.paths["kv_warm_tokens"].run) == 0
    np.testing.assert_array_equal(with_.paths["kv_tokens"].load, without.paths["kv_tokens"].load)


def test_lineage_says_which_context_is_kept() -> None:
    calls = in_turn(5.0, 5.0, call_id=["a", "b", "c"], continues_call_id=[None, None, "a"])
    warm = runs_of(calls, kv_ttl_s=300.0).paths["kv_warm_tokens"]
    assert list(zip(warm.start_s, warm.end_s, warm.load, strict=True)) == [(10.0, 30.0, 110.0)]


def test_of_two_calls_that_go_on_from_one_the_first_ends_its_gap() -> None:
    calls = in_turn(5.0, 5.0, call_id=["a", "b", "c"], continues_call_id=[None, "a", "a"])
    assert runs_of(calls).paths["kv_warm_tokens"].integrals(1)[0] == 5.0 * 110


def test_without_lineage_other_agents_and_models_are_not_gone_on_from() -> None:
    calls = in_turn(5.0, 5.0, agent_run_id=["x", "y", "x"])
    runs = runs_of(calls)
    assert runs.paths["kv_warm_tokens"].integrals(1)[0] == 20.0 * 110
    assert any("no lineage" in note for note in runs.assumptions)


def test_the_time_to_live_bounds_the_warm_context_of_real_like_runs() -> None:
    held = [runs_of(some_calls(), kv_ttl_s=ttl).paths["kv_warm_tokens"].integrals(40).sum() for ttl in (0, 0.5, 5, 300)]
    assert held[0] == 0
    assert held[0] < held[1] < held[2] < held[3]


CALLS = st.lists(
    st.tuples(st.integers(0, 2), st.floats(0, 500), st.floats(0.01, 100), st.integers(0, 9_000), st.integers(0, 900)),
    min_size=1,
    max_size=14,
)
TIMINGS = st.builds(Timing, ttft_s=st.floats(0.01, 5), tpot_s=st.floats(1e-4, 0.2), ttft_s_per_token=st.floats(0, 1e-3))


def made(calls: list[tuple[int, float, float, int, int]]) -> pd.DataFrame:
    run, start, duration, tokens_in, tokens_out = zip(*calls, strict=True)
    return pd.DataFrame({
        "task": "a", "task_id": [str(one) for one in run], "model": "m",
        "started_at_ns": (np.array(start) * 1e9).astype(np.int64), "duration_s": duration,
        "ttft_s": np.array(duration) / 2, "input_tokens": tokens_in, "output_tokens": tokens_out,
    }).convert_dtypes()  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(CALLS, TIMINGS)
def test_retiming_changes_no_sum_of_tokens(calls: list[tuple[int, float, float, int, int]], timing: Timing) -> None:
    before, after = runs_of(made(calls)), runs_of(made(calls), timing=timing)
    pd.testing.assert_frame_equal(before.totals, after.totals)
    count = len(before.kind_of_run)
    for name in ("prefill_tokens_per_s", "prefill_no_cache_tokens_per_s", "decode_tokens_per_s"):
        found, same = (one.paths[name].integrals(count) for one in (after, before))
        np.testing.assert_allclose(found, same, rtol=1e-6, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(CALLS, TIMINGS)
def test_retimed_calls_last_as_the_timing_says(calls: list[tuple[int, float, float, int, int]], timing: Timing) -> None:
    frame = made(calls)
    runs = runs_of(frame, timing=timing)
    tokens_in, tokens_out = (frame[name].to_numpy(dtype=float) for name in ("input_tokens", "output_tokens"))
    lasts = timing.ttft_s + timing.ttft_s_per_token * tokens_in + np.maximum(timing.tpot_s * (tokens_out - 1), 1e-3)
    expected = np.bincount(runs.call_run, lasts, len(runs.kind_of_run))
    np.testing.assert_allclose(runs.paths["concurrent_calls"].integrals(len(expected)), expected, rtol=1e-6)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 60), st.integers(0, 40), st.integers(0, 200)),
        min_size=1,
        max_size=12,
    )
)
def test_retiming_keeps_order_and_gaps(calls: list[tuple[int, int, int, int]]) -> None:
    run, start, was, now = (np.array(column) for column in zip(*calls, strict=True))
    start_s, was_s, now_s = start.astype(float), was.astype(float), now.astype(float)
    found = retimed(run, start_s, was_s, now_s)
    for call in range(len(run)):
        ended = (run == run[call]) & (start_s + was_s <= start_s[call]) & (np.arange(len(run)) != call)
        # Calls of no duration at one instant come in their order.
        ended &= (start_s < start_s[call]) | (np.arange(len(run)) < call)
        if not ended.any():
            assert found[call] == start_s[call]
            continue
        gap = start_s[call] - (start_s + was_s)[ended].max()
        assert found[call] - (found + now_s)[ended].max() == pytest.approx(gap, abs=1e-9)
        assert (found[call] >= (found + now_s)[ended] - 1e-9).all()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60), st.integers(0, 40)), min_size=1, max_size=12))
def test_retiming_to_the_recorded_durations_changes_nothing(calls: list[tuple[int, int, int]]) -> None:
    run, start, was = (np.array(column) for column in zip(*calls, strict=True))
    found = retimed(run, start.astype(float), was.astype(float), was.astype(float))
    np.testing.assert_allclose(found, start, atol=1e-9)


def test_a_call_that_joins_parallel_ones_waits_for_the_slowest_of_them() -> None:
    run, start = np.zeros(3, dtype=np.int64), np.array([0.0, 0.0, 11.0])
    found = retimed(run, start, np.array([10.0, 9.0, 1.0]), np.array([2.0, 30.0, 1.0]))
    assert found.tolist() == [0.0, 0.0, 31.0]


def test_a_faster_fleet_has_fewer_calls_in_flight_and_the_same_tokens() -> None:
    fast, slow = (runs_of(some_calls(), timing=Timing(ttft_s=0.2, tpot_s=one)) for one in (0.005, 0.05))
    busy = [one.paths["concurrent_calls"].integrals(40).sum() for one in (fast, slow)]
    assert busy[0] < busy[1]
    assert fast.paths["decode_tokens_per_s"].integrals(40) == pytest.approx(
        slow.paths["decode_tokens_per_s"].integrals(40)
    )


def test_runs_that_use_nothing_of_a_resource_are_forecast_as_none() -> None:
    calls = some_calls(runs=12)
    calls["output_tokens"] = 0
    demand = an.forecast(calls, an.Plan(tasks_per_day=1e3, kv_ttl_s=0.0))
    nothing = demand[demand["resource"].isin(["decode_tokens_per_s", "kv_warm_tokens", "output_tokens_per_hour"])]
    assert set(nothing["resource"]) == {"decode_tokens_per_s", "kv_warm_tokens", "output_tokens_per_hour"}
    assert (nothing["value"] == 0).all()


@pytest.mark.parametrize("never", [0.0, -3.0])
def test_a_duration_that_no_call_has_counts_as_none(never: float) -> None:
    odd = runs_of(in_turn(5.0, 5.0, duration_s=[10.0, never, 10.0], ttft_s=[2.0, never, 2.0]))
    told = runs_of(in_turn(5.0, 5.0, duration_s=[10.0, None, 10.0], ttft_s=[2.0, None, 2.0]))
    assert odd.assumptions == told.assumptions
    np.testing.assert_array_equal(odd.paths["concurrent_calls"].end_s, told.paths["concurrent_calls"].end_s)


def test_calls_that_all_take_no_time_are_refused_without_a_timing_and_run_with_one() -> None:
    calls = in_turn(5.0, duration_s=[0.0, 0.0], ttft_s=[0.0, 0.0])
    with pytest.raises(FrameError, match=r"plan\.timing with ttft_s and tpot_s"):
        runs_of(calls)
    timed = runs_of(calls, timing=Timing(ttft_s=1.0, tpot_s=0.1)).paths["concurrent_calls"]
    assert timed.integrals(1)[0] == pytest.approx(2 * (1.0 + 0.9))


def test_a_run_that_takes_most_of_the_time_is_warned_of_and_so_are_kinds_without_output() -> None:
    calls = some_calls(runs=12).assign(output_tokens=0)
    calls.loc[calls["task_id"] == "triage-3", "duration_s"] *= 1_000
    manifest = an.forecast(calls, an.Plan(tasks_per_day=100)).attrs["manifest"]
    warned = [one for one in manifest["warnings"] if "longest run" in one]
    assert len(warned) == 1
    assert warned[0].startswith(
        "triage: tail-dominated; without its longest run the mean time in calls would be 97 % lower"
    )
    assert "triage: no recorded call has output tokens, so the forecast has none." in manifest["assumptions"]


def filled_in(**columns: list[object]) -> list[float]:
    """Durations of calls of 10 tokens, the first two of which were recorded with 1 s and 9 s."""
    calls = in_turn(*[0.0] * (len(columns["model"]) - 1), **columns)
    calls = calls.assign(duration_s=[1.0, 9.0, *[None] * (len(calls) - 2)], ttft_s=None).convert_dtypes()
    written = numbers(calls, "output_tokens")
    return call_times(calls, numbers(calls, "input_tokens"), written, [])[0].tolist()


def test_two_models_that_answer_to_one_name_take_each_its_own_time() -> None:
    assert filled_in(model=["auto"] * 4, response_model=["fast", "slow", "slow", "fast"]) == [1.0, 9.0, 9.0, 1.0]


def test_a_call_that_nobody_answered_takes_the_time_of_the_model_that_it_asked_for() -> None:
    found = filled_in(model=["fast", "slow", "slow"], response_model=["fast-v1", "slow-v2", None])
    assert found == [1.0, 9.0, 9.0]


@pytest.mark.parametrize("asked", [None, "auto"])
def test_without_lineage_a_call_goes_on_from_the_model_that_answers_it(asked: str | None) -> None:
    def warm(answering: list[object]) -> float:
        calls = in_turn(5.0, model=[asked] * 2, response_model=answering)
        return float(runs_of(calls).paths["kv_warm_tokens"].integrals(1)[0])

    assert warm(["big", "big"]) == 5.0 * 110
    assert warm(["big", "small"]) == 0.0
