"""Puts agent runs, with all that is inside of them, into other places, and says which calls that concerns."""

from collections.abc import Callable, Sequence

from tokenflation.sdk.lineage.histories import Evidence, History, Host, Run
from tokenflation.sdk.lineage.hosting import Hosts
from tokenflation.sdk.lineage.places import MAX_RUN_CALLS, Move, next_step
from tokenflation.sdk.lineage.seeking import Sought
from tokenflation.sdk.records import Strength

__all__ = ["Moves"]


class Moves:
    """The calls that stand elsewhere than they were placed."""

    def __init__(self, hosts: Hosts, *, default_task: str, new_trace_id: Callable[[], str]) -> None:
        self._hosts = hosts
        self._default_task = default_task
        self._new_trace_id = new_trace_id
        self._moves: dict[str, Move] = {}

    def take(self) -> list[Move]:
        """Return, and forget, the calls that stand elsewhere now than they were placed."""
        moves, self._moves = list(self._moves.values()), {}
        return moves

    def put(self, run: Run, host: Host | None) -> None:
        """Put an agent run, and all inside of it, inside a tool call; without one it is a task of its own."""
        self._take_out(run)
        run.host = host
        if host is not None:
            self._hosts.note_inside(run, host)
            around = host.run
            task, depth = (around.task, around.task_id, around.trace_id), around.depth + 1
        else:
            self._hosts.tools.note_alone(run)
            task, depth = (self._default_task or run.agent, run.run_id, self._new_trace_id()), 0
        if run.agent in ("agent", "sub-agent"):
            run.agent = "agent" if depth == 0 else "sub-agent"
        self._shift(run, task, depth)

    def join(self, runs: Sequence[Run], giver: Run) -> None:
        """Make agent runs that begin tasks, with all that is in those, part of another's task."""
        for run in runs if giver.host is None else ():
            if run.host is None and run.task_id == run.run_id != giver.task_id:
                giver.take_in(run)
                run.quotes = True
                self._shift(run, (giver.task, giver.task_id, giver.trace_id), giver.depth)

    def make_steps(self, calls: Sequence[History], before: History, evidence: Evidence) -> None:
        """Make calls, each an agent run till now, steps of the run that they are about; `before` is its call then."""
        told, waits = before.run, before.waits
        for history in calls:
            run = history.run
            self._take_out(run)
            run.newest, run.about = None, None
            if evidence == "compaction":
                told.summary = history.answer
            self._moves[history.call_id] = Move(
                history.call_id, told, told.steps, before.call_id, before.continued, evidence
            )
            told.steps += 1
            told.calls += run.calls
            before.continued += 1
            history.run, history.beside = told, before if waits else None
            if told.newest is None or told.newest.ended_at_ns <= history.ended_at_ns:
                told.note_newest(history)
                self._hosts.remember(history)

    def serve(self, calls: Sequence[Sought], strength: Strength, run: Run) -> None:
        """Make calls that only sought what a request of this run tells steps of it, before that."""
        for one in calls:
            if one.run is run:
                continue
            if one.call_id in one.run.calls:
                one.run.calls.remove(one.call_id)
            self._moves[one.call_id] = Move(
                one.call_id, run, next_step(run, one.call_id), evidence="sought", strength=strength
            )

    def _take_out(self, run: Run) -> None:
        for around in (run.around, run.about):
            if around is not None:
                around.inner = tuple([one for one in around.inner if one is not run])

    def _shift(self, run: Run, task: tuple[str, str, str], depth: int) -> None:
        run.task, run.task_id, run.trace_id = task
        run.depth, run.moved = depth, True
        for call_id in run.calls[-MAX_RUN_CALLS:]:
            known = self._moves.get(call_id)
            self._moves[call_id] = known or Move(call_id, run)
        for inner in run.inner:
            self._shift(inner, task, depth + 1 if inner.around is run else depth)
