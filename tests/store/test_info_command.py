"""`tokenflation info` as its user sees it."""

import csv
import io
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import pytest
from msgspec.structs import replace
from tests.store.builders import call, span

from tokenflation.cli import main
from tokenflation.sdk.store.contents import info
from tokenflation.sdk.store.journals.journal import Begun, Ended, Journal
from tokenflation.sdk.store.losses import forget_losses, note_losses
from tokenflation.sdk.store.tables import SCHEMA_VERSION
from tokenflation.sdk.store.write import Batch, open_writer


def _store(tmp_path: Path, batch: Batch) -> Path:
    writer = open_writer(tmp_path / "runs.db")
    writer.write(batch)
    writer.close()
    return tmp_path / "runs.db"


def _words(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_info_shows_contents_and_that_nothing_was_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main_arguments = ["info", str(_store(tmp_path, Batch(calls=[call(1, input_tokens=1000)])))]
    with pytest.raises(SystemExit, match="0"):
        main(main_arguments)
    lines = _words(capsys.readouterr().out)
    assert "tokens input 1,000, output not reported" in lines
    assert "time 2023-11-14 22:13:20 to 2023-11-14 22:13:20 UTC" in lines
    assert "lost nothing" in lines


def test_info_tells_tasks_whose_id_was_used_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scopes = [replace(span(number), task_id=id_) for number, id_ in enumerate(("T-1", "T-1", "T-2"), 1)]
    store = _store(tmp_path, Batch(calls=[call(1)], spans=scopes))
    with pytest.raises(SystemExit, match="0"):
        main(["info", str(store)])
    said = "1 task opened more than once under one id: what was recorded counts as one task"
    assert said in _words(capsys.readouterr().out)


def test_info_of_scopes_alone_counts_no_tasks_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = _store(tmp_path, Batch(spans=[span(1)]))
    with pytest.raises(SystemExit, match="0"):
        main(["info", str(store)])
    lines = _words(capsys.readouterr().out)
    assert "tasks none with calls" in lines
    assert "0 attempts, 0 tool calls, 1 span" in lines


def test_info_says_of_how_many_calls_attempts_are_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = _store(tmp_path, Batch(calls=[call(1), call(2)]))
    with pytest.raises(SystemExit, match="0"):
        main(["info", str(store)])
    assert "attempts not recorded, 0 tool calls, 0 spans" in _words(capsys.readouterr().out)


def test_info_shows_losses_by_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = _store(tmp_path, Batch(drops={"queue_full": 1200, "parser_error": 1}))
    with pytest.raises(SystemExit, match="0"):
        main(["info", str(store)])
    lines = _words(capsys.readouterr().out)
    assert "LOST 1,201 records: parser_error 1, queue_full 1,200" in lines
    assert "no calls: record with `tokenflation run` or `tokenflation import` first" in lines


def test_info_shows_losses_where_no_store_could_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    note_losses(tmp_path / "never.db", "one", {"waiting_for_store": 3})
    with pytest.raises(SystemExit, match="0"):
        main(["info", str(tmp_path / "never.db")])
    forget_losses(tmp_path / "never.db", "one")
    lines = _words(capsys.readouterr().out)
    assert "LOST 3 records: waiting_for_store 3" in lines
    assert any("if their program still runs or left its `underway` file" in line for line in lines)


def test_info_shows_calls_that_a_killed_program_left_beside_a_store_that_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal.open(tmp_path / "runs.db")
    for number in range(2):
        slot = journal.begin(Begun(f"{number:016x}", 1_700_000_000_000_000_000 + number, "openai.chat", "openai"))
        journal.end(slot, Ended(1_700_000_000_100_000_000, "read", 200, usage={"prompt_tokens": 7}))
    with pytest.raises(SystemExit, match="1"):
        main(["info", str(tmp_path / "runs.db")])  # its program is alive
    assert "no such file" in capsys.readouterr().err
    journal.leave()
    with pytest.raises(SystemExit, match="0"):
        main(["info", str(tmp_path / "runs.db")])
    lines = _words(capsys.readouterr().out)
    assert lines[1:3] == ["there is no store", "beside 2 calls of programs that ended, in runs.db.underway-*"]
    open_writer(tmp_path / "runs.db").close()
    found = info(tmp_path / "runs.db")
    assert (found["rows"]["calls"], found["input_tokens"], found["left_beside"]) == (2, 14, 0)


def test_info_says_what_each_reason_of_a_loss_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = _store(tmp_path, Batch(drops={"unseen:openai.chat": 1, "unseen:x_ai": 1, "export_unfinished": 4}))
    with pytest.raises(SystemExit, match="0"):
        main(["info", str(store)])
    lines = _words(capsys.readouterr().out)
    assert [line.partition(":")[0] for line in lines[-2:]] == ["export_unfinished", "unseen"]
    assert "the rows are in the store" in lines[-2]


def test_info_as_json_is_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = _store(tmp_path, Batch(calls=[call(1)]))
    with pytest.raises(SystemExit, match="0"):
        main(["info", str(store), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"]["calls"], found["lost"], found["drops"]) == (1, 0, {})


def test_info_as_csv_has_one_line_per_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = _store(tmp_path, Batch(calls=[call(1, model="a, b", input_tokens=7)]))
    with pytest.raises(SystemExit, match="0"):
        main(["info", str(store), "--csv"])
    rows = dict(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert (rows["name"], rows["rows.calls"], rows["models.0.model"], rows["output_tokens"]) == (
        "value",
        "1",
        "a, b",
        "",
    )
    with pytest.raises(SystemExit, match="2"):
        main(["info", str(store), "--csv", "--json"])


def test_info_says_which_models_answered_where_they_are_not_those_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [None, "gpt-5", "gpt-5-2", "gpt-5-1", "gpt-5-1"]
    calls = [call(at, model="gpt-5", response_model=one) for at, one in enumerate(answers, 1)]
    store = _store(tmp_path, Batch(calls=[*calls, call(9, model="own", response_model="own")]))
    with pytest.raises(SystemExit, match="0"):
        main(["info", str(store)])
    shown = " ".join(_words(capsys.readouterr().out))
    assert "gpt-5 (openai, answered as gpt-5-1, gpt-5-2): 5 calls" in shown
    assert "own (openai): 1 call" in shown
    assert [row["answered_as"] for row in info(store)["models"]] == [["gpt-5-1", "gpt-5-2"], []]


def test_info_speaks_of_one_in_the_singular(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["info", str(_store(tmp_path, Batch(calls=[call(1)], drops={"queue_full": 1})))])
    text = capsys.readouterr().out
    assert "): 1 call, input" in text
    assert "1 record: queue_full 1" in text


def test_what_is_no_store_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.db").write_text("not a store at all")
    with pytest.raises(SystemExit, match="1"):
        main(["info", str(tmp_path / "notes.db")])
    assert capsys.readouterr().err.startswith("tokenflation: ")


@pytest.mark.parametrize("command", [["info", "{}"], ["import", "{}", "--store", "other.db"]])
def test_a_file_that_may_not_be_read_is_exit_code_1_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    # As the system answers a user without rights; root, whom tests may run as, is refused nothing.
    def refuse(path: Path, *args: Any, **kwargs: Any) -> IO[Any]:
        if path.name == "a.jsonl":
            raise PermissionError(13, "Permission denied", str(path))
        return open(path, *args, **kwargs)

    (tmp_path / "a.jsonl").write_text("secret")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(os, "access", lambda path, *_: Path(path).name != "a.jsonl")
    with pytest.raises(SystemExit, match="1"):
        main([part.format("a.jsonl") for part in command])
    assert "Permission denied." in capsys.readouterr().err


def test_info_says_that_a_store_names_no_key_and_no_maker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = _store(tmp_path, Batch(calls=[call(1)]))
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("delete from meta where name in ('key_id', 'created_by')")
        connection.commit()
    with pytest.raises(SystemExit, match="0"):
        main(["info", str(store)])
    lines = _words(capsys.readouterr().out)
    assert "hash key none: the store says nothing of one" in lines
    assert f"schema version {SCHEMA_VERSION}" in lines
