"""`tokenflation export` on a real store: what it writes, prints and refuses."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.exporters.frames import rolling

from tokenflation.cli import main
from tokenflation.sdk.records import Call
from tokenflation.sdk.store.write import Batch, open_writer

_START_NS = 1_700_000_000_000_000_000


def _call(task: str, task_id: str, step: int, **values: Any) -> Call:
    given: dict[str, Any] = {
        "call_id": f"{task_id}-{step}",
        "trace_id": "0" * 32,
        "task": task,
        "task_id": task_id,
        "agent": "main",
        "agent_run_id": task_id,
        "step": step,
        "provider": "p",
        "api": "openai.chat",
        "model": "m",
        "started_at_ns": _START_NS + step * 2_000_000_000,
        "ended_at_ns": _START_NS + step * 2_000_000_000 + 500_000_000,
        "duration_s": 0.5,
        "input_tokens": 640,
        "output_tokens": 10,
        "block_hashes": rolling(*map(str, range(10))),
    }
    return Call(**given | values)


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Return a store of two kinds: `fix` with two calls, `ask` with one and one without usage."""
    path = tmp_path / "runs.db"
    calls = [_call("fix", "f1", 0), _call("fix", "f1", 1), _call("ask", "a1", 0)]
    calls.append(_call("ask", "a1", 1, input_tokens=None, output_tokens=None, block_hashes=None, status="error"))
    with closing(open_writer(path)) as writer:
        writer.write(Batch(calls=calls))
    return str(path)


def _exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["export", *arguments])
    return int(caught.value.code or 0)


def test_the_command_writes_both_formats_with_the_recorded_hashes(store: str, tmp_path: Path) -> None:
    assert _exit_code(store, str(tmp_path / "weka.jsonl"), "--format", "weka") == 0
    assert _exit_code(store, str(tmp_path / "moon.jsonl"), "--format", "mooncake", "--block-size", "128") == 0

    sessions = [json.loads(line) for line in (tmp_path / "weka.jsonl").read_text().splitlines()]
    assert sorted(session["id"] for session in sessions) == ["a1", "f1"]
    rows = [json.loads(line) for line in (tmp_path / "moon.jsonl").read_text().splitlines()]
    assert [(row["timestamp"], row["hash_ids"]) for row in rows] == [(t, [0, 1, 2, 3, 4]) for t in (0, 0, 2000)]


def test_the_command_says_what_it_wrote_and_what_it_skipped(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _exit_code(store, str(tmp_path / "out.jsonl"), "--format", "weka")

    printed = capsys.readouterr()
    assert "2 tasks, 3 calls, 1,920 input and 30 output tokens" in printed.out
    assert "note: 1 call skipped" in printed.out
    assert "skipped: a1-1" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize("name", ["parquet", "speedscope", "pprof"])
def test_tokens_that_nobody_reports_are_no_zero_in_what_the_command_says(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(open_writer(tmp_path / "silent.db")) as writer:
        writer.write(Batch(calls=[_call("fix", "f1", step, output_tokens=None, block_hashes=None) for step in (0, 1)]))
    out = str(tmp_path / "out")

    assert _exit_code(str(tmp_path / "silent.db"), out, "--format", name) == 0
    told = capsys.readouterr().out
    assert "1 task, 2 calls, 1,280 input tokens, output tokens not reported\n" in told
    assert "block ids" not in told
    assert _exit_code(str(tmp_path / "silent.db"), out, "--format", name, "--json") == 0
    assert json.loads(capsys.readouterr().out)["output_tokens"] == (0 if name == "parquet" else None)  # nothing new


def test_commands_read_several_stores_through_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "fleet")
    for number in (1, 2):
        path = tmp_path / f"{number}.db"
        with closing(open_writer(path)) as writer:
            writer.write(Batch(calls=[_call("fix", f"f{number}", step, call_id=f"{number}-{step}") for step in (0, 1)]))
        assert _exit_code(str(path), folder, "--format", "parquet", "--quiet-s", "0") == 0
    capsys.readouterr()

    for command in ("profile", "structure"):
        with pytest.raises(SystemExit, match="0"):
            main([command, folder, "--json"])
        (kind,) = json.loads(capsys.readouterr().out)
        assert (kind["task"], kind["tasks"]) == ("fix", 2)


@pytest.mark.parametrize("name", ["weka", "mooncake"])
def test_a_call_with_more_tokens_than_a_prompt_can_have_is_refused_and_nothing_is_left(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(open_writer(tmp_path / "huge.db")) as writer:
        writer.write(Batch(calls=[_call("fix", "f1", 0), _call("fix", "f1", 1, input_tokens=10**14)]))
    out = tmp_path / "out"
    out.mkdir()

    assert _exit_code(str(tmp_path / "huge.db"), str(out / "trace.jsonl"), "--format", name) == 1
    assert "Call f1-1 has 100,000,000,000,000 input tokens, more than" in capsys.readouterr().err
    assert list(out.iterdir()) == []


def test_json_output_is_one_object_and_a_kind_can_be_chosen(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _exit_code(store, str(tmp_path / "out.jsonl"), "--format", "mooncake", "--task", "fix", "--sessions", "--json")

    told = json.loads(capsys.readouterr().out)
    assert (told["format"], told["sessions"], told["calls"], told["block_size"]) == ("mooncake", 1, 2, 512)
    assert json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])["session_id"] == "f1"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--format", "weka", "--task", "nope"], 1, "it has ask, fix"),
        (["--format", "mooncake", "--block-size", "100"], 1, "multiple of 64"),
        (["--format", "csv"], 2, "'csv' is not one of"),
        ([], 2, "--format"),
    ],
)
def test_wrong_input_is_one_clear_message_and_no_file(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    assert _exit_code(store, str(tmp_path / "out.jsonl"), *arguments) == code

    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize(
    "arguments",
    [
        "report {} -o {}/new/",
        "plan init {} -o {}/new/",
        "forecast {} --tasks-per-day 1000 -o {}/new.csv/",
        *(f"export {{}} {{}}/new/ --format {name}" for name in ("mooncake", "speedscope", "pprof")),
    ],
)
def test_a_name_that_ends_as_a_folders_does_makes_no_file(
    store: str, tmp_path: Path, arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments.format(store, tmp_path).split())
    assert caught.value.code == 1
    assert "is a folder, and what is written is one file" in capsys.readouterr().err
    assert not list(tmp_path.glob("new*"))
