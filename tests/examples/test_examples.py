"""Every example runs, offline, and records what it says it records."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_runs_without_a_warning_and_records_its_calls(path: Path, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    with sqlite3.connect(tmp_path / f"{path.stem}.db") as store:
        (calls, unknown) = store.execute("SELECT count(*), count(*) - count(input_tokens) FROM calls").fetchone()
    store.close()
    assert calls >= 2
    assert unknown == 0


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_under_run_records_to_the_store_that_run_names(path: Path, tmp_path: Path) -> None:
    run = [sys.executable, "-c", "from tokenflation.cli import main; main()", "run", "--store", "named.db"]
    ran = subprocess.run([*run, str(path)], check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert "calls recorded to named.db" in ran.stderr
    assert sorted(found.name for found in tmp_path.iterdir()) == ["named.db", "named.db.key"]


def test_every_example_is_under_sixty_lines() -> None:
    assert [path.name for path in EXAMPLES.glob("*.py") if len(path.read_text().splitlines()) >= 60] == []
