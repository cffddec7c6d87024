"""Of the spans that stand for model calls, one for each call: what repeats another, or sums up others, is taken away.

Three ways in which one call has several spans:

* One inside the other: a framework's span around its client's, a client's around our own. The innermost counts; the
  others only fill in what it does not say. Totals of a span around several calls are left out, they are the sum.
* Beside each other: two instrumentations of which one is never the current span. Known, where they
  overlap, by the same response id, else by the same last message, else by the same parent, model and counts. Two of
  one instrumentation are one call only if all of this is the same: OpenLLMetry's of `responses.stream()`.
* One after the other: logfire writes what a stream used into a log of its own when the stream has ended.

Pure; knows no file format and no attribute names.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from tokenflation.sdk.importers.spans.names import CallFacts
from tokenflation.sdk.importers.spans.own import Rows
from tokenflation.sdk.importers.spans.usage import Counted
from tokenflation.sdk.records import Usage
from tokenflation.sdk.tracing.spanwords import Role

__all__ = ["Node", "ancestors", "one_each"]

_MAX_AROUND = 10_000


class Node(Struct, kw_only=True):
    """One span, run or observation, as far as it matters here."""

    trace_id: str
    span_id: str
    parent_id: str | None = None
    name: str = ""
    library: str = ""
    """Who wrote it: the instrumentation scope, or the vocabulary where that is not told."""
    started_at_ns: int
    ended_at_ns: int | None = None
    status: Literal["ok", "error", "cancelled"] = "ok"
    error_type: str | None = None
    role: Role | None = None
    call: CallFacts | None = None
    service: str = ""
    """What the process that it ran in is called."""
    where: str = ""
    """File and line."""
    says: int | None = None
    """Hash of what a request says, where that tells which spans are of one request."""
    after_s: float | None = None
    """It is a log of the end of a stream that took so many seconds."""
    totals: bool = False
    """It is no call and carries token counts: sums over calls inside."""
    given: Mapping[str, Any] = {}
    """Columns that the source names outright: our own spans do."""
    ours: bool = False
    """It is our own span of a call, which says all that was recorded of it."""
    rows: Rows | None = None
    """What it carries of other tables: our own spans do."""
    doubles: tuple[str, ...] = ()
    """Libraries whose spans of the same call are in it."""


def ancestors(node: Node, spans: Mapping[str, Node]) -> Iterator[Node]:
    """Yield the spans around one, the innermost first; ends where parents run in a circle."""
    seen = {node.span_id}
    parent = spans.get(node.parent_id or "")
    while parent is not None and parent.span_id not in seen and len(seen) < _MAX_AROUND:
        yield parent
        seen.add(parent.span_id)
        parent = spans.get(parent.parent_id or "")


def one_each(traces: Mapping[str, Mapping[str, Node]]) -> list[Node]:
    """Return one node for each model call in traces, each a span id's node; in order of start."""
    calls = [node for spans in traces.values() for node in spans.values() if node.call is not None]
    calls = _without_logs(calls)
    kept: list[Node] = []
    by_trace: defaultdict[str, list[Node]] = defaultdict(list)
    for node in calls:
        by_trace[node.trace_id].append(node)
    for trace_id, some in by_trace.items():
        kept += _innermost(some, traces[trace_id])
    return _without_doubles(_once(kept))


def _order(node: Node) -> tuple[int, int, str]:
    return (node.started_at_ns, node.ended_at_ns or node.started_at_ns, node.span_id)


