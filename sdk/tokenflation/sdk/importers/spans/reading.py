"""From one span, whatever file it stood in, to a `Node`: ids, times, status, and what its attributes make of it.

Pure.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tokenflation.sdk.importers.files.fields import made_id, made_trace_id, time_ns
from tokenflation.sdk.importers.files.formats import Skipped
from tokenflation.sdk.importers.spans import by_counts, own
from tokenflation.sdk.importers.spans.attributes import said
from tokenflation.sdk.importers.spans.calls import Node
from tokenflation.sdk.importers.spans.claude_code import ITS_CALL, given_by, in_full, is_its_call, its_role
from tokenflation.sdk.importers.spans.contents import question
from tokenflation.sdk.importers.spans.gemini_cli import ITS_SCOPE, its_attributes, its_prompt_id, its_trace_id
from tokenflation.sdk.importers.spans.gemini_cli import its_role as prompts_role
from tokenflation.sdk.importers.spans.names import CallFacts, call_facts, error_class, has_totals, is_call
from tokenflation.sdk.tracing.spans import SCOPE_NAME
from tokenflation.sdk.tracing.spanwords import Role, role_of
from tokenflation.sdk.wire.values import dumps, loads

__all__ = ["node_of", "role_in", "span_id_of", "trace_id_of"]

_HEX = re.compile(r"[0-9a-f]+")
_NO_SERVICE = "unknown_service"
_FIRST_CHUNKS = frozenset({"First Token Stream Event", "mlflow.chunk.item.0"})
_PREPARES = "._prepare_chat_with_tools"
"""OpenInference has a span LLM for each method of a LlamaIndex model; this one asks nothing."""
_LANGCHAINS_AGENT = ("langsmith.metadata.lc_agent_name", "langfuse.observation.metadata.lc_agent_name")
_CANCELLED = frozenset({"CancelledError", "asyncio.CancelledError", "GeneratorExit", "KeyboardInterrupt"})

Event = tuple[str, int | None, Mapping[str, Any]]
"""Name, time (unix ns) and attributes of an event in a span."""


def trace_id_of(value: Any) -> str | None:
    """Return 32 hex digits for an id of any kind: hex, base64 of 16 bytes, a UUID, or any other text."""
    return _id_of(value, 32, made_trace_id)


def span_id_of(value: Any) -> str | None:
    """Return 16 hex digits for an id of any kind; None for one that is missing, empty or all zeros."""
    return _id_of(value, 16, made_id)


def _id_of(value: Any, digits: int, made: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.hex()
    if not isinstance(value, str) or not value.strip("0"):
        return None
    found = value.lower().removeprefix("0x")
    if len(found) == digits and _HEX.fullmatch(found):
        return found
    if (
        digits == 32
        and len(found) == 36
        and _HEX.fullmatch(found.replace("-", ""))
        and len(found) - found.count("-") == 32
    ):
        return found.replace("-", "")
    if value.endswith("=") and len(value) in (12, 24):  # protobuf's own JSON writes bytes so, OTLP's does not
        try:
            raw = base64.b64decode(value, validate=True).hex()
        except (binascii.Error, ValueError):
            raw = ""
        if len(raw) == digits:
            return raw if raw.strip("0") else None
    return str(made("id", value))


def node_of(
    *,
    trace_id: str | None,
    span_id: str | None,
    parent_id: str | None,
    name: str,
    attributes: Mapping[str, Any],
    started_at_ns: int | None,
    ended_at_ns: int | None,
    failed: bool = False,
    events: Sequence[Event] = (),
    library: str = "",
    resource: Mapping[str, Any] | None = None,
    where: str = "",
) -> Node | Skipped:
    """Return what a span is: a model call, a task, an agent run, a tool run, or only something in between.

    One that lacks its ids or its start is left out.
    """
    if trace_id is None or span_id is None:
        return Skipped(where, "a span without its ids", name[:80])
    if started_at_ns is None:
        return Skipped(where, "a span without a time", name[:80])
    resource = resource or {}
    attributes = {key: _fixed(value) if isinstance(value, list | dict) else value for key, value in attributes.items()}
    if name == ITS_CALL:
        attributes = in_full(attributes)
    if library == ITS_SCOPE:
        attributes, trace_id = its_attributes(attributes), its_trace_id(attributes) or trace_id
    attributes, ours = own.attributes_of(library, attributes), own.is_call(library, attributes)
    failed = failed or (attributes.get("success") is False and is_its_call(attributes))
    status, error_type = _ending(attributes, events, failed=failed)
    call = None
    if is_call(attributes) and not name.endswith(_PREPARES):
        call = call_facts(attributes, library, resource)
        call.extra = {**call.extra, "traced_by": library[:80]} if library else call.extra
        if call.ttfc_s is None and not ours:
            _add_first_chunk(call, started_at_ns, _first_chunk_ns(events) or _completion_start_ns(attributes))
    service = str(resource.get("service.name") or "")
    says = its_prompt_id(library, attributes) or question(attributes) if call is not None else None
    after = attributes.get("duration") if attributes.get("logfire.span_type") == "log" else None
    return Node(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id if parent_id != span_id else None,
        name=name[:200],
        library=library or _vocabulary(attributes),
        started_at_ns=started_at_ns,
        ended_at_ns=_end(started_at_ns, ended_at_ns, _first_chunk_ns(events) if call is not None else None),
        status=status,
        error_type=error_type,
        role=_role(name, attributes) if call is None else None,
        call=call,
        service="" if service.startswith(_NO_SERVICE) else service[:200],
        where=where,
        says=hash(says) if says else None,
        after_s=float(after) if call is not None and isinstance(after, int | float) else None,
        totals=call is None and has_totals(attributes),
        given=_given(library, attributes),
        ours=ours,
        rows=own.rows(attributes) if library == SCOPE_NAME else None,
    )


def _end(started_at_ns: int, ended_at_ns: int | None, first_chunk_ns: int | None) -> int | None:
    """Return when a span ended, not before its first chunk: OpenInference ends LlamaIndex's streams as they begin."""
    return None if ended_at_ns is None else max(ended_at_ns, started_at_ns, first_chunk_ns or 0)


