"""What an answer says in its fields: an agent whose prompt is written anew for each step repeats it there.

Pure: readings and histories in, what they share out.
"""

from collections.abc import Iterable

from tokenflation.sdk.lineage.histories import History, NewCall, OpenCall, Run
from tokenflation.sdk.lineage.messages import contains, first_text
from tokenflation.sdk.records import Reading

__all__ = ["retold", "words_of"]

_MIN_WORDS = 24
_MAX_WORDS = 256
_OPENING = 24


def words_of(reading: Reading, asked: Iterable[OpenCall]) -> tuple[str, ...]:
    """Return the texts in an answer, or in a tool call that is one, that do not stand in the request.

    Those that do, as where something is picked from a document, may stand in any other.
    """
    told = [*reading.answer_said, *(text for call in asked if call.answers for text in call.said)]
    long = [text.strip()[:_MAX_WORDS] for text in told]
    return tuple(text for text in long if len(text) >= _MIN_WORDS and not contains(reading.prompt, text))


def retold(new: NewCall, recent: Iterable[Run]) -> History | None:
    """Return the newest call of the agent that goes on in a prompt that was written anew; None if none does.

    Such a prompt does not hold the answer as a message. It has the agent's instructions, begins as the one before did,
    and repeats words of the answer to that, which was not its last: who is told that is another agent.
    """
    reading, opening = new.reading, ""
    messages = reading.prompt[reading.system_bytes + reading.tool_definition_bytes :]
    found: list[History] = []
    for run in recent:
        history = run.newest
        if history is None or history.is_last or not history.words:
            continue
        if history.instructions_hash != reading.instructions_hash or run.scope_run_id != new.scope_run_id:
            continue
        if history.ended_at_ns > new.started_at_ns:
            continue
        opening = opening or first_text(reading)[:_OPENING]
        if len(opening) < _OPENING or not run.opening.startswith(opening):
            continue
        if any(contains(messages, text) for text in history.words):
            found.append(history)
    # Two agents may say the same: the one whose prompt began most like this.
    return max(found, key=lambda one: _shared(one.run.opening, first_text(reading)), default=None)


def _shared(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
