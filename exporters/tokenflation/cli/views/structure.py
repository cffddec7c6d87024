"""How the structure of task kinds looks in a terminal: what is known as tables, what is not as sentences.

No sums here.
"""

import shlex
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from tokenflation.cli.views.fitting import Fitted
from tokenflation.cli.views.numbers import human, human_share, human_time
from tokenflation.cli.views.words import printable
from tokenflation.sdk.words import many

__all__ = ["StructureView"]

_WIDE = 76
_MOST_KINDS = 5
_MOST_TOOLS = 8
_MOST_FAILURES = 5

_TOOL_CELLS = ("asked", "answered", "repeated", "failed", "tokens", "of input", "time", "p50", "p90")

_Row = dict[str, Any]
_Line = tuple[str, str, str, str]
"""What is measured, its value, its interval, and what it rests on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureView:
    """The frames of `structure.summary`, `tools` and `expensive_failures`, as the console prints them."""

    kinds: pd.DataFrame
    tools: pd.DataFrame
    failures: pd.DataFrame
    remarks: tuple[str, ...]
    currency: str
    store: str

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield a block for each of the largest kinds, then what all numbers rest on."""
        size = self.kinds["tokens"].fillna(0)
        shown = self.kinds.assign(size=size).sort_values(["size", "calls"], ascending=False, kind="stable")
        for values in shown.head(_MOST_KINDS).to_dict("records"):
            row = {str(name): None if pd.isna(value) else value for name, value in values.items()}
            yield from self._block(row, wide=options.max_width >= _WIDE)
        more = len(shown) - _MOST_KINDS
        if more > 0:
            yield Text(f"And {many(more, 'smaller kind')}: --json and --csv have them all.\n", style="bold")
        for remark in self.remarks:
            yield Text(remark, style="bold")
        yield Text(
            "Ratios are of sums over tasks; intervals are 90 %, over whole tasks. Input includes cached tokens. "
            "Tool time is from answer to next call where the tool run itself was not recorded. "
            f"One task: tokenflation tree {shlex.quote(self.store)}",
            style="dim",
        )

    def _block(self, row: _Row, *, wide: bool) -> Iterator[RenderableType]:
        yield _title(row)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        # Where there is little room the interval stands below its value.
        numbers = ("value", "90 % interval") if wide else ("value, 90 %\ninterval",)
        table.add_column("", no_wrap=wide)
        for name in numbers:
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("of")
        for heading, lines in self._sections(row):
            if lines:
                table.add_row(Text(heading, style="bold"))
                for label, value, interval, basis in lines:
                    cells = [value, interval] if wide else ["\n".join(one for one in (value, interval) if one)]
                    table.add_row(f"  {label}", *cells, Text(basis, style="dim"))
        yield Fitted(table)
        yield from self._tools(str(row["task"]))
        yield from self._failures(str(row["task"]), outcomes=row["tasks_with_outcome"])
        if row["alarm"] is not None:
            alarms = row["deepest"] > 1
            yield Text(
                f"{'Alarm' if alarms else 'Note'}: {row['alarm']}", style="bold red" if alarms else "bold yellow"
            )
        unknown = list(_unknown(row))
        if unknown:
            yield Text(f"Not known: {'; '.join(unknown)}.", style="dim")
        yield Text()

    def _sections(self, row: _Row) -> Iterator[tuple[str, list[_Line]]]:
        yield "agents", list(_agents(row))
        yield "time", list(_time(row))
        yield "tools", list(_tool_lines(row))
        yield "steps", list(_steps(row))
        yield "waste", list(_waste(row))
        yield "success", list(_success(row, self.currency))
        yield "spread of tokens", list(_spread(row))

    def _tools(self, kind: str) -> Iterator[RenderableType]:
        found = self.tools[self.tools["task"] == kind]
        if found.empty:
            return
        rows = [_tool_cells(row) for row in found.head(_MOST_TOOLS).to_dict("records")]
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(Text("by tool", style="bold"))
        # What is known of no tool needs no column.
        known = [name for name in _TOOL_CELLS if any(cells[name] != "-" for _, cells in rows)]
        for name in known:
            table.add_column(name, justify="right", no_wrap=True)
        for label, cells in rows:
            table.add_row(Text(f"  {label}"), *(cells[name] for name in known))
        yield Text()  # a heading of two lines would begin under the numbers above
        yield Fitted(table)
        if len(found) > _MOST_TOOLS:
            rest = len(found) - _MOST_TOOLS
            yield Text(f"  and {many(rest, 'more tool')}: --per tool --json lists them all", style="dim")

    def _failures(self, kind: str, *, outcomes: int) -> Iterator[RenderableType]:
        found = self.failures[self.failures["task"] == kind]
        if found.empty:
            return
        count = len(found)
        most = "most expensive" if found["tokens"].notna().any() else "largest"
        unsaid = int((found["failed_by"] != "outcome").sum())
        apart = f" ({unsaid:,} without an outcome, so not in the success rate)" if unsaid and outcomes else ""
        yield Text(f"{many(count, 'task')} failed{apart}; the {most}:", style="bold")
        for row in found.head(_MOST_FAILURES).to_dict("records"):
            error = "" if pd.isna(row["error_type"]) else f": {printable(str(row['error_type']))}"
            says = {
                "outcome": "its outcome says so",
                "scope": f"an exception left it{error}",
                "last call": f"its last call failed{error}",
            }
            share = "" if pd.isna(row["share_of_kind"]) else f" ({human_share(row['share_of_kind'])} of the kind)"
            calls = many(row["calls"], "call")
            tokens = "tokens not reported" if pd.isna(row["tokens"]) else f"{human(row['tokens'])} tokens"
            yield Text(f"  {printable(str(row['task_id']))}: {tokens}{share}, {calls}; {says[row['failed_by']]}")


