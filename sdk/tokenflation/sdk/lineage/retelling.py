"""What a new history tells of the agent runs heard of last: what summed them up, what they said, how they began.

Pure: knows nothing of where they stand.
"""

from collections import deque
from collections.abc import Iterable

from msgspec import Struct

from tokenflation.sdk.lineage.beside import Told, may_tell, sums_up
from tokenflation.sdk.lineage.histories import History, NewCall, Run, is_around
from tokenflation.sdk.lineage.messages import MIN_CHARS, MIN_ID_CHARS, contains, first_messages, first_text, times_in
from tokenflation.sdk.lineage.recalling import RecentRuns
from tokenflation.sdk.records import Reading

__all__ = ["Retellings", "Summarised"]

_MIN_QUOTE = 24
_RUNS_WITH_WORDS = 128
_WINDOW_NS = 300_000_000_000


class Summarised(Struct, frozen=True):
    """An agent run that begins anew with a summary."""

    run: Run
    summary: History
    """The call that made it: the run's own, or one that was told the run's messages."""
    like: list[History]
    """Calls of others that made other parts of it."""


class Retellings:
    """The agent runs of which a new history may tell."""

    def __init__(self) -> None:
        self._recent = RecentRuns()
        self.near = self._recent.near
        self._with_words: deque[Run] = deque(maxlen=_RUNS_WITH_WORDS)
        """Agent runs whose answers are made of fields, longest silent first; a run stands in it once."""
        self._near: tuple[Reading, bytes, list[tuple[Run, History]]] | None = None
        """What `_tellable` found last: it is asked up to three times while one call is placed."""

    def remember(self, history: History) -> None:
        """Note a call as the newest of its agent run."""
        self._near = None
        self._recent.put(history.run)
        if history.words:
            if history.run in self._with_words:
                self._with_words.remove(history.run)
            self._with_words.append(history.run)

    def summarised(self, new: NewCall) -> Summarised | None:
        """Return the agent run with these instructions that begins anew with a summary of what it said before."""
        reading = new.reading
        head, near = self._tellable(new)
        opening: str | None = None
        for run, history in near:
            if history.answer_chars > len(head) or history.open_tool_calls:
                continue
            told = run if run.instructions_hash == reading.instructions_hash else run.about or run.repeats
            if told is None or told.instructions_hash != reading.instructions_hash:
                continue
            if run.scope_run_id != new.scope_run_id or history.ended_at_ns > new.started_at_ns:
                continue
            if told is run and run.steps < 2 and run.about is None:
                opening = _only_text(reading) if opening is None else opening
                if len(run.opening) < _MIN_QUOTE or not opening.startswith(run.opening):
                    continue  # nothing to summarise
            if sums_up(history, head):
                return Summarised(told, history, _like(history, told, head, near))
        return None

    def quoted(self, new: NewCall) -> list[History]:
        """Return the finished calls, newest first, of agent runs that are over, whose answers the first messages quote.

        Of those that said the same as many as it is quoted times. Of an answer made of fields, words of it will do, if
        no newer one said them.
        """
        head, near = self._tellable(new)
        found: list[History] = []
        told: set[str] = set()
        for run, history in near:
            if run.scope_run_id is not None or history.ended_at_ns > new.started_at_ns:
                continue
            if not all(call.answers for call in history.open_tool_calls.values()):
                continue
            times = times_in(head, history.answer) if _MIN_QUOTE <= history.answer_chars <= len(head) else 0
            same = sum(one.answer == history.answer for one in found)
            fresh = {text for text in history.words if text not in told and contains(head, text)}
            if same < times or fresh:
                told |= fresh
                found.append(history)
        return found

    def told(self, new: NewCall) -> Run | None:
        """Return the newest agent run whose first message and last answer a new history repeats, if one does."""
        head, near = self._tellable(new)
        for run, newest in near:
            if run.scope_run_id != new.scope_run_id or newest.ended_at_ns > new.started_at_ns:
                continue
            if len(run.opening) >= MIN_CHARS and contains(head, run.opening) and _tells_end(head, newest):
                return run
        return None

    def is_about_another(self, new: NewCall, run: Run) -> bool:
        """Return whether a call without tools was told not of this run but of another, that it is not inside of."""
        said = Told(new.reading) if may_tell(new.reading) else None
        if said is None or said.opening(run):
            return False
        return any(
            said.opening(one) and said.result(one) and not is_around(one, run) for one, _ in self._tellable(new)[1]
        )

    def _tellable(self, new: NewCall) -> tuple[bytes, list[tuple[Run, History]]]:
        """Return a new history's first messages, and the agent runs, newest first, with the calls that it may tell of.

        Its first messages must have room for their answers, as those of a short question, of nearly all, have not; or
        the calls wait for tools. The call before in its context is the first of them.
        """
        near = self._near
        if near is None or near[0] is not new.reading:
            head = first_messages(new.reading)
            room = len(head)
            runs = self._recent.near(head, new.started_at_ns - _WINDOW_NS)
            found = [(run, run.newest) for run in runs if run.tells_from <= room and run.newest is not None]
            if new.after:
                found.sort(key=lambda one: one[1].call_id != new.after)
            near = self._near = new.reading, head, found
        return near[1], near[2]

    def with_words(self) -> Iterable[Run]:
        """Return the agent runs that said something in fields last, newest first."""
        return reversed(self._with_words)


def _like(history: History, told: Run, head: bytes, near: Iterable[tuple[Run, History]]) -> list[History]:
    """Return the other calls with a summary's instructions whose answers stand in a history's first messages."""
    return [
        newest
        for run, newest in near
        if run is not told
        and run is not history.run
        and run.steps == 1
        and run.instructions_hash == history.instructions_hash
        and run.scope_run_id == told.scope_run_id
        and run.about in (None, told)
        and sums_up(newest, head)
    ][::-1]


def _only_text(reading: Reading) -> str:
    """Return the beginning of the text of a history of one message: a prompt may grow by what was answered to it."""
    return first_text(reading) if len(reading.message_hashes) == 1 else ""


def _tells_end(head: bytes, newest: History) -> bool:
    """Return whether a text repeats the end of an agent run: its answer, or what it asked of its tools."""
    if len(newest.answer) >= MIN_CHARS and contains(head, newest.answer):
        return True
    asked = [text for call in newest.open_tool_calls.values() for text in call.said]
    return any(contains(head, text) for text in asked) or any(
        len(id_) >= MIN_ID_CHARS and id_.encode() in head for id_ in newest.open_tool_calls
    )
