"""The pictures in the documentation: each is shown somewhere, and each can be made again."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _made() -> set[str]:
    """Return the names that the script which takes the pictures gives them."""
    tree = ast.parse((ROOT / "bench" / "screenshots.py").read_text(encoding="utf-8"))
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {text for text in texts if isinstance(text, str) and text.endswith(".png") and "*" not in text}


def test_every_picture_is_shown_on_a_page_and_made_by_a_script() -> None:
    pictures = {path.name for path in (ROOT / "docs").glob("*.png")}
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {name for page in pages for name in pictures if f"{name})" in page.read_text(encoding="utf-8")}

    assert shown == pictures == _made()
