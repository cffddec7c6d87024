"""`tokenflation report DB -o report.html`: one page that shows where a store's tokens go, and what a fleet would need."""

from pathlib import Path
from typing import Any

import click

from tokenflation.sdk.errors import FrameError, MissingExtra

try:
    import numpy as np
    import pandas as pd

    from tokenflation import analysis
    from tokenflation.analysis.inflation import direct_kinds
    from tokenflation.analysis.plan import SHAPES
    from tokenflation.analysis.structure_rows import load_structure
    from tokenflation.exporters.files import atomic_file
    from tokenflation.exporters.report import Report, render
except ModuleNotFoundError as error:
    if (error.name or "").startswith("tokenflation"):
        raise
    raise MissingExtra("`tokenflation report`", "report") from error

from tokenflation.sdk.store.read import info

__all__ = ["command"]

# Any fixed seed will do: the same store must give the same page.
_SEED = 20261121
_BUCKET_S = 900


@click.command("report")
@click.argument("store", metavar="DB")
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("report.html"),
              show_default=True, help="The page to write.")  # fmt: skip
@click.option("--baseline", metavar="KIND", help="Task kind to compare with; default: the one of single calls only.")
@click.option("--tasks-per-day", type=click.FloatRange(min=0, min_open=True), default=1_000_000, show_default=True,
              metavar="N", help="Tasks a day of the fleet whose demand is drawn.")  # fmt: skip
@click.option("--shape", type=click.Choice(list(SHAPES)), default="business_day", show_default=True,
              help="Shape of a day.")  # fmt: skip
def command(store: str, out: Path, baseline: str | None, tasks_per_day: float, shape: str) -> None:
    """Write one self-contained HTML page about the calls of DB; it opens anywhere and asks nothing of the network."""
    calls = analysis.load(store)
    held = _held(store)
    factors, no_factors = _factors(calls, baseline)
    plan = analysis.Plan(tasks_per_day=tasks_per_day, day_shape=shape, bucket_s=_BUCKET_S)
    demand, no_demand, remarks = _demand(calls, plan, factors)
    tool_calls, spans = load_structure(store)
    page = render(
        Report(
            name=Path(store).name,
            calls=calls,
            profile=analysis.profile(calls),
            factors=factors,
            no_factors=no_factors,
            demand=demand,
            no_demand=no_demand,
            remarks=remarks,
            lost=held.get("drops", {}),
            schema=f"store schema {held['schema_version']}" if "schema_version" in held else "",
            tool_calls=tool_calls,
            spans=spans,
        )
    ).encode()
    with atomic_file(out) as file:
        file.write(page)
    click.echo(f"{out}: {len(calls):,} calls, {len(page) / 1e6:.1f} MB")


def _held(store: str) -> dict[str, Any]:
    """Return what the store says of itself; nothing where the source is no SQLite store, which alone counts losses."""
    path = Path(store)
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        return info(path) if file.read(15) == b"SQLite format 3" else {}


def _factors(calls: pd.DataFrame, baseline: str | None) -> tuple[pd.DataFrame | None, str]:
    """Return the inflation against the baseline, or None and the sentence that says why there is none."""
    if baseline is None:
        direct = direct_kinds(calls)
        if len(direct) != 1:
            found = f"{len(direct)} kinds do ({', '.join(direct)})" if direct else "no kind does"
            return None, (
                f"There is no baseline: a kind is taken for one if each of its tasks is a single call, and here {found}. "
                "Record the same work answered once, in a task of a kind of its own, or name the kind with --baseline."
            )
        baseline = direct[0]
        try:
            return _inflation(calls, baseline), ""
        except FrameError as error:
            return None, str(error)
    return _inflation(calls, baseline), ""


def _inflation(calls: pd.DataFrame, baseline: str) -> pd.DataFrame:
    return analysis.inflation(calls, baseline=baseline, rng=np.random.default_rng(_SEED))


def _demand(
    calls: pd.DataFrame, plan: analysis.Plan, factors: pd.DataFrame | None
) -> tuple[pd.DataFrame | None, str, tuple[str, ...]]:
    """Return the demand of the agent kinds, or None and why there is none, and what was assumed on the way."""
    remarks: tuple[str, ...] = ()
    baseline = None if factors is None else factors["baseline"].iloc[0]
    agents = calls[calls["task"] != baseline]
    if baseline is not None and len(agents):
        calls = agents
        remarks = (f"The baseline, {baseline}, is no part of the fleet.",)
    try:
        return analysis.forecast(calls, plan, rng=np.random.default_rng(_SEED)), "", remarks
    except FrameError as error:
        return None, f"There is no forecast: {error}", ()
