"""The demo: its agent on the recorded provider, the check of what was recorded, and its model server."""

import sqlite3
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.stored import rows

import tokenflation.sdk as tf
from tokenflation.cli.demo import command
from tokenflation.cli.work.demo import _check
from tokenflation.demo.drive import drive
from tokenflation.demo.models import Ledger, Models, Reported
from tokenflation.demo.replay import Exchange, Recording, load_recording, record, replay, save_recording
from tokenflation.demo.server import find_weights, serve
from tokenflation.demo.tasks import tasks
from tokenflation.demo.tools import Library, calculate
from tokenflation.demo.truth import differences
from tokenflation.sdk.errors import TokenflationError

REPORTED = Reported(response_id="r1", api="openai.chat", input_tokens=10, cache_read_tokens=4, output_tokens=2)
STORED = {
    "response_id": "r1",
    "api": "openai.chat",
    "status": "ok",
    "input_tokens": 10,
    "cache_read_tokens": 4,
    "output_tokens": 2,
}


def run_recorded(store: Path, runs: int, recording: Recording | None = None) -> tuple[Ledger, list[Any]]:
    """Do the demo's tasks on a recorded provider; returns what it reported and how the tasks went."""
    held, ledger = recording or load_recording(), Ledger()
    with replay(held, pace=0) as url, tf.instrument(store):
        models = Models(url, ledger, held.about["tool_call_token"])
        done = drive(list(tasks(runs)), models, lambda _: None)
        models.close()
    return ledger, done


def test_every_recorded_task_runs_and_every_count_equals_the_servers(tmp_path: Path) -> None:
    ledger, done = run_recorded(tmp_path / "demo.db", load_recording().runs())
    assert [one.error for one in done] == [None] * 30
    assert len(ledger.rows()) == len(rows(tmp_path / "demo.db"))
    assert differences(ledger.rows(), rows(tmp_path / "demo.db")) == []


def test_the_agent_uses_three_apis_tools_and_sub_agents(tmp_path: Path) -> None:
    run_recorded(tmp_path / "demo.db", 2)
    calls = rows(tmp_path / "demo.db")
    assert {call["api"] for call in calls} == {"openai.chat", "openai.responses", "anthropic.messages"}
    assert {(call["agent"], call["depth"]) for call in calls if call["task"] == "explain"} == {
        ("planner", 0),
        ("reader", 1),
    }
    assert {call["stream"] for call in calls} == {0, 1}
    assert {call["structure_source"] for call in calls} == {"scope"}
    assert sum(call["tool_calls"] for call in calls) == 2 * 5
    kinds = rows(tmp_path / "demo.db", "SELECT DISTINCT kind, name FROM spans WHERE kind = 'tool'")
    assert {row["name"] for row in kinds} >= {"ask_reader", "calculate"}


def test_a_task_whose_model_fails_is_reported_and_the_others_go_on(tmp_path: Path) -> None:
    whole = load_recording()
    without = replace(whole, exchanges=tuple(one for one in whole.exchanges if one.task != "compare-00"))
    ledger, done = run_recorded(tmp_path / "demo.db", 1, without)
    assert {one.task.kind for one in done if one.error} == {"compare"}
    assert differences(ledger.rows(), rows(tmp_path / "demo.db")) == []


def test_the_check_finds_nothing_where_all_is_equal() -> None:
    assert differences([REPORTED], [STORED, {**STORED, "status": "error", "response_id": None}]) == []


@pytest.mark.parametrize(
    ("stored", "what"),
    [
        ([{**STORED, "output_tokens": 3}], "output_tokens"),
        ([{**STORED, "cache_read_tokens": float("nan")}], "cache_read_tokens"),
        ([], "calls"),
        ([STORED, STORED], "calls"),
        ([STORED, {**STORED, "response_id": "r2"}], "calls"),
    ],
)
def test_the_check_finds_a_wrong_a_missing_and_a_foreign_call(stored: list[dict[str, Any]], what: str) -> None:
    assert [one.what for one in differences([REPORTED], stored)] == [what]