def _tool_cells(row: Mapping[Hashable, Any]) -> tuple[str, dict[str, str]]:
    """Return a tool's name and its numbers by column, a dash where one is not known."""
    label = printable(str(row["tool"])) + (" (server)" if row["server_side"] == row["requested"] else "")
    return label, {
        "asked": f"{row['requested']:,}",
        "answered": f"{row['executed']:,}",
        "repeated": f"{row['repeated']:,}" if row["arguments_known"] else "-",
        "failed": f"{row['failed']:,} of {row['failure_known']:,}" if row["failure_known"] else "-",
        "tokens": human(row["result_tokens"]),
        "of input": human_share(row["carried_input_share"]),
        "time": human_time(row["tool_s"]),
        "p50": human_time(row["tool_s_p50"]),
        "p90": human_time(row["tool_s_p90"]),
    }


def _title(row: _Row) -> Text:
    counts = [(row["tasks"], "task"), (row["calls"], "call"), (row["agent_runs"], "agent run")]
    tokens = "no tokens reported" if row["tokens"] is None else f"{human(row['tokens'])} tokens"
    text = ", ".join(many(count, noun) for count, noun in counts)
    return Text(f"{printable(str(row['task']))}: {text}, {tokens}", style="bold")


def _ratio(row: _Row, name: str, label: str, basis: str, unit: str = "") -> Iterator[_Line]:
    """Yield a line for a ratio that is known."""
    if row[name] is None:
        return
    shown = human_share if unit == "%" else lambda value: f"{human(value)}{unit}"
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    yield label, shown(row[name]), "" if low is None or high is None else f"{shown(low)} to {shown(high)}", basis


def _of(part: int, whole: int, noun: str) -> str:
    """Return what a number rests on: all of something, or how many of it."""
    return f"all {many(whole, noun)}" if part == whole and whole > 1 else f"{part:,} of {many(whole, noun)}"


