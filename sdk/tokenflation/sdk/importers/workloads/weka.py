"""Turns Weka session traces into rows: one session is one task. Pure; knows nothing of files and of the store.

What is taken how:

* The main list is the agent run `main` at depth 0; each sub-agent marker is an agent run of its own, one level deeper,
  named after `subagent_type`. `structure_source` is `scope`: the source gives the structure, nothing is inferred.
* Times are seconds from the session's start and stay so: nanoseconds since 0, `extra.session.session_relative_time` is
  true. A sub-agent's calls count from its marker if any of them would else lie before it, and from the session's start
  otherwise: recorders do both.
* A trace names no tool calls: `tool_calls` is 1 where `stop` is `tool_use`, so it counts answers that asked for tools.
* A cache's hits are not reported: `cache_read_tokens` is NULL. `shared_blocks` are the leading blocks that an earlier
  call of the session had, from `hash_ids`, else the trace's own `hit_blocks`.
* `split_method` is `weka`: system prompt and tools as the session (or marker) says, clipped to the input; the shared
  blocks behind them are re-sent; the rest is a tool result where `input_types` says nothing else, and new otherwise.
* `prompted_by` is what `input_types` says, where these are types of tool results and of a user's message alone.
* `extra` keeps the rest, so that an export gives the same session back: `think_time`, `input_types`, `output_types` of
  each call; `session` (of the session) on its first call; `subagent` (of the marker) on the sub-agent's first call.
* The trace does not say who served a model: `provider` is `unknown`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

from msgspec import UNSET
from msgspec.structs import asdict

from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.importers.files.formats import Context, Format, Head, Skipped, Taken
from tokenflation.sdk.importers.files.reading import values
from tokenflation.sdk.importers.workloads.weka_format import Plain, Request, Streamed, SubAgent, Trace, convert, digest
from tokenflation.sdk.records import Call, SpanRecord
from tokenflation.sdk.store.write import Batch

__all__ = ["FORMAT", "rows"]


_TYPES_OF_USERS = frozenset({"text", "image", "document"})


@dataclass(slots=True)
class _Placed:
    """A request with its place in the session."""

    request: Plain | Streamed
    call_id: str
    started_s: float
    run: "_Run"


@dataclass(slots=True)
class _Run:
    """One agent run; `marker` is None for the main one."""

    run_id: str
    parent_id: str
    depth: int
    marker: SubAgent | None
    started_s: float
    tool_tokens: int
    system_tokens: int
    calls: list[_Placed] = field(default_factory=list)


@dataclass(slots=True)
class _Session:
    trace: Trace
    trace_id: str
    task: str
    task_id: str
    root_id: str
    blocks: "_Blocks"


def rows(trace: Trace, trace_id: str, *, task: str, task_id: str, key: bytes) -> Batch:
    """Return the calls and spans of one session; the calls are in order of start.

    Ids are digests of the session's content (`trace_id`, 32 hex digits) and the position in it: the same session gives
    the same ids, another one under the same name does not. `key` is the store's hash key.
    """
    root_id = _id(trace_id, "task")
    main = _Run(_id(trace_id, "agent"), root_id, 0, None, 0.0, _count(trace.tool_tokens), _count(trace.system_tokens))
    runs = [main, *_place(trace, trace_id, main)]
    for run in runs:
        run.calls.sort(key=lambda placed: placed.started_s)
    session = _Session(trace, trace_id, task, task_id, root_id, _Blocks(trace, trace_id, key))
    steps = {placed.call_id: step for run in runs for step, placed in enumerate(run.calls)}
    ordered = sorted((placed for run in runs for placed in run.calls), key=lambda placed: placed.started_s)
    first = main.calls[0] if main.calls else ordered[0] if ordered else None
    calls = []
    for placed in ordered:
        extra = _call_extra(placed, steps[placed.call_id])
        if placed is first:
            extra["session"] = _session_extra(session, runs)
        calls.append(_call(session, placed, steps[placed.call_id], extra))
    return Batch(calls=calls, spans=_spans(session, runs))


def _id(trace_id: str, *place: object) -> str:
    text = "/".join(map(str, (trace_id, *place)))
    return blake2b(text.encode(), digest_size=8, person=b"tf-weka-id").hexdigest()


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _place(trace: Trace, trace_id: str, main: _Run) -> Iterator[_Run]:
    """Fill each run's calls, and yield the runs of sub-agents."""
    open_lists: list[tuple[_Run, list[Any], float, str]] = [(main, trace.requests, 0.0, "")]
    while open_lists:
        run, entries, offset_s, path = open_lists.pop(0)
        for position, entry in enumerate(entries):
            place, started_s = f"{path}/{position}", entry.t + offset_s
            if not isinstance(entry, SubAgent):
                run.calls.append(_Placed(entry, _id(trace_id, "call", place), started_s, run))
                continue
            inner = _Run(
                _id(trace_id, "agent", place), run.run_id, run.depth + 1, entry, started_s,
                _count(entry.tool_tokens), _count(entry.system_tokens),
            )  # fmt: skip
            # Compared as the trace gives them: both count from where this list counts, or the inner from the marker.
            relative = any(nested.t < entry.t for nested in entry.requests)
            open_lists.append((inner, entry.requests, started_s if relative else offset_s, place))
            yield inner


