"""Writes flame graphs as pprof reads them: a gzipped protocol buffer, one sample per call.

A call that does not report a measure has 0 there, as the format has no other way, and the label `usage` says so.
Source: https://github.com/google/pprof/blob/main/proto/profile.proto; field numbers below are those of the messages
there.
"""

import gzip
from collections.abc import Iterable, Iterator

from tokenflation.exporters.flamegraph import Flames, Sample

__all__ = ["encode_pprof"]

_VALUES = (
    ("input_tokens", "tokens"),
    ("output_tokens", "tokens"),
    ("reasoning_tokens", "tokens"),
    ("cache_read_tokens", "tokens"),
    ("calls", "count"),
)


class _Strings(dict[str, int]):
    """The string table: text to its place; the first is empty, as the format demands."""

    def __init__(self) -> None:
        super().__init__({"": 0})

    def __missing__(self, text: str) -> int:
        return self.setdefault(text, len(self))


def encode_pprof(flames: Flames) -> bytes:
    """Return the profile; the default measure is input tokens."""
    strings = _Strings()
    places: dict[str, int] = {}
    body = b"".join(_field(1, _value_type(strings, name, unit)) for name, unit in _VALUES)
    body += b"".join(_field(2, _sample(sample, strings, places)) for sample in flames.samples)
    for frame, place in places.items():
        # A location is one place in one function; here both are the frame.
        body += _field(4, _number(1, place) + _field(4, _number(1, place)))
        body += _field(5, _number(1, place) + _number(2, strings[frame]) + _number(3, strings[frame]))
    default, comment = strings["input_tokens"], strings["Tokens by task, agent, step and tool, by tokenflation."]
    body += b"".join(_field(6, text.encode("utf-8", "replace")) for text in strings)
    body += _number(9, flames.started_at_ns) + _number(10, flames.ended_at_ns - flames.started_at_ns)
    body += _packed(13, [comment]) + _number(14, default)
    # No time of writing in the header: the same calls give the same file.
    return gzip.compress(body, mtime=0)


def _sample(sample: Sample, strings: _Strings, places: dict[str, int]) -> bytes:
    # The format wants the innermost frame first; ids count from 1.
    stack = [places.setdefault(frame, len(places) + 1) for frame in reversed(sample.stack)]
    values = [getattr(sample.totals, name) or 0 for name, _ in _VALUES]
    labels = b"".join(
        _field(3, _number(1, strings[key]) + _number(2, strings[text])) for key, text in _labels(sample) if text
    )
    return _packed(1, stack) + _packed(2, values) + labels


def _labels(sample: Sample) -> Iterator[tuple[str, str]]:
    yield "task_id", sample.task_id
    yield "agent_run_id", sample.agent_run_id
    yield "model", sample.model or ""
    yield "status", sample.status
    totals = sample.totals
    missing = [
        side for side, known in (("input", totals.calls_with_input), ("output", totals.calls_with_output)) if not known
    ]
    yield "usage", f"{' and '.join(missing)} not reported" if missing else ""


def _value_type(strings: _Strings, name: str, unit: str) -> bytes:
    return _number(1, strings[name]) + _number(2, strings[unit])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _packed(field: int, values: Iterable[int]) -> bytes:
    return _field(field, b"".join(map(_varint, values)))


def _varint(value: int) -> bytes:
    """Return a number in groups of seven bits, the lowest first; a negative one as its 64-bit complement."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
