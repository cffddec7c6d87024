"""Splits the tokens of calls into the parts that the charts stack, per task kind and per step. Frames in, frames out.

A part is left out where no call reports it: nothing here turns "not reported" into 0.
"""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

__all__ = ["INPUT_PARTS", "OUTPUT_PARTS", "Part", "by_kind", "by_step", "growth", "outermost", "run_lengths"]

_MAX_BINS = 40
_MIN_RUNS = 5
_MIN_SHARE = 0.05
_MAX_LINES = 60
_MAX_POINTS = 250


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the input or output: its column, what people call it, and the colour of `theme.PALETTE`."""

    column: str
    label: str
    colour: str


INPUT_PARTS = (
    Part("system_tokens", "system prompt", "grey"),
    Part("tool_definition_tokens", "tool definitions", "sky"),
    Part("resent_tokens", "re-sent history", "blue"),
    Part("tool_result_tokens", "tool results", "green"),
    Part("new_tokens", "new", "orange"),
)
_CACHE_PARTS = (
    Part("read_tokens", "read from the cache", "blue"),
    Part("written_tokens", "written to the cache", "sky"),
    Part("fresh_tokens", "fresh", "orange"),
)
_BLOCK_PARTS = (
    Part("seen_tokens", "seen before, in whole blocks", "blue"),
    Part("unseen_tokens", "not seen before", "orange"),
)
_WHOLE_INPUT = (Part("input_tokens", "input, not split", "vermillion"),)
_INPUT_CHOICES = (INPUT_PARTS, _CACHE_PARTS, _BLOCK_PARTS, _WHOLE_INPUT)
OUTPUT_PARTS = (
    Part("reasoning_tokens", "reasoning", "sky"),
    Part("answer_tokens", "answer and tool calls", "vermillion"),
)
_WHOLE_OUTPUT = (Part("output_tokens", "output, reasoning not reported", "grey"),)


def _numbers(calls: pd.DataFrame) -> pd.DataFrame:
    """Return the calls' numbers as floats, NaN where not reported, with the columns of all parts.

    Fresh is what the cache neither gave nor took, as in the profile; a provider that reports reads alone takes nothing.
    """
    names = ["step", "depth", "input_tokens", "output_tokens", "reasoning_tokens", *(p.column for p in INPUT_PARTS)]
    frame = calls[names].astype("float64").assign(agent_run_id=calls["agent_run_id"], task_id=calls["task_id"])
    whole = frame["input_tokens"]
    frame["read_tokens"] = _at_most(calls["cache_read_tokens"].astype("float64"), whole)
    rest = whole - frame["read_tokens"]
    frame["written_tokens"] = _at_most(calls["cache_write_tokens"].astype("float64").fillna(0), rest)
    frame["fresh_tokens"] = rest - frame["written_tokens"]
    frame["seen_tokens"] = _at_most((calls["shared_blocks"] * calls["block_tokens"]).astype("float64"), whole)
    frame["unseen_tokens"] = whole - frame["seen_tokens"]
    frame["answer_tokens"] = frame["output_tokens"] - frame["reasoning_tokens"]
    return frame


def _at_most(values: "pd.Series[Any]", limit: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return values cut down to a limit; where either is missing, so is the result."""
    return values.where(values <= limit, limit).where(values.notna())


def _split(frame: pd.DataFrame, total: str, choices: tuple[tuple[Part, ...], ...]) -> tuple[Part, ...]:
    """Return the first way to split `total` that most of its tokens have; the last choice is the total itself."""
    reported = frame[total].sum()
    for parts in choices[:-1]:
        complete = frame[[part.column for part in parts]].notna().all(axis=1)
        if reported and frame.loc[complete, total].sum() >= 0.5 * reported:
            return parts
    return choices[-1]


def by_kind(calls: pd.DataFrame) -> pd.DataFrame:
    """Return the mean tokens of a task by part: columns `task`, `side` (input, output), `part`, `colour`, `tokens`.

    Means are over the tasks that report any tokens of that side, as in the profile. Tokens of calls without a split are
    a part of their own, so the parts of a side sum to all that was reported. Kinds stand in falling order of input per
    task; one without any report has no row.
    """
    rows: list[dict[str, Any]] = []
    for kind, frame in _numbers(calls).assign(task=calls["task"]).groupby("task", sort=False):
        for side, total, choices in (
            ("input", "input_tokens", _INPUT_CHOICES),
            ("output", "output_tokens", (OUTPUT_PARTS, _WHOLE_OUTPUT)),
        ):
            tasks = frame.loc[frame[total].notna(), "task_id"].nunique()
            parts, whole = _split(frame, total, choices), choices[-1][0]
            complete = frame[[part.column for part in parts]].notna().all(axis=1)
            shown = [(part, frame.loc[complete, part.column].sum()) for part in parts]
            if parts != choices[-1]:
                shown.append((whole, frame.loc[~complete, total].sum()))
            rows += [
                {"task": str(kind), "side": side, "part": part.label, "colour": part.colour, "tokens": tokens / tasks}
                for part, tokens in shown
                if tokens > 0
            ]
    frame = pd.DataFrame(rows, columns=["task", "side", "part", "colour", "tokens"])
    heavy = frame[frame["side"] == "input"].groupby("task")["tokens"].sum()
    return frame.sort_values("task", key=lambda kinds: -kinds.map(heavy).fillna(0), kind="stable", ignore_index=True)


