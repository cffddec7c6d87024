"""A host that lets nobody touch a file in its event loop, as `langgraph dev` does by blockbuster."""

import os
from pathlib import Path
from typing import Any

import pytest
from tests.hooks.conftest import Collected

from tokenflation.sdk.exchange import Exchange
from tokenflation.sdk.store.journals.underway import Underway


class BlockingError(Exception):
    """What blockbuster raises."""


def refused(*_: Any, **__: Any) -> Any:
    raise BlockingError("os.path.realpath")


def test_the_worker_opens_the_journal_where_the_host_lets_nobody_do_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    underway, tap = Underway(str(tmp_path / "runs.db"), default_task="t"), Collected().tap
    first, second = (tap.begin("POST", "h", "/v1/chat/completions", b"{}", {}) for _ in range(2))
    assert isinstance(first, Exchange)
    assert isinstance(second, Exchange)
    first.call_id, second.call_id = "1", "2"
    with monkeypatch.context() as patch:
        patch.setattr(os.path, "realpath", refused)
        underway.begin(first)
    assert (len(underway), first.slot) == (1, -1)
    underway.make_room()
    underway.begin(second)
    assert second.slot >= 0
    assert list(tmp_path.glob("runs.db.underway-*"))
    underway.close()
