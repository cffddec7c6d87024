"""The command line as a process: without its script, without packages, on a full disk, stopped by a signal."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tests.analysis.conftest import write_store

from tokenflation.cli import main
from tokenflation.sdk.errors import StoreError


def _ran(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", ["tokenflation.cli", "tokenflation.cli.main"])
def test_the_package_and_its_main_module_run_the_command(module: str, tmp_path: Path) -> None:
    store = write_store(tmp_path / "runs.db", [{"input_tokens": 4321, "output_tokens": 1}])

    shown, missing = _ran(module, "info", store), _ran(module, "info", tmp_path / "none.db")

    assert (shown.returncode, "input 4,321, output 1" in shown.stdout) == (0, True)
    assert missing.returncode == 1
    assert "tokenflation: " in missing.stderr


def test_help_names_the_command_and_not_the_module() -> None:
    shown = _ran("tokenflation.cli", "--help")

    assert shown.stdout.startswith("Usage: tokenflation [OPTIONS] COMMAND")
    assert shown.stderr == ""


_MISSING = [
    (["profile", "runs.db"], "pandas", "analysis"),
    (["plan", "init", "runs.db"], "pandas", "analysis"),
    (["forecast", "runs.db", "--tasks-per-day", "5"], "numpy", "analysis"),
    (["export", "runs.db", "out", "--format", "weka"], "duckdb", "analysis"),
    (["report", "runs.db", "-o", "fleet.html"], "plotly", "report"),
    (["report", "runs.db", "-o", "fleet.html"], "pandas", "report"),
    (["serve", "runs.db"], "uvicorn", "serve"),
    (["demo"], "openai", "demo"),
]


def _without(package: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.modules[{package!r}] = None; from tokenflation.cli import main; main({arguments!r})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "package", "extra"), _MISSING, ids=[f"{words[0]}-{one}" for words, one, _ in _MISSING]
)
def test_a_command_whose_packages_are_missing_has_its_help_and_says_what_to_install(
    words: list[str], package: str, extra: str, tmp_path: Path
) -> None:
    store = str(write_store(tmp_path / "runs.db", [{"input_tokens": 1}]))
    given = [store if word == "runs.db" else word for word in words]

    shown, refused = _without(package, words[0], "--help"), _without(package, *given)

    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"Usage: tokenflation {words[0]} ")
    said = f"tokenflation: `tokenflation {words[0]}` needs packages that are not installed: pip install 'tokenflation[{extra}]'\n"
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", said)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which is as a full disk")
def test_output_that_finds_no_room_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    store = write_store(tmp_path / "runs.db", [{"input_tokens": 4321, "output_tokens": 1}])
    command = [sys.executable, "-m", "tokenflation.cli", "profile", str(store), "--json"]

    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("tokenflation: the output cannot be written: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("stop", "code", "said"), [("SIGTERM", 143, "SIGTERM"), ("SIGINT", 130, "Ctrl-C")])
def test_a_signal_that_stops_an_export_leaves_no_part_of_its_file_and_nothing_beside_the_store(
    stop: str, code: int, said: str, tmp_path: Path
) -> None:
    store = write_store(tmp_path / "runs.db", [{"input_tokens": 4321, "output_tokens": 1}])
    with contextlib.closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")  # as the recorder makes its stores
    program = (
        "import signal, sys\nfrom tokenflation.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # tests in the background are told to ignore it
        "def stop(event, args):\n"
        f"    if event == 'os.rename' and str(args[0]).endswith('.part'): signal.raise_signal(signal.{stop})\n"
        "sys.addaudithook(stop)\nmain()\n"
    )
    command = [sys.executable, "-c", program, "export", str(store), str(tmp_path / "t.jsonl"), "--format", "weka"]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (code, f"\ntokenflation: stopped by {said}.\n")
    assert {path.name for path in tmp_path.iterdir()} <= {"runs.db", "runs.db.key"}


def test_an_error_that_a_signal_ends_in_is_said_to_be_the_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken_off(_store: Path) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise StoreError("the file cannot be read as a store: NOT_IMPLEMENTED")

    monkeypatch.setattr("tokenflation.cli.info.info", broken_off)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(SystemExit) as end:
            main(["info", str(tmp_path / "a.db")])
    finally:
        signal.signal(signal.SIGINT, before)
    assert (end.value.code, capsys.readouterr().err) == (130, "\ntokenflation: stopped by Ctrl-C.\n")


def test_a_program_under_run_has_the_signals_that_it_has_without(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import signal\nprint(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)\n")
    command = [sys.executable, "-m", "tokenflation.cli", "run", "--store", "runs.db", "program.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout == "True\n"