class _Blocks:
    """Holds the prefix blocks that a session's calls had so far: a tree of ids, each with its rolling hash."""

    def __init__(self, trace: Trace, trace_id: str, key: bytes) -> None:
        self._block_size = trace.block_size
        self._key = key
        scope = trace_id if trace.hash_id_scope == "local" else f"global/{trace.block_size}"
        self._root = self._hash(scope.encode(), b"root")
        self._children: dict[tuple[bytes, int], bytes] = {}
        self._ids: Sequence[int] = ()
        self._hashes: list[bytes] = []

    def add(self, request: Request, call_id: str) -> tuple[bytes | None, int | None, int | None]:
        """Return the block hashes, the blocks that the source gives, and how many leading ones an earlier call had."""
        if request.hash_ids is None:
            return None, request.n_blocks, request.hit_blocks
        # A call mostly repeats the one before, and thousands of blocks are compared at once many times as fast.
        shared = _equal_from_the_start(self._ids, request.hash_ids)
        hashes = self._hashes[:shared]
        last = hashes[-1] if hashes else self._root
        for position, block_id in enumerate(request.hash_ids[shared:], shared):
            found = self._children.get((last, block_id))
            if found is None:
                found = self._children[last, block_id] = self._hash(last, b"%d" % block_id)
            elif shared == position:
                shared += 1
            hashes.append(found)
            last = found
        self._ids, self._hashes = request.hash_ids, hashes.copy()
        # What the source does not name, the partial block at the end as a rule, is taken to be this call's own.
        for position in range(len(hashes), -(-request.input_tokens // self._block_size)):
            hashes.append(self._hash(last, b"own/%s/%d" % (call_id.encode(), position)))
        # Full blocks are counted, as recorded traces do; some writers name the partial one at the end too.
        full = min(len(request.hash_ids), request.input_tokens // self._block_size)
        return b"".join(hashes), full, min(shared, full)

    def _hash(self, last: bytes, block: bytes) -> bytes:
        return blake2b(last + block, digest_size=8, key=self._key, person=b"tf-weka-block").digest()


def _equal_from_the_start(ids: Sequence[int], others: Sequence[int]) -> int:
    low, high = 0, min(len(ids), len(others))
    while low < high:
        middle = (low + high + 1) // 2
        if ids[low:middle] == others[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _call(session: _Session, placed: _Placed, step: int, extra: dict[str, Any]) -> Call:
    request, run = placed.request, placed.run
    hashes, prefix_blocks, shared_blocks = session.blocks.add(request, placed.call_id)
    started_ns = round(placed.started_s * 1e9)
    return Call(
        call_id=placed.call_id,
        trace_id=session.trace_id,
        parent_id=run.run_id,
        task=session.task,
        task_id=session.task_id,
        agent=_agent(run),
        agent_run_id=run.run_id,
        depth=run.depth,
        step=step,
        structure_source="scope",
        provider="unknown",
        api="weka",
        model=request.model,
        stream=isinstance(request, Streamed),
        finish_reasons=(request.stop,) if request.stop else (),
        started_at_ns=started_ns,
        ended_at_ns=None if request.api_time is None else started_ns + round(request.api_time * 1e9),
        duration_s=request.api_time,
        ttft_s=request.ttft,
        input_tokens=request.input_tokens,
        output_tokens=request.output_tokens,
        usage_source="provider",
        usage_complete=True,
        tool_calls=int(request.stop == "tool_use"),
        prompted_by=_prompted_by(request.input_types),
        **_split(request, run, session.trace.block_size, shared_blocks),
        block_tokens=session.trace.block_size,
        block_hashes=hashes,
        prefix_blocks=prefix_blocks,
        shared_blocks=shared_blocks,
        extra=extra,
    )


def _prompted_by(input_types: Sequence[str] | None) -> Literal["user", "tool", "both"] | None:
    """Return who has spoken since the last answer; None where the trace does not say, or names parts of answers too."""
    types = set(input_types or ())
    if not types or not types <= _TYPES_OF_USERS | {"tool_result"}:
        return None
    if "tool_result" not in types:
        return "user"
    return "tool" if types == {"tool_result"} else "both"


def _agent(run: _Run) -> str:
    if run.marker is None:
        return "main"
    return run.marker.subagent_type if isinstance(run.marker.subagent_type, str) else "subagent"


def _split(request: Request, run: _Run, block_size: int, shared_blocks: int | None) -> dict[str, Any]:
    """Return the five parts of the input, which sum to it exactly; nothing where it is not known what is re-sent."""
    if shared_blocks is None:
        return {}
    rest = request.input_tokens
    tools = min(run.tool_tokens, rest)
    system = min(run.system_tokens, rest - tools)
    rest -= tools + system
    resent = min(max(shared_blocks * block_size - tools - system, 0), rest)
    rest -= resent
    result = rest if request.input_types and set(request.input_types) == {"tool_result"} else 0
    return {
        "tool_definition_tokens": tools,
        "system_tokens": system,
        "resent_tokens": resent,
        "tool_result_tokens": result,
        "new_tokens": rest - result,
        "split_method": "weka",
    }


def _call_extra(placed: _Placed, step: int) -> dict[str, Any]:
    request, run = placed.request, placed.run
    extra: dict[str, Any] = {"think_time": request.think_time}
    if request.input_types is not None:
        extra["input_types"] = request.input_types
    if request.output_types is not None:
        extra["output_types"] = request.output_types
    if run.marker is not None and step == 0:
        extra["subagent"] = _marker_extra(run.marker)
        if run.started_s != placed.started_s:
            extra["subagent"]["t"] = run.started_s
    return extra


def _marker_extra(marker: SubAgent) -> dict[str, Any]:
    return {name: value for name, value in asdict(marker).items() if value is not UNSET and name not in _OWN_FIELDS}


_OWN_FIELDS = frozenset(("t", "requests"))


def _session_extra(session: _Session, runs: list[_Run]) -> dict[str, Any]:
    trace = session.trace
    names = ("models", "tool_tokens", "system_tokens", "totals")
    kept = {name: value for name in names if (value := getattr(trace, name)) is not UNSET}
    kept["session_relative_time"] = True
    if trace.hash_id_scope != "local":
        kept["hash_id_scope"] = trace.hash_id_scope
    if trace.id != session.task_id:
        kept["id"] = trace.id
    empty = [
        {"t": run.started_s, **_marker_extra(run.marker)} for run in runs if run.marker is not None and not run.calls
    ]
    if empty:
        kept["empty_subagents"] = empty
    return kept


def _spans(session: _Session, runs: list[_Run]) -> list[SpanRecord]:
    """Return a span for the task and one for each agent run, the outer ones around all that is in them."""
    times = {run.run_id: _own_times(run) for run in runs}
    times[session.root_id] = times[runs[0].run_id]
    for run in reversed(runs):  # an inner run comes after the one around it
        outer, inner = times[run.parent_id], times[run.run_id]
        times[run.parent_id] = (min(outer[0], inner[0]), max(outer[1], inner[1]))
    outermost = _span(session, "task", session.root_id, times, name=session.task, parent_id=None, depth=0)
    inner_spans = [
        _span(session, "agent", run.run_id, times, name=_agent(run), parent_id=run.parent_id, depth=run.depth)
        for run in runs
    ]
    return [outermost, *inner_spans]


def _span(
    session: _Session,
    kind: Literal["task", "agent"],
    span_id: str,
    times: Mapping[str, tuple[float, float]],
    *,
    name: str,
    parent_id: str | None,
    depth: int,
) -> SpanRecord:
    return SpanRecord(
        span_id=span_id,
        trace_id=session.trace_id,
        parent_id=parent_id,
        kind=kind,
        name=name,
        task_id=session.task_id,
        agent_run_id=span_id if kind == "agent" else None,
        depth=depth,
        started_at_ns=round(times[span_id][0] * 1e9),
        ended_at_ns=round(times[span_id][1] * 1e9),
        status="ok",
    )


def _own_times(run: _Run) -> tuple[float, float]:
    """Return start and end in seconds; a call without a duration ends, as far as is known, when it starts."""
    starts = [placed.started_s for placed in run.calls]
    ends = [placed.started_s + (placed.request.api_time or 0.0) for placed in run.calls]
    begun = run.started_s if run.marker is not None else min(starts, default=0.0)
    return min([begun, *starts]), max([begun, *ends])


def _sniff(head: Head) -> float:
    known = {"id", "block_size", "requests"}
    if known <= head.keys or any(known <= one.keys() for one in head.objects):
        return 0.95
    return 0.6 if {"requests", "block_size"} & head.keys and "id" in head.keys else 0.0


def _read(entries: Sequence[Entry], context: Context) -> Iterator[Taken | Skipped]:
    for entry in entries:
        for found in values(entry, context):
            if isinstance(found, Skipped):
                yield found
                continue
            line, given = found
            trace = convert(given)
            if isinstance(trace, str):
                yield Skipped(entry.place(line), "no Weka session", trace)
                continue
            trace_id, task = digest(trace), context.kind(entry.task)
            task_id = trace.id or trace_id[:16]
            if context.has_task(task, task_id):
                task_id = f"{task_id}#{trace_id[:8]}"
            yield Taken(rows(trace, trace_id, task=task, task_id=task_id, key=context.key))


FORMAT = Format(name="weka", title="Weka session trace", sniff=_sniff, read=_read)
