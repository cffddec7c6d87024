"""Places calls: joins what continues what, what is inside what, and the user's scopes into the structure of tasks."""

from collections.abc import Callable

from msgspec.structs import replace

from tokenflation.sdk.lineage.beside import may_tell, sums_in
from tokenflation.sdk.lineage.blocks import TaskBlocks
from tokenflation.sdk.lineage.continuing import Continued, Histories
from tokenflation.sdk.lineage.failing import Failures
from tokenflation.sdk.lineage.heads import head_of
from tokenflation.sdk.lineage.histories import Edge, History, Host, NewCall, Recent, Run, weakest
from tokenflation.sdk.lineage.hosting import Hosts, of_its_kind
from tokenflation.sdk.lineage.inside import found_inside
from tokenflation.sdk.lineage.intext import Alone
from tokenflation.sdk.lineage.messages import first_text
from tokenflation.sdk.lineage.moving import Moves
from tokenflation.sdk.lineage.places import Placement, is_handoff, leaves_open, next_step, run_of
from tokenflation.sdk.lineage.retelling import Retellings
from tokenflation.sdk.lineage.runs import Runs
from tokenflation.sdk.lineage.seeking import Seeking, Sought
from tokenflation.sdk.lineage.words import retold, words_of
from tokenflation.sdk.records import Reading
from tokenflation.sdk.scoping.scopes import Scope
from tokenflation.sdk.tokens.prefix import Anchor
from tokenflation.sdk.wire.facts import MAX_ANSWER
from tokenflation.sdk.wire.fields import FINAL_CALL

__all__ = ["Lineage"]

_MAX_LINKS = 64
_TOLD_MIN_BYTES = 64


