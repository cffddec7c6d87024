"""Plans as files: what is written can be read, and what makes no sense is named with its field and the fix."""

import json
import sqlite3
from contextlib import closing
from dataclasses import fields as dataclass_fields
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytest.importorskip("yaml", reason="plans as files need PyYAML, of the extra `analysis`")

from tokenflation.analysis.planning.file import plan_of, read_plan, template
from tokenflation.analysis.planning.parts import Growth
from tokenflation.analysis.planning.plan import Plan
from tokenflation.cli.forecast import command as forecast
from tokenflation.cli.plan import command as plan
from tokenflation.sdk.errors import PlanError
from tokenflation.sdk.records import Call
from tokenflation.sdk.store.write import Batch, open_writer


@pytest.fixture
def store(tmp_path: Path) -> Path:
    calls = [
        Call(call_id=f"{kind}-{run}-{step}", trace_id=f"{kind}-{run}", task=kind, task_id=f"{kind}-{run}", agent="a",
             agent_run_id=f"{kind}-{run}", step=step, provider="openai", api="openai.chat", model="m",
             started_at_ns=step * 2 * 10**9, ended_at_ns=step * 2 * 10**9 + 10**9, duration_s=1.0, ttft_s=0.2,
             stream=True, input_tokens=100 * (step + 1) + run, output_tokens=10, usage_source="provider",
             usage_complete=True)
        for kind in ("triage", "odd: #kind")
        for run in range(12)
        for step in range(3)
    ]  # fmt: skip
    path = tmp_path / "runs.db"
    writer = open_writer(path)
    writer.write(Batch(calls=calls))
    writer.close()
    return path


