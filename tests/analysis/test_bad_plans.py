"""Plans that make no sense: each is refused by a message that names the field and the fix, never by a traceback."""

import re
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analysis.test_forecast import some_calls

pytest.importorskip("yaml", reason="plans as files need PyYAML, of the extra `analysis`")

from tokenflation import analysis as an
from tokenflation.analysis.planning.file import plan_of, read_plan
from tokenflation.analysis.planning.limits import Budget
from tokenflation.analysis.planning.parts import Growth, Timing, nearest
from tokenflation.analysis.planning.plan import Plan
from tokenflation.analysis.whatif import volume_that_fits
from tokenflation.sdk.errors import FrameError, PlanError

FILES = [
    ("", r"the plan is empty; give at least `tasks_per_day: \{triage: 20000\}`"),
    ("# nothing\n", "the plan is empty"),
    ("- tasks_per_day\n", "a plan is a mapping of fields"),
    ("tasks_per_day: 5\ntasks_per_day: 6\n", r"'tasks_per_day' is given twice \(line 2\); keep one of them"),
    ("tasks_per_day: {a: 1, a: 2}\n", "'a' is given twice"),
    ("tasks_per_day: {1: 1, '1': 2}\n", r"plan.tasks_per_day names '1' twice; keep one of them"),
    ("tasks_per_day: [1, 2]\n", r"plan.tasks_per_day is \[1, 2\]; give one number for all kinds, or"),
    ("tasks_per_day: many\n", r"plan.tasks_per_day is 'many'; give one number"),
    ("tasks_per_day: {triage: lots}\n", r"plan.tasks_per_day\['triage'\] is 'lots'; it must be a finite number"),
    ("tasks_per_day: {triage: .nan}\n", r"plan.tasks_per_day\['triage'\] is nan; it must be a finite number"),
    ("tasks_per_day: .inf\n", r"plan.tasks_per_day is inf; it must be a finite number"),
    ("tasks_per_day: {triage: -5}\n", r"plan.tasks_per_day\['triage'\] is -5; it must be at least 0"),
    ("tasks_per_day: 1e99\n", r"plan.tasks_per_day is 1e\+99; it may be at most 1e\+15"),
    (f"tasks_per_day: {'9' * 400}\n", "a number of more than 30 digits; it may be at most"),
    ("tasks_per_day: {triage: {users: 1e12, tasks_per_user_per_day: 1e12}}\n", r"users . tasks_per_user_per_day is 1e"),
    ("tasks_per_day: {triage: {users: 5}}\n", r"plan.tasks_per_day.triage.tasks_per_user_per_day is missing"),
    ("tasks_per_day: {triage: {value: 5}}\n", r"plan.tasks_per_day.triage is uncertain by \{\}; give one of cv"),
    ("tasks_per_day: {triage: {value: 5, cv: -0.3}}\n", r"plan.tasks_per_day.triage.cv is -0.3; it must be at least 0"),
    ("tasks_per_day: {triage: {value: 5, cv: 0.3, sd: 2}}\n", r"plan.tasks_per_day.triage needs one of cv and sd"),
    (
        "tasks_per_day: {triage: {value: 0, cv: 0.3}, b: 1}\n",
        r"plan.tasks_per_day.triage is 0, of which nothing can vary",
    ),
    ("tasks_per_day: {triage: 0}\n", r"plan.tasks_per_day is 0 for every kind; give at least one kind a volume"),
    ("day_shape: flat\n", r"plan.tasks_per_day is missing; give {kind: tasks per day}"),
    ("tasks_per_day: 5\ngrowht: {}\n", r"plan.growht is no field of a plan; did you mean 'growth'?"),
    ("tasks_per_day: 5\nday_shape: busines_day\n", "it may be flat, business_day or 24 hourly weights"),
    ("tasks_per_day: 5\nday_shape: [1, 2]\n", r"plan.day_shape has 2 weights; it needs 24"),
    ("tasks_per_day: 5\nweek_shape: [1, 1, 1, 1, 1, 1, 3]\n", r"plan.week_shape sums to 9; .*Multiply each by 0.7778"),
    ("tasks_per_day: 5\nweek_shape: [0, 0, 0, 0, 0, 0, 0]\n", r"plan.week_shape is all zeros"),
    ("tasks_per_day: 5\nweek_shape: [-1, 2, 2, 1, 1, 1, 1]\n", r"plan.week_shape is -1; it must be at least 0"),
    ("tasks_per_day: 5\ngrowth: {per_day: -1}\n", r"plan.growth.per_day is -1; it must be above -1"),
    (
        "tasks_per_day: 5\ngrowth: {kind: table, table: {0: -1}}\n",
        r"plan.growth.table\[0\] is -1; it must be at least 0",
    ),
    ("tasks_per_day: 5\ngrowth: {kind: table, table: [1, 2]}\n", r"give multiples by day: {0: 1, 90: 2.5}"),
    (
        "tasks_per_day: 5\ngrowth: {kind: linear}\n",
        r"plan.growth.kind is 'linear'; it may be exponential, logistic, table",
    ),
    (
        "tasks_per_day: 5\ndays: 366\ngrowth: {per_day: 1}\n",
        r"plan.growth.per_day brings the volume above .* by day 48",
    ),
    (
        "tasks_per_day: 5\ngrowth: {kind: table, table: {0: 0}}\n",
        r"plan.growth.table leaves no volume within the horizon",
    ),
    (
        "tasks_per_day: 5\ngrowth: {per_day: 0.1, limit: 3}\n",
        r"plan.growth.limit has no effect .*; it takes per_day. .*: logistic",
    ),
    (
        "tasks_per_day: 5\ngrowth: {kind: table, table: {0: 1}, per_day: 0.1}\n",
        r"plan.growth.per_day has no effect .*exponential or logistic",
    ),
    (
        "tasks_per_day: 5\nburstiness: {cv: 0.3}\n",
        r"plan.burstiness.cv has no effect with the kind poisson; .*: modulated",
    ),
    ("tasks_per_day: 5\ngrowth: {kind: exponential}\n", r"plan.growth.per_day is missing; without it .* does not grow"),
    ("tasks_per_day: 5\ngrowth: {kind: logistic, limit: 5}\n", r"plan.growth.per_day is missing"),
    ("tasks_per_day: 5\nburstiness: {kind: modulated}\n", r"plan.burstiness.cv is missing; without it .* poisson"),
    ("tasks_per_day: 5\nburstiness: {kind: hawkes, decay_s: 9}\n", r"plan.burstiness.branching is missing"),
    (
        "tasks_per_day: 5\nburstiness: {kind: sessions, tasks_per_session: 3, decay_s: 9}\n",
        r"decay_s has no effect with the kind sessions; it takes tasks_per_session, gap_s. .*kind: hawkes",
    ),
    (
        "tasks_per_day: 5\ntiming: {ttft_s: 50000, tpot_s: 1}\n",
        r"plan.timing.ttft_s is 50000; it is in seconds, and may be at most 3600",
    ),
    (
        "tasks_per_day: {a: {value: 5, sd: 99}}\n",
        r"plan.tasks_per_day.a is 5 with the sd 99; it may be at most 3 times",
    ),
    (
        "tasks_per_day: 5\ndays: 300\ngrowth: {per_day: {value: 0.01, sd: 0.5}}\n",
        r"plan.growth.per_day has the sd 0.5, which over 300 days is a factor of 3.16e\+64 either way; .*fewer days",
    ),
    ("tasks_per_day: 5\ntiming: {ttft_s: 0.5}\n", r"plan.timing.tpot_s is missing; timing needs ttft_s and tpot_s"),
    ("tasks_per_day: 5\ntiming: fast\n", r"plan.timing is 'fast'; it is a mapping, as in `timing: \{ttft_s: 0.5"),
    ("tasks_per_day: 5\ntiming: {ttft_s: -1, tpot_s: 1}\n", r"plan.timing.ttft_s is -1; it must be above 0"),
    ("tasks_per_day: 5\nburstiness: {kind: trace}\n", r"plan.burstiness.file is missing; a trace needs starts"),
    (
        "tasks_per_day: 5\nburstiness: {kind: trace, file: no.csv}\n",
        r"no.csv cannot be read.*Give the path of a CSV file",
    ),
    (
        "tasks_per_day: 5\nmodels: {triage: {a: 0.5, b: 0.6}}\n",
        r"plan.models\['triage'\] sums to 1.1; .*each by 0.9091",
    ),
    (
        "tasks_per_day: {triage: 5}\nmodels: {triagee: {a: 1}}\n",
        r"plan.models names 'triagee', .*did you mean 'triage'",
    ),
    ("tasks_per_day: 5\nmodels: {a: -0.5, b: 1.5}\n", r"plan.models.*is -0.5; it must be at least 0"),
    ("tasks_per_day: 5\nbudgets: {triage: {max_steps: 4}}\n", "max_steps is no field of a plan"),
    ("tasks_per_day: 5\nbudgets: {max_calls: 0}\n", r"plan.budgets.max_calls is 0; it must be above 0"),
    ("tasks_per_day: 5\nbudgets: {max_cost: 2}\n", r"plan.prices is missing; plan.budgets.max_cost needs a table"),
    ("tasks_per_day: 5\ncache_kept: 2\n", r"plan.cache_kept is 2; it may be at most 1"),
    ("tasks_per_day: 5\ncache_kept: {value: 0.9, sd: 0.5}\n", r"plan.cache_kept is 0.9 with the sd 0.5; .*the sd 0.05"),
    ("tasks_per_day: 5\nassumptions: {growth.per_dai: {sd: 1}}\n", r"plan.assumptions names 'growth.per_dai'"),
    ("tasks_per_day: 5\nlevel: high\n", r"plan.level is 'high'; it must be a finite number"),
    ("tasks_per_day: 5\nlevel: 95\n", r"plan.level is 95; it may be from 0.5 to below 1"),
    ("tasks_per_day: 5\ndays: 1.5\n", r"plan.days is 1.5; it may be a whole number from 1 to 366"),
    ("tasks_per_day: 5\nbucket_s: 700\n", r"plan.bucket_s is 700; it must divide an hour"),
]


