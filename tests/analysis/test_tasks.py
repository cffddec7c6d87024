"""Grouping calls into tasks: worked by hand, and by properties that hold for any calls."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pandas as pd
import pytest
from hypothesis import given, settings

from tokenflation.analysis import load, tasks
from tokenflation.analysis.columns import TASK_COLUMNS
from tokenflation.analysis.reduce import TASKS_SQL
from tokenflation.sdk.errors import FrameError

Calls = Callable[..., pd.DataFrame]
SECOND_NS = 1_000_000_000

PARTS = ("system_tokens", "tool_definition_tokens", "resent_tokens", "tool_result_tokens", "new_tokens")


def test_a_task_is_the_sum_of_its_calls(make_calls: Calls) -> None:
    calls = make_calls(
        [
            {"input_tokens": 100, "output_tokens": 10, "tool_calls": 1, "attempts": 3},
            {"input_tokens": 300, "output_tokens": 30, "depth": 1, "agent_run_id": "sub", "tool_calls": 2},
            {"input_tokens": 200, "output_tokens": 20},
            {"task_id": "other", "input_tokens": 7, "output_tokens": 1},
        ]
    )

    row = tasks(calls).iloc[0]

    assert (row["calls"], row["attempts"], row["tool_calls"]) == (3, 5, 3)
    assert (row["agent_runs"], row["sub_agent_runs"], row["sub_agent_calls"], row["depth"]) == (2, 1, 1, 1)
    assert (row["input_tokens"], row["output_tokens"], row["peak_context_tokens"]) == (600, 60, 300)
    assert (row["isl"], row["osl"], row["input_over_peak_context"]) == (200.0, 20.0, 2.0)


def test_the_columns_are_those_of_the_contract_in_their_types(make_calls: Calls) -> None:
    frame = tasks(make_calls([{}]))

    assert list(frame.columns) == list(TASK_COLUMNS)
    kinds = {"int": "int64", "float": "float64", "text": "str"}
    assert all(str(frame[name].dtype).lower() == kinds[column.kind] for name, column in TASK_COLUMNS.items())


def test_what_nobody_reports_is_missing_and_never_zero(make_calls: Calls) -> None:
    row = tasks(make_calls([{"status": "error"}, {"status": "cut"}])).iloc[0]

    assert (row["calls"], row["failed_calls"], row["calls_with_usage"]) == (2, 2, 0)
    for name in ("input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens", "isl", "cache_hit_rate"):
        assert pd.isna(row[name])


def test_a_reported_zero_stays_zero(make_calls: Calls) -> None:
    row = tasks(
        make_calls([{"input_tokens": 9, "output_tokens": 4, "cache_read_tokens": 0, "reasoning_tokens": 0}])
    ).iloc[0]

    assert (row["cache_read_tokens"], row["cache_hit_rate"]) == (0, 0.0)
    assert (row["reasoning_tokens"], row["reasoning_share"]) == (0, 0.0)


def test_a_rate_counts_only_the_calls_that_report_both_of_its_parts(make_calls: Calls) -> None:
    calls = make_calls(
        [
            {"input_tokens": 100, "cache_read_tokens": 50, "output_tokens": 10, "reasoning_tokens": 5},
            {"input_tokens": 900, "output_tokens": 90},
            {"cache_read_tokens": 10, "reasoning_tokens": 10},
        ]
    )

    row = tasks(calls).iloc[0]

    assert (row["cache_hit_rate"], row["reasoning_share"]) == (0.5, 0.5)
    assert (row["cache_read_tokens"], row["cache_reported_input_tokens"]) == (50, 100)
    assert (row["calls_with_input"], row["calls_with_output"], row["calls_with_usage"]) == (2, 2, 2)


def test_blocks_are_counted_from_the_input_where_the_source_gives_no_count(make_calls: Calls) -> None:
    calls = make_calls(
        [
            {"input_tokens": 65, "shared_blocks": 1},
            {"input_tokens": 128, "shared_blocks": 0},
            {"input_tokens": 640, "shared_blocks": 3, "prefix_blocks": 9},
            {"input_tokens": 640, "prefix_blocks": 10},
        ]
    )

    row = tasks(calls).iloc[0]

    assert (row["prefix_blocks"], row["shared_blocks"]) == (2 + 2 + 9, 4)
    assert row["cache_hit_rate_blocks"] == pytest.approx(4 / 13)


def test_a_shared_prefix_is_never_longer_than_the_input(make_calls: Calls) -> None:
    row = tasks(make_calls([{"input_tokens": 65, "shared_blocks": 2}, {"shared_blocks": 2}])).iloc[0]

    assert row["shared_prefix_tokens"] == 65


def test_cached_tokens_are_the_providers_where_it_says_and_else_the_shared_prefix(make_calls: Calls) -> None:
    calls = make_calls(
        [
            {"input_tokens": 640, "cache_read_tokens": 100, "shared_blocks": 10},
            {"input_tokens": 640, "shared_blocks": 2},
            {"input_tokens": 640},
            {},
        ]
    )

    row = tasks(calls).iloc[0]

    assert row["cached_tokens"] == 100 + 128
    sources = ("provider", "blocks", "none")
    assert [row[f"cached_by_{source}_calls"] for source in sources] == [1, 1, 1]


@pytest.mark.parametrize(
    ("times", "duration_s"),
    [
        ([(0, 4), (6, 9)], 9.0),
        ([(0, 9), (1, 3)], 9.0),
        ([(0, None), (6, 9)], 9.0),
        ([(0, 4), (6, None)], None),
        ([(0, None)], None),
    ],
)
def test_a_duration_is_known_when_the_last_end_is(
    make_calls: Calls, times: list[tuple[int, int | None]], duration_s: float | None
) -> None:
    ends = [None if end is None else end * SECOND_NS for _, end in times]
    rows = [
        {"started_at_ns": start * SECOND_NS, "ended_at_ns": end} for (start, _), end in zip(times, ends, strict=True)
    ]

    found = tasks(make_calls(rows))["duration_s"].iloc[0]

    assert pd.isna(found) if duration_s is None else found == duration_s


def test_equal_ids_of_two_kinds_are_two_tasks(make_calls: Calls) -> None:
    frame = tasks(make_calls([{"task": "a", "task_id": "1"}, {"task": "b", "task_id": "1"}]))

    assert list(frame["task"]) == ["a", "b"]


def test_the_callers_frame_is_not_changed(make_calls: Calls) -> None:
    calls = make_calls([{"input_tokens": 1}, {}])
    before = calls.copy(deep=True)

    tasks(calls)

    pd.testing.assert_frame_equal(calls, before)


def test_a_frame_without_its_columns_is_refused_with_what_it_lacks(make_calls: Calls) -> None:
    with pytest.raises(FrameError, match=r"tasks\(\) needs columns \['depth'\].*load"):
        tasks(make_calls([{}]).drop(columns="depth"))


@pytest.mark.parametrize("wrong", [[1], 3, None])
def test_what_is_no_frame_is_refused(wrong: Any) -> None:
    with pytest.raises(FrameError, match=r"takes a DataFrame"):
        tasks(wrong)


def test_a_frame_without_rows_is_refused(make_calls: Calls) -> None:
    with pytest.raises(FrameError, match="without rows"):
        tasks(make_calls([{}]).iloc[:0])


def test_a_column_of_another_type_is_refused_with_its_meaning(make_calls: Calls) -> None:
    with pytest.raises(FrameError, match=r"input_tokens.*cached ones included"):
        tasks(make_calls([{}]).assign(input_tokens="many"))


_count = st.one_of(st.none(), st.integers(0, 2**40))
_call = st.fixed_dictionaries(
    {
        "task": st.sampled_from(["a", "b"]),
        "task_id": st.sampled_from(["1", "2", "3"]),
        "agent_run_id": st.sampled_from(["x", "y"]),
        "depth": st.integers(0, 3),
        "status": st.sampled_from(["ok", "error", "cut", "cancelled"]),
        "ended_at_ns": st.one_of(st.none(), st.integers(1_790_000_000 * SECOND_NS, 1_800_000_000 * SECOND_NS)),
        "input_tokens": _count,
        "output_tokens": _count,
        "cache_read_tokens": _count,
        "reasoning_tokens": _count,
        "shared_blocks": st.one_of(st.none(), st.integers(0, 2**30)),
        "prefix_blocks": st.one_of(st.none(), st.integers(0, 2**30)),
    }
)


@settings(deadline=None, max_examples=30)
@given(rows=st.lists(_call, min_size=1, max_size=12), weights=st.lists(st.integers(0, 9), min_size=5, max_size=5))
def test_tasks_keep_every_call_and_every_token(
    make_calls: Calls, rows: list[dict[str, Any]], weights: list[int]
) -> None:
    for row in rows:
        row |= dict.fromkeys(PARTS) if row["input_tokens"] is None else _split(row["input_tokens"], weights)

    frame = tasks(make_calls(rows))

    assert frame["calls"].sum() == len(rows)
    for name in ("input_tokens", "output_tokens", *PARTS):
        assert frame[name].sum() == sum(row[name] or 0 for row in rows)
    split = frame.dropna(subset=["input_tokens"])
    assert (split[list(PARTS)].sum(axis=1) == split["input_tokens"]).all()
    assert (frame["cached_tokens"].fillna(0) >= 0).all()


def _split(total: int, weights: list[int]) -> dict[str, int]:
    shares = [total * weight // (sum(weights) or 1) for weight in weights]
    shares[-1] += total - sum(shares)
    return dict(zip(PARTS, shares, strict=True))


@settings(deadline=None, max_examples=12)
@given(rows=st.lists(_call, min_size=1, max_size=12))
def test_the_same_text_gives_the_same_tasks_on_another_engine(
    tmp_path_factory: pytest.TempPathFactory, make_any_store: Callable[..., Path], rows: list[dict[str, Any]]
) -> None:
    path = make_any_store(tmp_path_factory.mktemp("store") / "runs.db", rows)
    with closing(sqlite3.connect(path)) as connection:
        elsewhere = pd.DataFrame(
            connection.execute(f"{TASKS_SQL} order by started_at_ns, task, task_id").fetchall(),
            columns=list(TASK_COLUMNS),
        )

    frame = tasks(load(path))

    pd.testing.assert_frame_equal(elsewhere.astype(frame.dtypes.to_dict()), frame, rtol=1e-12)
