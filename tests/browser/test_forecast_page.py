"""A plan's forecast in a browser: in both themes and on a phone, told without sight, followed live."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from tests.analysis.test_forecast_command import recorded
from tests.browser.pages import opened, serving
from tests.browser.test_live_page import _record

from tokenflation import analysis as an
from tokenflation.analysis.planning.parts import Uncertain
from tokenflation.exporters.report import build_report, render
from tokenflation.exporters.web import create_app

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a plan with an unsure volume, two days ahead."""
    folder = tmp_path_factory.mktemp("forecast")
    store = recorded(folder, {"triage": 3, "research": 8})
    plan = an.Plan(tasks_per_day={"triage": 90_000.0, "research": 10_000.0}, day_shape="business_day", days=2,
                   assumptions={"tasks_per_day.triage": Uncertain(cv=0.3)})  # fmt: skip
    (folder / "report.html").write_text(
        render(build_report(str(store), plan=plan, plan_name="fleet.yaml")), encoding="utf-8"
    )
    return folder / "report.html"


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
def test_the_fan_is_drawn_with_its_peak_apart_in_both_themes(
    browser: Browser, page_file: Path, scheme: Any, width: int
) -> None:
    view: Any = {"width": width, "height": 844}
    with opened(browser, page_file.as_uri(), color_scheme=scheme, viewport=view) as (page, said, asked):
        section = page.locator("#forecast")
        assert section.locator(".plot").count() == 6
        assert section.locator(".plot").evaluate_all("all => all.every(one => one.querySelector('.main-svg .trace'))")
        fan = section.locator("[data-figure=forecast-concurrent-calls-spec]")
        assert fan.locator(".scatterlayer .trace").count() == 4
        assert "stroke-dasharray" in (
            fan.locator(".scatterlayer .trace path.js-line").last.get_attribute("style") or ""
        )
        section.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert (said, asked) == ([], [page_file.as_uri()])


def test_whoever_sees_no_chart_is_told_what_it_shows_and_reaches_its_numbers_by_keyboard(
    browser: Browser, page_file: Path
) -> None:
    with opened(browser, page_file.as_uri()) as (page, _, _asked):
        section = page.locator("#forecast")
        labels = section.locator(".plot").evaluate_all("all => all.map(one => one.ariaLabel)")
        assert all(len(label) > 60 for label in labels)
        assert sum("The peak of the busiest day, not passed in 95 of 100, is" in label for label in labels) == 3
        section.locator("figure summary").first.focus()
        page.keyboard.press("Enter")
        assert section.locator("figure").first.locator("tbody tr").count() == 48
        assert section.locator("figure").first.locator("thead").inner_text().split("\t")[:2] == ["hour", "mean"]
        assert "at its p90" in section.inner_text()


def test_the_live_page_shows_the_forecast_once_enough_is_recorded(browser: Browser, tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    _record(store, "T-1")
    plan = an.Plan(tasks_per_day={"triage": 5000.0, "research": 100.0})
    with serving(create_app(str(store), every_s=0.05, plan=plan, plan_name="fleet.yaml")) as url, \
            opened(browser, url) as (page, said, _):  # fmt: skip
        assert (
            "There is no forecast: plan.tasks_per_day names 'research'" in page.locator("#forecast .empty").inner_text()
        )
        _record(store, "R-1", "R-2", kind="research")
        _record(store, "T-2")
        page.locator("#forecast .plot .main-svg").first.wait_for()
        assert "fleet.yaml" in page.locator("#forecast .lede").inner_text()
        assert said == []
