"""`tokenflation profile DB`: where the tokens of each task kind go."""

from collections.abc import Hashable
from typing import Any, Literal

import click
import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tokenflation import analysis
from tokenflation.analysis.columns import MEASURES, STATISTICS, Measure
from tokenflation.analysis.profiles.profile import low_coverage
from tokenflation.analysis.profiles.scattered import scattered_remarks
from tokenflation.analysis.profiles.uneven import uneven_remarks
from tokenflation.analysis.statistics.seeds import interval_rng
from tokenflation.analysis.structure.rows import calls_alone, censored_remarks, load_censored
from tokenflation.cli.views.numbers import human, human_share, human_time, human_times
from tokenflation.cli.views.output import emit
from tokenflation.cli.views.tables import titled_table
from tokenflation.sdk.words import many

__all__ = ["run"]

_Row = dict[Hashable, Any]
_Parts = Literal["agent", "model", "step"]
_Grains = Literal["kind", "task", "run", "step", "call", "fleet"]

_USAGE = (("reported", "reported"), ("partial", "in part"), ("unreported", "not reported"))
# Of more kinds than anybody reads one by one, those with the most input are shown.
_MOST_KINDS = 100


def run(store: str, by: _Parts | None, per: _Grains, fleet: bool, as_json: bool, as_csv: bool) -> None:
    """Do what `tokenflation profile` asks."""
    for_people = not (as_json or as_csv)
    if by is not None:
        if per not in ("kind", "task", "fleet"):
            raise click.UsageError(f"--by splits a kind, a task or the fleet, not --per {per}.")
        parts = analysis.shares(store, by=by, per=per)
        emit(parts, as_json, as_csv, lambda: _split(parts, by))
        return
    if per != "kind":
        if for_people or fleet:
            raise click.UsageError(f"--per {per} is for --json or --csv, without --fleet; or give --by.")
        emit(analysis.measured(store, per=per), as_json, as_csv, Text)
        return
    frame = analysis.profile(store, fleet=fleet or for_people, rng=interval_rng())
    emit(
        frame, as_json, as_csv, lambda: _blocks(frame, [*_censored(store), *_scattered(frame), *uneven_remarks(frame)])
    )


def _scattered(frame: pd.DataFrame) -> list[str]:
    kinds = frame[frame["task"].notna()]
    return scattered_remarks(dict(zip(kinds["task"], kinds["tasks"], strict=True)))


def _censored(store: str) -> list[str]:
    if calls_alone(store):
        return ["Parquet holds calls alone: whether a limit cut runs short is in the store that it was made from."]
    censored = load_censored(store)
    return censored_remarks(analysis.tasks(store), censored) if len(censored) else []


def _blocks(frame: pd.DataFrame, remarks: list[str]) -> RenderableType:
    note = (
        "Mean and quantiles are over tasks; of ISL and OSL, over calls. Input includes cached tokens, output includes "
        "reasoning. The mean of a ratio is the ratio of sums, with its 90 % interval in JSON and CSV. In brackets: the share "
        "of the calls that report the number, where it is less than that of the calls with usage. The mean shares of billed "
        "tokens add up to 100 %; their quantiles are over the tasks that report the part."
    )
    rows = frame.to_dict("records")
    # Of one kind, the fleet would say everything twice.
    rows = rows if len(rows) > 2 else rows[:1]
    if (left := len(rows) - 1 - _MOST_KINDS) > 0:
        most = frame["input_tokens_sum"].iloc[:-1].fillna(-1).nlargest(_MOST_KINDS).index.sort_values()
        rows = [*frame.loc[most].to_dict("records"), rows[-1]]
        remarks = [f"Left out, with less input: {many(left, 'kind')}; --json and --csv have them all.", *remarks]
    shown = map(_block, rows)
    return Group(*shown, *(Text(one, style="bold") for one in remarks), Text(note, style="dim"))


def _split(parts: pd.DataFrame, by: str) -> RenderableType:
    names = [name for name in ("task", "task_id") if parts[name].notna().any()]
    numbers = ("calls", "reported", "input", "output", "of input", "of output", "of both")
    table = titled_table(f"Tokens by {by}", (*names, by), numbers)
    for row in parts.to_dict("records"):
        keys = (str(row[name]) for name in names)
        part = "not named" if pd.isna(row["part"]) else str(row["part"])
        values = (human(row[name]) for name in ("calls", "reported_calls", "input_tokens", "output_tokens"))
        shares = (human_share(row[f"{name}_tokens_share"]) for name in ("input", "output", "billed"))
        table.add_row(*keys, part, *values, *shares)
    return table


def _block(row: _Row) -> RenderableType:
    reported = [measure for measure in MEASURES if not pd.isna(row[f"{measure.name}_p50"])]
    table = Table(title=_title(row), title_justify="left")
    table.add_column("per task", no_wrap=True)
    for name in STATISTICS:
        table.add_column("all tasks" if name == "sum" else name, justify="right", no_wrap=True)
    for measure in reported:
        if not _says_nothing(row, measure):
            table.add_row(_label(row, measure), *(_cell(row, measure, name) for name in STATISTICS))
    unreported = [measure.label for measure in MEASURES if measure not in reported]
    if not unreported:
        return table
    return Group(table, Text(f"Not reported: {', '.join(unreported)}.\n", style="dim"))


def _label(row: _Row, measure: Measure) -> str:
    # The title says for how many calls usage is known at all.
    coverage = low_coverage(row, measure)
    return measure.label if coverage is None else f"{measure.label} ({human_share(coverage)})"


def _says_nothing(row: _Row, measure: Measure) -> bool:
    """Return whether nobody need see it: no failures, no retries, usage of every call; the title has the coverage."""
    if measure.name in ("reported_share", "partial_share", "unreported_share"):
        return True
    if "unreported" in measure.name:
        return bool(row[f"{measure.name}_mean"] == 0)
    if measure.name == "failed_calls":
        return bool(row["failed_calls_sum"] == 0)
    if measure.name == "calls_with_usage" and row["calls_with_usage_sum"] == 0:
        return True
    return measure.name in ("attempts", "calls_with_usage") and bool(row[f"{measure.name}_sum"] == row["calls_sum"])


def _title(row: _Row) -> Text:
    silent = row["tasks"] - row["tasks_with_usage"]
    # A task that reports input and no output is not without usage.
    lacking = "complete usage" if row["partial_share_mean"] > 0 else "usage"
    remark = f" ({silent:,} without {lacking})" if silent else ""
    kind: str = "All kinds" if pd.isna(row["task"]) else row["task"]
    shares = [(row[f"{name}_share_mean"], text) for name, text in _USAGE]
    usage = ", ".join(f"{human_share(share)} {text}" for share, text in shares if share > 0)
    counts = f"{many(row['tasks'], 'task')}{remark}, {many(row['calls_sum'], 'call')}"
    return Text(f"{kind}: {counts}; usage {usage}", style="bold")


def _cell(row: _Row, measure: Measure, statistic: str) -> str:
    value = row.get(f"{measure.name}_{statistic}", "")
    if value == "" or measure.unit in ("count", "tokens"):
        return human(value) if value != "" else ""
    if measure.unit == "fraction":
        return human_share(value)
    return human_time(value) if measure.unit == "s" else human_times(value)
