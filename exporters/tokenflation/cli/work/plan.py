"""`tokenflation plan init`: a commented plan of the recorded task kinds, to be edited.

Knows nothing of the demand model.
"""

import shlex

import click

from tokenflation import analysis as an
from tokenflation.analysis.columns.tasks import DATED_FROM_NS
from tokenflation.analysis.comparison.baselines import without_baselines
from tokenflation.analysis.fleet.planned import runs_by_models
from tokenflation.analysis.planning.file import template
from tokenflation.exporters.files import atomic_file, check_file
from tokenflation.sdk.errors import PlanError

__all__ = ["run"]


def run(store: str, output: str | None) -> None:
    """Do what `tokenflation plan init` asks."""
    file = None if output is None else check_file(output)
    if file is not None and file.exists():
        raise PlanError(f"The plan cannot be written to {file}: File exists. Choose another -o FILE.")
    calls = an.load(store)
    fleet, left_out = without_baselines(calls)
    starts = fleet.groupby(["task", "task_id"], sort=False)["started_at_ns"].min()
    recorded = {str(kind): len(of) for kind, of in starts.groupby(level="task", sort=False)}
    if not recorded:
        raise PlanError(
            f"{store} has no task; record some first: `tokenflation run --store {shlex.quote(store)} SCRIPT`."
        )
    dated = starts[starts >= DATED_FROM_NS]
    span_s = float(dated.max() - dated.min()) / 1e9 if len(dated) else 0.0
    text = template(recorded, span_s=span_s, models=runs_by_models(fleet))
    if left_out:
        click.echo(f"{left_out} If the fleet does it too, add a line for it under tasks_per_day.", err=True)
    if file is None:
        click.echo(text, nl=False)
        return
    with atomic_file(file) as written:
        written.write(text.encode())
    follows = shlex.join(["tokenflation", "forecast", store, "--plan", str(file)])
    click.echo(f"Wrote {file}. Edit its volumes, then: {follows}", err=True)
