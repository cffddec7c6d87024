"""Mooncake rows: units, order, block counts and what is left out."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.exporters.frames import call, frame, rolling

from tokenflation.exporters import write
from tokenflation.sdk.errors import ExportError


def _written(calls: pd.DataFrame, tmp_path: Path, **options: Any) -> list[dict[str, Any]]:
    write(calls, tmp_path / "out.jsonl", format="mooncake", **options)
    return [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]


def _two_tasks() -> pd.DataFrame:
    return frame(
        [
            call(at_s=0, task_id="a", agent_run_id="ra"),
            call(at_s=9.0004, task_id="a", agent_run_id="ra", step=1, input_tokens=1500, output_tokens=7),
            call(at_s=2.5, task_id="b", agent_run_id="rb"),
        ]
    )


def test_rows_are_ordered_by_whole_milliseconds_since_the_earliest_call(tmp_path: Path) -> None:
    rows = _written(_two_tasks(), tmp_path)

    assert [row["timestamp"] for row in rows] == [0, 2500, 9000]
    assert all(isinstance(row["timestamp"], int) for row in rows)


def test_the_summary_tells_of_models_that_the_format_cannot_name_and_of_empty_answers(tmp_path: Path) -> None:
    calls = frame(
        [call(model="big"), call(model="embedder", output_tokens=0), call(model="embedder", output_tokens=None)]
    )

    summary = write(calls, tmp_path / "out.jsonl", format="mooncake")

    assert any(note.startswith("calls of 2 models") for note in summary.notes)
    assert any(note.startswith("1 call with 0 output tokens") and "written as 1;" in note for note in summary.notes)


def test_an_answer_of_none_or_of_an_unknown_number_is_one_token_which_every_reader_takes(tmp_path: Path) -> None:
    calls = frame([call(at_s=0, output_tokens=7), call(at_s=1, output_tokens=0), call(at_s=2, output_tokens=None)])

    assert [row["output_length"] for row in _written(calls, tmp_path)] == [7, 1, 1]


def test_no_sum_of_outputs_is_told_where_no_call_reports_one(tmp_path: Path) -> None:
    calls = frame([call(output_tokens=None), call(at_s=1, output_tokens=None)])

    assert write(calls, tmp_path / "out.jsonl", format="mooncake").output_tokens is None
    assert write(calls, tmp_path / "out.jsonl", format="weka").output_tokens is None


def test_a_row_has_sizes_and_ids_and_no_session_unless_asked(tmp_path: Path) -> None:
    rows = _written(_two_tasks(), tmp_path)
    grouped = _written(_two_tasks(), tmp_path, sessions=True)

    assert set(rows[0]) == {"timestamp", "input_length", "output_length", "hash_ids"}
    assert (rows[2]["input_length"], rows[2]["output_length"]) == (1500, 7)
    assert [row["session_id"] for row in grouped] == ["a", "b", "a"]


def test_rows_of_a_session_wait_as_long_as_all_before_them_had_ended(tmp_path: Path) -> None:
    calls = frame(
        [
            call(at_s=0, step=0, duration_s=4.0),
            call(at_s=1, agent_run_id="sub", depth=1, duration_s=1.0),
            call(at_s=6.5, step=1, duration_s=None),
            call(at_s=20, step=2),
        ]
    )

    rows = _written(calls, tmp_path, sessions=True)

    assert [row.get("delay") for row in rows] == [None, 0, 2500, None]
    assert not any("delay" in row for row in _written(calls, tmp_path))


def test_what_ran_at_once_and_is_sent_in_turn_is_told(tmp_path: Path) -> None:
    calls = frame([call(step=0, duration_s=4.0), *(call(at_s=1, agent_run_id=run, depth=1) for run in ("x", "y"))])
    told = write(calls, tmp_path / "out.jsonl", format="mooncake", sessions=True).notes
    assert "2 calls begun while another of its task ran: Dynamo sends them one after another (--sessions)" in told
    assert not any("begun" in note for note in write(calls, tmp_path / "out.jsonl", format="mooncake").notes)


@pytest.mark.parametrize("block_size", [64, 128, 512, 1024])
@pytest.mark.parametrize("input_tokens", [1, 64, 65, 511, 512, 513, 4097])
def test_every_row_has_as_many_ids_as_blocks_begun(tmp_path: Path, block_size: int, input_tokens: int) -> None:
    hashes = rolling(*map(str, range(-(-input_tokens // 64))))
    calls = frame(
        [call(input_tokens=input_tokens, block_hashes=hashes), call(input_tokens=input_tokens, shared_blocks=0)]
    )

    rows = _written(calls, tmp_path, block_size=block_size)

    assert [len(row["hash_ids"]) for row in rows] == [-(-input_tokens // block_size)] * 2


def test_a_task_with_a_start_offset_begins_there_and_keeps_its_own_gaps(tmp_path: Path) -> None:
    rows = _written(_two_tasks(), tmp_path, start_offsets_s={"a": 100.0})

    assert [row["timestamp"] for row in rows] == [2500, 100000, 109000]


def test_a_start_offset_before_the_trace_or_for_an_unknown_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="0 or more"):
        _written(_two_tasks(), tmp_path, start_offsets_s={"a": -1.0})
    with pytest.raises(ExportError, match="do not have"):
        _written(_two_tasks(), tmp_path, start_offsets_s={"c": 1.0})


def test_the_earliest_written_call_is_at_zero_even_when_earlier_ones_are_skipped(tmp_path: Path) -> None:
    calls = frame(
        [
            call(at_s=0, task_id="a", agent_run_id="ra", input_tokens=None),
            call(at_s=5, task_id="a", agent_run_id="ra", step=1),
            call(at_s=3, task_id="b", agent_run_id="rb"),
        ]
    )

    assert [row["timestamp"] for row in _written(calls, tmp_path)] == [0, 2000]


def test_equal_prompts_of_different_tasks_share_ids_over_the_whole_file(tmp_path: Path) -> None:
    hashes = rolling(*"abcdefgh")
    calls = frame([call(task_id=name, agent_run_id=name, input_tokens=512, block_hashes=hashes) for name in "xy"])

    first, second = _written(calls, tmp_path)

    assert first["hash_ids"] == second["hash_ids"] == [0]


def test_mooncake_is_one_file_never_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="is a folder"):
        write(_two_tasks(), tmp_path, format="mooncake")


def _sharing(*prompts: str) -> pd.DataFrame:
    """Return calls of one task; a letter is the content of a block of 64 tokens."""
    rows, seen = [], set[bytes]()
    for at, prompt in enumerate(prompts):
        keys = rolling(*prompt)
        cut = [keys[: 8 * end] for end in range(1, len(prompt) + 1)]
        shared = sum(one in seen for one in cut)
        seen |= set(cut)
        rows.append(call(at_s=at, step=at, input_tokens=64 * len(prompt), block_hashes=keys, shared_blocks=shared))
    return frame(rows)


def test_reuse_that_ends_inside_a_block_is_counted_and_named(tmp_path: Path) -> None:
    calls = _sharing("aaaaab", "aaaaac", "aaaaaaaaad", "aaaaaaaaae")

    summary = write(calls, tmp_path / "out.jsonl", format="mooncake")

    # The second and third share 5 blocks of 64 tokens, none of 512; of the 9 that the fourth shares, 8 are one of 512.
    (note,) = summary.notes
    assert note.startswith("3 calls sharing a beginning that ends inside a block of 512 tokens: 704 tokens of reuse")
    assert note.endswith("(34 % of the input) do not show; blocks of 64 keep them")
    assert write(calls, tmp_path / "out.jsonl", format="mooncake", block_size=64).notes == ()


def test_reuse_that_whole_blocks_show_is_not_named(tmp_path: Path) -> None:
    calls = _sharing("a" * 16, "a" * 16 + "b", "a" * 16 + "b")

    assert write(calls, tmp_path / "out.jsonl", format="mooncake").notes == ()


def _beginning_alike() -> pd.DataFrame:
    """Return two tasks of one kind with one opening of 4 blocks of 64 tokens, and one of another kind with it too."""
    rows = []
    for at, (kind, name) in enumerate((("fix", "x"), ("fix", "y"), ("other", "z"))):
        shared = {"task": kind, "task_id": name, "agent_run_id": name}
        rows.append(call(at_s=at, input_tokens=320, block_hashes=rolling(*"abcd", name), shared_blocks=0, **shared))
        keys = rolling(*"abcd", name, "e")
        rows.append(call(at_s=at + 9, step=1, input_tokens=384, block_hashes=keys, shared_blocks=5, **shared))
    return frame(rows)


def test_reuse_between_tasks_that_ends_inside_a_block_is_counted_too(tmp_path: Path) -> None:
    summary = write(_beginning_alike(), tmp_path / "out.jsonl", format="mooncake")

    # Each second call shares 5 blocks with its own task, and the first of `y` 4 with that of `x`.
    (note,) = summary.notes
    assert note.startswith("4 calls sharing a beginning that ends inside a block of 512 tokens: 1,216 tokens of reuse")
