"""`tokenflation backtest FILE|DB`: how forecasts of a recorded demand would have done. Knows nothing of the methods."""

from functools import partial
from typing import Any

import click

from tokenflation.cli.options.output import WITH_MANIFEST, output_options
from tokenflation.cli.options.ranges import Number, Whole

__all__ = ["command"]


@click.command("backtest")
@click.argument("history", metavar="FILE|DB", type=click.Path(readable=False))
@click.option("--column", metavar="NAME", help="Column of numbers of FILE; the first by default.")
@click.option("--task", metavar="KIND", help="Of DB the tasks of one kind; all together by default.")
@click.option("--step", "step_s", type=Number(min=0, min_open=True), metavar="S",
              help="Seconds to forecast at a time; an hour by default.")  # fmt: skip
@click.option("--first", type=Whole(min=1), metavar="N", help="Steps before those judged; a week, or half the series.")
@click.option("--level", type=Number(0.5, 1, max_open=True), metavar="P", default=0.9, show_default=True,
              help="Probability that an interval claims.")  # fmt: skip
@partial(output_options, of=WITH_MANIFEST)
def command(**given: Any) -> None:
    """Say how forecasts of a recorded demand would have done: errors, intervals, capacity, beside simple ones.

    FILE is CSV or JSON lines, of bins (a time and numbers) or one row per request; DB is a store, of which the starts
    of tasks are taken. Every forecast sees only what was recorded before it.
    """
    from tokenflation.cli.work.backtest import run

    run(**given)
