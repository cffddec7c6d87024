"""Our own spans, read back into the rows that they were made of: as recorded, nothing inferred. Pure.

They leave out `block_hashes`, and what moved a call to another place after its span had left.
"""

import math
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

import msgspec
from msgspec import Struct
from msgspec.structs import fields, replace

from tokenflation.sdk.importers.spans.attributes import parsed
from tokenflation.sdk.records import Attempt, Call, ToolRun
from tokenflation.sdk.tracing.spans import ATTEMPTS, CALL_ATTRIBUTES, EXTRA, SCOPE_NAME, TOOL_CALLS
from tokenflation.sdk.wire.values import count_of

__all__ = ["Rows", "as_recorded", "attributes_of", "ending", "given", "is_call", "newer", "rows"]

_RENAMED = "tokenflation.operation.name"
_GEN_AI = frozenset(name for _, name in CALL_ATTRIBUTES if name.startswith("gen_ai.")) | {
    "gen_ai.operation.name",
    "gen_ai.request.stream",
}
_COLUMNS = (*CALL_ATTRIBUTES, ("stream", "gen_ai.request.stream"))
_TYPES = get_type_hints(Call)
_DEFAULTS = {one.name: one.default for one in fields(Call) if one.default is not msgspec.NODEFAULT}
_PLACED = frozenset({"task", "task_id", "agent", "agent_run_id", "depth", "step"})
"""Columns that the tree of spans gives too: they are not taken from one call alone."""
_LIMITS = frozenset({"max_calls", "max_tokens", "max_depth", "max_cost"})
_Row = TypeVar("_Row", Attempt, ToolRun)


class Rows(Struct, frozen=True):
    """Rows of other tables than `calls` that a span carries."""

    attempts: tuple[Attempt, ...] = ()
    tool_runs: tuple[ToolRun, ...] = ()


def attributes_of(library: str, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a span's attributes by their usual names: ours beneath another tracer's of the same call has others."""
    if library != SCOPE_NAME or _RENAMED not in attributes:
        return attributes
    usual = {f"tokenflation.{name[7:]}": name for name in _GEN_AI}
    return {usual.get(key, key): value for key, value in attributes.items()}


def is_call(library: str, attributes: Mapping[str, Any]) -> bool:
    """Return whether this is the span of a call that we recorded, which says all columns."""
    return library == SCOPE_NAME and isinstance(attributes.get("tokenflation.api"), str)


def given(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of `calls` that a span of ours names, those with a value that such a column can have."""
    found = {}
    for column, name in _COLUMNS:
        value = _value(attributes.get(name), _TYPES[column])
        if value is not None:
            found[column] = value
    return found | {"extra": _extra(attributes)}


def _value(value: Any, kind: Any) -> Any:
    if kind == bytes | None:
        try:
            return bytes.fromhex(value)
        except (TypeError, ValueError):
            return None
    value = _converted(parsed(value) if isinstance(value, str) and value[:1] == "[" else value, kind)
    if isinstance(value, int) and not isinstance(value, bool):
        return count_of(value)
    return None if isinstance(value, float) and not (math.isfinite(value) and value >= 0) else value


def _converted(value: Any, kind: Any) -> Any:
    """Return a value as one of this kind, None if it is none; Zipkin's tags are texts, numbers too."""
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        return None


def as_recorded(call: Call, columns: Mapping[str, Any]) -> Call:
    """Return the row with what its span says; where that says nothing, nothing was known."""
    told = {column: columns.get(column, _DEFAULTS.get(column)) for column, _ in _COLUMNS if column not in _PLACED}
    told["extra"] = columns.get("extra", {})
    for column in ("provider", "api", "duration_s"):
        told[column] = columns.get(column, getattr(call, column))
    return replace(call, **told)


def _extra(attributes: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return msgspec.json.decode(attributes.get(EXTRA, "{}"), type=dict[str, Any])
    except (msgspec.DecodeError, TypeError):
        return {}


def rows(attributes: Mapping[str, Any]) -> Rows:
    """Return the rows of attempts and tool calls that a span carries."""
    return Rows(_read(attributes.get(ATTEMPTS), Attempt), _read(attributes.get(TOOL_CALLS), ToolRun))


def _read(text: Any, kind: type[_Row]) -> tuple[_Row, ...]:
    try:
        return msgspec.json.decode(text, type=tuple[kind, ...]) if isinstance(text, str) else ()  # type: ignore[valid-type]
    except msgspec.DecodeError:
        return ()


def newer(one: ToolRun | None, other: ToolRun) -> ToolRun:
    """Return of two rows of one tool call that which knows more of what became of it."""
    return other if one is None or _known(one) <= _known(other) else one


def _known(run: ToolRun) -> tuple[int, int]:
    return run.executed or 0, sum(getattr(run, name) is not None for name in run.__struct_fields__)


def ending(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a scope of ours ended, as far as it says: outcome, score and limit of a task, sizes of a tool run."""
    outcome, score, limit = (
        attributes.get(f"tokenflation.task.{name}") for name in ("outcome", "score", "censored_by")
    )
    found: dict[str, Any] = {}
    if (told := _converted(outcome, bool)) is not None:
        found["outcome"] = told
    if (given_score := _converted(score, float)) is not None and math.isfinite(given_score):
        found["score"] = given_score
    if limit in _LIMITS:
        found["censored_by"] = limit
    for name in ("arguments_bytes", "result_bytes"):
        if (size := count_of(attributes.get(f"tokenflation.tool.{name}"))) is not None:
            found[name] = size
    return found
