"""A forecast as a file: every format holds the same table, and a manifest says what it rests on."""

import json
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from tests.analysis.test_forecast_command import recorded

from tokenflation.analysis.planning.parts import Bursts, Growth, Uncertain, Users
from tokenflation.analysis.planning.plan import Plan
from tokenflation.cli.forecast import command
from tokenflation.exporters.demand import plan_given, write_demand
from tokenflation.sdk.errors import ExportError


@pytest.fixture
def demand() -> pd.DataFrame:
    frame = pd.DataFrame({"bucket_start": [0.0, -1.0], "resource": ["concurrent_calls", "tasks"],
                          "statistic": ["p95", "mean"], "value": [1e-9 / 3, 1e9], "unit": ["calls", "tasks/day"]})  # fmt: skip
    frame.attrs["manifest"] = {"kinds": [{"task": "triage", "runs": 12}], "assumptions": ["one"]}
    return frame


def read(file: Path) -> pd.DataFrame:
    if file.suffix == ".parquet":
        import duckdb

        return duckdb.connect().execute("select * from read_parquet(?)", [str(file)]).df()
    return pd.read_csv(file) if file.suffix == ".csv" else pd.read_json(file, precise_float=True)


@pytest.mark.parametrize("name", ["a'b.parquet", "a.csv", "a.json"])
def test_what_is_written_can_be_read_again(demand: pd.DataFrame, tmp_path: Path, name: str) -> None:
    beside = write_demand(demand, tmp_path / name, seed=7)
    pd.testing.assert_frame_equal(read(tmp_path / name), demand, check_dtype=False, rtol=1e-12, atol=0)
    manifest = json.loads(beside.read_text())
    assert (manifest["seed"], manifest["assumptions"], beside.name) == (7, ["one"], f"{name}.manifest.json")
    assert "tokenflation" in manifest["versions"]


def test_an_ending_that_says_no_format_is_refused_before_anything_is_worked_out(tmp_path: Path) -> None:
    (tmp_path / "none.db").touch()
    done = CliRunner().invoke(command, [str(tmp_path / "none.db"), "--tasks-per-day", "5", "-o", "a.xlsx"])
    assert isinstance(done.exception, ExportError)


def test_a_file_without_a_known_ending_and_one_that_cannot_be_written_are_refused(
    demand: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=r"end it in \.parquet"):
        write_demand(demand, tmp_path / "a.xlsx")
    for name in ("a.parquet", "a.csv", "a.json"):
        with pytest.raises(ExportError, match="there is no folder"):
            write_demand(demand, tmp_path / "nowhere" / name)


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".json"])
def test_a_forecast_reads_back_as_it_was_shown_with_all_it_rests_on(tmp_path: Path, ending: str) -> None:
    store, out = recorded(tmp_path, {"triage": 2}), tmp_path / f"demand{ending}"
    options = ["--kind", "triage=5000", "--shape", "business_day", "--seed", "3", "-o", str(out), "--json"]
    done = CliRunner().invoke(command, [str(store), *options], catch_exceptions=False)
    shown = json.loads(done.stdout)
    found = read(out)
    told = pd.DataFrame([*shown["buckets"], *shown["windows"]])
    timed = found[found["bucket_start"] >= 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(timed, told, check_dtype=False, rtol=1e-12, atol=0)
    manifest = json.loads((tmp_path / f"demand{ending}.manifest.json").read_text())
    assert manifest["plan"] == {"tasks_per_day": {"triage": 5000.0}, "day_shape": "business_day"}
    assert [(one["task"], one["runs"]) for one in manifest["kinds"]] == [("triage", 12)]
    assert {**manifest["versions"], "seed": manifest["seed"]} == {**shown_versions(), "seed": 3}
    assert manifest["warnings"] == shown["manifest"]["warnings"]
    assert {"mean_low, mean_high", "day_peak, horizon_peak"} <= set(manifest["methods"])
    assert "kappa" not in json.dumps(manifest)


def shown_versions() -> dict[str, str]:
    return {name: version(name) for name in ("tokenflation", "numpy", "pandas")}


def test_a_plan_is_told_as_it_was_given_without_what_nobody_said() -> None:
    plan = Plan(
        tasks_per_day={"a": Users(users=10, tasks_per_user_per_day=2)},
        growth=Growth(kind="table", table={0: 1.0, 30: 2.0}),
        burstiness=Bursts(kind="trace", times_s=tuple(float(one) for one in range(2_000))),
        assumptions={"tasks_per_day.a.users": Uncertain(cv=0.2)},
    )
    assert json.loads(json.dumps(plan_given(plan))) == {
        "tasks_per_day": {"a": {"users": 10, "tasks_per_user_per_day": 2}},
        "growth": {"kind": "table", "table": {"0": 1.0, "30": 2.0}},
        "burstiness": {"kind": "trace", "times_s": "2,000 numbers"},
        "assumptions": {"tasks_per_day.a.users": {"cv": 0.2}},
    }


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.parquet"])
def test_a_forecast_that_cannot_be_written_whole_leaves_the_one_before(
    demand: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    write_demand(demand, tmp_path / name)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    demand.attrs["manifest"] = {"kinds": float("nan")}  # JSON has no such number

    with pytest.raises(ValueError, match="Out of range float"):
        write_demand(demand.head(1), tmp_path / name)

    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
