"""What a call without tools repeats of an agent run: enough to say that it is beside the run, to shorten or judge it.

A sub-agent inside a tool call knows the arguments of that call. What knows the first message of a run that waits, and
results of its earlier tool calls, was told them by what runs the agent. Pure: knows nothing of places.
"""

import re

from tokenflation.sdk.lineage.histories import History, Run
from tokenflation.sdk.lineage.messages import (
    LOOKED_AT_BYTES,
    contains,
    first_messages,
    last_answer,
    last_messages,
)
from tokenflation.sdk.lineage.recalling import Near
from tokenflation.sdk.records import Reading

__all__ = ["Told", "may_tell", "sums_in", "sums_up"]

_MIN_BYTES = 64
_MIN_OPENING = 16
_MIN_PLAIN = 24
_MIN_SUMMARY = 32
_PLAIN = re.compile(r"[A-Za-z0-9 .,:;()/+=_-]{24,}")


def may_tell(reading: Reading) -> bool:
    """Return whether a call offers no tools and says enough to repeat something."""
    fixed = reading.system_bytes + reading.tool_definition_bytes
    return not reading.tool_definition_bytes and len(reading.prompt) - fixed >= _MIN_BYTES


def sums_in(reading: Reading, asked: History, near: Near) -> list[History]:
    """Return the calls, each an agent run till now, that summed up what came before the answer of another call.

    They left behind that: while it waited, or as its user spoke next. The request that goes on then holds the summary
    where the history was: before the answer. What a sub-agent said is in a result, or behind it; it may be what an
    earlier one said, in a history that is as it was.
    """
    if not reading.prompt or _is_kept(reading, asked):
        return []
    start = reading.system_bytes + reading.tool_definition_bytes
    kept = sum(reading.message_bytes[: last_answer(reading.message_roles)[0]])
    if not kept:
        return []
    before = reading.prompt[start : start + kept]
    found: dict[str, History] = {}
    recent = near(before[:LOOKED_AT_BYTES], asked.ended_at_ns)
    for run in sorted({*asked.run.inner, *recent}, key=lambda one: one.started_at_ns):
        if run.newest is not None and _may_sum(run, asked) and sums_up(run.newest, before):
            found.setdefault(run.newest.answer, run.newest)  # of two that said the same the other is another run's
    return list(found.values())


def sums_up(history: History, head: bytes) -> bool:
    """Return whether the first messages of a history hold a call's answer, which says no less than a summary does."""
    return len(history.answer) >= _MIN_SUMMARY and contains(head, history.answer)


def _may_sum(run: Run, asked: History) -> bool:
    """Return whether an agent run of one call without tools left while a call waited, and stands nowhere else."""
    if not run.bare or run.steps != 1 or run.scope_run_id is not None or run is asked.run:
        return False
    return run.host.call_id == asked.call_id if run.host is not None else run.started_at_ns >= asked.ended_at_ns


def _is_kept(reading: Reading, asked: History) -> bool:
    """Return whether a request begins with all of a call's, and an answer."""
    same = reading.message_hashes[asked.messages - 1 : asked.messages] == (asked.end_hash,)
    return same and reading.message_roles[asked.messages : asked.messages + 1] == ("assistant",)


class Told:
    """What the messages of a new history repeat."""

    def __init__(self, reading: Reading) -> None:
        self._said = first_messages(reading) + last_messages(reading)

    def opening(self, run: Run) -> bool:
        """Return whether they repeat the beginning of an agent run's first message, or of the summary in its place."""
        some = [text.strip() for text in (run.opening, run.summary)]
        return any(_MIN_OPENING <= len(text) <= len(self._said) and self._repeats(text) for text in some)

    def result(self, run: Run) -> bool:
        """Return whether they repeat a result of the run's tool calls, or the newest words of the run."""
        words = run.newest.answer if run.newest is not None else ""
        return any(map(self._repeats, run.results)) or (len(words) >= _MIN_PLAIN and self._repeats(words))

    def all(self, run: Run) -> bool:
        """Return whether they repeat what a run was asked, what it asked of its tools before, and what that gave."""
        return self.opening(run) and self.result(run) and any(map(self._repeats, run.asked))

    def _repeats(self, text: str) -> bool:
        """Return whether they hold a text, or the longest piece of it that JSON, XML and code quote alike."""
        if contains(self._said, text):
            return True
        plain = max(_PLAIN.findall(text), key=len, default="").strip()
        return len(plain) >= _MIN_PLAIN and plain.encode() in self._said
