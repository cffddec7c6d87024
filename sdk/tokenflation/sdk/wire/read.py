"""From the bytes of one exchange to a `Reading`, or None where it is no request to a model: the entry to this package.

Pure and total: whatever the bytes are, nothing here raises on them.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import unquote

from tokenflation.sdk.records import Reading, Status, Usage, UsageSource
from tokenflation.sdk.wire.anatomy import anatomy, answer_named
from tokenflation.sdk.wire.dialects import DIALECTS, PAYLOAD_STREAMS
from tokenflation.sdk.wire.endpoints.providers import provider_of
from tokenflation.sdk.wire.extract import document_reader, whole
from tokenflation.sdk.wire.facts import Facts, complete, said, tool_calls
from tokenflation.sdk.wire.repeats import Repeats
from tokenflation.sdk.wire.shapes import Answer, Dialect, Request
from tokenflation.sdk.wire.straight import lookup
from tokenflation.sdk.wire.streams.encoding import decode_body, decode_chunks
from tokenflation.sdk.wire.streams.eventstream import EXCEPTION, aws_events
from tokenflation.sdk.wire.streams.sse import block_event, json_events, sse_blocks, sse_events
from tokenflation.sdk.wire.usage import consistent, together, usage_extra, usage_of
from tokenflation.sdk.wire.values import at, first, loads, text, word
from tokenflation.sdk.wire.view import ExchangeBytes

__all__ = ["read"]

_SWITCHED = 101
"""Status of an answer that opened a web socket."""
_MEDIA = ("audio/", "image/", "video/")
_BATCH = 1024
"""Events of a stream that are held at once."""
_SPACE = b" \t\r\n\xef\xbb\xbf"


def read(view: ExchangeBytes, *, key: bytes) -> Reading | None:
    """Return what the bytes say, or None if this is no request to a model or its api is not known here.

    `key` (at most 64 bytes) keys the hashes of the prompt. A request whose body could not be kept is judged by its
    answer, as is a GET of an answer that was asked for before (`Reading.fetched`); broken JSON by the answer's counts.
    """
    dialects = DIALECTS.get(view.api, ())
    sent = decode_body(view.request_body) if view.request_body else b""
    asked = loads(sent) if sent else None
    broken = asked is None and sent.lstrip(_SPACE).startswith(b"{")
    # Sound and pictures say nothing, and there is much of them.
    chunks = () if _is_media(view) else decode_chunks(view.chunks, view.content_encoding)
    if view.api in PAYLOAD_STREAMS and chunks and _opening(chunks) == b"\0":
        chunks = [(event.time_ns, event.data) for event in aws_events(chunks) if not event.name.startswith(EXCEPTION)]
    candidates = [dialect for dialect in dialects if _may_be(view, dialect, asked, broken)]
    if not candidates:
        return None
    if len(candidates) < len(dialects):  # an answer in another dialect than the request's comes last
        candidates += [dialect for dialect in dialects if all(dialect is not other for other in candidates)]
    tried = candidates
    if len(candidates) > 1 and _opening(chunks or ()) == b"[":  # an array says more than each of its entries
        tried = sorted(candidates, key=lambda one: one.answer.listed is None and one.answer.apart is None)
    for dialect in tried:
        facts, streamed = _answer(view, dialect, chunks or ())
        if len(candidates) == 1 or _says_something(facts, dialect.answer):
            break
    else:
        dialect = candidates[0]
        facts, streamed = _answer(view, dialect, chunks or ())
    request: dict[str, Any] = asked if type(asked) is dict else {}
    proven = not broken or _has_usage(facts, dialect.answer)
    if not proven or not _is_answer(view, dialect, facts, asked_for=bool(request)):
        return None
    for path in dialect.request.within:
        if type(inner := at(request, path)) is dict:
            request = {**inner, **request}
    _note_headers(facts, dialect.answer, view)
    unread = not facts.documents and (view.status_code is None or view.status_code < 300)
    streamed = streamed or (unread and request.get("stream") is True)
    return _reading(view, dialect, request, facts, streamed=streamed, readable=chunks is not None, key=key)


def _is_media(view: ExchangeBytes) -> bool:
    return view.content_type.startswith(_MEDIA)


def _may_be(view: ExchangeBytes, dialect: Dialect, asked: Any, broken: bool) -> bool:
    """Return whether a request may be one of this dialect; one whose body was not kept, or is broken, may be any."""
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


def _is_answer(view: ExchangeBytes, dialect: Dialect, facts: Facts, *, asked_for: bool) -> bool:
    """Return whether this was an exchange with a model: on a path that others use, too, only the answer tells."""
    if asked_for and not dialect.common_path and not dialect.fetches:
        return True
    if dialect.by_answer:
        return facts.marked or _has_usage(facts, dialect.answer) or any(facts.finish.values())
    if facts.response_id is not None or _says_something(facts, dialect.answer):
        return True
    if not asked_for:
        return dialect.api == "bedrock.invoke" or (dialect.request.forms and bool(facts.error))
    return facts.model is not None or facts.error is not None or view.status_code is None


def _answer(view: ExchangeBytes, dialect: Dialect, chunks: Sequence[tuple[int, bytes]]) -> tuple[Facts, bool]:
    """Return what the body of an answer says in this dialect, and whether it was streamed."""
    facts, streamed = _facts(dialect.answer, chunks, ":stream" in view.path)
    if dialect.answer.listed is not None:  # vectors alone say nothing: the headers prove whose they are
        _note_headers(facts, dialect.answer, view)
    return facts, streamed


def _note_headers(facts: Facts, rules: Answer, view: ExchangeBytes) -> None:
    """Take in what the headers of the answer say: counts, and the class of a failure."""
    for name in rules.headers:
        value = view.response_headers.get(name)
        if type(value) is str and value.isascii() and value.isdecimal() and len(value) <= 16:
            facts.usage = {**facts.usage, name: int(value)}
    if rules.error_header is not None and (view.status_code or 0) >= 400:
        value = view.response_headers.get(rules.error_header)
        if type(value) is str and facts.error is None:
            facts.error = word(value.partition(":")[0])  # AWS appends the address of its documentation


def _facts(rules: Answer, chunks: Sequence[tuple[int, bytes]], array_streams: bool) -> tuple[Facts, bool]:
    """Return the facts of an answer and whether it was streamed; the first byte tells JSON from events."""
    facts = Facts()
    opening = _opening(chunks)
    if not opening:
        return facts, False
    if rules.listed is not None or (rules.apart is not None and opening == b"["):
        _add_array(facts, rules, loads(b"".join([chunk for _, chunk in chunks])) if opening == b"[" else None)
        return facts, False
    if opening == b"\0":  # the length of a message, four bytes of which the first is 0
        take = _event_reader(facts, rules)
        for event in aws_events(chunks):
            take(*event)
        return facts, True
    if opening not in (b"{", b"["):
        _add_sse(facts, rules, chunks)
        return facts, True
    if opening == b"{":
        document = loads(chunks[0][1] if len(chunks) == 1 else b"".join([chunk for _, chunk in chunks]))
        if type(document) is dict:
            document_reader(rules)(facts, document, "", 0)
            facts.ended = True
            return facts, False
    take = _event_reader(facts, rules)
    repeats = Repeats(facts, rules, lambda time_ns, data: take(time_ns, b"", data))
    for event in json_events(chunks):
        repeats.event(event.time_ns, event.data)
    repeats.finish()
    if opening == b"[" and not array_streams:
        facts.ended = facts.ended or loads(b"".join([chunk for _, chunk in chunks])) is not None
        return facts, False
    return facts, array_streams or facts.documents > 1


def _add_array(facts: Facts, rules: Answer, entries: Any) -> None:
    """Take in an array whose entries answer one request together."""
    if type(entries) is not list:
        return
    if rules.listed is not None:
        document_reader(rules)(facts, {rules.listed: entries}, "", 0)
    for number, entry in enumerate(entries if rules.listed is None else ()):
        if rules.apart is not None and type(entry) is dict:
            document_reader(rules)(facts, {**entry, rules.apart: number}, "", 0)
    facts.ended = True


def _opening(chunks: Iterable[tuple[int, bytes]]) -> bytes:
    """Return the first byte that is not space; empty if there is none."""
    for _, chunk in chunks:
        if start := chunk.lstrip(_SPACE):
            return start[:1]
    return b""


def _add_sse(facts: Facts, rules: Answer, chunks: Sequence[tuple[int, bytes]]) -> None:
    take = _event_reader(facts, rules)
    blocks = sse_blocks(chunks)
    if blocks is None:
        for event in sse_events(chunks):
            take(*event)
        return

    def take_block(time_ns: int, block: bytes) -> None:
        event = block_event(block)
        if event is not None:
            take(time_ns, *event)

    repeats = Repeats(facts, rules, take_block)
    some = iter(blocks)
    while batch := list(islice(some, _BATCH)):
        repeats.events(batch)
    repeats.finish()


def _event_reader(facts: Facts, rules: Answer) -> Callable[[int, bytes, bytes], None]:
    """Return the function that takes in an event of a stream: when it came, its name, its data."""
    add, terminator, blob = document_reader(rules), rules.terminator, rules.blob

    def take(time_ns: int, name: bytes, data: bytes) -> None:
        if terminator is not None:
            if facts.terminated:
                return
            if data.strip() == terminator:
                facts.ended = facts.terminated = True
                return
        document = loads(data)
        if type(document) is not dict:
            return
        if blob is not None:
            document = _unwrapped(document, blob)
        if name.startswith(EXCEPTION):
            facts.error = word(name[len(EXCEPTION) :].decode("utf-8", "replace")) or "error"
        add(facts, document, name.decode("utf-8", "replace") if name else "", time_ns)

    return take


def _unwrapped(document: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the document that stands in base64 under `key`, or the document itself."""
    blob = document.get(key)
    if type(blob) is not str:
        return document
    try:
        inner = loads(b64decode(blob))
    except ValueError:
        return document
    return inner if type(inner) is dict else document


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
    rules, asked = dialect.answer, dialect.request
    provider = provider_of(view.host, dialect.compatible)
    samples = _samples(request, asked)
    ended = (
        whole(facts, rules, end=view.end, **_wanted(request, asked, samples)) if streamed else facts.ended
    ) and not view.truncated
    status, error_type = _verdict(view, facts, ended=ended, streamed=streamed, readable=readable)
    model = text(lookup(asked.model)(request)) or _in_path(view.path, asked.model_in_path)
    usage, source = _usage(facts, rules, provider, facts.model or model or "", final=ended, samples=samples)
    usage, contradicted = consistent(usage)
    return Reading(
        api=dialect.api,
        provider=provider,
        model=model,
        response_model=facts.model,
        response_id=facts.response_id,
        stream=streamed,
        status=status,
        error_type=error_type,
        finish_reasons=("error",) if _is_refusal(view.status_code) else _finish_reasons(facts, status),
        usage=usage,
        usage_source=source,
        usage_complete=ended and source == "provider",
        tool_calls=tool_calls(facts, key),
        first_chunk_ns=next((time_ns for time_ns, chunk in view.chunks if chunk), None) if streamed else None,
        first_token_ns=facts.first_token_ns if streamed else None,
        first_answer_ns=facts.first_answer_ns if streamed else None,
        previous_response_id=answer_named(lookup(asked.previous)(request), key)
        or _in_path(view.path, asked.previous_in_path),
        conversation_id=text(lookup(asked.conversation)(request)),
        reasoning_blocks=len(facts.reasoning),
        **said(facts),
        forced_tool=text(lookup(asked.forced)(request)),
        kept_as=None if facts.kept is None else answer_named(facts.kept, key),
        fetched=dialect.fetches,
        extra={**_extra(view, facts, rules, readable), **contradicted},
        **anatomy(request, asked, key=key),
    )


