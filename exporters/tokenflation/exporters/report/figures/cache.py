"""Draws what a prefix cache gives: against time to live, its size, and the time since the call before."""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from tokenflation.exporters.report.numbers import count, seconds, share, with_unit
from tokenflation.exporters.report.theme import INK, PALETTE, base_figure, plain, share_ticks

__all__ = ["bytes_figure", "named_models", "pause_label", "pauses_figure", "ttl_figure", "ttl_label"]

_COLOURS = ("blue", "orange", "green", "purple", "vermillion", "sky")
_HEIGHT = 300
_SEEN = 0.005
"""The least hit rate whose bar can be seen."""


def named_models(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with a column `name`: the model, and its provider where two serve one of that name."""
    name = frame["model"].astype("object").where(frame["model"].notna(), "not reported")
    several = frame.groupby(name)["provider"].transform("nunique") > 1
    return frame.assign(name=name.where(~several, name.astype("str") + " (" + frame["provider"].astype("str") + ")"))


def ttl_label(ttl_s: Any) -> str:
    """Return a time to live in words."""
    return "for ever" if pd.isna(ttl_s) else "none" if ttl_s == 0 else _whole(ttl_s)


def pause_label(from_s: Any, to_s: Any) -> str:
    """Return a range of times in few letters: below a minute, from 5 to 15 minutes, an hour and more."""
    low = _whole(from_s)
    if pd.isna(to_s):
        return f"\N{GREATER-THAN OR EQUAL TO} {low}"
    high = _whole(to_s)
    if not from_s:
        return f"< {high}"
    (number, unit), (_, other) = low.split("\N{NO-BREAK SPACE}"), high.split("\N{NO-BREAK SPACE}")
    return f"{number if unit == other else low}\N{EN DASH}{high}"


def _whole(value: Any) -> str:
    """Return seconds in their unit, without the zeros behind a whole number of them."""
    number, unit = seconds(value).split("\N{NO-BREAK SPACE}")
    return f"{float(number):g}\N{NO-BREAK SPACE}{unit}"


def ttl_figure(ttl: pd.DataFrame) -> Any:
    """Return an unlimited cache's hit rate against its time to live, one line per model; of `kvcache.hits_by_ttl`."""
    figure = base_figure(_HEIGHT, x="time to live since the last use", y="hit rate, by tokens")
    names = list(dict.fromkeys(ttl_label(one) for one in ttl["ttl_s"]))
    for name, colour, rows in _by_model(ttl):
        figure.add_trace(
            _line(
                name,
                colour,
                [names.index(ttl_label(one)) for one in rows["ttl_s"]],
                rows,
                [f"{ttl_label(row.ttl_s)}: {_told(row)}" for row in rows.itertuples()],
            )
        )
    figure.update_xaxes(
        tickvals=list(range(len(names))), ticktext=names, range=[-0.3, len(names) - 0.7], showgrid=False
    )
    return _rates(figure)


def bytes_figure(sizes: pd.DataFrame) -> Any:
    """Return the hit rate of a least-recently-used cache against its size, on a log axis; of `hits_by_bytes`."""
    unit = "cache_bytes" if sizes["cache_bytes"].notna().all() else "cache_tokens"
    what = "bytes" if unit == "cache_bytes" else "tokens"
    figure = base_figure(_HEIGHT, x=f"size of the cache ({what}, logarithmic)", y="hit rate, by tokens")
    positive = sizes[sizes[unit] > 0]
    for name, colour, rows in _by_model(positive):
        told = [f"{with_unit(getattr(row, unit), what)}: {_told(row)}" for row in rows.itertuples()]
        figure.add_trace(_line(name, colour, [math.log10(one) for one in rows[unit]], rows, told))
    if len(positive):
        low, high = (math.log10(end) for end in (positive[unit].min(), positive[unit].max()))
        figure.update_xaxes(**_log_axis(low, high))
    return _rates(figure)


def pauses_figure(pauses: pd.DataFrame) -> Any:
    """Return the realised hit rate of what was sent again, by time since the call before; of `pauses.hits_by_pause`."""
    figure = base_figure(_HEIGHT, x="time since the call before", y="read from the cache", barmode="group", bargap=0.28)
    ranges = list(dict.fromkeys((row.from_s, row.to_s) for row in pauses.sort_values("from_s").itertuples()))
    starts = [low for low, _ in ranges]
    for name, colour, rows in _by_model(pauses):
        figure.add_trace(
            go.Bar(
                name=name,
                x=[starts.index(one) for one in rows["from_s"]],
                y=rows["hit_rate"].tolist(),
                marker={"color": PALETTE[colour].light},
                # A bar of no height looks like a model that made no call then.
                text=["0" if rate < _SEEN else "" for rate in rows["hit_rate"]],
                textposition="outside",
                textangle=0,
                constraintext="none",
                textfont={"size": 12, "color": INK["muted"].light},
                hovertemplate="%{customdata}<extra></extra>",
                customdata=[
                    f"{plain(name)}<br>{pause_label(row.from_s, row.to_s)}<br>{share(row.hit_rate)} of "
                    f"{with_unit(row.resent_tokens, 'tokens')} sent again<br>{count(row.calls)} {'call' if row.calls == 1 else 'calls'}"
                    for row in rows.itertuples()
                ],
            )
        )
    figure.update_xaxes(
        tickvals=list(range(len(ranges))), ticktext=[_two_lines(pause_label(*one)) for one in ranges], showgrid=False
    )
    return _rates(figure)


def _two_lines(label: str) -> str:
    """Return a range of times that leaves others room on a phone: broken behind its dash, or before its only unit."""
    if label.count("\N{NO-BREAK SPACE}") > 1:
        return label.replace("\N{EN DASH}", "\N{EN DASH}<br>")
    return label.replace("\N{NO-BREAK SPACE}", "<br>")


def _log_axis(low: float, high: float) -> dict[str, Any]:
    """Return ticks at 1, 2, 5 of each decade between two logarithms, of many decades at 1 only; at most eight."""
    mantissas = (1,) if high - low > 2.5 else (1, 2, 5)
    decades = range(math.floor(low), math.ceil(high) + 1)
    places = [math.log10(one) + decade for decade in decades for one in mantissas]
    places = [one for one in places if low - 0.05 <= one <= high + 0.05]
    places = places[:: max(1, math.ceil(len(places) / 8))]
    return {
        "tickvals": places,
        "ticktext": [count(float(f"{10**one:.3g}")) for one in places],
        "range": [low - 0.08, high + 0.08],
    }


def _by_model(frame: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield name, colour and rows of the models with most input, as many as there are colours."""
    weight = "input_tokens" if "input_tokens" in frame.columns else "resent_tokens"
    keyed = named_models(frame)
    heavy = keyed.groupby("name")[weight].max().sort_values(ascending=False, kind="stable").index
    for name, colour in zip(heavy, _COLOURS, strict=False):
        yield str(name), colour, keyed[keyed["name"] == name]


def _line(name: str, colour: str, x: list[Any], rows: pd.DataFrame, told: list[str]) -> Any:
    return go.Scatter(
        name=name,
        x=x,
        y=rows["hit_rate"].tolist(),
        mode="lines+markers",
        line={"color": PALETTE[colour].light, "width": 2.5},
        marker={"color": PALETTE[colour].light, "size": 6},
        hovertemplate="%{customdata}<extra></extra>",
        customdata=[f"{plain(name)}<br>{text}" for text in told],
    )


def _told(row: Any) -> str:
    return f"{share(row.hit_rate)} of {with_unit(row.input_tokens, 'input tokens')}"


def _rates(figure: Any) -> Any:
    figure.update_yaxes(range=[0, 1.04], **share_ticks(0, 0.2, 0.4, 0.6, 0.8, 1))
    return figure
