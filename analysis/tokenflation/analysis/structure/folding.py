"""Makes a tree small enough to look at: neighbours become one node that stands for them, with their sums. Pure."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby

from tokenflation.analysis.structure.trees import Node, added, times_of, walk

__all__ = ["folded", "tool_names"]


def folded(node: Node, *, most: int) -> Node:
    """Return the tree with at most `most` (3 or more) children at every node, half of it in sub-agents; sums stay.

    Neighbours become one node of kind `more`, as little of them as will do: first steps that ask for the same tools,
    then any steps without sub-agents, failed ones last, then all but the largest children. Long stretches of steps stay
    in several pieces where there is room, so that growth can be seen.
    """
    # Inner nodes are made before the nodes around them, without recursion: a store may nest deeper than Python.
    done: dict[int, Node] = {}
    for _, one, _around in reversed(list(walk(node))):
        children = tuple(done[id(child)] for child in one.children)
        room = most if one.depth == 0 else max(3, most // 2)
        done[id(one)] = replace(one, children=_fewer(children, room)) if children else one
    return done[id(node)]


def tool_names(node: Node) -> Counter[str]:
    """Return the tools that a step asks for, with how often; of a node that stands for several, those of all."""
    steps = node.members or (node,)
    return Counter(child.name for step in steps for child in step.children if child.kind == "tool")


def _fewer(children: tuple[Node, ...], most: int) -> tuple[Node, ...]:
    if len(children) <= most:
        return children
    merged = _merged(children, lambda child: ("plain", *sorted(tool_names(child).items())) if _plain(child) else ())
    for is_alike in (_plain, _single):
        if len(merged) > most:
            merged = _merged(children, lambda child: ("alike",) if is_alike(child) else ())  # noqa: B023 - used at once
    if len(merged) > most:
        sizes = sorted(range(len(children)), key=lambda place: (-children[place].total.tokens, place))
        kept = set(sizes[: (most - 1) // 2])
        places = {id(child): place for place, child in enumerate(children)}
        merged = _merged(children, lambda child: () if places[id(child)] in kept else ("rest",))
    return _in_pieces(merged, most)


def _in_pieces(merged: tuple[Node, ...], most: int) -> tuple[Node, ...]:
    """Cut steps without sub-agents into pieces of one round size, the smallest that leaves at most `most` nodes."""
    longest = max(len(one.members) for one in merged)
    for size in (digit * 10**zeros for zeros in range(9) for digit in (2, 5, 10)):
        if size >= longest:
            break
        pieces = tuple(piece for one in merged for piece in _cut(one, size))
        if len(pieces) <= most:
            return pieces
    return merged


def _cut(node: Node, size: int) -> list[Node]:
    if not node.members or not all(map(_single, node.members)):
        return [node]
    return [_one(list(node.members[start : start + size])) for start in range(0, len(node.members), size)]


def _plain(step: Node) -> bool:
    """Return whether a step holds nothing that deserves a line: no failure and no sub-agent."""
    return _single(step) and step.status == "ok"


def _single(step: Node) -> bool:
    return step.kind == "step" and step.total.calls == 1


def _merged(children: Sequence[Node], key: Callable[[Node], tuple[object, ...]]) -> tuple[Node, ...]:
    """Merge neighbours of equal key; those of an empty key stay alone."""
    keys = [(key(child) or ("alone", place), child) for place, child in enumerate(children)]
    groups = [[child for _, child in group] for _, group in groupby(keys, key=lambda pair: pair[0])]
    return tuple(_one(group) for group in groups)


def _one(group: list[Node]) -> Node:
    if len(group) == 1:
        return group[0]
    start, end = times_of(group)
    return Node(
        kind="more",
        id=group[0].id,
        name=group[0].name if len({node.name for node in group}) == 1 else "",
        depth=group[0].depth,
        own=added([node.own for node in group]),
        total=added([node.total for node in group]),
        started_at_ns=start,
        ended_at_ns=end,
        step=group[0].step,
        members=tuple(group),
    )
