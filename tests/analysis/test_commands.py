"""`tokenflation profile` and `tokenflation inflation`: what they print, and how they refuse."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokenflation.cli import main

MakeStore = Callable[..., Path]


def _rows(agents: int = 12) -> list[dict[str, Any]]:
    agent = [
        {"task": "[b]agent", "task_id": f"a{task}", "input_tokens": 1000 * (step + 1), "output_tokens": 10 + task}
        for task in range(agents)
        for step in range(3)
    ]
    once = [{"task": "once", "task_id": f"o{n}", "input_tokens": 500 + n, "output_tokens": 9} for n in range(agents)]
    return agent + once


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_profile_as_json_is_one_object_per_kind_with_exact_integers_and_nulls(
    make_store: MakeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("profile", make_store(_rows()), "--json") == 0

    agent, once = json.loads(capsys.readouterr().out)
    assert (agent["task"], agent["tasks"], agent["calls_sum"], agent["calls_p50"]) == ("[b]agent", 12, 36, 3.0)
    assert agent["input_over_peak_context_p50"] == 2.0
    assert isinstance(agent["input_tokens_sum"], int)
    assert once["cache_hit_rate_p50"] is None


def test_profile_as_csv_has_the_same_columns(make_store: MakeStore, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_store(_rows())
    _run("profile", path, "--json")
    objects = json.loads(capsys.readouterr().out)

    assert _run("profile", path, "--csv") == 0

    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [list(row) for row in rows] == [list(row) for row in objects]
    assert [row["calls_sum"] for row in rows] == ["36", "12"]


def test_profile_shows_people_one_block_per_kind_within_a_hundred_columns(
    make_store: MakeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("profile", make_store(_rows())) == 0

    text = capsys.readouterr().out
    assert "[b]agent: 12 tasks, 36 calls" in text
    assert "6.00k" in text
    assert "Not reported: " in text
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize("command", ["profile", "structure", "context", "inflation"])
def test_a_kind_that_one_task_decides_is_said_to_have_uncertain_intervals(
    command: str, make_store: MakeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    huge = {"task": "[b]agent", "task_id": "a0", "input_tokens": 10**6, "output_tokens": 10}

    assert _run(command, make_store([*_rows(), huge])) == 0

    text = " ".join(capsys.readouterr().out.split())
    assert text.count("hold the truth less often") == 1
    assert "[b]agent: few of its 12 tasks have most of the tokens, as if there were 1.1." in text


def test_profile_speaks_of_one_in_the_singular_and_of_what_is_not_reported(
    make_store: MakeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("profile", make_store([{"input_tokens": 7, "output_tokens": 1}])) == 0

    assert "kind: 1 task, 1 call; usage 100.0 % reported" in capsys.readouterr().out


def test_profile_shows_people_all_kinds_together_and_programs_on_request(
    make_store: MakeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_store(_rows())
    assert _run("profile", path) == 0
    assert "All kinds: 24 tasks, 48 calls" in capsys.readouterr().out

    assert _run("profile", path, "--json", "--fleet") == 0

    *kinds, fleet = json.loads(capsys.readouterr().out)
    assert (len(kinds), fleet["task"], fleet["calls_sum"]) == (2, None, 48)
    assert fleet["input_output_ratio_low"] < fleet["input_output_ratio_mean"] < fleet["input_output_ratio_high"]


def test_profile_shows_people_the_largest_of_very_many_kinds(
    make_store: MakeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_store([{"task": f"k{n:03}", "task_id": f"t{n}", "input_tokens": 10 + n} for n in range(103)])
    assert _run("profile", path) == 0
    shown = capsys.readouterr().out
    assert "Left out, with less input: 3 kinds; --json and --csv have them all." in shown
    assert "k002" not in shown
    assert shown.count("k102") == shown.count("k003") == 1
    assert "103 tasks" in shown

    assert _run("profile", path, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 103


@pytest.mark.parametrize(("per", "rows"), [("kind", 4), ("task", 48), ("fleet", 3)])
def test_profile_by_step_splits_each_kind_each_task_or_all(
    make_store: MakeStore, capsys: pytest.CaptureFixture[str], per: str, rows: int
) -> None:
    once = [row | {"step": 0} for row in _rows() if row["task"] == "once"]
    agent = [row | {"step": place % 3} for place, row in enumerate(_rows()) if row["task"] != "once"]
    path = make_store([*agent, *once])
    assert _run("profile", path, "--by", "step", "--per", per) == 0
    assert "Tokens by step" in capsys.readouterr().out

    assert _run("profile", path, "--by", "step", "--per", per, "--json") == 0

    parts = json.loads(capsys.readouterr().out)
    assert len(parts) == rows
    assert sum(part["calls"] for part in parts) == 48


def test_inflation_takes_the_only_kind_of_single_calls_and_says_so(
    make_store: MakeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("inflation", make_store(_rows()), "--json") == 0

    shown = capsys.readouterr()
    agent = json.loads(shown.out)[0]
    assert "Baseline: once" in shown.err
    assert agent["inflation_input"] == pytest.approx(6000 / 505.5)
    assert agent["inflation_input_low"] < agent["inflation_input"] < agent["inflation_input_high"]


def test_the_baseline_is_wrapped_on_a_terminal_and_one_line_in_a_file(
    make_store: MakeStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(_rows())
    assert _run("inflation", store, "--json") == 0
    (line,) = capsys.readouterr().err.splitlines()
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes what is captured for a terminal

    assert _run("inflation", store, "--json") == 0

    lines = capsys.readouterr().err.splitlines()
    assert max(map(len, lines)) <= 40
    assert " ".join(map(str.strip, lines)) == line


def test_inflation_shows_people_factors_and_drivers(make_store: MakeStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("inflation", make_store(_rows()), "--baseline", "once") == 0

    text = capsys.readouterr().out
    assert "11.9x" in text
    assert "[b]agent" in text
    assert "\u2502 once (baseline) \u2502" in text
    flat = " ".join(text.split())
    assert "The baseline's own row is 1x throughout" in flat
    assert "with 90 % intervals below them" in flat
    assert "Where nobody knows what was cached" in flat
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize(("reported", "shown"), [(None, "-"), (0, "1x"), (5, "1.00x")])
def test_inflation_shows_no_factor_of_reasoning_where_no_call_reports_it(
    make_store: MakeStore, capsys: pytest.CaptureFixture[str], reported: int | None, shown: str
) -> None:
    path = make_store([row | {"reasoning_tokens": reported} for row in _rows(agents=3)])
    assert _run("inflation", path, "--baseline", "once") == 0

    text = capsys.readouterr().out.partition("What it is made of")[2]
    header = next(line for line in text.splitlines() if "task kind" in line)
    agent = next(line for line in text.splitlines() if "[b]agent" in line)
    place = [cell.strip() for cell in header.split("\u2503")].index("reasoning")
    assert [cell.strip() for cell in agent.split("\u2502")][place] == shown
    assert ("Where no call reports its reasoning (-)" in " ".join(text.split())) is (reported is None)
    assert _run("inflation", path, "--baseline", "once", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["calls_reasoning_reported"] == (0 if reported is None else 9)


def test_inflation_says_why_an_interval_is_missing(make_store: MakeStore, capsys: pytest.CaptureFixture[str]) -> None:
    agent, once = _rows(agents=3)[:9], _rows(agents=12)[36:]
    assert _run("inflation", make_store([*agent, *once])) == 0

    text = " ".join(capsys.readouterr().out.split())
    assert "fewer than 10 tasks" in text
    assert "Ratios of means. Billed" in text  # the baseline's own interval is not shown


def test_inflation_without_a_direct_kind_takes_the_intrinsic_baseline_and_names_it(
    make_store: MakeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_store(_rows()[:9])
    assert _run("inflation", path) == 0
    shown = capsys.readouterr()
    assert _run("inflation", path, "--json") == 0
    row = json.loads(capsys.readouterr().out)[0]

    assert "first request + final answer" in shown.out
    assert "intrinsic" in shown.out
    assert "there is no such kind" in shown.err
    assert (row["baseline_source"], row["inflation_input"]) == ("intrinsic", 6.0)


def test_inflation_against_several_baselines_has_rows_for_each(
    make_store: MakeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--baseline", "once", "--baseline", "[b]agent", "--intrinsic", "--json"]
    assert _run("inflation", make_store(_rows()), *options) == 0

    rows = json.loads(capsys.readouterr().out)
    assert [row["baseline"] for row in rows[::2]] == ["once", "[b]agent", "first request + final answer"]


def test_inflation_by_prices_splits_the_cost_by_cache_input_and_output(
    make_store: MakeStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text("model,input,output\nm*,2,10\n")

    store = make_store([row | {"model": "m"} for row in _rows()])
    assert _run("inflation", store, "--prices", prices) == 0
    text = capsys.readouterr().out
    assert _run("inflation", store, "--prices", prices, "--json") == 0
    rows = json.loads(capsys.readouterr().out)

    assert "Cost of a task, by the prices given" in text
    assert max(len(line) for line in text.splitlines()) <= 100
    shares = [[row[f"{part}_cost_share"] for part in ("cached", "fresh", "output")] for row in rows]
    assert [sum(parts) for parts in shares] == pytest.approx([1.0] * len(rows))
    assert [row["cache_saving_share"] for row in rows] == pytest.approx([0.0] * len(rows))


def test_profile_takes_no_task_that_reports_its_input_for_one_without_usage(
    make_store: MakeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("profile", make_store([{"input_tokens": 5, "usage_complete": 0}])) == 0

    assert "1 task (1 without complete usage), 1 call; usage 100.0 % in part" in capsys.readouterr().out


def test_inflation_by_an_unknown_baseline_lists_the_kinds(
    make_store: MakeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("inflation", make_store(_rows()[:9]), "--baseline", "rag") == 1

    shown = capsys.readouterr()
    assert "['[b]agent']" in shown.err
    assert not shown.out


@pytest.mark.parametrize("command", ["profile", "inflation"])
def test_what_is_no_store_ends_with_one_message_and_exit_code_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "x.db").write_text("hello")

    assert _run(command, tmp_path / "x.db", "--json") == 1

    shown = capsys.readouterr()
    assert not shown.out
    assert shown.err.startswith("tokenflation: ")
    assert shown.err.count("\n") == 1


def test_two_formats_at_once_are_a_usage_error(make_store: MakeStore) -> None:
    assert _run("profile", make_store(_rows()), "--json", "--csv") == 2
