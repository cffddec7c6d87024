"""What a placement says, and the small rules of placing that need no memory."""

from dataclasses import dataclass

from msgspec import Struct

from tokenflation.sdk.lineage.continuing import Continued
from tokenflation.sdk.lineage.heads import head_of, is_of_one_agent
from tokenflation.sdk.lineage.histories import Evidence, History, Run, hands_over
from tokenflation.sdk.records import Reading, Strength, StructureSource
from tokenflation.sdk.scoping.scopes import Scope

__all__ = [
    "MAX_RUN_CALLS",
    "Move",
    "Placement",
    "is_handoff",
    "leaves_open",
    "next_step",
    "run_of",
]

MAX_RUN_CALLS = 256


class Placement(Struct, frozen=True, kw_only=True):
    """Where one call stands; the structure columns of `calls`."""

    trace_id: str
    parent_id: str | None
    task: str
    task_id: str
    agent: str
    agent_run_id: str
    depth: int
    step: int
    continues: History | None
    inside_tool_call_id: str | None
    inside_call_id: str | None
    """The call that asked for that tool call; ids of tool calls alone need not be unique."""
    structure_source: StructureSource
    sent_messages: int
    """Leading messages of the request that an earlier call sent or answered."""
    follows_failed_call_id: str | None = None
    """The call that failed with the same messages before this one."""
    branch: int = 0
    """How many other calls continue the same call before this one."""
    continues_evidence: Evidence | None = None
    inside_evidence: Evidence | None = None
    strength: Strength | None = None
    """Of the weaker of the two edges."""
    run: Run
    asked: History | None = None
    """The call whose tool calls the request may answer, where that is not the one that it continues."""
    changed: bool = False
    """The history came back edited, cut or summarised."""


@dataclass(frozen=True, slots=True)
class Move:
    """A call that stands elsewhere than it was placed: its agent run, and where that changes, its step and edge."""

    call_id: str
    run: Run
    step: int | None = None
    continues_call_id: str | None = None
    branch: int = 0
    evidence: Evidence = "compaction"
    strength: Strength | None = None


def next_step(run: Run, call_id: str) -> int:
    """Return the step that a call is of its run, and count it."""
    step, run.steps = run.steps, run.steps + 1
    run.calls.append(call_id)
    if len(run.calls) > 2 * MAX_RUN_CALLS:
        del run.calls[:MAX_RUN_CALLS]
    return step


def is_handoff(reading: Reading, before: Continued) -> bool:
    """Return whether another agent goes on with a history, under other instructions.

    Other instructions alone are no other agent: a date in them changes, tools come and go. Nor are other first words,
    such as a memory's, where what asked for tools is told their results and offers the same ones. A new history that
    tells the one before (`flow_result`) is one if that hands over; without tools it may only be a summary for it.
    """
    history = before.history
    if history.instructions_hash == reading.instructions_hash:
        return False
    gives = any(hands_over(call.name) for call in history.open_tool_calls.values())
    if before.edge.evidence == "flow_result":
        return gives and reading.tool_definition_bytes > 0 and not is_of_one_agent(history, reading)
    if gives:
        return True
    if reading.tool_results and reading.tool_definition_bytes == history.tool_definition_bytes > 0:
        return False
    return bool(history.head) and head_of(reading) not in (b"", history.head) and before.edge.evidence != "compaction"


def leaves_open(scope: Scope) -> bool:
    """Return whether spans tell of a tool run and of no agent in it: some libraries have none around the requests."""
    return scope.source == "span" and scope.kind == "tool" and scope.agent_run_id is not None


def run_of(scope: Scope | None) -> str | None:
    """Return the agent run, or else the task, that a scope gives."""
    return None if scope is None else scope.agent_run_id or scope.task_id