@pytest.mark.parametrize(("text", "said"), FILES)
def test_a_bad_file_is_refused_with_its_name_the_field_and_the_fix(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(PlanError, match=said) as refused:
        read_plan(file)
    print(refused.value)
    assert "plan.yaml" in str(refused.value)


@pytest.mark.parametrize(("given", "said"), [
    ({"tasks_per_day": {"triag": 5}}, r"'triag', of which no run was recorded; did you mean 'triage'\?"),
    ({"tasks_per_day": {"zzz": 5}}, r"'zzz', of which no run was recorded; there is 'triage'\."),
    ({"tasks_per_day": 5, "models": {"triag": {"m": 1.0}}}, r"plan\.models names 'triag', .*did you mean 'triage'\?"),
    ({"tasks_per_day": 5, "budgets": {"triag": Budget(max_calls=4)}}, r"plan\.budgets names 'triag', .* 'triage'\?"),
    ({"tasks_per_day": 5, r"models": {"gpt-9": 1.0}}, r"plan\.models\['triage'\] names 'gpt-9'.*there is 'm' \(12 runs\)"),
])  # fmt: skip
def test_what_was_not_recorded_is_refused_with_what_was(given: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=said):
        an.forecast(some_calls(runs=12), Plan(**given))


def test_more_kinds_than_a_fleet_has_are_refused_as_names_of_single_tasks() -> None:
    row = some_calls(runs=1).head(1)
    calls = pd.concat(
        [row.assign(task=f"ticket-{kind}", task_id=f"{kind}-{run}") for kind in range(1_001) for run in (1, 2)]
    )
    with pytest.raises(
        PlanError, match=r"1,001 task kinds; .*A kind is a class of tasks, not one task: .*`tokenflation tasks`"
    ):
        an.forecast(calls, Plan(tasks_per_day=5))


def test_calls_without_times_and_a_plan_without_timing_are_refused_with_the_field() -> None:
    calls = some_calls(runs=12)
    calls["duration_s"] = calls["ttft_s"] = None
    with pytest.raises(FrameError, match=r"plan\.timing"):
        an.forecast(calls.convert_dtypes(), Plan(tasks_per_day=5))


@pytest.mark.parametrize(("given", "said"), [
    ({"growth": Growth(per_day=1.0), "days": 10}, r"plan\.growth multiplies the volume by 512 within 10 days"),
    ({"growth": Growth(kind="table", table={0: 150})}, r"by 150 within 1 day; .*1 in a table is the volume as planned"),
    ({"timing": Timing(ttft_s=500, tpot_s=20)}, r"plan\.timing has a call last [\d,]+ s .* times as long as recorded; its .*seconds"),
])  # fmt: skip
def test_numbers_that_are_probably_in_another_unit_are_warned_of(given: dict[str, Any], said: str) -> None:
    calls = some_calls(runs=12)
    warned = an.forecast(calls, Plan(tasks_per_day=5, **given)).attrs["manifest"]["warnings"]
    assert len([one for one in warned if re.search(said, one)]) == 1
    usual = Plan(tasks_per_day=5, days=10, growth=Growth(per_day=0.05), timing=Timing(ttft_s=0.5, tpot_s=0.02))
    assert not [one for one in an.forecast(calls, usual).attrs["manifest"]["warnings"] if "plan." in one]


def test_a_volume_that_shrinks_to_nothing_is_forecast_as_nothing() -> None:
    demand = an.forecast(some_calls(runs=12), Plan(tasks_per_day=1e4, days=40, growth=Growth(per_day=-0.999)))
    mine = demand[(demand["resource"] == "concurrent_calls") & (demand["bucket_start"] == 39 * 86_400)]
    values = mine.set_index("statistic")["value"]
    assert demand["value"].notna().all()
    assert (values[["mean", "sd", "p99"]] == 0).all()


def test_fields_brought_in_by_a_yaml_merge_give_way_to_those_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(
        "tasks_per_day: {a: &a {users: 5, tasks_per_user_per_day: 2}, b: {<<: *a, users: 7}}\n", encoding="utf-8"
    )
    assert read_plan(file).volumes({"a": 1, "b": 1}) == {"a": 10, "b": 14}


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["trace", "hawkes", "table", "logistic", "1e3", "flat"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.text(max_size=3) | st.integers() | st.sampled_from(
            ["value", "cv", "sd", "kind", "per_day", "limit", "table", "users", "tasks_per_user_per_day", "max_calls",
             "shares", "ttft_s", "tpot_s", "times_s", "cv", "file", "a"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([one.name for one in fields(Plan)] + ["other"]), JUNK, max_size=4), JUNK)
def test_no_content_whatever_gives_anything_but_a_plan_or_a_plan_error(
    content: dict[str, Any], volumes: object
) -> None:
    for given_volumes in (volumes, 5.0):
        with suppress(PlanError):
            assert isinstance(plan_of({"tasks_per_day": given_volumes, **content}), Plan)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([one.name for one in fields(Plan) if one.name != "tasks_per_day"]), JUNK, max_size=3
    )
)
def test_no_argument_whatever_gives_anything_but_a_plan_or_a_plan_error(given: dict[str, Any]) -> None:
    with suppress(PlanError):
        assert Plan(tasks_per_day=5.0, **given).tasks_per_day == 5.0


