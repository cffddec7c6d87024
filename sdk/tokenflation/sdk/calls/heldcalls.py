"""Calls whose host goes on with the answer before it is done with the stream: known here before they end.

A program that leaves a stream at its last reason, or asks again from within the loop that reads it, ends the call later
than it makes the next. Knows exchanges and what they say, nothing of where calls are placed.
"""

from collections.abc import Callable, Container, Iterable

from tokenflation.sdk.exchange import Exchange
from tokenflation.sdk.lineage import contains
from tokenflation.sdk.lineage.histories import Recent
from tokenflation.sdk.lineage.messages import MIN_ID_CHARS, last_answer
from tokenflation.sdk.records import Reading
from tokenflation.sdk.scoping.sentfrom import sent_from

__all__ = ["HeldCalls"]

_MAX_LOOKED_AT = 16
_MAX_LOOKS = 16
"""Times a stream is read to see whether it said its last reason: a call may leave behind each of its pieces."""

_Asked = tuple[bytes | None, bytes]
"""Hash of the last message of a request, and of its instructions."""


class HeldCalls:
    """Looks at the calls under way for those that another call goes on from; used by one thread at a time."""

    def __init__(
        self, under_way: Callable[[str | None], Iterable[Exchange]], read: Callable[[Exchange], Reading | None]
    ) -> None:
        """`under_way` gives the calls that have left and not ended, or the one of an id if it is one of them."""
        self._under_way = under_way
        self._read = read
        self._seen: Recent[str, _Asked] = Recent()
        self._looks: Recent[str, int] = Recent()

    def before(
        self, exchange: Exchange, reading: Reading, knows: Callable[[bytes], bool], placed: Container[str] = ()
    ) -> list[tuple[Exchange, Reading]]:
        """Return the calls under way that come before this one: it sends their answers again, or left behind them.

        `knows` tells of the hash of a message whether a call that is over ended with it; those in `placed` are left
        out.
        """
        answered = _answered(reading)
        after = sent_from(exchange).after
        told = answered is not None and not knows(answered)
        if not told and not after:
            return []
        found = []
        open_ = self._under_way(None if told else after)
        some = [one for one in open_ if one.chunks and one.started_at_ns < exchange.started_at_ns]
        some = [one for one in some if one.call_id not in placed]
        for one in some[-_MAX_LOOKED_AT:]:
            if told and self._asked(one) == (answered, reading.instructions_hash):
                said = self._read(one)
                said = said if said is not None and _is_sent_again(said, reading) else None
            elif one.call_id == after and self._looks.get(after, 0) < _MAX_LOOKS:
                self._looks.put(after, self._looks.get(after, 0) + 1)
                said = self._read(one)
                said = None if said is None or "error" in said.finish_reasons else said
            else:
                continue
            if said is not None and not said.fetched:
                found.append((one, said))
        return found

    def _asked(self, exchange: Exchange) -> _Asked:
        known = self._seen.get(exchange.call_id)
        if known is None:
            reading = self._read(exchange)
            hashes = reading.message_hashes if reading is not None else ()
            known = (hashes[-1] if hashes else None, reading.instructions_hash if reading is not None else b"")
            self._seen.put(exchange.call_id, known)
        return known


def _is_sent_again(said: Reading, reading: Reading) -> bool:
    """Return whether a request holds what an answer said so far, or the ids of its tool calls."""
    ids = [one.tool_call_id for one in said.tool_calls if len(one.tool_call_id) >= MIN_ID_CHARS]
    return contains(reading.prompt, said.answer) or any(id_.encode() in reading.prompt for id_ in ids)


def _answered(reading: Reading) -> bytes | None:
    """Return the hash of the last message before the last answer in a request; None where no answer is in it."""
    at, _ = last_answer(reading.message_roles)
    return reading.message_hashes[at - 1] if at else None
