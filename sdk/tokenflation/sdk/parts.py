"""The five parts of an input in tokens: system prompt, tool definitions, re-sent history, tool results, new content.

They sum to the provider's count. A call that extends another keeps what that one had, so an estimate is needed for the
increment alone; what is learnt from increments and first calls makes the next estimate better. Memory is bounded: the
calls and models longest not heard of are forgotten. Used by one thread at a time; knows nothing of storage.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from tokenflation.sdk.factors import Factors, tokens_by_kind, tool_tokens
from tokenflation.sdk.records import Reading
from tokenflation.sdk.wire import split
from tokenflation.sdk.wire.texts import texts

__all__ = ["Parts", "Splitter"]

_MAX_MODELS = 64
_MAX_CALLS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The input of one call in tokens, by part; see `Splitter.take`."""

    system: int
    tool_definition: int
    resent: int
    tool_result: int
    new: int
    method: str
    """`bytes`: estimated from bytes by content kind; `learnt`: the same with learnt factors; `tokenizer`: counted."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What a call leaves for the one that extends it."""

    total: int
    fixed: tuple[int, int]
    instructions_hash: bytes
    messages: int


class Splitter:
    """Remembers models' factors and the parts of recent calls."""

    def __init__(self) -> None:
        self._factors: OrderedDict[tuple[str, str], Factors] = OrderedDict()
        self._calls: OrderedDict[str, _Known] = OrderedDict()

    def factors(self, provider: str, model: str) -> Factors:
        """Return the factors of a model, made on first asking."""
        key = provider, model
        found = self._factors.get(key)
        if found is None:
            found = self._factors[key] = Factors()
            if len(self._factors) > _MAX_MODELS:
                self._factors.popitem(last=False)
        else:
            self._factors.move_to_end(key)
        return found

    def take(self, reading: Reading, call_id: str, *, sent: int, continues: str | None) -> Parts | None:
        """Return the parts of a call's input, and learn from its count.

        `sent` leading messages were sent or answered before, by the call `continues` or one before it. None where the
        count is not reported, and where part of the history is not in the request: nothing is invented for it.
        """
        total = reading.usage.input_tokens
        if total is None or reading.previous_response_id or not reading.message_bytes:
            return None
        factors = self.factors(reading.provider, reading.response_model or reading.model or "")
        known = self._calls.get(continues or "")
        if known is not None and (known.messages > sent or known.instructions_hash != reading.instructions_hash):
            known = None
        parts = _increment(reading, total, sent, known, factors) if known is not None else None
        if parts is None:
            parts = _whole(reading, total, sent, factors)
        self._calls[call_id] = _Known(
            total, (parts.system, parts.tool_definition), reading.instructions_hash, len(reading.message_bytes)
        )
        if len(self._calls) > _MAX_CALLS:
            self._calls.popitem(last=False)
        return parts


def _increment(reading: Reading, total: int, sent: int, known: _Known, factors: Factors) -> Parts | None:
    """Return the parts of a call that extends a known one, or None where the counts of the two contradict that."""
    answer, results, new = _messages(reading, known.messages, sent)
    by_kind = list(map(sum, zip(answer, results, new, strict=True)))
    more = total - known.total
    if more < 0 or not factors.agrees(by_kind, more):
        return None
    learnt = factors.learnt
    shares = _split(more, [factors.tokens(one) for one in (answer, results, new)])
    factors.observe(by_kind, more)
    return Parts(
        system=known.fixed[0],
        tool_definition=known.fixed[1],
        resent=known.total - sum(known.fixed) + shares[0],
        tool_result=shares[1],
        new=shares[2],
        method="learnt" if learnt else "bytes",
    )


def _whole(reading: Reading, total: int, sent: int, factors: Factors) -> Parts:
    """Return the parts of a call of which nothing is known but its own count."""
    tools_at, messages_at = reading.system_bytes, reading.system_bytes + reading.tool_definition_bytes
    estimates = [
        tokens_by_kind(texts([reading.prompt[:tools_at]]), 1) if tools_at else [0.0] * 9,
        tool_tokens(reading.prompt[tools_at:messages_at]),
        *_messages(reading, 0, sent),
    ]
    learnt = factors.learnt
    shares = _split(total, [factors.tokens(one) for one in estimates])
    factors.observe(list(map(sum, zip(*estimates, strict=True))), total)
    system, tools, resent, results, new = shares
    return Parts(
        system=system, tool_definition=tools, resent=resent, tool_result=results, new=new,
        method="learnt" if learnt else "bytes",
    )  # fmt: skip


def _messages(reading: Reading, start: int, sent: int) -> tuple[list[float], list[float], list[float]]:
    """Return the first estimates of the messages from `start`: those sent before, later tool results, other later ones."""
    sizes, roles = reading.message_bytes, reading.message_roles
    ends = list(accumulate(sizes[start:], initial=len(reading.prompt) - sum(sizes[start:])))
    pieces = [reading.prompt[ends[at] : ends[at + 1]] for at in range(len(ends) - 1)]
    later = list(zip(roles[sent:], pieces[sent - start :], strict=True))
    groups: tuple[Sequence[bytes], ...] = (
        pieces[: sent - start],
        [piece for role, piece in later if role == "tool"],
        [piece for role, piece in later if role != "tool"],
    )
    resent, results, new = (tokens_by_kind(texts(group), len(group)) if group else [0.0] * 9 for group in groups)
    return resent, results, new


def _split(total: int, weights: Sequence[float]) -> list[int]:
    """Return the total in proportion to weights, to a thousandth of a token."""
    return split(total, [round(1000 * weight) for weight in weights])
