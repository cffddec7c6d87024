"""The command line without its script: `python -m tokenflation.cli`."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.analysis.conftest import write_store


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
    (["profile"], "pandas", "analysis"),
    (["plan", "init"], "pandas", "analysis"),
    (["forecast", "runs.db", "--tasks-per-day", "5"], "numpy", "analysis"),
    (["export", "runs.db"], "duckdb", "analysis"),
    (["report", "-o", "fleet.html"], "plotly", "report"),
    (["serve"], "uvicorn", "serve"),
    (["demo"], "openai", "demo"),
]


def _without(package: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.modules[{package!r}] = None; from tokenflation.cli import main; main({arguments!r})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("words", "package", "extra"), _MISSING, ids=[words[0] for words, *_ in _MISSING])
def test_help_of_a_command_whose_packages_are_missing_says_what_it_is_for_and_what_to_install(
    words: list[str], package: str, extra: str
) -> None:
    shown, refused = _without(package, *words, "--help"), _without(package, *words)

    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"Usage: tokenflation {words[0]} ")
    assert f"\n      pip install 'tokenflation[{extra}]'\n" in shown.stdout
    assert (refused.returncode, refused.stdout, "pip install" in refused.stderr) == (1, "", True)


def test_help_of_the_demo_imports_neither_the_clients_nor_the_analysis() -> None:
    code = (
        "import atexit, sys; from tokenflation.cli import main\n"
        "atexit.register(lambda: print(sorted({'anthropic', 'duckdb', 'openai', 'pandas'} & set(sys.modules))))\n"
        "main(['demo', '--help'])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "--replay" in shown.stdout
    assert shown.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which is as a full disk")
def test_output_that_finds_no_room_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    store = write_store(tmp_path / "runs.db", [{"input_tokens": 4321, "output_tokens": 1}])
    command = [sys.executable, "-m", "tokenflation.cli", "profile", str(store), "--json"]

    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("tokenflation: the output cannot be written: ")
    assert done.stderr.count("\n") == 1
