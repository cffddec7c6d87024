"""`tokenflation report DB -o report.html`: one page of where a store's tokens go, and what a fleet would need."""

from typing import Any

import click

from tokenflation.cli.options.choices import MOST_CALLS, SHAPES
from tokenflation.cli.options.ranges import Number, Whole
from tokenflation.cli.options.stores import check_there

__all__ = ["command"]


@click.command("report")
@click.argument("store", metavar="DB", type=click.Path(readable=False))
@click.option("-o", "--out", "--output", "out", type=click.Path(dir_okay=False), default="report.html",
              show_default=True, help="The page to write.")  # fmt: skip
@click.option("--baseline", "named", metavar="KIND", multiple=True,
              help="Task kind to compare with; may stand several times. Default: the only named kind of single calls, else "
                   "first request + final answer of the same task.")  # fmt: skip
@click.option("--tasks-per-day", type=Number(min=0, min_open=True), default=1_000_000, show_default=True,
              metavar="N", help="Tasks a day of the fleet whose demand is drawn.")  # fmt: skip
@click.option("--shape", type=click.Choice(list(SHAPES)), default="business_day", show_default=True,
              help="Shape of a day.")  # fmt: skip
@click.option("--kv-bytes-per-token", type=Number(min=0, min_open=True), metavar="BYTES",
              help="2 x layers x KV heads x head size x bytes per element: cache sizes in bytes.")  # fmt: skip
@click.option("--most-calls", type=Whole(min=0), default=MOST_CALLS, show_default=True, metavar="N",
              help="Of a store with more calls, totals and percentiles are of all, the rest of a sample of so many; "
                   "0: of all.")  # fmt: skip
@click.option("--plan", "plan_file", type=click.Path(), metavar="FILE",
              help="A plan in YAML whose forecast the page shows, in place of --tasks-per-day and --shape; see "
                   "`tokenflation plan init`.")  # fmt: skip
def command(**given: Any) -> None:
    """Write one self-contained HTML page about the calls of DB; it opens anywhere and asks nothing of the network."""
    check_there(given["store"])
    from tokenflation.cli.work.report import run

    run(**given)
