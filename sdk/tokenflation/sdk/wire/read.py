"""From the bytes of one exchange to a `Reading`: the only entry to this package's parts. Pure and total.

Whatever the bytes are, the result is a `Reading` or None (no request to a model); nothing here raises on them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from tokenflation.sdk.records import Reading, Status, Usage, UsageSource
from tokenflation.sdk.wire.anatomy import anatomy
from tokenflation.sdk.wire.dialects import DIALECTS
from tokenflation.sdk.wire.encoding import decode_body, decode_chunks
from tokenflation.sdk.wire.extract import Facts, add_document, tool_calls, whole
from tokenflation.sdk.wire.providers import provider_of
from tokenflation.sdk.wire.shapes import Answer, Dialect, Request
from tokenflation.sdk.wire.sse import Event, json_events, sse_events
from tokenflation.sdk.wire.usage import usage_extra, usage_of
from tokenflation.sdk.wire.values import loads, text, word
from tokenflation.sdk.wire.view import ExchangeBytes

__all__ = ["read"]

_SPACE = b" \t\r\n\xef\xbb\xbf"


def read(view: ExchangeBytes, *, key: bytes) -> Reading | None:
    """Return what the bytes say, or None if this is no request to a model or its api is not known here.

    `key` (at most 64 bytes) keys the hashes of the prompt. A request without a body that could be kept is judged by
    its answer. Fetching a stored answer (GET) generates nothing, so it gives None.
    """
    dialect = DIALECTS.get(view.api)
    if dialect is None or view.method != "POST":
        return None
    asked = loads(decode_body(view.request_body)) if view.request_body else None
    if view.request_body and not _is_request(asked, dialect.request):
        return None
    request: dict[str, Any] = asked if type(asked) is dict else {}
    chunks = decode_chunks(view.chunks, view.content_encoding)
    facts, streamed = _facts(dialect.answer, chunks or (), ":stream" in view.path)
    if not request and not _is_answer(facts):
        return None
    unread = not facts.documents and (view.status_code is None or view.status_code < 300)
    streamed = streamed or (unread and request.get("stream") is True)
    return _reading(view, dialect, request, facts, streamed=streamed, readable=chunks is not None, key=key)


def _is_request(body: Any, shape: Request) -> bool:
    return type(body) is dict and all(not keys.isdisjoint(body) for keys in shape.proof) and _has_messages(body, shape)


def _has_messages(body: dict[str, Any], shape: Request) -> bool:
    return all(type(body[key]) in (list, str) for key in shape.messages if body.get(key) is not None)


def _is_answer(facts: Facts) -> bool:
    return bool(facts.usage) or facts.response_id is not None


def _facts(rules: Answer, chunks: Sequence[tuple[int, bytes]], array_streams: bool) -> tuple[Facts, bool]:
    """Return the facts of an answer and whether it was streamed; the first byte tells JSON from events."""
    facts = Facts()
    opening = _opening(chunks)
    if not opening:
        return facts, False
    if opening not in (b"{", b"["):
        _add_events(facts, rules, sse_events(chunks))
        return facts, True
    if opening == b"{":
        document = loads(b"".join(chunk for _, chunk in chunks))
        if type(document) is dict:
            add_document(facts, rules, document, 0)
            facts.ended = True
            return facts, False
    _add_events(facts, rules, json_events(chunks))
    return facts, array_streams or facts.documents > 1


def _opening(chunks: Iterable[tuple[int, bytes]]) -> bytes:
    """Return the first byte that is not space; empty if there is none."""
    for _, chunk in chunks:
        start = chunk.lstrip(_SPACE)
        if start:
            return start[:1]
    return b""


def _add_events(facts: Facts, rules: Answer, events: Iterator[Event]) -> None:
    for event in events:
        document = loads(event.data)
        if type(document) is dict:
            add_document(facts, rules, document, event.time_ns, event.name.decode("utf-8", "replace"))
        elif rules.terminator is not None and event.data.strip() == rules.terminator:
            facts.ended = True


def _reading(
    view: ExchangeBytes,
    dialect: Dialect,
    request: dict[str, Any],
    facts: Facts,
    *,
    streamed: bool,
    readable: bool,
    key: bytes,
) -> Reading:
    rules = dialect.answer
    provider = provider_of(view.host, dialect.compatible)
    ended = whole(facts, rules) if streamed else facts.ended
    status, error_type = _verdict(view, facts, ended=ended, streamed=streamed, readable=readable)
    model = text(request.get("model")) or _model_in_path(view.path, dialect.request)
    usage, source = _usage(facts, rules, provider, facts.model or model or "", final=ended)
    return Reading(
        api=dialect.api,
        provider=provider,
        model=model,
        response_model=facts.model,
        response_id=facts.response_id,
        stream=streamed,
        status=status,
        error_type=error_type,
        finish_reasons=_finish_reasons(facts, status),
        usage=usage,
        usage_source=source,
        usage_complete=ended and source == "provider",
        tool_calls=tool_calls(facts),
        first_chunk_ns=next((time_ns for time_ns, chunk in view.chunks if chunk), None) if streamed else None,
        first_token_ns=facts.first_token_ns if streamed else None,
        first_answer_ns=facts.first_answer_ns if streamed else None,
        previous_response_id=text(request.get("previous_response_id")),
        extra=_extra(view, facts, rules, readable),
        **anatomy(request, dialect.request, key=key),
    )


def _model_in_path(path: str, shape: Request) -> str | None:
    match = re.search(shape.model_in_path, path.partition("?")[0]) if shape.model_in_path else None
    return text(unquote(match.group(1))) if match else None


def _verdict(
    view: ExchangeBytes, facts: Facts, *, ended: bool, streamed: bool, readable: bool
) -> tuple[Status, str | None]:
    """Return the status of the call and the class of its failure: what the answer says comes before how it ended."""
    code = view.status_code
    failed_code = f"http_{code}" if code is not None and not 200 <= code < 300 else None
    if facts.error is not None or failed_code is not None:
        error = facts.error if facts.error not in (None, "error") else failed_code or "error"
        return "error", f"http_{error}" if error.isdecimal() and len(error) == 3 else error
    if facts.failed is not None:
        return ("cancelled", None) if facts.failed == "cancelled" else ("error", "failed")
    if ended:
        return "ok", None
    if view.end == "cancelled":
        return "cancelled", word(view.error_type)
    if view.end == "failed" or code is None:
        return "error", word(view.error_type) or "connection_error"
    if view.end in ("closed", "dropped"):
        return "cut", None
    if not readable:
        return "ok", None
    if streamed:
        return "cut", None
    return "error", "invalid_body" if any(chunk for _, chunk in view.chunks) else "empty_body"


def _usage(facts: Facts, rules: Answer, provider: str, model: str, *, final: bool) -> tuple[Usage, UsageSource]:
    usage = usage_of(facts.usage, rules, provider=provider, model=model, final=final)
    known = usage.input_tokens is not None, usage.output_tokens is not None
    if not any(known):
        return usage, "absent"
    return usage, "provider" if all(known) and final else "partial"


def _finish_reasons(facts: Facts, status: Status) -> tuple[str, ...]:
    """Return why each choice ended; `error` where its generation was cut, empty where the provider did not say."""
    missing = "" if status == "ok" else "error"
    reasons = tuple(facts.finish[index] or missing for index in sorted(facts.finish))
    if status == "ok":
        state = facts.extra.get("state")
        if not any(reasons):
            return (state,) if type(state) is str else ()
        return reasons
    return reasons or ("error",)


def _extra(view: ExchangeBytes, facts: Facts, rules: Answer, readable: bool) -> Mapping[str, Any]:
    extra = usage_extra(facts.usage, rules) if facts.usage else {}
    extra.update(facts.extra)
    extra.pop("state", None)
    if not readable:
        extra["unread_encoding"] = word(view.content_encoding) or "unknown"
    return extra
