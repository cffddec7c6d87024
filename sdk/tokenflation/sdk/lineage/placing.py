"""Places calls: joins what continues what, what is inside what, and the user's scopes into the structure of tasks."""

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from tokenflation.sdk.lineage.beside import may_tell, sums_in
from tokenflation.sdk.lineage.blocks import TaskBlocks
from tokenflation.sdk.lineage.continuing import Continued, Histories
from tokenflation.sdk.lineage.heads import head_of
from tokenflation.sdk.lineage.histories import Edge, History, Host, Recent, Run, weakest
from tokenflation.sdk.lineage.hosting import Hosts, of_its_kind
from tokenflation.sdk.lineage.messages import first_text
from tokenflation.sdk.lineage.moving import Moves
from tokenflation.sdk.lineage.naming import agent_name, task_kind
from tokenflation.sdk.lineage.places import (
    Placement,
    Question,
    count_run,
    is_handoff,
    leaves_open,
    next_step,
    question_of,
    run_of,
)
from tokenflation.sdk.lineage.words import retold, words_of
from tokenflation.sdk.records import Reading
from tokenflation.sdk.scoping.scopes import Scope
from tokenflation.sdk.tokens.prefix import Anchor
from tokenflation.sdk.wire.facts import MAX_ANSWER

__all__ = ["Lineage"]

_FALLBACK_WINDOW_NS = 60_000_000_000
_MAX_LINKS = 64
_TOLD_MIN_BYTES = 64


@dataclass(frozen=True, slots=True)
class _Failed:
    """A call that failed, for the same question put again."""

    call_id: str
    placement: Placement
    ended_at_ns: int


