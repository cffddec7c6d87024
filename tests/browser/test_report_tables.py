"""Tables of the page put in another order, by mouse and by keyboard, and back."""

from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page
from tests.browser.pages import opened

from tokenflation.exporters.report import markup, page

pytestmark = pytest.mark.browser

_ROWS = [
    ("kind-10", "1.20k", "2.00\N{NO-BREAK SPACE}min", "4.4\N{NO-BREAK SPACE}% of 20", "beta"),
    ("kind-9", "not reported", "900\N{NO-BREAK SPACE}ms", "< 0.01\N{NO-BREAK SPACE}% of 9", "3rd"),
    ("kind-2", "1,100", "1.00\N{NO-BREAK SPACE}h", "0\N{NO-BREAK SPACE}% of 7", "alpha"),
    ("kind-1", "990", "59.0\N{NO-BREAK SPACE}s", "none", "alpha"),
]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page with a table of four rows and one of two."""
    body = [
        markup.table("Four", ["kind", "tokens", "time", "rate", "name"], _ROWS),
        markup.table("Two", ["kind", "tokens"], [("a", "1"), ("b", "2")]),
        markup.table("Nested", ["part", "tokens"], [("a", "3"), (" b", "2"), ("  c", "1")], nested=True),
    ]
    section = markup.section_html(markup.Section(key="kinds", title="Tables", lede="", body=body))
    parts = {"source": "", "headline": "", "kinds": section, "how": ""}
    report = page.Report(name="tables", calls=pd.DataFrame(), profile=pd.DataFrame())
    path = tmp_path_factory.mktemp("tables") / "page.html"
    path.write_text(page.render(report, parts=parts), encoding="utf-8")
    return path


def _kinds(shown: Page) -> list[str]:
    return [one.removeprefix("kind-") for one in shown.locator("table").first.locator("tbody th").all_inner_texts()]


def _by(shown: Page, column: str) -> list[str]:
    shown.get_by_role("button", name=column, exact=True).click()
    return _kinds(shown)


def test_numbers_are_put_in_order_by_their_size_whatever_their_unit_and_what_is_unknown_is_last(
    browser: Browser, tables: Path
) -> None:
    with opened(browser, tables.as_uri()) as (shown, said, _):
        assert _by(shown, "tokens") == ["10", "2", "1", "9"]
        assert _by(shown, "tokens") == ["1", "2", "10", "9"]
        assert _by(shown, "tokens") == ["10", "9", "2", "1"]
        assert _by(shown, "time") == ["2", "10", "1", "9"]
        assert _by(shown, "rate") == ["10", "9", "2", "1"]
        assert _by(shown, "name") == ["10", "2", "1", "9"]
        assert _by(shown, "kind") == ["1", "2", "9", "10"]
        assert said == []


def test_the_keyboard_sorts_and_the_column_says_its_order_aloud(browser: Browser, tables: Path) -> None:
    with opened(browser, tables.as_uri()) as (shown, _, _asked):
        shown.get_by_role("button", name="time", exact=True).focus()
        for order in ("descending", "ascending", None):
            shown.keyboard.press("Enter")
            head = shown.locator("thead th").nth(2)
            assert head.get_attribute("aria-sort") == order
            assert shown.locator("[aria-sort]").count() == (order is not None)


def test_a_table_of_two_rows_and_one_whose_rows_are_inside_of_others_have_nothing_to_press(
    browser: Browser, tables: Path
) -> None:
    with opened(browser, tables.as_uri()) as (shown, _, _asked):
        assert shown.locator("table").first.locator("button").count() == 5
        assert shown.locator("table").nth(1).locator("button").count() == 0
        assert shown.locator("table.nested").locator("button").count() == 0
