"""`tokenflation tree DB [TASK_ID]`: what one task did, as a tree with calls, tokens, tools and time."""

from typing import Any

import click

from tokenflation.cli.options.output import output_options
from tokenflation.cli.options.stores import check_there

__all__ = ["command"]


@click.command("tree")
@click.argument("store", metavar="DB", type=click.Path(readable=False))
@click.argument("task_id", metavar="[TASK_ID]", required=False)
@click.option("--task", "kind", metavar="KIND", help="Only tasks of this kind.")
@click.option("--full", is_flag=True, help="Show every step; otherwise repeated ones share a line.")
@output_options
def command(**given: Any) -> None:
    """Show what one task did: its agents, steps, tool calls and sub-agents, with their tokens and time.

    DB is a store, a Parquet file or folder, or a SQLAlchemy URL. TASK_ID may be the beginning of an id; without it, the
    largest task is shown, and a list of the others. Input and output are sums over all calls below; "own" leaves out
    those of sub-agents. JSON and CSV have one row per node of the tree; without TASK_ID, one row per task, the largest
    first.
    """
    check_there(given["store"])
    from tokenflation.cli.work.tree import run

    run(**given)
