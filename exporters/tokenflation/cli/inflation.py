"""`tokenflation inflation DB`: how many times the tokens of a direct answer each task kind takes, and why."""

from typing import Any

import click

from tokenflation.cli.options.choices import INTRINSIC
from tokenflation.cli.options.output import output_options
from tokenflation.cli.options.stores import check_there

__all__ = ["command"]


@click.command("inflation")
@click.argument("store", metavar="DB", type=click.Path(readable=False))
@click.option("--baseline", "named", metavar="KIND", multiple=True,
              help="Task kind to compare with: a direct answer, a RAG call, any. May stand several times. "
                   "Default: the only named kind of single calls, else --intrinsic.")  # fmt: skip
@click.option("--intrinsic", is_flag=True, help=f"Compare with {INTRINSIC} of the same task (also).")
@click.option("--prices", "price_file", metavar="FILE", help="Your prices, JSON, TOML or CSV: also compare cost.")
@output_options
def command(**given: Any) -> None:
    """Compare each task kind with baselines: the same work answered directly, without an agent.

    Billed tokens are input + output; computed tokens leave out the input read from a prefix cache. Every factor is a
    ratio of means over tasks, with its 90 % interval. Without a kind to compare with, tasks are compared with a part of
    themselves, their first request and final answer, and every table says so.
    """
    check_there(given["store"])
    from tokenflation.cli.work.inflation import run

    run(**given)
