"""What an exchange keeps, and that it is handed over exactly once."""

import itertools
import os
import threading
from typing import Any

import pytest
from tests.hooks.conftest import Collected, body

from tokenflation.sdk import exchange as module
from tokenflation.sdk.exchange import End, Exchange


def begun(collected: Collected) -> Exchange:
    exchange = collected.tap.begin("POST", "models.test", "/v1/messages", b"{}", {})
    assert exchange is not None
    return exchange


def test_an_exchange_knows_where_and_when_it_began(collected: Collected) -> None:
    exchange = begun(collected)
    assert (exchange.api, exchange.context, exchange.process_id) == ("anthropic.messages", "scope", os.getpid())


def test_a_request_that_is_no_model_call_opens_nothing(collected: Collected) -> None:
    assert collected.tap.begin("GET", "models.test", "/v1/models", None, {}) is None


def test_only_the_first_end_counts_even_between_threads(collected: Collected) -> None:
    exchange = begun(collected)
    threads = [threading.Thread(target=exchange.finish, args=(end,)) for end in ("read", "closed", "dropped")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert collected.only is exchange


@pytest.mark.parametrize(
    ("end", "ended_at_ns"), [("closed", 3), ("dropped", 3), ("read", 3), ("failed", 4), ("cancelled", 4)]
)
def test_an_answer_ends_with_its_last_byte_however_late_its_host_finds_the_end_or_lets_go_of_it(
    collected: Collected, monkeypatch: pytest.MonkeyPatch, end: End, ended_at_ns: int
) -> None:
    monkeypatch.setattr(module, "ORIGIN_NS", 0)
    monkeypatch.setattr(module, "ticks_ns", itertools.count(1).__next__)
    exchange = begun(collected)
    for chunk in (b"12345", b"67890"):
        exchange.add(chunk)
    exchange.finish(end)
    assert (exchange.started_at_ns, exchange.ended_at_ns) == (1, ended_at_ns)


@pytest.mark.parametrize("chunks", [[], [b"12345", b"67890-"]], ids=["nothing came", "the last of it was not kept"])
def test_an_answer_whose_last_byte_is_unknown_ends_when_its_host_lets_go_of_it(
    collected: Collected, monkeypatch: pytest.MonkeyPatch, chunks: list[bytes]
) -> None:
    monkeypatch.setattr(module, "MAX_KEPT_BYTES", 10)
    exchange = begun(collected)
    exchange.pack_at_bytes = 10
    for chunk in chunks:
        exchange.add(chunk)
    monkeypatch.setattr(module, "ORIGIN_NS", exchange.started_at_ns)
    monkeypatch.setattr(module, "ticks_ns", lambda: 7)
    exchange.finish("dropped")
    assert exchange.ended_at_ns == exchange.started_at_ns + 7


def test_past_the_limit_a_body_is_cut_and_never_has_a_hole(
    collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_KEPT_BYTES", 10)
    exchange = begun(collected)
    exchange.pack_at_bytes = 10
    for chunk in (b"12345", b"67890-", b"1"):
        exchange.add(chunk)
    assert (body(exchange), exchange.kept_bytes, exchange.truncated) == (b"12345", 5, True)


def test_chunks_are_kept_without_a_copy_and_none_after_the_end(collected: Collected) -> None:
    exchange, chunk = begun(collected), b"data: {}"
    exchange.add(chunk)
    exchange.finish("read")
    exchange.add(b"late")
    assert exchange.chunks[0][1] is chunk
    assert len(exchange.chunks) == 1


def test_a_submit_that_raises_is_counted(collected: Collected) -> None:
    def full(_: Any) -> None:
        raise MemoryError

    exchange = begun(collected)
    exchange.submit = full
    exchange.finish("read")
    assert collected.failures == ["hook_error"]
