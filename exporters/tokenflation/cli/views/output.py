"""How every command shows a frame: a table for people, JSON or CSV for programs.

Knows nothing of what the numbers mean.

Standard output carries the result alone, so that it can be piped; remarks go to standard error.
"""

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

import click
import pandas as pd
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from tokenflation.cli.views.fitting import fitting
from tokenflation.cli.views.words import printable_lines
from tokenflation.sdk.words import percent

__all__ = [
    "emit",
    "human",
    "human_length",
    "human_share",
    "human_time",
    "json_rows",
    "remark",
    "small",
]

# Rich takes 80 columns for a pipe; our tables are laid out for 100.
_PIPE_COLUMNS = 100

_LEAST = 0.005
_SCALES = ((1e24, "Y"), (1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def emit(frame: pd.DataFrame, as_json: bool, as_csv: bool, table: Callable[[], RenderableType]) -> None:
    """Print a frame as JSON or CSV when asked to, else what `table()` returns; the table is made only when shown.

    Raises:
        click.UsageError: both JSON and CSV are asked for (exit code 2).
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other; give one of them.")
    if as_json:
        click.echo(json.dumps(json_rows(frame), indent=2, allow_nan=False))
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


def human(value: float | None) -> str:
    """Return a count or a number in at most three significant digits with k, M, G, T, P ...; `-` where it is not known.

    What would read as none though it is more is "<0.01".
    """
    if _missing(value):
        return "-"
    number = float(value)  # type: ignore[arg-type]  # _missing() excludes None
    for scale, letter in _SCALES:
        # 999.5 k and more reads better as 1.00 M than as 1000 k.
        if abs(number) >= scale * 0.9995:
            return f"{_three(number / scale)}{letter}"
    if 0 < number < _LEAST:
        return "<0.01"
    return str(int(number)) if number == int(number) else _three(number)


def small(value: float) -> str:
    """Return a number in three significant digits also where it is far below 1, as the price of a token is."""
    return f"{value:.3g}" if 0 < abs(value) < 0.1 else human(value)


def human_share(value: float | None) -> str:
    """Return a fraction as a percentage; `-` where it is not known.

    What is not quite everything never reads 100.0 %, nor what is something 0.0 %.
    """
    if _missing(value):
        return "-"
    share = float(value)  # type: ignore[arg-type]  # _missing() excludes None
    if 0 < abs(share) < 0.0005:
        return "<0.1 %" if share > 0 else "-<0.1 %"
    return ">99.9 %" if 0.9995 <= share < 1 else percent(share, 1)


def human_time(value: float | None) -> str:
    """Return seconds in the unit that reads best; `-` where they are not known."""
    if _missing(value):
        return "-"
    seconds = float(value)  # type: ignore[arg-type]  # as above
    for scale, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s")):
        if abs(seconds) >= scale:
            return f"{_three(seconds / scale)} {unit}"
    return f"{_three(seconds * 1000)} ms" if seconds else "0 s"


def human_length(seconds: float) -> str:
    """Return a length of time that was chosen and not measured, so without decimals that are none: `5 min`."""
    number, _, unit = human_time(seconds).partition(" ")
    return f"{float(number):g} {unit}"


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value))


def _three(number: float) -> str:
    """Return three significant digits without an exponent."""
    size = abs(number)
    return f"{number:.0f}" if size >= 99.95 else f"{number:.1f}" if size >= 9.995 else f"{number:.2f}"


def _plain(value: Any) -> Any:
    if _missing(value) or value is pd.NaT:
        return None
    return value.item() if hasattr(value, "item") else value
