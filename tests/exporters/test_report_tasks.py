"""The report's view into single tasks: widths that add up, the right tasks, and odd stores."""

import json
import re
from typing import Any

from hypothesis import given, settings
from tests.analysis.conftest import Row, frame_of
from tests.analysis.trees import call, random_tasks, research, tool, tools_of, tree_of

from tokenflation.analysis.structure.folding import folded
from tokenflation.exporters.report.figures.task import COLOURS, MAX_LEVELS, legend_of, task_figure
from tokenflation.exporters.report.markup import section_html
from tokenflation.exporters.report.sections.task import task_section
from tokenflation.exporters.report.theme import PALETTE, swaps


def _drawn(rows: list[Row], tools: list[dict[str, Any]] | None = None) -> str:
    return section_html(task_section(frame_of(rows), tools_of(tools or []), None))


def _figures(page: str) -> list[dict[str, Any]]:
    return [
        json.loads(found)["data"][0]
        for found in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page)
    ]


def test_widths_are_input_and_output_tokens_of_each_part() -> None:
    (trace,) = task_figure(tree_of(*research())).data
    widths = dict(zip(trace.ids, zip(trace.labels, trace.values, strict=True), strict=True))
    assert widths["0"] == ("t", 3_685)
    assert [(label, value) for label, value in widths.values()][1:4] == [
        ("planner", 3_685),
        ("step 0", 1_985),
        ("ask_reader", 510),
    ]


def test_shares_of_a_task_are_written_as_everywhere_on_the_page() -> None:
    (trace,) = task_figure(tree_of(*research())).data
    assert "100\N{NO-BREAK SPACE}% of the task" in trace.customdata[0]


@given(random_tasks())
@settings(deadline=None)
def test_parts_never_exceed_what_they_are_inside_of_and_own_tokens_are_the_rest(task: tuple[list[Row], Any]) -> None:
    tree = tree_of(*task)
    if not tree.total.tokens:
        return
    (trace,) = task_figure(tree).data
    inner = dict.fromkeys(trace.ids, 0)
    for parent, value in zip(trace.parents, trace.values, strict=True):
        if parent:
            inner[parent] += value
    for id_, value in zip(trace.ids, trace.values, strict=True):
        assert inner[id_] <= value
    assert sum(value - inner[id_] for id_, value in zip(trace.ids, trace.values, strict=True)) == tree.total.tokens


def test_the_largest_task_of_each_kind_is_drawn_and_kinds_of_single_calls_are_not() -> None:
    rows = [
        call(f"{task}{n}", f"r{task}", n, n, task="small", task_id=task, input_tokens=size)
        for task, size in (("s1", 10), ("s2", 20))
        for n in (0, 1)
    ]
    rows += [call(f"b{n}", "b", n, n, task="big", task_id="b1") for n in (0, 1)]
    rows += [call("o", "o", 0, 0, task="once", task_id="o1", input_tokens=10**6)]
    page = _drawn(rows)
    assert re.findall(r"<h3>(.*?)</h3>", page) == ["big: b1", "small: s2"]


def test_the_legend_names_what_is_drawn_and_no_more() -> None:
    assert list(legend_of(tree_of(*research()))) == list(COLOURS)
    assert list(legend_of(tree_of([call("a", "r", 0, 0)]))) == ["task", "agent run", "step"]


def test_text_stays_dark_on_colours_that_change_with_the_theme() -> None:
    (trace,) = task_figure(tree_of(*research())).data
    assert trace.textfont.color not in swaps()
    assert set(trace.marker.colors) <= {colour.light for colour in PALETTE.values()}


def test_a_name_is_shown_letter_by_letter() -> None:
    name = '<b>x</b></script><!--"'
    page = _drawn([call(f"a{n}", "r", n, n, agent=name, task=name, task_id=name) for n in (0, 1)])
    (trace,) = _figures(page)
    assert trace["labels"][1] == '&lt;b&gt;x&lt;/b&gt;&lt;/script&gt;&lt;!--"'
    assert "<b>x" not in page


def test_what_is_not_reported_or_not_placed_is_said() -> None:
    rows = [call("p", "p", 0, 0), call("q", "q", 0, 0, input_tokens=None), call("s", "s", 0, 1, depth=1)]
    page = _drawn(rows)
    assert "Input of 1 call is not reported: counted, without a width." in page
    assert "Nothing tells what started 1 agent run: drawn at the task." in page
    assert "<td>200+</td>" in page


def test_a_store_without_such_a_task_says_how_to_record_one() -> None:
    page = _drawn([call("a", "r", 0, 0)])
    assert "No task of this store has several calls that report their tokens." in page
    assert "<figure" not in page


def test_a_loop_without_counts_is_not_told_to_record_a_loop() -> None:
    rows = [call(f"c{step}", "r", step, step, input_tokens=None, output_tokens=None) for step in range(3)]
    page = _drawn(rows)
    assert "No call of this store reports its tokens" in page
    assert "<code>tokenflation tree DB</code>" in page
    assert "goes on" not in page
    assert "<figure" not in page
    assert "<figure" not in page


def test_a_task_of_a_thousand_calls_is_folded_to_what_a_page_can_hold() -> None:
    rows = [call(f"c{n}", "r", n, n) for n in range(1_000)]
    rows += [
        call(f"s{n}-{m}", f"s{n}", m, n + m / 100, depth=1, inside_tool_call_id=f"t{n}")
        for n in range(0, 1_000, 7)
        for m in range(30)
    ]
    (trace,) = _figures(_drawn(rows, [tool(f"c{n}", f"t{n}") for n in range(0, 1_000, 7)]))
    assert len(trace["ids"]) <= 400
    assert trace["values"][0] == 110 * len(rows)


def test_what_is_nested_too_deep_is_part_of_what_is_drawn() -> None:
    rows = [call(f"c{n}", f"r{n}", 0, n, depth=n, inside_tool_call_id=f"t{n - 1}" if n else None) for n in range(30)]
    page = _drawn(rows, [tool(f"c{n}", f"t{n}") for n in range(29)])
    (trace,) = _figures(page)
    assert (len(trace["ids"]), trace["values"][0]) == (MAX_LEVELS, 30 * 110)
    assert "22 calls nested too deep to draw: part of the widths above." in page


def test_folding_changes_no_width_of_what_stays() -> None:
    tree = tree_of([call(f"c{n}", "r", n, n) for n in range(100)])
    (trace,) = task_figure(folded(tree, most=5)).data
    assert trace.values[:2] == (11_000, 11_000)
    assert trace.labels[2] == "0\N{EN DASH}19"
