"""The icicle of a task in a browser: a click opens what holds more, its path leads back, and nothing else moves."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from tests.analysis.conftest import frame_of
from tests.analysis.trees import research, tools_of

from tokenflation.analysis import profile
from tokenflation.exporters.report import Report, render

pytestmark = pytest.mark.browser


def _click(page: Page, label: str) -> int:
    """Click on the first part of that name and return how many parts are drawn then."""
    box = page.locator("#tasks .plot g.slice, #tasks .plot g.pathbar", has_text=label).first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + min(10, box["width"] / 2), box["y"] + box["height"] / 2)
    page.wait_for_function("document.querySelector('#tasks .plot')._transitioning !== 1")
    return page.locator("#tasks .plot g.slice").count()


def test_a_click_opens_what_holds_more_and_its_path_leads_back(browser: Browser, tmp_path: Path) -> None:
    calls, tools = research()
    frame = frame_of(calls).drop(columns="block_hashes")
    page_of = render(Report(name="runs.db", calls=frame, profile=profile(frame), tool_calls=tools_of(tools)))
    (tmp_path / "report.html").write_text(page_of, encoding="utf-8")
    with browser.new_context(viewport={"width": 400, "height": 900}, reduced_motion="reduce") as opened:
        page = opened.new_page()
        page.goto((tmp_path / "report.html").as_uri())
        page.locator("html[data-drawn]").wait_for(state="attached")
        page.locator("#tasks .plot").scroll_into_view_if_needed()
        whole = page.locator("#tasks .plot g.slice").count()
        assert whole == 14
        assert _click(page, "step 1") == whole
        _click(page, "reader")
        page.locator("#tasks .plot g.pathbar").first.wait_for()
        assert page.evaluate("document.querySelector('#tasks .plot')._fullData[0].level") not in (None, "", "0")
        _click(page, "planner")
        page.wait_for_function("document.querySelectorAll('#tasks .plot g.pathbar').length < 2")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
