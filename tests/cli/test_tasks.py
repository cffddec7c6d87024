"""`tokenflation tasks`: kinds of tasks and their names."""

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from tests.store.builders import call

import tokenflation.analysis as an
from tokenflation.cli.main import _tokenflation
from tokenflation.sdk.store.write import Batch, open_writer


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "runs.db"
    writer = open_writer(path)
    writer.write(Batch(calls=[call(1), call(2)]))
    writer.close()
    return path


def _kinds(*arguments: str) -> list[dict[str, object]]:
    done = CliRunner().invoke(_tokenflation, ["tasks", *arguments, "--json"], catch_exceptions=False)
    found: list[dict[str, object]] = json.loads(done.output)
    return found


def test_a_new_name_holds_for_rows_that_came_before_and_after(store: Path) -> None:
    (kind,) = _kinds(str(store))
    (renamed,) = _kinds(str(store), "--rename", str(kind["task"]), "triage")
    assert (renamed["task"], renamed["name"]) == (kind["task"], "triage")
    writer = open_writer(store)
    writer.write(Batch(calls=[call(3)]))
    writer.close()
    assert list(an.load(store)["task"]) == ["triage"] * 3


def test_a_name_can_be_changed_again_and_taken_back(store: Path) -> None:
    (kind,) = _kinds(str(store))
    recorded = str(kind["task"])
    (again,) = _kinds(str(store), "--rename", recorded, "triage", "--rename", "triage", "sorting")
    assert again["name"] == "sorting"
    (back,) = _kinds(str(store), "--rename", "sorting", recorded)
    assert back["name"] == recorded


def test_what_kinds_are_recorded_as_is_shown_where_one_was_renamed(store: Path) -> None:
    (kind,) = _kinds(str(store))
    head, _ = CliRunner().invoke(_tokenflation, ["tasks", str(store)]).output.splitlines()
    assert head.split() == ["name", "tasks", "calls", "agent", "runs", "depth"]
    named = CliRunner().invoke(_tokenflation, ["tasks", str(store), "--rename", str(kind["task"]), "sorting"]).output
    head, row = (line.split() for line in named.splitlines())
    assert (head[1:3], row[:2]) == (["recorded", "as"], ["sorting", kind["task"]])


def test_all_kinds_that_a_pattern_fits_get_one_name_and_a_kind_of_that_very_name_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    recorded = ("task-12ab", "task-34cd", "task-embeddings", "task-*")
    writer = open_writer(path)
    writer.write(Batch(calls=[replace(call(n), task=kind, task_id=str(n)) for n, kind in enumerate(recorded)]))
    writer.close()

    found = {kind["task"]: kind["name"] for kind in _kinds(str(path), "--rename", "task-????", "ask")}
    again = {kind["task"]: kind["name"] for kind in _kinds(str(path), "--rename", "task-*", "star")}

    assert found == {"task-12ab": "ask", "task-34cd": "ask", "task-embeddings": "task-embeddings", "task-*": "task-*"}
    assert again == found | {"task-*": "star"}


def test_a_kind_that_is_not_there_is_refused_with_those_that_are(store: Path) -> None:
    with pytest.raises(Exception, match="holds no task of the kind 'nothing'; it has"):
        _kinds(str(store), "--rename", "nothing", "x")


def test_info_counts_tasks_under_the_names_of_their_kinds(store: Path) -> None:
    (kind,) = _kinds(str(store))
    _kinds(str(store), "--rename", str(kind["task"]), "triage")
    done = CliRunner().invoke(_tokenflation, ["info", str(store), "--json"], catch_exceptions=False)
    assert json.loads(done.output)["tasks"] == {"triage": kind["tasks"]}


def test_the_kinds_come_as_one_json_document_or_as_csv_with_the_same_columns(store: Path) -> None:
    shown = CliRunner().invoke(_tokenflation, ["tasks", str(store), "--csv"], catch_exceptions=False).output
    rows = list(csv.DictReader(io.StringIO(shown)))
    assert rows == [{name: str(value) for name, value in kind.items()} for kind in _kinds(str(store))]
    assert "\r" not in shown
    both = CliRunner().invoke(_tokenflation, ["tasks", str(store), "--csv", "--json"])
    assert (both.exit_code, "exclude each other" in both.output) == (2, True)
