"""How long the recorder's thread waits for more calls before it writes: longer in a busy program, never for nothing."""

import sys
import threading

import pytest

from tokenflation.sdk import inbox

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
