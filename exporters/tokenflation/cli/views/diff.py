"""Shows the difference of two fleets to people: what changed, by how much, driven by what.

Frames in, renderables out.
"""

from typing import Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tokenflation.cli.views.numbers import human, human_share, human_times, small
from tokenflation.cli.views.tables import titled_table
from tokenflation.sdk.words import many

__all__ = ["page"]

_Row = dict[Any, Any]

_NAMES = {
    "volume": "number of tasks", "mix": "mix of task kinds", "calls": "calls per task", "outer_calls": "calls outside sub-agents", "work_per_call": "work per call",
    "recursion": "sub-agents", "resend": "re-sent context", "reasoning": "reasoning", "retry": "failed calls",
    "input_per_call": "input per call", "output": "output", "cache": "cache", "price": "price per token",
    "new kinds": "new task kinds", "gone kinds": "task kinds that are gone", "total": "whole difference",
}  # fmt: skip
_FACTS = (
    ("tasks", "tasks", "count"), ("calls_per_task", "calls per task", "number"),
    ("input_per_call", "input tokens per call", "number"), ("output_per_call", "output tokens per call", "number"),
    ("output_share", "output, share of tokens", "share"), ("cached_share", "cached, share of input", "share"),
    ("resent_share", "re-sent, share of input", "share"), ("reasoning_share", "reasoning, share of output", "share"),
)  # fmt: skip
_MEASURES = {"billed": "billed tokens", "computed": "computed tokens", "cost": "cost"}
_SHOWN_KINDS = 8
_MANY_TIMES = 10.0
"""Share of a difference from which on a percentage would only be a large number."""


def page(found: pd.DataFrame, manifest: dict[str, Any]) -> RenderableType:
    """Return the whole answer: a sentence, both sides side by side, the drivers, the kinds, what to mind."""
    whole = float(found[found["factor"] == "total"][["a", "b"]].to_numpy(dtype="float64").max())
    # What is left of a sum of floats is not an effect.
    named = ["effect", "effect_low", "effect_high"]
    found = found.assign(**{name: found[name].where(~(found[name].abs() <= 1e-9 * whole), 0.0) for name in named})
    found = found.assign(share=found["share"].mask((found["effect"] == 0) & found["share"].notna(), 0.0))
    recursion = found.loc[found["factor"] == "recursion", ["a", "b"]]
    if (recursion.notna() & (recursion != 1)).any(axis=None):
        # The calls of sub-agents stand in a factor of their own.
        found = found.assign(factor=found["factor"].replace({"calls": "outer_calls"}))
    rows: list[_Row] = found.to_dict("records")
    together = [row for row in rows if pd.isna(row["task"])]
    kinds = [row for row in rows if not pd.isna(row["task"])]
    parts: list[RenderableType] = [
        Text(_headline(together, manifest), style="bold"),
        _sides(manifest),
        _drivers(together, manifest),
    ]
    if len({row["task"] for row in kinds}) > 1:
        parts.append(_by_kind(kinds))
    parts += [Text(f"Mind: {one}", style="bold") for one in manifest["warnings"]]
    return Group(*parts, Text(_note(manifest, together), style="dim"))


def _headline(together: list[_Row], manifest: dict[str, Any]) -> str:
    whole = next(row for row in together if row["factor"] == "total")
    what = "The fleet" if manifest["per"] == "fleet" else "A task"
    measure = _MEASURES[manifest["measure"]] if manifest["counted"] != "input" else "input tokens"
    measure = measure if manifest["measure"] != "cost" else f"{manifest['unit'].removesuffix(' per task')}"
    before, after, change = whole["a"], whole["b"], whole["effect"]
    if abs(change) <= 1e-9 * max(before, after):
        return f"{what} of B takes what {what.lower()} of A takes: {small(before)} {measure}.{_driven(together)}"
    ratio = f", {human(after / before)} times as many" if before > 0 and manifest["measure"] != "cost" else ""
    more = "more" if change > 0 else "less"
    return (
        f"{what} of B takes {small(after)} {measure} against {small(before)} in A: {small(abs(change))} {more}"
        f"{ratio}.{_unsure(whole)}{_driven(together)}"
    )


def _unsure(whole: _Row) -> str:
    if pd.isna(whole["effect_low"]):
        return " Too few tasks to say whether that is more than chance."
    if whole["effect_low"] <= 0 <= whole["effect_high"]:
        return " That may be chance: the interval holds 0."
    return ""


def _driven(together: list[_Row]) -> str:
    """Return the sentence on the largest drivers, those that push the other way named as such."""
    whole = next(row for row in together if row["factor"] == "total")["effect"]
    parts = sorted((row for row in together if row["factor"] != "total"), key=lambda row: -abs(row["effect"]))
    largest = abs(parts[0]["effect"]) if parts else 0.0
    shown = [row for row in parts[:3] if abs(row["effect"]) > 0.05 * largest and abs(row["effect"]) > 1e-9]
    if not shown:
        return ""
    with_it = [f"{_NAMES[row['factor']]} ({_signed(row['effect'])})" for row in shown if row["effect"] * whole >= 0]
    against = [f"{_NAMES[row['factor']]} ({_signed(row['effect'])})" for row in shown if row["effect"] * whole < 0]
    said = f" Driven by {', '.join(with_it)}" if with_it else " Held back"
    return f"{said}{'; ' if with_it and against else ''}{'against it ' + ', '.join(against) if against else ''}."


