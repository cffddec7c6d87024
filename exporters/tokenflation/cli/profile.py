"""`tokenflation profile DB`: where the tokens of each task kind go."""

from collections.abc import Hashable
from typing import Any

import click
import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tokenflation import analysis
from tokenflation.analysis.columns import MEASURES, STATISTICS, Measure
from tokenflation.analysis.structure_rows import censored_remarks, load_censored
from tokenflation.cli._output import emit, human, human_share, human_time, output_options

__all__ = ["command"]

_Row = dict[Hashable, Any]


@click.command("profile")
@click.argument("store", metavar="DB")
@output_options
def command(store: str, as_json: bool, as_csv: bool) -> None:
    """Show where the tokens of each task kind go: calls, tokens, cache hits, depth and time per task.

    DB is a store, a Parquet file or a SQLAlchemy URL. JSON and CSV have one row per task kind, with columns
    <measure>_<statistic> such as input_tokens_p50; units are tokens, seconds and fractions.
    """
    calls = analysis.load(store)
    frame = analysis.profile(calls)
    remarks = censored_remarks(calls, load_censored(store))
    emit(frame, as_json, as_csv, lambda: _blocks(frame, remarks))


def _blocks(frame: pd.DataFrame, remarks: list[str]) -> RenderableType:
    note = (
        "Mean and quantiles are over tasks; of ISL and OSL, over calls. Input includes cached tokens, output includes "
        "reasoning. The mean of a ratio is the ratio of sums."
    )
    rows = (_block(row) for row in frame.to_dict("records"))
    return Group(*rows, *(Text(one, style="bold") for one in remarks), Text(note, style="dim"))


def _block(row: _Row) -> RenderableType:
    reported = [measure for measure in MEASURES if not pd.isna(row[f"{measure.name}_p50"])]
    table = Table(title=_title(row), title_justify="left")
    table.add_column("per task", no_wrap=True)
    for name in STATISTICS:
        table.add_column("all tasks" if name == "sum" else name, justify="right", no_wrap=True)
    for measure in reported:
        if not _says_nothing(row, measure):
            table.add_row(measure.label, *(_cell(row, measure, name) for name in STATISTICS))
    unreported = [measure.label for measure in MEASURES if measure not in reported]
    if not unreported:
        return table
    return Group(table, Text(f"Not reported: {', '.join(unreported)}.\n", style="dim"))


def _says_nothing(row: _Row, measure: Measure) -> bool:
    """Return whether people need not see it: no failures, no retries, usage of every call."""
    if measure.name == "failed_calls":
        return bool(row["failed_calls_sum"] == 0)
    return measure.name in ("attempts", "calls_with_usage") and bool(row[f"{measure.name}_sum"] == row["calls_sum"])


def _title(row: _Row) -> Text:
    silent = row["tasks"] - row["tasks_with_usage"]
    remark = f" ({silent:,} without usage)" if silent else ""
    return Text(f"{row['task']}: {row['tasks']:,} tasks{remark}, {row['calls_sum']:,} calls", style="bold")


def _cell(row: _Row, measure: Measure, statistic: str) -> str:
    value = row.get(f"{measure.name}_{statistic}", "")
    if value == "" or measure.unit in ("count", "tokens"):
        return human(value) if value != "" else ""
    if measure.unit == "fraction":
        return human_share(value)
    return human_time(value) if measure.unit == "s" else f"{human(value)}x"
