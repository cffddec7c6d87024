"""`tokenflation report DB -o report.html`: one page that shows where a store's tokens go, and what a fleet would need."""

from pathlib import Path
from typing import Any

import click

from tokenflation.sdk.errors import FrameError, MissingExtra

try:
    import numpy as np
    import pandas as pd

    from tokenflation import analysis
    from tokenflation.analysis.baselines import Baselines, choose_baselines, without_baselines
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
@click.option("--baseline", "named", metavar="KIND", multiple=True,
              help="Task kind to compare with; may stand several times. Default: the only kind of single calls, else "
                   "first request + final answer of the same task.")  # fmt: skip
@click.option("--tasks-per-day", type=click.FloatRange(min=0, min_open=True), default=1_000_000, show_default=True,
              metavar="N", help="Tasks a day of the fleet whose demand is drawn.")  # fmt: skip
@click.option("--shape", type=click.Choice(list(SHAPES)), default="business_day", show_default=True,
              help="Shape of a day.")  # fmt: skip
def command(store: str, out: Path, named: tuple[str, ...], tasks_per_day: float, shape: str) -> None:
    """Write one self-contained HTML page about the calls of DB; it opens anywhere and asks nothing of the network."""
    calls = analysis.load(store)
    held = _held(store)
    baselines = choose_baselines(calls, named)
    factors, no_factors = _factors(calls, baselines, strict=bool(named))
    plan = analysis.Plan(tasks_per_day=tasks_per_day, day_shape=shape, bucket_s=_BUCKET_S)
    demand, no_demand, remarks = _demand(calls, plan, baselines)
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


def _factors(calls: pd.DataFrame, baselines: Baselines, *, strict: bool) -> tuple[pd.DataFrame | None, str]:
    """Return the inflation against the baselines, or None and the sentence that says why; `strict` raises instead."""
    try:
        return analysis.inflation(calls, baseline=baselines.names, rng=np.random.default_rng(_SEED)), ""
    except FrameError as error:
        if strict:
            raise
        return None, str(error)


def _demand(
    calls: pd.DataFrame, plan: analysis.Plan, baselines: Baselines
) -> tuple[pd.DataFrame | None, str, tuple[str, ...]]:
    """Return the demand of the agent kinds, or None and why there is none, and what was assumed on the way."""
    calls, left_out = without_baselines(calls, baselines)
    remarks = (left_out,) if left_out else ()
    try:
        return analysis.forecast(calls, plan, rng=np.random.default_rng(_SEED)), "", remarks
    except FrameError as error:
        return None, f"There is no forecast: {error}", ()
