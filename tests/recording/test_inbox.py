"""How long the recorder's thread waits for more calls before it writes: longer in a busy program, never for nothing."""

import sys
import threading

import pytest

from tokenflation.sdk.recording import inbox

SECOND_NS = 1_000_000_000


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "_LOOK_S", 0.001)


class Host:
    """Puts something in each time the worker looks, for so many times."""

    def __init__(self, times: int, *, news_after: int | None = None) -> None:
        self.inbox = inbox.Inbox(10_000)
        self.looks = 0
        self._times = times
        self._news_after = news_after

    def look(self) -> bool:
        self.looks += 1
        if self.looks <= self._times:
            self.inbox.put(self.looks)
        return self.looks == self._news_after


def test_calls_that_come_one_by_one_wait_less_than_those_of_a_busy_program() -> None:
    alone, slow, busy = inbox.rest_s(1, 1_000_000), inbox.rest_s(20, SECOND_NS), inbox.rest_s(20, SECOND_NS // 10)
    assert alone == slow < busy


def test_the_wait_ends_when_nothing_more_comes() -> None:
    host = Host(3)
    host.inbox.rest(3600.0, host.look)
    assert host.looks == 4


def test_the_wait_ends_when_a_batch_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "_MAX_BATCH", 5)
    host = Host(100)
    host.inbox.rest(3600.0, host.look)
    assert len(host.inbox) == 5


def test_the_wait_ends_with_news_of_a_call_that_is_under_way() -> None:
    host = Host(100, news_after=2)
    host.inbox.rest(3600.0, host.look)
    assert host.looks == 2


def test_the_wait_ends_in_its_time_however_much_comes() -> None:
    host = Host(10**9)
    host.inbox.rest(0.02, host.look)
    assert host.looks <= 20


def test_a_hurry_ends_the_wait_and_is_over_with_it() -> None:
    host = Host(0)
    host.inbox.hurry()
    host.inbox.rest(3600.0, host.look)
    assert (host.looks, host.inbox._hurry.wait(0.0)) == (0, False)


def test_a_hurry_lasts_until_all_that_waits_fits_into_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "_MAX_BATCH", 5)
    host = Host(0)
    for number in range(6):
        host.inbox.put(number)
    host.inbox.hurry()
    host.inbox.rest(3600.0, host.look)
    assert host.inbox._hurry.wait(0.0)
    host.inbox.next_items(0.0, lambda: True)
    host.inbox.rest(3600.0, host.look)
    assert (host.looks, host.inbox._hurry.wait(0.0)) == (0, False)


def test_what_has_no_room_by_number_or_by_bytes_is_refused_unless_it_is_forced_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbox, "_MAX_BYTES", 100)
    box = inbox.Inbox(2)
    assert [box.put("a", 60), box.put("b", 60), box.put("c", 40), box.put("d")] == [True, False, True, False]
    assert box.put("e", 60, force=True)
    assert box.next_items(0.0, lambda: True) == ["a", "c", "e"]


@pytest.mark.parametrize(("most", "sizes"), [(10_000, (60, 60)), (4, (0, 0, 0))], ids=["bytes", "number"])
def test_much_that_waits_hurries_the_worker(most: int, sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "_HURRY_BYTES", 100)
    box = inbox.Inbox(most)
    hurries = []
    for size in sizes:
        box.put("x", size)
        hurries.append(box._hurry.wait(0.0))
    assert hurries == [False] * (len(sizes) - 1) + [True]


@pytest.mark.parametrize("way", ["released", "settled"])
def test_what_was_taken_leaves_room_for_more(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "_MAX_BYTES", 100)
    box = inbox.Inbox(10)
    assert box.put("a", 60)
    box.next_items(0.0, lambda: True)
    assert not box.put("b", 60)
    box.release(60) if way == "released" else box.settle()
    assert box.put("b", 60)


def test_a_worker_that_waits_for_things_alone_is_woken_once_and_looks_around_for_a_while_behind_the_last() -> None:
    box = inbox.Inbox(10)
    assert (box.wake(), box.wake()) == (True, False)
    assert len(box.next_items(0.0, lambda: False)) == 1
    assert box._patience_s(0.5, lambda: False) == 0.5
    box._awake_until_ns = 0  # later
    assert (box._patience_s(0.5, lambda: False), box.wake()) == (inbox._IDLE_S, True)


def test_a_worker_that_was_not_woken_for_what_began_as_it_fell_asleep_looks_for_that() -> None:
    seen = iter([False, True])
    assert inbox.Inbox(10)._patience_s(0.5, lambda: next(seen)) == 0.5


class Collector:
    """Comes in at one line of what a thread runs, as the garbage collector may, and ends a stream there."""

    def __init__(self, hurry: inbox.Hurry, line: int) -> None:
        self._hurry = hurry
        self._lines = line

    def __call__(self, frame: object, event: str, argument: object) -> "Collector":
        self._lines -= event == "line"
        if event == "line" and self._lines == 0:
            self._hurry.set()
        return self


def test_a_stream_that_is_collected_within_the_wait_may_hurry_it() -> None:
    def wait() -> None:
        for line in range(1, 60):
            hurry = inbox.Hurry()
            sys.settrace(Collector(hurry, line))
            hurry.wait(0.0)
            hurry.set()
            hurry.clear()
            sys.settrace(None)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    waiting.join(10.0)
    assert not waiting.is_alive()
