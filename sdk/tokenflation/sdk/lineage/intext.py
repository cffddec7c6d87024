"""Which agent runs turn out to have been asked for in an answer's text: in code, or in lines that a program acts on.

Such an answer has no tool calls. What began behind it in its context, and was over as its agent went on, is what it
asked for if they say so: it began with words of the answer, or its own last words are told then. Pure, bounded.
"""

import re
from collections import deque
from collections.abc import Iterator

from tokenflation.sdk.lineage.continuing import Continued
from tokenflation.sdk.lineage.histories import Edge, History, Host, NewCall, Recent, Run, is_around
from tokenflation.sdk.lineage.messages import SURE_CHARS, contains, last_answer, pieces
from tokenflation.sdk.wire.texts import texts

__all__ = ["Behind"]

_MOST = 64
"""Agent runs behind one call that are looked at, and texts of an answer."""
_BEGINNING = 24
"""Characters that are compared: code puts values into the rest of a text."""
_TEXTS = (
    re.compile(rf'"([^"\n]{{{SURE_CHARS},}})'),
    re.compile(rf"'([^'\n]{{{SURE_CHARS},}})"),
    re.compile(rf"^[^:\n]{{1,40}}:[ \t]*(\S[^\n]{{{SURE_CHARS - 1},}})", re.MULTILINE),
)
"""Texts in code, and what stands behind a word and a colon, as in `Action Input: ...`."""


class Behind:
    """The agent runs that began behind a call in its context, as tasks of their own."""

    def __init__(self) -> None:
        self._runs: dict[str, list[Run]] = {}
        self._noted: deque[str] = deque()
        """The call behind which each of them began, oldest first."""

    def note(self, run: Run, after: str) -> None:
        """Note that an agent run began behind this call."""
        self._runs.setdefault(after, []).append(run)
        self._noted.append(after)
        if len(self._noted) > Recent.room:
            oldest = self._noted.popleft()
            del self._runs[oldest][0]
            if not self._runs[oldest]:
                del self._runs[oldest]

    def asked_by(self, before: Continued, new: NewCall) -> list[tuple[Run, Host]]:
        """Return the agent runs that the text of a call has asked for, now that another call goes on with that."""
        asked = before.history
        if asked.open_tool_calls or asked.call_id not in self._runs:
            return []
        start, end = last_answer(new.reading.message_roles)
        answer = texts(pieces(new.reading, start, end)) or [asked.answer]
        wanted = [one for text in answer for one in _texts(text)]
        told = b"".join(pieces(new.reading, end, len(new.reading.message_roles)))
        found = []
        for run, newest in self._over(asked, new):
            begins = any(text[:_BEGINNING] in run.opening for text in wanted)
            ends = any(
                contains(told, text) for text in (newest.answer.strip(), *_texts(newest.answer)) if _is_sure(text)
            )
            if begins or ends:
                edge = Edge("flow_arguments" if begins else "flow_result", "strong" if begins and ends else "weak")
                found.append((run, Host(asked.call_id, "", asked.run, edge)))
        return found

    def _over(self, asked: History, new: NewCall) -> Iterator[tuple[Run, History]]:
        """Yield the agent runs, with last calls, that began behind a call or behind one that did, and are over."""
        calls, looked_at = [asked.call_id], 0
        while calls and looked_at < _MOST:
            for run in self._runs.get(calls.pop(), ())[-_MOST:]:
                newest = run.newest
                looked_at += 1
                if newest is None or newest.ended_at_ns > new.started_at_ns:
                    continue
                calls += run.calls
                own = run.host is None and not run.quotes and run.scope_run_id == asked.run.scope_run_id
                if own and not newest.waits and not _are_alike(run, asked) and not is_around(run, asked.run):
                    yield run, newest


def _are_alike(run: Run, asked: History) -> bool:
    """Return whether an agent has the instructions of one that asks: it begins anew, not inside itself."""
    return run.instructions_hash == asked.instructions_hash


def _is_sure(text: str) -> bool:
    return len(text) >= SURE_CHARS


def _texts(answer: str) -> list[str]:
    """Return the longer texts in an answer's code and lines."""
    return [text.strip() for pattern in _TEXTS for text in pattern.findall(answer)[:_MOST] if _is_sure(text.strip())]