def test_a_plan_written_from_a_store_can_be_forecast_as_it_is(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    done = CliRunner().invoke(plan, ["init", str(store), "-o", str(file)], catch_exceptions=False)
    assert done.exit_code == 0
    assert dict(read_plan(file).tasks_per_day) == {"triage": 1_000, "odd: #kind": 1_000}  # type: ignore[arg-type]
    shown = CliRunner().invoke(forecast, [str(store), "--plan", str(file)], catch_exceptions=False)
    assert "day's peak" in shown.stdout


def test_volumes_are_per_day_of_the_whole_recording_however_few_and_however_close_the_runs_of_a_kind(
    store: Path, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(store)) as connection, connection:
        since = "started_at_ns + 1788000000000000000 + (task = 'triage') * cast(substr(task_id, 8) as int) * 2 * 86400000000000"
        connection.execute(
            f"update calls set ended_at_ns = ended_at_ns - started_at_ns + {since}, started_at_ns = {since}"
        )
    file = tmp_path / "plan.yaml"
    CliRunner().invoke(plan, ["init", str(store), "-o", str(file)], catch_exceptions=False)
    # Of each kind 12 runs, in 22 days; those of one began in the same minute.
    assert read_plan(file).tasks_per_day == {"triage": 0.55, "odd: #kind": 0.55}


def test_a_kind_that_a_plan_leaves_out_as_a_baseline_is_said_to_be(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    writer = open_writer(store)
    once = {"provider": "openai", "api": "openai.chat", "usage_source": "provider", "usage_complete": True}
    writer.write(Batch(calls=[Call(call_id="t", trace_id="t", task="title", task_id="t", agent="a", agent_run_id="t",
                                   started_at_ns=1, ended_at_ns=2, input_tokens=5, output_tokens=1, **once)]))  # type: ignore[arg-type]  # fmt: skip
    writer.close()
    done = CliRunner().invoke(plan, ["init", str(store), "-o", str(file)], catch_exceptions=False)
    assert "title" not in dict(read_plan(file).tasks_per_day)  # type: ignore[arg-type]
    assert "The baseline, title, is no part of the fleet." in done.stderr


def test_every_choice_of_the_template_can_be_taken(tmp_path: Path) -> None:
    import yaml

    (tmp_path / "arrivals.csv").write_text("\n".join(str(one * one) for one in range(200)))
    (tmp_path / "prices.csv").write_text("model,input,output\nm,3,15\n")
    fields = {one.name for one in dataclass_fields(Plan)}
    taken = []
    for line in template({"a": 12}, models={"a": {"m": 5, "m + n": 7}}).splitlines():
        choice = line.removeprefix("# ")
        if line.startswith("# ") and choice.split(":")[0] in fields:
            plan_of({"tasks_per_day": 10, **yaml.safe_load(choice)}, folder=tmp_path)
            taken.append(choice.split(":")[0])
    assert len(taken) >= 18
    assert {"models", "budgets", "prices", "cache_kept", "growth", "burstiness", "timing"} <= set(taken)


def test_a_plan_that_is_there_is_not_replaced(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("mine")
    with pytest.raises(PlanError, match="another -o FILE"):
        CliRunner().invoke(plan, ["init", str(store), "-o", str(file)], catch_exceptions=False)
    assert file.read_text() == "mine"


def test_an_option_that_the_plan_stands_in_for_is_refused(store: Path, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("tasks_per_day: 10")
    done = CliRunner().invoke(forecast, [str(store), "--plan", str(tmp_path / "p.yaml"), "--days", "3"])
    assert (done.exit_code, "--days" in done.stderr) == (2, True)


def test_numbers_with_an_exponent_are_numbers_and_users_multiply() -> None:
    found = plan_of({"tasks_per_day": {"a": "1e6", "b": {"users": 20, "tasks_per_user_per_day": 3}}})
    assert found.volumes({"a": 1, "b": 1}) == {"a": 1e6, "b": 60.0}


@pytest.mark.parametrize(("content", "said"), [
    ({}, "plan.tasks_per_day is missing"),
    ([], "a plan is a mapping"),
    ({"tasks_per_day": 1, "burstines": {}}, "did you mean 'burstiness'"),
    ({"tasks_per_day": {"a": {"users": 5}}}, "plan.tasks_per_day.a.tasks_per_user_per_day is missing"),
    ({"tasks_per_day": {"a": {"users": -5, "tasks_per_user_per_day": 1}}}, "users is -5"),
    ({"tasks_per_day": {"a": "many"}}, "must be a finite number"),
    ({"tasks_per_day": 1, "day_shape": [2.0] * 24}, "plan.day_shape sums to 48.*Multiply each by 0.5"),
    ({"tasks_per_day": 1, "day_shape": [1.0] * 23}, "plan.day_shape has 23 weights; it needs 24"),
    ({"tasks_per_day": 1, "day_shape": ["x"] * 24}, "list of 24 numbers"),
    ({"tasks_per_day": 1, "week_shape": 5}, "plan.week_shape is 5"),
    ({"tasks_per_day": 1, "growth": {"per_day": -2}}, "plan.growth.per_day is -2"),
    ({"tasks_per_day": 1, "growth": {"kind": "logistic", "per_day": 0.1}}, "plan.growth.limit is missing"),
    ({"tasks_per_day": 1, "growth": {"kind": "table", "table": {0: -1}}}, r"plan.growth.table\[0\] is -1"),
    ({"tasks_per_day": 1, "growth": 0.01}, "it is a mapping, as in `growth"),
    ({"tasks_per_day": 1, "burstiness": {"kind": "hawkes", "branching": 1}}, "plan.burstiness.branching is 1"),
    ({"tasks_per_day": 1, "burstiness": {"kind": "wild"}}, "plan.burstiness.kind is 'wild'"),
    ({"tasks_per_day": 1, "timing": {"ttft_s": 1}}, "plan.timing.tpot_s is missing"),
])  # fmt: skip
def test_a_bad_plan_is_told_by_its_field(content: object, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        plan_of(content)


@pytest.mark.parametrize("text", ["a: [", "a: 1\na: 2", "\x00", "- 1", "? {}: 1", "&a [*a]", "{[]: 1}"])
def test_a_file_that_is_no_plan_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    with pytest.raises(PlanError, match=r"plan\.yaml"):
        read_plan(file)


def test_a_plan_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(PlanError, match="nowhere"):
        read_plan("nowhere.yaml")


def test_growth_follows_its_form() -> None:
    days = np.arange(0.0, 200.0)
    logistic = Growth(kind="logistic", per_day=0.1, limit=5.0).levels(days)
    assert logistic[0] == pytest.approx(1.0)
    assert logistic[-1] == pytest.approx(5.0, rel=1e-4)
    assert (np.diff(logistic) > 0).all()
    table = Growth(kind="table", table={0: 1, 10: 3}).levels(days)
    assert list(table[[0, 5, 10, 100]]) == [1.0, 2.0, 3.0, 3.0]


def test_a_plan_with_a_trace_models_budgets_and_doubts_is_forecast_with_what_it_rests_on(
    store: Path, tmp_path: Path
) -> None:
    (tmp_path / "arrivals.csv").write_text("time\n" + "\n".join(f"{one // 5 * 60 + one % 5}" for one in range(500)))
    (tmp_path / "prices.csv").write_text("model,input,output\nm*,3,15\n")
    (tmp_path / "plan.yaml").write_text("""
tasks_per_day: {triage: {users: {value: 2000, cv: 0.3}, tasks_per_user_per_day: 6}, "odd: #kind": 10}
models: {triage: {m: 1}}
budgets: {triage: {max_calls: 2, max_cost: 5}}
prices: prices.csv
growth: {kind: exponential, per_day: {value: 0.01, sd: 0.005}}
burstiness: {kind: trace, file: arrivals.csv}
days: 2
""")
    done = CliRunner().invoke(
        forecast, [str(store), "--plan", str(tmp_path / "plan.yaml"), "--json"], catch_exceptions=False
    )
    manifest = json.loads(done.stdout)["manifest"]
    assert sorted(row["task"] for row in manifest["kinds"]) == ["odd: #kind", "triage on m"]
    assert (manifest["budgets"][0]["cut"], manifest["budgets"][0]["runs"]) == (12, 12)
    assert {row["assumption"] for row in manifest["uncertain"]} == {"tasks_per_day.triage.users", "growth.per_day"}
    widest = next(row for row in manifest["effects"] if row["resource"] == "concurrent_calls")
    assert widest["assumption"] == "tasks_per_day.triage.users"
    said = " ".join(manifest["assumptions"])
    assert "cuts 12 of 12 runs, which saves 33.3 % of the calls" in said
    assert "arrivals.csv (500 starts in 1.65 h;" in said
    assert "in 8 of 10 draws from 1,315 to 2,791" in said


def test_the_models_that_were_recorded_are_offered_with_their_shares() -> None:
    import yaml

    text = template({"a": 10, "b": 3}, models={"a": {"x": 7, "y: z": 3}, "b": {"x": 3}})
    line = next(one for one in text.splitlines() if one.startswith("# models: "))
    assert yaml.safe_load(line.removeprefix("# ")) == {"models": {"a": {"x": 0.7, "y: z": 0.3}}}


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.just(10), min_size=1, max_size=3))
@example({"two\nlines": 10, "a: b": 10, "null": 10, "12": 10})
@settings(max_examples=60, deadline=None)
def test_a_template_names_every_kind_whatever_it_is_called(recorded: dict[str, int]) -> None:
    # What cannot be written down at all is no name of a task.
    kinds = {name: one for name, one in recorded.items() if name.encode("utf-8", "ignore").decode() == name}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "plan.yaml"
        file.write_text(template(kinds or {"a": 10}), encoding="utf-8")
        volumes = read_plan(file).tasks_per_day
    assert isinstance(volumes, dict)
    assert list(volumes) == list(kinds or {"a": 1})
