"""Names are shown whole enough to be told apart, in one line, and never turn what stands beside them."""

import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.analysis.conftest import write_store
from tests.analysis.trees import call

from tokenflation.exporters.report import Live, build_report, page_parts, render_waiting
from tokenflation.exporters.report.names import NO_NAME, listed, short_names, shown_name, with_shown_names


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("triage", "triage"),
        ("", NO_NAME),
        (" \t\u202e", NO_NAME),
        ("line\nbreak", "line break"),
        ("a\u202eevil\u202cb", "aevilb"),
        ("`code`", "'code'"),
        ("a\x00b", "a\N{REPLACEMENT CHARACTER}b"),
        ("אבג", "\u2068אבג\u2069"),
    ],
)
def test_a_name_is_one_line_and_keeps_its_direction_to_itself(name: str, shown: str) -> None:
    assert shown_name(name) == shown


def test_names_in_a_frame_are_those_shown_also_where_they_end_in_nul_or_are_missing() -> None:
    frame = pd.DataFrame({"task": pd.Series(["a\x00", "a", None, "b\n"], dtype="str"), "agent": ["a"] * 4})
    shown = with_shown_names(frame, ("task", "agent", "model"))
    assert shown["task"].fillna("-").tolist() == ["a\N{REPLACEMENT CHARACTER}", "a", "-", "b"]
    assert shown["task"].dtype == frame["task"].dtype
    assert with_shown_names(frame, ("agent",)) is frame


@given(st.text())
def test_every_name_is_shown_as_something_and_shown_again_stays_as_it_is(name: str) -> None:
    shown = shown_name(name)
    assert shown.strip()
    assert shown_name(shown) == shown
    assert not any(unicodedata.category(one) == "Cc" for one in shown)
    assert shown.count("\u2068") == shown.count("\u2069")


def test_names_that_begin_alike_are_cut_to_where_they_part() -> None:
    names = [f"organisation/department/pipeline-{place:03d}/with/a/long/end" for place in range(30)]
    short = short_names([*names, "triage"], 18)
    assert len(set(short)) == 31
    assert max(map(len, short)) <= 18
    assert "007" in short[7]
    assert short[-1] == "triage"


@given(st.lists(st.text(alphabet="abcאב/", max_size=60).map(shown_name)), st.integers(10, 30))
def test_short_names_fit_and_close_what_they_open(names: list[str], letters: int) -> None:
    for name, short in zip(names, short_names(names, letters), strict=True):
        assert len(short) <= letters
        assert short.count("\u2068") == short.count("\u2069")
        assert short == name or "…" in short


def test_a_long_row_of_names_says_how_many_more_there_are() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed([str(one) for one in range(2000)], most=2) == "0, 1 and 1,998 more"


def test_only_names_that_need_it_are_changed_and_the_given_frame_never() -> None:
    frame = pd.DataFrame({"task": ["a", "", None], "agent": ["x", "y", "z"]})
    assert with_shown_names(frame, ("agent", "missing")) is frame
    changed = with_shown_names(frame, ("task", "agent"))
    assert changed["task"].tolist()[:2] == ["a", NO_NAME]
    assert frame["task"].tolist()[1] == ""


@pytest.mark.parametrize("task_id", ["a\x1b[31mb\x00\u202ec\n`d`<i>", "x" * 3_000])
def test_ids_of_any_kind_and_length_stand_cleaned_in_findings_and_titles(task_id: str, tmp_path: Path) -> None:
    parts = {"system_tokens": 5_000, "tool_definition_tokens": 1_000, "tool_result_tokens": 0, "new_tokens": 2_000}
    rows = [
        call(f"c{step}\x07", "r", step, 2 * step, task_id=task_id, input_tokens=8_000, resent_tokens=0, **parts)
        for step in range(4)
    ]
    page = page_parts(build_report(str(write_store(tmp_path / "runs.db", rows))))
    shown = shown_name(task_id).replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#x27;")
    assert f"kind: {shown}</" in page["tasks"]
    assert f"<code>{shown}</code>" in page["findings"]
    said = "".join(page.values())
    assert not {one for one in said if unicodedata.category(one) == "Cc"} - {"\n"}
    assert "\u202e" not in said


def test_the_command_of_a_page_that_waits_can_be_copied_as_it_stands() -> None:
    page = render_waiting("my runs.db", Live(version="0"))
    assert "<code>tokenflation run --store &#x27;my runs.db&#x27; SCRIPT</code>" in page
