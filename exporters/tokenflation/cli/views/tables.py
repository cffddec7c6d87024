"""The tables of commands, all of one look. Knows nothing of what stands in them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd
from rich.table import Table

from tokenflation.cli.views.numbers import is_known

__all__ = ["names_of", "titled_table", "with_interval"]


def titled_table(title: str, names: Iterable[str], numbers: Iterable[str], caption: str | None = None) -> Table:
    """Return a table without rows: columns of names, at the left, such as `task_id`, then of numbers, at the right."""
    table = Table(title=title, title_justify="left", title_style="bold", caption=caption, caption_justify="left")
    for name in names:
        table.add_column(name.replace("_", " "))
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def names_of(row: Mapping[Any, Any], columns: Iterable[str]) -> list[str]:
    """Return the names of the calls that a row is of; some have none, as where nobody says what prompted them."""
    return ["not recorded" if pd.isna(row[name]) else str(row[name]) for name in columns]


def with_interval(row: Mapping[Any, Any], name: str, shown: Callable[[float], str]) -> str:
    """Return a value of a row, and its interval in a line below where there is one."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{shown(row[name])}\n{shown(low)} to {shown(high)}" if is_known(low) else shown(row[name])
