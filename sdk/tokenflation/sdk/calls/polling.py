"""Responses that were not finished when their request was answered, until a later GET shows them finished.

A background response is answered at once, queued and without usage; each GET of it then repeats what is known so far,
the same usage every time once it is there. So usage belongs to the response, not to the exchange: it is counted once,
on the call that created the response, by the GET (or the resumed stream, or the answer to a cancel) that first shows it
finished. A GET is never a call and never an attempt. A GET of a response that finished before, or that somebody else
created (another process, another day), adds nothing, and nothing is lost by it: the row is its creator's to write.
A host may fetch a response before it lets go of the stream that created it: then the GET is remembered for the stream.

Bounded: of more than `MAX_UNFINISHED` responses the longest untouched is given up, and of more than `MAX_PROMPT_BYTES`
of prompts the oldest are let go, which costs those rows their prefix blocks only. Pure; knows nothing of HTTP.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from msgspec.structs import replace

from tokenflation.sdk.exchange import Exchange
from tokenflation.sdk.records import Reading, ToolCall

__all__ = [
    "MAX_PROMPT_BYTES",
    "MAX_UNFINISHED",
    "Polls",
    "Unfinished",
    "awaits_poll",
    "id_in",
    "may_be_polled",
    "merged",
    "shows_finished",
]


MAX_UNFINISHED = 1024
MAX_PROMPT_BYTES = 64 * 1024 * 1024
_MAX_EARLY = 128
_UNFINISHED: Mapping[str, frozenset[str]] = {
    # platform.openai.com/docs/api-reference/responses/object, /runs/object: status; ai.google.dev/api/interactions-api
    "openai.responses": frozenset({"queued", "in_progress"}),
    "openai.assistants.run": frozenset({"queued", "in_progress", "requires_action", "cancelling"}),
    "google.interactions": frozenset({"in_progress"}),
    "replicate.predictions": frozenset({"starting", "processing"}),
}
"""Apis whose answers may be fetched later, and what they call one that goes on."""
_POLL = ".retrieve"
_ACTIONS = frozenset({"cancel", "submit_tool_outputs"})

T = TypeVar("T")


@dataclass(slots=True)
class Unfinished(Generic[T]):
    """A response that a GET may still show finished."""

    reading: Reading
    """What the request and the answer to it said."""
    kept: T
    """Whatever the caller wants back then."""
    polls: int = 0
    """GETs of it so far."""


def may_be_polled(exchange: Exchange, reading: Reading) -> bool:
    """Return whether a GET may show the response to a request finished that its own answer did not."""
    if reading.api not in _UNFINISHED or reading.response_id is None:
        return False
    broke = reading.stream and (reading.status == "cut" or exchange.end in ("failed", "cancelled"))
    return broke or _goes_on(reading)


def awaits_poll(exchange: Exchange, reading: Reading) -> bool:
    """Return whether a GET is expected of a response that may be polled: it was queued, or streams in the background.

    Any other stored stream that was cut may be fetched later too, but hardly ever is.
    """
    background = b'"background"' in (exchange.request_body or b"")
    return _goes_on(reading) or background


def shows_finished(exchange: Exchange, reading: Reading) -> bool:
    """Return whether the answer to a GET, or to a cancel, shows its response finished, well or not."""
    code = exchange.status_code
    if code is None or not 200 <= code < 300 or _goes_on(reading) or not reading.finish_reasons:
        return False
    return reading.usage_complete or not reading.stream or reading.status in ("ok", "cancelled")


def id_in(path: str) -> str:
    """Return the id in a path that asks for a stored answer: `.../responses/{id}` or `.../responses/{id}/cancel`."""
    parts = path.partition("?")[0].rstrip("/").split("/")
    return parts[-2] if parts[-1] in _ACTIONS and len(parts) > 1 else parts[-1]


def _united(earlier: Sequence[ToolCall], later: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
    """Return the tool calls of both, by id: a run shows each only while it waits for it, a resumed stream the rest."""
    return tuple({one.tool_call_id: one for one in (*earlier, *later)}.values())


def _goes_on(reading: Reading) -> bool:
    return not _UNFINISHED.get(reading.api.removesuffix(_POLL), frozenset()).isdisjoint(reading.finish_reasons)


def merged(created: Reading, polled: Reading) -> Reading:
    """Return the reading of the call as it is once finished: its request, and the answer that a GET brought."""
    return replace(
        created,
        status=polled.status,
        error_type=polled.error_type,
        finish_reasons=polled.finish_reasons,
        response_model=polled.response_model or created.response_model,
        usage=polled.usage,
        usage_source=polled.usage_source,
        usage_complete=polled.usage_complete,
        tool_calls=_united(created.tool_calls, polled.tool_calls),
        first_token_ns=created.first_token_ns or polled.first_token_ns,
        first_answer_ns=created.first_answer_ns or polled.first_answer_ns,
        extra={**created.extra, **polled.extra},
    )


class Polls(Generic[T]):
    """The responses that are not finished, by id; used by one thread at a time."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, Unfinished[T]] = OrderedDict()
        self._prompt_bytes = 0
        self._early: OrderedDict[str, tuple[int, Reading]] = OrderedDict()

    def note_early(self, response_id: str, started_at_ns: int, polled: Reading) -> None:
        """Remember a finished response that nobody here made, or not yet let go of; `started_at_ns` of the GET."""
        self._early[response_id] = (started_at_ns, polled)
        if len(self._early) > _MAX_EARLY:
            self._early.popitem(last=False)

    def find_early(self, reading: Reading, started_at_ns: int) -> Reading:
        """Return the reading as a GET has finished it after its request left at `started_at_ns`, or as it is."""
        noted_at_ns, polled = self._early.get(reading.response_id or "", (0, None))
        return merged(reading, polled) if polled is not None and noted_at_ns >= started_at_ns else reading

    def keep(self, reading: Reading, kept: T) -> list[T]:
        """Remember a response that is not finished; returns what was kept of those given up for it."""
        response_id = reading.response_id
        if response_id is None:
            return [kept]
        self.forget(response_id)
        self._open[response_id] = Unfinished(reading, kept)
        self._prompt_bytes += len(reading.prompt)
        given_up = [self._pop(next(iter(self._open))).kept] if len(self._open) > MAX_UNFINISHED else []
        self._bound_prompts()
        return given_up

    def find(self, response_id: str | None, polled: Reading) -> Unfinished[T] | None:
        """Return the response of this id if it is not finished; counts the GET, and keeps what it asks to be done."""
        one = self._open.get(response_id or "")
        if one is not None:
            one.polls += 1
            if polled.tool_calls:
                one.reading = replace(one.reading, tool_calls=_united(one.reading.tool_calls, polled.tool_calls))
            self._open.move_to_end(response_id or "")
        return one

    def forget(self, response_id: str | None) -> None:
        """Forget a response: it is finished, or its call is another's now."""
        if response_id is not None and response_id in self._open:
            self._pop(response_id)

    def give_up(self) -> list[T]:
        """Return what was kept of all responses, and forget them."""
        left = [one.kept for one in self._open.values()]
        self._open.clear()
        self._prompt_bytes = 0
        return left

    def _pop(self, response_id: str) -> Unfinished[T]:
        one = self._open.pop(response_id)
        self._prompt_bytes -= len(one.reading.prompt)
        return one

    def _bound_prompts(self) -> None:
        if self._prompt_bytes <= MAX_PROMPT_BYTES:
            return
        for one in self._open.values():
            self._prompt_bytes -= len(one.reading.prompt)
            one.reading = replace(one.reading, prompt=b"")
            if self._prompt_bytes <= MAX_PROMPT_BYTES:
                return
