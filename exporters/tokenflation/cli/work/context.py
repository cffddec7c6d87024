"""`tokenflation context DB`: how contexts grow, what is sent again, where histories are cut down."""

from typing import Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tokenflation import analysis
from tokenflation.analysis.context.growth import context_kinds, context_runs
from tokenflation.analysis.context.steps import append_summary, context_steps, in_contexts
from tokenflation.analysis.profiles.uneven import uneven_kinds, uneven_remarks
from tokenflation.analysis.statistics.seeds import interval_rng
from tokenflation.cli.views.numbers import human, human_share, human_times, two_decimals
from tokenflation.cli.views.output import emit
from tokenflation.cli.views.tables import names_of, titled_table, with_interval
from tokenflation.sdk.words import many

__all__ = ["run"]

_SHOWN = 20


def run(store: str, chosen: str | None, window: int | None, as_json: bool, as_csv: bool) -> None:
    """Do what `tokenflation context` asks."""
    calls = analysis.load(store)
    models = calls["response_model"].fillna(calls["model"]).dropna().unique()
    steps = context_steps(calls, windows=None if window is None else dict.fromkeys(models, window))
    names = [chosen or "kinds"] if as_json or as_csv or chosen is not None else ["kinds", "append"]
    frames = {name: _frame(name, calls, steps) for name in names}
    emit(next(iter(frames.values())), as_json, as_csv, lambda: _tables(calls, steps, frames))


