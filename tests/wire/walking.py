"""A slow reader of documents that walks a dialect's table, to hold the straight code against."""

from typing import Any

from tokenflation.sdk.wire.extract import _is_answer, _note_blocked, _note_event, _note_finish, _note_part, _note_parts
from tokenflation.sdk.wire.facts import Facts
from tokenflation.sdk.wire.shapes import Answer, Count
from tokenflation.sdk.wire.usage import scalars
from tokenflation.sdk.wire.values import at, first, text, word


def walk(facts: Facts, rules: Answer, document: dict[str, Any], time_ns: int) -> None:
    """Take in one document, as the dialect's `document_reader` does."""
    facts.documents += 1
    kind = document.get(rules.event_key, "")
    walk_errors(facts, rules, document, kind)
    if rules.only_if is None or _is_answer(document, *rules.only_if):
        walk_answer(facts, rules, document, kind, time_ns)
    said = any(at(document, path) for path in rules.ends_if)
    if rules.apart is not None and rules.ends_if:
        facts.over |= {number_of(rules, document)} if said else set()
        facts.ended = facts.over >= facts.finish.keys()
    facts.ended = facts.ended or (said and rules.apart is None)
    _note_event(facts, rules, document, kind, time_ns)


def walk_errors(facts: Facts, rules: Answer, document: dict[str, Any], kind: Any) -> None:
    found = [error for path in rules.errors if (error := at(document, path)) and type(error) in (dict, str)]
    if not found and type(kind) is str and kind in rules.error_events:
        found = [document]
    named = [path for path in rules.errors if (error := at(document, path)) and type(error) in (dict, str)]
    if found and type(found[0]) is str and named[0][-1] == "error":
        found = [{}]
    for error in found[:1]:
        words = [word(at(error, path)) for path in rules.error_words]
        facts.error = next((one for one in words if one not in (None, "error")), None) or facts.error or "error"


def walk_answer(facts: Facts, rules: Answer, document: dict[str, Any], kind: Any, time_ns: int) -> None:
    inner = [found for path in rules.envelopes if type(found := at(document, path)) is dict]
    answer = inner[0] if inner else document
    facts.model = text(first(answer, rules.model)) or facts.model
    facts.response_id = text(first(answer, rules.response_id)) or facts.response_id
    for name, path in rules.extra.items():
        value = scalars(at(answer, path))
        if value is not None:
            facts.extra[name] = value
    facts.marked |= rules.mark is not None and at(answer, rules.mark) is not None
    for usage in [at(document, path) for path in rules.usage]:
        if rules.usage_listed is not None and type(usage) is list:
            name, value = rules.usage_listed
            entries = [entry for entry in usage if type(entry) is dict and type(entry.get(name)) is str]
            usage = {entry[name]: entry.get(value) for entry in entries}
        if type(usage) is dict:
            walk_usage(facts, rules, usage, kind)
            if facts.usage is usage and rules.apart is not None:
                facts.apart[number_of(rules, document)] = usage
    if rules.choices is None:
        walk_choice(facts, rules, answer, number_of(rules, document), time_ns)
        return
    choices = at(answer, rules.choices)
    for position, choice in enumerate(choices if type(choices) is list else ()):
        if type(choice) is dict:
            index = choice.get("index")
            walk_choice(facts, rules, choice, index if type(index) is int else position, time_ns)
    if rules.blocked is not None:
        _note_blocked(facts, at(answer, rules.blocked))


def number_of(rules: Answer, document: dict[str, Any]) -> int:
    number = document.get(rules.apart) if rules.apart is not None else None
    return number if type(number) is int else 0


def walk_usage(facts: Facts, rules: Answer, usage: dict[str, Any], kind: Any) -> None:
    facts.counted += 1
    if rules.merge_usage:
        facts.counted_in = facts.documents
        dropped = rules.placeholders.get(kind, ()) if type(kind) is str else ()
        facts.usage.update({key: value for key, value in usage.items() if value is not None and key not in dropped})
    elif has_count(usage, rules.input) or has_count(usage, rules.output):
        facts.usage, facts.counted_in = usage, facts.documents


def has_count(usage: dict[str, Any], count: Count) -> bool:
    if count.each is not None:
        return True
    return bool(count.terms) and first(usage, (*count.terms[0], *count.zero_beside)) is not None


def walk_choice(facts: Facts, rules: Answer, choice: dict[str, Any], index: int, time_ns: int) -> None:
    _note_finish(facts, rules, choice, index, first(choice, rules.finish))
    for path in rules.parts:
        found = at(choice, path)
        if type(found) is dict:
            _note_part(facts, rules, found, (index, 0), time_ns)
        elif type(found) is list:
            _note_parts(facts, rules, found, index, time_ns)
