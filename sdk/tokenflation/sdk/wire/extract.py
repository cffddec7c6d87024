"""The engine: documents of an answer in, facts out, by the rules of one dialect. Knows no provider's field names.

A whole JSON body is one document; a stream is one document per event. The same rules read both: whatever a document
says replaces what an earlier one said, and nothing is ever summed over documents but pieces of tool arguments.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tokenflation.sdk.wire.facts import MAX_ANSWER, Facts, note_answer
from tokenflation.sdk.wire.shapes import Answer, EventRule, Part
from tokenflation.sdk.wire.straight import find, function, once, shared
from tokenflation.sdk.wire.toolcalls import append_arguments, call_in, note_call
from tokenflation.sdk.wire.usage import scalars
from tokenflation.sdk.wire.values import Path, at, text, word

__all__ = ["document_reader", "whole"]

_UNBROKEN = ("read", "closed", "dropped", "cancelled")


def _is_answer(document: dict[str, Any], key: str, values: frozenset[str | None]) -> bool:
    value = document.get(key)
    return (value is None or type(value) is str) and value in values


@once
def document_reader(rules: Answer) -> Callable[[Facts, dict[str, Any], str, int], None]:
    """Return the function that takes in one document: the whole answer, or what one streamed event brought.

    It takes the facts, the document, the event's own name, which stands in for a `type` that the document lacks, and
    when it came.
    """
    objects_lines, objects = shared([*rules.errors, *rules.usage], "document")
    lines = list(_answer_lines(rules, objects))
    if rules.only_if is not None:
        lines = ["if is_answer(document, *rules.only_if):", *_indented(lines)]
    return function(  # type: ignore[no-any-return]
        "read(facts, document, name, time_ns)",
        [
            "facts.documents += 1",
            f"kind = document.get({rules.event_key!r}, name)",
            *objects_lines,
            *_error_lines(rules, objects),
            *lines,
            *_end_lines(rules),
            *(["note_event(facts, rules, document, kind, time_ns)"] if rules.events else []),
        ],
        rules=rules,
        text=text,
        note_error=_note_error,
        is_answer=_is_answer,
        note_extra=_note_extra,
        listed=_listed,
        has_counts=_has_counts(rules),
        merge_usage=_merge_usage,
        note_choice=_choice_reader(rules),
        note_blocked=_note_blocked,
        note_event=_note_event,
    )


def _answer_lines(rules: Answer, objects: Mapping[Path, str]) -> Iterator[str]:
    yield "answer = document"
    if rules.apart is not None:
        yield f"number = document.get({rules.apart!r})"
        yield from ("if type(number) is not int:", "    number = 0")
    for path in reversed(rules.envelopes):  # the first that is there wins
        yield from (*find((path,), "document"), "if type(found) is dict:", "    answer = found")
    for field in ("model", "response_id"):
        yield from find(getattr(rules, field), "answer")
        yield f"if found is not None and found != facts.{field}:"  # a stream says the same words with every event
        yield f"    facts.{field} = text(found) or facts.{field}"
    for name, path in rules.extra.items():
        yield from find((path,), "answer")
        yield f"if found is not None and (type(found) is not str or facts.extra.get({name!r}) != found):"
        yield f"    note_extra(facts, {name!r}, found)"
    if rules.kept is not None:
        yield from (*find((rules.kept,), "answer"), "if found is not None:", "    facts.kept = found")
    if rules.mark is not None:
        yield from (*find((rules.mark,), "answer"), "if found is not None:", "    facts.marked = True")
    for path in rules.usage:
        yield from find((path,), "document", "usage", objects)
        if rules.usage_listed is not None:
            yield from ("if type(usage) is list:", "    usage = listed(usage, *rules.usage_listed)")
        yield from ("if usage is not None and type(usage) is dict:", "    facts.counted += 1")
        if rules.merge_usage:
            yield "    facts.counted_in = facts.documents"
            yield "    merge_usage(facts, rules, usage, kind)"
        else:
            yield "    if has_counts(usage):"
            yield "        facts.usage, facts.counted_in = usage, facts.documents"
            if rules.apart is not None:
                yield "        facts.apart[number] = usage"
    if rules.choices is None:
        yield f"note_choice(facts, answer, {'number' if rules.apart is not None else 0}, time_ns)"
        return
    yield from find((rules.choices,), "answer", "choices")
    yield "if type(choices) is list:"
    yield "    for position, choice in enumerate(choices):"
    yield "        if type(choice) is dict:"
    yield "            index = choice.get('index')"
    yield "            note_choice(facts, choice, index if type(index) is int else position, time_ns)"
    if rules.blocked is not None:
        yield from (*find((rules.blocked,), "answer"), "note_blocked(facts, found)")


def _error_lines(rules: Answer, objects: Mapping[Path, str]) -> Iterator[str]:
    yield "error = None"
    for path in rules.errors:
        yield "if not error or type(error) is not dict and type(error) is not str:"
        yield from _indented(find((path,), "document", "error", objects))
        if path[-1:] == ("error",):  # a text there is a message, not a class
            yield from ("    if error and type(error) is str:", "        error = {'message': None}")
    yield "if not error or type(error) is not dict and type(error) is not str:"
    yield "    error = document if kind and type(kind) is str and kind in rules.error_events else None"
    yield "if error is not None:"
    yield "    note_error(facts, rules, error)"


def _end_lines(rules: Answer) -> Iterator[str]:
    ends = "facts.ended = True" if rules.apart is None else "facts.over.add(number)"
    for path in rules.ends_if:
        yield from (*find((path,), "document"), "if found:", f"    {ends}")
    if rules.apart is not None and rules.ends_if:
        yield "facts.ended = len(facts.over) >= len(facts.finish)"


@once
def _choice_reader(rules: Answer) -> Callable[[Facts, dict[str, Any], int, int], None]:
    """Return the function that reads a choice of an answer: why it ended, and its parts."""
    lines = [
        *find(rules.finish, "choice"),
        "if found is None:",
        "    facts.finish.setdefault(index, None)",
        "else:",
        "    note_finish(facts, rules, choice, index, found)",
    ]
    for path in rules.parts:
        lines += [
            *find((path,), "choice"),
            "if type(found) is dict:",
            "    note_part(facts, rules, found, (index, 0), time_ns)",
            "elif type(found) is list:",
            "    note_parts(facts, rules, found, index, time_ns)",
        ]
    names = {"rules": rules, "note_finish": _note_finish, "note_part": _note_part, "note_parts": _note_parts}
    return function("note_choice(facts, choice, index, time_ns)", lines, **names)  # type: ignore[no-any-return]


def _indented(lines: Iterable[str]) -> list[str]:
    return ["    " + line for line in lines]


def whole(facts: Facts, rules: Answer, *, end: str | None, choices: int, counts: bool) -> bool:
    """Return whether a stream that brought these facts came to its end: whether it lost nothing that was asked for.

    `end` is how the host was done with it; it had asked for so many `choices`, and for their `counts` or not. After a
    stream in which every choice has said why it ended, and the counts have come, there is nothing but the terminator,
    which GPUStack, Perplexity and others never send. Read to its end without both, something between may have ended it.
    """
    if rules.ends_unmarked:
        return end == "read" and facts.first_token_ns is not None
    if rules.apart is not None and rules.ends_if and len(facts.over) < choices:
        return False
    finished = bool(facts.finish) and None not in facts.finish.values()
    if rules.ends_with_finish or facts.ended or not finished:
        return finished if rules.ends_with_finish else facts.ended
    counted = facts.counted_in >= facts.finished_in > 0
    return (
        end in _UNBROKEN and len(facts.finish) >= choices and (counted or not (end == "read" or counts or facts.usage))
    )


def _listed(entries: list[Any], name: str, value: str) -> dict[str, Any]:
    """Return the object whose fields these entries hold."""
    return {entry[name]: entry.get(value) for entry in entries if type(entry) is dict and type(entry.get(name)) is str}


def _number(value: Any, otherwise: int) -> int:
    return value if type(value) is int else otherwise


def _note_error(facts: Facts, rules: Answer, error: Any) -> None:
    words = (word(at(error, path)) for path in rules.error_words)
    facts.error = next((found for found in words if found not in (None, "error")), None) or facts.error or "error"


def _note_extra(facts: Facts, name: str, value: Any) -> None:
    kept = scalars(value)
    if kept is not None:
        facts.extra[name] = kept


def _merge_usage(facts: Facts, rules: Answer, usage: dict[str, Any], kind: Any) -> None:
    dropped = rules.placeholders.get(kind, frozenset()) if type(kind) is str else frozenset()
    if rules.said_once:
        dropped |= {key for key in rules.said_once if facts.usage.get(key) and not usage.get(key)}
    facts.usage.update({key: value for key, value in usage.items() if value is not None and key not in dropped})


@once
def _has_counts(rules: Answer) -> Callable[[dict[str, Any]], bool]:
    """Return the function that says whether a usage object has a count of input or of output, or what tells one."""
    lines: list[str] = []
    for count in (rules.input, rules.output):
        if count.each is not None:
            return lambda _: True
        if count.terms:
            paths = (*count.terms[0], *count.zero_beside)
            lines += [*find(paths, "usage"), "if found is not None:", "    return True"]
    return function("has_counts(usage)", [*lines, "return False"])  # type: ignore[no-any-return]


def _note_blocked(facts: Facts, said: Any) -> None:
    reason = word(said)
    if reason is not None and not facts.finish:
        facts.finish[0] = f"blocked:{reason}"


def _note_finish(facts: Facts, rules: Answer, choice: dict[str, Any], index: int, said: Any) -> None:
    reason = word(said)
    if reason is None:
        facts.finish.setdefault(index, None)
    elif reason in rules.failed:
        facts.failed = rules.failed[reason]
        facts.finish[index] = "error"
    elif reason in rules.unfinished:
        facts.finish.setdefault(index, None)
        facts.extra["state"] = reason
    else:
        detail = word(at(choice, rules.finish_detail)) if rules.finish_detail else None
        said_now = f"{reason}:{detail}" if detail else reason
        if facts.finish.get(index) != said_now:
            facts.finished_in = facts.documents
        facts.finish[index] = said_now


def _note_parts(facts: Facts, rules: Answer, parts: list[Any], index: int, time_ns: int) -> None:
    for position, part in enumerate(parts):
        if type(part) is dict:
            _note_part(facts, rules, part, (index, position), time_ns)


def _note_event(facts: Facts, rules: Answer, document: dict[str, Any], kind: Any, time_ns: int) -> None:
    """Take in what an event of a certain type brings, beside what any document brings."""
    wrapper = next((key for key in document if key in rules.events), None) if rules.wrapped else None
    if wrapper is not None and type(document[wrapper]) is dict:
        kind, document = wrapper, document[wrapper]
    rule = rules.events.get(kind) if type(kind) is str else None
    if rule is not None:
        _apply_event(facts, rules, rule, document, time_ns)


def _apply_event(facts: Facts, rules: Answer, rule: EventRule, document: dict[str, Any], time_ns: int) -> None:
    slot = (0, next((document[key] for key in rules.slot if type(document.get(key)) is int), 0))
    if rule.channel != "none":
        content = at(document, rule.content)
        if content:
            _touch(facts, rule.channel, time_ns)
            _note_content(facts, rule.channel, content, slot)
    if rule.part is not None:
        part = at(document, rule.part)
        if type(part) is dict:
            _note_part(facts, rules, part, slot, time_ns)
    if rule.arguments is not None:
        piece = at(document, rule.arguments)
        if piece and type(piece) is str:
            _touch(facts, "answer", time_ns)
            facts.noted_calls += 1
            call = call_in(facts, slot)
            if call is not None:
                append_arguments(call, piece)
    facts.ended = facts.ended or rule.ends


def _touch(facts: Facts, channel: str, time_ns: int) -> None:
    """Note that content of this channel arrived; only the first time counts."""
    if facts.first_token_ns is None:
        facts.first_token_ns = time_ns
    if channel != "reasoning" and facts.first_answer_ns is None:
        facts.first_answer_ns = time_ns


def _note_content(facts: Facts, channel: str, content: Any, slot: tuple[int, int]) -> None:
    """Keep the beginning of the first choice's answer; a stream may repeat at its end what it brought in pieces."""
    if channel != "answer":
        if channel == "reasoning":
            facts.reasoning.add(slot)
    elif type(content) is str and slot[0] == 0 and facts.answer_chars < MAX_ANSWER:
        note_answer(facts, content)


