"""The page of a whole store in a browser, with findings, cache and structure: keyboard, chosen theme, phone."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from tests.analysis.conftest import write_store
from tests.analysis.prompts import hashes
from tests.analysis.trees import call

from tokenflation.exporters.report import build_report, render

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of twelve tasks whose histories grow, are cached in part, and have prefix hashes."""
    rows: list[dict[str, Any]] = []
    for task in range(12):
        prompt = "s" * 6 + chr(97 + task)
        for step in range(12):
            prompt += "xyz"[step % 3] * 2
            size, read = 64 * len(prompt), 64 * len(prompt) // 2
            blocks: dict[str, Any] = {
                "block_hashes": hashes(prompt),
                "model": "m",
                "cache_read_tokens": read if step else 0,
            }
            run = {
                "agent": "agent",
                "task_id": f"T-{task}",
                "continues_call_id": f"t{task}c{step - 1}" if step else None,
            }
            second = 1000 * task + (2 * step if step < 6 else 400 + 2 * step)
            rows.append(call(f"t{task}c{step}", f"r{task}", step, second, input_tokens=size, **blocks, **run))
    folder = tmp_path_factory.mktemp("whole")
    page = folder / "report.html"
    page.write_text(render(build_report(str(write_store(folder / "runs.db", rows)))), encoding="utf-8")
    return page


def test_every_section_is_drawn_and_findings_come_first(browser: Browser, whole: Path) -> None:
    with browser.new_context(viewport={"width": 390, "height": 844}) as context:
        page, said, asked = context.new_page(), [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(whole.as_uri())
        page.locator("html[data-drawn]").wait_for(state="attached")
        keys = page.locator("main section").evaluate_all("all => all.map(one => one.id)")
        assert keys[0] == "findings"
        assert {"cache", "structure", "growth", "tasks", "inflation"} <= set(keys)
        found = page.locator(".findings h3").all_inner_texts()
        assert "Cache had expired" in found
        assert "Long history that nobody cut down" in found
        for key in ("cache-ttl", "cache-size", "cache-pauses", "structure-time"):
            assert page.locator(f"[data-figure={key}-spec] .main-svg").count() > 0, key
        page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert (said, asked) == ([], [whole.as_uri()])


def test_tab_walks_over_the_whole_page_with_its_place_in_sight_and_leaves_it_again(
    browser: Browser, whole: Path
) -> None:
    reached = "document.activeElement === document.body || document.activeElement === null"
    seen = (
        "() => { const one = document.activeElement, style = getComputedStyle(one.matches('.theme input') ? one.nextElementSibling : one);"
        " return [one.tagName, style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1]; }"
    )
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(whole.as_uri())
        page.locator("html[data-drawn]").wait_for(state="attached")
        stops = page.locator("a[href], summary, input:checked, [tabindex='0']").count()
        places = []
        for _ in range(stops + 2):
            page.keyboard.press("Tab")
            if page.evaluate(reached):
                break
            places.append(page.evaluate(seen))
        else:
            pytest.fail("the keyboard does not leave the page")
        assert all(outlined for _, outlined in places)
        assert {"A", "SUMMARY", "INPUT", "DIV"} <= {tag for tag, _ in places}
        assert page.locator(".plot [tabindex='0'], .plot a[href]").count() == 0


def test_a_chosen_theme_beats_that_of_the_system_and_is_remembered(browser: Browser, whole: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    with browser.new_context(color_scheme="light") as context:
        page = context.new_page()
        page.goto(whole.as_uri())
        page.locator("html[data-drawn=light]").wait_for(state="attached")
        page.locator(".theme input").first.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        page.locator("html[data-drawn=dark]").wait_for(state="attached")
        assert page.evaluate(ground) == "rgb(21, 24, 28)"
        page.reload()
        page.locator("html[data-drawn=dark]").wait_for(state="attached")
        assert page.locator(".theme input[value=dark]").is_checked()


def test_every_figure_has_a_role_a_name_and_its_data(browser: Browser, whole: Path) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(whole.as_uri())
        page.locator("html[data-drawn]").wait_for(state="attached")
        plots = page.locator(".plot")
        assert plots.count() >= 10
        assert plots.evaluate_all("all => all.every(one => one.role === 'img' && one.ariaLabel.length > 30)")
        assert page.locator("figure.chart details table tbody").count() == plots.count()
        assert page.locator("section:not([aria-labelledby])").count() == 0
