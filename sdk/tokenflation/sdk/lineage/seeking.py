"""Calls that only seek (embeddings, rankings): they generate nothing, so they are no agents, but serve one.

Nothing continues them, and what left before them is what left before the next call. Pure, bounded.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from tokenflation.sdk.lineage.histories import Edge, History, Host, NewCall, Recent, Run
from tokenflation.sdk.lineage.messages import LOOKED_AT_BYTES, MIN_CHARS, SURE_CHARS, contains
from tokenflation.sdk.records import Strength

__all__ = ["Seeking", "Sought", "asking_for"]

_WINDOW_NS = 60_000_000_000
_MIN_TOLD = 24
"""Characters of an answer, and of a text that was sought in another context, by which they are known again."""
_MOST = 64


class Sought(Struct, frozen=True):
    """A call that may turn out to serve another agent run than it was placed in."""

    call_id: str
    api: str
    run: Run
    text: str
    after: str
    """The call that left before in its context, also one that only seeks."""
    started_at_ns: int


class Seeking:
    """The newest calls of which nothing but what comes next can tell whom they serve."""

    def __init__(self) -> None:
        self.newest: Recent[str, Sought] = Recent()

    def note(self, sought: Sought) -> None:
        """Note a call that may be told of."""
        self.newest.put(sought.call_id, sought)
        if len(self.newest) > _MOST:
            self.newest.popitem(last=False)

    def told(self, new: NewCall, after: str | None, sent: int) -> tuple[list[Sought], Strength]:
        """Return, and forget, the calls whose text a request holds in its messages behind the first `sent`.

        Of one context the newest that it tells of and those that sought the same; of other contexts, if of its own none
        did, one of each api. `after` is the call that left before in the request's context.
        """
        reading = new.reading
        start = len(reading.prompt) - sum(reading.message_bytes[sent:])
        said = reading.prompt[start:]
        said = said[:LOOKED_AT_BYTES] + said[LOOKED_AT_BYTES:][-LOOKED_AT_BYTES:]
        said = said.replace(b"\\n", b" ")
        own = list(self._chain(after))
        found = _of_one_text([one for one in own if _tells(one, new, said, MIN_CHARS)])
        strength: Strength = "strong"
        if not found:
            others = [one for one in self.newest.values() if _tells(one, new, said, _MIN_TOLD)]
            found = list({one.api: one for one in _of_one_text(others[::-1])[::-1]}.values())
            strength = "weak"
        for one in found:
            self.newest.pop(one.call_id, None)
        return sorted(found, key=lambda one: one.started_at_ns), strength

    def _chain(self, after: str | None) -> Iterator[Sought]:
        """Yield the calls that left one before the other in a context, newest first."""
        while after and (one := self.newest.get(after)) is not None:
            yield one
            after = one.after


def asking_for(text: str, before: History | None, waiting: Sequence[History]) -> Host | None:
    """Return the tool call whose arguments say what is sought, the answer that does, or the tool call of the context.

    `before` is the call that left before in the context; of its tool calls those that run are looked at first.
    """
    own = [before] if before is not None and before.waits else []
    asking = _asking(text, own) or _asking(text, waiting) if text else []
    if asking:
        asked, id_ = asking[-1]
        return Host(asked.call_id, id_, asked.run, Edge("flow_arguments", "strong" if len(asking) == 1 else "weak"))
    if before is not None and len(text) >= SURE_CHARS:
        words, said = _on_one_line(text), _on_one_line(before.answer)
        if words in said:
            return Host(before.call_id, "", before.run, Edge("flow_arguments", "strong"))
        if len(said) >= _MIN_TOLD and said in words:
            return Host(before.call_id, "", before.run, Edge("flow_result", "strong"))
    running = [id_ for id_, call in before.open_tool_calls.items() if not call.answers] if before and own else []
    if before is None or not running:
        return None
    return Host(before.call_id, running[0], before.run, Edge("context", "weak" if text or running[1:] else "strong"))


def _asking(text: str, waiting: Sequence[History]) -> list[tuple[History, str]]:
    """Return the open tool calls that a text or a part of it stands in the arguments of, or that stand in it."""
    return [
        (one, id_)
        for one in waiting
        for id_, call in one.open_tool_calls.items()
        if not call.answers
        and any(said == text or _holds(said, text) or _holds(text, said) for said in map(str.strip, call.said))
    ]


def _on_one_line(text: str) -> str:
    """Return a text as many clients send it to be embedded."""
    return " ".join(text.split())


def _holds(text: str, part: str) -> bool:
    return len(part) >= SURE_CHARS and part in text


def _tells(one: Sought, new: NewCall, said: bytes, least: int) -> bool:
    recent = 0 <= new.started_at_ns - one.started_at_ns < _WINDOW_NS
    return (
        recent
        and one.run.scope_run_id == new.scope_run_id
        and len(one.text) >= least
        and contains(said, one.text.replace("\n", " "))
    )


def _of_one_text(found: list[Sought]) -> list[Sought]:
    """Return the first, and the others that sought the same."""
    return [one for one in found if one.text == found[0].text]
