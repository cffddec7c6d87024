"""The options of recorded demand. Knows nothing of what is done with it."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from tokenflation.cli.options.ranges import Number, Whole

__all__ = ["history_options"]

_Function = TypeVar("_Function", bound=Callable[..., Any])

_LONGEST_STEP_S = 7 * 86_400.0
_OPTIONS = (
    click.option(
        "--history",
        metavar="FILE|DB",
        help="Forecast this recorded demand instead of a planned volume; with --plan, months ahead by its growth.",
    ),
    click.option("--column", metavar="NAME", help="With --history: the column of its numbers."),
    click.option(
        "--hours", type=Whole(1, 336), metavar="N", help="With --history: hours to look ahead; 24 steps by default."
    ),
    click.option(
        "--step",
        "step_s",
        type=Number(min=0, min_open=True, max=_LONGEST_STEP_S),
        metavar="S",
        help="With --history: seconds to forecast at a time; an hour by default, or a longer bin of the record.",
    ),
    click.option(
        "--months",
        type=Whole(1, 60),
        metavar="N",
        help="With --history: look months ahead, by --growth or a plan's growth.",
    ),
    click.option(
        "--growth",
        "growths",
        multiple=True,
        metavar="NAME=F",
        help="With --months: growth a month of one scenario, such as high=0.1; repeat for others.",
    ),
)


def history_options(function: _Function) -> _Function:
    """Add them to a command with an argument `store`, which may then be left out."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