def _without_logs(calls: Sequence[Node]) -> list[Node]:
    """Return the calls with what logs of streams' ends say put into the spans that began those streams."""
    logs = sorted((node for node in calls if node.after_s is not None), key=_order)
    if not logs:
        return list(calls)
    found = {(node.trace_id, node.span_id): node for node in calls if node.after_s is None}
    open_: defaultdict[tuple[str, int | None], list[Node]] = defaultdict(list)
    for node in sorted(found.values(), key=_order):
        if not _has_usage(node):
            open_[node.library, node.says].append(node)
    for log in logs:
        before = open_[log.library, log.says]
        begun = [node for node in before if node.started_at_ns <= log.started_at_ns]
        if begun:
            # The stream is read from the end of the request's span on.
            read_at_ns = log.started_at_ns - round((log.after_s or 0.0) * 1e9)
            first = min(begun, key=lambda node: abs((node.ended_at_ns or node.started_at_ns) - read_at_ns))
            before.remove(first)
            merged = _filled(first, log)
            found[first.trace_id, first.span_id] = replace(
                merged, ended_at_ns=max(log.started_at_ns, merged.ended_at_ns or 0), call=_streamed(merged.call)
            )
        else:
            started = max(0, log.started_at_ns - round((log.after_s or 0.0) * 1e9))
            found[log.trace_id, log.span_id] = replace(log, started_at_ns=started, call=_streamed(log.call))
    return list(found.values())


def _streamed(facts: CallFacts | None) -> CallFacts | None:
    return replace(facts, stream=True) if facts is not None else None


def _innermost(calls: Sequence[Node], spans: Mapping[str, Node]) -> list[Node]:
    """Return the calls that have no call inside, with what only the spans around them say."""
    by_id = {node.span_id: node for node in calls}
    around = {node.span_id: [one.span_id for one in _around(node, spans)] for node in calls}
    outer = {span_id for some in around.values() for span_id in some}
    inside: defaultdict[str, list[str]] = defaultdict(list)
    for span_id, some in around.items():
        if span_id not in outer:
            for one in some:
                inside[one].append(span_id)
    gone: set[str] = set()
    # From the inside out, so that a nearer span fills first.
    for span_id in sorted(outer, key=lambda one: (-len(around[one]), one)):
        leaves = [one for one in inside[span_id] if one not in gone]
        if _has_usage(by_id[span_id]) and not any(_has_usage(by_id[one]) for one in leaves):
            gone.update(leaves)
            by_id[span_id] = _with_attempts([by_id[one] for one in leaves], by_id[span_id])
            for outermost in around[span_id]:
                inside[outermost].append(span_id)
            continue
        gone.add(span_id)
        if len(leaves) == 1:
            by_id[leaves[0]] = _filled(by_id[leaves[0]], by_id[span_id])
    return [node for span_id, node in by_id.items() if span_id not in gone]


def _around(node: Node, spans: Mapping[str, Node]) -> Iterator[Node]:
    """Yield the spans of calls around one, the innermost first.

    A call with counts around a tool run asked for it, as the AI SDK's do, and is no sum over what is inside the tool.
    """
    in_tool = False
    for one in ancestors(node, spans):
        in_tool = in_tool or (one.role is not None and one.role.kind == "tool")
        if one.call is not None and not (in_tool and _has_usage(one)):
            yield one


def _with_attempts(leaves: Sequence[Node], outer: Node) -> Node:
    """Return the outer span of a call of which only it has counts, with what the spans inside say."""
    for leaf in sorted(leaves, key=_order, reverse=True):
        outer = _filled(outer, leaf)
    return outer


def _once(calls: Sequence[Node]) -> list[Node]:
    """Return the calls without those that one library has two spans of, of which one knows that it was streamed."""
    kept: dict[tuple[str, str], Node] = {}
    by_answer: defaultdict[tuple[str, str, int], list[Node]] = defaultdict(list)
    for node in sorted(calls, key=_order):
        kept[node.trace_id, node.span_id] = node
        facts = node.call
        if facts is None or facts.response_id is None or node.says is None:
            continue
        same = by_answer[node.library, facts.response_id, node.says]
        for one in same:
            told = one.call
            if (
                told is not None and told.stream != facts.stream and told.usage == facts.usage
                and node.started_at_ns <= _end(one)
            ):  # fmt: skip
                same.remove(one)
                del kept[one.trace_id, one.span_id], kept[node.trace_id, node.span_id]
                streamed, other = (one, node) if told.stream else (node, one)
                kept[streamed.trace_id, streamed.span_id] = _filled(streamed, other)
                break
        else:
            same.append(node)
    return list(kept.values())


