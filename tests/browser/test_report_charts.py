"""Charts where numbers are missing or nothing: what is not there is not drawn, and what is drawn stands apart."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Browser
from tests.analysis.conftest import write_store
from tests.analysis.trees import call
from tests.browser.pages import opened

from tokenflation.exporters.report import build_report, render

pytestmark = pytest.mark.browser


def _rows(kind: str, tasks: int) -> list[dict[str, Any]]:
    """Return tasks of five calls of two models, each after a longer pause; the last read nothing from the cache."""
    return [
        call(
            f"{kind}{task}c{step}", f"{kind}{task}", step, 10_000 * task + pause, task=kind, task_id=f"{kind}{task}",
            agent="agent", model=f"model-{task % 2}", input_tokens=1_000 + 100 * step + 50 * task,
            cache_read_tokens=0 if step in (0, 4) else 900,
            continues_call_id=f"{kind}{task}c{step - 1}" if step else None,
        )
        for task in range(tasks)
        for step, pause in enumerate((0, 10, 200, 800, 2_000, 7_000))
    ]  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a page of one kind of twelve tasks and one of two."""
    folder = tmp_path_factory.mktemp("charts")
    store = write_store(folder / "runs.db", [*_rows("many", 12), *_rows("few", 2)])
    written = folder / "report.html"
    report = replace(build_report(str(store)), remarks=tuple(f"Remark {one}." for one in range(9)))
    written.write_text(render(report), encoding="utf-8")
    return written.as_uri()


def test_only_a_kind_that_has_an_interval_has_whiskers(browser: Browser, page: str) -> None:
    with opened(browser, page) as (shown, said, _):
        drawn = shown.locator("[data-figure=inflation-factors-spec] .errorbar path")
        # Of the kind of twelve tasks: what is billed and what is computed.
        assert drawn.count() == 2
        assert said == []


def test_pauses_stand_apart_on_a_phone_and_nothing_read_is_written(browser: Browser, page: str) -> None:
    with opened(browser, page, viewport={"width": 360, "height": 800}) as (shown, *_):
        chart = shown.locator("[data-figure=cache-pauses-spec]")
        ticks = chart.locator(".xtick text").evaluate_all(
            "all => all.map(one => [one.getBoundingClientRect().left, one.getBoundingClientRect().right])"
        )
        assert len(ticks) == 5
        assert all(right < left for (_, right), (left, _) in pairwise(ticks))
        assert chart.locator(".bartext").all_text_contents().count("0") == 2


def test_lines_between_rows_go_on_below_the_names_that_stay_in_sight(browser: Browser, page: str) -> None:
    with opened(browser, page, viewport={"width": 390, "height": 800}) as (shown, *_):
        table = shown.locator("#structure > .scroll table").first
        assert table.locator("th").first.evaluate("one => getComputedStyle(one).position") == "sticky"
        # Lines of collapsed borders belong to the table, and are hidden below a cell that has a ground of its own.
        assert table.evaluate("one => getComputedStyle(one).borderCollapse") == "separate"


def test_paper_has_every_remark_and_says_of_longer_lists_that_they_go_on(browser: Browser, page: str) -> None:
    with opened(browser, page) as (shown, *_):
        shown.emulate_media(media="print")
        rest = shown.locator("#demand .note .rest")
        assert (rest.locator("summary").is_visible(), rest.locator("li").last.is_visible()) == (False, True)
        shown.locator("#findings").evaluate(
            "one => one.insertAdjacentHTML('beforeend', '<details class=\"data rest\"><summary>9 more</summary><p>x</p></details>')"
        )
        more = shown.locator("#findings > .rest").last
        assert (more.locator("summary").is_visible(), more.locator("p").is_visible()) == (True, False)
        assert not shown.locator("#findings .told details").first.is_visible()
