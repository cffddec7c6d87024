"""Streamed events that say nothing new, known by their bytes: most of a stream is one event with other words in it.

Two events in a row that differ in nothing but values, of which the second changed no fact, make a template: the bytes
they share, and holes. An event that fits is what the second was, but for those values, so it changes no fact either and
need not be decoded, until another event changes one. A hole is the value of a key that no rule looks at, a text of
generated content (which matters by being there, and has been), or a count: of those the last one counts, so of a run of
events the last is read. Where the last stream of a dialect had its one hole, a piece of the answer makes a template
alone.
"""

import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from tokenflation.sdk.wire.facts import MAX_ANSWER, Facts, note_answer, note_pieces, signature
from tokenflation.sdk.wire.shapes import Answer, Tool
from tokenflation.sdk.wire.straight import once
from tokenflation.sdk.wire.values import Path, loads

__all__ = ["Repeats"]

_MAX_TEMPLATES: Final = 3
_MAX_TRIES: Final = 16
_MAX_BYTES: Final = 4096
"""A longer event costs more to compare than its like would save."""

_SCALAR = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+\-]*)', re.DOTALL)
# What stands in a hole must be JSON: an event that cannot be decoded does not replace the counts of the one before it.
_TEXT = re.compile(rb'[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*')
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_NUMBER = re.compile(rb"-?(?:0|[1-9]\d{0,18})(?:\.\d{1,20})?(?:[eE][+\-]?\d{1,3})?")
_event_of = itemgetter(1)
_marks: dict[int, bytes] = {}
"""By dialect, what stood before the hole of the last template that has one, of a text: `"content": "`."""


class _Template(NamedTuple):
    """Fixed bytes with holes between them."""

    fixed: tuple[bytes, ...]
    numbers: tuple[bool, ...]
    """For each hole: it is a number; else the inside of a JSON text."""
    counts: bool
    """The events hold usage."""
    answer: int
    """The hole in which the answer's text stands; -1 where there is none."""


