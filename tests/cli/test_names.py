"""Names come from whatever was recorded or imported: a terminal must show them and not obey them."""

from pathlib import Path

import pytest
from tests.analysis.conftest import write_store

from tokenflation.cli import main

_HOSTILE = "a\x1b[31mb\x07c\u202ed"


@pytest.fixture
def hostile(tmp_path: Path) -> str:
    rows = [
        {"task": _HOSTILE, "task_id": f"t{task}", "agent": _HOSTILE, "step": step, "model": _HOSTILE, "input_tokens": 3000,
         "output_tokens": 100, "duration_s": 1.0}
        for task in range(12)
        for step in range(2)
    ]  # fmt: skip
    return str(write_store(tmp_path / "runs.db", rows))


@pytest.mark.parametrize(
    "command",
    ["profile", "inflation", "structure", "context", "cache", "tree", "tasks", "info", "forecast --tasks-per-day 100",
     "forecast --tasks-per-day 100 --explain", "tree --task nobody", "export /nowhere/x --format weka --task nobody"],
)  # fmt: skip
def test_no_command_hands_a_terminal_what_it_would_act_on(
    command: str, hostile: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *options = command.split()
    with pytest.raises(SystemExit):
        main([name, hostile, *options])
    said = "".join(capsys.readouterr())
    assert said.replace("\n", "").isprintable()
    assert r"\x1b" in said


@pytest.mark.parametrize("command", ["forecast --history", "backtest"])
def test_a_column_that_looks_like_markup_or_a_sign_stands_in_titles_as_it_is_called(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = tmp_path / "demand.csv"
    history.write_text("\n".join(["t_s,req[/s] :warning:", *(f"{hour * 3600},{hour % 24}" for hour in range(100))]))
    with pytest.raises(SystemExit, match=r"^0$"):
        main([*command.split(), str(history)])
    assert "req[/s] :warning:" in capsys.readouterr().out
