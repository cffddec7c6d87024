"""Draws how many times the tokens of a direct answer a task takes, and what that factor is made of.

Frames of `tokenflation.analysis.comparison.inflation` in, Figures out.
"""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from tokenflation.exporters.report.numbers import times
from tokenflation.exporters.report.theme import INK, PALETTE, base_figure, end_labels, name_rows, plain

__all__ = ["drivers_figure", "inflation_figure"]

_KINDS_OF_TOKENS = (
    ("billed", "billed: input + output", "blue"),
    ("computed", "computed: cached input left out", "sky"),
)
_INPUT = (("input", "input", "blue"),)
_DRIVERS = (
    ("factor_calls", "outer calls", "orange"),
    ("factor_work_per_call", "work per call", "green"),
    ("factor_recursion", "sub-agents", "purple"),
    ("factor_resend", "re-sent context", "blue"),
    ("factor_reasoning", "reasoning", "sky"),
    ("factor_retry", "failed calls", "vermillion"),
    ("compared", "together", "grey"),
)
# Of a logarithmic axis: a tick at 1, 2, 5 of each decade reads best.
_ALIKE = 1e-9
"""A factor nearer to 1 than this is 1 but for rounding."""
_LABELS = 1.25
"""How much longer than its longest bar an axis is, for the factors written behind the bars."""
_TICKS = [mantissa * 10.0**decade for decade in range(-4, 7) for mantissa in (1, 2, 5)]


def inflation_figure(factors: pd.DataFrame) -> Any:
    """Return two bars per task kind, billed and computed tokens as a multiple of the baseline's, with intervals.

    Where no kind reports output, neither is known: then there is one bar, of the input.
    """
    kinds = factors["task"].tolist()
    known = _KINDS_OF_TOKENS if factors["inflation_billed"].notna().any() else _INPUT
    figure = _rows_figure(kinds, len(known), "times the tokens of the baseline (×)")
    ends, places, texts = [1.0], [0.0], [""]
    for shift, (name, label, colour) in zip((-0.175, 0.175) if len(known) > 1 else (0.0,), known, strict=True):
        values = factors[f"inflation_{name}"].astype("float64")
        low, high = (factors[f"inflation_{name}_{end}"].astype("float64") for end in ("low", "high"))
        bounded = low.notna() & high.notna()
        reach = high.where(bounded, values)
        ends += reach.dropna().tolist()
        places += [place + shift for place in reach.dropna().index]
        texts += [times(value) for value in values[reach.notna()]]
        figure.add_trace(
            go.Bar(
                orientation="h",
                name=label,
                x=_nones(values),
                y=list(range(len(kinds))),
                marker={"color": PALETTE[colour].light},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": _whiskers(high - values, bounded),
                    "arrayminus": _whiskers(values - low, bounded),
                    "color": INK["text"].light,
                    "thickness": 1.3,
                    "width": 4,
                    "visible": bool(bounded.any()),
                },
                hovertemplate="%{customdata}<extra></extra>",
                customdata=[
                    f"{plain(kind)}<br>{label}<br>{times(value)}{_interval_text(lower, upper)}"
                    for kind, value, lower, upper in zip(kinds, values, low, high, strict=True)
                ],
            )
        )
    end_labels(figure, ends, places, texts)
    figure.update_xaxes(ticksuffix="×")
    figure.add_vline(x=1, line={"color": INK["muted"].light, "width": 1, "dash": "dot"})
    return figure


def drivers_figure(factors: pd.DataFrame) -> Any:
    """Return the factors of the inflation per task kind as a waterfall on a logarithmic axis, where lengths add up.

    Each bar begins where the one before it ends, so that the last one is as long as all of them together. A factor that
    is 1 for every kind changes nothing and has no bar.
    """
    # Where no task reports output, the factors multiply to the inflation of the input.
    factors = factors.assign(compared=factors["inflation_billed"].fillna(factors["inflation_input"]))
    kinds = factors["task"].tolist()
    drivers = [one for one in _DRIVERS if one[0] == "compared" or _changes(factors[one[0]])]
    figure = _rows_figure(kinds, len(drivers), "factor (×, logarithmic)")
    drawn = [0.0]
    reached = [0.0] * len(kinds)
    for column, label, colour in drivers:
        values = factors[column].astype("float64")
        logs = [math.log10(value) if value > 0 else None for value in values]
        base = [0.0] * len(kinds) if column == "compared" else reached
        reached = [start + (value or 0.0) for start, value in zip(base, logs, strict=True)]
        drawn += reached
        figure.add_trace(
            go.Bar(
                orientation="h",
                name=label,
                x=logs,
                base=base,
                y=list(range(len(kinds))),
                marker={"color": PALETTE[colour].light},
                text=[times(value) if log else "" for value, log in zip(values, logs, strict=True)],
                textposition="outside",
                textangle=0,
                textfont={"size": 12, "color": INK["muted"].light},
                cliponaxis=False,
                hovertemplate="%{customdata}<extra></extra>",
                customdata=[
                    f"{plain(kind)}<br>{label}: {times(value)}" for kind, value in zip(kinds, values, strict=True)
                ],
            )
        )
    low, high = min(drawn), max(drawn)
    pad = 0.05 * max(high - low, 0.3)
    # Behind the bars stand their factors, before those that fall as well.
    falls = any((value or 1) < 1 for trace in figure.data for value in [10**one for one in trace.x if one is not None])
    low, high = low - pad - falls * (_LABELS - 1) * (high - low), high + pad + (_LABELS - 1) * (high - low)
    ticks = _log_ticks(low, high)
    figure.update_xaxes(
        range=[low, high],
        tickvals=[math.log10(tick) for tick in ticks],
        ticktext=[f"{tick:g}×" for tick in ticks],
    )
    figure.add_vline(x=0, line={"color": INK["muted"].light, "width": 1, "dash": "dot"})
    return figure


def _changes(values: "pd.Series[Any]") -> bool:
    known = values.astype("float64").dropna()
    return bool(((known - 1).abs() > _ALIKE).any())


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2, 5 of each decade between two logarithms; only the decades where that would be more than seven."""
    inside = [tick for tick in _TICKS if low <= math.log10(tick) <= high]
    decades = [tick for tick in inside if math.log10(tick).is_integer()]
    return inside if len(inside) <= 7 or len(decades) < 2 else decades


def _rows_figure(kinds: Sequence[str], bars: int, title: str) -> Any:
    figure = base_figure(86 + (12 + 20 * bars) * len(kinds), x=title, y="", barmode="group", bargap=0.3)
    name_rows(figure, kinds)
    return figure


def _nones(values: "pd.Series[float]") -> list[float | None]:
    return [None if math.isnan(value) else value for value in values]


def _whiskers(lengths: "pd.Series[float]", bounded: "pd.Series[bool]") -> list[float | str]:
    """Return the length of each whisker, a word where there is none: a null would be drawn as one of no length."""
    return [float(length) if known else "none" for length, known in zip(lengths, bounded, strict=True)]


def _interval_text(low: float, high: float) -> str:
    return "" if math.isnan(low) or math.isnan(high) else f", interval {times(low)} to {times(high)}"
