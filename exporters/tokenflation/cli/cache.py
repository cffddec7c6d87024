"""`tokenflation cache DB`: what the prefix cache gave, what one could give, and what stands in its way."""

from typing import Any

import click

from tokenflation.cli.options.choices import CACHE_GROUPS, CACHE_TABLES
from tokenflation.cli.options.output import output_options
from tokenflation.cli.options.ranges import Number
from tokenflation.cli.options.stores import check_there

__all__ = ["command"]


@click.command("cache")
@click.argument("store", metavar="DB", type=click.Path(readable=False))
@click.option(
    "--table", "chosen", type=click.Choice(CACHE_TABLES), help="Show this one; JSON and CSV: default summary."
)
@click.option("--by", multiple=True, type=click.Choice(CACHE_GROUPS), help="Group summary and ttl; may be given again.")
@click.option(
    "--kv-bytes-per-token",
    type=Number(min=0, min_open=True),
    metavar="BYTES",
    help="2 x layers x KV heads x head size x bytes per element: sizes in bytes too.",
)
@output_options
def command(**given: Any) -> None:
    """Show what the prefix cache gave, what one could give by time to live and size, and what stands in its way.

    Realised is what providers report. Ideal is what an infinite cache of the model would have had; it needs prefix
    hashes. All rates weigh by tokens; each model has a cache of its own.
    """
    check_there(given["store"])
    from tokenflation.cli.work.cache import run

    run(**given)