def _without_doubles(calls: list[Node]) -> list[Node]:
    """Return the calls without those that another instrumentation has as a span beside."""
    if len({node.library for node in calls}) < 2:
        return sorted(calls, key=_order)
    kept: list[Node | None] = []
    open_: list[int] = []
    for node in sorted(calls, key=_order):
        open_ = [at for at in open_ if (one := kept[at]) is not None and (one.ended_at_ns or 0) >= node.started_at_ns]
        same = [at for at in open_ if (one := kept[at]) is not None and _same(one, node)]
        if not same:
            open_.append(len(kept))
            kept.append(node)
            continue
        at = min(same, key=lambda one: _apart(kept[one], node))
        kept[at] = _better(kept[at], node)
    return [node for node in kept if node is not None]


def _apart(one: Node | None, other: Node) -> int:
    return 0 if one is None else abs(one.started_at_ns - other.started_at_ns) + abs(_end(one) - _end(other))


def _end(node: Node) -> int:
    return node.ended_at_ns if node.ended_at_ns is not None else node.started_at_ns


def _same(one: Node, other: Node) -> bool:
    """Return whether two spans beside each other, of two libraries, are one call."""
    first, second = one.call, other.call
    if first is None or second is None or other.library in (one.library, *one.doubles):
        return False
    if _differ(first.model, second.model) and _differ(first.response_model, second.response_model):
        return False
    sides = ("input_tokens", "output_tokens")
    if all(_differ(getattr(first.usage, side), getattr(second.usage, side)) for side in sides):
        return False  # two tracers may count one side otherwise; a local server may give all its answers one id
    if first.response_id is not None and second.response_id is not None:
        return first.response_id == second.response_id
    if one.says is not None and other.says is not None:
        alone = one.parent_id is None or other.parent_id is None  # a span that is never current is a trace of its own
        return one.says == other.says and (one.trace_id == other.trace_id or alone)
    return (
        one.trace_id == other.trace_id
        and one.parent_id == other.parent_id
        and (_within(one, other) or _within(other, one))
        and not _differ(first.usage.input_tokens, second.usage.input_tokens)
        and not _differ(first.usage.output_tokens, second.usage.output_tokens)
    )


def _within(inner: Node, outer: Node) -> bool:
    return outer.started_at_ns <= inner.started_at_ns and _end(inner) <= _end(outer)


def _differ(one: object, other: object) -> bool:
    return one is not None and other is not None and one != other


def _better(one: Node | None, other: Node) -> Node:
    """Return the node of two that stands inside something, says more, or is the shorter; filled from the other."""
    if one is None:
        return other
    first, second = sorted(
        (one, other), key=lambda node: (node.parent_id is None, -_told(node), _end(node) - node.started_at_ns)
    )
    return replace(_filled(first, second), doubles=(*one.doubles, *other.doubles, one.library, other.library))


def _told(node: Node) -> int:
    usage = node.call.usage if node.call is not None else Usage()
    return sum(getattr(usage, name) is not None for name in usage.__struct_fields__)


def _has_usage(node: Node) -> bool:
    return node.call is not None and (
        node.call.usage.input_tokens is not None or node.call.usage.output_tokens is not None
    )


def _filled(node: Node, other: Node) -> Node:
    """Return a node with what its call does not say taken from another span of the same call."""
    facts, more = node.call, other.call
    if facts is None or more is None:
        return node
    changes: dict[str, Any] = {}
    for name in _first_known(facts, more):
        changes[name] = getattr(more, name)
    found = Counted(facts.usage).filled(Counted(more.usage))
    changes["usage"] = found.usage
    changes["extra"] = {**more.extra, **found.extra, **facts.extra}
    changes["stream"] = facts.stream or more.stream
    changes["attempts"] = max(facts.attempts, more.attempts)
    return replace(node, call=replace(facts, **changes), given={**other.given, **node.given})


def _first_known(facts: CallFacts, more: CallFacts) -> Iterable[str]:
    for name, nothing in _NOTHING.items():
        if getattr(facts, name) == nothing and getattr(more, name) != nothing:
            yield name


_NOTHING = {
    "provider": "unknown", "api": "", "model": None, "response_model": None, "response_id": None, "finish_reasons": (),
    "ttfc_s": None, "ttft_s": None, "conversation_id": None, "previous_response_id": None, "tools": (),
}  # fmt: skip
