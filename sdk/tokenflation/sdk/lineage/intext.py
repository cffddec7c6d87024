"""Which agent runs turn out to have been asked for in an answer's text: in code, or in lines that a program acts on.

Such an answer has no tool calls. What began behind it, and was over as its agent went on, is what it asked for if they
say so: it began with words of the answer, or its own last words are told then. Pure, bounded.
"""

import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence

from tokenflation.sdk.lineage.continuing import Continued
from tokenflation.sdk.lineage.histories import Edge, History, Host, NewCall, Recent, Run, is_around
from tokenflation.sdk.lineage.messages import LOOKED_AT_BYTES, SURE_CHARS, contains, last_answer, pieces, times_in
from tokenflation.sdk.lineage.recalling import Near
from tokenflation.sdk.wire.texts import texts
from tokenflation.sdk.wire.values import dumps

__all__ = ["Alone"]

_MOST = 64
"""Agent runs behind one call that are looked at, and texts of an answer."""
_BEGINNING = 24
"""Characters that are compared: code puts values into the rest of a text."""
_TEXTS = (
    re.compile(rf'"([^"\n]{{{SURE_CHARS},}})'),
    re.compile(rf"'([^'\n]{{{SURE_CHARS},}})"),
    re.compile(rf"^[^:\n]{{1,40}}:\s*(\S[^\n]{{{SURE_CHARS - 1},}})", re.MULTILINE),
)
"""Texts in code, and what stands behind a word and a colon, as in `Action Input: ...`."""


class Alone:
    """The agent runs that began as tasks of their own, by the call that left before in their context."""

    def __init__(self) -> None:
        self._runs: dict[str, list[Run]] = {}
        self._noted: deque[str] = deque()
        """The call behind which each of them began, oldest first."""
        self._newest_ns = 0
        """When the newest began in whose context no call had left before."""

    def note(self, run: Run) -> None:
        """Note that an agent run began."""
        if not run.after:
            self._newest_ns = run.started_at_ns
            return
        self._runs.setdefault(run.after, []).append(run)
        self._noted.append(run.after)
        if len(self._noted) > Recent.room:
            oldest = self._noted.popleft()
            del self._runs[oldest][0]
            if not self._runs[oldest]:
                del self._runs[oldest]

    def asked_by(self, before: Continued, new: NewCall, near: Near) -> list[tuple[Run, Host]]:
        """Return the agent runs that the text of a call has asked for, now that another call goes on with that.

        Where each step has a context of its own these are the ones whose last words are told, as often as they are.
        """
        asked = before.history
        is_alone = self._newest_ns >= asked.ended_at_ns
        if asked.open_tool_calls or new.scope_run_id is not None or not (is_alone or asked.call_id in self._runs):
            return []
        start, end = last_answer(new.reading.message_roles)
        # From the answer on: some frameworks write what its tools said behind it, into the same message.
        told = _Told(b"".join(pieces(new.reading, start, len(new.reading.message_roles)))[-LOOKED_AT_BYTES:], asked)
        behind = [run for run in self._behind(asked.call_id) if _is_over(run, asked, new)]
        near_by = near(told.text, asked.ended_at_ns) if is_alone else ()
        elsewhere = [run for run in near_by if not run.after and _is_over(run, asked, new)]
        if not behind and not elsewhere:
            return []
        wanted = [one for text in texts(pieces(new.reading, start, end)) or [asked.answer] for one in _texts(text)]
        found = []
        for run in behind:
            begins, ends = _begins(run, wanted), bool(told.end_of(run, SURE_CHARS))
            if begins or ends:
                found.append((run, _host(asked, begins=begins, ends=ends)))
        said: Counter[str] = Counter()
        for run in sorted(elsewhere, key=lambda run: (not _begins(run, wanted), run.started_at_ns)):
            end_of = told.end_of(run, _BEGINNING)
            if end_of and said[end_of] < times_in(told.text, end_of):
                said[end_of] += 1
                found.append((run, _host(asked, begins=_begins(run, wanted), ends=True)))
        return found

    def _behind(self, call_id: str) -> Iterator[Run]:
        """Yield the agent runs that began behind a call, or behind one of theirs."""
        calls, looked_at = [call_id], 0
        while calls and looked_at < _MOST:
            for run in self._runs.get(calls.pop(), ())[-_MOST:]:
                looked_at += 1
                calls += run.calls
                yield run


class _Told:
    """What an agent is told as it goes on."""

    def __init__(self, text: bytes, asked: History) -> None:
        self.text = text
        self._asked = dumps(asked.answer)

    def end_of(self, run: Run, least: int) -> str:
        """Return the text of a run's last answer, of so many characters and more, that stands in it as news."""
        answer = run.newest.answer.strip() if run.newest is not None else ""
        for text in (answer, *_texts(answer)):
            if len(text) >= least and contains(self.text, text) and not contains(self._asked, text):
                return text
        return ""


def _is_over(run: Run, asked: History, new: NewCall) -> bool:
    """Return whether a run that stands nowhere yet, another agent's, was made between a call and what continues it."""
    newest = run.newest
    if newest is None or newest.waits or run.host is not None or run.quotes or run.scope_run_id is not None:
        return False
    if _is_alike(run, asked) or is_around(run, asked.run):
        return False
    return run.started_at_ns >= asked.ended_at_ns and newest.ended_at_ns <= new.started_at_ns


def _is_alike(run: Run, asked: History) -> bool:
    """Return whether a run is of the agent that asks: that begins anew, not inside itself."""
    if run.instructions_hash != asked.instructions_hash:
        return False
    return bool(asked.head) or run.opening[:_BEGINNING] == asked.run.opening[:_BEGINNING]


def _begins(run: Run, wanted: Sequence[str]) -> bool:
    """Return whether an agent run began with a text that was asked for."""
    return any(text[:_BEGINNING] in run.opening for text in wanted)


def _host(asked: History, *, begins: bool, ends: bool) -> Host:
    edge = Edge("flow_arguments" if begins else "flow_result", "strong" if begins and ends else "weak")
    return Host(asked.call_id, "", asked.run, edge)


def _texts(answer: str) -> list[str]:
    """Return the longer texts in an answer's code and lines."""
    found = [text.strip() for pattern in _TEXTS for text in pattern.findall(answer)[:_MOST]]
    return [text for text in found if len(text) >= SURE_CHARS]
