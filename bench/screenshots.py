"""Makes the README's pictures of the report by headless Chromium, of the bundled example: light, dark, and on a phone.

    python bench/screenshots.py                        # replays the example, writes docs/report*.png
    python bench/screenshots.py --page report.html     # of a page that is there already

Needs Chromium (Debian: apt-get install chromium), playwright from the dev extra, and for the example the demo extra.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import sync_playwright


@dataclass(frozen=True)
class Picture:
    """One picture: what of the page it shows, and how."""

    name: str
    sections: tuple[str, ...]
    width: int
    dark: bool = False
    header: bool = True


PICTURES = (
    Picture("report.png", ("findings", "kinds", "parts"), 1120),
    Picture("report-task.png", ("tasks", "inflation"), 1120, dark=True, header=False),
    Picture("report-cache.png", ("cache", "growth"), 1120, header=False),
    Picture("report-phone.png", ("findings",), 390, dark=True),
)
_FINDINGS = 3


def shoot(page: Path, folder: Path) -> None:
    """Write all pictures of a page into a folder."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for picture in PICTURES:
            context = browser.new_context(
                viewport={"width": picture.width, "height": 900},
                color_scheme="dark" if picture.dark else "light",
                reduced_motion="reduce",
            )
            tab = context.new_page()
            tab.goto(page.resolve().as_uri())
            tab.locator("html[data-drawn]").wait_for(state="attached")
            tab.add_style_tag(content=_style(picture))
            path = folder / picture.name
            tab.screenshot(path=path, full_page=True)
            context.close()
            print(f"{path}: {path.stat().st_size:,} bytes")
        browser.close()


def _style(picture: Picture) -> str:
    """Return CSS that hides what the picture leaves out."""
    shown = ", ".join(f"#{name}" for name in picture.sections)
    hidden = f"main section:not({shown}), nav, footer, details, .findings li:nth-child(n + {_FINDINGS + 1})"
    if not picture.header:
        hidden += ", header"
    return f"{hidden} {{ display: none !important; }} header {{ padding-bottom: 2.5rem; }}"


def example(folder: Path) -> Path:
    """Replay the bundled recording into a folder and return its report."""
    command = [sys.executable, "-c", "from tokenflation.cli import main; main()"]
    subprocess.run(
        [*command, "demo", "--replay", "--pace", "0", "--out", str(folder)], check=True, stdout=subprocess.DEVNULL
    )
    return folder / "report.html"


def main() -> None:
    """Read the arguments and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="a report; default: that of the bundled example")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder for the pictures; default docs")
    given = parser.parse_args()
    if shutil.which("chromium") is None:
        sys.exit("No Chromium found. Install one: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        shoot(given.page or example(Path(folder)), given.out)


if __name__ == "__main__":
    main()