def _frame(name: str, calls: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    if name == "kinds":
        return context_kinds(calls, steps=steps, rng=interval_rng())
    if name == "runs":
        return context_runs(calls, steps=steps)
    return steps if name == "steps" else append_summary(steps)


def _tables(calls: pd.DataFrame, steps: pd.DataFrame, frames: dict[str, pd.DataFrame]) -> RenderableType:
    shown: list[RenderableType] = []
    for name, frame in frames.items():
        if name == "append":
            shown.append(_append(frame))
        elif name == "steps":
            shown += _long(frame, _steps)
        elif name == "runs":
            shown += _long(frame.sort_values("input_tokens", ascending=False, kind="stable"), _runs)
        else:
            shown += [_kinds(frame), _growth(frame)]
    return Group(
        *shown,
        Text(" ".join([*uneven_remarks(uneven_kinds(calls)), *_refused(frames), *_remarks(calls, steps)]), style="dim"),
    )


def _kinds(frame: pd.DataFrame) -> Table:
    heads = ("runs", "steps", "input", "peak", "input / peak", "input / distinct", "sent again", "cut")
    table = titled_table("What is sent again", ("task kind", "agent"), heads)
    for row in frame.to_dict("records"):
        cut = f"{row['compactions_explicit']:,} + {row['compactions_inferred']:,}"
        table.add_row(
            Text(row["task"]), Text(row["agent"]), f"{row['runs']:,}", f"{row['steps']:,}", human(row["input_tokens"]),
            human(row["peak_context_tokens"]), with_interval(row, "input_over_peak_context", human_times),
            human_times(row["input_over_distinct"]), with_interval(row, "redundant_input_ratio", human_share), cut,
        )  # fmt: skip
    return table


def _growth(frame: pd.DataFrame) -> Table:
    heads = ("tokens per step", "exponent in a run", "exponent over runs", "near window")
    table = titled_table("How the context grows", ("task kind", "agent"), heads)
    for row in frame.to_dict("records"):
        exponent = with_interval(row, "growth_exponent", two_decimals)
        near = f"{row['calls_near_window']:,} of {row['calls_with_window']:,}" if row["calls_with_window"] else "-"
        table.add_row(
            Text(row["task"]),
            Text(row["agent"]),
            human(row["growth_per_step"]),
            two_decimals(row["run_growth_exponent"]),
            exponent,
            near,
        )
    return table


def _append(frame: pd.DataFrame) -> Table:
    heads = ("calls", "with a prefix", "prefix", "append", "without answers", "fresh", "amplified")
    table = titled_table("What has to be computed, and how much of it is fresh", ("provider", "prompted by"), heads)
    for row in frame.to_dict("records"):
        known = int(row["calls_by_provider"]) + int(row["calls_by_blocks"])
        names = names_of(row, ("provider", "prompted_by"))
        sums = [
            human(row[name]) for name in ("prefix_tokens", "append_tokens", "adjusted_append_tokens", "fresh_tokens")
        ]
        table.add_row(*names, f"{row['calls']:,}", f"{known:,}", *sums, human_times(row["prefill_amplification"]))
    return table


def _runs(frame: pd.DataFrame) -> Table:
    heads = ("steps", "input", "peak", "input / peak", "sent again", "per step", "exponent", "cut")
    table = titled_table("Agent runs, most input first", ("task", "agent run"), heads)
    for row in frame.to_dict("records"):
        cut = int(row["compactions_explicit"]) + int(row["compactions_inferred"])
        table.add_row(
            Text(row["task_id"]), Text(row["agent_run_id"]), f"{row['steps']:,}", human(row["input_tokens"]),
            human(row["peak_context_tokens"]), human_times(row["input_over_peak_context"]),
            human_share(row["redundant_input_ratio"]), human(row["growth_per_step"]), two_decimals(row["growth_exponent"]), f"{cut:,}",
        )  # fmt: skip
    return table


def _steps(frame: pd.DataFrame) -> Table:
    table = titled_table(
        "Calls", ("agent run", "change"), ("step", "input", "grown", "prefix", "append", "fresh", "sent again")
    )
    for row in frame.to_dict("records"):
        change = "-" if pd.isna(row["change"]) else str(row["change"])
        cells = (
            "input_tokens",
            "grown_tokens",
            "prefix_tokens",
            "append_tokens",
            "fresh_tokens",
            "resent_input_tokens",
        )
        table.add_row(Text(row["agent_run_id"]), change, f"{row['step']:,}", *(human(row[name]) for name in cells))
    return table


def _long(frame: pd.DataFrame, table: Any) -> list[RenderableType]:
    """Return the first rows as a table, and a line that says how many there are."""
    if len(frame) <= _SHOWN:
        return [table(frame)]
    return [table(frame.head(_SHOWN)), Text(f"{_SHOWN} of {len(frame):,} rows; --json and --csv have them all.")]


def _refused(frames: dict[str, pd.DataFrame]) -> list[str]:
    """Return why kinds, or their agents where one has several, have no exponent."""
    if "kinds" not in frames:
        return []
    counts = frames["kinds"]["growth_refused"].dropna().value_counts()
    row = "kind" if frames["kinds"]["task"].is_unique else "agent"
    kinds = {reason: many(count, row) for reason, count in counts.items()}
    return [f"No exponent over runs: {reason} ({of})." for reason, of in kinds.items()]


def _remarks(calls: pd.DataFrame, steps: pd.DataFrame) -> list[str]:
    """Return what the figures do not cover."""
    found = []
    contexts = int(in_contexts(calls).sum())
    if other := len(calls) - contexts:
        found.append(f"In no context, and left out: {many(other, 'call')} without output, as embeddings are.")
    if silent := contexts - len(steps):
        found.append(f"No input is reported by {silent:,} of {many(len(calls), 'call')}: left out.")
    sources = steps["prefix_source"].value_counts()
    if "none" in sources:
        found.append(f"What was cached of {many(sources['none'], 'call')} is not known.")
    if "blocks" in sources:
        found.append(f"Of {many(sources['blocks'], 'call')} the prefix is what an ideal cache would have had.")
    if (steps["resent_source"] == "growth").any():
        found.append(
            "Where there are no prefix hashes, as much as the smaller of two following inputs counts as sent again."
        )
    if answers := int((steps["fresh_tokens"].isna() & steps["previous_call_id"].notna()).sum()):
        found.append(
            f"The answer before it is not reported of {many(answers, 'call')}: what is fresh there is not known."
        )
    if steps["prompted_by"].isna().any():
        found.append(f"What prompted it is not recorded of {many(int(steps['prompted_by'].isna().sum()), 'call')}.")
    unknown = int(steps["context_window"].isna().sum())
    if unknown:
        found.append(f"The context window of {many(unknown, 'call')} is not known; --window gives one.")
    found.append("Cut: compactions marked in the record + inferred, where the context falls to half or less.")
    found.append("Exponent: 1 = input grows with the steps, 2 = with their square. Below a value: its 90 % interval.")
    return found
