"""The page as demanding readers find it: contrast, labels, odd names, stores with little in them, paper, phones."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from tests.analysis.conftest import write_store
from tests.analysis.trees import call

from tokenflation.exporters.report import build_report, render

pytestmark = pytest.mark.browser

ODD = (
    "تلخيص المستندات", "<script>alert(1)</script>", "a\u202eevil\u202cb", "`code` & *stars*", "", "line\nbreak",
    "🧪 experiments 👩‍👩‍👧", '"><img src=x onerror=alert(1)>', "文档摘要与检索增强生成任务", "x" * 200,
)  # fmt: skip
LONG = tuple(f"organisation/department-of-long-names/pipeline-{place:03d}/never/seems/to/end" for place in range(40))
_CONTRAST = """() => {
  const parsed = (text) => { const found = text.match(/[\\d.]+/g).map(Number); return found.length < 4 ? [...found, 1] : found; };
  const light = (colour) => { const [r, g, b] = colour.slice(0, 3).map((one) => {
    const part = one / 255; return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ratio = (one, other) => { const [high, low] = [light(one), light(other)].sort((a, b) => b - a); return (high + 0.05) / (low + 0.05); };
  const ground = (node) => { for (let one = node; one; one = one.parentElement) {
    const colour = parsed(getComputedStyle(one).backgroundColor); if (colour[3] === 1) return colour; }
    return [255, 255, 255, 1]; };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), one = walker.currentNode.parentElement;
    if (!text || !one.checkVisibility() || one.closest("script, style, noscript, .skip")) continue;
    const svg = one.closest("text"), slice = one.closest("g.slice, g.pathbar");
    const ink = parsed(svg ? getComputedStyle(svg).fill : getComputedStyle(one).color);
    const under = slice ? parsed(getComputedStyle(slice.querySelector("path")).fill) : ground(svg ? one.closest(".plot") : one);
    if (ratio(ink, under) < 4.5) found.push(`${text.slice(0, 40)}: ${ratio(ink, under).toFixed(2)}`);
  }
  return found;
}"""


def _page(folder: Path, rows: list[dict[str, Any]]) -> Path:
    page = folder / "report.html"
    page.write_text(render(build_report(str(write_store(folder / "runs.db", rows)))), encoding="utf-8")
    return page


def _loops(kinds: tuple[str, ...], **values: Any) -> list[dict[str, Any]]:
    return [
        call(
            f"k{place}c{step}", f"r{place}", step, 10 * place + step, task=kind, task_id=f"{kind}/1", agent=kind, model=kind,
            **{"input_tokens": 1000 + 400 * step + place} | values,
        )
        for place, kind in enumerate(kinds)
        for step in range(3)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of names in many scripts, with markup, with marks that turn text, and without any letter."""
    return _page(tmp_path_factory.mktemp("odd"), _loops(ODD))


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of forty kinds with long names that begin alike."""
    return _page(tmp_path_factory.mktemp("long"), _loops(LONG))


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of calls whose log reports input alone, as that of a coding agent does."""
    rows = _loops(("claude-code",) * 12, output_tokens=None, usage_source="partial", usage_complete=0)
    tasks = [row | {"task_id": row["agent_run_id"]} for row in rows]
    return _page(tmp_path_factory.mktemp("silent"), tasks)


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page, with a forecast, of a kind whose name has no end to wrap at."""
    rows = _loops(("x" * 3000,) * 2, output_tokens=10)
    return _page(tmp_path_factory.mktemp("endless"), [row | {"task_id": row["agent_run_id"]} for row in rows])


@contextmanager
def _opened(browser: Browser, page: Path, width: int = 390, **context: Any) -> Iterator[Page]:
    with browser.new_context(viewport={"width": width, "height": 844}, **context) as opened:
        opened.set_default_timeout(90_000)
        tab = opened.new_page()
        said: list[str] = []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(page.as_uri())
        tab.locator("html[data-drawn]").wait_for(state="attached")
        yield tab
        assert said == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_has_the_contrast_that_wcag_asks_for(browser: Browser, odd: Path, theme: Any) -> None:
    with _opened(browser, odd, 1280, color_scheme=theme) as page:
        page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
        assert page.evaluate(_CONTRAST) == []


@pytest.mark.parametrize("width", [360, 768])
def test_no_tick_runs_into_the_next_leans_or_leaves_its_chart(browser: Browser, odd: Path, width: int) -> None:
    boxes = """all => all.flatMap(plot => {
      const frame = plot.getBoundingClientRect(), found = [];
      const ticks = [...plot.querySelectorAll('.xtick text')].map(one => one.getBoundingClientRect()).sort((a, b) => a.left - b.left);
      ticks.forEach((one, at) => { if (at && one.left < ticks[at - 1].right - 1) found.push('overlap'); if (one.height > 20) found.push('leans'); });
      for (const one of plot.querySelectorAll('.xtick text, .ytick text, .xtitle, .textpoint text')) {
        const box = one.getBoundingClientRect();
        if (box.left < frame.left - 2 || box.right > frame.right + 2) found.push(one.textContent);
      }
      return found.map(one => `${plot.dataset.figure}: ${one}`);
    })"""
    with _opened(browser, odd, width) as page:
        assert page.locator(".plot").evaluate_all(boxes) == []


@pytest.mark.parametrize("width", [390, 1280])
def test_a_name_without_end_is_broken_wherever_it_stands(browser: Browser, endless: Path, width: int) -> None:
    with _opened(browser, endless, width) as page:
        assert "tokens/s" in page.locator("#demand").inner_text()
        page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator(".scroll table").evaluate_all("all => Math.max(...all.map(one => one.offsetWidth))") < 3000


def test_names_are_text_stand_apart_and_never_turn_what_is_beside_them(browser: Browser, odd: Path) -> None:
    with _opened(browser, odd) as page:
        shown = page.locator("#kinds h3").all_inner_texts()
        assert any(one.startswith("(no name)") for one in shown)
        assert any(one.startswith("aevilb") for one in shown)
        assert any("<script>alert(1)</script>" in one for one in shown)
        assert page.locator("main img, main script:not([type])").count() == 0
        assert "\u2068تلخيص المستندات\u2069, 1 task" in page.locator("#percentiles").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_long_names_that_begin_alike_can_be_told_apart_and_lists_of_them_end(browser: Browser, long: Path) -> None:
    with _opened(browser, long) as page:
        for chart in ("parts-input", "structure-time", "inflation-factors", "inflation-drivers"):
            names = page.locator(f"[data-figure={chart}-spec] .ytick text").all_text_contents()
            assert len(names) == len(set(names)) > 3, chart
        assert "and 31 more" in page.locator("#steps .note").inner_text()
        assert max(len(one) for one in page.locator("main .note").all_inner_texts()) < 1200
        assert page.locator("#inflation-drivers-spec").count() == 1
        assert page.locator("[data-figure=inflation-drivers-spec]").evaluate("one => one.offsetHeight") < 1200
        page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_wide_table_says_so_keeps_its_caption_and_names_in_sight_and_traps_no_scrolling(
    browser: Browser, odd: Path
) -> None:
    with _opened(browser, odd) as page:
        table = page.locator("#structure > .scroll").first
        assert table.evaluate("one => one.scrollWidth > one.clientWidth")
        assert "linear-gradient" in table.evaluate("one => getComputedStyle(one).backgroundImage")
        table.evaluate("one => { one.scrollLeft = 9999; }")
        left, right = table.locator("caption span").evaluate(
            "one => [one.getBoundingClientRect().left, one.getBoundingClientRect().right]"
        )
        assert 0 <= left < right <= 390
        # What a row is called stays in sight too.
        assert table.locator("tbody th").first.evaluate("one => one.getBoundingClientRect().left") >= 0
        tall = "all => all.filter(one => one.checkVisibility() && one.scrollHeight > one.clientHeight + 1).length"
        assert page.locator(".scroll").evaluate_all(tall) == 0


def test_what_a_log_does_not_report_is_never_drawn_as_nothing(browser: Browser, silent: Path) -> None:
    with _opened(browser, silent, 1280) as page:
        assert page.locator("#headline dl div", has_text="Usage reported").locator(".value").inner_text() == "in part"
        assert page.locator(".plot").evaluate_all(
            "all => all.every(one => one.querySelector('.trace, .points, path.js-line, .slice'))"
        )
        assert page.locator("[data-figure=inflation-factors-spec] .bars .point").count() == 1
        assert "input" in page.locator("#inflation .legend").first.inner_text()
        assert "Output tokens per day\nnot reported" in page.locator("#demand").inner_text()
        assert "output not reported" in page.locator("#tasks .note").first.inner_text()
        assert page.locator("#parts .charts .empty").count() == 0


def test_one_call_is_one_call_and_a_store_of_errors_says_what_it_lacks(browser: Browser, tmp_path: Path) -> None:
    for folder in ("one", "errors"):
        (tmp_path / folder).mkdir()
    one = _page(tmp_path / "one", [call("a", "r", 0, 0, task="ask")])
    with _opened(browser, one) as page:
        text = page.locator("body").inner_text().partition("Demand by hour")[0]
        assert re.findall(r"\b1 (?:calls|tasks|kinds|agent runs|steps|records)\b", text) == []
        assert page.locator("#percentiles summary").first.inner_text() == "ask, 1 task"
        assert page.locator("#inflation .plot").count() == 1
    failed = {"status": "error", "input_tokens": None, "output_tokens": None, "usage_source": "absent"}
    errors = _page(
        tmp_path / "errors", [call(f"e{n}", f"r{n}", 0, n, task="ask", task_id=f"t{n}", **failed) for n in range(4)]
    )
    with _opened(browser, errors) as page:
        assert (
            page.locator("#inflation .empty").inner_text() == "No task reports usage, so there is nothing to compare."
        )
        assert page.locator("#demand .empty code").inner_text() == "tokenflation info"


def test_paper_is_light_and_as_wide_as_a_page_and_the_screen_is_as_it_was_after(browser: Browser, silent: Path) -> None:
    fill = "getComputedStyle(document.querySelector('.plot .ytick text')).fill"
    with _opened(browser, silent, 1280, color_scheme="dark") as page:
        dark = page.evaluate(fill)
        page.emulate_media(media="print", color_scheme="dark")
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        page.locator("html[data-drawn=light]").wait_for(state="attached")
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 35)"
        assert page.evaluate(fill) != dark
        assert (
            page.locator(".plot .main-svg").evaluate_all("all => Math.max(...all.map(one => one.clientWidth))") <= 660
        )
        assert not page.locator("nav").is_visible()
        page.emulate_media(media="screen", color_scheme="dark")
        page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        page.locator("html[data-drawn=dark]").wait_for(state="attached")
        assert page.evaluate(fill) == dark


def test_with_reduced_motion_nothing_glides(browser: Browser, silent: Path) -> None:
    moves = "all => all.filter(one => parseFloat(getComputedStyle(one).transitionDuration) + parseFloat(getComputedStyle(one).animationDuration) > 0).length"
    with _opened(browser, silent, reduced_motion="reduce") as page:
        assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
        assert page.locator("body, body *:not(svg *)").evaluate_all(moves) == 0
