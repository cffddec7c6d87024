"""What the command line says to a slip of the pen, and what a shell that completes words is told."""

import io
from pathlib import Path

import click
import pytest
from click.shell_completion import CompletionItem, ShellComplete
from tests.analysis.conftest import write_store
from tests.analysis.trees import call

from tokenflation.cli import main
from tokenflation.cli.main import _tokenflation

_STORES = [
    ["cache"], ["context"], ["diff"], ["diff", "a.db"], ["export"], ["forecast"], ["backtest"], ["import"], ["inflation"],
    ["info"], ["plan", "init"], ["profile"], ["report"], ["serve"], ["structure"], ["tasks"], ["tree"],
]  # fmt: skip


def _refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code, capsys.readouterr().err


def _completed(words: list[str], begun: str) -> list[CompletionItem]:
    shell = ShellComplete(_tokenflation, {}, "tokenflation", "_TOKENFLATION_COMPLETE")
    return shell.get_completions(words, begun)


@pytest.mark.parametrize(("slip", "meant"), [("profle", "'profile'"), ("forcast", "'forecast'"), ("inf", "'info'")])
def test_a_misspelt_command_is_answered_with_the_nearest(
    slip: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = _refused(capsys, slip)

    assert code == 2
    assert f"No such command {slip!r}. Did you mean " in said
    assert meant in said


def test_a_command_like_no_other_is_refused_without_a_guess(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = _refused(capsys, "xyzzy")

    assert (code, "Did you mean" in said) == (2, False)


@pytest.mark.parametrize("words", _STORES, ids=" ".join)
def test_a_shell_completes_the_names_of_stores(words: list[str]) -> None:
    assert [item.type for item in _completed(words, "ru")] == ["file"]


def test_a_shell_completes_commands_and_formats() -> None:
    assert [item.value for item in _completed([], "pro")] == ["profile"]
    assert {item.value for item in _completed(["export", "a.db", "out", "--format"], "")} >= {"weka", "mooncake"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--format", "pprof", "--block-size", "64"], "--block-size is for mooncake and weka"),
        (["--format", "speedscope", "--without-baselines"], "--without-baselines is for mooncake and weka"),
        (["--format", "weka", "--sessions"], "--sessions is for mooncake"),
        (["--format", "mooncake", "--quiet-s", "3600"], "--quiet-s is for parquet"),
        (["--format", "parquet", "--block-size", "64"], "--block-size is for mooncake and weka"),
    ],
)
def test_an_export_refuses_options_that_its_format_would_pass_over(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = write_store(tmp_path / "runs.db", [call("c", "r", 0, 0)])
    code, told = _refused(capsys, "export", str(store), str(tmp_path / "out"), *options)

    assert (code, said in told) == (2, True)


@pytest.mark.parametrize("name", ["forecast", "diff", "backtest", "profile"])
def test_help_says_whether_json_is_an_object_or_a_list(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    told = " ".join(capsys.readouterr().out.split())

    assert ("Print JSON: a list with one object per row." in told) == (name == "profile")
    assert ("Print JSON: one object, of a manifest and lists with one object per row." in told) == (name != "profile")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["report", "a.db", "--tasks-per-day", "many"], "'many' is not a valid number."),
        (["forecast", "a.db", "--days", "1.5"], "'1.5' is not a valid whole number."),
        (["serve", "a.db", "--port", "x"], "'x' is not a valid whole number."),
    ],
)
def test_what_is_no_number_is_called_so(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = _refused(capsys, *words)

    assert (code, said in told) == (2, True)


@pytest.mark.parametrize(
    "options",
    [["--level", "2"], ["--level", "1"], ["--days", "0"], ["--days", "367"], ["--tasks-per-day", "0"]],
    ids=" ".join,
)
def test_a_forecast_names_the_option_whose_number_is_out_of_range(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = _refused(capsys, "forecast", "none.db", "--tasks-per-day", "5", *options)

    assert (code, f"Invalid value for '{options[0]}'" in said) == (2, True)


@pytest.mark.parametrize(
    ("program", "hint"),
    [
        ("none.py", "check the path"),
        ("none.pyc", "check the path"),
        ("some/none", "check the path"),
        ("pack.mod", "tokenflation run -m pack.mod"),
    ],
)
def test_run_speaks_of_modules_only_where_one_can_be_meant(
    program: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = _refused(capsys, "run", program)

    assert (code, hint in said) == (1, True)


def test_the_file_to_write_goes_by_one_name_in_every_command() -> None:
    for words in (["forecast"], ["plan", "init"], ["report"]):
        command: click.Command = _tokenflation
        context = click.Context(command)
        for word in words:
            assert isinstance(command, click.Group)
            found = command.get_command(context, word)
            assert found is not None
            command = found
        assert any({"-o", "--output"} <= set(parameter.opts) for parameter in command.params)


def test_ctrl_c_ends_a_command_with_the_exit_code_of_an_interrupt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_store: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tokenflation.cli.info.info", interrupted)

    code, said = _refused(capsys, "info", str(tmp_path / "a.db"))

    assert (code, "stopped by Ctrl-C" in said, "Abort" in said) == (130, True, False)


@pytest.mark.parametrize(("encoding", "sign"), [("ascii", b"+- 15 %"), ("latin-1", b"\xb1 15 %")])
def test_an_output_that_lacks_our_signs_is_told_in_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, sign: bytes
) -> None:
    store = tmp_path / "naïve.db"
    write_store(store, [call(f"c{n}", f"r{n}", 0, 100 + n, task="naïve", task_id=f"t{n}") for n in range(12)])
    printed = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(printed, encoding=encoding, write_through=True))
    with pytest.raises(SystemExit) as end:
        main(["forecast", str(store), "--tasks-per-day", "10", "--explain", "--target", "0.15"])
    assert end.value.code == 0
    assert "naïve".encode(encoding, "backslashreplace") in printed.getvalue()
    assert sign in printed.getvalue()
