"""Draws where tokens go: by kind and part, by step, and how the context grows. Frames of `parts.py` in, Figures out."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from tokenflation.exporters.report.numbers import count, with_unit
from tokenflation.exporters.report.theme import INK, PALETTE, base_figure, end_labels, name_rows, plain, translucent
from tokenflation.sdk.words import percent, plural

__all__ = ["growth_figure", "kinds_figure", "step_label", "steps_figure"]

_FEW_STEPS = 8


def kinds_figure(shares: pd.DataFrame, side: str) -> Any:
    """Return stacked bars, one per task kind: mean tokens per task by part; rows of `parts.by_kind` of one side."""
    rows = shares[shares["side"] == side]
    kinds = list(dict.fromkeys(rows["task"]))
    figure = base_figure(86 + 38 * len(kinds), x=f"{side} tokens per task, mean", y="", barmode="stack", bargap=0.36)
    # A category per place, since two long names can be the same when shortened.
    places = {kind: place for place, kind in enumerate(kinds)}
    totals = rows.groupby("task")["tokens"].sum()
    for (part, colour), group in rows.groupby(["part", "colour"], sort=False):
        figure.add_trace(
            go.Bar(
                orientation="h",
                name=part,
                x=group["tokens"].tolist(),
                y=[places[kind] for kind in group["task"]],
                marker=_fill(str(colour)),
                hovertemplate="%{customdata}<extra></extra>",
                customdata=[
                    f"{plain(kind)}<br>{part}: {with_unit(tokens, 'tokens')} per task<br>{percent(tokens / totals[kind], 1)}"
                    f" of {with_unit(totals[kind], side + ' tokens')}"
                    for kind, tokens in zip(group["task"], group["tokens"], strict=True)
                ],
            )
        )
    end_labels(figure, [totals[kind] for kind in kinds], list(places.values()), [count(totals[kind]) for kind in kinds])
    name_rows(figure, kinds)
    return figure


def step_label(first: int, last: Any) -> str:
    """Return what a bin of steps is called: `7`, `8 to 11`, or `160 and later`."""
    if pd.isna(last):
        return f"{first} and later"
    return str(first) if first == last else f"{first} to {last}"


def steps_figure(steps: pd.DataFrame) -> Any:
    """Return stacked bars, one per step or bin of steps: mean input of a call by part; rows of `parts.by_step`."""
    figure = base_figure(300, x="step of the agent run", y="input tokens of a call, mean", barmode="stack", bargap=0.12)
    bins = list(dict.fromkeys(steps["first"]))
    places = {first: place for place, first in enumerate(bins)}
    totals = steps.groupby("first")["tokens"].sum()
    for (part, colour), group in steps.groupby(["part", "colour"], sort=False):
        figure.add_trace(
            go.Bar(
                name=part,
                x=[places[first] for first in group["first"]],
                y=group["tokens"].tolist(),
                marker=_fill(str(colour)),
                hovertemplate="%{customdata}<extra></extra>",
                customdata=[
                    f"step {step_label(row['first'], row['last'])}<br>{part}: {with_unit(row['tokens'], 'tokens')} of"
                    f" {count(totals[row['first']])}<br>{count(row['calls'])} {plural('call', row['calls'])} of"
                    f" {count(row['runs'])} agent {plural('run', row['runs'])}"
                    for row in group.to_dict("records")
                ],
            )
        )
    ticks = _few(bins)
    tail = bool(steps["last"].isna().any())
    figure.update_xaxes(
        tickvals=[places[first] for first in ticks],
        ticktext=[f"{first}+" if tail and first == bins[-1] else str(first) for first in ticks],
        range=[-0.6, len(bins) - 0.4],
        showgrid=False,
    )
    figure.update_yaxes(rangemode="tozero")
    return figure


def _few(bins: list[int]) -> list[int]:
    """Return at most six of the bins, evenly spread; the last one among them."""
    stride = max(1, -(-(len(bins) - 1) // 5))
    ticks = [first for place, first in enumerate(bins) if place % stride == 0 and len(bins) - 1 - place > stride / 2]
    return [*ticks, bins[-1]]


def growth_figure(bands: pd.DataFrame, lines: pd.DataFrame) -> Any:
    """Return input tokens against step: one faint line per run, the median and the band from p10 to p90.

    Frames of `parts.growth`. Steps beyond those that the band covers are cut off: few runs get there.
    """
    figure = base_figure(320, x="step of the agent run", y="input tokens of a call", hovermode="x unified")
    for is_sub, name, colour in ((False, "one agent run", "grey"), (True, "one sub-agent run", "orange")):
        chosen = lines[(lines["depth"] > 0) == is_sub]
        if len(chosen):
            figure.add_trace(_lines(chosen, name, translucent(PALETTE[colour].light, 0.38)))
    blue = PALETTE["blue"].light
    steps = bands["step"].tolist()
    figure.add_trace(
        go.Scatter(
            x=steps + steps[::-1],
            y=bands["p90"].tolist() + bands["p10"].tolist()[::-1],
            name="p10 to p90 of runs",
            fill="toself",
            fillcolor=translucent(blue, 0.18),
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=steps,
            y=bands["p50"].tolist(),
            name="median",
            mode="lines" if len(steps) > 1 else "markers",
            line={"color": blue, "width": 2.5},
            hovertemplate="%{customdata}<extra></extra>",
            customdata=[
                f"median {with_unit(row.p50, 'tokens')}<br>p10 {count(row.p10)}, p90 {count(row.p90)}"
                f"<br>{count(row.runs)} {'run reaches' if row.runs == 1 else 'runs reach'} it"
                for row in bands.itertuples()
            ],
        )
    )
    furthest = max([*steps, 1])
    figure.update_xaxes(range=[0, furthest * 1.02], hoverformat=",d", unifiedhovertitle={"text": "step %{x}"})
    if furthest < _FEW_STEPS:
        figure.update_xaxes(dtick=1)
    # Long runs that the axis cuts off must not set its height.
    seen = lines.loc[lines["step"] <= furthest, "input_tokens"]
    figure.update_yaxes(range=[0, 1.04 * max([*seen, *bands["p90"], 1])])
    return figure


def _lines(chosen: pd.DataFrame, name: str, colour: str) -> Any:
    """Return all runs as one trace, a gap between two of them: sixty traces would draw slower and say no more."""
    x: list[float | None] = []
    y: list[float | None] = []
    for _, run in chosen.groupby("agent_run_id", sort=False):
        x += [*run["step"].tolist(), None]
        y += [*run["input_tokens"].tolist(), None]
    return go.Scatter(x=x, y=y, name=name, mode="lines", line={"color": colour, "width": 1}, hoverinfo="skip")


def _fill(colour: str) -> dict[str, Any]:
    # A thin line in the colour of the ground parts neighbours for eyes that see their colours alike.
    return {"color": PALETTE[colour].light, "line": {"color": INK["ground"].light, "width": 0.75}}
