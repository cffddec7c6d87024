"""`tokenflation report DB -o report.html`: one page of where a store's tokens go, and what a fleet would need."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pandas as pd

from tokenflation import analysis
from tokenflation.cli.options.plan import plan_in
from tokenflation.cli.views.words import printable
from tokenflation.exporters.files import atomic_file, check_file
from tokenflation.exporters.report import Report, build_report, render
from tokenflation.exporters.report.build import BUCKET_S
from tokenflation.sdk.words import many

__all__ = ["run"]

_SAID = 3


def run(
    store: str,
    out: str,
    named: tuple[str, ...],
    tasks_per_day: float,
    shape: str,
    kv_bytes_per_token: float | None,
    most_calls: int,
    plan_file: str | None,
) -> None:
    """Do what `tokenflation report` asks."""
    file = check_file(out)  # before the page is made: that can take minutes
    name = ""
    if plan_file is not None:
        plan, name = plan_in(plan_file, stands_in_for=("tasks_per_day", "shape")), Path(plan_file).name
        if plan.kv_bytes_per_token is not None and kv_bytes_per_token is not None:
            raise click.UsageError("--kv-bytes-per-token stands in the plan too; leave out one of them.")
    else:
        plan = analysis.Plan(tasks_per_day=tasks_per_day, day_shape=shape, bucket_s=BUCKET_S)
    with _no_collector():
        report = build_report(store, named=named, plan=plan, kv_bytes_per_token=kv_bytes_per_token,
                              most_calls=most_calls or None, plan_name=name)  # fmt: skip
        page = render(report).encode()
    with atomic_file(file) as written:
        written.write(page)
    calls = report.facts.calls if report.facts else len(report.calls)
    click.echo(f"{file}: {many(calls, 'call')}, {len(page) / 1e6:.1f} MB")
    if report.sample:
        click.echo("Totals and percentiles are of all calls; the rest of {:,} of {:,} tasks.".format(*report.sample))
    if report.kinds:
        click.echo("Taken apart are the {:,} task kinds with most tokens, of {:,}.".format(*report.kinds))
    _say(report)


@contextmanager
def _no_collector() -> Iterator[None]:
    """Collect no cyclic garbage meanwhile: rows make millions of objects without a cycle, gone through each time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _say(report: Report) -> None:
    """Print what to save first, so that the page need not be opened for it."""
    found = report.findings
    if found is None or found.empty:
        return
    click.echo(f"What to save first ({many(len(found), 'finding')}):")
    for row in found.head(_SAID).to_dict("records"):
        saved = (
            f"{row['saved_tokens']:,} tokens, {row['saved_is']}"
            if pd.notna(row["saved_tokens"])
            else "tokens not reported"
        )
        click.echo(printable(f"{row['rank']}. {row['sentence']} [{saved}]"))