def _agents(row: _Row) -> Iterator[_Line]:
    if not row["sub_agent_runs"]:
        yield "sub-agent runs", "0", "", "no agent run stands inside another"
        return
    levels = f"{many(row['depth_max'], 'level')} deep at most"
    yield "sub-agent runs", human(row["sub_agent_runs"]), "", levels
    yield from _ratio(
        row, "branching_factor", "branching factor", f"per agent run above the deepest level ({row['parents']:,})"
    )
    yield from _ratio(row, "fan_out_mean", "fan-out", f"of an answer that starts any; at most {row['fan_out_max']:,}")
    yield from _ratio(
        row, "sub_agent_token_share", "sub-agent token share", _of(row["tasks_with_tokens"], row["tasks"], "task"), "%"
    )
    yield from _ratio(
        row, "multi_agent_overhead", "multi-agent overhead", "all tokens / those of the outermost runs", "x"
    )


def _time(row: _Row) -> Iterator[_Line]:
    if not row["tasks_with_duration"]:
        return
    yield "duration, added up", human_time(row["duration_s"]), "", _of(row["tasks_with_duration"], row["tasks"], "task")
    parts = (
        ("generation", "generation_share", "a call is in flight"),
        ("tools", "tool_time_share", "no call is in flight, a tool runs"),
        ("waiting for the user", "human_wait_share", "what follows is a message of the user"),
        ("the program itself", "rest_share", "the rest"),
        ("unknown", "unknown_share", "after the start of a call of unknown end"),
    )
    for label, name, basis in parts:
        if row[name]:
            yield from _ratio(row, name, label, f"{human_time(row[name] * row['duration_s'])}: {basis}", "%")
    yield (
        "critical path, median",
        human_time(row["critical_path_s_p50"]),
        "",
        f"p90 {human_time(row['critical_path_s_p90'])}",
    )
    yield from _ratio(row, "parallelism", "parallelism", "busy time / critical path", "x")
    yield from _ratio(
        row, "concurrency_mean", "concurrency", f"calls in flight, mean; at most {row['concurrency_max']:,}"
    )


def _tool_lines(row: _Row) -> Iterator[_Line]:
    yield "tool calls asked for", human(row["tool_calls"]), "", "client tools, by the answers"
    if not row["tool_calls"] and not row["tool_rows"]:
        return
    yield from _ratio(row, "tool_calls_per_call", "per call", "")
    if row["user_requests"]:
        requests = f"{many(row['user_requests'], 'request')} of the user"
        yield from _ratio(row, "tool_calls_per_request", "per request", requests)
    yield from _ratio(row, "tool_calls_per_task", "per task", "")
    if row["tool_rows"]:
        named = row["tool_rows"] - row["server_tool_calls"]
        yield "answered", human(row["executed_tool_calls"]), "", f"of {named:,} that are named one by one"
    if row["server_tool_calls"]:
        yield "run by the provider", human(row["server_tool_calls"]), "", ""
    known = _of(row["tool_failure_known"], row["executed_tool_calls"], "result")
    tell = "" if known.startswith("all") else " that tell"
    yield from _ratio(row, "tool_error_rate", "error rate", f"{known}{tell}", "%")
    yield from _ratio(
        row, "repeated_tool_share", "repeated", f"{row['repeated_tool_calls']:,}, with the same arguments", "%"
    )


def _steps(row: _Row) -> Iterator[_Line]:
    yield from _ratio(
        row, "reasoning_step_share", "with reasoning", _of(row["reasoning_known"], row["calls"], "step"), "%"
    )
    yield from _ratio(row, "reflection_share", "reflections", f"{row['reflections']:,} that repeat a tool call", "%")
    if row["compared_steps"]:
        what = f"{many(row['loop_steps'], 'step')} beyond the first round"
        inside = f"in {many(row['tasks_with_loops'], 'task')}, {what}" if row["loops"] else ""
        yield "loops", human(row["loops"]), "", inside