def _samples(request: dict[str, Any], shape: Request) -> int:
    """Return how many choices a request wants of each prompt."""
    choices = first(request, shape.choices)
    return choices if type(choices) is int and choices > 0 else 1


def _wanted(request: dict[str, Any], shape: Request, samples: int) -> dict[str, Any]:
    """Return how many choices a request wants, and whether counts, too: unless it could ask for them and did not."""
    prompts: Any = next((request[key] for key in shape.prompts if key in request), None)
    if type(prompts) is list and not any(type(one) is int for one in prompts):
        samples *= len(prompts)
    counts = not request or not shape.counts_if or bool(at(request, shape.counts_if))
    return {"choices": samples, "counts": counts}


def _in_path(path: str, pattern: str) -> str | None:
    match = re.search(pattern, path.partition("?")[0]) if pattern else None
    return text(unquote(match.group(1))) if match else None


def _is_refusal(code: int | None) -> bool:
    """Return whether this HTTP status comes with no answer of a model."""
    return code is not None and not (200 <= code < 300 or code == _SWITCHED)


def _verdict(
    view: ExchangeBytes, facts: Facts, *, ended: bool, streamed: bool, readable: bool
) -> tuple[Status, str | None]:
    """Return the status of the call and the class of its failure: what the answer says comes before how it ended."""
    code = view.status_code
    failed_code = f"http_{code}" if _is_refusal(code) else None
    if facts.error is not None or failed_code is not None:
        error = facts.error if facts.error not in (None, "error") else failed_code or "error"
        return "error", f"http_{error}" if error.isdecimal() and len(error) == 3 else error
    if facts.failed is not None:
        return ("cancelled", None) if facts.failed == "cancelled" else ("error", "failed")
    if ended:
        return "ok", None
    if view.end == "cancelled":
        return "cancelled", word(view.error_type)
    if view.end == "failed" or (code is None and view.end != "dropped"):  # dropped: nobody waited for what came of it
        return "error", word(view.error_type) or "connection_error"
    if view.end in ("closed", "dropped"):
        return "cut", None
    if not readable or view.truncated or _is_media(view):  # the host read what we did not
        return "ok", None
    if streamed:
        return "cut", None
    return "error", "invalid_body" if any(chunk for _, chunk in view.chunks) else "empty_body"


