"""Tables on terminals of any width: no number is cut, whatever does not fit goes on below."""

import io
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, Group
from rich.table import Table
from tests.analysis.conftest import write_store
from tests.analysis.trees import call

from tokenflation.cli import main
from tokenflation.cli.views.fitting import fitting

_NUMBERS = st.sampled_from(["-", "0", "1,234,567", "12.3k", "45.6 %", "1.23x", "1.89x\n1.80x to 1.95x", "7 (0.5 %)"])
_NAMES = st.sampled_from(["a", "openai_compatible", "smollm2-135m-instruct", "task kind", "é 日本語"])
_HEADINGS = st.sampled_from(["n", "tokens per step", "input / distinct", "reported"])
# A digit, or what stands inside a number, beside the sign of a cut.
_CUT = re.compile(r"[\d.,%]…|…[\d.,%]")


def _drawn(shown: Any, width: int) -> str:
    file = io.StringIO()
    Console(file=file, width=width, highlight=False).print(fitting(shown))
    return file.getvalue()


def _words(text: str) -> set[str]:
    return set(re.sub("[│┃]", " ", text).split())


@st.composite
def _tables(draw: st.DrawFn) -> tuple[Table, set[str]]:
    names, numbers = draw(st.integers(1, 2)), draw(st.integers(1, 9))
    table, written = Table(title="t"), set[str]()
    for _ in range(names):
        table.add_column(draw(_HEADINGS))
    for _ in range(numbers):
        table.add_column(draw(_HEADINGS), justify="right", no_wrap=draw(st.booleans()))
    for _ in range(draw(st.integers(0, 4))):
        cells = [draw(_NUMBERS) for _ in range(numbers)]
        written |= set(" ".join(cells).split())
        table.add_row(*(draw(_NAMES) for _ in range(names)), *cells)
    return table, written


@given(made=_tables(), width=st.integers(min_value=40, max_value=160))
def test_every_number_of_every_table_is_whole_at_any_width(made: tuple[Table, set[str]], width: int) -> None:
    table, numbers = made

    text = _drawn(Group(table), width)

    assert numbers <= _words(text)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


def test_a_table_that_fits_is_one_table_and_one_that_does_not_repeats_its_names() -> None:
    table = Table(title="Sums")
    table.add_column("kind")
    for name in ("calls", "input", "output"):
        table.add_column(name, justify="right")
    table.add_row("triage", "1,234", "5.67M", "89.0k")

    wide, narrow = _drawn(table, 60), _drawn(table, 24)

    assert (wide.count("triage"), wide.count("Sums")) == (1, 1)
    assert (narrow.count("triage"), narrow.count("Sums")) == (3, 1)


def test_the_note_below_a_table_that_goes_on_stands_once_and_at_its_end() -> None:
    table = Table("task", title="t", caption="a note")
    for name in ("one", "two", "three"):
        table.add_column(name, justify="right")
    table.add_row("triage", *["123,456"] * 3)
    shown = _drawn(table, 30)
    assert shown.count("one") == shown.count("a note") == 1
    assert shown.index("three") < shown.index("a note")


def test_what_goes_on_below_leaves_out_the_rows_that_have_nothing_there_but_keeps_headings() -> None:
    table = Table()
    table.add_column("measure")
    for name in ("mean", "all"):
        table.add_column(name, justify="right")
    for cells in (("heading", "", ""), ("calls", "1,234", "5.67M"), ("depth", "2", "")):
        table.add_row(*cells)

    lines = [line.split() for line in re.sub("[│┃]", " ", _drawn(table, 21)).splitlines()]

    assert ["calls", "5.67M"] in lines
    assert [sum(line[:1] == [name] for line in lines) for name in ("heading", "calls", "depth")] == [2, 2, 1]


def test_an_interval_wraps_before_a_name_folds() -> None:
    table = Table()
    table.add_column("model")
    table.add_column("rate", justify="right")
    table.add_row("claude-haiku-4-5-20251001", "98.0 %\n97.6 % to 98.4 %")

    wide, narrow, narrowest = (_drawn(table, width) for width in (50, 42, 30))

    assert "97.6 % to 98.4 %" in wide
    assert {"97.6", "98.4", "claude-haiku-4-5-20251001"} <= _words(narrow)
    assert "97.6 % to 98.4 %" not in narrow
    assert "claude-haiku-4-5-20251001" not in narrowest


def _store(path: Path) -> Path:
    """Return a store of two kinds of tasks with large and small numbers, cached and not."""
    rows = [
        call(
            f"{kind}{task}-{step}", f"{kind}{task}", step, 100 * task + 7.5 * step, task=kind, task_id=f"{kind}-{task}",
            input_tokens=98_765 + 12_345 * step * (task + 1), output_tokens=1_234 + 56 * step,
            cache_read_tokens=87_654 + 11_111 * step * task, reasoning_tokens=321, model="a-model-with-a-long-name-1",
            response_model="a-model-with-a-long-name-1", provider="openai_compatible", tool_calls=1,
            prompted_by="tool" if step else "user",
        )
        for kind, steps in (("summarise-documents", 4), ("answer-once", 1))
        for task in range(11)
        for step in range(steps + task % 3 if steps > 1 else 1)
    ]  # fmt: skip
    return write_store(path, rows)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("fitting")
    return [str(_store(folder / name)) for name in ("one.db", "other.db")]


_COMMANDS = ["context", "structure", "cache", "inflation", "profile", "diff", "tree", "info"]


def _printed(
    arguments: list[str], width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    capsys.readouterr()
    with pytest.raises(SystemExit, match="0"):
        main(arguments)
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)


@pytest.mark.parametrize("command", _COMMANDS)
def test_no_command_cuts_a_number_on_a_narrow_terminal(
    command: str, stores: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [command, *(stores if command == "diff" else stores[:1])]
    numbers = {word for word in _words(_printed(arguments, 200, monkeypatch, capsys)) if re.match(r"[\d(+-]*\d", word)}
    assert len(numbers) > 5

    for width in (45, 60, 80):
        text = _printed(arguments, width, monkeypatch, capsys)

        assert not _CUT.search(text)
        assert not re.search(r"[│┃] *%", text), "a sign stands apart from its number"
        # A tree leaves columns out; a path, and so a name with a number in it, may go on in the next line.
        lost = {word for word in numbers - _words(text) if "-" not in word.strip("-")}
        assert command == "tree" or not lost
        assert command == "info" or max(map(len, text.splitlines())) <= width


def test_info_goes_on_in_the_next_line_where_a_terminal_is_narrow(
    stores: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = _printed(["info", stores[0]], 60, monkeypatch, capsys)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    narrow = _printed(["info", stores[0]], 60, monkeypatch, capsys)

    assert max(map(len, whole.splitlines())) > 60 >= max(len(one) for one in narrow.splitlines() if "/" not in one)
    assert narrow.split() == whole.split()
