"""Which tool call a new history is inside of: by arguments, the context it left from, what waits.

Pure: knows nothing of scopes but an id, and nothing of where the tree is kept.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from tokenflation.sdk.lineage.beside import Told, may_tell
from tokenflation.sdk.lineage.continuing import Continued
from tokenflation.sdk.lineage.heads import is_of_one_agent
from tokenflation.sdk.lineage.histories import (
    Edge,
    History,
    Host,
    NewCall,
    OpenCall,
    Recent,
    Run,
    hands_over,
    is_around,
)
from tokenflation.sdk.lineage.messages import MIN_CHARS, SURE_CHARS, contains, first_messages, first_text
from tokenflation.sdk.lineage.recalling import Waiting
from tokenflation.sdk.lineage.seeking import asking_for
from tokenflation.sdk.lineage.tools import BY_CONTEXT, Tools
from tokenflation.sdk.records import Reading, Strength
from tokenflation.sdk.wire.values import dumps

__all__ = ["Hosts", "of_its_kind"]

_RESULT_CHARS = 256
_SLACK_NS = 1_000_000_000
_WAIT_NS = 3_600_000_000_000
_MAX_GIVEN = 16


class _ByArguments(NamedTuple):
    """A tool call whose arguments a new history says."""

    host: Host
    is_sure: bool
    """They are long enough to prove it by themselves."""


class Hosts:
    """The agent runs that wait for tool results."""

    def __init__(self) -> None:
        self._waiting = Waiting()
        self._calls: Recent[str, History] = Recent()
        self._kinds: Recent[tuple[bytes, str], bool] = Recent()
        """(instructions, agent run): calls without tools, with these instructions, are told about this run."""
        self._gave: deque[tuple[Run, OpenCall]] = deque(maxlen=_MAX_GIVEN)
        """Calls of tools that hand over, where the agent run itself was told their results."""
        self.tools = Tools()

    def remember(self, history: History) -> None:
        """Note a call: its agent run waits if it asked for tool calls that somebody runs."""
        self._calls.put(history.call_id, history)
        if history.beside is not None:
            return
        if history.open_tool_calls and any(not one.answers for one in history.open_tool_calls.values()):
            self._waiting.put(history)
        else:
            self._waiting.pop(history.run.run_id)

    def call(self, call_id: str) -> History | None:
        """Return a call by its id, while it is remembered."""
        return self._calls.get(call_id)

    def waiting(self, run_id: str) -> History | None:
        """Return the call whose tool calls this agent run waits for."""
        return self._waiting.get(run_id)

    def open_calls(self, reading: Reading) -> dict[str, OpenCall]:
        """Return the client tool calls that an answer asks for and leaves open."""
        answered = reading.answered
        asked = [one for one in reading.tool_calls if one.kind == "client" and one.tool_call_id not in answered]
        return {
            one.tool_call_id: OpenCall(one.name, one.said, answers=self.tools.answers(one, reading)) for one in asked
        }

    def note_results(self, history: History, reading: Reading) -> None:
        """Note what a request tells of the tool calls of a call."""
        for result in reading.tool_results:
            known = history.open_tool_calls.get(result.tool_call_id)
            if known is not None:
                self.tools.note_result(history, result.tool_call_id, reading)
                history.run.note_asked(known.said[:1])
                if hands_over(known.name) and history.instructions_hash == reading.instructions_hash:
                    self._gave.append((history.run, known))
            for text in result.said[:1]:
                if len(text) >= SURE_CHARS:
                    history.run.note_result(text[:_RESULT_CHARS])

    def note_inside(self, run: Run, host: Host) -> None:
        """Note that an agent run stands inside a tool call now."""
        host.run.take_in(run)
        asked = self._calls.get(host.call_id)
        call = asked.open_tool_calls.get(host.tool_call_id) if asked is not None else None
        if asked is not None and call is not None:
            call.runs += 1
            self.tools.note_inside(run, host, asked, call)

    def find(self, new: NewCall) -> Host | None:
        """Return the tool call that a new history is inside of, or None."""
        # A client may close a stream only after what it asked for has begun.
        until, run_id = new.started_at_ns + _SLACK_NS, new.scope_run_id
        waiting = [one for one in self._waiting.all() if one.run.scope_run_id == run_id and one.ended_at_ns <= until]
        near = self._context(new.after) if new.after else None
        told = self._by_arguments(new.reading, self._tellable(new.reading, waiting, near), near) if waiting else None
        if told is not None and told.is_sure:
            return told.host
        found = self._by_context(new, new.after, waiting) if new.after else None
        if found is not None or told is not None:
            return found or (told.host if told is not None else None)
        return _by_waiting(new, waiting) if new.after is None else None

    def seeks(self, new: NewCall) -> Host | None:
        """Return where a call stands that only seeks: in a tool call or behind the answer that asks for it, or None."""
        before = self._calls.get(new.after or "")
        before = before if before is not None and before.run.scope_run_id == new.scope_run_id else None
        text = "".join(new.reading.sought or ())
        near = self._waiting.near(dumps(text)[1:-1]) if text else []
        within = [one for one in near if one.run.scope_run_id == new.scope_run_id]
        until = new.started_at_ns + _SLACK_NS
        return asking_for(text, before, [one for one in within if one.ended_at_ns <= until])

    def goes_on(self, new: NewCall) -> Continued | None:
        """Return the waiting call whose agent run goes on in a new history, or is what that is about; None if unclear.

        What is inside a tool call knows its arguments; what knows the results of the steps before is beside it. In
        another context it must know the run's first message too, and bring no tools. In the run's own, once others of
        its kind knew a result, it need not: the newest ones are not known before the run is told of them.
        """
        if not self._waiting:
            return None
        reading = new.reading
        bare = may_tell(reading)
        waiting = [one for one in self._waiting.near(first_messages(reading)) if one.run.scope_run_id is None]
        if new.after:
            before = self._context(new.after)
            told = [before] if before is not None and before.waits and self._is_told(reading, before.run, bare) else []
        else:
            told = _told_all_about(new, waiting) if bare else []
        if len(told) != 1:
            return None
        run = told[0].run
        asked = self._by_arguments(reading, waiting if bare else told)
        if asked is not None and asked.is_sure and not (bare and asked.host.run is run and Told(reading).all(run)):
            return None
        if bare and reading.system_bytes:
            self._kinds.put((reading.instructions_hash, run.run_id), True)
        return Continued(told[0], 0, Edge("flow_result", "weak"), changed=True)

    def handing_over(self, new: NewCall) -> Run | None:
        """Return the run that hands over to another agent, which is told its first message but not its history.

        One that said a last word after it did so told the other one what it gave the tool.
        """
        reading, opening = new.reading, ""
        for one in self._waiting.near(first_messages(reading)):
            gives = [call for call in one.open_tool_calls.values() if hands_over(call.name) and not call.runs]
            if not gives or one.run.scope_run_id is not None or one.ended_at_ns > new.started_at_ns:
                continue
            opening = opening or first_text(reading)
            if len(opening) >= MIN_CHARS and opening == one.run.opening and not is_of_one_agent(one, reading):
                gives[0].runs += 1
                return one.run
        head = first_messages(reading) if self._gave else b""
        for run, call in reversed(self._gave):
            told = max(call.said, key=len, default="")
            if call.runs or len(told) < SURE_CHARS or run.instructions_hash == reading.instructions_hash:
                continue
            over = run.newest is not None and run.newest.ended_at_ns <= new.started_at_ns
            if over and run.scope_run_id is None and contains(head, told):
                call.runs += 1
                return run
        return None

    def repeated(self, reading: Reading, around: Run | None) -> Run | None:
        """Return the run whose first message a new history repeats: the one around it, or the only one that waits."""
        if around is None and not self._waiting:
            return None
        said = Told(reading)
        if around is not None:
            return around if said.opening(around) else None
        waiting = [one.run for one in self._waiting.near(first_messages(reading)) if one.run.scope_run_id is None]
        found = [run for run in waiting if said.opening(run)]
        return found[0] if len(found) == 1 else None

    def _context(self, after: str) -> History | None:
        """Return the call that its context waits for: the last one made in it, or what that is inside or beside of."""
        before = self._calls.get(after)
        if before is None or before.waits:
            return before
        if before.beside is not None:
            return before.beside
        return self._calls.get(before.run.host.call_id) if before.run.host is not None else before

    def _is_told(self, reading: Reading, run: Run, bare: bool) -> bool:
        if not bare:
            head = first_messages(reading)
            return any(contains(head, text) for text in run.results)
        return (reading.instructions_hash, run.run_id) in self._kinds or Told(reading).result(run)

    def passed_by(self, run: Run, instructions_hash: bytes) -> list[Run]:
        """Return the runs whose place rests on a tool call that turns out to have been left.

        A context that goes on to an agent anew, while it had an agent around it that waits, has left that one: its tool
        calls were its answer, or it gave up. So were those of the runs between.
        """
        left: list[Run] = []
        around: Run | None = run
        while around is not None:
            newest = around.newest
            if newest is not None and newest.waits:
                self.tools.note_left(newest)
                if all(call.answers for call in newest.open_tool_calls.values()):
                    self._waiting.pop(around.run_id)
                left += [one for one in around.inner if self._is_left(one, newest)]
            if around.instructions_hash == instructions_hash:
                break
            around = around.around
        return left

    def _is_left(self, run: Run, asked: History) -> bool:
        """Return whether nothing but its context says that a run is inside a tool call, of a tool that begins none."""
        host = run.host
        if host is None or host.call_id != asked.call_id or host.edge.evidence not in BY_CONTEXT:
            return False
        call = asked.open_tool_calls.get(host.tool_call_id)
        return call is not None and not self.tools.hosts(asked, call)

    def _tellable(self, reading: Reading, waiting: list[History], near: History | None) -> list[History]:
        """Return those of many that wait of which a new history may tell, and the one that its context waits for."""
        few = {*self._waiting.near(first_messages(reading)), near}
        return [one for one in waiting if one in few]

    def _by_arguments(
        self, reading: Reading, waiting: Sequence[History], near: History | None = None
    ) -> _ByArguments | None:
        """Return the open tool call whose arguments a new history says.

        Of several that say the same it is one of the call `near` in the context, and weak: it may turn out otherwise.
        An agent is rather beside its like, which passes on what it was asked, than inside; it is not where both were
        asked the same, nor inside of a tool that began none before, of which the prompts of its like may hold the words
        (a shell's command to submit).
        """
        head = first_messages(reading)
        found: list[tuple[tuple[int, bool, bool, int, int], History, str]] = []
        for history in waiting if head else ():
            # A run whose last call is about it may be over: a short text is no proof that it is not.
            least = MIN_CHARS if history.run.newest is history else SURE_CHARS
            for id_, call in history.open_tool_calls.items():
                size = 0 if call.answers else _longest(head, call.said)
                if size < least or _asks_the_same(reading, history.run):
                    continue
                other = not _is_among(reading, history.run)
                if other or not self.tools.is_plain(history, call):
                    found.append(((size, history is near, other, history.run.depth, -call.runs), history, id_))
        if not found:
            return None
        (size, *_), asked, id_ = max(found, key=lambda one: one[0])
        sure = size >= SURE_CHARS
        alike = sum(one[0][0] == size for one in found)
        edge = Edge("flow_arguments", "strong" if sure and alike == 1 else "weak")
        return _ByArguments(Host(asked.call_id, id_, asked.run, edge), sure)

    def _by_context(self, new: NewCall, after: str, waiting: Sequence[History]) -> Host | None:
        """Return the tool call that a new history is inside of, by the call `after` that its context made before."""
        reading, before = new.reading, self._calls.get(after)
        if before is None or before.run.scope_run_id != new.scope_run_id:
            return None
        if not before.open_tool_calls or all(call.answers for call in before.open_tool_calls.values()):
            return self._behind(reading, before.run.host, waiting) if before.run.host is not None else None
        if _is_among(reading, before.run):
            return None
        told = self._by_arguments(reading, [before])
        if told is not None:
            return replace(told.host, edge=Edge("context", told.host.edge.strength))
        calls = _run_calls(before)
        able = {id_: one for id_, one in calls.items() if self.tools.may_host(before, one, reading)}
        return _chosen(before, Edge("context", "weak" if len(calls) > 1 else "strong"), able) if able else None

    def _behind(self, reading: Reading, host: Host, waiting: Sequence[History]) -> Host | None:
        """Return the place of a new history whose context has left an agent run inside `host`: beside that run."""
        around = self._calls.get(host.call_id)
        if around is None or not around.waits or _is_among(reading, around.run):
            return None
        call = around.open_tool_calls.get(host.tool_call_id)
        if call is not None and not self.tools.may_host(around, call, reading):
            return None
        # A thread that serves several may go on with what another waits for.
        alone = all(is_around(one.run, around.run) for one in waiting)
        return _after(host, around, "strong" if alone else "weak")


def _by_waiting(new: NewCall, waiting: Sequence[History]) -> Host | None:
    """Return the open tool call of the one agent run with other instructions that waits."""
    others = [one for one in waiting if one.instructions_hash != new.reading.instructions_hash]
    open_ = [one for one in others if new.started_at_ns - one.ended_at_ns < _WAIT_NS]
    # The innermost of a chain of waiting runs is the one at work; two chains are two possibilities.
    inner = [one for one in open_ if not any(other.run.around is one.run for other in open_)]
    return _chosen(inner[0], Edge("open_tool_call", "weak"), _run_calls(inner[0])) if len(inner) == 1 else None


def _run_calls(history: History) -> dict[str, OpenCall]:
    return {id_: call for id_, call in history.open_tool_calls.items() if not call.answers}


def _chosen(history: History, edge: Edge, calls: dict[str, OpenCall]) -> Host:
    """Return the tool call with the fewest agent runs inside: tools are begun in the order they are asked for."""
    return Host(history.call_id, min(calls, key=lambda one: calls[one].runs), history.run, edge)


def _after(host: Host, around: History, strength: Strength) -> Host:
    """Return where a run is that begins where one inside `host` is over: in its tool call, or the next like it."""
    calls = _run_calls(around)
    own = calls.get(host.tool_call_id)
    like = [id_ for id_, call in calls.items() if own is not None and call.name == own.name]
    id_ = min(like, key=lambda one: calls[one].runs, default=host.tool_call_id)
    return Host(around.call_id, id_, around.run, Edge("context", "weak" if len(calls) > 1 else strength))


def of_its_kind(reading: Reading, before: History) -> list[History]:
    """Return the calls, each an agent run, that are inside a waiting call's tool calls by their context alone.

    Without tools, and with the instructions of another that turned out to be about the run that waits: so are these.
    """
    return [
        run.newest
        for run in before.run.inner
        if run.newest is not None
        and run.bare
        and run.steps == 1
        and run.instructions_hash == reading.instructions_hash
        and run.host is not None
        and run.host.call_id == before.call_id
        and run.host.edge.evidence in BY_CONTEXT
    ]


def _told_all_about(new: NewCall, waiting: Sequence[History]) -> list[History]:
    """Return the waiting calls whose agent run's first message, and a result it was told, a new history repeats."""
    said = Told(new.reading)
    return [
        one
        for one in waiting
        if one.ended_at_ns <= new.started_at_ns
        and one.instructions_hash != new.reading.instructions_hash
        and said.opening(one.run)
        and said.result(one.run)
    ]


def _is_among(reading: Reading, run: Run | None) -> bool:
    """Return whether an agent with these instructions is this run or around it: it begins anew, not inside itself."""
    while run is not None:
        if run.instructions_hash == reading.instructions_hash:
            return True
        run = run.around
    return False


def _asks_the_same(reading: Reading, run: Run | None) -> bool:
    """Return whether this run or one around it is the same agent and was asked the same: a vote, a task once more."""
    question = reading.message_hashes[-1:]
    while run is not None:
        if question == (run.question,) and run.instructions_hash == reading.instructions_hash:
            return True
        run = run.around
    return False


def _longest(head: bytes, said: Sequence[str]) -> int:
    return max((len(text.strip()) for text in said if contains(head, text)), default=0)
