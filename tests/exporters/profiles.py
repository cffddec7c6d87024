"""Readers of flame graphs that share nothing with our writers: made from the formats' own definitions."""

import gzip
from collections import Counter
from typing import Any, Literal

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.unknown_fields import UnknownFieldSet

# Message, field number, type and name as in https://github.com/google/pprof/blob/main/proto/profile.proto
_MESSAGES = {
    "Profile": (
        (1, "ValueType*", "sample_type"), (2, "Sample*", "sample"), (3, "Mapping*", "mapping"),
        (4, "Location*", "location"), (5, "Function*", "function"), (6, "string*", "string_table"),
        (7, "int64", "drop_frames"), (8, "int64", "keep_frames"), (9, "int64", "time_nanos"),
        (10, "int64", "duration_nanos"), (11, "ValueType", "period_type"), (12, "int64", "period"),
        (13, "int64*", "comment"), (14, "int64", "default_sample_type"), (15, "int64", "doc_url"),
    ),
    "ValueType": ((1, "int64", "type"), (2, "int64", "unit")),
    "Sample": ((1, "uint64*", "location_id"), (2, "int64*", "value"), (3, "Label*", "label")),
    "Label": ((1, "int64", "key"), (2, "int64", "str"), (3, "int64", "num"), (4, "int64", "num_unit")),
    "Mapping": ((1, "uint64", "id"),),
    "Location": (
        (1, "uint64", "id"), (2, "uint64", "mapping_id"), (3, "uint64", "address"), (4, "Line*", "line"),
        (5, "bool", "is_folded"),
    ),
    "Line": ((1, "uint64", "function_id"), (2, "int64", "line"), (3, "int64", "column")),
    "Function": (
        (1, "uint64", "id"), (2, "int64", "name"), (3, "int64", "system_name"), (4, "int64", "filename"),
        (5, "int64", "start_line"),
    ),
}  # fmt: skip
_PLAIN = {"int64": 3, "uint64": 4, "bool": 8, "string": 9}


def _profile_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="profile.proto", package="perftools.profiles", syntax="proto3")
    for message, parts in _MESSAGES.items():
        made = file.message_type.add(name=message)
        for number, kind, name in parts:
            base = kind.removesuffix("*")
            field = made.field.add(
                name=name, number=number, label=3 if kind.endswith("*") else 1, type=_PLAIN.get(base, 11)
            )
            if base not in _PLAIN:
                field.type_name = f".perftools.profiles.{base}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("perftools.profiles.Profile"))


_PROFILE = _profile_class()


def pprof_message(content: bytes) -> Any:
    """Return the message; fails on a field that the format does not know."""
    message = _PROFILE()
    message.ParseFromString(gzip.decompress(content))
    assert len(UnknownFieldSet(message)) == 0
    return message


def pprof_samples(content: bytes) -> list[tuple[tuple[str, ...], dict[str, int], dict[str, str]]]:
    """Return (frames, outermost first; values by name; labels) of each sample, as pprof resolves them."""
    message = pprof_message(content)
    text = message.string_table
    assert text[0] == ""
    functions = {one.id: text[one.name] for one in message.function}
    frames = {one.id: functions[one.line[0].function_id] for one in message.location}
    assert 0 not in functions
    assert 0 not in frames
    types = [text[one.type] for one in message.sample_type]
    return [
        (
            tuple(frames[id_] for id_ in reversed(sample.location_id)),
            dict(zip(types, sample.value, strict=True)),
            {text[label.key]: text[label.str] for label in sample.label},
        )
        for sample in message.sample
    ]


# As in https://www.speedscope.app/file-format-schema.json, of the two kinds of profile the one that we write.
class _Frame(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class _Shared(msgspec.Struct, forbid_unknown_fields=True):
    frames: list[_Frame]


class Sampled(msgspec.Struct, forbid_unknown_fields=True):
    """One profile."""

    type: Literal["sampled"]
    name: str
    unit: Literal["none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"]
    startValue: int  # noqa: N815 - the format's own names
    endValue: int  # noqa: N815
    samples: list[list[int]]
    weights: list[int]


class File(msgspec.Struct, forbid_unknown_fields=True):
    """A speedscope file."""

    schema: Literal["https://www.speedscope.app/file-format-schema.json"] = msgspec.field(name="$schema")
    shared: _Shared
    profiles: list[Sampled]
    name: str
    activeProfileIndex: int  # noqa: N815
    exporter: str


def speedscope_file(content: bytes) -> File:
    """Return the file, held to the types of its schema and to what the schema says in words."""
    file = msgspec.json.decode(content, type=File)
    for profile in file.profiles:
        assert len(profile.samples) == len(profile.weights)
        assert profile.startValue + sum(profile.weights) == profile.endValue
        assert all(0 <= place < len(file.shared.frames) for stack in profile.samples for place in stack)
    return file


def speedscope_stacks(content: bytes, name: str) -> Counter[tuple[str, ...]]:
    """Return the weight of each stack, outermost frame first, in the profile whose name begins so."""
    file = speedscope_file(content)
    found: Counter[tuple[str, ...]] = Counter()
    for profile in file.profiles:
        if profile.name.startswith(name):
            for stack, weight in zip(profile.samples, profile.weights, strict=True):
                found[tuple(file.shared.frames[place].name for place in stack)] += weight
    return found
