"""Agent runs as they begin: of a scope, of a history without one, or where another agent hands over."""

from collections.abc import Callable

from tokenflation.sdk.lineage.histories import Host, NewCall, Recent, Run
from tokenflation.sdk.lineage.messages import first_text
from tokenflation.sdk.lineage.naming import agent_name, task_kind
from tokenflation.sdk.lineage.places import leaves_open
from tokenflation.sdk.records import Reading
from tokenflation.sdk.scoping.scopes import Scope

__all__ = ["Runs"]

_UNNAMED = ("agent", "sub-agent")
"""What an agent is called that nothing gives a name: of a task's own, and inside of others."""


class Runs:
    """The agent runs that began, by id."""

    def __init__(self, *, default_task: str, new_trace_id: Callable[[], str], key: bytes) -> None:
        self._default_task = default_task
        self._new_trace_id = new_trace_id
        self._key = key
        self._runs: Recent[str, Run] = Recent()
        self.get = self._runs.get
        self._kinds: Recent[bytes, str] = Recent()
        """Instructions -> what tasks of agents without a name are called."""

    def begin(self, new: NewCall, run_id: str, scope: Scope | None, host: Host | None) -> Run:
        """Return a run that begins with this call: in the task of its scope, inside `host`, or as a task of its own."""
        reading, around = new.reading, host.run if host is not None else None
        depth = around.depth + 1 if around is not None else 0
        if host is None and scope is not None and leaves_open(scope):
            depth = scope.depth + 1
        agent = _name_in(reading)
        run = Run(
            run_id=run_id,
            agent=agent or _UNNAMED[depth > 0],
            task="",
            task_id=run_id,
            trace_id="",
            depth=depth,
            host=host,
            scope_run_id=new.scope_run_id,
            instructions_hash=reading.instructions_hash,
            started_at_ns=new.started_at_ns,
            after=new.after or "",
            opening=first_text(reading),
            question=reading.message_hashes[-1] if reading.message_hashes else b"",
            bare=not reading.tool_definition_bytes,
        )
        if scope is not None:
            run.task, run.task_id, run.trace_id = scope.task, scope.task_id, scope.trace_id
        elif around is not None:
            run.task, run.task_id, run.trace_id = around.task, around.task_id, around.trace_id
        else:
            run.task = (self._default_task if reading.sought is None else "") or agent or self._kind(reading)
            run.trace_id = self._new_trace_id()
        self._runs.put(run_id, run)
        return run

    def begin_scoped(self, new: NewCall, run_id: str, scope: Scope) -> Run:
        """Return the run of an agent's scope, whose first call this is."""
        run = Run(
            run_id=run_id,
            agent=scope.agent or _name_in(new.reading) or "agent",
            task=scope.task,
            task_id=scope.task_id,
            trace_id=scope.trace_id,
            depth=scope.depth,
            scope_run_id=new.scope_run_id,
            placed_by_scope=True,
            instructions_hash=new.reading.instructions_hash,
            started_at_ns=new.started_at_ns,
        )
        self._runs.put(run_id, run)
        return run

    def hand_over(self, new: NewCall, run_id: str, giver: Run) -> Run:
        """Return the run of another agent that goes on with a history: the same task, as deep."""
        is_its_like = new.reading.instructions_hash == giver.instructions_hash
        run = Run(
            run_id=run_id,
            agent=_name_in(new.reading) or (giver.agent if is_its_like else _UNNAMED[giver.depth > 0]),
            task=giver.task,
            task_id=giver.task_id,
            trace_id=giver.trace_id,
            depth=giver.depth,
            host=giver.host,
            scope_run_id=giver.scope_run_id,
            instructions_hash=new.reading.instructions_hash,
            started_at_ns=new.started_at_ns,
            opening=giver.opening,
        )
        (giver.around or giver).take_in(run)
        self._runs.put(run_id, run)
        return run

    def _kind(self, reading: Reading) -> str:
        """Return what a task is called whose agent has no name."""
        if not reading.prompt:  # an embedding, a ranking, speech: all have the same instructions, none
            return f"task-{reading.api.rpartition('.')[2]}"
        known = self._kinds.get(reading.instructions_hash)
        if known is None:
            at, end = reading.system_bytes, reading.system_bytes + reading.tool_definition_bytes
            known = task_kind(reading.prompt[:at], reading.prompt[at:end], self._key)
            self._kinds.put(reading.instructions_hash, known)
        return known


def _name_in(reading: Reading) -> str:
    """Return the name that a call's system prompt gives its agent, or an empty text."""
    return agent_name(reading.prompt[: reading.system_bytes])
