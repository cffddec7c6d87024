"""What-ifs, volumes that fit and explanations from the command line: what they answer, and what they refuse."""

import csv
import json
import lzma
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.analysis.test_forecast_command import recorded

from tokenflation.cli.forecast import command
from tokenflation.sdk.errors import PlanError
from tokenflation.sdk.importers import import_paths

SESSIONS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "agent_sessions" / "sessions.jsonl.xz"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("runs"), {"triage": 3, "research": 8})


def ask(store: Path, *options: str) -> dict[str, Any]:
    done = CliRunner().invoke(
        command, [str(store), "--tasks-per-day", "100000", *options, "--json"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def answers(store: Path) -> dict[str, Any]:
    """Return the answers to several questions at once: forecasts take their time."""
    changes = ("cache=off", "compact_at=300", "compact_at=300,cache=off")
    asked = [word for change in changes for word in ("--what-if", change)]
    return ask(store, *asked, "--fits", "input_tokens@mean=1e9", "--explain", "--target", "0.001")


def shown(store: Path, *options: str) -> str:
    done = CliRunner().invoke(command, [str(store), "--tasks-per-day", "100000", *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_what_if_stands_beside_the_base_with_its_change(answers: dict[str, Any]) -> None:
    of = {(row["what_if"], row["resource"]): row for row in answers["what_if"]}
    assert of["base", "prefill_tokens_per_s"]["mean_change"] == 0
    assert of["cache=off", "decode_tokens_per_s"]["mean_change"] == pytest.approx(0, abs=1e-9)
    less = of["compact_at=300", "input_tokens"]
    assert less["mean_change"] == pytest.approx(less["mean"] / of["base", "input_tokens"]["mean"] - 1)
    assert less["mean_change"] < 0 < of["compact_at=300", "calls"]["mean_change"]


def test_changes_with_a_comma_between_hold_together(answers: dict[str, Any]) -> None:
    of = {(row["what_if"], row["resource"]): row["mean"] for row in answers["what_if"]}
    both = "compact_at=300,cache=off"
    assert of[both, "prefill_tokens"] == pytest.approx(of[both, "input_tokens"])
    assert of[both, "input_tokens"] < of["base", "input_tokens"]


@pytest.mark.parametrize(
    "text", ["", "cache", "cache=maybe", "max_depth=-1", "compact_at=many", "depth=2", "model:m=m", "model:=n"]
)
def test_a_change_that_makes_no_sense_is_refused_with_the_forms_there_are(store: Path, text: str) -> None:
    with pytest.raises(PlanError, match=r"--what-if .*(write|name another)"):
        shown(store, "--what-if", text)


def test_what_the_record_cannot_tell_is_refused_by_the_option_that_asks_it(store: Path) -> None:
    with pytest.raises(PlanError, match=r"--what-if cache=on: .*these calls have neither"):
        shown(store, "--what-if", "cache=on")


def test_a_model_that_nobody_recorded_is_refused_with_the_option_and_what_there_is(store: Path) -> None:
    with pytest.raises(PlanError, match=r"--what-if model:m=n: no run .*The recorded models are 'm'"):
        shown(store, "--what-if", "model:m=n")


def test_the_volume_that_fits_reaches_its_limit_in_a_forecast_of_it(store: Path) -> None:
    (row,) = ask(store, "--fits", "concurrent_calls@day_peak_p95=50")["fits"]
    found = CliRunner().invoke(command, [str(store), "--tasks-per-day", str(row["tasks_per_day"]), "--json"])
    peaks = {
        one["resource"]: one["value"]
        for one in json.loads(found.stdout)["totals"]
        if one["statistic"] == "day_peak_p95"
    }
    assert peaks["concurrent_calls"] == pytest.approx(50, rel=0.02)
    assert row["factor"] == pytest.approx(row["tasks_per_day"] / 100_000)


def test_each_what_if_has_its_own_volume_that_fits(answers: dict[str, Any]) -> None:
    volumes = {row["what_if"]: row["tasks_per_day"] for row in answers["fits"]}
    assert list(volumes) == ["base", "cache=off", "compact_at=300", "compact_at=300,cache=off"]
    assert volumes["cache=off"] == volumes["base"] < volumes["compact_at=300"]


@pytest.mark.parametrize("text", ["prefill", "=3", "decode_tokens_per_s=-1", "decode_tokens_per_s=nan", "gpu=3"])
def test_a_limit_that_makes_no_sense_is_refused_by_its_option(store: Path, text: str) -> None:
    with pytest.raises(PlanError, match="--fits"):
        shown(store, "--fits", text)


def test_csv_prints_the_answer_that_was_asked_for_and_no_two_at_once(store: Path) -> None:
    rows = list(csv.DictReader(shown(store, "--what-if", "cache=off", "--csv").splitlines()))
    assert {row["what_if"] for row in rows} == {"base", "cache=off"}
    done = CliRunner().invoke(
        command, [str(store), "--tasks-per-day", "1", "--fits", "tasks@mean=1", "--what-if", "cache=on", "--csv"]
    )
    assert done.exit_code == 2
    assert "--json for all" in done.stderr


def test_the_page_shows_what_ifs_and_volumes_in_tables(store: Path) -> None:
    page = shown(store, "--what-if", "cache=off", "--fits", "tasks@mean=5000")
    assert "What if: the busiest hour" in page
    assert "cache=off: all input is computed" in page
    assert "Which volume fits" in page
    assert "tasks@mean = 5.00k" in page


def test_the_explanation_says_what_was_recorded_refused_and_is_to_be_recorded_next(answers: dict[str, Any]) -> None:
    told = answers["explain"]
    assert any("`triage`: 12 runs; one takes" in one for one in told["What the recorded runs say"])
    assert any(
        "p95 needs 45 finished runs; there are 12. p99 needs 230" in one for one in told["What was refused, and why"]
    )
    assert any("more runs of `research`" in one for one in told["What to record next"])
    assert any("as its part in ± 0.1 % of the fleet's mean input" in one for one in told["What to record next"])


def test_the_explanation_means_what_the_forecast_means_where_runs_report_nothing(tmp_path: Path) -> None:
    store = recorded(tmp_path, {"triage": 1})
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE calls SET input_tokens = NULL WHERE task_id IN ('triage-0', 'triage-1')")
    found = ask(store, "--explain")
    (mean,) = [
        row["value"] for row in found["totals"] if (row["resource"], row["statistic"]) == ("input_tokens", "mean")
    ]
    assert f"one takes {mean / 100_000:,.0f} input" in found["explain"]["What the recorded runs say"][0]


def test_the_explanation_refuses_an_interval_of_one_run_in_the_singular(tmp_path: Path) -> None:
    recorded(tmp_path, {"triage": 2})
    store = recorded(tmp_path, {"rare": 2}, runs=1)
    page = " ".join(shown(store, "--explain").split())
    assert "`rare`: no interval; 1 run is recorded" in page
    assert "1 runs" not in page
    assert "At least 9 more of `rare`" in page


def test_a_fleet_of_which_one_run_is_recorded_is_refused_with_the_fix(tmp_path: Path) -> None:
    store = recorded(tmp_path, {"triage": 2}, runs=1)
    with pytest.raises(PlanError, match=r"plan.tasks_per_day rests on one recorded run of 'triage'.*Record at least 9"):
        shown(store, "--explain")


def test_the_three_uncertainties_of_each_load_add_up_to_all_of_it(answers: dict[str, Any]) -> None:
    for sentence in answers["explain"]["How sure it is"]:
        if sentence.startswith("Of the variance"):
            shares = [int(number) for number in re.findall(r"(\d+) %", sentence)]
            assert shares
            assert 99 <= sum(shares) <= 101


def test_a_file_of_what_ifs_tells_them_apart(store: Path, tmp_path: Path) -> None:
    shown(store, "--what-if", "cache=off", "-o", str(tmp_path / "a.csv"))
    with (tmp_path / "a.csv").open() as file:
        assert {row["what_if"] for row in csv.DictReader(file)} == {"base", "cache=off"}
    manifest = json.loads((tmp_path / "a.csv.manifest.json").read_text())
    assert list(manifest["what_ifs"]) == ["cache=off"]


@pytest.mark.shared_data
def test_what_ifs_of_recorded_sessions_move_what_they_must_and_nothing_else(tmp_path: Path) -> None:
    if not SESSIONS.exists():
        pytest.skip(f"{SESSIONS} is not there")
    some, store = tmp_path / "some.jsonl", tmp_path / "runs.db"
    with lzma.open(SESSIONS, "rt") as file:
        some.write_text("".join(line for line, _ in zip(file, range(30), strict=False)))
    import_paths([some], store)
    changes = ("cache=on", "cache=off", "compact_at=60k")
    rows = ask(store, *(word for change in changes for word in ("--what-if", change)))["what_if"]
    of = {(row["what_if"], row["resource"]): row["mean"] for row in rows}
    assert of["cache=on", "prefill_tokens"] <= of["base", "prefill_tokens"] < of["cache=off", "prefill_tokens"]
    assert of["cache=off", "prefill_tokens"] == pytest.approx(of["base", "input_tokens"])
    for untouched in ("decode_tokens_per_s", "requests_per_s", "prefill_no_cache_tokens_per_s"):
        assert of["cache=on", untouched] == pytest.approx(of["base", untouched], rel=0.01)
    assert of["compact_at=60k", "input_tokens"] < of["base", "input_tokens"]
    assert of["compact_at=60k", "calls"] > of["base", "calls"]
