"""Fits tables to a terminal of any width without cutting a number. Knows nothing of what the numbers mean.

A table that is too wide first wraps its headings and its intervals, then folds its names, and at last goes on below: as
many of its columns as there is room for, then the names again with the next ones.
"""

import copy
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

__all__ = ["Fitted", "fitting"]

# Names fold below this many characters of a word; at least so much of each is left on a line.
_LEAST_NAME = 14
# What even the narrowest terminal leaves of it.
_LEAST_LEFT = 5

# Where a cell with a number may go on in the next line: in an interval, before a bracket, in "3 of 7".
_BREAKS = re.compile(r"(?<= to) | (?=\()|(?<= of) ")


@dataclass(frozen=True, slots=True)
class Fitted:
    """A table that is laid out when its width is known; its leading left-justified columns name what a row is of."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table, in as many parts as the width asks for."""
        sizes = [_sizes(console, column) for column in self.table.columns]
        parts = list(_parts(self.table, console, options, sizes))
        for position, chosen in enumerate(parts):
            room = options.max_width - _frame(self.table, console, options, chosen)
            widths = _widths([sizes[place] for place in chosen], room)
            part = _part(self.table, chosen, widths)
            _fill(part, self.table, chosen, titled=position == 0)
            if position < len(parts) - 1:
                part.caption = None  # it is of all of them
            yield from console.render(part, options)


@dataclass(frozen=True, slots=True)
class _Sizes:
    """How many characters a column needs."""

    least: int
    """Below this a number, or a word of a heading, would be cut."""
    words: int
    """So that no word of a name folds."""
    cells: int
    """So that no cell wraps."""
    whole: int
    """So that the heading does not wrap either."""
    prose: bool
    """Its cells are words that go on in the next line."""


def fitting(shown: RenderableType) -> RenderableType:
    """Return the same with every table in it, also in groups, made to fit."""
    if isinstance(shown, Table):
        return Fitted(shown)
    if isinstance(shown, Group):
        return Group(*(fitting(one) for one in shown.renderables))
    return shown


def _sizes(console: Console, column: Column) -> _Sizes:
    heading = _lines(console, column.header)
    cells = [line for cell in column.cells for line in _lines(console, cell)]
    whole_cells = max((cell_len(line) for line in cells), default=0)
    whole = max(whole_cells, max(map(cell_len, heading), default=0))
    words = [cell_len(word) for line in heading for word in line.split()]
    longest = max((_indented(line) for line in cells), default=0)
    if column.no_wrap:
        least = whole_cells
    elif column.justify == "right":
        least = max((cell_len(chunk) for line in cells for chunk in _BREAKS.split(line)), default=0)
    else:
        least = min(_LEAST_NAME, longest)
    # A heading may be a path: then it folds.
    least = max(least, min(max(words, default=0), max(_LEAST_NAME, least)))
    named = max(least, longest) if column.justify == "left" else least
    return _Sizes(
        least, named, max(least, whole_cells), max(least, whole), column.justify == "left" and longest < whole_cells
    )


def _indented(line: str) -> int:
    """Return the characters that a line's longest word takes behind the line's indentation."""
    return len(line) - len(line.lstrip()) + max((cell_len(word) for word in line.split()), default=0)


def _lines(console: Console, cell: RenderableType) -> list[str]:
    text = cell if isinstance(cell, Text) else console.render_str(str(cell))
    return text.plain.split("\n")


def _parts(table: Table, console: Console, options: ConsoleOptions, sizes: Sequence[_Sizes]) -> Iterator[list[int]]:
    """Yield the columns of each part: all of them, or the names with as many others as fit."""
    every = list(range(len(sizes)))

    def fits(chosen: list[int]) -> bool:
        return sum(sizes[at].least for at in chosen) + _frame(table, console, options, chosen) <= options.max_width

    names = next((at for at, column in enumerate(table.columns) if column.justify != "left"), 1)
    names = min(max(names, 1), max(len(every) - 1, 1))
    if fits(every) or len(every) < 2:
        yield every
        return
    chosen = every[:names]
    for at in every[names:]:
        if len(chosen) > names and not fits([*chosen, at]):
            yield chosen
            chosen = every[:names]
        chosen = [*chosen, at]
    yield chosen


def _frame(table: Table, console: Console, options: ConsoleOptions, chosen: Sequence[int]) -> int:
    """Return the characters that lines and spaces between columns take."""
    bare = _part(table, chosen, [1] * len(chosen))
    return Measurement.get(console, options.update(width=10_000), bare).maximum - len(chosen)


def _widths(sizes: Sequence[_Sizes], room: int) -> list[int]:
    """Return a width for each column: first what none can do without, then whole names, whole cells, whole headings."""
    widths = [size.least for size in sizes]
    # A single number beside long names: the names give way.
    over = sum(widths) - room
    for at in range(len(widths) - 1):
        given = max(0, min(over, widths[at] - _LEAST_LEFT))
        widths[at], over = widths[at] - given, over - given
    for wanted in ([size.words for size in sizes], [size.cells for size in sizes], [size.whole for size in sizes]):
        # The columns that lack least come first, so that most of them are whole.
        for at in sorted(range(len(sizes)), key=lambda at: wanted[at] - widths[at]):
            # A part of what it lacks would leave it on as many lines, and take the room from others.
            if widths[at] < wanted[at] <= room - sum(widths) + widths[at]:
                widths[at] = wanted[at]
    # Sentences wrap anywhere, and a name that folds has fewer lines, so whatever is left helps them.
    for at, size in enumerate(sizes):
        if size.prose or widths[at] < size.words:
            widths[at] += max(0, min(size.cells - widths[at], room - sum(widths)))
    return widths


def _part(table: Table, chosen: Sequence[int], widths: Sequence[int]) -> Table:
    """Return a table without rows of some of the columns, each of the width given."""
    part = copy.copy(table)
    part.columns, part.rows, part.title = [], [], None
    for at, width in zip(chosen, widths, strict=True):
        column = table.columns[at]
        part.add_column(
            column.header, column.footer, header_style=column.header_style, footer_style=column.footer_style,
            style=column.style, justify=column.justify, vertical=column.vertical, overflow="fold", width=width,
        )  # fmt: skip
    return part


def _fill(part: Table, table: Table, chosen: Sequence[int], *, titled: bool) -> None:
    """Give a part its rows: of those below the first part, the ones that have more there than their names."""
    part.title = table.title if titled else None
    columns = [list(column.cells) for column in table.columns]
    names = 0 if titled else next((place for place, at in enumerate(chosen) if place != at), 0)
    for number, row in enumerate(table.rows):
        # A row of names alone is a heading of those below it.
        if names and not _some(columns, chosen[names:], number) and _some(columns, range(names, len(columns)), number):
            if part.rows:
                part.rows[-1].end_section |= row.end_section
            continue
        part.add_row(*(columns[at][number] for at in chosen), style=row.style, end_section=row.end_section)


def _some(columns: Sequence[Sequence[RenderableType]], places: Iterable[int], number: int) -> bool:
    """Say whether a row has anything in some of its columns."""
    return any(str(columns[at][number]).strip() for at in places)
