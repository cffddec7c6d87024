"""The journal of calls under way: what stands in it, whoever made it, and how it ends."""

import errno
import mmap
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.providers import Provider

import tokenflation.sdk as tf
from tokenflation.sdk.store.contents import info
from tokenflation.sdk.store.journals import journal as journals
from tokenflation.sdk.store.journals.journal import (
    MAGIC,
    Begun,
    Ended,
    Journal,
    _carry_over,
    entries,
    without_slot,
)
from tokenflation.sdk.store.journals.orphans import dead_journals, left_beside
from tokenflation.sdk.store.journals.recover import recover, row_of
from tokenflation.sdk.store.journals.tail import find_usage
from tokenflation.sdk.store.losses import note_losses
from tokenflation.sdk.store.write import open_writer


def begun(number: int, **more: Any) -> Begun:
    return Begun(f"{number:016x}", 1_700_000_000_000_000_000 + number, "openai.chat", "openai", "triage", **more)


def test_of_several_answers_to_one_request_a_kill_keeps_counts_that_are_said_to_be_partial() -> None:
    one = Begun(f"{1:016x}", 1_700_000_000_000_000_000, "huggingface.generate", "huggingface", "triage")
    row = row_of(one, Ended(5, "read", 200, None, True, {"prompt_tokens": 7, "completion_tokens": 8}))
    assert (row.input_tokens, row.usage_source, row.usage_complete) == (7, "partial", False)


def test_what_was_noted_is_read_back(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "runs.db")
    slots = [journal.begin(begun(number)) for number in range(3)]
    journal.end(slots[1], Ended(5, "read", 200, None, True, {"prompt_tokens": 7}))
    journal.free(slots[2])
    found = {one.call_id: end for one, end in entries(journal.path.read_bytes())}
    journal.leave()
    assert found == {f"{0:016x}": None, f"{1:016x}": Ended(5, "read", 200, None, True, {"prompt_tokens": 7})}


def test_names_that_are_too_long_for_a_slot_are_cut_and_spoil_no_other(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "runs.db")
    slots = [journal.begin(begun(number, task_id="ü" * 5000, agent="\U0001f600" * 5000)) for number in range(3)]
    journal.end(slots[1], Ended(5, "read", 200, "E" * 5000, False, {"x" * 2000: 1}))
    found = list(entries(journal.path.read_bytes()))
    journal.leave()
    assert [one.call_id for one, _ in found] == [f"{number:016x}" for number in (0, 1, 2)]
    assert found[1][1] == Ended(5, "read", 200)


def test_half_a_character_in_a_name_is_a_question_mark_and_costs_no_slot(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "runs.db")
    slot = journal.begin(begun(1, task_id="\ud800é", agent="a\udfff"))
    ((noted, _),) = entries(journal.path.read_bytes())
    assert (noted.task_id, noted.agent) == ("?é", "a?")
    journal.free(slot)
    assert journal.is_unused()
    journal.close()


def test_a_full_journal_says_so_and_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.open(tmp_path / "runs.db")
    with monkeypatch.context() as small:
        small.setattr(journals, "_MAX_SLOTS", 512)
        slots = [journal.begin(begun(number)) for number in range(600)]
    assert sum(slot < 0 for slot in slots) == journal.full == without_slot(journal.path.read_bytes()) == 89
    journal.grow()
    slots += [journal.begin(begun(number)) for number in range(600, 700)]
    assert len({slot for slot in slots if slot >= 0}) == len(list(entries(journal.path.read_bytes()))) == 611
    journal.leave()


def test_calls_of_many_threads_all_find_a_slot_though_the_worker_gets_no_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenflation.sdk.store.journals.journal._LATE_S", 60.0)  # else a busy machine may take longer
    journal = Journal.open(tmp_path / "runs.db")
    with ThreadPoolExecutor(16) as pool:
        slots = list(pool.map(journal.begin, map(begun, range(4000))))
    found = list(entries(journal.path.read_bytes()))
    journal.leave()
    assert (min(slots) > 0, len(set(slots)), len(found), journal.full) == (True, 4000, 4000, 0)