def run_lengths(calls: pd.DataFrame) -> "pd.Series[Any]":
    """Return the number of steps of each agent run, indexed by its id: its last step plus one."""
    return calls.groupby("agent_run_id")["step"].max() + 1


def outermost(calls: pd.DataFrame) -> pd.DataFrame:
    """Return the calls at depth 0, or all of them where there is none."""
    outer = calls[calls["depth"] == 0]
    return calls if outer.empty else outer


def _bin_width(calls: pd.DataFrame) -> int:
    """Return how many steps a bar or a point stands for, so that nine runs in ten fit into `_MAX_BINS` of them."""
    return max(1, math.ceil(float(run_lengths(calls).quantile(0.9)) / _MAX_BINS))


def by_step(calls: pd.DataFrame) -> pd.DataFrame:
    """Return the mean input of a call by step, of one task kind's outermost agent runs; one row per bin and part.

    Columns: `first`, `last` (steps from 0; `last` is missing for the tail, which holds every later step), `part`,
    `colour`, `tokens` (mean per call that reports them), `calls`, `runs` (that got this far). Empty where no call
    reports input.
    """
    outer = outermost(calls)
    frame = _numbers(outer)
    parts = _split(frame, "input_tokens", _INPUT_CHOICES)
    frame = frame[frame[[part.column for part in parts]].notna().all(axis=1)]
    # A part without tokens in any step would only take a place in the legend.
    parts = tuple(part for part in parts if frame[part.column].sum() > 0) or parts
    width = _bin_width(outer)
    position = (frame["step"] // width).clip(upper=_MAX_BINS).astype(int)
    rows = []
    for place, group in frame.groupby(position, sort=True):
        first = int(str(place)) * width
        rest = int(str(place)) == _MAX_BINS
        rows += [
            {
                "first": first,
                "last": None if rest else first + width - 1,
                "part": part.label,
                "colour": part.colour,
                "tokens": group[part.column].mean(),
                "calls": len(group),
                "runs": group["agent_run_id"].nunique(),
            }
            for part in parts
        ]
    table = pd.DataFrame(rows, columns=["first", "last", "part", "colour", "tokens", "calls", "runs"])
    return table.astype({"last": "Int64"})


def growth(calls: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return how the context of one task kind grows: its quantiles by step, and the runs to draw.

    The first frame has one row per bin of steps that at least five outermost agent runs and a twentieth of them reach
    (all of them, where the kind has fewer than five): `step` (first of the bin), `p10`, `p50`, `p90` (input tokens of a
    call), `runs`. The second has the calls of up to 60 runs, spread evenly over the lengths of all: `agent_run_id`,
    `depth`, `step`, `input_tokens`; long runs are thinned to 250 points.
    """
    frame = _numbers(calls).dropna(subset=["input_tokens"])
    outer = outermost(frame)
    width = _bin_width(outer) if len(outer) else 1
    binned = outer.assign(step=(outer["step"] // width * width).astype(int)).groupby("step")
    quantiles = {f"p{level}": binned["input_tokens"].quantile(level / 100) for level in (10, 50, 90)}
    table = pd.DataFrame(quantiles)
    table["runs"] = binned["agent_run_id"].nunique()
    runs = outer["agent_run_id"].nunique()
    enough = min(runs, max(_MIN_RUNS, math.ceil(_MIN_SHARE * runs)))
    return table[table["runs"] >= enough].reset_index(), _sampled(frame)


def _sampled(frame: pd.DataFrame) -> pd.DataFrame:
    lengths = run_lengths(frame).sort_values(kind="stable")
    picks = sorted({round(place * (len(lengths) - 1) / max(1, _MAX_LINES - 1)) for place in range(_MAX_LINES)})
    chosen = lengths.index[[pick for pick in picks if pick < len(lengths)]]
    lines = frame[frame["agent_run_id"].isin(chosen)].sort_values(["agent_run_id", "step"], kind="stable")
    size = lines.groupby("agent_run_id")["step"].transform("size")
    order = lines.groupby("agent_run_id").cumcount()
    stride = (size // _MAX_POINTS + 1).astype(int)
    kept = (order % stride == 0) | (order == size - 1)
    return lines.loc[kept, ["agent_run_id", "depth", "step", "input_tokens"]].reset_index(drop=True)
