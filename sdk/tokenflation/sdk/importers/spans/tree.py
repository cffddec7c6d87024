"""Where in a trace each span stands: in which task, in which agent run, in which tool run. Pure; reads no attributes.

The rules are those by which live spans are read (`spanread`): a task is the outermost span that says so, or the chain
that a whole trace is; an agent's span is a run one level deeper than the run around it; two libraries that have a span
each of one run give one run.
"""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from tokenflation.sdk.importers.spans.calls import Node, ancestors
from tokenflation.sdk.importers.spans.claude_code import ITS_EXECUTION
from tokenflation.sdk.tracing.spanwords import Role, is_its_trace

__all__ = ["Place", "Run", "places", "with_failures"]


class Run(Struct, frozen=True, kw_only=True):
    """One agent run that a span stands for."""

    run_id: str
    name: str
    depth: int
    tool: Node | None
    """The tool run that it is inside of, if any."""
    outer: "Run | None"


class Place(Struct, frozen=True, kw_only=True):
    """What is around a span."""

    task: Node | None = None
    task_name: str = ""
    """Empty where the task's span says nothing of what it is."""
    run: Run | None = None
    tool: Node | None = None
    """The innermost tool run inside of `run`."""
    last: tuple[Node, Role] | None = None
    """The innermost span that counts."""
    counts: bool = False
    """Whether the span itself is a task, an agent run or a tool run, and not a second span of one."""


_NOWHERE = Place()


def with_failures(spans: dict[str, Node]) -> dict[str, Node]:
    """Return the spans, Claude Code's tool runs as failed where the span of the execution inside says that it did."""
    failed = {node.parent_id: node for node in spans.values() if node.name == ITS_EXECUTION and node.status == "error"}
    return spans | {
        span_id: replace(spans[span_id], status="error", error_type=inner.error_type)
        for span_id, inner in failed.items()
        if span_id is not None and span_id in spans
    }  # fmt: skip


def places(spans: Mapping[str, Node]) -> dict[str, Place]:
    """Return for each span of a trace where it and what is inside of it stands."""
    found: dict[str, Place] = {}
    twins = _twins(spans)
    for node in spans.values():
        path: list[Node] = []
        for one in (node, *ancestors(node, spans)):
            if one.span_id in found:
                break
            path.append(one)
        outer = path[-1].parent_id if path else None
        place = found.get(outer or "", _NOWHERE)
        for one in reversed(path):
            place = _inside(place, one, spans.get(one.parent_id or ""), twins.get(one.span_id))
            found[one.span_id] = place
    return found


def _twins(spans: Mapping[str, Node]) -> dict[str, Node]:
    """Return chains' spans that have an agent's of their name beside them, by id: OpenLLMetry's is empty."""
    agents = {(node.parent_id, node.role.name): node for node in spans.values()
              if node.role is not None and node.role.kind == "agent" and node.parent_id is not None}  # fmt: skip
    chains = [node for node in spans.values() if node.role is not None and node.role.kind == "chain"] if agents else []
    return {
        node.span_id: agents[key]
        for node in chains
        if node.role is not None and (key := (node.parent_id, node.role.name)) in agents
    }


def _inside(place: Place, node: Node, parent: Node | None, twin: Node | None) -> Place:
    role = node.role
    if role is None or node.call is not None:
        return _seen(place)
    if twin is not None:
        return _seen(_inside(place, twin, parent, None))
    kind = role.kind
    named = role.named
    outermost = node.parent_id is None  # one whose parent is not in the files may be anywhere
    if kind == "agent" and is_its_trace(node.library, node.name) and (
        outermost or (parent is not None and parent.library != node.library)
    ):  # fmt: skip
        kind, named = "task", False
    if kind == "chain":
        if not outermost:
            return _seen(place)
        kind = "task"
    if kind == "task":
        if place.last is not None:
            return _seen(place)
        return Place(task=node, task_name=role.name if named else "", last=(node, role), counts=True)
    if place.last is not None and _is_same(place.last, node, role):
        return _seen(place)
    if kind == "agent":
        # An agent that a tool run started is a sub-agent, where nothing but the task is around the tool too.
        depth = place.run.depth + 1 if place.run is not None else int(place.tool is not None)
        run = Run(run_id=node.span_id, name=role.name, depth=depth, tool=place.tool, outer=place.run)
        return Place(task=place.task, task_name=place.task_name, run=run, last=(node, role), counts=True)
    return Place(
        task=place.task, task_name=place.task_name, run=place.run, tool=node, last=(node, role), counts=True
    )  # fmt: skip


def _seen(place: Place) -> Place:
    """Return the place for a span that is nothing itself."""
    if not place.counts:
        return place
    return Place(task=place.task, task_name=place.task_name, run=place.run, tool=place.tool, last=place.last)


def _is_same(last: tuple[Node, Role], node: Node, role: Role) -> bool:
    """Return whether two libraries have a span each of one agent run or tool run."""
    outer, outer_role = last
    return outer_role.kind == role.kind and outer.library != node.library and outer_role.name == role.name