def _note_part(facts: Facts, rules: Answer, part: dict[str, Any], slot: tuple[int, int], time_ns: int) -> None:
    kind = part.get("type")
    rule = rules.typed.get(kind) if type(kind) is str else None
    if rule is not None:
        _apply(facts, rule, part, slot, time_ns)
    flagged = rules.reasoning_flag is not None and part.get(rules.reasoning_flag) is True
    keys = rules.keyed.keys() & part.keys()
    for key in keys if len(keys) < 2 else filter(keys.__contains__, rules.keyed):
        rule, value = rules.keyed[key], part[key]
        if value is None or value == "":
            continue
        if flagged and rule.tool is None:
            _touch(facts, "reasoning", time_ns)
            facts.reasoning.add(slot)
        elif type(value) is str:
            _apply(facts, rule, value, slot, time_ns)
        elif type(value) is dict:
            _apply_entry(facts, rules, rule, value, slot, time_ns)
        elif type(value) is list:
            for position, entry in enumerate(value):
                if type(entry) is dict:
                    _apply_entry(facts, rules, rule, entry, (slot[0], position), time_ns)


def _apply_entry(
    facts: Facts, rules: Answer, rule: Part, entry: dict[str, Any], slot: tuple[int, int], time_ns: int
) -> None:
    """Read an object under a key, or one of a list there: by its own type where the dialect has a rule for it."""
    kind = entry.get("type")
    typed = rules.typed.get(kind) if type(kind) is str and rule.tool is None else None
    _apply(facts, typed or rule, entry, (slot[0], _number(entry.get("index"), slot[1])), time_ns)


def _apply(facts: Facts, rule: Part, value: Any, slot: tuple[int, int], time_ns: int) -> None:
    if rule.tool is not None:
        if type(value) is dict and note_call(facts, rule.tool, value, slot):
            _touch(facts, "answer", time_ns)
    elif rule.channel != "none":
        if rule.channel == "reasoning":
            facts.reasoning.add(slot)  # hidden reasoning has no content
        for path in rule.content:
            content = at(value, path) if path else value
            if content:
                _touch(facts, rule.channel, time_ns)
                _note_content(facts, rule.channel, content, slot)
                break