def test_a_journal_grows_on_after_a_thread_has_let_go_of_its_former_memory(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "runs.db")
    former = journal._file  # as a thread has it that writes into it just now
    slots = [journal.begin(begun(number)) for number in range(600)]
    del former
    slots += [journal.begin(begun(number)) for number in range(600, 3000)]
    journal.leave()
    assert (min(slots) > 0, journal.full) == (True, 0)


def test_a_journal_whose_numbers_are_the_hosts_files_by_now_does_not_grow_into_those(tmp_path: Path) -> None:
    program = """
import os, sys
from tokenflation.sdk.store.journals.journal import Begun, Journal
journal = Journal.open(sys.argv[1])
call = Begun("a", 1, "openai.chat", "openai")
slots = [journal.begin(call) for _ in range(511)]
os.closerange(3, 256)
files = [open(f"{sys.argv[1]}-own-{number}", "w+b") for number in range(16)]
journal.grow()
assert journal.begin(call) < 0 < min(slots)
assert [os.path.getsize(file.name) for file in files] == [0] * 16
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "runs.db")], check=True)


def test_what_is_noted_before_and_after_it_grows_is_all_there_and_every_slot_is_free_again(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "runs.db")
    slots = []
    for number in range(5000):
        slots.append(journal.begin(begun(number)))
        journal.grow()
    for slot in slots:
        journal.end(slot, Ended(5, "read", 200))
    found = {one.call_id: end for one, end in entries(journal.path.read_bytes())}
    assert found == {f"{number:016x}": Ended(5, "read", 200) for number in range(5000)}
    for slot in slots:
        journal.free(slot)
    journal.close()
    assert not journal.path.exists()


def test_a_journal_for_which_the_disk_has_no_room_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal.open(tmp_path / "runs.db")
    with monkeypatch.context() as full:
        full.setattr(os, "posix_fallocate", lambda *_: os.pwrite(-1, b"", 0))
        slots = [journal.begin(begun(number)) for number in range(600)]
        journal.grow()
        assert journal.begin(begun(600)) < 0
    journal.free(slots[0])
    assert journal.begin(begun(601)) == slots[0]
    assert (journal.begin(begun(602)) < 0, journal.full) == (True, 91)  # hosts' threads do not try again and again
    journal.grow()
    assert min(journal.begin(begun(number)) for number in range(603, 4000)) > 0  # now they do
    journal.leave()


@pytest.mark.parametrize("rename", [False, True])
def test_a_journal_that_somebody_takes_away_is_made_anew_with_all_that_stood_in_it(
    tmp_path: Path, rename: bool
) -> None:
    journal = Journal.open(tmp_path / "runs.db")
    slots = [journal.begin(begun(number)) for number in range(3)]
    journal.path.rename(tmp_path / "away") if rename else journal.path.unlink()
    journal.restore()
    journal.end(slots[1], Ended(5, "read", 200))
    found = {one.call_id: end for one, end in entries(journal.path.read_bytes())}
    assert found == {f"{0:016x}": None, f"{1:016x}": Ended(5, "read", 200), f"{2:016x}": None}
    assert list(dead_journals(tmp_path / "runs.db")) == []
    assert not rename or list(entries((tmp_path / "away").read_bytes())) == []
    journal.leave()


def test_calls_without_a_slot_stay_counted_in_a_journal_that_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "_MAX_SLOTS", 512)
    journal = Journal.open(tmp_path / "runs.db")
    slots = [journal.begin(begun(number)) for number in range(600)]
    journal.free(slots[-1])
    journal.path.unlink()
    journal.restore()
    found = without_slot(journal.path.read_bytes())
    journal.leave()
    assert found == 88


def test_a_call_that_ends_while_the_journal_is_made_anew_is_neither_lost_nor_taken_for_another(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "runs.db")
    slot = journal.begin(begun(1))
    journal.path.unlink()
    former = journal._file
    journal.restore()
    again = journal.path.read_bytes()
    journal._file = mmap.mmap(-1, 512 * 1024)  # as it is before anything is carried over
    journal.end(slot, Ended(5, "read", 200))
    _carry_over(former[slot * 1024 : (slot + 1) * 1024], journal._file, slot * 1024)
    made = MAGIC.ljust(1024, b"\0") + journal._file[1024:]
    journal.leave()
    assert list(entries(again)) == [(begun(1), None)]
    assert list(entries(made)) == [(begun(1), Ended(5, "read", 200))]


def test_a_journal_whose_folder_is_gone_goes_on_and_holds_no_more_descriptors(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    journal = Journal.open(tmp_path / "folder" / "runs.db")
    before = len(os.listdir("/dev/fd"))
    journal.path.rename(tmp_path / "away")
    (tmp_path / "folder").rmdir()
    for number in range(3):
        journal.restore()
        journal.free(journal.begin(begun(number)))
    assert len(os.listdir("/dev/fd")) == before
    (tmp_path / "folder").mkdir()
    journal.restore()
    assert (journal.path.exists(), len(os.listdir("/dev/fd"))) == (True, before)
    journal.close()
    assert os.listdir(tmp_path / "folder") == []


def test_calls_of_a_dead_process_that_had_no_slot_are_counted_as_lost_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "_MAX_SLOTS", 512)
    store = tmp_path / "runs.db"
    open_writer(store).close()
    journal = Journal.open(store, "dead")
    slots = [journal.begin(begun(number)) for number in range(600)]
    journal.free(slots[-1])  # the worker has written this one all the same
    journal.leave()
    assert recover(store) == 511
    assert recover(store) == 0
    assert (info(store)["rows"]["calls"], info(store)["drops"]) == (511, {"journal_full": 88})


def test_calls_without_a_slot_that_are_noted_beside_the_store_are_not_counted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "_MAX_SLOTS", 512)
    store = tmp_path / "runs.db"
    open_writer(store).close()
    journal = Journal.open(store, "dead")
    for number in range(600):
        journal.begin(begun(number))
    journal.leave()
    note_losses(store, "dead", {"waiting_for_store": 580})
    assert recover(store) == 511
    assert info(store)["drops"] == {"journal_full": 20, "waiting_for_store": 69}


def test_a_journal_without_calls_is_removed_and_one_with_calls_stays(tmp_path: Path) -> None:
    for busy in (False, True):
        journal = Journal.open(tmp_path / "runs.db")
        slot = journal.begin(begun(1))
        if not busy:
            journal.free(slot)
        journal.close()
        assert journal.path.exists() == busy


def test_a_disk_that_refuses_as_a_journal_is_closed_costs_no_record(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = tf.instrument(tmp_path / "runs.db")
    with httpx.Client() as client:
        client.post(f"{provider.openai_url}/chat/completions", json={"model": "m", "messages": []})
    handle.flush()
    close = os.close

    def late(descriptor: int) -> None:
        path = os.readlink(f"/dev/fd/{descriptor}")
        close(descriptor)
        if ".underway-" in path:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "close", late)
    handle.close()
    assert (handle.recorded, handle.drops) == (1, {})


def test_a_journal_stays_as_long_as_a_call_without_a_slot_is_not_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "_MAX_SLOTS", 512)
    for stored in (False, True):
        journal = Journal.open(tmp_path / "runs.db")
        slots = [journal.begin(begun(number)) for number in range(512)]
        for slot in slots if stored else slots[:-1]:
            journal.free(slot)
        journal.close()
        assert journal.path.exists() != stored


def test_journals_are_read_by_several_at_once_and_beside_drafts_that_nobody_can_remove(tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    journal = Journal.open(store)
    journal.begin(begun(1))
    journal.leave()
    for number in range(8):
        draft = tmp_path / f"runs.db.underway-{number}-other.draft"
        draft.mkdir()  # not to be unlinked, as another user's in a folder like /tmp
        os.utime(draft, (1, 1))
    for _ in dead_journals(store, to_read=True):
        assert left_beside(store) == 1
    assert left_beside(store) == 1


def test_a_draft_that_its_maker_left_is_removed_after_an_hour(tmp_path: Path) -> None:
    left, new = (tmp_path / f"runs.db.underway-{number}-other.draft" for number in range(2))
    for draft in (left, new):
        draft.touch()
    os.utime(left, (time.time() - 3700,) * 2)
    os.utime(new, (time.time() - 3500,) * 2)
    assert left_beside(tmp_path / "runs.db") == 0
    assert (left.exists(), new.exists()) == (False, True)


def test_only_a_journal_that_nobody_holds_is_a_dead_ones(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "runs.db")
    journal.begin(begun(1))
    assert list(dead_journals(tmp_path / "runs.db")) == []
    journal.leave()
    assert [path for path, _ in dead_journals(tmp_path / "runs.db")] == [journal.path]


@given(st.binary(max_size=3000))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    list(entries(data))
    list(entries(MAGIC.ljust(1024, b"\0") + data))
    for api in ("openai.chat", "anthropic.messages", "google.generate_content"):
        find_usage(api, [(1, data[:1000]), (2, b'"usage": {' + data[1000:])], "")
        find_usage(api, [(1, data)], "gzip")


@pytest.mark.parametrize("damage", [b"", b"\x02" * 4096, MAGIC.ljust(1024, b"\0") + b"\x02\0\xff\xff\xff\xff" * 400])
def test_a_damaged_journal_costs_nothing_but_itself(tmp_path: Path, damage: bytes) -> None:
    store = tmp_path / "runs.db"
    open_writer(store).close()
    (tmp_path / "runs.db.underway-1-dead").write_bytes(damage)
    assert recover(store) == 0
    assert sorted(os.listdir(tmp_path)) == ["runs.db", "runs.db.key"]


@pytest.mark.parametrize(
    ("tail", "found"),
    [
        (
            b'"usage": {"prompt_tokens": 3, "completion_tokens": 4, "secret": 5, "prompt_tokens_details": {"a": 1}}}',
            [3, 4],
        ),
        (b'"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\ndata: {"usage":null}\n\ndata: [DONE]', [3, 4]),
        (b'"usage":{"prompt_tokens":"three","completion_tokens":4}}', [None, 4]),
        (b'"usage": {"prompt_tokens": 3, "completion_tok', None),
        (b'{\\"usage\\":{\\"prompt_tokens\\":3}}', None),
        (b"", None),
    ],
)
def test_the_usage_of_an_answer_is_found_in_its_last_bytes(tail: bytes, found: list[int | None] | None) -> None:
    last, _ = find_usage("openai.chat", [(1, b'data: {"choices": []}\n\n')] * 30 + [(2, tail[:20]), (3, tail[20:])], "")
    if found is None:
        assert last is None
        return
    counts = last if isinstance(last, dict) else {name: getattr(last, name) for name in last.__struct_fields__}
    assert [counts.get("prompt_tokens"), counts.get("completion_tokens")] == found
    assert "secret" not in counts


@pytest.mark.parametrize(
    "answer",
    [
        b'{"usage": {"prompt_tokens": 3, "completion_tokens": 4}, "extension": {"usage": {"prompt_tokens": 9}}}',
        b'{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": "none"}}',
        b'{"choices": [{"usage": {"prompt_tokens": 3, "completion_tokens": 4}}], "usage": null}',
        b'\n{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}',
    ],
    ids=["nested ones behind it", "a value of another kind", "one that is deeper", "white space before it"],
)
def test_the_usage_of_a_short_answer_is_the_one_at_its_root_if_it_has_one(answer: bytes) -> None:
    last, first = find_usage("openai.chat", [(1, answer)], "")
    counts = last if isinstance(last, dict) else {name: getattr(last, name) for name in last.__struct_fields__}
    assert (counts["prompt_tokens"], counts["completion_tokens"], first) == (3, 4, None)
