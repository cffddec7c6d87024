"""`tokenflation forecast`: what a fleet of the recorded tasks asks for, by hour and a day.

Knows nothing of the model.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import click

from tokenflation.cli.options.choices import SHAPES
from tokenflation.cli.options.history import history_options
from tokenflation.cli.options.output import WITH_MANIFEST, output_options
from tokenflation.cli.options.ranges import Number, Whole
from tokenflation.cli.options.stores import check_there

__all__ = ["command"]


@click.command("forecast")
@click.argument("store", metavar="[DB]", type=click.Path(readable=False), required=False)
@click.option(
    "--tasks-per-day",
    type=Number(min=0, min_open=True),
    metavar="N",
    help="Tasks a day of all kinds together, in the recorded mix.",
)
@click.option("--kind", "kinds", multiple=True, metavar="KIND=N", help="Tasks a day of one kind; repeat for others.")
@click.option("--plan", "plan_file", type=click.Path(), metavar="FILE",
              help="A plan in YAML, in place of a volume and of --shape to --level; see `tokenflation plan init`.")  # fmt: skip
@click.option("--shape", type=click.Choice(list(SHAPES)), default="flat", show_default=True, help="Shape of a day.")
@click.option("--modulation", type=Number(0, 10), default=0.0, show_default=True, metavar="CV",
              help="Slow random swing of the whole load; 0 is Poisson arrivals.")  # fmt: skip
@click.option("--growth-per-day", type=Number(min=-1, min_open=True), default=0.0, show_default=True, metavar="F",
              help="Growth of the volume; 0.01 is one per cent a day.")  # fmt: skip
@click.option("--days", type=Whole(1, 366), metavar="N", default=1, show_default=True, help="Days to look ahead.")
@click.option(
    "--kv-bytes-per-token",
    type=Number(min=0, min_open=True),
    metavar="BYTES",
    help="2 x layers x KV heads x head size x bytes per element: KV cache in bytes too.",
)
@click.option("--level", type=Number(0.5, 1, max_open=True), metavar="P", default=0.9, show_default=True,
              help="Probability that an interval claims.")  # fmt: skip
@click.option(
    "--seed",
    type=Whole(min=0),
    metavar="N",
    default=0,
    show_default=True,
    help="Seed of the prototypes' draws.",
)
@click.option("--what-if", "what_ifs", multiple=True, metavar="CHANGE",
              help="Also forecast the runs re-evaluated with cache=on or off, max_depth=N, compact_at=TOKENS or model:OLD=NEW, "
                   "beside the plan as it is; commas join changes, and it may stand several times.")  # fmt: skip
@click.option("--fits", "fits", multiple=True, metavar="RESOURCE[@STATISTIC]=LIMIT",
              help="Say which volume fits a limit, as prefill_tokens_per_s=250000 or concurrent_calls@day_peak_p95=800; p95 "
                   "where no statistic is given.")  # fmt: skip
@click.option("--explain", is_flag=True, help="Say in plain words where each figure comes from.")
@click.option("--target", type=Number(0.001, 1.0), default=0.15, show_default=True, metavar="F",
              help="How close the fleet's mean input is to be known, for the runs to record next: 0.15 is ± 15 %.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(dir_okay=False), metavar="FILE",
              help="Also write the long table as .parquet, .csv or .json, and a manifest beside it.")  # fmt: skip
@partial(output_options, of=WITH_MANIFEST)
@history_options
def command(**given: Any) -> None:
    """Say what a fleet asks for: prefill and decode tokens per second, calls in flight, by hour, with intervals."""
    if given["history"] is None:
        _check_planned(given)
    check_there(given["store"])
    from tokenflation.cli.work.forecast import run

    run(**given)


def _check_planned(given: Mapping[str, Any]) -> None:
    """Refuse what is no planned fleet of a store."""
    if given["store"] is None:
        raise click.UsageError("Missing argument 'DB': give a store, or --history FILE.")
    if any(given[name] for name in ("column", "months", "growths", "hours", "step_s")):
        raise click.UsageError(
            "--column, --hours, --step, --months and --growth belong to --history FILE; give that too."
        )
    if (given["tasks_per_day"] is not None) + bool(given["kinds"]) + (given["plan_file"] is not None) != 1:
        raise click.UsageError("give one of --tasks-per-day N, --plan FILE, or one or more --kind KIND=N.")