def _usage(
    facts: Facts, rules: Answer, provider: str, model: str, *, final: bool, samples: int
) -> tuple[Usage, UsageSource]:
    if len(facts.apart) > 1:
        usage = together(facts.apart, rules, samples, provider=provider, model=model, final=final)
    else:
        usage = usage_of(facts.usage, rules, provider=provider, model=model, final=final)
    known = usage.input_tokens is not None, usage.output_tokens is not None
    if not any(known):
        return usage, "absent"
    of_one = len(facts.finish) > 1 and rules.counts_one in facts.extra
    return usage, "provider" if all(known) and final and not of_one else "partial"


def _finish_reasons(facts: Facts, status: Status) -> tuple[str, ...]:
    """Return why each choice ended; `error` where its generation was cut, empty where the provider did not say."""
    if status == "ok" and len(facts.finish) == 1 and (reason := next(iter(facts.finish.values()))):
        return (reason,)
    reasons = tuple(facts.finish[index] or ("" if status == "ok" else "error") for index in sorted(facts.finish))
    if status != "ok":
        return reasons or ("error",)
    state = facts.extra.get("state")
    return reasons if any(reasons) else (state,) if type(state) is str else ()


def _extra(view: ExchangeBytes, facts: Facts, rules: Answer, readable: bool) -> Mapping[str, Any]:
    extra = usage_extra(facts.usage, rules) if facts.usage else {}
    extra.update(facts.extra)
    extra.pop("state", None)
    if facts.calls or facts.apart:
        complete(extra, facts, rules.extra)
    if view.truncated:
        extra["truncated"] = True
    if not readable:
        extra["unread_encoding"] = word(view.content_encoding) or "unknown"
    return extra
