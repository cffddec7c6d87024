"""`tokenflation diff A B`: what it prints, what it leaves out, and how it refuses."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokenflation.cli import main

AnyStore = Callable[..., Path]


def _rows(calls: int, tasks: int = 12, **more: Any) -> list[dict[str, Any]]:
    agent = [
        {"task": "[b]agent", "task_id": f"a{n}", "input_tokens": 1000 * (step + 1) + n, "output_tokens": 10} | more
        for n in range(tasks)
        for step in range(calls)
    ]
    once = [{"task": "once", "task_id": f"o{n}", "input_tokens": 500, "output_tokens": 9} | more for n in range(tasks)]
    return agent + once


@pytest.fixture
def stores(tmp_path: Path, make_any_store: AnyStore) -> tuple[Path, Path]:
    return tuple(
        make_any_store(tmp_path / name, _rows(calls, model=name)) for name, calls in (("a.db", 2), ("b.db", 4))
    )  # type: ignore[return-value]  # two of them


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_people_read_what_changed_by_how_much_and_why(
    stores: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("diff", *stores) == 0

    text = capsys.readouterr().out
    flat = " ".join(text.split())
    assert "A task of B takes 10.1k billed tokens against 3.03k in A: 7.03k more, 3.32 times as many." in flat
    assert "Driven by calls per task (+" in flat
    assert "The baseline, once, is no part of the fleet. --with-baselines keeps it in." in flat
    assert "12 tasks are in A and B by kind and id: intervals take each for the same work, done twice." in flat
    assert max(len(line) for line in text.splitlines()) <= 100


def test_a_task_that_costs_less_than_a_cent_is_told_in_three_digits(
    stores: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prices.csv").write_text("model,input,output\n*.db,1,1\n", encoding="utf-8")
    assert _run("diff", *stores, "--measure", "cost", "--prices", tmp_path / "prices.csv") == 0

    flat = " ".join(capsys.readouterr().out.split())
    assert "A task of B takes 0.0101 currency units against 0.00303 in A: 0.00703 more." in flat


def test_json_has_a_manifest_and_effects_that_sum_to_the_difference(
    stores: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("diff", *stores, "--json", "--with-baselines", "--method", "shapley") == 0

    found = json.loads(capsys.readouterr().out)
    assert (found["manifest"]["method"], found["manifest"]["a"]["tasks"]) == ("shapley", 24)
    together = [row for row in found["effects"] if row["task"] is None]
    total, *parts = together
    assert sum(row["effect"] for row in parts) == pytest.approx(total["effect"], rel=1e-9)
    assert all(row["effect_low"] <= row["effect"] <= row["effect_high"] for row in together)


def test_csv_has_one_line_per_factor(stores: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("diff", *stores, "--csv", "--factors", "calls") == 0

    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["factor"] for row in rows} == {"total", "mix", "calls", "input_per_call", "output"}


def test_a_store_against_itself_says_that_nothing_differs(
    stores: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("diff", stores[0], stores[0]) == 0

    assert "A task of B takes what a task of A takes: 3.03k billed tokens." in " ".join(capsys.readouterr().out.split())


def test_two_models_of_one_store_can_be_compared(
    tmp_path: Path, make_any_store: AnyStore, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row | {"task_id": f"{row['model']}{row['task_id']}"} for row in _rows(2, model="m") + _rows(3, model="n")]
    path = make_any_store(tmp_path / "both.db", rows)

    assert _run("diff", path, path, "--model-a", "m", "--model-b", "n", "--json") == 0

    manifest = json.loads(capsys.readouterr().out)["manifest"]
    assert (manifest["a"]["calls_per_task"], manifest["b"]["calls_per_task"]) == (2, 3)


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--measure", "cost"], 2, "needs --prices FILE"),
        (["--measure", "cost", "--prices", "missing.csv"], 1, "cannot be read"),
        (["--model-a", "unknown"], 1, "no task all of whose calls are of the model 'unknown'"),
        (["--json", "--csv"], 2, "exclude each other"),
        (["--method", "guess"], 2, "lmdi"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_message(
    stores: tuple[Path, Path], capsys: pytest.CaptureFixture[str], options: list[str], code: int, says: str
) -> None:
    assert _run("diff", *stores, *options) == code

    shown = capsys.readouterr()
    assert says in shown.err
    assert "Traceback" not in shown.err
    assert not shown.out


def test_what_is_no_store_ends_with_one_message(
    stores: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.db").write_text("hello")

    assert _run("diff", stores[0], tmp_path / "x.db") == 1

    shown = capsys.readouterr()
    assert shown.err.startswith("tokenflation: ")
    assert shown.err.count("\n") == 1


def test_parts_of_a_difference_that_is_next_to_nothing_are_times_it_and_no_percentage_of_five_digits(
    tmp_path: Path, make_any_store: AnyStore, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [
        make_any_store(tmp_path / f"{kind}.db", [
            {"task": kind, "task_id": f"t{n}", "input_tokens": tokens + n, "output_tokens": 10} for n in range(3)
        ])
        for kind, tokens in (("old", 10_000), ("new", 10_050))
    ]  # fmt: skip

    assert _run("diff", *sides) == 0

    rows = {cells[0]: cells[-1] for line in capsys.readouterr().out.splitlines() if (cells := [one.strip() for one in line.strip("│").split("│")])[1:]}  # fmt: skip
    assert rows["new task kinds"] == "+201x"
    assert rows["task kinds that are gone"] == "-200x"
    assert rows["whole difference"] == "100.0 %"


def test_calls_of_sub_agents_stand_in_a_factor_of_their_own_and_what_has_no_effect_is_no_part_of_it(
    tmp_path: Path, make_any_store: AnyStore, capsys: pytest.CaptureFixture[str]
) -> None:
    sub = [{**row, "agent_run_id": f"s{n}", "depth": 1} for n, row in enumerate(_rows(1)) if row["task"] != "once"]
    both = [make_any_store(tmp_path / name, _rows(calls) + sub) for name, calls in (("a.db", 2), ("b.db", 4))]

    assert _run("diff", *both) == 0

    text = capsys.readouterr().out
    assert "calls outside sub-agents" in text
    assert "calls per task  " in text  # of all, in the table of the two sides
    assert "-0.0 %" not in text


@pytest.mark.parametrize(("reported", "shown"), [(None, "-"), (0, "1x")])
def test_a_side_of_which_no_call_reports_its_reasoning_has_no_factor_of_it(
    tmp_path: Path, make_any_store: AnyStore, capsys: pytest.CaptureFixture[str], reported: int | None, shown: str
) -> None:
    silent = make_any_store(tmp_path / "a.db", _rows(2, reasoning_tokens=reported))
    told = make_any_store(tmp_path / "b.db", _rows(2, reasoning_tokens=5))
    assert _run("diff", silent, told) == 0

    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("\u2502 reasoning  "))
    assert [cell.strip() for cell in line.split("\u2502")][2:4] == [shown, "1.00x"]


def test_tasks_that_are_not_compared_are_told_from_those_that_are(
    tmp_path: Path, make_any_store: AnyStore, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = {"task": "[b]agent", "task_id": "s", "input_tokens": None, "output_tokens": None}
    store = make_any_store(tmp_path / "a.db", [*_rows(2), silent])
    assert _run("diff", store, make_any_store(tmp_path / "b.db", _rows(4))) == 0

    flat = " ".join(capsys.readouterr().out.split())
    assert "│ tasks │ 12 of 13 │ 12 │" in flat
    assert "Mind: 1 of the 13 tasks of A is left out: not all that is compared is reported." in flat
