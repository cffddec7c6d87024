"""Compares what the store says of a scenario with what is true: calls, attempts, tasks, runs, depth, steps, tools.

The truth is the plan; the server's log says which answer (by its id) was which turn. Knows nothing of frameworks.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.frameworks.plans import PLANS, Run, Scenario, runs_of
from tests.frameworks.server import Served
from tests.stored import rows

__all__ = ["differences", "in_turn", "read_rows", "unlike_the_plan"]

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class _Pair:
    """A call of the store and the answer that it had."""

    row: dict[str, Any]
    served: Served
    run: Run


def read_rows(store: Path) -> dict[str, Rows]:
    """Return the rows of the tables that are judged, in the order they were written."""
    return {name: rows(store, f"SELECT * FROM {name} ORDER BY rowid") for name in ("calls", "attempts", "tool_calls")}


def unlike_the_plan(scenario: Scenario, served: Sequence[Served]) -> list[str]:
    """Return where the agent itself did not do what the scenario says; then nothing about the store can be judged."""
    runs = runs_of(scenario)
    done = defaultdict(int)
    for one in served:
        done[one.plan] += one.status == 200 and one.turn is not None
    found = [f"the agent made {done[name]} of {PLANS[name].steps} steps of {name}" for name in runs
             if done[name] != PLANS[name].steps]  # fmt: skip
    if "compact" in runs and not _shortened(served):
        found.append("the history was never shortened")
    return found + [f"the agent began {name}" for name in done if name not in runs]


def _shortened(served: Sequence[Served]) -> bool:
    """Return whether a summary was asked for, or a request hardly grew by the answer and the result before it."""
    sizes = [one.answer.input_tokens for one in served if one.turn is not None]
    return len(sizes) < len(served) or any(later < earlier + 10 for earlier, later in pairwise(sizes))


def in_turn(scenario: Scenario, served: Sequence[Served]) -> bool:
    """Return whether runs that could have been under way at once were not: each ended before the next began."""
    runs = runs_of(scenario)
    spans: dict[tuple[str | None, int], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for one in served:
        run = runs[one.plan]
        spans[run.parent, run.turn][run.plan].append(one.at_ns)
    found = [sorted((min(times), max(times)) for times in group.values()) for group in spans.values()]
    return scenario.tool_s > 0 and any(
        len(group) > 1 and all(a[1] < b[0] for a, b in pairwise(group)) for group in found
    )


def differences(scenario: Scenario, served: Sequence[Served], tables: dict[str, Rows]) -> list[str]:
    """Return what the store says that is not so; empty where it says what is true."""
    runs = runs_of(scenario)
    by_answer = {one.answer.response_id: one for one in served if one.status == 200}
    rows = tables["calls"]
    pairs = [
        _Pair(row, by_answer[row["response_id"]], runs[by_answer[row["response_id"]].plan])
        for row in rows
        if row["response_id"] in by_answer
    ]
    failed = _failed(rows, served)
    calls = len(by_answer) + len(failed)
    found = [] if len(rows) == calls else [f"{len(rows)} calls, not {calls}"]
    if missing := by_answer.keys() - {pair.served.answer.response_id for pair in pairs}:
        found.append(f"{len(missing)} answers are in no call")
    if len(tables["attempts"]) != len(served):
        found.append(f"{len(tables['attempts'])} attempts, not {len(served)}")
    steps = [pair for pair in pairs if pair.served.turn is not None]
    others = failed + [pair.row for pair in pairs if pair.served.turn is None]
    found += _grouping("tasks", pairs, "task_id", lambda pair: pair.run.task)
    found += _grouping("agent runs", steps, "agent_run_id", lambda pair: pair.run.plan)
    found += _column("depth", pairs, lambda pair: pair.run.depth)
    found += _column("step", steps, lambda pair: _step(pair, others))
    return found + _tools(pairs, tables["tool_calls"]) + _places(pairs, tables["tool_calls"])


def _failed(rows: Rows, served: Sequence[Served]) -> Rows:
    """Return the calls that failed as the plan says.

    A client that asks again says so, and its attempts are one call. A framework that asks again by itself begins a call
    of its own, and the one that failed is a step of the run before it.
    """
    refused = sum(one.status != 200 for one in served)
    return [row for row in rows if row["status"] == "error" and row["attempts"] == 1][:refused]


def _step(pair: _Pair, others: Rows) -> int:
    """Return the order of the call in its run: its turn, and what the run has before it that is no turn of the plan."""
    mine = [row for row in others if row["agent_run_id"] == pair.row["agent_run_id"]]
    return (pair.served.turn or 0) + sum(row["started_at_ns"] < pair.row["started_at_ns"] for row in mine)


def _grouping(what: str, pairs: list[_Pair], column: str, truth: Callable[[_Pair], Hashable]) -> list[str]:
    """Compare two groupings of the calls: which belong together, whatever the groups are called."""
    told: dict[Hashable, set[Hashable]] = defaultdict(set)
    true: dict[Hashable, set[Hashable]] = defaultdict(set)
    for pair in pairs:
        told[pair.row[column]].add(truth(pair))
        true[truth(pair)].add(pair.row[column])
    if all(len(group) == 1 for group in [*told.values(), *true.values()]):
        return []
    if len(told) != len(true):
        return [f"{len(told)} {what}, not {len(true)}"]
    return [f"calls of several {what} are mixed"]


def _column(name: str, pairs: list[_Pair], truth: Callable[[_Pair], Any]) -> list[str]:
    wrong = [pair for pair in pairs if pair.row[name] != truth(pair)]
    if not wrong:
        return []
    first = wrong[0]
    at = f"{first.run.plan} " + ("summary" if first.served.turn is None else f"turn {first.served.turn}")
    return [f"{name} wrong in {len(wrong)} of {len(pairs)} calls ({at}: {first.row[name]}, not {truth(first)})"]


def _tools(pairs: list[_Pair], tool_rows: Rows) -> list[str]:
    """Compare the tool calls that answers asked for; ids only where the dialect has them."""
    found = []
    for pair in pairs:
        asked = [one.name for one in pair.served.answer.asked]
        told = [row["name"] for row in tool_rows if row["call_id"] == pair.row["call_id"]]
        if sorted(asked) != sorted(told) or pair.row["tool_calls"] != len(asked):
            found.append(f"{pair.run.plan} turn {pair.served.turn}: tool calls {told}, not {asked}")
    return found


def _places(pairs: list[_Pair], tool_rows: Rows) -> list[str]:
    """Compare the tool call that each run is inside of, and each summary: that stands beside its run, in no tool."""
    asks: dict[tuple[str, int, int], tuple[str, str | None]] = {}
    for pair in pairs:
        for index in range(pair.served.in_code):
            asks[pair.run.plan, pair.served.turn or 0, index] = pair.row["call_id"], None
        ids = [row["tool_call_id"] for row in tool_rows if row["call_id"] == pair.row["call_id"]]
        true = [one.tool_call_id for one in pair.served.answer.asked]
        for index, tool_call_id in enumerate(true if set(ids) == set(true) else ids):
            if pair.served.turn is not None:
                asks[pair.run.plan, pair.served.turn, index] = pair.row["call_id"], tool_call_id
    wrong = set()
    for pair in pairs:
        run, told = pair.run, (pair.row["inside_call_id"], pair.row["inside_tool_call_id"])
        true_place = asks.get((run.parent, run.turn, run.ask)) if run.parent else None
        if told != (true_place or (None, None)):
            wrong.add(run.plan if pair.served.turn is not None else f"the summary of {run.plan}")
    return [f"inside another tool call, or none: {', '.join(sorted(wrong))}"] if wrong else []