def test_one_wrong_count_in_the_store_fails_the_demo(tmp_path: Path) -> None:
    store = tmp_path / "demo.db"
    ledger, _ = run_recorded(store, 1)
    _check(ledger.rows(), store)
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE calls SET output_tokens = output_tokens + 1 WHERE task = 'calculate' AND step = 0")
    connection.close()
    with pytest.raises(TokenflationError, match="1 differences"):
        _check(ledger.rows(), store)


def test_the_demo_shows_all_and_writes_all_its_files(tmp_path: Path) -> None:
    for _ in range(2):  # again into the same folder
        ran = CliRunner().invoke(command, ["--replay", "--pace", "0", "--runs", "2", "--out", str(tmp_path)])
        assert (ran.exception, ran.exit_code) == (None, 0), ran.output
    assert "34 of 34 calls: token counts equal the server's own usage" in ran.output
    assert "These are not live model timings" in ran.output
    written = {path.name for path in tmp_path.iterdir()}
    assert written >= {"demo.db", "trace.weka.jsonl", "trace.mooncake.jsonl", "report.html"}


def test_without_the_wheels_the_demo_says_so_and_replays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)  # as Python marks a module that cannot be imported
    ran = CliRunner().invoke(command, ["--pace", "0", "--runs", "1", "--out", str(tmp_path)])
    assert (ran.exception, ran.exit_code) == (None, 0), ran.output
    assert "pip install xllamacpp" in ran.output
    assert "Replaying a recorded provider" in ran.output
    assert "No forecast: plan.tasks_per_day rests on one recorded run" in ran.output


def test_a_recording_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    whole = load_recording()
    save_recording(whole, tmp_path / "again.json.gz")
    assert load_recording(tmp_path / "again.json.gz") == whole
    assert (tmp_path / "again.json.gz").stat().st_size < 300_000


def test_a_file_that_is_no_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.json.gz").write_bytes(b"no")
    with pytest.raises(TokenflationError, match="--record-provider"):
        load_recording(tmp_path / "no.json.gz")


@pytest.mark.parametrize(
    ("expression", "value"),
    [("17 * 23", "391"), ("144 / 12", "12"), ("1 / 3", "0.3333333333"), ("-(2 + 3) // 2", "-3"), ("7 % 4", "3")],
)
def test_the_calculator_calculates(expression: str, value: str) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize("expression", ["1 / 0", "2 **", "open('x')", "2 ** 9", "", "'a' * 3"])
def test_the_calculator_refuses_what_is_no_arithmetic(expression: str) -> None:
    assert calculate(expression).startswith("error: ")


def test_the_library_finds_a_topic_by_its_name_and_cuts_it_into_pages() -> None:
    library = Library()
    assert library.search("yield").startswith("yield: ")
    pages = library.pages("with", 2)
    library.close()
    assert len(pages) == 2
    assert "context manager" in " ".join(pages)


def test_the_library_finds_nothing_for_no_words() -> None:
    library = Library()
    assert (library.search("12 !"), library.pages("zzzzz", 2)) == ("nothing found", [])
    library.close()


def test_a_model_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenflationError):
        find_weights(tmp_path / "none.gguf")


def test_the_model_server_ends_with_the_block_that_started_it(tmp_path: Path) -> None:
    try:
        weights = find_weights()
    except TokenflationError as error:
        pytest.skip(str(error))
    with pytest.raises(KeyboardInterrupt), serve(weights, tmp_path / "server.log") as url:  # noqa: PT012
        with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
            assert response.status == 200
        raise KeyboardInterrupt
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{url}/health", timeout=5)


def test_a_server_that_cannot_start_says_where_it_says_why(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not a model")
    with pytest.raises(TokenflationError, match=r"server\.log"), serve(broken, tmp_path / "server.log"):
        pass


def test_a_provider_that_is_recorded_answers_the_same_when_replayed(tmp_path: Path) -> None:
    whole, taken = load_recording(), list[Exchange]()
    with replay(whole, pace=0) as live, record(live, taken) as url:
        models = Models(url, Ledger(), whole.about["tool_call_token"])
        done = drive(list(tasks(1)), models, lambda _: None)
        models.close()
    again = Recording(about=whole.about, exchanges=tuple(taken))
    assert again.runs() == 1
    _, replayed = run_recorded(tmp_path / "demo.db", 1, again)
    assert {(one.answer, one.once) for one in replayed} == {(one.answer, one.once) for one in done}
