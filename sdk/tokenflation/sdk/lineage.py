"""Which call continues which, and which agent run is inside of which tool call. Pure: readings in, placements out.

Explicit scopes win. Without them, a call whose messages extend an earlier call's is that agent run's next step; a new
history that begins while another agent run waits for a tool result, and that has other instructions, is inside that
tool call; one that a call before it has failed with, within a minute, stands where that call stands (the program tries
again, or another model or host); any other new history is a task. Where several agent runs wait, none is chosen: open, not guessed.
Memory is bounded: the histories, tasks and agent runs longest not heard of are forgotten.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from tokenflation.sdk.prefix import Anchor, shared_blocks
from tokenflation.sdk.records import Reading, StructureSource
from tokenflation.sdk.scopes import Scope

__all__ = ["MAX_HISTORIES", "History", "Lineage", "Placement"]

MAX_HISTORIES = 4096
"""Histories, agent runs and tasks remembered at once."""
_MAX_BLOCKS = 2_000_000
_FALLBACK_WINDOW_NS = 60_000_000_000

_Question = tuple[str, bytes, bytes]
"""Scope, instructions and messages: what two calls that ask the same in the same place have in common."""

K = TypeVar("K")
V = TypeVar("V")


class _Recent(OrderedDict[K, V], Generic[K, V]):
    """A dictionary that forgets what was least recently set or touched."""

    def put(self, key: K, value: V) -> None:
        self[key] = value
        self.move_to_end(key)
        if len(self) > MAX_HISTORIES:
            self.popitem(last=False)


@dataclass(slots=True)
class History:
    """The newest call of one history, and what the next call of it needs to know."""

    call_id: str
    trace_id: str
    task: str
    task_id: str
    agent: str
    agent_run_id: str
    depth: int
    inside_call_id: str | None
    inside_tool_call_id: str | None
    scope_run_id: str | None
    """Agent run or task that the user's scopes gave; None where the wire alone decides."""
    instructions_hash: bytes
    messages: int
    ended_at_ns: int
    open_tool_calls: dict[str, str]
    """Client tool calls asked for and not answered yet: id to tool name."""
    anchors: tuple[Anchor, ...] = ()


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


@dataclass(frozen=True, slots=True)
class _Failed:
    """A call that failed, for the same question put again."""

    call_id: str
    placement: Placement
    ended_at_ns: int


@dataclass(slots=True)
class _Task:
    blocks: set[bytes] = field(default_factory=set)


