"""The calls under way: each has a slot of the journal that is its own until its row is written."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from tests.providers import Provider

import tokenflation.sdk as tf
from tokenflation.sdk.clock import now_ns
from tokenflation.sdk.exchange import Exchange
from tokenflation.sdk.scoping.sentfrom import SentFrom
from tokenflation.sdk.store.journals.journal import Journal, entries
from tokenflation.sdk.store.journals.underway import Underway, noted

_LONG_NS = 1_000_000_000


def left(underway: Underway, call_id: str) -> Exchange:
    """Return the exchange of a call that has just left."""
    exchange = Exchange(
        api="openai.chat",
        method="POST",
        host="h",
        path="/v1/chat/completions",
        request_body=b"{}",
        request_headers={},
        context=SentFrom(),
        submit=underway.end,
        started_at_ns=now_ns(),
        call_id=call_id,
    )
    underway.begin(exchange)
    return exchange


class Stream:
    """An unfinished stream in a reference cycle: sweeps, and another call, come between its collection and its end."""

    def __init__(self, exchange: Exchange, underway: Underway, seen: list[Exchange], sweeps: int) -> None:
        self.held = (self, exchange, underway, seen, sweeps)

    def __del__(self) -> None:
        _, exchange, underway, seen, sweeps = self.held
        for number in range(sweeps):
            underway.sweep(now_ns() + number * _LONG_NS)
        seen.append(left(underway, "next"))
        exchange.finish("dropped")
        seen.append(exchange)


def collected(underway: Underway, *, sweeps: int = 2) -> list[Exchange]:
    """Return the call that left before a collected stream's call ended, and that call."""
    seen: list[Exchange] = []
    Stream(left(underway, "collected"), underway, seen, sweeps)
    gc.collect()
    return seen


def test_a_stream_that_is_collected_during_a_sweep_gives_its_slot_back_once(tmp_path: Path) -> None:
    underway = Underway(str(tmp_path / "runs.db"), default_task="task")
    other, stream = collected(underway)
    underway.free([noted(stream)])
    slots = [other.slot, *(left(underway, str(number)).slot for number in range(3))]
    underway.leave_to_parent()
    assert stream.end == "dropped"
    assert len(set(slots)) == 4


def test_a_stream_that_is_collected_during_one_sweep_stays_noted(tmp_path: Path) -> None:
    underway = Underway(str(tmp_path / "runs.db"), default_task="task")
    collected(underway, sweeps=1)
    (path,) = tmp_path.glob("runs.db.underway-*")
    underway.leave_to_parent()
    noted = [(begun.call_id, ended.end if ended else None) for begun, ended in entries(path.read_bytes())]
    assert sorted(noted) == [("collected", "dropped"), ("next", None)]


def test_the_late_end_of_a_collected_stream_is_not_noted_as_that_of_another_call(tmp_path: Path) -> None:
    underway = Underway(str(tmp_path / "runs.db"), default_task="task")
    collected(underway)
    (path,) = tmp_path.glob("runs.db.underway-*")
    underway.leave_to_parent()
    # From Python 3.15 on the collector leaves weak references until then: the stream stands there too, in its own slot.
    assert {begun.call_id: ended for begun, ended in entries(path.read_bytes())}["next"] is None


def test_calls_that_leave_together_as_the_first_are_all_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    underway = Underway(str(tmp_path / "runs.db"), default_task="task")
    others = threading.Barrier(4)
    slowly = Journal.open

    def waits_for_the_others(*where: str) -> Journal:
        others.wait(10)
        return slowly(*where)

    def leaves(call_id: str) -> int:
        if call_id != "0":
            others.wait(10)
        return left(underway, call_id).slot

    monkeypatch.setattr(Journal, "open", waits_for_the_others)
    with ThreadPoolExecutor(4) as pool:
        slots = list(pool.map(leaves, "0123"))
    underway.leave_to_parent()
    assert len(set(slots) - {-1}) == 4


def test_a_call_that_leaves_from_within_the_opening_of_the_journal_waits_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    underway = Underway(str(tmp_path / "runs.db"), default_task="task")
    opened = Journal.open

    def interrupted(*where: str) -> Journal:
        left(underway, "from a signal's handler")
        return opened(*where)

    monkeypatch.setattr(Journal, "open", interrupted)
    exchange = left(underway, "1")
    underway.leave_to_parent()
    assert exchange.slot > 0


def test_a_redirect_that_nobody_follows_leaves_nothing_behind_at_the_end(provider: Provider, store: Path) -> None:
    question = {"model": "m", "messages": [{"role": "user", "content": "hi [[redirect:307]]"}]}
    with tf.instrument(store):
        assert httpx.post(f"{provider.openai_url}/chat/completions", json=question).status_code == 307
    assert not list(store.parent.glob("*.underway-*"))


def test_the_last_sweep_takes_back_what_it_showed_of_a_call_that_was_none(tmp_path: Path) -> None:
    underway = Underway(str(tmp_path / "runs.db"), default_task="task")
    exchange: Exchange | None = left(underway, "redirected")
    later = now_ns() + 10 * _LONG_NS
    assert [row.call_id for row in underway.sweep(later)[0]] == ["redirected"]
    del exchange
    assert underway.sweep(later, last=True) == ([], ["redirected"])
    underway.close()
    assert list(tmp_path.iterdir()) == []
