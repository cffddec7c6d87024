"""The five parts of an input in tokens: system prompt, tool definitions, re-sent history, tool results, new content.

They sum to the provider's count. A call that extends another keeps what that one had, so an estimate is needed for the
increment alone; what is learnt from increments and first calls makes the next estimate better. Memory is bounded: the
calls and models longest not heard of are forgotten. Used by one thread at a time; knows nothing of storage.
"""

from collections import OrderedDict
from collections.abc import Sequence
from operator import add

from msgspec import Struct

from tokenflation.sdk.records import Reading
from tokenflation.sdk.tokens.exact import ExactCounter, require_splintr, vocabulary_of
from tokenflation.sdk.tokens.factors import KINDS, TOOL_SHARE, TOOLS, Factors, plausible, tokens_by_kind, tool_tokens
from tokenflation.sdk.wire import split
from tokenflation.sdk.wire.texts import texts

__all__ = ["Parts", "Splitter"]

_MAX_MODELS = 64
_MAX_CALLS = 4096
_OPENING = 0.75  # of a message: the marks that open the answer, once a prompt


class Parts(Struct, frozen=True, kw_only=True):
    """The input of one call in tokens, by part; see `Splitter.take`."""

    system: int
    tool_definition: int
    resent: int
    tool_result: int
    new: int
    method: str
    """`bytes`: estimated from bytes by content kind; `learnt`: the same with learnt factors; `tokenizer`: counted."""


class _Known(Struct, frozen=True):
    """What a call leaves for the one that extends it."""

    total: int
    fixed: tuple[int, int]
    instructions_hash: bytes
    messages: int


class _Region(Struct, frozen=True):
    """Texts of one part and how many messages they stand in."""

    texts: list[str]
    messages: float


_NOTHING = _Region([], 0)


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
        self._instructions: OrderedDict[bytes, tuple[list[float], float]] = OrderedDict()
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
        kept = reading.previous_response_id or (reading.conversation_id and continues)
        if total is None or kept or not reading.message_bytes:
            return None
        if not reading.prompt:
            return _by_size(reading, total, sent)
        model = reading.response_model or reading.model or ""
        scale = self._counter(model) or self.factors(reading.provider, model)
        known = self._calls.get(continues or "")
        if known is not None and (known.messages > sent or known.instructions_hash != reading.instructions_hash):
            known = None
        parts = _increment(reading, total, sent, known, scale, self.learning) if known is not None else None
        if parts is None:
            parts = self._whole(reading, total, sent, scale)
        self._calls[call_id] = _Known(
            total, (parts.system, parts.tool_definition), reading.instructions_hash, len(reading.message_bytes)
        )
        if len(self._calls) > _MAX_CALLS:
            self._calls.popitem(last=False)
        return parts

    def _whole(self, reading: Reading, total: int, sent: int, scale: ExactCounter | Factors) -> Parts:
        """Return the parts of a call of which nothing is known but its own count."""
        regions = _messages(reading, 0, sent)
        last = 2 if regions[2].messages else 1 if regions[1].messages else 0
        regions[last] = _Region(regions[last].texts, regions[last].messages + _OPENING)
        weights, by_kind, method = _weighed(regions, scale)
        if isinstance(scale, ExactCounter):
            system, definitions = _instructions(reading)
            fixed = [float(scale.tokens(system, 1)) if system else 0.0]
            rest = total - sum(weights) - fixed[0]
            fixed.append(_definition_tokens(scale.tokens([definitions]), rest) if definitions else 0.0)
        else:
            of_system, of_tools = self._estimated_instructions(reading)
            fixed = [scale.tokens(of_system), scale.factors[TOOLS] * of_tools]
            if self.learning:
                by_kind = list(map(add, by_kind, of_system))
                by_kind[TOOLS] = of_tools
                scale.observe(by_kind, total)
        shares = _split(total, fixed + weights)
        return Parts(
            system=shares[0],
            tool_definition=shares[1],
            resent=shares[2],
            tool_result=shares[3],
            new=shares[4],
            method=method,
        )

    def _estimated_instructions(self, reading: Reading) -> tuple[list[float], float]:
        """Return the first estimates of the system prompt and of the tool definitions; one agent's calls share them."""
        key = reading.instructions_hash
        found = self._instructions.get(key)
        if found is None:
            system, definitions = _instructions(reading)
            estimate = tokens_by_kind(system, 1) if system else [0.0] * len(KINDS)
            found = self._instructions[key] = (estimate, tool_tokens(definitions))
            if len(self._instructions) > _MAX_CALLS:
                self._instructions.popitem(last=False)
        return found

    def _counter(self, model: str) -> ExactCounter | None:
        vocabulary = vocabulary_of(model) if self._exact else None
        if vocabulary is not None and vocabulary not in self._counters:
            self._counters[vocabulary] = ExactCounter(vocabulary)
        return self._counters[vocabulary] if vocabulary is not None else None