def _ending(
    attributes: Mapping[str, Any], events: Sequence[Event], *, failed: bool
) -> tuple[Literal["ok", "error", "cancelled"], str | None]:
    """Return how a span ended, and the class of its failure."""
    error = error_class(attributes.get("error.type")) or _raised(events)
    if not failed and (error is None or "error.type" not in attributes):
        return "ok", None
    return "cancelled" if error in _CANCELLED else "error", error or "error"


def _add_first_chunk(call: CallFacts, started_at_ns: int, first_ns: int | None) -> None:
    if first_ns is not None:
        call.ttfc_s = max(0, first_ns - started_at_ns) / 1e9
        call.stream = True


def _given(library: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that a span names outright: ours do, and some of coding agents."""
    if library == SCOPE_NAME:
        return own.given(attributes) | own.ending(attributes)
    return given_by(attributes) | by_counts.given_by(attributes, library)


def _fixed(value: Any) -> Any:
    """Return a list of plain values as a tuple, which can be looked up, and anything deeper as JSON."""
    if isinstance(value, list) and not any(isinstance(one, list | dict) for one in value):
        return tuple(value)
    return dumps(value).decode("utf-8", "replace")


def _role(name: str, attributes: Mapping[str, Any]) -> Role | None:
    """Return what a span stands for; LangChain's agents are chains that its metadata calls agents (`lc_agent_name`)."""
    if (its := its_role(name, attributes)) is not None:
        return its
    if (around := prompts_role(attributes)) is not None:
        return around
    observed = attributes.get("langfuse.observation.type")
    if isinstance(observed, str):  # langfuse.com/docs/observability/features/observation-types: OpenInference's words
        attributes = {"openinference.span.kind": observed.upper(), **attributes}
    role = role_of(name, attributes)
    is_chain = role is not None and role.kind == "chain"
    if said(attributes, _LANGCHAINS_AGENT) == name and (is_chain or attributes.get("langsmith.span.kind") == "chain"):
        return Role("agent", name)
    metadata = attributes.get("metadata")
    if role is not None and is_chain and isinstance(metadata, str) and "lc_agent_name" in metadata:
        found = loads(metadata.encode("utf-8", "replace"))
        if isinstance(found, dict) and found.get("lc_agent_name") == name:
            return Role("agent", role.name)
    return role


def role_in(name: str, kind: str, metadata: Mapping[str, Any]) -> Role | None:
    """Return what a run or an observation of this kind stands for; its metadata calls LangChain's agents so."""
    role = role_of(name, {"openinference.span.kind": kind.upper()})
    if role is not None and role.kind == "chain" and metadata.get("lc_agent_name") == name:
        return Role("agent", role.name)
    return role


def _vocabulary(attributes: Mapping[str, Any]) -> str:
    """Return whose words the attributes are, to tell two tracers of one call apart where no scope is recorded."""
    if "openinference.span.kind" in attributes:
        return "openinference"
    return "gen_ai" if any(name.startswith("gen_ai.") for name in attributes) else ""


def _raised(events: Sequence[Event]) -> str | None:
    for _, _, told in reversed(events):
        found = error_class(told.get("exception.type"))
        if found is not None:
            return found
    return None


def _first_chunk_ns(events: Sequence[Event]) -> int | None:
    """Return the time of the event for a stream's first chunk: OpenInference's, or MLflow's for each chunk."""
    return next((time for title, time, _ in events if title in _FIRST_CHUNKS and time), None)


def _completion_start_ns(attributes: Mapping[str, Any]) -> int | None:
    """Return when Langfuse's SDK saw the first chunk; the attribute is JSON."""
    found = attributes.get("langfuse.observation.completion_start_time")
    return time_ns({"at": found.strip('"')}, "at") if isinstance(found, str) else None
