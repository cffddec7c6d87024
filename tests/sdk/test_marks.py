"""How long the recorder's thread waits for more calls before it writes: longer in a busy program, never for nothing."""

import queue
import sys
import threading
from typing import Any

import pytest

from tokenflation.sdk import marks

SECOND_NS = 1_000_000_000


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "_LOOK_S", 0.001)


class Host:
    """Puts something into the queue each time the worker looks, for so many times."""

    def __init__(self, times: int, *, news_after: int | None = None) -> None:
        self.queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.looks = 0
        self._times = times
        self._news_after = news_after

    def look(self) -> bool:
        self.looks += 1
        if self.looks <= self._times:
            self.queue.put(self.looks)
        return self.looks == self._news_after


def test_calls_that_come_one_by_one_wait_less_than_those_of_a_busy_program() -> None:
    alone, slow, busy = marks.rest_s(1, 1_000_000), marks.rest_s(20, SECOND_NS), marks.rest_s(20, SECOND_NS // 10)
    assert alone == slow < busy


def test_the_wait_ends_when_nothing_more_comes() -> None:
    host = Host(3)
    marks.rest(host.queue, marks.Hurry(), 3600.0, host.look)
    assert host.looks == 4


def test_the_wait_ends_when_a_batch_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "_MAX_BATCH", 5)
    host = Host(100)
    marks.rest(host.queue, marks.Hurry(), 3600.0, host.look)
    assert host.queue.qsize() == 5


def test_the_wait_ends_with_news_of_a_call_that_is_under_way() -> None:
    host = Host(100, news_after=2)
    marks.rest(host.queue, marks.Hurry(), 3600.0, host.look)
    assert host.looks == 2


def test_the_wait_ends_in_its_time_however_much_comes() -> None:
    host = Host(10**9)
    marks.rest(host.queue, marks.Hurry(), 0.02, host.look)
    assert host.looks <= 20


def test_a_hurry_ends_the_wait_and_is_over_with_it() -> None:
    hurry, host = marks.Hurry(), Host(0)
    hurry.set()
    marks.rest(host.queue, hurry, 3600.0, host.look)
    assert (host.looks, hurry.wait(0.0)) == (0, False)


def test_a_hurry_lasts_until_all_that_waits_fits_into_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "_MAX_BATCH", 5)
    hurry, host = marks.Hurry(), Host(0)
    for number in range(6):
        host.queue.put(number)
    hurry.set()
    marks.rest(host.queue, hurry, 3600.0, host.look)
    assert hurry.wait(0.0)
    marks.next_items(host.queue, 0.0)
    marks.rest(host.queue, hurry, 3600.0, host.look)
    assert (host.looks, hurry.wait(0.0)) == (0, False)


class Collector:
    """Comes in at one line of what a thread runs, as the garbage collector may, and ends a stream there."""

    def __init__(self, hurry: marks.Hurry, line: int) -> None:
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
            hurry = marks.Hurry()
            sys.settrace(Collector(hurry, line))
            hurry.wait(0.0)
            hurry.set()
            hurry.clear()
            sys.settrace(None)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    waiting.join(10.0)
    assert not waiting.is_alive()
