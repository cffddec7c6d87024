"""The forecast command: what it prints, and what it refuses."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from tokenflation.cli.forecast import command
from tokenflation.sdk.errors import PlanError
from tokenflation.sdk.records import Call
from tokenflation.sdk.store.write import Batch, open_writer


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return recorded(tmp_path, {"triage": 3, "once": 1})


def recorded(folder: Path, steps_of_kind: dict[str, int], *, runs: int = 12) -> Path:
    calls = []
    for kind, steps in steps_of_kind.items():
        for run in range(runs):
            for step in range(steps):
                name = f"{kind}-{run}"
                calls.append(
                    Call(call_id=f"{name}-{step}", trace_id=name, task=kind, task_id=name, agent="a", agent_run_id=name,
                         step=step, provider="openai", api="openai.chat", model="m", started_at_ns=step * 2 * 10**9,
                         ended_at_ns=step * 2 * 10**9 + 10**9, duration_s=1.0, ttft_s=0.2, stream=True,
                         input_tokens=100 * (step + 1) + run, output_tokens=10, usage_source="provider",
                         usage_complete=True)
                )  # fmt: skip
    path = folder / "runs.db"
    writer = open_writer(path)
    writer.write(Batch(calls=calls))
    writer.close()
    return path


def ask(store: Path, *options: str) -> dict[str, list[dict[str, object]]]:
    done = CliRunner().invoke(command, [str(store), *options, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_json_holds_the_manifest_the_days_totals_and_every_bucket(store: Path) -> None:
    found = ask(store, "--tasks-per-day", "1000")
    totals = {(row["resource"], row["statistic"]): row["value"] for row in found["totals"]}
    assert totals["calls", "mean"] == pytest.approx(3000)
    assert len({row["bucket_start"] for row in found["buckets"]}) == 24
    assert found["manifest"]["level"] == 0.9  # type: ignore[call-overload]


def test_a_baseline_of_single_calls_is_no_part_of_the_fleet_unless_it_is_named(store: Path) -> None:
    kinds = [row["task"] for row in ask(store, "--tasks-per-day", "10")["manifest"]["kinds"]]  # type: ignore[call-overload]
    named = [row["task"] for row in ask(store, "--kind", "once=5", "--kind", "triage=1")["manifest"]["kinds"]]  # type: ignore[call-overload]
    assert (kinds, sorted(named)) == (["triage"], ["once", "triage"])


def test_what_is_assumed_of_calls_is_of_those_of_the_fleet_alone(tmp_path: Path) -> None:
    path = recorded(tmp_path, {"triage": 3, "once": 1})
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE calls SET ttft_s = NULL WHERE step < 2")
        connection.commit()
    of_all = ask(path, "--tasks-per-day", "12")["manifest"]["assumptions"]  # type: ignore[call-overload]
    named = ask(path, "--kind", "triage=12")["manifest"]["assumptions"]  # type: ignore[call-overload]
    counted = (
        "24 of 36 calls have no time to first token: the median share of the duration of streamed calls is prefill."
    )
    assert counted in of_all
    assert counted in named


def test_the_table_for_people_says_what_it_rests_on(store: Path) -> None:
    done = CliRunner().invoke(command, [str(store), "--tasks-per-day", "1000"], catch_exceptions=False)
    assert "What it rests on" in done.stdout
    assert "Any hour (flat day)" in done.stdout


def test_the_table_for_people_says_over_what_time_calls_started_are_counted(store: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("tasks_per_day: 1000\nbucket_s: 300\n")
    hourly = CliRunner().invoke(command, [str(store), "--tasks-per-day", "1000"], catch_exceptions=False).stdout
    finer = (
        CliRunner()
        .invoke(command, [str(store), "--plan", str(plan), "--what-if", "cache=off"], catch_exceptions=False)
        .stdout
    )
    explained = (
        CliRunner().invoke(command, [str(store), "--plan", str(plan), "--explain"], catch_exceptions=False).stdout
    )
    assert "Of calls started, all are of the mean over an hour." in " ".join(hourly.split())
    assert "Any 300 s (flat day)" in finer
    assert "What if: the busiest 300 s" in finer
    assert "theirs are of the mean over 300 s" in " ".join(explained.split())


def test_a_volume_must_be_given_one_way(store: Path) -> None:
    assert CliRunner().invoke(command, [str(store)]).exit_code == 2


def test_a_kind_without_a_number_is_refused_with_an_example(store: Path) -> None:
    with pytest.raises(PlanError, match="KIND=N"):
        CliRunner().invoke(command, [str(store), "--kind", "triage"], catch_exceptions=False)


def test_a_kind_of_which_no_run_was_recorded_is_refused_in_the_words_of_the_option(store: Path) -> None:
    with pytest.raises(
        PlanError, match=r"^--kind names 'triag', of which no run was recorded; did you mean 'triage'\?"
    ):
        CliRunner().invoke(command, [str(store), "--kind", "triag=5"], catch_exceptions=False)


def test_a_kind_given_twice_is_refused_not_counted_once(store: Path) -> None:
    with pytest.raises(PlanError, match=r"'triage' twice"):
        CliRunner().invoke(command, [str(store), "--kind", "triage=1", "--kind", "triage=2"], catch_exceptions=False)


def test_a_negative_seed_is_refused_as_misuse(store: Path) -> None:
    done = CliRunner().invoke(command, [str(store), "--tasks-per-day", "10", "--seed", "-1"], catch_exceptions=False)
    assert done.exit_code == 2
    assert "--seed" in done.stderr


def test_a_kind_that_looks_like_markup_is_shown_as_it_is_called(tmp_path: Path) -> None:
    store = recorded(tmp_path, {"[/]": 2, "[red]x": 2})
    done = CliRunner().invoke(command, [str(store), "--tasks-per-day", "10"], catch_exceptions=False)
    assert "[/]" in done.stdout
    assert "[red]x" in done.stdout


def test_a_planned_number_of_tasks_lacks_no_runs(tmp_path: Path) -> None:
    store = recorded(tmp_path, {"triage": 2}, runs=3)
    shown = CliRunner().invoke(command, [str(store), "--tasks-per-day", "1000"], catch_exceptions=False).stdout
    lines = {line.split("│")[1].strip(): line for line in shown.splitlines() if line.count("│") == 6}
    assert lines["tasks"].count("as planned") == 2
    assert lines["calls"].count("too few runs") == 2
