"""How a task's tree looks in a terminal of any width: guides, labels, columns, remarks. Knows nothing of stores."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from tokenflation.analysis.structure.folding import tool_names
from tokenflation.analysis.structure.trees import Node, Totals, walk
from tokenflation.cli.views.fitting import Fitted
from tokenflation.cli.views.numbers import human, human_time
from tokenflation.cli.views.words import printable
from tokenflation.sdk.words import many

__all__ = ["TaskList", "TreeView"]

_MIN_LABEL = 24
_MIN_NAME = 18
_MOST_TOOLS = 3
_NARROW, _WIDE = 76, 96


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the tree: what guides it, what it says, whose numbers it shows."""

    guide: str
    label: Text
    node: Node | None
    """None: the line says only that there is more, and shows no numbers."""


@dataclass(frozen=True, slots=True)
class _Signs:
    """What the tree is drawn with."""

    branch: str
    last: str
    through: str
    times: str
    inside: str
    more: str


_UNICODE = _Signs("├", "└", "│", "×", "›", "…")
_ASCII = _Signs("|", "`", "|", "x", ">", "...")

_Column = tuple[str, Callable[[Node], str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeView:
    """A tree as the console prints it; `whole` is the same tree before folding, for the remarks."""

    tree: Node
    whole: Node

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the headline, the table and the remarks, in the width there is."""
        signs = _ASCII if options.ascii_only else _UNICODE
        gap = 2 if options.max_width >= _NARROW else 1
        nodes = [node for _, node, _ in walk(self.tree)]
        columns, numbers = _fitting(_columns(options.max_width, self.whole.total), nodes, gap, options.max_width)
        room = max(_MIN_LABEL, options.max_width - numbers)
        yield _headline(self.whole)
        table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0))
        table.add_column("", no_wrap=True, overflow="crop" if options.ascii_only else "ellipsis", max_width=room)
        for name, _, style in columns:
            table.add_column(name, justify="right", no_wrap=True, style=style)
        for child in self.tree.children:
            for line in _lines(child, signs, (room - _MIN_NAME) // 2 - 1):
                cells = (cell(line.node) if line.node else "" for _, cell, _ in columns)
                table.add_row(Text.assemble((line.guide, "dim"), line.label), *cells)
        yield table
        folds, owns = any(node.kind == "more" for node in nodes), any(name == "own" for name, _, _ in columns)
        for remark in _remarks(self.whole, folds=folds, owns=owns):
            yield Text(remark, style="dim")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskList:
    """The tasks that a user may ask for next, one row each, as `analysis.tasks` returns them."""

    tasks: pd.DataFrame
    more: int
    store: str

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table and how to see one of them."""
        rows = self.tasks.to_dict("records")
        ids, kinds = ([printable(str(row[name])) for row in rows] for name in ("task_id", "task"))
        numbers = {
            "calls": [f"{row['calls']:,}" for row in rows],
            "depth": [f"{row['depth']}" for row in rows],
            "tools": [human(row["tool_calls"]) for row in rows],
            "input": [human(row["input_tokens"]) for row in rows],
            "output": [human(row["output_tokens"]) for row in rows],
            "time": [human_time(row["duration_s"]) for row in rows],
        }
        # An id is what the user types next: it is never cut. Where there is no room beside it the kind stands below.
        room = options.max_width - sum(2 + max(map(len, (name, *cells))) for name, cells in numbers.items())
        id_width, kind_width = (max(map(cell_len, names)) for names in (ids, kinds))
        wide = id_width + 2 + kind_width <= room
        if not wide and max(id_width, 2 + kind_width) > room:
            numbers = {name: numbers[name] for name in ("calls", "input", "output")}
        yield Text("\nTasks, the largest first", style="bold")
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("task id" if wide else "task id, kind", no_wrap=wide)
        if wide:
            table.add_column("kind")
        for name in numbers:
            table.add_column(name, justify="right", no_wrap=True)
        for id_, kind, *cells in zip(ids, kinds, *numbers.values(), strict=True):
            table.add_row(*([Text(id_), Text(kind)] if wide else [Text(f"{id_}\n  {kind}")]), *cells)
        yield Fitted(table)
        more = f"and {self.more:,} more: --json and --csv list them all. " if self.more else ""
        yield Text(f"{more}See one: tokenflation tree {shlex.quote(self.store)} TASK_ID", style="dim")


def _columns(width: int, total: Totals) -> list[_Column]:
    calls: _Column = ("calls", lambda node: f"{node.total.calls:,}", "")
    tools: _Column = ("tools", lambda node: human(node.total.tool_calls) if node.total.tool_calls else "", "")
    tokens: list[_Column] = [
        ("input", lambda node: _sum(node.total, "input"), ""),
        ("own", lambda node: _own(node, "input"), "dim"),
        ("output", lambda node: _sum(node.total, "output"), ""),
        ("own", lambda node: _own(node, "output"), "dim"),
    ]
    reasoning: _Column = ("reasoning", lambda node: human(node.total.reasoning_tokens), "")
    time: _Column = ("time", lambda node: human_time(node.duration_s), "")
    if width < _NARROW:
        return [*tokens, time]
    if width < _WIDE:
        return [calls, *tokens, time]
    return [calls, tools, *tokens, *([reasoning] if total.reasoning_tokens else []), time]


def _fitting(columns: list[_Column], nodes: list[Node], gap: int, width: int) -> tuple[list[_Column], int]:
    """Return the columns for which there is room beside the labels, and the characters that they take.

    A sum without sub-agents goes first, also where there are none; then time; the tokens stay.
    """
    columns = [one for one in columns if one[0] != "own" or any(one[1](node) for node in nodes)]
    taken = [gap + max(len(name), *(len(cell(node)) for node in nodes)) for name, cell, _ in columns]
    for name in ("own", "time", "reasoning", "tools", "calls"):
        if sum(taken) <= width - _MIN_LABEL:
            break
        kept = [place for place, column in enumerate(columns) if column[0] != name]
        columns, taken = [columns[place] for place in kept], [taken[place] for place in kept]
    return columns, sum(taken)


def _sum(totals: Totals, side: str) -> str:
    """Return a sum of tokens; with a plus where some of the calls report none, a dash where all do not."""
    known: int = getattr(totals, f"calls_with_{side}")
    return human(getattr(totals, f"{side}_tokens")) + ("+" if 0 < known < totals.calls else "")


def _own(node: Node, side: str) -> str:
    return "" if node.own == node.total or not node.own.calls else _sum(node.own, side)


def _lines(node: Node, signs: _Signs, levels: int, guide: str = "", below: str = "") -> Iterator[_Line]:
    """Yield the node's line and those below it, at most `levels` deep: a terminal has no room for more guides."""
    agent = _only_agent(node)
    label = _label(node, agent, signs)
    shown = [child for child in (agent or node).children if child.kind != "tool" or child.children]
    if len(shown) == 1 and shown[0].kind == "step" and shown[0].status == "ok" and shown[0].total.calls == 1:
        # An agent run of one step has the numbers of that step.
        label.append(_listed(_tools_of(shown[0]), signs), style="not bold cyan")
        shown = []
    yield _Line(guide, label, agent or node)
    if shown and levels <= 0:
        calls = sum(child.total.calls for child in shown)
        text = f"{signs.more} {many(calls, 'call')} deeper"
        yield _Line(f"{below}{signs.last} ", Text(text, style="italic"), None)
        return
    for place, child in enumerate(shown):
        is_last = place == len(shown) - 1
        own_guide = f"{below}{signs.last if is_last else signs.branch} "
        yield from _lines(child, signs, levels - 1, own_guide, f"{below}{' ' if is_last else signs.through} ")


def _only_agent(node: Node) -> Node | None:
    """Return the sub-agent of a tool call that holds just one: both share a line."""
    return node.children[0] if node.kind == "tool" and [one.kind for one in node.children] == ["agent"] else None


def _label(node: Node, agent: Node | None, signs: _Signs) -> Text:
    if node.kind == "more":
        return _label_of_many(node, signs)
    if node.kind == "step":
        return _label_of_step(node, signs)
    name = printable(node.name) or f"({node.kind})"
    if node.kind == "agent":
        text = Text(name, style="bold")
        if node.placed_by == "open":
            text.append(" (place not known)", style="not bold yellow")
        return text.append(_loops(node, signs), style="not bold red")
    text = Text(name + _result(node), style="cyan")
    if agent is not None:
        text.append(f" {signs.inside} ", style="dim").append(printable(agent.name) or "(agent)", style="bold not cyan")
        text.append(_loops(agent, signs), style="not bold red")
    return text


def _label_of_step(node: Node, signs: _Signs) -> Text:
    text = Text(f"step {node.step}")
    if node.status != "ok":
        why = f" {printable(node.error_type)}" if node.error_type else ""
        text.append(f" {node.status}{why}", style="red" if node.status == "error" else "yellow")
    if node.repeats_step is not None:
        text.append(f" repeats step {node.repeats_step}", style="yellow")
    return text.append(_listed(_tools_of(node), signs), style="cyan")


def _loops(run: Node, signs: _Signs) -> str:
    """Return the longest loop of an agent run in words; empty without any."""
    if not run.loops:
        return ""
    longest = max(run.loops, key=lambda loop: (loop.times, -loop.first_step))
    more = f", and {len(run.loops) - 1:,} more" if len(run.loops) > 1 else ""
    what = f"{printable(longest.tools)} {signs.times}{longest.times:,}"
    return f"  loop: {what}, steps {longest.first_step} to {longest.last_step}{more}"


def _tools_of(step: Node) -> Counter[str]:
    """Return the tools of a step, but those with a sub-agent, which have lines of their own."""
    tools = (child for child in step.children if child.kind == "tool" and not child.children)
    return Counter(printable(tool.name) + _result(tool) for tool in tools)


def _label_of_many(node: Node, signs: _Signs) -> Text:
    members = node.members
    if all(one.kind == "step" for one in members):
        text = Text(f"steps {members[0].step} to {members[-1].step}")
        failed = sum(one.status != "ok" for one in members)
        if failed:
            text.append(f", {failed:,} failed", style="red")
        again = sum(one.repeats_step is not None for one in members)
        if again:
            text.append(f", {again:,} {'repeats' if again == 1 else 'repeat'}", style="yellow")
        runs = sum(_count_runs(one) for one in members)
        if runs:
            text.append(f", {many(runs, 'sub-agent run')}")
        names = Counter[str]()
        for name, count in tool_names(node).items():
            names[printable(name)] += count
        return text.append(_listed(names, signs), style="cyan")
    what = Counter(printable(one.name) or one.kind for one in members)
    return Text(f"{len(members):,} smaller").append(_listed(what, signs), style="cyan")


def _listed(names: Counter[str], signs: _Signs) -> str:
    """Return names with how often each stands, the most frequent first."""
    if not names:
        return ""
    shown = [f"{name} {signs.times}{count:,}" if count > 1 else name for name, count in names.most_common(_MOST_TOOLS)]
    rest = len(names) - len(shown)
    return "  " + ", ".join([*shown, *([f"{rest} more"] if rest else [])])


def _result(tool: Node) -> str:
    if tool.server:
        return " (server)"
    return (
        " (no result)"
        if tool.results is None and not tool.children
        else f" ({tool.results} results)"
        if (tool.results or 0) > 1
        else ""
    )


def _headline(task: Node) -> Text:
    total = task.total
    runs = sum(_count_runs(node) for node in task.children)
    depth = max((node.depth for _, node, _ in walk(task) if node.kind == "step"), default=0)
    facts = [
        f"{many(total.calls, 'call')} in {many(runs, 'agent run')}",
        f"depth {depth}",
        f"{many(total.tool_calls, 'tool call')}",
        _tokens(total),
        "time not known" if task.duration_s is None else human_time(task.duration_s),
    ]
    name = Text(f"{printable(task.name)} {printable(task.id)}", style="bold")
    return name.append(f"\n{', '.join(facts)}", style="not bold")


def _tokens(total: Totals) -> str:
    """Return the sums of both sides in words, those that no call reports as such."""
    known = {side: getattr(total, f"calls_with_{side}") > 0 for side in ("input", "output")}
    if not any(known.values()):
        return "tokens not reported"
    if all(known.values()):
        return f"{_sum(total, 'input')} input and {_sum(total, 'output')} output tokens"
    side, other = ("input", "output") if known["input"] else ("output", "input")
    return f"{_sum(total, side)} {side} tokens, {other} not reported"


def _count_runs(node: Node) -> int:
    return sum(one.kind == "agent" for _, one, _ in walk(node))


def _remarks(task: Node, *, folds: bool, owns: bool) -> Iterator[str]:
    """Yield what the numbers leave out or rest on, a sentence each."""
    total = task.total
    nodes = [node for _, node, _ in walk(task)]
    yield from _silent(total)
    if total.failed_calls:
        yield f"{many(total.failed_calls, 'call')} failed or {'was' if total.failed_calls == 1 else 'were'} cut."
    lost = sum(node.kind == "tool" and not node.server and node.results is None for node in nodes)
    if lost:
        yield f"{many(lost, 'tool call')} without a result sent back to the model."
    again = sum(node.repeats_step is not None for node in nodes)
    if again:
        loops = sum(len(node.loops) for node in nodes)
        within = f", {many(loops, 'loop')} among them" if loops else ""
        yield f"{many(again, 'step')} {'repeats' if again == 1 else 'repeat'} a tool call of an earlier one with the same arguments{within}."
    unsure = sum(node.placed_by == "open" for node in nodes)
    if unsure:
        yield f"{many(unsure, 'agent run')} of unknown place: several could have started {'it' if unsure == 1 else 'them'}."
    if any(node.own != node.total and node.own.calls for node in nodes):
        yield f"All counts include sub-agents{'; own leaves them out' if owns else ''}."
    if folds:
        yield "Steps that repeat share a line; --full shows each."


def _silent(total: Totals) -> Iterator[str]:
    """Yield how many calls report no input, no output; in one sentence where both are as many."""
    counts = {side: total.calls - getattr(total, f"calls_with_{side}") for side in ("input", "output")}
    sides = {"usage": counts["input"]} if counts["input"] == counts["output"] else counts
    for side, silent in sides.items():
        if silent:
            some = " A plus marks sums that leave some out." if silent < total.calls else ""
            what = side if side == "usage" else f"{side} tokens"
            verb = "reports" if silent == 1 else "report"
            yield f"{many(silent, 'call')} of {total.calls:,} {verb} no {what}.{some}"