def _waste(row: _Row) -> Iterator[_Line]:
    if row["failed_calls"]:
        yield (
            "failed calls",
            human(row["failed_calls"]),
            "",
            f"{row['failed_with_usage']:,} of them report{'s' if row['failed_with_usage'] == 1 else ''} tokens",
        )
        yield from _ratio(
            row,
            "failed_token_share",
            "tokens of failed calls",
            f"at least: {human(row['failed_tokens'])} that they report",
            "%",
        )
    if row["retries"]:
        yield "retries", human(row["retries"]), "", "HTTP attempts; their tokens nobody reports"
    if (row["failed_calls"] or row["retries"]) and row["retry_s"]:
        yield from _ratio(
            row, "retry_time_share", "time of these", f"{human_time(row['retry_s'])} of the time in calls", "%"
        )
    if row["repeated_calls"]:
        yield "asked again", human(row["repeated_calls"]), "", "though answered: second samples, or waste"
        yield from _ratio(row, "repeated_token_share", "tokens of those", f"{human(row['repeated_tokens'])}", "%")
    if not (row["failed_calls"] or row["retries"] or row["repeated_calls"]):
        yield "failed calls, retries", "0", "", ""


def _success(row: _Row, currency: str) -> Iterator[_Line]:
    if not row["tasks_with_outcome"]:
        return
    silent = row["tasks"] - row["tasks_with_outcome"]
    rest = f"; {many(silent, 'task')} without one" if silent else ""
    outcomes = f"{row['successes']:,} of the {row['tasks_with_outcome']:,} with an outcome{rest}"
    yield from _ratio(row, "success_rate", "success rate", outcomes, "%")
    yield from _ratio(row, "tokens_per_success", "tokens per success", "failures are paid as well")
    if row["cost_per_success"] is not None:
        yield (
            "cost per success",
            f"{human(row['cost_per_success'])} {currency}",
            "",
            _of(row["outcomes_priced"], row["tasks"], "task"),
        )
    yield from _ratio(row, "failure_over_success", "a failure / a success", "mean tokens", "x")
    if row["success_area"] is not None and row["outcomes_counted"] > 1:
        yield from _ratio(
            row,
            "success_area",
            "area under the curve",
            f"of success against budget, to {human(row['budget_tokens'])}",
            "%",
        )


def _spread(row: _Row) -> Iterator[_Line]:
    if row["tokens_cv"] is None:
        return
    far = row["max_over_min"]
    times = "-" if far is None else f"{far:,.0f}x" if far >= 10 else f"{far:.2f}x"
    yield "largest / smallest", times, "", f"{human(row['tokens_min'])} to {human(row['tokens_max'])}"
    yield "p90 / p50", f"{human(row['p90_over_p50'])}x", "", f"{human(row['tokens_p90'])} / {human(row['tokens_p50'])}"
    yield "CV", human(row["tokens_cv"]), "", "standard deviation / mean"


def _unknown(row: _Row) -> Iterator[str]:
    """Yield what the source does not say, and what the numbers above therefore leave out."""
    for side in ("input", "output"):
        silent = row["calls"] - row[f"calls_with_{side}"]
        if silent:
            of = f"{silent:,} of {row['calls']:,} calls"
            yield f"the {side} tokens of {'every call' if silent == row['calls'] else of}"
    endless = row["calls_without_end"]
    if endless and row["tasks_with_duration"]:
        yield f"how long {many(endless, 'call')} took, so that the critical path is a lower bound"
    if not row["tasks_with_duration"]:
        yield "how long the tasks took"
    if row["unplaced_runs"]:
        yield f"who started {many(row['unplaced_runs'], 'sub-agent run')}"
    if row["tool_calls"] and not row["tool_rows"]:
        yield "which tools were asked for, with what and to what end"
    elif row["tool_rows"] > row["server_tool_calls"] and not row["arguments_known"]:
        yield "the arguments of tool calls, so that repetitions do not show"
    if row["executed_tool_calls"] and not row["tool_failure_known"]:
        yield "whether tools failed"
    if row["tool_calls"] and row["user_requests"] is None:
        yield "who prompted the calls, so that a gap after an answer without tools is taken for the user"
    if not row["reasoning_known"]:
        yield "reasoning"
    missing = row["tasks"] - row["tasks_with_outcome"]
    if missing:
        of = f"{missing:,} of {row['tasks']:,} tasks"
        yield f"the outcome of {'every task' if missing == row['tasks'] else of}"
