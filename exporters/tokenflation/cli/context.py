"""`tokenflation context DB`: how contexts grow, what is sent again, where histories are cut down."""

from typing import Any

import click

from tokenflation.cli.options.choices import CONTEXT_TABLES
from tokenflation.cli.options.output import output_options
from tokenflation.cli.options.ranges import Whole
from tokenflation.cli.options.stores import check_there

__all__ = ["command"]


@click.command("context")
@click.argument("store", metavar="DB", type=click.Path(readable=False))
@click.option(
    "--table", "chosen", type=click.Choice(CONTEXT_TABLES), help="Show this one; JSON and CSV: default kinds."
)
@click.option(
    "--window",
    type=Whole(min=1),
    metavar="TOKENS",
    help="Context window of all models; default: as published.",
)
@output_options
def command(**given: Any) -> None:
    """Show how contexts grow: re-send factors, what is fresh in the input, compactions, growth exponents.

    Kinds are kinds of tasks and agents, runs are agent runs, steps are calls; append is what has to be computed of each
    call's input, by what prompted it.
    """
    check_there(given["store"])
    from tokenflation.cli.work.context import run

    run(**given)