class Lineage:
    """Memory of the histories of one process; not thread-safe, the recorder's worker owns it."""

    def __init__(self, *, default_task: str = "", new_trace_id: Callable[[], str]) -> None:
        self._default_task = default_task
        self._new_trace_id = new_trace_id
        self._by_end: _Recent[bytes, list[History]] = _Recent()
        self._by_response: _Recent[str, History] = _Recent()
        self._waiting: _Recent[str, History] = _Recent()
        self._steps: _Recent[str, int] = _Recent()
        self._tasks: _Recent[str, _Task] = _Recent()
        self._first_split: _Recent[bytes, int] = _Recent()
        self._failed: _Recent[_Question, _Failed] = _Recent()
        self._block_count = 0

    def place(self, reading: Reading, call_id: str, scope: Scope | None, started_at_ns: int) -> Placement:
        """Return where the call stands; counts it as a step of its agent run."""
        again = self._asked_again(reading, scope, started_at_ns) if self._failed else None
        if again is not None:
            return again
        before, sent = self._continued(reading, scope)
        inside = (before.inside_call_id or "", before.inside_tool_call_id or "") if before else None
        source: StructureSource = "wire" if scope is None else "scope"
        if scope is not None and scope.agent_run_id is not None:
            agent, run_id, depth = scope.agent or "", scope.agent_run_id, scope.depth
            inside = self._tool_call_of(scope) or inside
        elif before is not None:
            agent, run_id, depth = before.agent, before.agent_run_id, before.depth
        else:
            host = self._waiting_run(reading, scope, started_at_ns)
            depth = host.depth + 1 if host else 0
            inside = (host.call_id, next(iter(host.open_tool_calls))) if host else None
            agent, run_id = self._agent_name(depth), call_id
            if scope is None and host is not None:
                return self._placed(run_id, agent, depth, inside, None, source, 0, _like(host))
        place = (scope.task, scope.task_id, scope.trace_id, scope.span_id) if scope else _like(before)
        return self._placed(run_id, agent, depth, inside, before, source, sent, place)

    def remember(self, reading: Reading, placement: Placement, call_id: str, scope: Scope | None, ended_at_ns: int,
                 anchors: tuple[Anchor, ...]) -> History:  # fmt: skip
        """Note a finished call as the newest of its history."""
        if self._failed and (question := _question(reading, scope)) is not None:
            self._failed.pop(question, None)
        history = History(
            call_id=call_id,
            trace_id=placement.trace_id,
            task=placement.task,
            task_id=placement.task_id,
            agent=placement.agent,
            agent_run_id=placement.agent_run_id,
            depth=placement.depth,
            inside_call_id=placement.inside_call_id,
            inside_tool_call_id=placement.inside_tool_call_id,
            scope_run_id=_run_of(scope),
            instructions_hash=reading.instructions_hash,
            messages=len(reading.message_hashes),
            ended_at_ns=ended_at_ns,
            open_tool_calls={one.tool_call_id: one.name for one in reading.tool_calls if one.kind == "client"},
            anchors=anchors,
        )
        if reading.message_hashes:
            same = self._by_end.get(reading.message_hashes[-1], [])[-7:]
            self._by_end.put(reading.message_hashes[-1], [*same, history])
        if reading.response_id:
            self._by_response.put(reading.response_id, history)
        if history.open_tool_calls:
            self._waiting.put(history.agent_run_id, history)
        else:
            self._waiting.pop(history.agent_run_id, None)
        return history

    def note_failure(self, reading: Reading, placement: Placement, call_id: str, scope: Scope | None,
                     ended_at_ns: int) -> None:  # fmt: skip
        """Remember that a call failed: the next with the same messages in the same scope stands beside it."""
        question = _question(reading, scope)
        if question is not None:
            self._failed.put(question, _Failed(call_id, placement, ended_at_ns))

    def first_tokens(self, instructions_hash: bytes, estimate: int) -> int:
        """Return the tokens of a system prompt with its tools: what was estimated first, ever after.

        Frozen on first sight, so that all histories with these instructions cut their first blocks at the same bytes.
        """
        if instructions_hash not in self._first_split:
            self._first_split.put(instructions_hash, estimate)
        return self._first_split[instructions_hash]

    def shared(self, task_id: str, hashes: bytes) -> int:
        """Return how many leading blocks an earlier call of the task had, and note this call's blocks."""
        known = self._tasks.get(task_id)
        if known is None:
            known = _Task()
        self._tasks.put(task_id, known)
        count = shared_blocks(hashes, known.blocks)
        size = len(known.blocks)
        known.blocks.update(hashes[at : at + 8] for at in range(count * 8, len(hashes), 8))
        self._block_count += len(known.blocks) - size
        while self._block_count > _MAX_BLOCKS and len(self._tasks) > 1:
            self._block_count -= len(self._tasks.popitem(last=False)[1].blocks)
        return count

    def _placed(self, run_id: str, agent: str, depth: int, inside: tuple[str, str] | None, before: History | None,
                source: StructureSource, sent: int, place: tuple[str, str, str, str | None]) -> Placement:  # fmt: skip
        task, task_id, trace_id, parent_id = place
        step = self._next_step(run_id)
        return Placement(
            trace_id=trace_id or self._new_trace_id(),
            parent_id=parent_id,
            task=task or self._default_task or agent,
            task_id=task_id or run_id,
            agent=agent,
            agent_run_id=run_id,
            depth=depth,
            step=step,
            continues=before,
            inside_tool_call_id=(inside[1] or None) if inside else None,
            inside_call_id=(inside[0] or None) if inside else None,
            structure_source=source,
            sent_messages=sent,
        )

    def _asked_again(self, reading: Reading, scope: Scope | None, started_at_ns: int) -> Placement | None:
        question = _question(reading, scope)
        failed = self._failed.get(question) if question is not None else None
        # What left before the failure came back is an equal call made beside it.
        if question is None or failed is None or not 0 <= started_at_ns - failed.ended_at_ns < _FALLBACK_WINDOW_NS:
            return None
        del self._failed[question]
        step = self._next_step(failed.placement.agent_run_id)
        return replace(failed.placement, step=step, follows_failed_call_id=failed.call_id)

    def _next_step(self, run_id: str) -> int:
        step = self._steps.get(run_id, 0)
        self._steps.put(run_id, step + 1)
        return step

    def _agent_name(self, depth: int) -> str:
        return "agent" if depth == 0 else "sub-agent"

    def _continued(self, reading: Reading, scope: Scope | None) -> tuple[History | None, int]:
        if reading.previous_response_id in self._by_response:
            return self._by_response[reading.previous_response_id or ""], 0
        run_id = _run_of(scope)
        answered = {result.tool_call_id for result in reading.tool_results}
        hashes, roles = reading.message_hashes, reading.message_roles
        for length in range(len(hashes) - 1, 0, -1):
            if roles[length] != "assistant":
                continue  # what follows an earlier request is its answer
            matches = [one for one in self._by_end.get(hashes[length - 1], ()) if one.scope_run_id == run_id]
            if not matches:
                continue
            strong = [one for one in matches if answered & one.open_tool_calls.keys()]
            sent = length
            while sent < len(roles) and roles[sent] == "assistant":
                sent += 1
            return (strong or matches)[-1], sent
        return None, 0

    def _waiting_run(self, reading: Reading, scope: Scope | None, started_at_ns: int) -> History | None:
        run_id = _run_of(scope)
        waiting = [
            one
            for one in self._waiting.values()
            if one.ended_at_ns <= started_at_ns
            and one.scope_run_id == run_id
            and one.instructions_hash != reading.instructions_hash
        ]
        # The innermost of a chain of waiting runs is the one at work; two chains are two possibilities.
        inner = [one for one in waiting if not any(_inside(other, one) for other in waiting)]
        return inner[0] if len(inner) == 1 else None

    def _tool_call_of(self, scope: Scope) -> tuple[str, str] | None:
        """Return the unanswered tool call that the scope's agent run is inside of, if its tool scope names one."""
        around = scope
        while around.kind != "agent" and around.parent is not None:
            around = around.parent
        tool = around.parent
        if tool is None or tool.kind != "tool" or tool.agent_run_id is None:
            return None
        waiting = self._waiting.get(tool.agent_run_id)
        if waiting is None:
            return None
        named = [id_ for id_, name in waiting.open_tool_calls.items() if name == tool.name]
        return (waiting.call_id, named[0]) if len(named) == 1 else None


def _question(reading: Reading, scope: Scope | None) -> _Question | None:
    if not reading.message_hashes:
        return None
    return scope.span_id if scope else "", reading.instructions_hash, reading.message_hashes[-1]


def _run_of(scope: Scope | None) -> str | None:
    return None if scope is None else scope.agent_run_id or scope.task_id


def _like(history: History | None) -> tuple[str, str, str, str | None]:
    return (history.task, history.task_id, history.trace_id, None) if history else ("", "", "", None)


def _inside(inner: History, outer: History) -> bool:
    return inner.inside_call_id == outer.call_id
