"""`tokenflation import` as its user sees it."""

import csv
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from tests.importers.test_damaged_logs import SAMPLES
from tests.importers.traces import marker, request, session, write_lines

from tokenflation.cli import main

TRACE = session(request(0.0), marker(0.5, [request(0.5)]), request(1.5))


def _run(*arguments: object) -> int:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def test_the_command_says_what_it_added_and_what_it_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_lines(tmp_path / "a.jsonl", TRACE)
    assert _run("import", file, "--store", tmp_path / "runs.db") == 0
    assert "1 task and 3 calls added, 1 of them in 1 sub-agent run\n" in capsys.readouterr().out
    assert _run("import", file, "--store", tmp_path / "runs.db") == 0
    found = capsys.readouterr().out
    assert "0 tasks and 0 calls added\n" in found
    assert "skipped 1 session: already in the store" in found


def test_bad_input_is_one_line_and_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"id": "s1", "block_size": 64, "requests": [}\n')
    assert _run("import", file, "--store", tmp_path / "runs.db") == 1
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.startswith(f"tokenflation: {file}:1: record is not JSON")
    assert found.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl"]


def test_a_broken_record_is_named_beside_what_was_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_lines(tmp_path / "a.jsonl", TRACE)
    file.write_text(file.read_text() + "not json\n")
    (tmp_path / "notes.txt").write_text("nothing")
    assert _run("import", tmp_path, "--store", tmp_path / "runs.db") == 0
    found = capsys.readouterr().out
    assert "1 task and 3 calls added" in found
    assert "skipped 1 record: not JSON" in found
    assert f"{file}:2" in found
    assert "skipped 1 file: of no known format" in found


def test_every_broken_record_can_be_listed_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_lines(tmp_path / "a.jsonl", TRACE)
    file.write_text(file.read_text() + "not json\n" * 120 + "7\n")
    assert _run("import", file, "--store", tmp_path / "runs.db") == 0
    found = capsys.readouterr().out
    assert f"{file}:6" in found
    assert f"{file}:7" not in found
    assert "and 115 more; --skipped FILE lists all" in found
    assert f"{file}:122: a int instead" in found
    listed = tmp_path / "left-out.csv"
    assert _run("import", file, "--store", tmp_path / "again.db", "--skipped", listed) == 0
    rows = list(csv.DictReader(listed.read_text("utf-8").splitlines()))
    assert [row["where"] for row in rows] == [f"{file}:{line}" for line in range(2, 123)]
    assert {row["reason"] for row in rows} == {"not JSON", "no JSON object"}


def test_wrong_usage_is_exit_code_2(tmp_path: Path) -> None:
    assert _run("import", tmp_path / "a.jsonl") == 2
    assert _run("import", "--store", tmp_path / "runs.db") == 2
    assert _run("import", tmp_path / "a.jsonl", "--store", tmp_path / "runs.db", "--task", "") == 2


def test_a_terminal_sees_progress_on_standard_error_only(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", *(session(request(0.0), id=str(number)) for number in range(50)))
    terminal, side = pty.openpty()
    command = [sys.executable, "-c", "from tokenflation.cli import main; main()", "import", str(file), "--store"]
    done = subprocess.run([*command, str(tmp_path / "runs.db")], stdout=subprocess.PIPE, stderr=side, check=True)
    os.close(side)
    shown = os.read(terminal, 65536)
    os.close(terminal)
    assert b"importing" in shown
    assert done.stdout.startswith(str(tmp_path / "runs.db").encode())


def test_tokens_that_the_log_does_not_report_are_no_sum_of_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.traj"
    file.write_text(SAMPLES["swe.traj"])
    assert _run("import", file, "--store", tmp_path / "runs.db") == 0
    found = capsys.readouterr().out
    assert "input tokens not reported by the log, output tokens not reported by the log\n" in found
    assert _run("import", file, "--store", tmp_path / "runs.db") == 0
    assert "input" not in capsys.readouterr().out


@pytest.mark.parametrize("path", ["-", "/dev/stdin"])
def test_what_comes_through_a_pipe_is_read_as_a_file_is(tmp_path: Path, path: str) -> None:
    file = write_lines(tmp_path / "a.jsonl", TRACE)
    command = [sys.executable, "-c", "from tokenflation.cli import main; main()", "import", path, "--store", "runs.db"]
    done = subprocess.run(command, cwd=tmp_path, input=file.read_text(), stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.startswith("runs.db: 1 task and 3 calls added")
