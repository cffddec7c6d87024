"""The matrix as tables: client x version x scenario, from what `tests.matrix.run` wrote.

    python -m tests.matrix.table build/matrix [--markdown]

Knows nothing of clients or of the recorder; exits with 1 if a cell is not as it should be.
"""

import argparse
import json
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.matrix.scenarios import SCENARIOS

__all__ = ["main", "markdown", "text"]

_MEANING = (
    "`ok`: the store has exactly the rows, tokens, tool calls, attempts and status that the server sent, and the "
    "client returned, raised and logged exactly what it does without the recorder. `-`: this version of the client "
    "cannot do it. A blank: no such scenario for this client. litellm stops reading an Anthropic stream once it has the "
    "usage, before the end: for those two scenarios status `cut` is accepted beside `ok`. Logged lines are compared "
    "without the objects they name, and what a client logs only the first time is left out."
)
_HEAD = """# Clients that are tested

Real clients on Python 3.11, against a local server that knows what it sent: the newest version of each, and old ones. Not
every old one is the very first: mistralai before 1.3 fails at its own retries, and older versions of litellm than 1.60 were
not tried.
"""


def markdown(reports: list[dict[str, Any]]) -> str:
    """Return a page with a table of all environments and, for each client, its scenarios by version."""
    lines = [_HEAD.strip(), "", _MEANING, "", "Made by `make matrix` (`tests/matrix/`).", ""]
    lines += ["| client | version | scenarios ok | cannot do | not ok |", "|---|---|---|---|---|"]
    for one in reports:
        counts = _counts(one)
        lines.append(f"| {one['client']} | {one['version']} | {counts[0]} | {counts[1]} | {counts[2]} |")
    for client, group in groupby(reports, key=lambda one: one["client"]):
        versions = list(group)
        lines += ["", f"## {client}", "", f"| scenario | {' | '.join(one['version'] for one in versions)} |"]
        lines.append("|---" * (len(versions) + 1) + "|")
        lines += [f"| {title} | {' | '.join(cells)} |" for title, cells in _rows(versions)]
    return "\n".join(lines) + "\n"


def text(reports: list[dict[str, Any]]) -> str:
    """Return the same tables for a terminal, with what differs below each."""
    lines: list[str] = []
    for client, group in groupby(reports, key=lambda one: one["client"]):
        versions = list(group)
        lines += ["", f"{client:42}" + "".join(f"{one['version']:>11}" for one in versions)]
        for title, cells in _rows(versions):
            lines.append(f"  {title:40}" + "".join(f"{cell if len(cell) < 3 else 'DIFFERS':>11}" for cell in cells))
        for one in versions:
            wrong = {name: cell for name, cell in one["cells"].items() if cell not in ("ok", "-")}
            lines += [f"  {one['version']} {SCENARIOS[name].title}: {cell}" for name, cell in wrong.items()]
    total = [sum(numbers) for numbers in zip(*(_counts(one) for one in reports), strict=True)]
    lines += ["", f"{len(reports)} clients: {total[0]} cells ok, {total[1]} cannot be done, {total[2]} differ"]
    return "\n".join(lines)


def _counts(report: dict[str, Any]) -> tuple[int, int, int]:
    cells = list(report["cells"].values())
    return cells.count("ok"), cells.count("-"), len(cells) - cells.count("ok") - cells.count("-")


def _rows(versions: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    names = [name for name in SCENARIOS if any(name in one["cells"] for one in versions)]
    return [(SCENARIOS[name].title, [one["cells"].get(name, "") for one in versions]) for name in names]


def _version_key(report: dict[str, Any]) -> tuple[str, list[int]]:
    return report["client"], [int(part) for part in report["version"].split(".") if part.isdecimal()]


def main() -> None:
    """Print the tables of a folder of results."""
    parser = argparse.ArgumentParser(description="Print the matrix.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--markdown", action="store_true", help="as Markdown, for docs/clients.md")
    options = parser.parse_args()
    reports = sorted((json.loads(path.read_text()) for path in options.folder.glob("*.json")), key=_version_key)
    if not reports:
        sys.exit(f"{options.folder} holds no results; `make matrix` makes them.")
    print(markdown(reports) if options.markdown else text(reports))
    sys.exit(1 if any(_counts(one)[2] for one in reports) else 0)


if __name__ == "__main__":
    main()
