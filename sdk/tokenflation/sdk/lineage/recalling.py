"""Finds, among thousands, who said what a text repeats: by pieces of 16 bytes. Pure, bounded.

A text of 23 bytes and more has, from one of 8 neighbouring places on, a piece that begins where a text that repeats it
is looked at: at each 8th byte. What is found has one piece in common, no more; who asks compares the rest.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from tokenflation.sdk.lineage.histories import History, Recent, Run
from tokenflation.sdk.wire.values import dumps

__all__ = ["Alike", "Near", "RecentRuns", "Sayings", "Waiting"]

_PIECE = 16
_STRIDE = 8
_ESCAPE = b"\\"
_LEAST = _PIECE + _STRIDE - 1
_MAX_ALIKE = 512
_MAX_PIECES = 16_384
_MAX_TEXTS = 16
_RECENT_RUNS = 16
_MANY_WAIT = 64

K = TypeVar("K")
T = TypeVar("T")
Near = Callable[[bytes, int], Iterable[Run]]
"""Returns the agent runs, heard of since then, of which a text may tell."""


class Sayings(Generic[T]):
    """Who said what, by pieces."""

    def __init__(self) -> None:
        self._new: dict[bytes, list[T]] = {}
        """Piece -> who said it, oldest first: of the newest."""
        self._old: dict[bytes, list[T]] = {}
        """Likewise, of those before, all forgotten at once."""
        self._puts = 0

    def put(self, one: T, texts: Iterable[str]) -> None:
        """Note what somebody said."""
        pieces = self._new
        for text in texts:
            # As it stands in any JSON: between escapes. Texts of one kind begin and end alike.
            plain = dumps(text)[1:-1]
            if _ESCAPE in plain:
                plain = max(plain.split(_ESCAPE), key=len)
            spare = len(plain) - _LEAST
            for at in range(spare // 2, spare // 2 + _STRIDE) if spare >= 0 else ():
                pieces.setdefault(plain[at : at + _PIECE], []).append(one)
        self._puts += 1
        if self._puts >= Recent.room or len(pieces) >= _MAX_PIECES:
            self._new, self._old, self._puts = {}, pieces, 0

    def find(self, text: bytes) -> Iterable[T]:
        """Return those of whom a text may repeat something; of many who said the same the newest."""
        new, old = self._new, self._old
        places = range(0, len(text) - _PIECE + 1, _STRIDE)
        pieces = [piece for at in places if (piece := text[at : at + _PIECE]) in new or piece in old]
        if not pieces:
            return ()
        return {one: None for piece in pieces for said in (old, new) for one in said.get(piece, ())[-_MAX_ALIKE:]}


def _told_by(history: History) -> Iterable[str]:
    """Return the texts by which a call is known again: its answer, or what it asked of its tools."""
    if not history.open_tool_calls:
        return (history.answer, *history.words)
    asked = [text for id_, call in history.open_tool_calls.items() for text in (id_, *call.said)]
    return (history.answer, *history.words, *asked[:_MAX_TEXTS])


class Alike(Generic[K]):
    """Calls by what they have in common; a batch of equal tasks has any number of them at once."""

    def __init__(self) -> None:
        self._by_key: Recent[K, list[History]] = Recent()
        self.get = self._by_key.get
        self._equals: deque[K] = deque()
        """The keys of those that are not the first with that key, oldest first."""

    def __contains__(self, key: K) -> bool:
        return key in self._by_key

    def put(self, key: K, history: History) -> None:
        """Note a call."""
        same = self._by_key.get(key)
        if same is None:
            self._by_key.put(key, [history])
            return
        same.append(history)
        self._by_key.move_to_end(key)
        if len(same) > _MAX_ALIKE:
            del same[0]
            return
        self._equals.append(key)
        if len(self._equals) > Recent.room:
            oldest = self._by_key.get(self._equals.popleft(), [])
            del oldest[: len(oldest) > 1]


class Waiting:
    """The newest calls of agent runs that wait for tools, by run."""

    def __init__(self) -> None:
        self._by_run: Recent[str, History] = Recent()
        self.get = self._by_run.get
        self._said: Sayings[History] = Sayings()
        self._are_many = False

    def __bool__(self) -> bool:
        return bool(self._by_run)

    def put(self, history: History) -> None:
        """Note that an agent run waits."""
        self._by_run.put(history.run.run_id, history)
        if len(self._by_run) <= _MANY_WAIT:
            self._are_many = False
            return
        for one in (history,) if self._are_many else self._by_run.values():
            self._said.put(one, (one.run.opening, *one.run.results[-1:], *_told_by(one)))
        self._are_many = True

    def pop(self, run_id: str) -> None:
        """Note that an agent run waits no more."""
        self._by_run.pop(run_id, None)

    def all(self) -> list[History]:
        """Return all of them, longest silent first."""
        return list(self._by_run.values())

    def near(self, text: bytes) -> list[History]:
        """Return the newest of them, and of the others those of which a text may tell, longest silent first."""
        if len(self._by_run) <= _MANY_WAIT:
            return self.all()
        told = set(self._said.find(text))
        waiting = self.all()
        return [one for one in waiting[:-_MANY_WAIT] if one in told] + waiting[-_MANY_WAIT:]


class RecentRuns:
    """The agent runs heard of last, and those before by what they said last."""

    def __init__(self) -> None:
        self._newest: deque[Run] = deque()
        """Longest silent first; a run stands in it once."""
        self._before: Sayings[Run] = Sayings()
        self._before_ns = 0
        """When the last of those before was heard of."""

    def put(self, run: Run) -> None:
        """Note that an agent run was heard of."""
        if run in self._newest:
            self._newest.remove(run)
        elif len(self._newest) == _RECENT_RUNS:
            first = self._newest.popleft()
            if first.newest is not None:
                self._before.put(first, _told_by(first.newest))
                self._before_ns = max(self._before_ns, first.newest.ended_at_ns)
        self._newest.append(run)

    def near(self, text: bytes, since_ns: int) -> list[Run]:
        """Return agent runs, newest first: the last 16, and of those heard of since then whom a text may tell of."""
        newest = list(reversed(self._newest))
        found = self._before.find(text) if self._before_ns >= since_ns else ()
        if not found:
            return newest
        ended = {run: run.newest.ended_at_ns for run in found if run.newest is not None}
        before = [run for run in ended if ended[run] >= since_ns and run not in newest]
        return newest + sorted(before, key=ended.__getitem__, reverse=True)
