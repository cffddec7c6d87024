"""The sections on tokens: cards per kind, tokens by part, by step, and the growth of the context."""

from typing import Any

import pandas as pd

from tokenflation.analysis.context.steps import in_contexts
from tokenflation.analysis.profiles.scattered import scattered_remarks
from tokenflation.analysis.profiles.uneven import uneven_remarks
from tokenflation.exporters.report import parts
from tokenflation.exporters.report.figures.token import growth_figure, kinds_figure, step_label, steps_figure
from tokenflation.exporters.report.markup import Section, card, chart, definitions, note, notes, table
from tokenflation.exporters.report.names import listed
from tokenflation.exporters.report.numbers import NOT_REPORTED, count, exact, share, times
from tokenflation.sdk.words import many

__all__ = ["growth_section", "kinds_section", "parts_section", "steps_section"]

_MAX_CARDS = 12
_MAX_BARS = 16
_MAX_STEP_CHARTS = 4
_HOW_TO_GET_USAGE = (
    "No call of this store reports its input tokens. Ask the provider for usage (for a streamed OpenAI chat: "
    'stream_options={"include_usage": true}) and record again.'
)


def kinds_section(profile: pd.DataFrame) -> Section:
    """Return the headline figures of each task kind, the ones with most input first."""
    order = profile.sort_values("input_tokens_sum", ascending=False, na_position="last", kind="stable")
    cards = "".join(_card(row) for row in order.head(_MAX_CARDS).to_dict("records"))
    wide = " wide" if len(order) == 1 else ""
    body = [f'<div class="cards{wide}">{cards}</div>']
    if len(order) > _MAX_CARDS:
        body.append(
            note(f"In the table of percentiles only, with less input: {many(len(order) - _MAX_CARDS, 'kind')}.")
        )
    scattered = scattered_remarks(dict(zip(order["task"], order["tasks"], strict=True)))
    body.append(notes("Mind", [*scattered, *uneven_remarks(order)], "warning"))
    return Section(
        key="kinds",
        title="Task kinds at a glance",
        lede="What one task of each kind takes: half of its tasks take at most the median, nine in ten at most the p90.",
        body=body,
    )


def _card(row: dict[Any, Any]) -> str:
    facts = definitions(
        [
            ("Calls per task", count(row["calls_p50"]), f"median · p90 {count(row['calls_p90'])}"),
            ("Input tokens per task", *_p50(row, "input_tokens")),
            ("Input / peak context", *_ratio(row)),
            _cache(row),
        ]
    )
    return card(str(row["task"]), f"{many(row['tasks'], 'task')}, {_coverage(row)}", facts)


def _coverage(row: dict[Any, Any]) -> str:
    """Return of how many calls the usage is known, the ones that report a part of it apart."""
    whole, part = share(row["reported_share_mean"]), share(row["partial_share_mean"])
    if row["partial_share_mean"] > 0 and not row["reported_share_mean"]:
        return f"usage in part of {part} of calls"
    return f"usage of {whole} of calls" + (f", in part of {part}" if row["partial_share_mean"] > 0 else "")


def _p50(row: dict[Any, Any], measure: str) -> tuple[str, str]:
    value = count(row[f"{measure}_p50"])
    return (value, "") if value == NOT_REPORTED else (value, f"median · p90 {count(row[f'{measure}_p90'])}")


def _ratio(row: dict[Any, Any]) -> tuple[str, str]:
    value = times(row["input_over_peak_context_p50"])
    return (
        (value, "") if value == NOT_REPORTED else (value, f"median · p90 {times(row['input_over_peak_context_p90'])}")
    )


def _cache(row: dict[Any, Any]) -> tuple[str, str, str]:
    """Return the hit rate, or what a cache could have given where nobody says what it gave."""
    if share(row["cache_hit_rate_mean"]) != NOT_REPORTED:
        return "Cache hit rate", share(row["cache_hit_rate_mean"]), "by tokens, as the provider reports"
    if share(row["cache_hit_rate_blocks_mean"]) != NOT_REPORTED:
        return (
            "Could be cached", share(row["cache_hit_rate_blocks_mean"]), "of prefix blocks; the hit rate is not reported"
        )  # fmt: skip
    return "Cache hit rate", NOT_REPORTED, ""


def parts_section(calls: pd.DataFrame) -> Section:
    """Return where the tokens of a task go: stacked bars of input and of output per kind."""
    heavy = calls.groupby("task")["input_tokens"].sum().sort_values(ascending=False, kind="stable").index
    shown = parts.by_kind(calls[calls["task"].isin(heavy[:_MAX_BARS])])
    body, missing = [], []
    for side in ("input", "output"):
        rows = shown[shown["side"] == side]
        if rows.empty:
            missing.append(note(f"No call of this store reports its {side} tokens.", "empty"))
            continue
        data = table(
            f"Mean {side} tokens per task, by part",
            ["task kind and part", "tokens per task", f"share of {side}"],
            [
                (f"{task}: {part}", exact(round(tokens)), share(tokens / group["tokens"].sum()))
                for task, group in rows.groupby("task", sort=False)
                for part, tokens in zip(group["part"], group["tokens"], strict=True)
            ],
        )
        label = f"Stacked bars: mean {side} tokens per task by part, for {many(rows['task'].nunique(), 'task kind')}."
        body.append(
            chart(f"parts-{side}", f"{side.capitalize()} tokens per task", label, kinds_figure(shown, side), data)
        )
    return Section(
        key="parts",
        title="Tokens by task kind and part",
        lede="Every call sends the instructions and the history again; what is new in it is often the smaller part. "
        "Bars are means over the tasks of a kind that report them.",
        body=[f'<div class="charts">{"".join(body)}</div>' if body else "", *missing, *_more_kinds(len(heavy))],
    )