def _signed(value: float) -> str:
    if value == 0:
        return "0"
    return f"{'+' if value > 0 else '-'}{small(abs(value))}"


def _sides(manifest: dict[str, Any]) -> Table:
    table = titled_table("The two sides", ("",), ())
    for name, side in (("A", manifest["a"]), ("B", manifest["b"])):
        table.add_column(Text(f"{name}: {side['store']}", overflow="fold"), justify="right")
    for key, label, kind in _FACTS:
        table.add_row(label, *(_side_fact(manifest[side], key, kind) for side in "ab"))
    coverage = (
        " / ".join(human_share(side[f"calls_{name}"] / side["calls"]) for name in ("reported", "partial", "unreported"))
        for side in (manifest["a"], manifest["b"])
    )
    table.add_row("calls with usage: full / in part / none", *coverage)
    return table


def _side_fact(side: dict[str, Any], key: str, kind: str) -> str:
    shown = _fact(side[key], kind)
    left_out = side["tasks_left_out"] if key == "tasks" else 0
    # The other lines are of the tasks that are compared.
    return f"{side['tasks'] - left_out:,} of {shown}" if left_out else shown


def _fact(value: float | None, kind: str) -> str:
    return human_share(value) if kind == "share" else f"{value:,}" if kind == "count" else human(value)


def _drivers(together: list[_Row], manifest: dict[str, Any]) -> Table:
    whole = next(row for row in together if row["factor"] == "total")
    table = titled_table(f"What drives it, in {whole['unit']}", ("factor",),
                         ("A", "B", "adds", "90 % interval", "of the whole"))  # fmt: skip
    parts = sorted((row for row in together if row["factor"] != "total"), key=lambda row: -abs(row["effect"]))
    for row in [*parts, whole]:
        if row is whole:
            table.add_section()
        interval = (
            "" if pd.isna(row["effect_low"]) else f"{_signed(row['effect_low'])} to {_signed(row['effect_high'])}"
        )
        table.add_row(
            _NAMES[row["factor"]],
            _value(row, "a", manifest),
            _value(row, "b", manifest),
            _signed(row["effect"]),
            interval,
            _of_whole(row["share"]),
        )
    return table


def _of_whole(share: float) -> str:
    """Return a part of the whole difference; of one that is next to nothing, how many times it is."""
    return f"{_signed(share)}x" if not pd.isna(share) and abs(share) >= _MANY_TIMES else human_share(share)


def _value(row: _Row, side: str, manifest: dict[str, Any]) -> str:
    value = row[side]
    if pd.isna(value) or (row["factor"] == "reasoning" and manifest[side]["reasoning_share"] is None):
        return "-"
    return human_times(value) if row["unit"] == "x" else small(value)


def _by_kind(kinds: list[_Row]) -> Table:
    """Return the kinds that matter most, each with its largest driver."""
    totals = sorted((row for row in kinds if row["factor"] == "total"), key=lambda row: -abs(row["effect"]))
    table = titled_table("By task kind: its part of a task on average, and its largest driver", ("task kind",),
                         ("A", "B", "adds"))  # fmt: skip
    table.add_column("most by")
    for whole in totals[:_SHOWN_KINDS]:
        own = [row for row in kinds if row["task"] == whole["task"] and row["factor"] != "total"]
        most = max(own, key=lambda row: abs(row["effect"]))
        said = f"{_NAMES[most['factor']]} ({_signed(most['effect'])})" if most["effect"] else "nothing"
        table.add_row(Text(whole["task"]), human(whole["a"]), human(whole["b"]), _signed(whole["effect"]), said)
    left = len(totals) - _SHOWN_KINDS
    if left > 0:
        table.add_row(Text(f"and {many(left, 'other')}"), "", "", "", "--json shows all")
    return table


def _note(manifest: dict[str, Any], together: list[_Row]) -> str:
    method = "additive LMDI" if manifest["method"] == "lmdi" else "Shapley"
    notes = [*manifest["remarks"], f"Split by {method}: what the factors add sums to the whole difference."]
    if manifest["view"] == "work":
        notes.append("Work = new input + visible output of calls that ended well.")
    unsure = all(pd.isna(row["effect_low"]) for row in together)
    if manifest["pairs"] and not unsure:
        notes.append(
            f"{many(manifest['pairs'], 'task')} are in A and B by kind and id: intervals "
            "take each for the same work, done twice."
        )
    if unsure:
        notes.append("No intervals: they need 10 tasks on each side.")
    return " ".join(notes)
