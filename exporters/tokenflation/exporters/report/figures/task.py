"""Draws one task as an icicle: agents, steps and tool calls, as wide as their tokens. A tree in, a Figure out."""

from typing import Any

import plotly.graph_objects as go

from tokenflation.analysis.structure.folding import tool_names
from tokenflation.analysis.structure.trees import Node, Totals, walk
from tokenflation.exporters.report.names import shown_name
from tokenflation.exporters.report.numbers import NOT_REPORTED, count, seconds, share, with_unit
from tokenflation.exporters.report.theme import INK, PALETTE, base_figure, plain
from tokenflation.sdk.words import many

__all__ = ["COLOURS", "MAX_LEVELS", "label_of", "legend_of", "task_figure"]

COLOURS: dict[str, str] = {
    "task": "grey",
    "agent run": "green",
    "step": "sky",
    "tool call with a sub-agent": "purple",
    "sub-agent run": "orange",
}
"""What a node is, and its colour in the palette."""
MAX_LEVELS = 24
"""Levels that are drawn, the task's among them."""

_LEVEL_PX = 30
_PATH_PX = 22
_LETTERS = 40
_NAMES = {"task": "task", "step": "step", "tool": "tool call with a sub-agent"}
# Dark on all of these colours, in both themes: it is none of those that the page swaps.
_TEXT = "#101214"


def task_figure(task: Node) -> Any:
    """Return the icicle of a (folded) tree, whose widths are input and output tokens; own tokens have nothing below.

    Calls below `MAX_LEVELS` are part of the widths above them. What has no tokens has no width and is left out.
    """
    levels = 1
    ids: dict[int, str] = {}
    rows: list[tuple[str, str, str, int, str, str]] = []
    for level, node, around in walk(task):
        if level >= MAX_LEVELS or not node.total.tokens or (around is not None and id(around) not in ids):
            continue
        levels = max(levels, level + 1)
        ids[id(node)] = str(len(ids))
        parent = ids[id(around)] if around is not None else ""
        colour = PALETTE[COLOURS[_what(node)]].light
        name = plain(_short(node) or label_of(node), _LETTERS)
        rows.append((ids[id(node)], parent, name, node.total.tokens, colour, _hover(node, task)))
    # Plotly takes lists; there is always the task itself, since a task without tokens is not drawn.
    places, parents, names, values, colours, hovers = (list(column) for column in zip(*rows, strict=True))
    figure = base_figure(24 + _PATH_PX + _LEVEL_PX * levels, x="", y="", uniformtext={"minsize": 12, "mode": "hide"})
    figure.add_trace(
        go.Icicle(
            ids=places,
            parents=parents,
            labels=names,
            values=values,
            branchvalues="total",
            sort=False,
            tiling={"orientation": "v", "pad": 1},
            pathbar={"thickness": _PATH_PX, "textfont": {"size": 12, "color": _TEXT}},
            marker={"colors": colours, "line": {"color": INK["ground"].light, "width": 1}},
            leaf={"opacity": 1},
            textinfo="label",
            textfont={"size": 12, "color": _TEXT},
            textposition="middle left",
            hovertemplate="%{customdata}<extra></extra>",
            customdata=hovers,
        )
    )
    return figure.update_layout(
        margin={"l": 0, "r": 0, "t": _PATH_PX + 4, "b": 4}, xaxis={"visible": False}, yaxis={"visible": False}
    )


def label_of(node: Node) -> str:
    """Return what a node is called in the figure and in its table."""
    if node.kind == "task":
        return shown_name(node.id)
    if node.kind == "step":
        return f"step {node.step}" if node.status == "ok" else f"step {node.step} ({node.status})"
    if node.kind == "more":
        first, last = node.members[0], node.members[-1]
        steps = all(one.kind == "step" for one in node.members)
        return f"steps {first.step} to {last.step}" if steps else f"{len(node.members)} smaller"
    return shown_name(node.name) if node.name else node.kind


def legend_of(task: Node) -> dict[str, str]:
    """Return what stands in the figure of a tree, with its colour in the palette."""
    there = {_what(node) for _, node, _ in walk(task) if node.total.tokens}
    return {name: colour for name, colour in COLOURS.items() if name in there}


def _short(node: Node) -> str:
    """Return the places of several steps alone: there is little room."""
    if node.kind != "more" or any(one.kind != "step" for one in node.members):
        return ""
    return f"{node.members[0].step}\N{EN DASH}{node.members[-1].step}"


def _what(node: Node) -> str:
    if node.kind == "more":
        return _what(node.members[0])
    if node.kind == "agent":
        return "agent run" if node.depth == 0 else "sub-agent run"
    return _NAMES[node.kind]


def _sides(totals: Totals) -> str:
    read = count(totals.input_tokens) if totals.calls_with_input else NOT_REPORTED
    return f"input {read}, output {count(totals.output_tokens) if totals.calls_with_output else NOT_REPORTED}"


def _hover(node: Node, task: Node) -> str:
    total, own = node.total, node.own
    lines = [
        f"<b>{plain(label_of(node), _LETTERS)}</b>{'' if node.kind in ('step', 'more') else f', {_what(node)}'}",
        f"{with_unit(total.tokens, 'tokens')}, {share(total.tokens / task.total.tokens)} of the task",
        _sides(total),
    ]
    if own.calls and own != total:
        lines.append(f"own: {_sides(own)}")
    lines.append(f"{many(total.calls, 'call')}, {seconds(node.duration_s)}")
    names = tool_names(node) if node.kind in ("step", "more") else None
    if names:
        shown = [
            f"{plain(name, _LETTERS)} × {times}" if times > 1 else plain(name, _LETTERS)
            for name, times in names.most_common(3)
        ]
        lines.append(f"tools: {', '.join(shown)}{', ...' if len(names) > len(shown) else ''}")
    return "<br>".join(lines)
