"""Straight code for a dialect's look-ups: the paths of its table written out as Python, once for each table.

To walk a table costs several times what the look-ups in it cost, and every answer takes some thirty of them. The code
finds what `values.first` finds along the same paths, which tests hold equal, and holds nothing but the table's own
keys, as literals. Knows no provider.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from tokenflation.sdk.wire.values import Path, first

__all__ = ["find", "function", "lookup", "once", "shared"]

R = TypeVar("R")
T = TypeVar("T")


def once(make: Callable[[R], T]) -> Callable[[R], T]:
    """Return a function that makes something of a table when first asked and keeps it, by the table's identity."""
    made: dict[int, tuple[R, T]] = {}

    def get(table: R) -> T:
        found = made.get(id(table))
        if found is None:
            found = made[id(table)] = table, make(table)  # with the table, whose id is thereby no other's
        return found[1]

    return get


@lru_cache(maxsize=1024)
def lookup(paths: tuple[Path, ...]) -> Callable[[Any], Any]:
    """Return a function that finds in a value what `first` finds along these paths."""
    lines = ["if type(value) is not dict:", "    return first(value, paths)", *find(paths, "value"), "return found"]
    return function("lookup(value)", lines, first=first, paths=paths)  # type: ignore[no-any-return]


def find(
    paths: Iterable[Path], holder: str, target: str = "found", objects: Mapping[Path, str] | None = None
) -> Iterator[str]:
    """Yield the lines that set `target` to the first thing along the paths inside `holder`, a dict, that is not null.

    `objects` are those inside it which were looked up already, by their paths.
    """
    if not paths:
        yield f"{target} = None"
    for number, path in enumerate(paths):
        if number:
            yield f"if {target} is None:"
        indent = "    " if number else ""
        if objects and path[:-1] in objects:
            yield f"{indent}{target} = {objects[path[:-1]]}.get({path[-1]!r})"
            continue
        yield f"{indent}{target} = {holder}" + (f".get({path[0]!r})" if path else "")
        if path[1:]:  # most of these lead nowhere
            yield f"{indent}if {target} is not None:"
        for key in path[1:]:
            if type(key) is int:
                inner = f"{target}[{key}] if type({target}) is list and {key} < len({target}) else None"
            else:
                inner = f"{target}.get({key!r}) if type({target}) is dict else None"
            yield f"{indent}    {target} = {inner}"


def shared(paths: Iterable[Path], holder: str) -> tuple[list[str], dict[Path, str]]:
    """Return lines that look up the objects which several paths lead deep into, each once, and their names by path.

    An object that is not there is an empty one.
    """
    into = Counter(path[:-1] for path in paths if len(path) > 2)
    names = {path: f"{holder}_{number}" for number, path in enumerate(path for path in into if into[path] > 1)}
    lines: list[str] = []
    for path, name in names.items():
        lines += [*find((path,), holder, name), f"if type({name}) is not dict:", f"    {name} = {{}}"]
    return lines, names


def function(signature: str, lines: Iterable[str], **names: Any) -> Any:
    """Return the function of this signature and these lines, in which `names` mean what they are given as."""
    source = "\n    ".join([f"def {signature}:", *lines])
    exec(compile(source, f"<{signature}>", "exec"), names)  # noqa: S102  (made of the tables in this package alone)
    return names[signature.partition("(")[0]]
