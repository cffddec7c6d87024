"""How every command shows a frame: a table for people, JSON or CSV for programs.

Knows nothing of what is in it.

Standard output carries the result alone, so that it can be piped; remarks go to standard error.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click
import pandas as pd
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from tokenflation.cli.views.fitting import fitting
from tokenflation.cli.views.numbers import is_known
from tokenflation.cli.views.words import printable_lines

__all__ = ["emit", "json_rows", "remark"]

# Rich takes 80 columns for a pipe; our tables are laid out for 100.
_PIPE_COLUMNS = 100


def emit(
    frame: pd.DataFrame,
    as_json: bool,
    as_csv: bool,
    table: Callable[[], RenderableType],
    *,
    answer: Callable[[], Mapping[str, Any]] | None = None,
) -> None:
    """Print a frame as JSON or CSV when asked to, else what `table()` returns; the table is made only when shown.

    JSON is a list of the rows, or what `answer()` returns, of several frames or with a manifest.

    Raises:
        click.UsageError: both JSON and CSV are asked for (exit code 2).
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other; give one of them.")
    if as_json:
        found = json_rows(frame) if answer is None else answer()
        click.echo(json.dumps(found, indent=2, allow_nan=False))
    elif as_csv:
        click.echo(frame.to_csv(index=False), nl=False)
    else:
        console = _Console()
        if not console.is_terminal:
            console = _Console(width=_PIPE_COLUMNS)
        console.print(fitting(table()))


def remark(text: str) -> None:
    """Print a sentence to standard error: wrapped at words on a terminal, in one line to a file or pipe."""
    console = _Console(stderr=True)
    console.print(Text(text), soft_wrap=not console.is_terminal)


class _Console(Console):
    """Shows texts letter by letter, what a terminal would act on as escapes: names come from whatever was recorded."""

    def __init__(self, *, width: int | None = None, stderr: bool = False) -> None:
        super().__init__(width=width, stderr=stderr, highlight=False, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable_lines(segment.text), segment.style)


def json_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one plain dict per row: missing and non-finite numbers as None, integers as exact integers."""
    columns = {str(name): [_plain(value) for value in frame[name].tolist()] for name in frame.columns}
    return [{name: values[row] for name, values in columns.items()} for row in range(len(frame))]


def _plain(value: Any) -> Any:
    if not is_known(value) or value is pd.NaT:
        return None
    return value.item() if hasattr(value, "item") else value
