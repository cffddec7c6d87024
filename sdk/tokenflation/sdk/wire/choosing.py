"""In which dialect an exchange is: by its request, and where several share a path by what the answer says. Pure."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from tokenflation.sdk.wire.body import facts_of, note_headers, opening
from tokenflation.sdk.wire.dialects import DIALECTS
from tokenflation.sdk.wire.facts import Facts
from tokenflation.sdk.wire.shapes import Answer, Dialect, Request
from tokenflation.sdk.wire.usage import usage_of
from tokenflation.sdk.wire.view import ExchangeBytes

__all__ = ["Chosen", "choose", "is_plain"]


class Chosen(Struct, frozen=True):
    """A dialect, and what the answer says in it."""

    dialect: Dialect
    facts: Facts
    streamed: bool


def choose(view: ExchangeBytes, asked: Any, chunks: Sequence[tuple[int, bytes]], *, broken: bool) -> Chosen | None:
    """Return the dialect of an exchange, or None if it is no request to a model.

    `asked` is the JSON of the request, `broken` says that it has some that cannot be read, `chunks` are the answer's,
    decoded. A request without a body that could be kept is judged by its answer, a broken one by the answer's counts.
    """
    dialects = DIALECTS.get(view.api, ())
    if len(dialects) == 1:
        found = _answered(view, dialects[0], chunks) if _may_be(view, dialects[0], asked, broken) else None
    else:
        candidates = [dialect for dialect in dialects if _may_be(view, dialect, asked, broken)]
        # An answer in another dialect than the request's comes last.
        others = [dialect for dialect in dialects if all(dialect is not other for other in candidates)]
        found = _first_that_says_something(view, [*candidates, *others], chunks) if candidates else None
    if found is None or (broken and not _has_usage(found.facts, found.dialect.answer)):
        return None
    return found if _is_answer(view, found, asked_for=type(asked) is dict and bool(asked)) else None


def _first_that_says_something(
    view: ExchangeBytes, candidates: Sequence[Dialect], chunks: Sequence[tuple[int, bytes]]
) -> Chosen:
    """Return the dialect in which the answer says something, or the first of them where it does in none."""
    tried = candidates
    if opening(chunks) == b"[":  # an array says more than each of its entries
        tried = sorted(candidates, key=lambda one: one.answer.listed is None and one.answer.apart is None)
    for dialect in tried:
        found = _answered(view, dialect, chunks)
        if _says_something(found.facts, dialect.answer):
            return found
    return _answered(view, candidates[0], chunks)


def _may_be(view: ExchangeBytes, dialect: Dialect, asked: Any, broken: bool) -> bool:
    """Return whether a request may be one of this dialect; one whose body was not kept, or is broken, may be any."""
    if dialect.request.in_path not in view.path:
        return False
    if not view.request_body or broken or (dialect.request.forms and asked is None):
        return view.method == "POST" or dialect.fetches or not dialect.request.proof
    if dialect.fetches:
        return True
    return (view.method == "POST" or not dialect.request.proof) and _is_request(asked, dialect.request)


def _is_request(body: Any, shape: Request) -> bool:
    if type(body) is not dict:
        return False
    for keys in shape.proof:
        if keys.isdisjoint(body):
            return False
    for key in shape.messages:
        messages = body.get(key)
        if messages is not None and type(messages) not in (list, str) and not (shape.alone and type(messages) is dict):
            return False
    return True


def _says_something(facts: Facts, rules: Answer) -> bool:
    """Return whether an answer said what only this dialect says so: counts, content or why it ended."""
    return _has_usage(facts, rules) or any(facts.finish.values()) or facts.first_token_ns is not None or facts.marked


def _has_usage(facts: Facts, rules: Answer) -> bool:
    own = facts.usage
    if rules.shared_counts:
        own = {name: value for name, value in own.items() if name not in rules.shared_counts}
    if not own:
        return False
    usage = usage_of(own, rules, provider="", model="", final=True)
    return usage.input_tokens is not None or usage.output_tokens is not None


def _is_answer(view: ExchangeBytes, found: Chosen, *, asked_for: bool) -> bool:
    """Return whether this was an exchange with a model: on a path that others use, too, only the answer tells."""
    dialect, facts = found.dialect, found.facts
    if asked_for and not dialect.common_path and not dialect.fetches:
        return True
    if dialect.by_answer:
        return facts.marked or _has_usage(facts, dialect.answer) or any(facts.finish.values())
    if facts.response_id is not None or _says_something(facts, dialect.answer):
        return True
    if not asked_for:
        return dialect.api == "bedrock.invoke" or (
            dialect.request.forms and (bool(facts.error) or is_plain(view, found))
        )
    return facts.model is not None or facts.error is not None or view.status_code is None


def is_plain(view: ExchangeBytes, found: Chosen) -> bool:
    """Return whether an answer is a text alone, where its dialect has such."""
    return found.dialect.answer.plain and not found.facts.documents and view.content_type.startswith("text/plain")


def _answered(view: ExchangeBytes, dialect: Dialect, chunks: Sequence[tuple[int, bytes]]) -> Chosen:
    """Return what an answer says in a dialect."""
    facts, streamed = facts_of(dialect.answer, chunks, ":stream" in view.path)
    if dialect.answer.listed is not None:  # vectors alone say nothing: the headers prove whose they are
        note_headers(facts, dialect.answer, view)
    return Chosen(dialect, facts, streamed)