class Lineage:
    """Memory of the histories of one process; not thread-safe, the recorder's worker owns it."""

    def __init__(self, *, default_task: str = "", new_trace_id: Callable[[], str], key: bytes = b"") -> None:
        self._histories = Histories()
        self._retellings = Retellings()
        self._alone = Alone()
        self._seeking = Seeking()
        self.knows = self._histories.knows
        self._hosts = Hosts()
        self._blocks = TaskBlocks()
        self._runs = Runs(default_task=default_task, new_trace_id=new_trace_id, key=key)
        self._failures = Failures()
        self._moves = Moves(self._hosts, default_task=default_task, new_trace_id=new_trace_id)
        self.take_moves = self._moves.take
        self._links: Recent[str, str] = Recent()
        self.first_tokens = self._blocks.first_tokens
        self.shared = self._blocks.shared

    def place(self, reading: Reading, call_id: str, scope: Scope | None, started_at_ns: int,
              after: str | None = None) -> Placement:  # fmt: skip
        """Return where the call stands; counts it as a step of its agent run. `after` is as in `NewCall`."""
        if reading.sought is not None:
            return self._seek(NewCall(reading, run_of(scope), started_at_ns, self._known(after)), call_id, scope, after)
        failed = self._failures.take(reading, scope, started_at_ns) if self._failures.known else None
        if failed is not None:
            step = next_step(failed.placement.run, call_id)
            return replace(failed.placement, step=step, follows_failed_call_id=failed.call_id)
        new = NewCall(reading, run_of(scope), started_at_ns, self._known(after))
        before = self._continued(new, scope)
        run = self._run_for(new, call_id, scope, before)
        if before is not None:
            self._note_continued(new, run, before)
        if self._seeking.newest and (scope is None or scope.agent_run_id is None):
            self._moves.serve(*self._seeking.told(new, after, before.sent if before is not None else 0), run)
        return self._placement(run, call_id, scope, before)

    def remember(self, reading: Reading, placement: Placement, call_id: str, scope: Scope | None, ended_at_ns: int,
                 anchors: tuple[Anchor, ...]) -> None:  # fmt: skip
        """Note a finished call as the newest of its history; one that only seeks has none."""
        if reading.sought is not None:
            return
        if self._failures.known:
            self._failures.forget(reading, scope)
        self._remember(reading, placement, call_id, ended_at_ns, anchors, failed=False)

    def note_failure(self, reading: Reading, placement: Placement, call_id: str, scope: Scope | None,
                     ended_at_ns: int) -> None:  # fmt: skip
        """Remember that a call failed: the next with the same messages in the same scope stands beside it."""
        if self._failures.note(reading, placement, call_id, scope, ended_at_ns):
            self._remember(reading, placement, call_id, ended_at_ns, (), failed=True)

    def link(self, exchange_id: str, to: str | None) -> None:
        """Note where to look on for an exchange that is no call: the call it belongs to, or the one before."""
        if exchange_id and to:
            self._links.put(exchange_id, to)

    def _remember(self, reading: Reading, placement: Placement, call_id: str, ended_at_ns: int,
                  anchors: tuple[Anchor, ...], *, failed: bool) -> None:  # fmt: skip
        run = placement.run
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
            is_last=bool(reading.answer_said) and FINAL_CALL in reading.answer,
            failed=failed,
            words=() if failed else words_of(reading, asked.values()),
        )
        if placement.continues_evidence == "flow_result" and not reading.tool_definition_bytes:
            history.beside = placement.continues
        answers = [call for call in asked.values() if call.answers]
        if answers:
            history.is_last = any(call.name != reading.forced_tool for call in answers)
            said = [text for call in answers for text in call.said]
            history.answer = max(said, key=len, default=reading.answer)[:MAX_ANSWER]
        if not failed:
            if history.beside is None or history.beside.waits:
                run.note_newest(history)
            self._hosts.remember(history)
            self._retellings.remember(history)
        self._histories.remember(history, reading)

    def _known(self, after: str | None) -> str | None:
        """Return the nearest call before that is remembered: not one that failed, nor an exchange that was no call."""
        for _ in range(_MAX_LINKS):
            if not after or self._hosts.call(after) is not None:
                break
            after = self._links.get(after, "")
        return after

    def _continued(self, new: NewCall, scope: Scope | None) -> Continued | None:
        """Return what a call continues: by ids and hashes, by words of an answer, or as a run that was summed up."""
        before = self._histories.find(new)
        if before is not None:
            return before
        told = retold(new, self._retellings.with_words())
        if told is not None:
            return Continued(told, 0, Edge("words", "strong"), changed=True)
        return self._summary(new) or self._goes_on(new) if scope is None else None

    def _note_continued(self, new: NewCall, run: Run, before: Continued) -> None:
        """Note what a request tells of the call that it continues, and of those that stood inside its tool calls."""
        reading, asked = new.reading, before.asked or before.history
        before.history.continued += 1
        self._hosts.note_results(asked, reading)
        self._moves.make_steps(sums_in(reading, asked, self._retellings.near), asked, "compaction")
        for moved, host in found_inside(asked, reading.tool_results, self._retellings.near):
            self._moves.put(moved, host)
        for moved, host in self._alone.asked_by(before, new, self._retellings.near):
            self._moves.put(moved, host)
        if before.changed and before.edge.evidence != "flow_result" and run is before.history.run:
            run.opening = first_text(reading)

    def _summary(self, new: NewCall) -> Continued | None:
        """Return the call that summed up what this new history goes on from, made a step of the run it summed up."""
        found = self._retellings.summarised(new)
        if found is None:
            return None
        summary = found.summary
        before = summary.beside or found.run.newest
        parts = found.like if summary.run is found.run else [*found.like, summary]
        parts = [one for one in parts if before is not None and _is_about(one.run, before)]
        if before is not None and parts:
            self._moves.make_steps(parts, before, "compaction")
        return Continued(parts[-1] if parts else summary, 0, Edge("compaction", "strong"), changed=True, asked=before)

    def _goes_on(self, new: NewCall) -> Continued | None:
        """Return the waiting call that this new history goes on from or is about; others of its kind do, too."""
        found = self._hosts.goes_on(new)
        if found is not None and new.reading.system_bytes and not new.reading.tool_definition_bytes:
            self._moves.make_steps(of_its_kind(new.reading, found.history), found.history, "flow_result")
        return found

    def _run_for(self, new: NewCall, call_id: str, scope: Scope | None, before: Continued | None) -> Run:
        """Return the agent run that a call is a step of: that of the scope, of the call it continues, or a new one."""
        if scope is not None and scope.agent_run_id is not None and not leaves_open(scope):
            known = self._runs.get(scope.agent_run_id) or self._runs.begin_scoped(new, scope.agent_run_id, scope)
            known.host = known.host or self._host_of(scope) or (before.history.run.host if before else None)
            return known
        if before is None:
            return self._begin(new, call_id, scope)
        run = before.history.run
        return self._runs.hand_over(new, call_id, run) if is_handoff(new.reading, before) else run

    def _seek(self, new: NewCall, call_id: str, scope: Scope | None, after: str | None) -> Placement:
        """Return where a call that only seeks stands: in the agent run whose tool or answer asks for it, or alone."""
        self.link(call_id, after)
        if scope is not None and scope.agent_run_id is not None and not leaves_open(scope):
            return self._placement(self._run_for(new, call_id, scope, None), call_id, scope, None)
        host = self._hosts.seeks(new)
        run = host.run if host is not None else self._runs.begin(new, call_id, scope, None)
        may_move = scope is None or scope.source == "scope"
        if new.reading.sought and may_move and (host is None or host.edge.evidence == "context"):
            (text,) = new.reading.sought
            self._seeking.note(Sought(call_id, new.reading.api, run, text, after or "", new.started_at_ns))
        return self._placement(run, call_id, scope, None, host)

    def _begin(self, new: NewCall, call_id: str, scope: Scope | None) -> Run:
        """Return the agent run that begins with a new history."""
        if scope is not None:
            run = self._runs.begin(new, call_id, scope, self._hosts.find(new))
            if run.host is not None:
                self._hosts.note_inside(run, run.host)
            return run
        reading = new.reading
        giver = self._hosts.handing_over(new) if self._hosts.tools.some_hand_over else None
        if giver is not None:
            run = self._runs.hand_over(new, call_id, giver)
            run.quotes = True
            return run
        host = self._hosts.find(new)
        if host is not None and host.edge.strength == "weak" and self._retellings.is_about_another(new, host.run):
            host = None
        quoted = self._retellings.quoted(new) if host is None else []
        if quoted:
            return self._quoting(new, call_id, _first_told(quoted, reading))
        around = host.run if host is not None else None
        repeats = self._hosts.repeated(reading, around) if may_tell(reading) else None
        if host is None and new.after and repeats is None:
            self._leave(reading, new.after)
        run = self._runs.begin(new, call_id, None, host)
        run.repeats = repeats
        if len(reading.prompt) - reading.system_bytes >= _TOLD_MIN_BYTES:
            run.about = self._retellings.told(new)
        if host is not None:
            self._hosts.note_inside(run, host)
        elif repeats is None:
            self._alone.note(run)
            if new.after is not None:
                self._hosts.tools.note_alone(run)
        return run

    def _quoting(self, new: NewCall, call_id: str, quoted: list[History]) -> Run:
        """Return the agent run that begins with quoted answers: in the task of the first, which the others join."""
        first = quoted[0].run
        run = self._runs.hand_over(new, call_id, first)
        beside = [self._runs.get(one.run.task_id) for one in quoted[1:] if one.run.host is None]
        self._moves.join([one for one in beside if one is not None], first)
        run.about, run.quotes = self._retellings.told(new), True
        return run

    def _placement(self, run: Run, call_id: str, scope: Scope | None, before: Continued | None,
                   host: Host | None = None) -> Placement:  # fmt: skip
        """Return where a call of a run stands: inside `host`, if that is not where the run stands."""
        step = next_step(run, call_id)
        place, host = scope or run, host or run.host
        edge = host.edge if host is not None else run.edge
        return Placement(
            trace_id=place.trace_id,
            parent_id=scope.span_id if scope else None,
            task=place.task,
            task_id=place.task_id,
            agent=run.agent,
            agent_run_id=run.run_id,
            depth=run.depth,
            step=step,
            continues=before.history if before else None,
            inside_tool_call_id=(host.tool_call_id or None) if host else None,
            inside_call_id=host.call_id if host else None,
            structure_source="wire" if scope is None else scope.source,
            sent_messages=before.sent if before else 0,
            branch=before.history.continued - 1 if before else 0,
            continues_evidence=before.edge.evidence if before else None,
            inside_evidence=edge.evidence if edge else None,
            strength=weakest(before.edge.strength if before else None, edge.strength if edge else None),
            changed=before.changed if before else False,
            asked=before.asked if before else None,
            run=run,
        )

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
        if len(named) != 1:
            return None
        edge = Edge("scope" if around.source == "wire" else around.source, "exact")
        return Host(waiting.call_id, named[0], waiting.run, edge)


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
    return run.started_at_ns >= before.ended_at_ns and run.around in (None, before.run)
