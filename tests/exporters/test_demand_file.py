"""A forecast as a file: every format holds the same table, and a manifest says what it rests on."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tokenflation.exporters.demand import write_demand
from tokenflation.sdk.errors import ExportError


@pytest.fixture
def demand() -> pd.DataFrame:
    frame = pd.DataFrame({"bucket_start": [0.0, -1.0], "resource": ["concurrent_calls", "tasks"],
                          "statistic": ["p95", "mean"], "value": [1 / 3, 1e9], "unit": ["calls", "tasks/day"]})  # fmt: skip
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
    pd.testing.assert_frame_equal(read(tmp_path / name), demand, check_dtype=False, rtol=1e-12)
    manifest = json.loads(beside.read_text())
    assert (manifest["seed"], manifest["assumptions"], beside.name) == (7, ["one"], f"{name}.manifest.json")
    assert "tokenflation" in manifest["versions"]


def test_a_file_without_a_known_ending_and_one_that_cannot_be_written_are_refused(
    demand: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=r"end it in \.parquet"):
        write_demand(demand, tmp_path / "a.xlsx")
    for name in ("a.parquet", "a.csv", "a.json"):
        with pytest.raises(ExportError, match="another file"):
            write_demand(demand, tmp_path / "nowhere" / name)