class Repeats:
    """Takes the events of one stream in order; `add` reads one in full."""

    def __init__(self, facts: Facts, rules: Answer, add: Callable[[int, bytes], None]) -> None:
        self._facts = facts
        self._keys = _keys(rules)
        self._dialect = id(rules)
        self._mark = _marks.get(self._dialect)
        """Where an event by itself may make a template."""
        self._known: tuple[Any, ...] | None = None
        """What the facts say, while nothing but the answer has been added to them."""
        self._add = add
        self._templates: list[_Template] = []
        self._tries = 0
        self._before: bytes | None = None
        self._pending: tuple[_Template, int, bytes] | None = None
        self._fresh = False
        """A template was made since the last look for a run of events that fit it."""

    def events(self, events: Sequence[tuple[int, bytes]]) -> None:
        """Take in some events; a run of those that fit the newest template is taken at once."""
        at = 0
        self._fresh = bool(self._templates)
        while at < len(events):
            if self._fresh:
                self._fresh = False
                at += self._run(events, at)
                continue
            self.event(*events[at])
            at += 1

    def _run(self, events: Sequence[tuple[int, bytes]], at: int) -> int:
        """Skip the events from here on that fit the newest template, if no other stands between; return how many."""
        template = self._templates[0]
        if self._pending is not None or template.counts or template.numbers != (False,):
            return 0
        head, tail = template.fixed
        last = len(events)
        while last > at and not events[last - 1][1].endswith(tail):
            last -= 1
        some = list(map(_event_of, events[at:last]))
        holes = _between(some, head, tail)
        if not holes or _PLAIN.fullmatch(b"".join(holes)) is None:
            return 0
        if template.answer >= 0 and self._facts.answer_chars < MAX_ANSWER:
            try:
                note_pieces(self._facts, holes)
            except UnicodeDecodeError:
                return 0
        return len(holes)

    def event(self, time_ns: int, event: bytes) -> None:
        """Take in one event: skipped if it says nothing new, else read."""
        for template in self._templates:
            if not _fits(event, template):
                continue
            # Nearly all events of a stream: pieces of the answer, or of what is no longer kept.
            if self._pending is None and not template.counts:
                if self._facts.answer_chars < MAX_ANSWER:
                    _note_hole(self._facts, event, template)
            else:
                self._skip(template, time_ns, event)
            return
        if self._pending is not None:
            self.finish()
        if self._tries >= _MAX_TRIES and not self._templates:
            self._add(time_ns, event)
            return
        self._learn(time_ns, event)

    def _skip(self, template: _Template, time_ns: int, event: bytes) -> None:
        """Pass over an event that fits, though one with counts was put off or this has some: of those the last is read.

        What that one added to the answer was not noted yet, as reading it would do so.
        """
        pending = self._pending
        if self._facts.answer_chars < MAX_ANSWER:
            if pending is not None and pending[0] is not template:
                self.finish()
            elif pending is not None:
                _note_hole(self._facts, pending[2], template)
            if not template.counts:
                _note_hole(self._facts, event, template)
        if template.counts:
            if self._pending is not None and self._pending[0] is not template:
                self.finish()
            self._pending = (template, time_ns, event)

    def finish(self) -> None:
        """Read what was put off: the last of a run of events with counts."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._known = None
            self._add(pending[1], pending[2])

    def _learn(self, time_ns: int, event: bytes) -> None:
        """Read an event, and make it and the one before it a template if they are alike and this one said nothing."""
        guess = None
        # Of a first document it is not known whether it is the whole answer.
        if self._mark is not None and not self._templates and self._facts.documents:
            guess = _guess(event, self._mark)
        if guess is not None:
            self._prove(guess, time_ns, event)
            return
        facts, twin = self._facts, self._before
        self._before = event if len(event) <= _MAX_BYTES else None
        if twin is not None and (self._before is None or self._tries >= _MAX_TRIES or not _may_be_alike(twin, event)):
            twin = None
        if twin is None and not self._templates:  # whether it says something new matters to no other event
            self._known = None
            self._add(time_ns, event)
            return
        known, counted, said = self._known or signature(facts), facts.counted, facts.noted_answers
        self._add(time_ns, event)
        self._known = signature(facts)
        if self._known != known:
            self._templates = []  # what said nothing new before would take this back
        elif twin is not None:
            self._tries += 1
            self._make(twin, event, facts.counted != counted, facts.noted_answers - said)

    def _prove(self, guess: _Template, time_ns: int, event: bytes) -> None:
        """Read an event, and make it the template that is guessed if all that it adds is the text in the hole.

        What else it says replaces what was said before, so an event that fits says that again and changes nothing.
        """
        facts = self._facts
        expected = facts.counted, facts.noted_calls, facts.noted_answers + 1
        self._add(time_ns, event)
        self._before, self._known = event, None
        proven = (facts.counted, facts.noted_calls, facts.noted_answers) == expected
        template = _with_answer(guess, event, facts, 1) if proven else None
        if template is None:
            self._mark = None
            return
        self._templates = [template]
        self._fresh = True

    def _make(self, before: bytes, event: bytes, counts: bool, pieces: int) -> None:
        """Make a template of two events that are alike, if they differ in nothing that matters."""
        template = self._like_the_last(before, event, counts)
        if template is not None and self._facts.answer_chars < MAX_ANSWER:
            template = _with_answer(template, event, self._facts, pieces)
        if template is not None:
            self._templates = [template, *self._templates[: _MAX_TEMPLATES - 1]]
            self._fresh = True

    def _like_the_last(self, before: bytes, event: bytes, counts: bool) -> _Template | None:
        """Return what two events share; first looked for where events of the last stream differed."""
        mark = _marks.get(self._dialect)
        template = _at_mark(before, event, mark, counts) if mark is not None else None
        if template is None:
            template = _template(before, event, self._keys, counts)
            if template is not None and template.numbers == (False,):
                head = template.fixed[0]
                _marks[self._dialect] = head[head.rindex(b'"', 0, head.rindex(b'"', 0, -1)) :]
        return template


def _between(events: list[bytes], head: bytes, tail: bytes) -> list[bytes]:
    """Return what stands between head and tail in each event; nothing unless each begins and ends so.

    As many bytes as they have, the same as the template gives with what stands in its holes, are those events.
    """
    holes = list(map(itemgetter(slice(len(head), -len(tail))), events))
    return holes if b"".join(events) == head + (tail + head).join(holes) + tail else []


def _guess(event: bytes, mark: bytes) -> _Template | None:
    """Return an event with a hole for the text behind the first `mark`; None if that is empty, or there twice."""
    start, _, rest = event.partition(mark)
    text = _TEXT.match(rest)
    if text is None or not text.end() or len(event) > _MAX_BYTES or event.count(b'"%b"' % text.group()) != 1:
        return None
    return _Template((start + mark, rest[text.end() :]), (False,), False, -1)


def _at_mark(before: bytes, event: bytes, mark: bytes, counts: bool) -> _Template | None:
    """Return what two events share if they differ in the text behind the first `mark` alone, else None."""
    start, mark_, rest = event.partition(mark)
    text = _TEXT.match(rest) if mark_ else None
    if text is None or before == event:
        return None
    template = _Template((start + mark, rest[text.end() :]), (False,), counts, -1)
    return template if _fits(before, template) else None


def _fits(event: bytes, template: _Template) -> bool:
    fixed, numbers = template.fixed, template.numbers
    if not numbers:
        return event == fixed[0]
    if not event.startswith(fixed[0]) or not event.endswith(fixed[-1]):
        return False
    at = len(fixed[0])
    last = len(event) - len(fixed[-1])
    if len(numbers) == 1:
        return (_NUMBER if numbers[0] else _TEXT).fullmatch(event, at, last) is not None
    for place, number in enumerate(numbers, 1):
        end = last if place == len(numbers) else event.find(fixed[place], at, last)
        if end < at:
            return False
        if (_NUMBER if number else _TEXT).fullmatch(event, at, end) is None:
            return False
        at = end + len(fixed[place])
    return True


def _may_be_alike(before: bytes, event: bytes) -> bool:
    """Return whether two events may have the same keys; with JSON in a text they are not worth the comparison."""
    return before.count(b'":') == event.count(b'":')


def _template(before: bytes, event: bytes, keys: frozenset[bytes], counts: bool) -> _Template | None:
    """Return what two events share, or None if they differ in more than the values of keys that nobody reads."""
    old, new = _SCALAR.split(before), _SCALAR.split(event)
    if len(old) != len(new):
        return None
    fixed: list[bytes] = []
    numbers: list[bool] = []
    start = 0
    opening = b""
    for at, (one, other) in enumerate(zip(old, new, strict=True)):
        if one == other:
            continue
        text = other[:1] == b'"'
        if at % 2 == 0 or text != (one[:1] == b'"') or new[at - 1].strip() != b":":
            return None
        key = new[at - 2]
        if key[1:-1] in keys or b"\\" in key:
            return None
        quote = b'"' if text else b""
        fixed.append(opening + b"".join(new[start:at]) + quote)
        numbers.append(not text)
        opening, start = quote, at + 1
    fixed.append(opening + b"".join(new[start:]))
    return _Template(tuple(fixed), tuple(numbers), counts, -1)


def _holes(event: bytes, template: _Template) -> list[bytes]:
    """Return what stands in the holes of an event that fits."""
    if not template.numbers:
        return []
    found = []
    at = len(template.fixed[0])
    for fixed in template.fixed[1:-1]:
        end = event.find(fixed, at)
        found.append(event[at:end])
        at = end + len(fixed)
    return [*found, event[at : len(event) - len(template.fixed[-1])]]


def _with_answer(template: _Template, event: bytes, facts: Facts, pieces: int) -> _Template | None:
    """Return the template with the hole that holds what this event added to the answer; None if that is not clear.

    `pieces` is how many pieces of the answer the event brought. An empty text might be one as well.
    """
    texts = [None if template.numbers[at] else loads(b'"%b"' % hole) for at, hole in enumerate(_holes(event, template))]
    if "" in texts or pieces > 1:
        return None
    if not pieces:
        return template
    return template._replace(answer=texts.index(facts.answer[-1])) if texts.count(facts.answer[-1]) == 1 else None


def _note_hole(facts: Facts, event: bytes, template: _Template) -> None:
    if template.answer < 0:
        return
    if len(template.numbers) == 1:
        hole = event[len(template.fixed[0]) : len(event) - len(template.fixed[1])]
    else:
        hole = _holes(event, template)[template.answer]
    said = hole.decode() if hole.isascii() and b"\\" not in hole else loads(b'"%b"' % hole)
    if type(said) is str and said:
        note_answer(facts, said)


@once
def _keys(rules: Answer) -> frozenset[bytes]:
    """Return the keys whose values the rules read, other than as content that is there or as counts."""
    paths: list[Path] = [*rules.model, *rules.response_id, *rules.finish, *rules.ends_if, *rules.errors]
    paths += [*rules.extra.values(), *((rules.kept,) if rules.kept else ())]
    paths += [*rules.error_words, *(path for path in (rules.finish_detail, rules.blocked) if path)]
    paths += [rule.arguments for rule in rules.events.values() if rule.arguments]
    names = {"type", "index", rules.event_key, *rules.slot}
    names |= {name for name in (rules.reasoning_flag, rules.blob, rules.only_if and rules.only_if[0]) if name}
    for name, part in (*rules.keyed.items(), *rules.typed.items()):
        if part.tool is not None:
            names.add(name)
            paths += _tool_paths(part.tool)
    names |= {path[-1] for path in paths if path and type(path[-1]) is str}
    return frozenset(name.encode() for name in names)


def _tool_paths(tool: Tool) -> list[Path]:
    return [*tool.id, *tool.name, *tool.arguments, *((tool.server_if[0],) if tool.server_if else ())]
