"""Colours and the common look of all charts. Knows nothing of the data.

Colours are those of Okabe and Ito, which people with any kind of colour vision can tell apart. A figure is built with
the light ones; the page swaps each for its dark counterpart, so one figure serves both.

Source: M. Okabe, K. Ito, "Color Universal Design", 2008.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go

from tokenflation.exporters.report.names import short_names

__all__ = [
    "FONT",
    "INK",
    "PALETTE",
    "Colour",
    "base_figure",
    "css_variables",
    "end_labels",
    "name_rows",
    "plain",
    "share_ticks",
    "swaps",
    "translucent",
]

FONT = '-apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif'


_NAME_LETTERS = 18
"""Longest name beside a bar, so that there is room for the bar on a phone."""


@dataclass(frozen=True, slots=True)
class Colour:
    """One colour by role, on a light and on a dark ground."""

    name: str
    light: str
    dark: str


PALETTE: dict[str, Colour] = {
    colour.name: colour
    for colour in (
        Colour("blue", "#0072b2", "#4aa3df"),
        Colour("sky", "#56b4e9", "#8fd0f5"),
        Colour("green", "#009e73", "#2fbf95"),
        Colour("orange", "#e69f00", "#f0b429"),
        Colour("vermillion", "#d55e00", "#f07f2e"),
        Colour("purple", "#cc79a7", "#dd94bb"),
        Colour("grey", "#8c9196", "#979da6"),
    )
}
"""Colours of data."""

INK: dict[str, Colour] = {
    colour.name: colour
    for colour in (
        Colour("ground", "#ffffff", "#15181c"),
        Colour("raised", "#f6f7f8", "#1d2126"),
        Colour("text", "#1b1f23", "#e6e8eb"),
        Colour("muted", "#59616a", "#a2a9b2"),
        Colour("line", "#e2e5e9", "#2e343b"),
        Colour("accent", "#00609a", "#6bb8ee"),
        Colour("shade", "#c9ced4", "#05070a"),
    )
}
"""Colours of everything else."""


def translucent(colour: str, opacity: float) -> str:
    """Return `#rrggbb` as `rgba(...)`."""
    return f"{_rgba(colour)}{opacity:g})"


def swaps() -> dict[str, str]:
    """Return what to replace in a figure's JSON to turn its light colours into dark ones; no target is a source."""
    pairs = [(colour.light, colour.dark) for colour in (*PALETTE.values(), *INK.values())]
    return dict(pairs) | {_rgba(light): _rgba(dark) for light, dark in pairs}


def css_variables(dark: bool) -> str:
    """Return the colours as CSS custom properties, `--blue` and so on."""
    colours = (*PALETTE.values(), *INK.values())
    return "".join(f"--{colour.name}:{colour.dark if dark else colour.light};" for colour in colours)


def base_figure(height: int, *, x: str, y: str, **layout: Any) -> Any:
    """Return an empty plotly Figure with the house look; `x` and `y` title the axes, units included.

    The page draws the legend itself, out of the traces whose `showlegend` is not False. Axes are fixed, so that a
    finger that scrolls the page does not zoom a chart.
    """
    axis = {
        "fixedrange": True,
        "automargin": True,
        "gridcolor": INK["line"].light,
        "zeroline": False,
        "linecolor": INK["line"].light,
        "tickcolor": INK["line"].light,
        "tickfont": {"color": INK["muted"].light, "size": 12},
        "exponentformat": "SI extended",  # letters beyond T too, as tables have them
        "separatethousands": True,
        "nticks": 7,
        "tickangle": 0,
        "spikethickness": 1,
        "spikedash": "solid",
        "spikecolor": INK["muted"].light,
    }
    title = {"font": {"size": 12, "color": INK["muted"].light}, "standoff": 10}
    # All of it at once: `update_layout` takes ten times as long.
    look = {
        "template": go.layout.Template(),
        "height": height,
        "margin": {"l": 8, "r": 12, "t": 10, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 13, "color": INK["text"].light},
        "showlegend": False,
        "dragmode": False,
        "hoverlabel": {
            "bgcolor": INK["raised"].light,
            "bordercolor": INK["line"].light,
            "font": {"family": FONT, "size": 13, "color": INK["text"].light},
            "align": "left",
        },
        "xaxis": {**axis, "title": {**title, "text": x}},
        "yaxis": {**axis, "title": {**title, "text": y}},
    }
    return go.Figure(layout=look | layout)


def plain(name: str, letters: int = 0) -> str:
    """Return a name as plotly is to show it, letter by letter: it would read `<b>` in it as a tag.

    With `letters`, a longer name is cut; hover and tables hold all of it.
    """
    shown = f"{name[: letters - 1]}…" if letters and len(name) > letters else name
    return escape(shown, quote=False)


def name_rows(figure: Any, names: Sequence[str]) -> None:
    """Write names beside the rows of a chart with horizontal bars, at 0, 1, ... from the top."""
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=[plain(name) for name in short_names(names, _NAME_LETTERS)],
        range=[len(names) - 0.5, -0.5],
        showgrid=False,
        tickfont={"color": INK["text"].light, "size": 13},
    )


def share_ticks(*shares: float) -> dict[str, Any]:
    """Return the ticks of an axis at shares of a whole, written with the space that tables have: `40 %`."""
    return {"tickvals": list(shares), "ticktext": [f"{100 * one:g}\N{NO-BREAK SPACE}%" for one in shares]}


def end_labels(figure: Any, ends: Sequence[float], places: Sequence[float], texts: Sequence[str]) -> None:
    """Write a text behind the end of each horizontal bar, and make room for it on the axis."""
    figure.add_trace(
        go.Scatter(
            x=list(ends),
            y=list(places),
            text=[f" {text}" for text in texts],
            mode="text",
            textposition="middle right",
            textfont={"size": 12, "color": INK["muted"].light},
            cliponaxis=False,
            hoverinfo="skip",
            showlegend=False,
        )
    )
    figure.update_xaxes(range=[0, max(ends, default=1) * 1.2])


def _rgba(colour: str) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},"
