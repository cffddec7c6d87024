"""The five parts of an input in tokens: system prompt, tool definitions, re-sent history, tool results, new content.

They sum to the provider's count. A call that extends another keeps what that one had, so an estimate is needed for the
increment alone; what is learnt from increments and first calls makes the next estimate better. Memory is bounded: the
calls and models longest not heard of are forgotten. Used by one thread at a time; knows nothing of storage.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from tokenflation.sdk.exact import ExactCounter, require_splintr, vocabulary_of
from tokenflation.sdk.factors import TOOL_SHARE, Factors, plausible, tokens_by_kind, tool_tokens
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


@dataclass(frozen=True, slots=True)
class _Region:
    """Texts of one part and how many messages they stand in."""

    texts: list[str]
    messages: int


class Splitter:
    """Remembers models' factors and the parts of recent calls."""

    def __init__(self, *, exact: bool = False) -> None:
        """`exact` counts with the model's own vocabulary where that is public.

        Raises:
            MissingExtra: `exact` without the extra `tokens`.
        """
        self.learning = True
        """Whether reported counts change the factors."""
        self._exact = exact
        self._factors: OrderedDict[tuple[str, str], Factors] = OrderedDict()
        self._calls: OrderedDict[str, _Known] = OrderedDict()
        self._counters: dict[str, ExactCounter] = {}
        if exact:
            require_splintr()

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
        model = reading.response_model or reading.model or ""
        scale = self._counter(model) or self.factors(reading.provider, model)
        known = self._calls.get(continues or "")
        if known is not None and (known.messages > sent or known.instructions_hash != reading.instructions_hash):
            known = None
        parts = _increment(reading, total, sent, known, scale, self.learning) if known is not None else None
        if parts is None:
            parts = _whole(reading, total, sent, scale, self.learning)
        self._calls[call_id] = _Known(
            total, (parts.system, parts.tool_definition), reading.instructions_hash, len(reading.message_bytes)
        )
        if len(self._calls) > _MAX_CALLS:
            self._calls.popitem(last=False)
        return parts

    def _counter(self, model: str) -> ExactCounter | None:
        vocabulary = vocabulary_of(model) if self._exact else None
        if vocabulary is not None and vocabulary not in self._counters:
            self._counters[vocabulary] = ExactCounter(vocabulary)
        return self._counters[vocabulary] if vocabulary is not None else None


def _increment(reading: Reading, total: int, sent: int, known: _Known, scale: ExactCounter | Factors,
               learning: bool) -> Parts | None:  # fmt: skip
    """Return the parts of a call that extends a known one, or None where the counts of the two contradict that."""
    regions = _messages(reading, known.messages, sent)
    more = total - known.total
    if more < 0:
        return None
    if isinstance(scale, ExactCounter):
        weights, method = [float(scale.tokens(one.texts, one.messages)) for one in regions], "tokenizer"
        if not plausible(sum(weights), more):
            return None
    else:
        method = "learnt" if scale.learnt else "bytes"
        estimates = [tokens_by_kind(one.texts, one.messages) for one in regions]
        weights = [scale.tokens(one) for one in estimates]
        if not plausible(sum(weights), more):
            return None
        if learning:
            scale.observe(_sum(estimates), more)
    answer, results, new = _split(more, weights)
    return Parts(
        system=known.fixed[0],
        tool_definition=known.fixed[1],
        resent=known.total - sum(known.fixed) + answer,
        tool_result=results,
        new=new,
        method=method,
    )


def _whole(reading: Reading, total: int, sent: int, scale: ExactCounter | Factors, learning: bool) -> Parts:
    """Return the parts of a call of which nothing is known but its own count."""
    tools_at, messages_at = reading.system_bytes, reading.system_bytes + reading.tool_definition_bytes
    system = _Region(texts([reading.prompt[:tools_at]]), 1) if tools_at else _Region([], 0)
    definitions = reading.prompt[tools_at:messages_at].decode("utf-8", "replace")
    regions = [system, *_messages(reading, 0, sent)]
    if isinstance(scale, ExactCounter):
        weights, method = [float(scale.tokens(one.texts, one.messages)) for one in regions], "tokenizer"
        weights.insert(1, _definition_tokens(scale.tokens([definitions]), total - sum(weights)))
    else:
        method = "learnt" if scale.learnt else "bytes"
        estimates = [tokens_by_kind(one.texts, one.messages) for one in regions]
        estimates.insert(1, tool_tokens(definitions))
        weights = [scale.tokens(one) for one in estimates]
        if learning:
            scale.observe(_sum(estimates), total)
    shares = _split(total, weights)
    return Parts(
        system=shares[0],
        tool_definition=shares[1],
        resent=shares[2],
        tool_result=shares[3],
        new=shares[4],
        method=method,
    )


def _definition_tokens(written: int, rest: float) -> float:
    """Return the tokens of tool definitions whose JSON has `written`: what the rest of the prompt leaves, if it can be.

    Providers write definitions anew before the model reads them, in ways they do not publish; all else is counted.
    """
    return rest if 0.4 * written <= rest <= 1.5 * written else TOOL_SHARE * written


def _messages(reading: Reading, start: int, sent: int) -> list[_Region]:
    """Return the messages from `start`: those sent or answered before, later tool results, other later ones."""
    sizes, roles = reading.message_bytes, reading.message_roles
    ends = list(accumulate(sizes[start:], initial=len(reading.prompt) - sum(sizes[start:])))
    pieces = [reading.prompt[ends[at] : ends[at + 1]] for at in range(len(ends) - 1)]
    later = list(zip(roles[sent:], pieces[sent - start :], strict=True))
    groups = (
        pieces[: sent - start],
        [piece for role, piece in later if role == "tool"],
        [piece for role, piece in later if role != "tool"],
    )
    return [_Region(texts(group) if group else [], len(group)) for group in groups]


def _sum(estimates: Sequence[Sequence[float]]) -> list[float]:
    return list(map(sum, zip(*estimates, strict=True)))


def _split(total: int, weights: Sequence[float]) -> list[int]:
    """Return the total in proportion to weights, to a thousandth of a token."""
    return split(total, [round(1000 * weight) for weight in weights])
