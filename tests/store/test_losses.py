"""Losses that are noted outside a store, where it cannot take them."""

import os
import tempfile
from pathlib import Path

import pytest

from tokenflation.sdk.store.losses import forget_losses, note_losses, note_written, read_losses


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="users have no numbers here")
def test_the_notes_of_all_users_count_and_no_user_is_in_the_way_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    store = tmp_path / "gone" / "runs.db"
    mine = note_losses(store, "mine", {"store_error:OSError": 1})
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_001)
    theirs = note_losses(store, "theirs", {"store_error:OSError": 2, "queue_full": 1})
    assert mine is not None
    assert theirs is not None
    assert mine.parent != theirs.parent
    assert read_losses(store) == {"store_error:OSError": 3, "queue_full": 1}
    forget_losses(store, "theirs")
    assert read_losses(store) == {"store_error:OSError": 1}


def test_what_somebody_else_wrote_later_is_no_loss(tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    note = note_losses(store, "dead", {"waiting_for_store": 3, "queue_full": 1})
    assert note is not None
    note_written(store, "dead", 2)
    note_written(store, "other", 7)
    assert read_losses(store) == {"waiting_for_store": 1, "queue_full": 1}
    note_written(store, "dead", 5)
    assert read_losses(store) == {"queue_full": 1}
    note.write_text("damaged")
    note_written(store, "dead", 1)
    assert note.read_text() == "damaged"


def test_a_note_of_what_all_stands_in_the_store_is_removed(tmp_path: Path) -> None:
    note = note_losses(tmp_path / "runs.db", "dead", {"waiting_for_store": 3})
    assert note is not None
    note_written(tmp_path / "runs.db", "dead", 3)
    assert not note.exists()
