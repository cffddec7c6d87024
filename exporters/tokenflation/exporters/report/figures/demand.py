"""Draws what a fleet asks for by hour: mean, bands and the interval of the mean.

Knows nothing of how it is forecast.
"""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from tokenflation.exporters.report.numbers import with_unit
from tokenflation.exporters.report.theme import INK, PALETTE, base_figure, translucent

__all__ = ["demand_figure"]


def demand_figure(wide: pd.DataFrame, label: str, unit: str) -> Any:
    """Return a resource by hour: columns `hour`, `mean`, `p50`, `p95`, `p99`, and `mean_low`, `mean_high` if known.

    `hour` counts from midnight; values are in `unit`. Bands fill p50 to p95 and p95 to p99 of the load.
    """
    figure = base_figure(290, x="hour of the day", y=f"{label} ({unit})", hovermode="x unified")
    blue = PALETTE["blue"].light
    hours = wide["hour"].tolist()
    for low, high, opacity in (("p50", "p95", 0.28), ("p95", "p99", 0.14)):
        figure.add_trace(_band(hours, wide[low], wide[high], f"{low} to {high}", translucent(blue, opacity)))
    if {"mean_low", "mean_high"} <= set(wide.columns) and wide["mean_low"].notna().any():
        for name in ("mean_low", "mean_high"):
            line = {"color": INK["muted"].light, "width": 1, "dash": "dash"}
            figure.add_trace(
                go.Scatter(
                    x=hours, y=wide[name].tolist(), name="interval of the mean", line=line, mode="lines", hoverinfo="skip",
                    showlegend=name == "mean_low",
                )
            )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=hours,
            y=wide["mean"].tolist(),
            name="mean",
            mode="lines",
            line={"color": blue, "width": 2.5},
            hovertemplate="%{customdata}<extra></extra>",
            customdata=[_told(row, unit) for row in wide.to_dict("records")],
        )
    )
    figure.update_xaxes(
        range=[0, max(24, *hours)], dtick=24 if max(hours) > 72 else 6, unifiedhovertitle={"text": "at %{x:.1f} h"}
    )
    figure.update_yaxes(rangemode="tozero")
    return figure


def _band(hours: list[float], low: "pd.Series[float]", high: "pd.Series[float]", name: str, colour: str) -> Any:
    return go.Scatter(
        x=hours + hours[::-1],
        y=low.tolist() + high.tolist()[::-1],
        name=name,
        fill="toself",
        fillcolor=colour,
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
    )


def _told(row: dict[Any, Any], unit: str) -> str:
    lines = [f"mean {with_unit(row['mean'], unit)}"]
    if not pd.isna(row.get("mean_low")):
        lines.append(f"interval of the mean {with_unit(row['mean_low'], unit)} to {with_unit(row['mean_high'], unit)}")
    return "<br>".join([*lines, *(f"{name} {with_unit(row[name], unit)}" for name in ("p50", "p95", "p99"))])
