"""From a provider's usage object to our five counts, by the rules of a dialect. Knows no field names of its own."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from tokenflation.sdk.records import Usage
from tokenflation.sdk.wire.shapes import Answer, Count
from tokenflation.sdk.wire.straight import find, function, once
from tokenflation.sdk.wire.values import MAX_COUNT, Path, at, count_of, first, word

__all__ = ["consistent", "scalars", "together", "usage_extra", "usage_of", "whole_numbers"]

_Wanted = dict[str | int, tuple[list[tuple[str, Path]], dict[str | int, str]]]
"""First key of some paths -> name and rest of the path of each; the second key -> the name, of those that
end with it.
"""


_DIGITS = re.compile(r"\d+", re.ASCII)


def usage_of(raw: Mapping[str, Any], rules: Answer, *, provider: str, model: str, final: bool) -> Usage:
    """Return the counts in `raw`; a field that is no token count is left out, the others stay.

    `final`: the answer came to its end. Before that a missing count is unknown, even where it would mean zero.
    """
    raw = whole_numbers(raw) if rules.doubles else raw
    usage = _counter(rules)(raw, final)
    if usage.reasoning_tokens is not None and rules.reasoning_apart is not None:
        own, mark = rules.reasoning_apart
        if at(raw, own) is not None and at(raw, mark) is not None:
            usage = replace(usage, reasoning_tokens=None)
    if provider == rules.reasoning_beside[0] and model.startswith(rules.reasoning_beside[1]):
        return _with_reasoning(usage)
    if provider in rules.reasoning_outside or model.startswith(rules.reasoning_outside_models or ("\0",)):
        return _with_reasoning_from_total(usage, raw, rules)
    if rules.input_outside_if is not None and count_of(at(raw, rules.input_outside_if)):
        outside = _beyond(usage, raw, rules)
        return replace(usage, input_tokens=(usage.input_tokens or 0) + outside) if outside else usage
    return usage


def together(
    each: Mapping[int, Mapping[str, Any]], rules: Answer, samples: int, *, provider: str, model: str, final: bool
) -> Usage:
    """Return the counts of several answers, by their numbers; a count that one of them lacks is unknown.

    So many `samples` in a row answer one prompt, which counts once, as it does for a provider's choices.
    """
    usages = {number: usage_of(raw, rules, provider=provider, model=model, final=final) for number, raw in each.items()}
    prompts = {number // samples: one for number, one in sorted(usages.items(), reverse=True)}
    return Usage(
        input_tokens=_all("input_tokens", prompts),
        cache_read_tokens=_all("cache_read_tokens", prompts),
        cache_write_tokens=_all("cache_write_tokens", prompts),
        output_tokens=_all("output_tokens", usages),
        reasoning_tokens=_all("reasoning_tokens", usages),
    )


def _all(name: str, usages: Mapping[int, Usage]) -> int | None:
    counts = [getattr(one, name) for one in usages.values()]
    return None if None in counts else count_of(sum(counts))


def consistent(usage: Usage) -> tuple[Usage, dict[str, int]]:
    """Return the counts with no part above its total, and what the provider said of parts that were, by name.

    A provider that says so contradicts itself. The total is what it bills, so the part is cut to it.
    """
    said: dict[str, int] = {}
    for name, part, total in (
        ("raw_cache_read_tokens", usage.cache_read_tokens, usage.input_tokens),
        ("raw_cache_write_tokens", usage.cache_write_tokens, usage.input_tokens),
        ("raw_reasoning_tokens", usage.reasoning_tokens, usage.output_tokens),
    ):
        if part is not None and total is not None and part > total:
            said[name] = part
    if not said:
        return usage, said
    totals = {"raw_reasoning_tokens": usage.output_tokens}
    return replace(usage, **{name[4:]: totals.get(name, usage.input_tokens) for name in said}), said


def whole_numbers(value: Any, depth: int = 4) -> Any:
    """Return `value` with each whole number that is a double or a text as an int, as deep as counts stand in usage."""
    kind = type(value)
    if (kind is float and value.is_integer()) or (kind is str and len(value) <= 16 and _DIGITS.fullmatch(value)):
        return int(value)
    if kind is dict and depth:
        return {key: whole_numbers(entry, depth - 1) for key, entry in value.items()}
    if kind is list and depth:
        return [whole_numbers(entry, depth - 1) for entry in value]
    return value


@once
def _counter(rules: Answer) -> Callable[[Mapping[str, Any], bool], Usage]:
    """Return the function that finds the five counts, before anything is known of who reports them."""
    counts = {
        "input_tokens": rules.input,
        "cache_read_tokens": rules.cache_read,
        "cache_write_tokens": rules.cache_write,
        "output_tokens": rules.output,
        "reasoning_tokens": rules.reasoning,
    }
    lines = [line for name, count in counts.items() for line in _count_lines(name, count)]
    lines.append(f"return Usage({', '.join(f'{name}={name}' for name in counts)})")
    names = {f"{name}_rule": count for name, count in counts.items()}
    return function("usage(raw, final)", lines, Usage=Usage, total=_sum, **names)  # type: ignore[no-any-return]


def _count_lines(name: str, count: Count) -> Iterator[str]:
    """Yield the lines that set `name` to a count; those of one number alone, as nearly all are, do without `_sum`."""
    if not count.terms:
        yield f"{name} = None"
        return
    if count.each is not None or count.zero_beside:
        yield f"{name} = total(raw, {name}_rule, final)"
        return
    yield from find(count.terms[0], "raw", name)
    more = tuple(path for term in count.terms[1:] for path in term)
    if more:
        yield from find(more, "raw", "more")
        yield "if more is not None:"
        yield f"    {name} = total(raw, {name}_rule, final)"
    yield f"if type({name}) is not int or not 0 <= {name} <= {MAX_COUNT}:"
    yield f"    {name} = None"


def _sum(raw: Mapping[str, Any], count: Count, final: bool) -> int | None:
    if count.each is not None:
        entries = at(raw, count.each)
        counts = [count_of(first(entry, count.terms[0])) for entry in entries] if type(entries) is list else []
        known = [one for one in counts if one is not None]
        return count_of(sum(known)) if len(known) == len(counts) > 0 else None
    total: int | None = None
    for position, term in enumerate(count.terms):
        found = first(raw, term)
        if found is None:
            if position > 0:
                continue
            if not final or not any(count_of(at(raw, path)) is not None for path in count.zero_beside):
                return None
            found = 0
        tokens = count_of(found)
        if tokens is None or len(count.terms) == 1:
            return tokens
        total = tokens if total is None else total + tokens
    return count_of(total)  # what no single field may be, no sum is either


def _with_reasoning(usage: Usage) -> Usage:
    """Add the reasoning to an output count that leaves it out."""
    if usage.output_tokens is None or usage.reasoning_tokens is None:
        return usage
    return replace(usage, output_tokens=usage.output_tokens + usage.reasoning_tokens)


def _with_reasoning_from_total(usage: Usage, raw: Mapping[str, Any], rules: Answer) -> Usage:
    """Add what the total has beyond input and output: reasoning that the output count leaves out."""
    outside = _beyond(usage, raw, rules)
    if not outside:
        return usage
    reasoning = outside if usage.reasoning_tokens is None else usage.reasoning_tokens
    return replace(usage, output_tokens=(usage.output_tokens or 0) + outside, reasoning_tokens=reasoning)


def _beyond(usage: Usage, raw: Mapping[str, Any], rules: Answer) -> int:
    """Return the tokens that the provider's total has beyond input and output; 0 where one of the three is missing."""
    total = count_of(at(raw, rules.total)) if rules.total else None
    if total is None or usage.input_tokens is None or usage.output_tokens is None:
        return 0
    return max(0, total - usage.input_tokens - usage.output_tokens)


