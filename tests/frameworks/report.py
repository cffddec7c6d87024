"""The page docs/frameworks.md, from the results of each framework. Does no I/O."""

from collections.abc import Sequence
from typing import Any

from tests.frameworks.plans import SCENARIOS

__all__ = ["IN_TURN", "page"]

IN_TURN = " (in turn)"
"""Stands behind a cell where the framework runs one after another what could be at once."""

_HEAD = """# Frameworks

Agents of known structure, in the newest release of each framework, run by `tokenflation run` with no code of ours in
them. Their models are played by a local server that follows a plan, so what is true is known. A cell is `ok` where the
store tells exactly that: calls, attempts, tasks, agent runs, depth, steps, tool calls asked for, and the tool call that
each sub-agent is inside of. `-` means that the framework has no such thing, `(in turn)` that it runs one after another
what others run at once. Made by

    make frameworks

"""


def page(results: Sequence[dict[str, Any]]) -> str:
    """Return the page."""
    titles = [scenario.title for scenario in SCENARIOS.values()]
    lines = [_row(["framework", "version", *titles]), _row(["---"] * (len(titles) + 2))]
    notes = []
    for result in results:
        cells = []
        for name in SCENARIOS:
            cell = result["cells"].get(name, "")
            if cell.removesuffix(IN_TURN) not in ("ok", "-", ""):
                notes.append(f"{len(notes) + 1}. {result['distribution']}, {SCENARIOS[name].title}: {cell}")
                cell = f"differs ({len(notes)})"
            cells.append(cell)
        lines.append(_row([result["distribution"], result["version"], *cells]))
    differs = ["", "## What differs", "", *notes] if notes else []
    return _HEAD + "\n".join([*lines, *differs]) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
