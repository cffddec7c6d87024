"""`--json` and `--csv` of any command. Knows nothing of what is printed."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["WITH_MANIFEST", "output_options"]

_Function = TypeVar("_Function", bound=Callable[..., Any])

WITH_MANIFEST = "one object, of a manifest and lists with one object per row"
"""What `--json` prints of a command whose result is several tables."""


def output_options(function: _Function, *, of: str = "a list with one object per row") -> _Function:
    """Add `--json` (which prints what `of` says) and `--csv` to a command; they arrive as `as_json` and `as_csv`."""
    as_json = click.option("--json", "as_json", is_flag=True, help=f"Print JSON: {of}.")
    as_csv = click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header line.")
    return as_json(as_csv(function))
