"""`tokenflation tree`: what a user sees of a task, at any width, and what programs get."""

import csv
import io
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest
from rich.console import Console
from tests.analysis.conftest import frame_of, write_store
from tests.analysis.trees import call, research, tool, tree_of

from tokenflation.analysis import tasks
from tokenflation.analysis.structure.folding import folded
from tokenflation.analysis.structure.trees import Node
from tokenflation.cli import main
from tokenflation.cli.views.tree import TaskList, TreeView
from tokenflation.cli.views.words import printable
from tokenflation.sdk.store.tables import TABLES

_TOOLS = next(table for table in TABLES if table.name == "tool_calls")


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Return a store of the research task, a smaller one of another kind, and one that reports nothing."""
    calls, tools = research()
    named = [dict(row) | {"task": "research", "task_id": "R-1000"} for row in calls]
    named.append(call("x", "solo", 0, 50, task="ask", task_id="A-1", input_tokens=20))
    named.append(
        call("y", "cut", 0, 60, task="ask", task_id="A-2", status="cut", input_tokens=None, output_tokens=None)
    )
    return str(_stored(tmp_path, named, tools))


def _stored(folder: Path, calls: list[Any], tools: list[dict[str, Any]]) -> Path:
    path = write_store(folder / "runs.db", calls)
    names = [column.name for column in _TOOLS.columns]
    with closing(sqlite3.connect(path)) as connection:
        marks = ", ".join("?" * len(names))
        connection.executemany(
            f"insert into tool_calls values ({marks})", [[one.get(name) for name in names] for one in tools]
        )
        connection.commit()
    return path


@pytest.fixture
def tree(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs the command and gives its exit code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["tree", *arguments])
        printed = capsys.readouterr()
        return int(caught.value.code or 0), printed.out, printed.err

    return run


def _drawn(task: Node, width: int, *, encoding: str = "utf-8", styled: bool = False) -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    system: Literal["standard"] | None = "standard" if styled else None
    console = Console(file=file, width=width, force_terminal=styled, color_system=system, highlight=False)
    console.print(TreeView(tree=folded(task, most=12), whole=task))
    file.flush()
    file.seek(0)
    return [line.rstrip() for line in file.read().splitlines()]


def test_a_task_is_shown_with_its_agents_steps_tools_tokens_and_time(tree: Callable[..., Any], store: str) -> None:
    code, out, _ = tree(store, "R-1000")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0
    assert lines[:2] == [
        "research R-1000",
        "6 calls in 4 agent runs, depth 2, 3 tool calls, 3.35k input and 335 output tokens, 7.00 s",
    ]
    assert lines[3:10] == [
        "planner 6 3 3.35k 2.50k 335 300 7.00 s",
        "├ step 0 5 3 1.85k 1.00k 135 100 6.00 s",
        "│ ├ ask_reader › reader 1 500 10 1.00 s",
        "│ └ ask_reader › reader 3 1 350 300 25 20 3.80 s",
        "│ ├ step 0 2 1 150 100 15 10 2.80 s",
        "│ │ └ check › checker 1 50 5 1.00 s",
        "│ └ step 1 1 200 10 1.00 s",
    ]


def test_without_an_id_the_largest_task_is_shown_and_all_are_listed(tree: Callable[..., Any], store: str) -> None:
    _, out, _ = tree(store)
    assert out.startswith("research R-1000")
    listed = out[out.index("Tasks, the largest first") :]
    assert [line.split()[0] for line in listed.splitlines()[2:5]] == ["R-1000", "A-1", "A-2"]
    assert f"tokenflation tree {store} TASK_ID" in " ".join(listed.split())


_LONG = [
    ("customer-support-escalation-to-human", "a3f8c2d1e5b6479f8a1c3d5e7f901234"),
    ("task-3f9a8b7c6d5e4f3a", "0193a7c2-6f3e-7b52-9d1a-8f2b3c4d5e6f"),
]
_WIDE = [("文档摘要与检索增强生成任务" * 2, "T-1"), ("任务", "T-2")]  # two columns a letter


@pytest.mark.parametrize(
    ("names", "width"), [*((_LONG, width) for width in (60, 80, 100, 120)), (_WIDE, 80), (_WIDE, 90)]
)
def test_long_ids_and_kinds_are_listed_whole_on_a_line(names: list[tuple[str, str]], width: int) -> None:
    rows = [call(f"c{row}", f"r{row}", 0, row, task=kind, task_id=id_) for row, (kind, id_) in enumerate(names)]
    console = Console(width=width, file=io.StringIO())
    console.print(TaskList(tasks=tasks(frame_of(rows)), more=0, store="runs.db"))
    assert isinstance(console.file, io.StringIO)
    lines = [line.strip().split("  ") for line in console.file.getvalue().splitlines()]
    assert {cell.strip() for cells in lines for cell in cells} >= {name for pair in names for name in pair}


def test_a_kind_without_end_takes_the_room_there_is_and_no_ids() -> None:
    names = [("k" * 400, "0193a7c2-6f3e-7b52-9d1a-8f2b3c4d5e6f"), ("ask", "T-2")]
    rows = [call(f"c{row}", f"r{row}", 0, row, task=kind, task_id=id_) for row, (kind, id_) in enumerate(names)]
    console = Console(width=80, file=io.StringIO())
    console.print(TaskList(tasks=tasks(frame_of(rows)), more=0, store="runs.db"))
    assert isinstance(console.file, io.StringIO)
    lines = [line.split("  ")[0] for line in console.file.getvalue().splitlines()]
    assert {"0193a7c2-6f3e-7b52-9d1a-8f2b3c4d5e6f", "T-2"} <= set(lines)
    assert max(line.count("k") for line in lines) > 50


def test_a_store_of_one_task_needs_no_list(tree: Callable[..., Any], store: str) -> None:
    _, out, _ = tree(store, "--task", "research")
    assert "largest first" not in out


def test_the_beginning_of_an_id_is_enough_where_it_is_the_only_one(tree: Callable[..., Any], store: str) -> None:
    assert tree(store, "R-")[1].startswith("research R-1000")
    code, _, err = tree(store, "A-")
    assert code == 1
    assert "2 task ids begin with 'A-': A-1 (ask), A-2 (ask). Give more letters." in err


def test_an_unknown_id_is_refused_with_the_nearest_ones(tree: Callable[..., Any], store: str) -> None:
    code, out, err = tree(store, "R-1001")
    assert (code, out) == (1, "")
    assert "There is no task 'R-1001' among the 3 tasks. The nearest ids are: R-1000" in err
    assert "its kinds are: ask, research" in tree(store, "--task", "nothing")[2]


def test_an_id_that_two_kinds_share_needs_the_kind(tree: Callable[..., Any], tmp_path: Path) -> None:
    rows = [call("a", "r", 0, 0, task="one", task_id="7"), call("b", "s", 0, 1, task="two", task_id="7")]
    path = str(_stored(tmp_path, rows, []))
    assert "Several kinds have a task '7': 7 (one), 7 (two). Say which with --task KIND." in tree(path, "7")[2]
    assert tree(path, "7", "--task", "two")[1].startswith("two 7")


def test_an_empty_store_says_how_to_record_one(tree: Callable[..., Any], tmp_path: Path) -> None:
    code, _, err = tree(str(_stored(tmp_path, [], [])))
    assert code == 1
    assert "holds no calls" in err
    assert "tokenflation run" in err


def test_json_and_csv_have_one_row_per_node_or_per_task(tree: Callable[..., Any], store: str) -> None:
    nodes = json.loads(tree(store, "R-1000", "--json")[1])
    assert [(row["level"], row["kind"]) for row in nodes[:4]] == [(0, "task"), (1, "agent"), (2, "step"), (3, "tool")]
    assert sum(row["own_input_tokens"] for row in nodes if row["kind"] == "step") == nodes[0]["input_tokens"] == 3_350
    rows = list(csv.DictReader(io.StringIO(tree(store, "--csv")[1])))
    assert [(row["task_id"], row["input_tokens"]) for row in rows] == [("R-1000", "3350"), ("A-1", "20"), ("A-2", "")]
    assert tree(store, "R-1000", "--json", "--csv")[0] == 2


def test_calls_without_usage_and_failures_are_said_and_not_shown_as_nothing() -> None:
    silent = {"input_tokens": None, "output_tokens": None}
    calls = [
        call("a", "r", 0, 0, tool_calls=2),
        call("b", "r", 1, 2, status="error", error_type="rate_limit", **silent),
    ]
    calls.append(call("c", "r", 2, 4, status="cut", **silent))
    text = "\n".join(_drawn(tree_of(calls, [tool("a", "x", executed=None), tool("a", "y", executed=2)]), 100))
    assert "100+ input and 10+ output tokens" in text
    assert "step 1 error rate_limit  " in text
    assert "step 2 cut  " in text
    assert "search (no result), search (2 results)" in text
    assert "2 calls of 3 report no usage. A plus marks sums that leave some out." in text
    assert "2 calls failed or were cut." in text
    assert "1 tool call without a result sent back to the model." in text


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal_and_deep_trees_say_what_they_hide(width: int) -> None:
    depth = 30
    calls = [
        call(
            f"c{n}",
            f"r{n}",
            0,
            n,
            agent="agent-with-a-long-name",
            depth=n,
            inside_tool_call_id=f"t{n - 1}" if n else None,
        )
        for n in range(depth)
    ]
    lines = _drawn(tree_of(calls, [tool(f"c{n}", f"t{n}", "delegate") for n in range(depth - 1)]), width)
    assert max(map(len, lines)) <= width
    assert ("calls deeper" in "\n".join(lines)) == (width < 200)
    assert "agent-with" in "\n".join(lines)


def test_a_thousand_steps_fit_on_a_screen_and_all_are_counted() -> None:
    calls = [call(f"c{n}", "r", n, n, tool_calls=1) for n in range(1_000)]
    lines = _drawn(tree_of(calls, [tool(f"c{n}", f"t{n}", "read") for n in range(1_000)]), 100)
    shown = [line for line in lines if "steps" in line and "read ×100" in line]
    assert len(shown) == 10
    assert len(lines) < 20
    assert lines[-1] == "Steps that repeat share a line; --full shows each."


def test_names_cannot_style_the_terminal_or_move_its_cursor() -> None:
    bad = "[bold red]x[/bold red]\x1b[2J\r\u202ey"
    calls = [call("a", bad, 0, 0, task=bad, task_id=bad, tool_calls=1)]
    text = "\n".join(_drawn(tree_of(calls, [tool("a", "t", bad)]), 200))
    assert text.count("[bold red]x[/bold red]\\x1b[2J\\r\\u202ey") == 4
    assert not set(text.replace("\n", "").replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\x1b[2m", "")) & set(
        "\x1b\r\u202e"
    )
    assert printable("a\nb\ud800") == "a\\nb\\ud800"


def test_a_terminal_without_unicode_gets_plain_guides() -> None:
    lines = _drawn(tree_of(*research()), 80, encoding="ascii")
    assert any("|   | ` check > checker" in line for line in lines), lines


def test_no_colour_is_written_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [call("a", "r", 0, 0, status="error", error_type="overloaded", tool_calls=1)]
    task = tree_of(calls, [tool("a", "t", "search")])
    assert "\x1b[31m" in "\n".join(_drawn(task, 100, styled=True))
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in "\n".join(_drawn(task, 100, styled=True))


def test_a_sub_agent_of_unknown_place_is_marked(tmp_path: Path) -> None:
    rows = [call("p", "p", 0, 0), call("q", "q", 0, 0), call("s", "s", 0, 1, depth=1)]
    text = "\n".join(_drawn(tree_of(rows), 100))
    assert "s (place not known)" in text
    assert "1 agent run of unknown place" in text


def _polls(count: int) -> tuple[list[Any], list[dict[str, Any]]]:
    calls = [call(f"c{n}", "poller", n, n, tool_calls=1) for n in range(count)]
    return calls, [tool(f"c{n}", f"t{n}", "poll") | {"arguments_hash": b"same"} for n in range(count)]


def test_steps_that_repeat_and_loops_are_flagged(tree: Callable[..., Any], tmp_path: Path) -> None:
    text = tree(str(_stored(tmp_path, *_polls(4))), "--full")[1]
    assert "poller  loop: poll ×4, steps 0 to 3" in text
    assert "step 1 repeats step 0  poll" in text
    assert "3 steps repeat a tool call of an earlier one with the same arguments, 1 loop among them." in text
    assert "step 0  poll" in text


def test_folded_steps_say_how_many_repeat(tree: Callable[..., Any], tmp_path: Path) -> None:
    text = tree(str(_stored(tmp_path, *_polls(40))))[1]
    assert "steps 0 to 4, 4 repeat  poll ×5" in text
    assert "steps 5 to 9, 5 repeat  poll ×5" in text


def test_a_renamed_kind_keeps_its_tools_and_its_place(tree: Callable[..., Any], store: str) -> None:
    before = tree(store, "R-1000")[1]
    with pytest.raises(SystemExit):
        main(["tasks", store, "--rename", "research", "survey"])
    tree(store)  # takes what was printed so far
    after = tree(store, "R-1000", "--task", "survey")[1]
    assert after == before.replace("research R-1000", "survey R-1000")
    assert "ask_reader › reader" in after


def test_looking_at_a_tree_changes_nothing(tree: Callable[..., Any], store: str) -> None:
    before = Path(store).read_bytes()
    tree(store)
    assert Path(store).read_bytes() == before


def test_what_no_call_reports_is_named_and_not_drawn_as_a_sum() -> None:
    silent = {"input_tokens": None, "output_tokens": None}
    half = {"input_tokens": 7, "output_tokens": None}
    untimed = {"duration_s": None, "ended_at_ns": None}
    nothing = _drawn(tree_of([call("a", "r", 0, 0, **silent, **untimed)]), 100)
    only_input = _drawn(tree_of([call("a", "r", 0, 0, **half), call("b", "r", 1, 2, **half)]), 100)

    assert "tokens not reported, time not known" in nothing[1]
    assert "1 call of 1 reports no usage." in nothing
    assert "14 input tokens, output not reported" in only_input[1]
    assert "2 calls of 2 report no output tokens." in only_input


def test_a_narrow_tree_leaves_out_columns_and_cuts_no_number() -> None:
    calls = [call("p", "main", 0, 0, input_tokens=123_456, output_tokens=65_432, tool_calls=1)]
    calls.append(call("s", "sub", 0, 1, depth=1, inside_tool_call_id="t", input_tokens=98_765, output_tokens=4_321))
    tree = tree_of(calls, [tool("p", "t", "ask", agent_run_id="sub")])

    wide, narrow = _drawn(tree, 100), _drawn(tree, 45)

    assert "own" in wide[2]
    head = narrow.index(next(line for line in narrow if line.split() == ["input", "output", "time"]))
    assert narrow[head + 1].split() == ["main", "222k", "69.8k", "2.00", "s"]


def test_a_task_without_sub_agents_has_no_empty_columns_for_sums_without_them() -> None:
    drawn = _drawn(tree_of([call("p", "main", 0, 0, tool_calls=1), call("q", "main", 1, 2)]), 100)
    assert any(line.split() == ["calls", "tools", "input", "output", "time"] for line in drawn)


def test_no_call_lasts_less_than_no_time_where_a_clock_was_set_back(
    tmp_path: Path, tree: Callable[..., tuple[int, str, str]]
) -> None:
    calls = [call("x", "solo", 0, 50, task_id="A-1") | {"ended_at_ns": 40}, call("y", "other", 0, 60, task_id="A-2")]
    store = str(_stored(tmp_path, calls, []))
    assert [one["duration_s"] for one in json.loads(tree(store, "A-1", "--json")[1])] == [0, 0, 0]
    assert min(one["duration_s"] for one in json.loads(tree(store, "--json")[1])) == 0
