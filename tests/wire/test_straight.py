"""The straight code of a dialect's look-ups finds what a walk along its table finds."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.walking import walk

from tokenflation.sdk.wire.dialects import DIALECTS
from tokenflation.sdk.wire.extract import document_reader
from tokenflation.sdk.wire.facts import Facts
from tokenflation.sdk.wire.shapes import Answer
from tokenflation.sdk.wire.straight import lookup, once
from tokenflation.sdk.wire.usage import _sum, usage_of, whole_numbers
from tokenflation.sdk.wire.values import Path, first

RULES = list({id(one.answer): one.answer for some in DIALECTS.values() for one in some}.values())
COUNTS = ("input", "cache_read", "cache_write", "output", "reasoning")
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-1, 2**54), st.floats(allow_nan=False), st.text(max_size=3))
KEYS = st.sampled_from(["a", "b", "c'\"\\"])
PATHS = st.lists(st.lists(KEYS | st.integers(0, 2), max_size=3).map(tuple), max_size=4).map(tuple)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))


def paths_of(rules: Answer) -> list[Path]:
    counts = [getattr(rules, name) for name in COUNTS]
    each = [(*count.each, 0, *path) for count in counts if count.each is not None for path in count.terms[0]]
    return [*each, *(path for count in counts for term in count.terms for path in (*term, *count.zero_beside))]


def put(document: dict[str, Any], path: Path, leaf: Any) -> None:
    """Put a leaf where a path leads, as far as what is there lets it."""
    holder: Any = document
    for key, following in zip(path, (*path[1:], None), strict=True):
        empty: Any = leaf if following is None else [] if type(following) is int else {}
        if type(holder) is dict and type(key) is str:
            holder = holder.setdefault(key, empty)
        elif type(holder) is list and type(key) is int:
            if not holder:
                holder.append(empty)
            holder = holder[0]
        else:
            return


@given(PATHS, VALUES)
def test_straight_code_finds_what_a_walk_along_the_paths_finds(paths: tuple[Path, ...], value: Any) -> None:
    assert lookup(paths)(value) == first(value, paths)


@given(st.data(), st.booleans())
def test_straight_code_counts_what_the_table_of_every_dialect_counts(data: st.DataObject, final: bool) -> None:
    rules = data.draw(st.sampled_from(RULES))
    usage: dict[str, Any] = {}
    for path in data.draw(st.permutations(paths_of(rules))):
        put(usage, path, data.draw(LEAVES))

    found = usage_of(usage, rules, provider="", model="", final=final)

    if rules.input_outside_if is None:
        assert {name: getattr(found, f"{name}_tokens") for name in COUNTS} == {
            name: _sum(whole_numbers(usage) if rules.doubles else usage, getattr(rules, name), final) for name in COUNTS
        }


def places_of(rules: Answer) -> list[Path]:
    """Return where anything that the rules look at may stand in a document."""
    heads = [*rules.model, *rules.response_id, *rules.extra.values()]
    heads += [path for path in (rules.blocked, rules.mark) if path is not None]
    heads += [(rules.apart,)] if rules.apart is not None else []
    in_choice = [*rules.finish, *rules.parts, ("index",), *([rules.finish_detail] if rules.finish_detail else [])]
    choices = () if rules.choices is None else (*rules.choices, 0)
    in_answer = [*heads, *[(*choices, *path) for path in in_choice]]
    in_usage = [(*path, *count) for path in rules.usage for count in paths_of(rules)]
    in_error = [(*path, *said) for path in rules.errors for said in rules.error_words]
    envelopes = [(*envelope, *path) for envelope in rules.envelopes for path in in_answer]
    others = [(rules.event_key,), *rules.ends_if, *rules.errors, *rules.envelopes, *rules.usage]
    return [path for path in (*in_answer, *in_usage, *in_error, *envelopes, *others) if path]


@given(st.data())
def test_straight_code_reads_of_documents_what_the_table_of_every_dialect_says(data: st.DataObject) -> None:
    rules = data.draw(st.sampled_from(RULES))
    places = places_of(rules)
    said = [*rules.unfinished, *rules.failed, *rules.error_events, *rules.placeholders, "stop", "a text", ""]
    leaves = LEAVES | st.sampled_from(said) | st.lists(st.just({"type": "text", "text": "t"}), max_size=2)
    walked, read = Facts(), Facts()

    for time_ns in range(data.draw(st.integers(1, 3))):
        document: dict[str, Any] = {}
        for path in data.draw(st.lists(st.sampled_from(places), max_size=12)):
            put(document, path, data.draw(leaves))
        walk(walked, rules, document, time_ns)
        document_reader(rules)(read, document, "", time_ns)

    assert read == walked


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: "/".join(map(str, rules.usage)))
def test_straight_code_of_no_usage_at_all_counts_nothing(rules: Answer) -> None:
    found = usage_of({}, rules, provider="", model="", final=False)

    assert {getattr(found, f"{name}_tokens") for name in COUNTS} == {None}


def test_what_is_made_of_a_table_is_made_once_for_each_table() -> None:
    asked: list[list[int]] = []
    one, equal = [1, 2], [1, 2]

    @once
    def get(table: list[int]) -> int:
        asked.append(table)
        return len(table)

    assert [get(one), get(equal), get(one)] == [2, 2, 2]
    assert [id(table) for table in asked] == [id(one), id(equal)]
