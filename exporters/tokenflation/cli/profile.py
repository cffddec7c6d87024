"""`tokenflation profile DB`: where the tokens of each task kind go."""

from typing import Any

import click

from tokenflation.cli.options.choices import GRAINS
from tokenflation.cli.options.output import output_options
from tokenflation.cli.options.stores import check_there

__all__ = ["command"]


@click.command("profile")
@click.argument("store", metavar="DB", type=click.Path(readable=False))
@click.option("--by", type=click.Choice(["agent", "model", "step"]), help="Split the tokens of each kind instead.")
@click.option("--per", type=click.Choice(["kind", *GRAINS]), default="kind", show_default=True,
              help="JSON and CSV: what a row is of; run: an agent run; step: a place in the runs of an agent. With --by: what "
                   "is split (kind, task or fleet).")  # fmt: skip
@click.option("--fleet", is_flag=True, help="JSON and CSV: a last row without `task` for all tasks.")
@output_options
def command(**given: Any) -> None:
    """Show where the tokens of each task kind go: calls, tokens, cache hits, depth and time per task.

    DB is a store, a Parquet file or folder, or a SQLAlchemy URL. JSON and CSV have one row per task kind, with columns
    <measure>_<statistic> such as input_tokens_p50; units are tokens, seconds and fractions. Of a ratio, <measure>_low
    and _high are its 90 % interval; <measure>_coverage is the share of the calls that report what it needs; below 3
    effective_tasks a few tasks decide, and intervals hold less often than they claim. With --per, they have one row per
    task, agent run, step or call, or one of all, with the measures themselves and calls_with_<what>.
    """
    check_there(given["store"])
    from tokenflation.cli.work.profile import run

    run(**given)
