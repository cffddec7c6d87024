"""The demo's agent without its scopes: the wire alone shows the same tree."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.lineage.lineage_rows import EDGES, rows_of
from tests.recording.rebuilding import rebuild
from tests.stored import rows

import tokenflation.sdk as tf
from tokenflation.demo import agent
from tokenflation.demo.drive import drive
from tokenflation.demo.models import Ledger, Models
from tokenflation.demo.replay import load_recording, replay
from tokenflation.demo.tasks import tasks

_RUNS = 4


class _NoScopes:
    """What the agent imports as `tf`, with scopes that do nothing."""

    @staticmethod
    @contextlib.contextmanager
    def task(_name: str, **_named: Any) -> Iterator[None]:
        yield

    agent = tool = task

    @staticmethod
    def outcome(**_named: Any) -> None:
        return None


def _calls(store: Path) -> dict[str, dict[str, Any]]:
    """Run the demo into a store; return the rows of its calls by the provider's id."""
    held = load_recording()
    with replay(held, pace=0) as url, tf.instrument(store):
        models = Models(url, Ledger(), held.about["tool_call_token"])
        assert [one.error for one in drive(list(tasks(_RUNS)), models, lambda _: None)] == [None] * 3 * _RUNS
        models.close()
    return {row["response_id"]: row for row in rows(store)}


def _groups(calls: dict[str, dict[str, Any]], column: str) -> set[frozenset[str]]:
    found: dict[str, set[str]] = {}
    for response_id, call in calls.items():
        found.setdefault(call[column], set()).add(response_id)
    return {frozenset(members) for members in found.values()}


def test_the_demo_shows_the_same_tree_with_its_scopes_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scoped = _calls(tmp_path / "scoped.db")
    monkeypatch.setattr(agent, "tf", _NoScopes)
    bare = _calls(tmp_path / "bare.db")

    assert {call["structure_source"] for call in bare.values()} == {"wire"}
    assert bare.keys() == scoped.keys()
    for column in ("task_id", "agent_run_id"):
        assert _groups(bare, column) == _groups(scoped, column)
    for column in ("depth", "step", "inside_tool_call_id"):
        assert {key: call[column] for key, call in bare.items()} == {key: call[column] for key, call in scoped.items()}


def test_the_tree_is_found_again_from_the_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "tf", _NoScopes)
    _calls(tmp_path / "bare.db")
    calls, tools = rows_of(tmp_path / "bare.db")

    found = rebuild(calls, tools)

    for column in EDGES:
        assert {id_: getattr(one, column) for id_, one in found.items()} == {
            call.call_id: getattr(call, column) for call in calls
        }
    assert sum(one.continues_call_id is not None for one in found.values()) > _RUNS
