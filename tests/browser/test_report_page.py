"""The report as a browser shows it: whole, quiet, without a network, on a phone, in the dark and by keyboard."""

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser
from tests.browser.frames import calls_frame, demand_frame, fleet
from tests.browser.pages import opened

from tokenflation.analysis import inflation, profile
from tokenflation.exporters.report import Report, render

pytestmark = pytest.mark.browser

SECTIONS = ["kinds", "parts", "steps", "growth", "tasks", "inflation", "demand", "percentiles"]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a store with everything in it."""
    calls = fleet()
    full = Report(
        name="runs.db", calls=calls, profile=profile(calls),
        factors=inflation(calls, baseline="answer-once", rng=np.random.default_rng(1)), demand=demand_frame(), lost={"queue_full": 3},
    )  # fmt: skip
    return _written(tmp_path_factory.mktemp("report") / "full.html", full)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a store with one failed call that reports nothing."""
    calls = calls_frame([{"call_id": "a", "task": "k", "task_id": "t", "agent_run_id": "r", "status": "error"}])
    empty = Report(
        name="bare.db",
        calls=calls,
        profile=profile(calls),
        no_factors="No baseline was recorded.",
        no_demand="No plan.",
    )
    return _written(tmp_path_factory.mktemp("report") / "bare.html", empty)


def _written(path: Path, report: Report) -> Path:
    path.write_text(render(report), encoding="utf-8")
    return path


def test_the_page_draws_every_section_without_errors_and_without_a_network(browser: Browser, report: Path) -> None:
    with opened(browser, report.as_uri()) as (page, said, asked):
        assert said == []
        assert asked == [report.as_uri()]
        assert page.locator("main section").evaluate_all("all => all.map(one => one.id)") == SECTIONS
        plots = page.locator(".plot")
        assert plots.count() == 16
        assert page.locator(".plot svg.main-svg >> nth=0").count() == 1
        assert plots.evaluate_all("all => all.every(one => one.querySelector('.trace, .points, .scatterlayer path'))")


def test_the_page_shows_the_facts_of_the_store_and_what_was_lost(browser: Browser, report: Path) -> None:
    with opened(browser, report.as_uri()) as (page, _, _asked):
        head = page.locator("header").inner_text()
    assert "120" in head
    assert "3 records were lost" in head
    assert "queue full: 3" in head


def test_the_demand_says_what_it_assumes_and_warns_of(browser: Browser, report: Path) -> None:
    with opened(browser, report.as_uri()) as (page, _, _asked):
        told = page.locator("#demand").inner_text()
    assert "Few tasks." in told
    assert "Poisson." in told
    assert "research 1M (30 recorded)" in told
    assert "300G" in told


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_page_never_scrolls_sideways(browser: Browser, report: Path, width: int) -> None:
    with opened(browser, report.as_uri(), viewport={"width": width, "height": 740}) as (page, _, _asked):
        page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_dark_and_light_follow_the_system_even_when_it_changes(browser: Browser, report: Path) -> None:
    with opened(browser, report.as_uri(), color_scheme="light") as (page, said, _):
        text = "getComputedStyle(document.querySelector('.plot .ytick text')).fill"
        ground = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(f"[{text}, {ground}]")
        page.emulate_media(color_scheme="dark")
        page.locator("html[data-drawn=dark]").wait_for(state="attached")
        dark = page.evaluate(f"[{text}, {ground}]")
        assert said == []
    assert light[1] == "rgb(255, 255, 255)"
    assert dark[1] == "rgb(21, 24, 28)"
    assert light[0] != dark[0]


def test_colours_that_change_while_charts_are_drawn_leave_none_in_the_others(browser: Browser, report: Path) -> None:
    with browser.new_context(color_scheme="light") as opened:
        page = opened.new_page()
        page.goto(report.as_uri(), wait_until="domcontentloaded")
        for scheme in ("dark", "light", "dark", "light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(60)
        page.locator("html[data-drawn=dark]").wait_for(state="attached")
        page.locator(".plot:not([data-colours=dark])").first.wait_for(state="detached")
        assert set(page.locator(".plot").evaluate_all("all => all.map(one => one.dataset.colours)")) == {"dark"}


def test_paper_has_every_chart_even_of_a_page_that_is_still_drawing(browser: Browser, report: Path) -> None:
    with browser.new_context(color_scheme="dark") as opened:
        page = opened.new_page()
        page.goto(report.as_uri(), wait_until="domcontentloaded")
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        drawn = page.locator(".plot").evaluate_all(
            "all => all.map(one => one.dataset.colours + one.querySelectorAll('svg.main-svg').length)"
        )
        assert set(drawn) == {"light3"}


def test_paper_has_the_percentiles_of_each_kind_and_the_heads_of_tables_on_each_page(
    browser: Browser, report: Path
) -> None:
    with opened(browser, report.as_uri()) as (page, _, _asked):
        tables = page.locator("#percentiles table")
        assert (tables.count(), tables.nth(1).is_visible()) == (4, False)
        page.emulate_media(media="print")
        assert [tables.nth(one).is_visible() for one in range(4)] == [True] * 4
        # Chromium repeats a head that may not be broken, without buttons in it.
        head = tables.first.locator("thead")
        assert head.evaluate("one => getComputedStyle(one).breakInside") == "avoid"
        assert head.locator(".sort").first.evaluate("one => getComputedStyle(one).display") == "contents"


def test_every_chart_says_what_it_shows_and_has_its_data_as_a_table(browser: Browser, report: Path) -> None:
    with opened(browser, report.as_uri()) as (page, _, _asked):
        assert page.locator(".plot").evaluate_all("all => all.every(one => one.getAttribute('aria-label').length > 30)")
        assert page.locator("figure.chart details table tbody tr:first-child").count() == page.locator(".plot").count()
        assert page.locator(".modebar-btn").count() == 0


def test_the_keyboard_reaches_the_content_and_opens_a_table(browser: Browser, report: Path) -> None:
    with opened(browser, report.as_uri()) as (page, _, _asked):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        summary = page.locator("figure.chart summary").first
        summary.focus()
        page.keyboard.press("Enter")
        assert page.locator("figure.chart details").first.evaluate("one => one.open")


def test_names_from_the_store_are_text_and_never_markup(browser: Browser, report: Path) -> None:
    with opened(browser, report.as_uri()) as (page, _, _asked):
        assert page.locator("main b, main tspan[style*='font-weight']").count() == 0
        assert "fix <b>bug</b>" in page.locator("#kinds").inner_text()


def test_an_empty_section_says_what_is_missing(browser: Browser, bare: Path) -> None:
    with opened(browser, bare.as_uri()) as (page, said, _):
        assert said == []
        assert page.locator("#inflation .empty").inner_text() == "No baseline was recorded."
        assert page.locator("#demand .empty").inner_text() == "No plan."
        assert "Every call of this store failed" in page.locator("#steps .empty").inner_text()
        assert "not reported" in page.locator("#kinds .card").inner_text()
        assert page.locator(".plot").count() == 0