class Lineage:
    """Memory of the histories of one process; not thread-safe, the recorder's worker owns it."""

    def __init__(self, *, default_task: str = "", new_trace_id: Callable[[], str], key: bytes = b"") -> None:
        self._default_task = default_task
        self._new_trace_id = new_trace_id
        self._key = key
        self._histories = Histories()
        self.knows = self._histories.knows
        self._hosts = Hosts()
        self._blocks = TaskBlocks()
        self._runs: Recent[str, Run] = Recent()
        self._failed: Recent[Question, _Failed] = Recent()
        self._kinds: Recent[bytes, str] = Recent()
        self._moves = Moves(self._hosts, default_task=default_task, new_trace_id=new_trace_id)
        self.take_moves = self._moves.take
        self._links: Recent[str, str] = Recent()
        self.first_tokens = self._blocks.first_tokens
        self.shared = self._blocks.shared

    def place(self, reading: Reading, call_id: str, scope: Scope | None, started_at_ns: int,
              after: str | None = None) -> Placement:  # fmt: skip
        """Return where the call stands; counts it as a step of its agent run.

        `after` is the call that left before in the same context or in the one it was copied from: None where nobody
        looked, empty where there was none.
        """
        again = self._asked_again(reading, call_id, scope, started_at_ns) if self._failed else None
        if again is not None:
            return again
        after = self._known(after)
        scope_run = run_of(scope)
        before = self._histories.find(reading, scope_run, started_at_ns, after)
        if before is None:
            told = retold(reading, scope_run, started_at_ns, self._histories.with_words())
            before = Continued(told, 0, Edge("words", "strong"), changed=True) if told is not None else None
        if before is None and scope is None:
            before = self._summary(reading, started_at_ns, after)
            before = before or self._goes_on(reading, started_at_ns, after)
        run = self._run_for(reading, call_id, scope, started_at_ns, before, after)
        if before is not None:
            asked = before.asked or before.history
            before.history.continued += 1
            self._hosts.note_results(asked, reading)
            self._moves.make_steps(sums_in(reading, asked, self._histories.near), asked, "compaction")
            for moved, host in self._hosts.by_result(asked, reading.tool_results, self._histories.near):
                self._moves.put(moved, host)
            if before.changed and before.edge.evidence != "flow_result" and run is before.history.run:
                run.opening = first_text(reading)
        return self._placement(run, call_id, scope, before)

    def remember(self, reading: Reading, placement: Placement, call_id: str, scope: Scope | None, ended_at_ns: int,
                 anchors: tuple[Anchor, ...]) -> History:  # fmt: skip
        """Note a finished call as the newest of its history."""
        if self._failed and (question := question_of(reading, scope)) is not None:
            self._failed.pop(question, None)
        return self._remember(reading, placement, call_id, ended_at_ns, anchors, failed=False)

    def note_failure(self, reading: Reading, placement: Placement, call_id: str, scope: Scope | None,
                     ended_at_ns: int) -> None:  # fmt: skip
        """Remember that a call failed: the next with the same messages in the same scope stands beside it."""
        question = question_of(reading, scope)
        if question is not None:
            self._failed.put(question, _Failed(call_id, placement, ended_at_ns))
            self._remember(reading, placement, call_id, ended_at_ns, (), failed=True)

    def link(self, exchange_id: str, to: str | None) -> None:
        """Note where to look on for an exchange that is no call: the call it belongs to, or the one before."""
        if exchange_id and to:
            self._links.put(exchange_id, to)

    def _remember(self, reading: Reading, placement: Placement, call_id: str, ended_at_ns: int,
                  anchors: tuple[Anchor, ...], *, failed: bool) -> History:  # fmt: skip
        run = placement.run
        assert run is not None  # every placement of ours has one
        asked = {} if failed else self._hosts.open_calls(reading)
        history = History(
            call_id=call_id,
            run=run,
            instructions_hash=reading.instructions_hash,
            messages=len(reading.message_hashes),
            end_hash=reading.message_hashes[-1] if reading.message_hashes else b"",
            ended_at_ns=ended_at_ns,
            open_tool_calls=asked,
            anchors=anchors,
            head=head_of(reading),
            tool_definition_bytes=reading.tool_definition_bytes,
            answer=reading.answer,
            failed=failed,
            words=() if failed else words_of(reading, asked.values()),
            is_last=any(call.answers and call.name != reading.forced_tool for call in asked.values()),
        )
        if placement.continues_evidence == "flow_result" and not reading.tool_definition_bytes:
            history.beside = placement.continues
        answers = [text for call in asked.values() if call.answers for text in call.said]
        if answers:
            history.answer = max(answers, key=len)[:MAX_ANSWER]
        if not failed:
            if history.beside is None or history.beside.waits:
                run.note_newest(history)
            self._hosts.remember(history)
        self._histories.remember(history, reading)
        return history

    def _known(self, after: str | None) -> str | None:
        """Return the nearest call before that is remembered: not one that failed, nor an exchange that was no call."""
        for _ in range(_MAX_LINKS):
            if not after or self._hosts.call(after) is not None:
                break
            after = self._links.get(after, "")
        return after

    def _summary(self, reading: Reading, started_at_ns: int, after: str | None) -> Continued | None:
        """Return the call that summed up what this new history goes on from, made a step of the run it summed up."""
        found = self._histories.summarised(reading, None, started_at_ns, after)
        if found is None:
            return None
        told, summary, like = found
        before = summary.beside or told.newest
        parts = like if summary.run is told else [*like, summary]
        parts = [one for one in parts if before is not None and _is_about(one.run, before)]
        if before is not None and parts:
            self._moves.make_steps(parts, before, "compaction")
        return Continued(parts[-1] if parts else summary, 0, Edge("compaction", "strong"), changed=True, asked=before)

    def _goes_on(self, reading: Reading, started_at_ns: int, after: str | None) -> Continued | None:
        """Return the waiting call that this new history goes on from or is about; others of its kind do, too."""
        found = self._hosts.goes_on(reading, started_at_ns, after)
        if found is not None and reading.system_bytes and not reading.tool_definition_bytes:
            self._moves.make_steps(of_its_kind(reading, found.history), found.history, "flow_result")
        return found

    def _run_for(self, reading: Reading, call_id: str, scope: Scope | None, started_at_ns: int,
                 before: Continued | None, after: str | None) -> Run:  # fmt: skip
        """Return the agent run that a call is a step of: that of the scope, of the call it continues, or a new one."""
        if scope is not None and scope.agent_run_id is not None and not leaves_open(scope):
            known = self._runs.get(scope.agent_run_id)
            if known is None:
                known = self._scope_run(scope, scope.agent_run_id, reading, started_at_ns)
            known.host = known.host or self._host_of(scope) or (before.history.run.host if before else None)
            return known
        if before is not None and not is_handoff(reading, before):
            return before.history.run
        if before is not None:
            return self._handed_over(reading, call_id, before.history.run, started_at_ns)
        giver = None
        if self._hosts.tools.some_hand_over and scope is None:
            giver = self._hosts.handing_over(reading, started_at_ns)
        if giver is not None:
            run = self._handed_over(reading, call_id, giver, started_at_ns)
            run.quotes = True
            return run
        host = self._hosts.find(reading, run_of(scope), started_at_ns, after)
        quoted = self._histories.quoted(reading, started_at_ns, after) if host is None and scope is None else []
        if quoted:
            quoted = _first_told(quoted, reading)
            run = self._handed_over(reading, call_id, quoted[0].run, started_at_ns)
            beside = [self._runs.get(one.run.task_id) for one in quoted[1:] if one.run.host is None]
            self._moves.join([one for one in beside if one is not None], quoted[0].run)
            run.about, run.quotes = self._histories.told(reading, None, started_at_ns, after), True
            return run
        told = scope is None and may_tell(reading)
        repeats = self._hosts.repeated(reading, host.run if host is not None else None) if told else None
        if host is None and after and scope is None and repeats is None:
            self._leave(reading, after)
        run = self._new_run(reading, call_id, scope, started_at_ns, host, after)
        if host is None and scope is None and after is not None and repeats is None:
            self._hosts.tools.note_place(run, None, None)
        run.repeats = repeats
        return run

    def _new_run(
        self, reading: Reading, run_id: str, scope: Scope | None, started_at_ns: int, host: Host | None,
        after: str | None,
    ) -> Run:  # fmt: skip
        around = host.run if host is not None else None
        depth = around.depth + 1 if around is not None else 0
        if host is None and scope is not None and leaves_open(scope):
            depth = scope.depth + 1
        system = reading.prompt[: reading.system_bytes]
        agent = agent_name(system)
        run = Run(
            run_id=run_id,
            agent=agent or ("agent" if depth == 0 else "sub-agent"),
            task="",
            task_id=run_id,
            trace_id="",
            depth=depth,
            host=host,
            scope_run_id=run_of(scope),
            instructions_hash=reading.instructions_hash,
            started_at_ns=started_at_ns,
            opening=first_text(reading),
            bare=not reading.tool_definition_bytes,
        )
        if scope is not None:
            run.task, run.task_id, run.trace_id = scope.task, scope.task_id, scope.trace_id
        elif around is not None:
            run.task, run.task_id, run.trace_id = around.task, around.task_id, around.trace_id
        else:
            run.task = self._default_task or agent or self._kind(reading)
            run.trace_id = self._new_trace_id()
        if scope is None and len(reading.prompt) - reading.system_bytes >= _TOLD_MIN_BYTES:
            run.about = self._histories.told(reading, None, started_at_ns, after)
        if host is not None and around is not None:
            around.take_in(run)
            count_run(self._hosts.call(host.call_id), host)
            self._hosts.tools.note_place(run, host, self._hosts.call(host.call_id))
        self._runs.put(run_id, run)
        return run

    def _kind(self, reading: Reading) -> str:
        known = self._kinds.get(reading.instructions_hash)
        if known is None:
            at, end = reading.system_bytes, reading.system_bytes + reading.tool_definition_bytes
            known = task_kind(reading.prompt[:at], reading.prompt[at:end], self._key)
            self._kinds.put(reading.instructions_hash, known)
        return known

    def _scope_run(self, scope: Scope, run_id: str, reading: Reading, started_at_ns: int) -> Run:
        run = Run(
            run_id=run_id,
            agent=scope.agent or agent_name(reading.prompt[: reading.system_bytes]) or "agent",
            task=scope.task,
            task_id=scope.task_id,
            trace_id=scope.trace_id,
            depth=scope.depth,
            scope_run_id=run_of(scope),
            placed_by_scope=True,
            instructions_hash=reading.instructions_hash,
            started_at_ns=started_at_ns,
        )
        self._runs.put(run_id, run)
        return run

    def _handed_over(self, reading: Reading, run_id: str, giver: Run, started_at_ns: int) -> Run:
        """Return the run of another agent that goes on with a history: the same task, as deep."""
        run = Run(
            run_id=run_id,
            agent=agent_name(reading.prompt[: reading.system_bytes]) or giver.agent,
            task=giver.task,
            task_id=giver.task_id,
            trace_id=giver.trace_id,
            depth=giver.depth,
            host=giver.host,
            scope_run_id=giver.scope_run_id,
            instructions_hash=reading.instructions_hash,
            started_at_ns=started_at_ns,
            opening=giver.opening,
        )
        (giver.host.run if giver.host is not None and giver.host.run is not None else giver).take_in(run)
        self._runs.put(run_id, run)
        return run

    def _placement(self, run: Run, call_id: str, scope: Scope | None, before: Continued | None) -> Placement:
        step = next_step(run, call_id)
        place: tuple[str, str, str, str | None] = (run.task, run.task_id, run.trace_id, None)
        if scope is not None:
            place = (scope.task, scope.task_id, scope.trace_id, scope.span_id)
        task, task_id, trace_id, parent_id = place
        host = run.host
        return Placement(
            trace_id=trace_id,
            parent_id=parent_id,
            task=task,
            task_id=task_id,
            agent=run.agent,
            agent_run_id=run.run_id,
            depth=run.depth,
            step=step,
            continues=before.history if before else None,
            inside_tool_call_id=(host.tool_call_id or None) if host else None,
            inside_call_id=(host.call_id or None) if host else None,
            structure_source="wire" if scope is None else scope.source,
            sent_messages=before.sent if before else 0,
            branch=before.history.continued - 1 if before else 0,
            continues_evidence=before.edge.evidence if before else None,
            inside_evidence=host.edge.evidence if host else "quoted" if run.quotes else None,
            strength=weakest(
                before.edge.strength if before else None, host.edge.strength if host else "weak" if run.quotes else None
            ),
            changed=before.changed if before else False,
            asked=before.asked if before else None,
            run=run,
        )

    def _asked_again(self, reading: Reading, call_id: str, scope: Scope | None,
                     started_at_ns: int) -> Placement | None:  # fmt: skip
        question = question_of(reading, scope)
        failed = self._failed.get(question) if question is not None else None
        # What left before the failure came back is an equal call made beside it.
        if question is None or failed is None or not 0 <= started_at_ns - failed.ended_at_ns < _FALLBACK_WINDOW_NS:
            return None
        del self._failed[question]
        run = failed.placement.run
        assert run is not None  # every placement of ours has one
        step = next_step(run, call_id)
        return replace(failed.placement, step=step, follows_failed_call_id=failed.call_id)

    def _leave(self, reading: Reading, after: str) -> None:
        """Note that a context went on to a new task: the tool calls it had asked for before were answers."""
        before = self._hosts.call(after)
        if before is not None:
            for run in self._hosts.passed_by(before.run, reading.instructions_hash):
                self._moves.put(run, None)

    def _host_of(self, scope: Scope) -> Host | None:
        """Return the unanswered tool call that the scope's agent run is inside of, if its tool scope names one."""
        around = scope
        while around.kind != "agent" and around.parent is not None:
            around = around.parent
        tool = around.parent
        if tool is None or tool.kind != "tool" or tool.agent_run_id is None:
            return None
        waiting = self._hosts.waiting(tool.agent_run_id)
        if waiting is None:
            return None
        named = [id_ for id_, call in waiting.open_tool_calls.items() if call.name == tool.name]
        if tool.tool_call_id in waiting.open_tool_calls:
            named = [tool.tool_call_id]
        return (
            Host(
                waiting.call_id,
                named[0],
                waiting.run,
                Edge("scope" if around.source == "wire" else around.source, "exact"),
            )
            if len(named) == 1
            else None
        )


def _first_told(quoted: list[History], reading: Reading) -> list[History]:
    """Return the quoted calls whose answers nobody was told yet, if there are any: others belong where they were told.

    What keeps a memory is told, with the newest answer, those of tasks before and what it made of them itself.
    """
    new = [
        one
        for one in quoted
        if not one.told
        and (one.run.run_id == one.run.task_id or one.run.instructions_hash != reading.instructions_hash)
    ]
    for one in quoted:
        one.told = True
    return new or quoted


def _is_about(run: Run, before: History) -> bool:
    """Return whether the one call of a run may be about another run that had made this call: it stands nowhere else."""
    around = run.host.run if run.host is not None else None
    return run.started_at_ns >= before.ended_at_ns and around in (None, before.run)
