"""What the documents of one answer have said so far. Knows no dialect."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field

__all__ = [
    "MAX_ANSWER",
    "CallKey",
    "Facts",
    "SeenCall",
    "note_answer",
    "note_pieces",
    "signature",
]

MAX_ANSWER = 512
"""Characters kept of an answer: enough to know it again."""
_SHORTEST_REPEAT = 16
_MAX_CHOICES = 128
"""More choices than a request may ask for are not compared with what they were before each document."""

CallKey = tuple[int, str]
"""(choice, id); with `n` choices, several of them may use one id."""


class SeenCall(Struct):
    """A tool call as far as it has been seen."""

    tool_call_id: str
    name: str
    server: bool
    lasting: str | None = None
    """Another id of it, where the provider changes `tool_call_id` from event to event."""
    arguments_bytes: int | None = None
    arguments: Any = None
    """As they stood in one piece, if they ever did; then they count, not those that came before."""
    streamed: list[str] = field(default_factory=list)
    pieces: bool = False
    """`arguments_bytes` counts streamed pieces; before the first of them it is the opening's empty object."""
    counts: dict[str, int] = field(default_factory=dict)
    """Tokens that it took beside the answer's, by their names in `extra`."""
    document: int = 0
    slot: tuple[int, int] = (0, 0)
    """Where it was last seen: in which document, at which place."""


class Facts(Struct):
    """What the documents of one answer have said so far."""

    model: str | None = None
    response_id: str | None = None
    kept: Any = None
    usage: dict[str, Any] = field(default_factory=dict)
    apart: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Number of an answer -> its usage object, where several come together that are counted apart."""
    over: set[int] = field(default_factory=set)
    """Numbers of those that said they are whole."""
    finish: dict[int, str | None] = field(default_factory=dict)
    """Choice -> why it ended, None while it has not."""
    calls: dict[CallKey, SeenCall] = field(default_factory=dict)
    slots: dict[tuple[int, int], CallKey] = field(default_factory=dict)
    """(choice, number in the stream) -> the tool call there."""
    error: str | None = None
    failed: str | None = None
    marked: bool = False
    """Something stood at the mark of its dialect."""
    ended: bool = False
    """The answer said that it is whole."""
    terminated: bool = False
    """The terminator came: what follows it is no part of the answer."""
    first_token_ns: int | None = None
    first_answer_ns: int | None = None
    documents: int = 0
    counted: int = 0
    """Usage objects seen."""
    counted_in: int = 0
    """The last document with counts, from 1; 0 while there was none."""
    finished_in: int = 0
    """The last document in which a choice ended."""
    noted_calls: int = 0
    """Pieces of tool calls seen."""
    reasoning: set[tuple[int, int]] = field(default_factory=set)
    """(choice, place) of the pieces of reasoning."""
    answer: list[str] = field(default_factory=list)
    answer_chars: int = 0
    noted_answers: int = 0
    """Pieces of the answer seen."""
    extra: dict[str, Any] = field(default_factory=dict)


def signature(facts: Facts) -> tuple[Any, ...]:
    """Return all that the facts say but the usage: equal before and after a document that said nothing new."""
    finish: Any = facts.finish
    return (
        facts.model,
        facts.response_id,
        tuple(finish.items()) if len(finish) <= _MAX_CHOICES else object(),
        facts.noted_calls,
        facts.error,
        facts.failed,
        facts.ended,
        facts.terminated,
        facts.first_token_ns,
        facts.first_answer_ns,
        tuple(facts.extra.items()),
    )


def note_answer(facts: Facts, content: str) -> None:
    """Add a piece to the beginning of the answer."""
    facts.noted_answers += 1
    repeats = facts.answer_chars >= _SHORTEST_REPEAT and len(content) >= facts.answer_chars
    if repeats and content.startswith("".join(facts.answer)):
        facts.answer.clear()
        facts.answer_chars = 0
    facts.answer.append(content)
    facts.answer_chars += len(content)


def note_pieces(facts: Facts, pieces: Sequence[bytes]) -> None:
    """Add pieces that follow one another, as `note_answer` does each of them.

    Raises:
        UnicodeDecodeError: a piece is no UTF-8; then none is added.
    """
    whole = b"".join(pieces)
    if not whole.isascii() or max(map(len, pieces), default=0) >= _SHORTEST_REPEAT:
        for text in [piece.decode() for piece in pieces]:
            if text and facts.answer_chars < MAX_ANSWER:
                note_answer(facts, text)
    elif whole and facts.answer_chars < MAX_ANSWER:  # none is so long that it might repeat what came before
        facts.noted_answers += 1
        facts.answer.append(whole.decode())
        facts.answer_chars += len(whole)
