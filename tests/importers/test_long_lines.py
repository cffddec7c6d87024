"""First lines that are longer, or nested deeper, than anyone should write: they cost that record and nothing else."""

import io
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.importers.test_damaged_logs import CALLS, SAMPLES, SWE_AGENT, _import

from tokenflation.sdk.importers.files import reading
from tokenflation.sdk.importers.files.beginnings import first_keys, objects_behind, opening

_LINES = ["claude.jsonl", "weka.jsonl"]  # one that is read by lines alone, one that may be a document too
_LONG = b"x" * (17 << 20)
_DEEP = 100_000


@pytest.mark.parametrize("name", _LINES)
@pytest.mark.parametrize("shape", ["picture", "cut record"])
def test_a_first_line_longer_than_all_that_is_looked_at_costs_no_other_record(name: str, shape: str) -> None:
    first = b'{"picture": "' + _LONG + b'"}' if shape == "picture" else _LONG
    summary, calls = _import({name: first + b"\n" + SAMPLES[name].encode()})
    assert summary is not None
    assert (len(calls), summary.foreign) == (CALLS[name], {})
    assert sum(summary.broken.values()) == 1 or shape == "picture"


@pytest.mark.parametrize("name", _LINES)
@pytest.mark.parametrize("shape", ["arrays", "objects", "arrays that never end"])
def test_a_first_line_of_deep_nesting_costs_no_other_record(name: str, shape: str) -> None:
    opened, closed = ("[" * _DEEP, "]" * _DEEP) if "arrays" in shape else ('{"a":' * _DEEP + "1", "}" * _DEEP)
    first = opened if "never" in shape else opened + closed
    summary, calls = _import({name: f"{first}\n{SAMPLES[name]}".encode()})
    assert summary is not None
    assert (len(calls), summary.broken) == (CALLS[name], {"nested too deeply": 1})


def test_a_document_whose_telling_keys_stand_behind_a_long_value_is_known() -> None:
    long = {"blob": _LONG.decode(), **SWE_AGENT}
    summary, calls = _import({"run.txt": json.dumps(long).encode()})
    assert summary is not None
    assert (len(calls), summary.formats) == (1, {"SWE-agent trajectory": 1})


def test_a_line_that_no_memory_should_hold_is_left_out_by_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_LONGEST_LINE", 50_000)
    lines = SAMPLES["claude.jsonl"].splitlines()
    summary, calls = _import({"a.jsonl": "\n".join([lines[0], "x" * 50_001, *lines[1:]]).encode()})
    assert summary is not None
    assert len(calls) == CALLS["claude.jsonl"]
    assert [(one.where.rsplit(":", 1)[1], one.detail) for one in summary.problems] == [("2", "it has 50,002 bytes")]


_JSON = st.recursive(
    st.none() | st.integers() | st.text(st.sampled_from('ab"\\{}[]:,\u00e4'), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.sampled_from('ab"\\'), max_size=3), inner, max_size=3)
    ),
)


@example(value={"\\\\\\": 0}, around=False, cuts=[*range(60)], ascii_=False)
@given(value=_JSON, around=st.booleans(), cuts=st.lists(st.integers(0, 400)), ascii_=st.booleans())
def test_the_keys_of_a_first_object_are_the_same_however_its_text_is_cut(
    value: Any, around: bool, cuts: list[int], ascii_: bool
) -> None:
    record = {"kind": value, "behind": 1, "a\\": value}
    text = json.dumps([record] if around else record, ensure_ascii=ascii_).encode()
    at = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    parts = [text[start:end] for start, end in pairwise(at)]
    assert first_keys(parts) == first_keys([text])
    assert {"kind", "behind"} <= first_keys(parts)


def test_a_key_of_any_length_takes_no_more_memory_than_its_beginning() -> None:
    parts = [b'{"', *[b"k" * 1000] * 5, b'": 1, "b": 2}']
    assert first_keys(parts) == {"k" * 1024, "b"}


def test_objects_are_found_behind_lines_of_any_length() -> None:
    file = io.BytesIO(b"x" * 3_000_000 + b"\nnonsense\n" + b"y" * (17 << 20) + b'\n{"a": 1}\n{"b": 2}\n[3]\n')
    assert objects_behind(file) == ({"a": 1}, {"b": 2})


@given(blank=st.integers(0, 70_000), length=st.integers(0, 200_000))
def test_an_opening_shows_the_line_behind_a_long_first_one(blank: int, length: int) -> None:
    start = opening(io.BytesIO(b" " * blank + b"[" + b"x" * length + b'\n{"a": 1}\n'))
    assert start[:1] == b"["
    assert start.split(b"\n")[1:] == [b'{"a": 1}', b""]