def usage_extra(raw: Mapping[str, Any], rules: Answer) -> dict[str, Any]:
    """Return what the usage object says beyond our counts: cost, tiers, modalities, sums over hidden iterations."""
    extra: dict[str, Any] = {}
    raw = whole_numbers(raw) if rules.doubles else raw
    by_key = _by_key(rules)
    for key, holder in raw.items():
        if holder is None or key not in by_key:
            continue
        wanted, by_second = by_key[key]
        if type(holder) is not dict or len(by_second) < len(wanted):
            found = [(name, at(holder, rest)) for name, rest in wanted]
        else:
            found = [(by_second[second], holder[second]) for second in by_second.keys() & holder.keys()]
        for name, entry in found:
            if entry is not None and (value := scalars(entry)) is not None:
                extra[name] = value
    for key, names in rules.split.items():
        for share, tokens in _shares(raw.get(key), *rules.split_by):
            name = names.replace("{}", share)
            extra[name] = extra.get(name, 0) + tokens
    iterations = at(raw, rules.iterations) if rules.iterations else None
    if type(iterations) is list:
        extra.update(_iterations([entry for entry in iterations if type(entry) is dict], rules))
    return extra


@once
def _by_key(rules: Answer) -> _Wanted:
    """Return what `rules.usage_extra` asks for by its first key: each object is looked up once."""
    found: _Wanted = {}
    for name, path in rules.usage_extra.items():
        wanted, by_second = found.setdefault(path[0], ([], {}))
        wanted.append((name, path[1:]))
        if len(path) == 2:
            by_second[path[1]] = name
    return found


def _shares(entries: Any, name: str, tokens: str) -> list[tuple[str, int]]:
    """Return whose share each entry counts, and its tokens; one that is named by an enum's number is left out."""
    if type(entries) is not list:
        return []
    pairs = [(at(entry, (name,)), count_of(at(entry, (tokens,)))) for entry in entries]
    return [
        (share.lower(), count)
        for share, count in pairs
        if type(share) is str and word(share) is not None and count is not None
    ]


def _iterations(entries: list[dict[str, Any]], rules: Answer) -> dict[str, int]:
    """Return the sums over all iterations (what is billed), and apart those that are not the message itself."""
    sums: dict[str, int] = {}
    for entry in entries:
        kind = word(entry.get("type")) or "message"
        for side, count in (("input", rules.input), ("output", rules.output)):
            tokens = _sum(entry, count, True)
            names = [f"billed_{side}_tokens"] + ([f"{kind}_{side}_tokens"] if kind != "message" else [])
            for name in names:
                sums[name] = sums.get(name, 0) + (tokens or 0)
    return sums


def scalars(value: Any) -> Any:
    """Return a finite number, a flag, an identifier, or an object's entries that are so; None for anything else."""
    kind = type(value)
    if kind is int:
        return value if -MAX_COUNT <= value <= MAX_COUNT else None
    if kind is dict:
        kept = {key: scalars(entry) for key, entry in value.items() if word(key) and type(entry) is not dict}
        return {key: entry for key, entry in kept.items() if entry is not None} or None
    if kind is str:
        return word(value)
    if kind is bool:
        return value
    if kind is float:
        return value if math.isfinite(value) and abs(value) <= MAX_COUNT else None
    return None
