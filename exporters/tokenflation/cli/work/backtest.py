"""`tokenflation backtest FILE|DB`: how forecasts of a recorded demand would have done. Knows nothing of the methods."""

from typing import Any

import click
import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tokenflation.analysis.history.backtest import backtest
from tokenflation.analysis.history.reading import History, read_history
from tokenflation.analysis.history.recorded import sum_of, task_arrivals
from tokenflation.analysis.streams import is_store
from tokenflation.cli.views.numbers import human_share, two_decimals
from tokenflation.cli.views.output import emit, json_rows
from tokenflation.cli.views.tables import titled_table
from tokenflation.cli.work.fleet import fleet_of
from tokenflation.sdk.errors import PlanError
from tokenflation.sdk.words import percent

__all__ = ["run"]


def run(history: str, column: str | None, task: str | None, step_s: float | None, first: int | None, level: float,
            as_json: bool, as_csv: bool) -> None:  # fmt: skip
    """Do what `tokenflation backtest` asks."""
    frame = backtest(_series(history, column, task), step_s=step_s, first=first, level=level)
    manifest = frame.attrs["manifest"]
    emit(frame, as_json, as_csv, lambda: _page(frame, manifest),
         answer=lambda: {"manifest": manifest, "models": json_rows(frame)})  # fmt: skip


def _series(history: str, column: str | None, task: str | None) -> History:
    if not is_store(history):
        if task is not None:
            raise click.UsageError("--task is of a store; a file has no kinds.")
        return read_history(history, column=column)
    if column is not None:
        raise click.UsageError("--column is of a file; of a store the starts of tasks are taken.")
    kinds = task_arrivals(fleet_of(history, asked=task))
    if task is not None and task not in kinds:
        raise PlanError(f"{history} has no tasks of kind {task!r}; it has {', '.join(map(repr, kinds))}.")
    return sum_of(kinds) if task is None else kinds[task]


def _page(frame: pd.DataFrame, manifest: dict[str, Any]) -> RenderableType:
    parts: list[RenderableType] = []
    for ahead in frame["ahead"].unique():
        parts += [_table(frame[frame["ahead"] == ahead], f"{manifest['series']}: {ahead}", manifest), Text()]
    gaps = manifest["gap_bins"]
    parts.append(
        Text(f"{gaps:,} {'bin is a gap' if gaps == 1 else 'bins are gaps'}; steps that are mostly gap are not judged.")
    )
    return Group(*parts)


def _table(rows: pd.DataFrame, title: str, manifest: dict[str, Any]) -> Table:
    judged = ("WAPE", "gaps as zeros", "MASE", "pinball", f"inside {percent(manifest['level'])}", "capacity")
    table = titled_table(f"{title}, {int(rows['steps'].iloc[0]):,} steps of {manifest['step_s']:g} s", ("model",), judged,
                         caption="capacity: to be provided so that 1 in 100 bins is short, over mean demand.")  # fmt: skip
    for row in rows.to_dict("records"):
        plain = [two_decimals(row[name]) for name in ("mase", "pinball")]
        table.add_row(row["model"], human_share(row["wape"]), human_share(row["wape_all"]), *plain,
                      human_share(row["coverage"]), two_decimals(row["provisioned"]))  # fmt: skip
    return table