@pytest.mark.parametrize(("given", "said"), [
    ("prefill", "; did you mean 'prefill_tokens_per_s', 'prefill_no_cache_tokens_per_s' or 'prefill_tokens'?"),
    ("prefull", "; did you mean 'prefill_tokens_per_s', 'prefill_no_cache_tokens_per_s' or 'prefill_tokens'?"),
    ("decode", "; did you mean 'decode_tokens_per_s'?"), ("Concurent_Calls", "; did you mean 'concurrent_calls'?"),
    ("prefill_tokens", "; did you mean 'prefill_tokens'?"), ("gpu", "; there are 'prefill_tokens_per_s', "),
    ("", "; there are 'prefill_tokens_per_s', ")])  # fmt: skip
def test_a_short_or_mistyped_name_is_answered_with_the_nearest(given: str, said: str) -> None:
    names = ("prefill_tokens_per_s", "prefill_no_cache_tokens_per_s", "prefill_tokens", "decode_tokens_per_s",
             "concurrent_calls")  # fmt: skip
    assert nearest(given, names).startswith(said)


def test_a_limit_on_a_shortened_resource_names_those_that_have_the_statistic() -> None:
    with pytest.raises(PlanError, match="no p95 of 'prefill'; did you mean 'prefill_tokens_per_s', 'prefill_no_cache"):
        volume_that_fits(some_calls(), Plan(tasks_per_day=1e4), resource="prefill", limit=3.0)
