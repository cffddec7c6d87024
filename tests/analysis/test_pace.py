"""What a computed token takes, as recorded times tell it, and calls that compute more or fewer of them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from tests.analysis.test_forecast_command import recorded

from tokenflation.analysis.fleet.pace import prefill_pace, repaced
from tokenflation.analysis.fleet.paths import runs_of
from tokenflation.analysis.whatif import caching_off, caching_on
from tokenflation.cli.forecast import command

PACE = 2e-5


def growing(
    runs: int = 10, steps: int = 8, *, pace: float = PACE, noise: float = 0.1, model: str = "m"
) -> pd.DataFrame:
    """Runs whose contexts grow by 5,000 tokens a step, all cached but the new; 10 s of decode, 5 s between calls."""
    rng = np.random.default_rng(3)
    rows = []
    for run in range(runs):
        clock_s, context = 0.0, 0
        for step in range(steps):
            new = int(rng.integers(500, 10_000))
            ttft_s = 0.5 + pace * new + noise * float(rng.exponential())
            rows.append({
                "call_id": f"{run}-{step}", "continues_call_id": f"{run}-{step - 1}" if step else None, "task": "a",
                "task_id": f"{run}", "agent_run_id": f"{run}", "model": model, "started_at_ns": int(clock_s * 1e9),
                "duration_s": ttft_s + 10.0, "ttft_s": ttft_s, "ended_at_ns": int((clock_s + ttft_s + 10.0) * 1e9),
                "input_tokens": context + new, "cache_read_tokens": context, "output_tokens": 100, "attempts": 1,
            })  # fmt: skip
            clock_s, context = clock_s + ttft_s + 15.0, context + new
    return pd.DataFrame(rows).convert_dtypes()


def test_the_pace_is_recovered_through_noise_and_model_by_model() -> None:
    calls = pd.concat([growing(40), growing(40, pace=6e-5, model="slow").assign(task="b")], ignore_index=True)
    found = prefill_pace(calls)
    assert found["m"] == pytest.approx(PACE, rel=0.15)
    assert found["slow"] == pytest.approx(6e-5, rel=0.15)


def test_two_models_that_answer_to_one_name_have_each_its_own_pace() -> None:
    calls = pd.concat([growing(40), growing(40, pace=6e-5, model="slow").assign(task="b")], ignore_index=True)
    found = prefill_pace(calls.assign(model="auto", response_model=calls["model"]))
    assert found == prefill_pace(calls)


def test_times_that_do_not_rise_with_the_tokens_or_are_few_tell_no_pace() -> None:
    assert prefill_pace(growing(40, pace=0.0)) == {}
    assert prefill_pace(growing(4)) == {}
    unstreamed = growing(40).assign(ttft_s=pd.array([None] * 320, dtype="Float64"))
    assert prefill_pace(unstreamed) == {}
    pd.testing.assert_frame_equal(repaced(unstreamed, caching_off(unstreamed)), caching_off(unstreamed))


def test_without_a_cache_calls_take_as_much_longer_as_what_it_held_takes_to_compute() -> None:
    calls = growing(noise=0.0)
    found = repaced(calls, caching_off(calls))
    more = PACE * calls["cache_read_tokens"].to_numpy(dtype=np.float64)
    np.testing.assert_allclose((found["ttft_s"] - calls["ttft_s"]).to_numpy(dtype=np.float64), more, rtol=1e-6)
    np.testing.assert_allclose((found["duration_s"] - calls["duration_s"]).to_numpy(dtype=np.float64), more, rtol=1e-6)
    # Little's law: the time in calls grows by what is computed more.
    before, after = (runs_of(one).paths["concurrent_calls"].integrals(10).sum() for one in (calls, found))
    assert after - before == pytest.approx(more.sum(), rel=1e-6)


def test_what_comes_after_a_longer_call_starts_as_long_after_it_as_it_did() -> None:
    calls = growing(noise=0.0)
    found = repaced(calls, caching_off(calls))
    gaps = [(one["started_at_ns"] - one["ended_at_ns"].shift()).dropna().to_numpy(dtype=np.float64)
            for frame in (calls, found) for _, one in frame.groupby("task_id")]  # fmt: skip
    np.testing.assert_allclose(np.concatenate(gaps), 5e9, atol=1e3)


def test_a_cache_switched_on_takes_back_what_switching_it_off_added() -> None:
    calls = growing(noise=0.0)
    off = repaced(calls, caching_off(calls))
    on = repaced(off, caching_on(off))
    for name in ("duration_s", "ttft_s", "started_at_ns"):
        again, was = (one[name].to_numpy(dtype=np.float64) for one in (on, calls))
        np.testing.assert_allclose(again, was, rtol=1e-6)


@pytest.mark.parametrize(("options", "said"), [
    ((), "do not tell what a computed token takes; give plan.timing."),
    (("--plan",), "calls are re-timed by plan.timing."),
])  # fmt: skip
def test_the_answer_says_how_long_calls_take_without_the_cache(
    tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    store = recorded(tmp_path, {"triage": 3})
    plan = tmp_path / "plan.yaml"
    plan.write_text("tasks_per_day: 1000\ntiming: {ttft_s: 0.5, tpot_s: 0.02}\n", encoding="utf-8")
    asked = [*options, str(plan)] if options else ["--tasks-per-day", "1000"]
    done = CliRunner().invoke(command, [str(store), *asked, "--what-if", "cache=off", "--json"], catch_exceptions=False)
    sentences = json.loads(done.stdout)["manifest"]["what_ifs"]["cache=off"]
    assert len(sentences) == 1
    assert sentences[0].startswith("all input is computed; ")
    assert sentences[0].endswith(said)
