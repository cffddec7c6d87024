"""Draws a planned fleet's demand over its horizon: the fan, whence its uncertainty, what each assumption moves.

Knows nothing of how a forecast is made.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from tokenflation.exporters.report.numbers import share, with_unit
from tokenflation.exporters.report.theme import (
    INK,
    PALETTE,
    base_figure,
    end_labels,
    name_rows,
    plain,
    share_ticks,
    translucent,
)
from tokenflation.sdk.words import percent

__all__ = ["SPLIT", "fan_figure", "split_figure", "tornado_figure"]

SPLIT = (
    ("share_load", "load: which tasks happen to overlap", "blue"),
    ("share_prototypes", "prototypes: how few runs were recorded", "orange"),
    ("share_assumptions", "assumptions: unsure numbers of the plan", "purple"),
)
"""Statistic, words and colour of each part of the variance."""
_BANDS = (("p5", "p95", "90 % band", 0.2), ("p25", "p75", "50 % band", 0.34))
_LABEL_ROOM = 1.16


def fan_figure(wide: pd.DataFrame, label: str, unit: str, peak: tuple[float, float, float] | None, *,
               days: bool) -> Any:  # fmt: skip
    """Return one resource over the horizon: columns `at` (hours, or days), `mean`, `p5`, `p25`, `p75`, `p95`.

    `peak` is the busiest day's peak: where that day begins and ends in the unit of `at`, and how high it is. It is
    drawn as a line of its own over that day, as no instant of the fan is the peak.
    """
    figure = base_figure(300, x="day of the horizon" if days else "hour of the horizon", y=f"{label} ({unit})",
                         hovermode="x unified")  # fmt: skip
    at, blue = wide["at"].tolist(), PALETTE["blue"].light
    for low, high, name, opacity in _BANDS:
        figure.add_trace(_band(at, wide[low].tolist(), wide[high].tolist(), name, translucent(blue, opacity)))
    told = [_told(row, unit) for row in wide.to_dict("records")]
    figure.add_trace(
        go.Scatter(x=at, y=wide["mean"].tolist(), name="mean", mode="lines" if len(at) > 1 else "markers",
                   line={"color": blue, "width": 2.5}, marker={"color": blue}, customdata=told,
                   hovertemplate="%{customdata}<extra></extra>")
    )  # fmt: skip
    if peak is not None:
        figure.add_trace(
            go.Scatter(x=list(peak[:2]), y=[peak[2]] * 2, name="peak of the busiest day (not passed in 95 of 100)", mode="lines",
                       line={"color": PALETTE["vermillion"].light, "width": 2.5, "dash": "dot"}, hoverinfo="skip")
        )  # fmt: skip
    width = at[1] - at[0] if len(at) > 1 else 1.0
    figure.update_xaxes(range=[min(at) - width / 2, max(at) + width / 2],
                        unifiedhovertitle={"text": "day %{x:.1f}" if days else "at %{x:.1f} h"})  # fmt: skip
    if not days:
        figure.update_xaxes(dtick=6 if max(at) <= 48 else 12)
    figure.update_xaxes(showspikes=False)
    figure.update_yaxes(rangemode="tozero", showspikes=False)
    return figure


def _band(at: list[float], low: list[float], high: list[float], name: str, colour: str) -> Any:
    return go.Scatter(x=at + at[::-1], y=low + high[::-1], name=name, fill="toself", fillcolor=colour, line={"width": 0},
                      mode="lines", hoverinfo="skip")  # fmt: skip


def _told(row: Mapping[Any, Any], unit: str) -> str:
    lines = [f"mean {with_unit(row['mean'], unit)}"]
    lines += [
        f"{name} {with_unit(row[low], unit)} to {with_unit(row[high], unit)}" for low, high, name, _ in _BANDS[::-1]
    ]
    return "<br>".join(lines)


def split_figure(names: Sequence[str], shares: Mapping[str, Sequence[float]]) -> Any:
    """Return one bar per resource, split into the parts of its variance; `shares` are by the statistics of `SPLIT`."""
    figure = base_figure(90 + 34 * len(names), x="share of the variance", y="", barmode="stack", bargap=0.35)
    name_rows(figure, names)
    for statistic, words, colour in SPLIT:
        if not any(shares.get(statistic, ())):
            continue
        figure.add_trace(
            go.Bar(orientation="h", name=words, x=list(shares[statistic]), y=list(range(len(names))),
                   marker={"color": PALETTE[colour].light}, hovertemplate="%{customdata}<extra></extra>",
                   customdata=[f"{plain(name)}<br>{words}: {share(value)}"
                               for name, value in zip(names, shares[statistic], strict=True)])
        )  # fmt: skip
    # So few, and so much room beside the last, that all are read on a phone.
    figure.update_xaxes(range=[0, 1], **share_ticks(0, 0.5, 1))
    figure.update_layout(margin_r=24)
    return figure


def tornado_figure(rows: Sequence[Mapping[str, Any]], unit: str) -> Any:
    """Return one bar per assumption, the widest on top: from the mean with it alone at its p10 to that at its p90.

    `rows` have `assumption`, `planned`, `p10` and `p90`; the dotted line is the mean as planned.
    """
    figure = base_figure(90 + 34 * len(rows), x=f"mean of the busiest bucket ({unit})", y="", bargap=0.4)
    name_rows(figure, [row["assumption"] for row in rows])
    planned = rows[0]["planned"]
    places = list(range(len(rows)))
    for end, words, colour in (("p10", "at its p10", "sky"), ("p90", "at its p90", "blue")):
        figure.add_trace(
            go.Bar(orientation="h", name=words, base=[planned] * len(rows), x=[row[end] - planned for row in rows], y=places,
                   offset=-0.3, width=0.6, marker={"color": PALETTE[colour].light},
                   hovertemplate="%{customdata}<extra></extra>",
                   customdata=[f"{plain(row['assumption'])} {words}<br>{with_unit(row[end], unit)}" for row in rows])
        )  # fmt: skip
    ends = [max(row["p10"], row["p90"], planned) for row in rows]
    low, high = min(min(row["p10"], row["p90"], planned) for row in rows), max(ends)
    end_labels(figure, ends, [float(place) for place in places],
               [f"± {percent(abs(row['p90'] - row['p10']) / 2 / planned)}" if planned else "" for row in rows])  # fmt: skip
    pad = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    figure.update_xaxes(range=[max(0.0, low - pad), low + (high - low + pad) * _LABEL_ROOM])
    figure.add_vline(x=planned, line={"color": INK["muted"].light, "width": 1, "dash": "dot"})
    return figure
