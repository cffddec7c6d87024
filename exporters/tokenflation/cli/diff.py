"""`tokenflation diff A.db B.db`: what a task takes in B against A, by how much it changed, and what drives it."""

from functools import partial
from typing import Any

import click

from tokenflation.cli.options.output import WITH_MANIFEST, output_options
from tokenflation.cli.options.stores import check_there

__all__ = ["command"]


@click.command("diff")
@click.argument("before", metavar="A", type=click.Path(readable=False))
@click.argument("after", metavar="B", type=click.Path(readable=False))
@click.option("--measure", type=click.Choice(["billed", "computed", "cost"]), default="billed", show_default=True,
              help="Input + output; without what a cache held; or cost (needs --prices).")  # fmt: skip
@click.option("--prices", "price_file", metavar="FILE", help="Your prices, JSON, TOML or CSV.")
@click.option("--method", type=click.Choice(["lmdi", "shapley"]), default="lmdi", show_default=True,
              help="How the difference is split; both leave no rest.")  # fmt: skip
@click.option("--factors", "view", type=click.Choice(["work", "calls"]), default="work", show_default=True,
              help="work: calls, work per call, sub-agents, re-sent, reasoning, failures; calls: calls, input per call, output.")  # fmt: skip
@click.option("--total", is_flag=True, help="Compare whole fleets, their number of tasks included, not the mean task.")
@click.option("--pooled", is_flag=True, help="Take all tasks for one kind: where kinds have other names in A and B.")
@click.option("--with-baselines", is_flag=True, help="Keep kinds that were recorded to compare with.")
@click.option("--model-a", metavar="NAME", help="Of A only the tasks all of whose calls are of this model.")
@click.option("--model-b", metavar="NAME", help="The same of B; A and B may be one store.")
@partial(output_options, of=WITH_MANIFEST)
def command(**given: Any) -> None:
    """Say how B differs from A in what a task takes, and which of its factors drive that.

    A and B are stores: two weeks, two versions, two models. The effects of all factors sum to the whole difference;
    intervals are of 90 %, over whole tasks, and narrower where ten tasks or more are in both by kind and id, as the
    same questions asked of two prompts are. JSON has a manifest with what each side is made of.
    """
    check_there(given["before"])
    check_there(given["after"])
    from tokenflation.cli.work.diff import run

    run(**given)