def _more_kinds(kinds: int) -> list[str]:
    left = kinds - _MAX_BARS
    return [note(f"Not drawn, with less input: {many(left, 'kind')}.")] if left > 0 else []


def _loops(calls: pd.DataFrame) -> list[str]:
    """Return the kinds whose agent runs have a second step, in falling order of input."""
    reporting = calls.dropna(subset=["input_tokens"])
    second = reporting.groupby("task")["step"].max() > 0
    heavy = reporting.groupby("task")["input_tokens"].sum().sort_values(ascending=False)
    return [str(kind) for kind in heavy.index if second[kind]]


def _skipped(kinds: list[str]) -> list[str]:
    left = kinds[_MAX_STEP_CHARTS:]
    return [note(f"Not drawn, with less input: {listed(left)}.")] if left else []


def _without_loops(calls: pd.DataFrame) -> str:
    if (calls["status"] != "ok").all():
        return note("Every call of this store failed, so there are no steps to compare.", "empty")
    if calls["input_tokens"].notna().sum() == 0:
        return note(_HOW_TO_GET_USAGE, "empty")
    return note(
        "Every agent run of this store is a single call, so there are no steps to compare. Record an agent that calls a "
        "tool and goes on: `tokenflation run --store DB SCRIPT`.",
        "empty",
    )


def steps_section(calls: pd.DataFrame) -> Section:
    """Return the mean input of a call by step of its agent run, per kind."""
    calls = calls[in_contexts(calls)]
    kinds = _loops(calls)
    charts = []
    for place, kind in enumerate(kinds[:_MAX_STEP_CHARTS]):
        steps = parts.by_step(calls[calls["task"] == kind])
        data = table(
            f"{kind}: mean input tokens of a call by step",
            ["step", *dict.fromkeys(steps["part"]), "calls", "agent runs"],
            [
                (
                    step_label(int(str(first)), group["last"].iloc[0]),
                    *(exact(round(tokens)) for tokens in group["tokens"]),
                    exact(group["calls"].iloc[0]),
                    exact(group["runs"].iloc[0]),
                )
                for first, group in steps.groupby("first")
            ],
        )
        label = f"Stacked bars for {kind}: mean input tokens of a call against the step of its agent run."
        charts.append(chart(f"steps-{place}", kind, label, steps_figure(steps), data))
    body = [f'<div class="charts">{"".join(charts)}</div>', *_skipped(kinds)] if charts else [_without_loops(calls)]
    return Section(
        key="steps",
        title="Tokens by step",
        lede="Input of one call, by its place in the agent run (from 0), outermost runs only. Later bars rest on fewer "
        "runs: only those that got so far.",
        body=body,
    )


def growth_section(calls: pd.DataFrame) -> Section:
    """Return how the context grows over the steps of an agent run, per kind; embeddings are in no context."""
    calls = calls[in_contexts(calls)]
    kinds = _loops(calls)
    charts = []
    for place, kind in enumerate(kinds[:_MAX_STEP_CHARTS]):
        bands, lines = parts.growth(calls[calls["task"] == kind])
        data = table(
            f"{kind}: input tokens of a call by step, quantiles over agent runs",
            ["step", "p10", "p50", "p90", "agent runs"],
            [
                (exact(row["step"]), *(exact(round(row[name])) for name in ("p10", "p50", "p90")), exact(row["runs"]))
                for row in bands.to_dict("records")
            ],
        )
        drawn = lines["agent_run_id"].nunique()
        # What no call reports cannot be drawn: such a run is not one that was left out for its length.
        total = calls.loc[(calls["task"] == kind) & calls["input_tokens"].notna(), "agent_run_id"].nunique()
        which = f"{drawn} of {exact(total)} agent runs drawn, evenly spread over their lengths"
        label = f"Lines for {kind}: input tokens of each call against its step; {which}, their median, and p10 to p90."
        remark = f"{which}." if drawn < total else ""
        charts.append(chart(f"growth-{place}", kind, label, growth_figure(bands, lines), data, remark))
    body = [f'<div class="charts">{"".join(charts)}</div>', *_skipped(kinds)] if charts else [_without_loops(calls)]
    return Section(
        key="growth",
        title="Context growth",
        lede="What the model reads at each step of an agent run. A fall is a context that was cut, summarised or begun "
        "anew. The median and its band are over outermost runs, as far as one in twenty gets, and at least five: all, "
        "where there are fewer.",
        body=body,
    )
