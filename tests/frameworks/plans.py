"""What the scripted model does: plans, the scenarios made of them, and the structure that is therefore true.

A plan is one agent run: what the model answers at each of its turns. A prompt names its plan with `[[plan:NAME]]`, and
the ask for a sub-agent carries the marker of that agent's plan, so any framework's agent does exactly what stands here.
Knows nothing of HTTP, of any framework, and of tokenflation.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["PLANS", "SCENARIOS", "Ask", "Plan", "Refuse", "Scenario", "Turn", "runs_of"]


@dataclass(frozen=True)
class Ask:
    """One tool call of an answer; `plan` is the plan of the sub-agent that the tool runs."""

    tool: str
    plan: str | None = None


@dataclass(frozen=True)
class Refuse:
    """An answer that is an error; the same turn is answered when the client asks again."""

    status: int


Turn = tuple[Ask, ...] | Refuse | Literal["answer"]


@dataclass(frozen=True)
class Plan:
    """What the model does in one agent run, turn by turn; the last turn is the answer."""

    turns: tuple[Turn, ...]

    @property
    def steps(self) -> int:
        """Model calls of the run: its turns, without those that were refused and asked again."""
        return sum(not isinstance(turn, Refuse) for turn in self.turns)


def _loop(steps: int) -> Plan:
    return Plan(((Ask("search"),),) * steps + ("answer",))


_SEARCH = (Ask("search"),)

PLANS: Mapping[str, Plan] = {
    "single": Plan(("answer",)),
    "tools": _loop(5),
    "nested": Plan(((Ask("researcher", "nested-1"),), "answer")),
    "nested-1": Plan((_SEARCH, (Ask("reader", "nested-2"),), "answer")),
    "nested-2": Plan(((Ask("checker", "nested-3"),), "answer")),
    "nested-3": Plan((_SEARCH, "answer")),
    "fan": Plan((tuple(Ask("researcher", f"fan-{one}") for one in range(1, 5)), "answer")),
    **{f"fan-{one}": _loop(1) for one in range(1, 5)},
    "team": Plan((tuple(Ask(one, f"team-{one}") for one in ("researcher", "reader", "checker", "writer")), "answer")),
    **{f"team-{one}": _loop(1) for one in ("researcher", "reader", "checker", "writer")},
    "retry": Plan((_SEARCH, Refuse(429), "answer")),
    "compact": _loop(6),
    "twins-1": _loop(2),
    "twins-2": _loop(2),
    "both-1": _loop(2),
    "both-2": _loop(2),
    "handed-1": Plan(("answer",)),
    "handed-2": Plan(("answer",)),
}


@dataclass(frozen=True)
class Scenario:
    """A column of the table: the plans of its tasks, and how long a tool takes."""

    title: str
    roots: tuple[str, ...]
    tool_s: float = 0.0
    """Long enough, where it is not zero, that what should happen at once does."""
    one_task: bool = False
    """The plans are agents of one task, one after another."""


SCENARIOS: Mapping[str, Scenario] = {
    "single": Scenario("single answer", ("single",)),
    "tools": Scenario("tool loop of 5 steps", ("tools",)),
    "nested": Scenario("sub-agents to depth 3", ("nested",)),
    "fan": Scenario("4 sub-agents of one kind at once", ("fan",), tool_s=0.3),
    "team": Scenario("4 different sub-agents at once", ("team",), tool_s=0.3),
    "retry": Scenario("429, then 200", ("retry",)),
    "compact": Scenario("compaction of the history", ("compact",)),
    "twins": Scenario("2 tasks at once, same agent", ("twins-1", "twins-2"), tool_s=0.4),
    "both": Scenario("2 tasks at once, different agents", ("both-1", "both-2"), tool_s=0.4),
    "handed": Scenario("2 agents in a row, no tool call", ("handed-1", "handed-2"), one_task=True),
}


@dataclass(frozen=True)
class Run:
    """One agent run as it must be: where it stands, and the ask that started it (None for a task's own)."""

    plan: str
    task: str
    depth: int
    parent: str | None = None
    """Plan of the run that asked for it."""
    turn: int = 0
    """Turn of the parent that asked for it, refused ones not counted."""
    ask: int = 0
    """Which of that turn's tool calls."""


def runs_of(scenario: Scenario) -> dict[str, Run]:
    """Return the agent runs of a scenario by the name of their plan."""
    tasks = [scenario.roots[0] if scenario.one_task else root for root in scenario.roots]
    starts = [Run(root, task, 0) for root, task in zip(scenario.roots, tasks, strict=True)]
    return {run.plan: run for start in starts for run in _with_inner(start)}


def _with_inner(run: Run) -> Iterator[Run]:
    yield run
    answered = [turn for turn in PLANS[run.plan].turns if not isinstance(turn, Refuse)]
    for number, turn in enumerate(answered):
        for index, ask in enumerate(turn if isinstance(turn, tuple) else ()):
            if ask.plan is not None:
                yield from _with_inner(Run(ask.plan, run.task, run.depth + 1, run.plan, number, index))
