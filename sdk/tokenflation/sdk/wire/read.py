"""From the bytes of one exchange to a `Reading`, or None where it is no request to a model: the entry to this package.

Pure and total: whatever the bytes are, nothing here raises on them.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from tokenflation.sdk.records import Reading, Status, Usage, UsageSource
from tokenflation.sdk.wire.anatomy import anatomy, answer_named
from tokenflation.sdk.wire.body import SPACE, note_headers, opening
from tokenflation.sdk.wire.choosing import Chosen, choose, is_plain
from tokenflation.sdk.wire.dialects import PAYLOAD_STREAMS
from tokenflation.sdk.wire.endpoints.providers import provider_of
from tokenflation.sdk.wire.extract import whole
from tokenflation.sdk.wire.facts import MAX_ANSWER, Facts
from tokenflation.sdk.wire.fields import fields
from tokenflation.sdk.wire.shapes import Answer, Request
from tokenflation.sdk.wire.straight import lookup
from tokenflation.sdk.wire.streams.encoding import decode_body, decode_chunks
from tokenflation.sdk.wire.streams.eventstream import EXCEPTION, aws_events
from tokenflation.sdk.wire.strings import SHORTEST_SAID, strings
from tokenflation.sdk.wire.toolcalls import add_call_counts, tool_calls
from tokenflation.sdk.wire.usage import consistent, together, usage_extra, usage_of
from tokenflation.sdk.wire.values import at, first, loads, text, word
from tokenflation.sdk.wire.view import ExchangeBytes

__all__ = ["read"]

_SWITCHED = 101
"""Status of an answer that opened a web socket."""
_MEDIA = ("audio/", "image/", "video/")


def read(view: ExchangeBytes, *, key: bytes) -> Reading | None:
    """Return what the bytes say, or None if this is no request to a model or its api is not known here.

    `key` (at most 64 bytes) keys the hashes of the prompt. A request whose body could not be kept is judged by its
    answer, as is a GET of an answer that was asked for before (`Reading.fetched`); broken JSON by the answer's counts.
    """
    sent = decode_body(view.request_body) if view.request_body else b""
    asked = loads(sent) if sent else None
    # Sound and pictures say nothing, and there is much of them.
    chunks = () if _is_media(view) else decode_chunks(view.chunks, view.content_encoding)
    if view.api in PAYLOAD_STREAMS and chunks and opening(chunks) == b"\0":
        chunks = [(event.time_ns, event.data) for event in aws_events(chunks) if not event.name.startswith(EXCEPTION)]
    broken = asked is None and sent.lstrip(SPACE).startswith(b"{")
    answer = choose(view, asked, chunks or (), broken=broken)
    if answer is None:
        return None
    request: dict[str, Any] = asked if type(asked) is dict else {}
    for path in answer.dialect.request.within:
        if type(inner := at(request, path)) is dict:
            request = {**inner, **request}
    note_headers(answer.facts, answer.dialect.answer, view)
    return _reading(view, answer, request, readable=chunks is not None, key=key)


def _is_media(view: ExchangeBytes) -> bool:
    return view.content_type.startswith(_MEDIA)


def _reading(view: ExchangeBytes, answer: Chosen, request: dict[str, Any], *, readable: bool, key: bytes) -> Reading:
    dialect, facts, streamed = answer.dialect, answer.facts, answer.streamed
    rules, asked = dialect.answer, dialect.request
    plain, refused = False, _is_refusal(view.status_code)
    if streamed or not facts.documents:
        plain = rules.plain and is_plain(view, answer)
        streamed = not (refused or plain) and (streamed or request.get("stream") is True)
    provider = provider_of(view.host, dialect.compatible)
    samples = _samples(request, asked)
    ended = facts.ended
    if streamed:
        choices, counts = samples * _prompts(request, asked), _asks_for_counts(request, asked)
        ended = whole(facts, rules, end=view.end, choices=choices, counts=counts)
    elif not facts.usage and ended and facts.first_token_ns is None and not dialect.fetches:
        ended = _is_answered(facts, rules)
    ended = ended and not view.truncated
    status, error_type = _verdict(
        view, facts, refused=refused, ended=ended, streamed=streamed, readable=readable and not plain
    )
    model = text(lookup(asked.model)(request)) or _in_path(view.path, asked.model_in_path)
    usage, source = _usage(facts, rules, provider, facts.model or model or "", final=ended, samples=samples)
    usage, contradicted = consistent(usage)
    said = "".join(facts.answer)
    return Reading(
        api=dialect.api,
        provider=provider,
        model=model,
        response_model=facts.model,
        response_id=facts.response_id,
        stream=streamed,
        status=status,
        error_type=error_type,
        finish_reasons=("error",) if refused else _finish_reasons(facts, status),
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
        answer=said[:MAX_ANSWER],
        answer_said=fields(said),
        sought=_sought(request, asked) if asked.sought else None,
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


def _prompts(request: dict[str, Any], shape: Request) -> int:
    """Return how many prompts a request has that are answered each by itself."""
    prompts: Any = next((request[key] for key in shape.prompts if key in request), None)
    return len(prompts) if type(prompts) is list and not any(type(one) is int for one in prompts) else 1


def _asks_for_counts(request: dict[str, Any], shape: Request) -> bool:
    """Return whether a stream has counts: it has, unless the request could ask for them and did not."""
    return not request or not shape.counts_if or bool(at(request, shape.counts_if))


def _sought(request: dict[str, Any], shape: Request) -> tuple[str, ...]:
    """Return the one text that is to be embedded or ranked by; of several, as of a batch of documents, none."""
    value: Any = first(request, shape.sought)
    if type(value) is list and len(value) == 1:
        value = value[0]
    if type(value) is dict and "content" in value:
        value = value["content"]
    found = strings(value, SHORTEST_SAID)
    return found if len(found) == 1 else ()


def _in_path(path: str, pattern: str) -> str | None:
    match = re.search(pattern, path.partition("?")[0]) if pattern else None
    return text(unquote(match.group(1))) if match else None


def _is_answered(facts: Facts, rules: Answer) -> bool:
    """Return whether a body without counts or content is an answer: some fail with HTTP 200 in words of their own."""
    if not rules.finish or not rules.response_id or facts.extra:
        return True
    if facts.response_id is not None and (facts.model is not None or not rules.model):
        return True
    return bool(facts.finish) if rules.choices is not None else any(facts.finish.values())


def _is_refusal(code: int | None) -> bool:
    """Return whether this HTTP status comes with no answer of a model."""
    return code is not None and not (200 <= code < 300 or code == _SWITCHED)


def _verdict(
    view: ExchangeBytes, facts: Facts, *, refused: bool, ended: bool, streamed: bool, readable: bool
) -> tuple[Status, str | None]:
    """Return the status of the call and the class of its failure: what the answer says comes before how it ended."""
    code = view.status_code
    failed_code = f"http_{code}" if refused else None
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
        add_call_counts(extra, facts, rules.extra)
    if view.truncated:
        extra["truncated"] = True
    if not readable:
        extra["unread_encoding"] = word(view.content_encoding) or "unknown"
    return extra