def _increment(reading: Reading, total: int, sent: int, known: _Known, scale: ExactCounter | Factors,
               learning: bool) -> Parts | None:  # fmt: skip
    """Return the parts of a call that extends a known one, or None where the counts of the two contradict that."""
    more = total - known.total
    if more < 0:
        return None
    regions = _messages(reading, known.messages, sent)
    weights, by_kind, method = _weighed(regions, scale)
    if not plausible(sum(weights), more):
        return None
    if learning and by_kind and isinstance(scale, Factors):
        scale.observe(by_kind, more)
    answer, results, new = _split(more, weights)
    return Parts(
        system=known.fixed[0],
        tool_definition=known.fixed[1],
        resent=known.total - sum(known.fixed) + answer,
        tool_result=results,
        new=new,
        method=method,
    )


def _instructions(reading: Reading) -> tuple[list[str], str]:
    """Return the texts of the system prompt, and the tool definitions as they are."""
    at, end = reading.system_bytes, reading.system_bytes + reading.tool_definition_bytes
    system = texts([reading.prompt[:at]]) if at else []
    return system, reading.prompt[at:end].decode("utf-8", "replace")


def _weighed(regions: Sequence[_Region], scale: ExactCounter | Factors) -> tuple[list[float], list[float], str]:
    """Return the tokens of each region, the first estimate of all of them by kind, and how that was done."""
    if isinstance(scale, ExactCounter):
        return [float(scale.tokens(one.texts, one.messages)) for one in regions], [], "tokenizer"
    weights = []
    whole: list[float] = []
    for region in regions:
        if not region.messages:
            weights.append(0.0)
            continue
        by_kind = tokens_by_kind(region.texts, region.messages)
        weights.append(scale.tokens(by_kind))
        whole = list(map(add, whole, by_kind)) if whole else by_kind
    return weights, whole or [0.0] * len(KINDS), "learnt" if scale.learnt else "bytes"


def _by_size(reading: Reading, total: int, sent: int) -> Parts:
    """Return the parts of a call whose prompt is no longer held, in proportion to its bytes."""
    sizes = [reading.system_bytes, reading.tool_definition_bytes, 0, 0, 0]
    for position, (size, role) in enumerate(zip(reading.message_bytes, reading.message_roles, strict=True)):
        sizes[2 if position < sent else 3 if role == "tool" else 4] += size
    system, tools, resent, results, new = split(total, sizes)
    return Parts(system=system, tool_definition=tools, resent=resent, tool_result=results, new=new, method="bytes")


def _definition_tokens(written: int, rest: float) -> float:
    """Return the tokens of tool definitions whose JSON has `written`: what the rest of the prompt leaves, if it can be.

    Providers write definitions anew before the model reads them, in ways they do not publish; all else is counted.
    """
    return rest if 0.4 * written <= rest <= 1.5 * written else TOOL_SHARE * written


def _messages(reading: Reading, start: int, sent: int) -> list[_Region]:
    """Return the messages from `start`: those sent or answered before, later tool results, other later ones."""
    sizes, roles, prompt = reading.message_bytes, reading.message_roles, reading.prompt
    if start == sent == 0 and len(sizes) == 1:  # one question: most calls of simple programs
        only = _Region(texts([prompt[len(prompt) - sizes[0] :]]), 1)
        return [_NOTHING, only, _NOTHING] if roles[0] == "tool" else [_NOTHING, _NOTHING, only]
    groups: tuple[list[bytes], list[bytes], list[bytes]] = ([], [], [])
    at = len(prompt) - sum(sizes[start:])
    for position in range(start, len(sizes)):
        end = at + sizes[position]
        groups[0 if position < sent else 1 if roles[position] == "tool" else 2].append(prompt[at:end])
        at = end
    return [_Region(texts(group), len(group)) if group else _NOTHING for group in groups]


def _split(total: int, weights: Sequence[float]) -> list[int]:
    """Return the total in proportion to weights, to a thousandth of a token."""
    return split(total, [int(1000 * weight + 0.5) for weight in weights])
