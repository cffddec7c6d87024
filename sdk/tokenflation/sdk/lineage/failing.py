"""Calls that failed or were broken off, for the same question put again: perhaps to another model, in another dialect.

Pure. Bounded.
"""

from hashlib import blake2b

from msgspec import Struct

from tokenflation.sdk.lineage.heads import head_of
from tokenflation.sdk.lineage.histories import Recent
from tokenflation.sdk.lineage.messages import pieces
from tokenflation.sdk.lineage.places import Placement
from tokenflation.sdk.records import Reading
from tokenflation.sdk.scoping.scopes import Scope
from tokenflation.sdk.wire.texts import texts

__all__ = ["Failed", "Failures"]

_WINDOW_NS = 60_000_000_000
_ONE_QUESTION = ("user",)

_Question = tuple[str, bytes, bytes]
"""Scope, instructions and messages: what two calls that ask the same in the same place have in common."""


class Failed(Struct, frozen=True):
    """A call that failed."""

    call_id: str
    placement: Placement
    ended_at_ns: int
    question: _Question
    api: str


class Failures:
    """The calls that failed last, by what they asked."""

    def __init__(self) -> None:
        self.known: Recent[_Question, Failed] = Recent()
        self._in_words: Recent[_Question, Failed] = Recent()
        """Likewise, by the first words of the instructions and the text of the question: as any dialect has them."""
        self._newest_ns = 0

    def note(self, reading: Reading, placement: Placement, call_id: str, scope: Scope | None,
             ended_at_ns: int) -> bool:  # fmt: skip
        """Remember a call that failed; return whether it asked something."""
        if not reading.message_hashes:
            return False
        question = _question(reading, scope)
        failed = Failed(call_id, placement, ended_at_ns, question, reading.api)
        self.known.put(question, failed)
        if (words := _in_words(reading, scope)) is not None:
            self._in_words.put(words, failed)
        self._newest_ns = max(self._newest_ns, ended_at_ns)
        return True

    def forget(self, reading: Reading, scope: Scope | None) -> None:
        """Note that a call has answered."""
        if reading.message_hashes:
            self.known.pop(_question(reading, scope), None)

    def take(self, reading: Reading, scope: Scope | None, started_at_ns: int) -> Failed | None:
        """Return, and forget, the call that asked the same and failed within a minute before this one left, if one did.

        What left before the failure came back is an equal call made beside it.
        """
        if not reading.message_hashes or started_at_ns - self._newest_ns >= _WINDOW_NS:
            return None
        failed = self.known.get(_question(reading, scope)) or self._elsewhere(reading, scope)
        if failed is None or not 0 <= started_at_ns - failed.ended_at_ns < _WINDOW_NS:
            return None
        del self.known[failed.question]
        return failed

    def _elsewhere(self, reading: Reading, scope: Scope | None) -> Failed | None:
        """Return the call of another dialect that asked the same and that nothing has answered for."""
        words = _in_words(reading, scope)
        failed = self._in_words.get(words) if words is not None else None
        if failed is None or failed.api == reading.api or self.known.get(failed.question) is not failed:
            return None
        return failed


def _question(reading: Reading, scope: Scope | None) -> _Question:
    return scope.span_id if scope else "", reading.instructions_hash, reading.message_hashes[-1]


def _in_words(reading: Reading, scope: Scope | None) -> _Question | None:
    """Return what a call of one question asks, whoever writes it down; None for a history, whose answer tells."""
    if reading.message_roles != _ONE_QUESTION:
        return None
    said = "\n".join(texts(pieces(reading, 0, 1)))
    digest = blake2b(said.encode("utf-8", "replace"), digest_size=16).digest()
    return (scope.span_id if scope else "", head_of(reading), digest) if said else None
