"""Makes the README's picture of a report by headless Chromium.

    tokenflation report runs.db -o report.html
    python bench/screenshots.py report.html docs/report.png

Needs Chromium (Debian: apt-get install chromium) and playwright from the dev extra.
"""

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

# What fits one picture: the headline, and a chart of each kind.
_SECTIONS = "kinds,parts,growth,demand"


def shoot(page: Path, picture: Path, *, sections: list[str], width: int, dark: bool) -> None:
    """Write a picture of the page's head and of the sections named, the rest hidden."""
    shown = ", ".join(f"#{name}" for name in sections)
    style = f"main section:not({shown}), nav, footer, figure.chart details {{ display: none !important; }}"
    style += "header { padding-bottom: 2.5rem; }"
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        tab = context.new_page()
        tab.goto(page.resolve().as_uri())
        tab.locator("html[data-drawn]").wait_for(state="attached")
        tab.add_style_tag(content=style)
        tab.screenshot(path=picture, full_page=True)
        browser.close()


def main() -> None:
    """Read the arguments and take the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--sections", default=_SECTIONS, help=f"comma-separated; default {_SECTIONS}")
    parser.add_argument("--width", type=int, default=1120)
    parser.add_argument("--dark", action="store_true")
    given = parser.parse_args()
    if shutil.which("chromium") is None:
        sys.exit("No Chromium found. Install one: apt-get install chromium")
    shoot(given.page, given.picture, sections=given.sections.split(","), width=given.width, dark=given.dark)
    print(f"{given.picture}: {given.picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
