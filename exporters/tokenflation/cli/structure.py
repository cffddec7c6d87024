"""`tokenflation structure DB`: who starts whom, what waits for what, what is repeated, wasted and lost."""

from pathlib import Path
from typing import Any

import click

from tokenflation.cli.options.output import output_options
from tokenflation.cli.options.stores import check_there

__all__ = ["command"]

_GRAINS = ("kind", "task", "run", "flag", "tool", "failure", "curve", "predictability")


@click.command("structure")
@click.argument("store", metavar="DB", type=click.Path(readable=False))
@click.option("--task", "kind", metavar="KIND", help="Only tasks of this kind.")
@click.option(
    "--per",
    "grain",
    type=click.Choice(_GRAINS),
    default="kind",
    help="What a row of JSON or CSV is: a task kind, a task, an agent run, a flagged step, a tool, a failed task, a budget "
    "of the curve of success, or how well a kind foretells what its tasks use.",
)
@click.option(
    "--prices",
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),
    help="Prices of models (JSON, TOML or CSV), for the cost of a success.",
)
@output_options
def command(**given: Any) -> None:
    """Show how tasks are built: agents that start agents, time, tools, repetitions, waste, and what success takes.

    DB is a store, a Parquet file or folder, or a SQLAlchemy URL. Ratios are of sums over tasks, with 90 % intervals
    over whole tasks, from ten tasks on. What the source does not say is left out, and said.
    """
    check_there(given["store"])
    from tokenflation.cli.work.structure import run

    run(**given)
