"""Attempts: which exchanges are attempts of one call."""

import hashlib
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenflation.sdk.calls import attempts
from tokenflation.sdk.calls.attempts import MAX_ATTEMPTS, Attempts, Failure, bill_of, failure_of
from tokenflation.sdk.exchange import End, Exchange
from tokenflation.sdk.records import Reading, Usage

SECOND = 1_000_000_000


def exchange(body: bytes, count: str = "", at: int = 0) -> Exchange:
    headers = {"x-stainless-retry-count": count} if count else {}
    return Exchange("openai.chat", "POST", "host", "/v1/chat/completions", body, headers, None, lambda _: None, at)


def keep(
    known: Attempts[object], sent: Exchange, failure: Failure = "retry", tries: int = 1, kept: object = None
) -> None:
    sent.ended_at_ns = sent.started_at_ns
    known.keep(sent, "scope", failure, call_id="", attempts=tries, kept=kept)


def found(known: Attempts[object], sent: Exchange, scope: str = "scope") -> object:
    one = known.find(sent, scope)
    return one.kept if one is not None else None


def test_the_same_body_after_a_failure_is_the_next_attempt() -> None:
    known = Attempts[object]()
    keep(known, exchange(b"body"), kept="first")
    assert found(known, exchange(b"body", at=SECOND)) == "first"
    assert found(known, exchange(b"body", at=SECOND)) is None


def test_an_equal_call_made_beside_a_failing_one_is_no_retry_of_it() -> None:
    known = Attempts[object]()
    failed = exchange(b"body")
    keep(known, failed, kept="first")
    failed.started_at_ns = failed.ended_at_ns = SECOND
    known.give_up()
    keep(known, failed, kept="first")
    assert found(known, exchange(b"body", at=SECOND // 2)) is None
    assert found(known, exchange(b"body", at=2 * SECOND)) == "first"


def test_another_body_or_scope_is_another_call() -> None:
    known = Attempts[object]()
    keep(known, exchange(b"body"), kept="first")
    assert found(known, exchange(b"else", at=SECOND)) is None
    assert found(known, exchange(b"body", at=SECOND), "other") is None


def test_a_client_that_counts_its_retries_is_believed() -> None:
    known = Attempts[object]()
    keep(known, exchange(b"body", "0"), kept="first")
    keep(known, exchange(b"body", "1"), kept="second")
    assert found(known, exchange(b"body", "0", SECOND)) is None
    assert found(known, exchange(b"body", "2", SECOND)) == "second"
    assert found(known, exchange(b"body", "1", 90 * SECOND)) == "first"


def test_credentials_are_given_at_once_or_the_program_asks_anew() -> None:
    known = Attempts[object]()
    keep(known, exchange(b"body", "0"), "auth", kept="first")
    assert found(known, exchange(b"body", "0", 11 * SECOND)) is None
    assert found(known, exchange(b"body", "0", SECOND)) == "first"


def test_a_broken_stream_may_be_asked_for_again_by_who_counts_from_0() -> None:
    known = Attempts[object]()
    keep(known, exchange(b"body", "2"), "broken", kept="first")
    assert found(known, exchange(b"body", "0", SECOND)) == "first"


def test_a_request_whose_body_could_not_be_kept_is_known_by_its_count_alone() -> None:
    known = Attempts[object]()
    nameless, counted = exchange(b""), exchange(b"", "0")
    nameless.request_body = counted.request_body = None
    keep(known, nameless, kept="first")
    assert found(known, exchange(b"", at=SECOND)) is None
    keep(known, counted, kept="second")
    assert found(known, exchange(b"", "1", SECOND)) == "second"


def test_a_call_is_given_up_when_no_retry_comes() -> None:
    known = Attempts[object]()
    keep(known, exchange(b"body"), kept="first")
    assert found(known, exchange(b"body", at=61 * SECOND)) is None
    assert [one.kept for one in known.expire(121 * SECOND)] == ["first"]
    assert known.give_up() == []


def test_a_dead_server_asked_for_ever_makes_no_call_without_end() -> None:
    known = Attempts[object]()
    keep(known, exchange(b"body"), tries=MAX_ATTEMPTS)
    assert known.find(exchange(b"body", at=SECOND), "scope") is None


def test_of_calls_that_never_come_back_the_oldest_are_given_up() -> None:
    known = Attempts[object]()
    for number in range(3000):
        keep(known, exchange(b"%d" % number), kept=number)
    left = [one.kept for one in known.give_up()]
    assert left == list(range(3000 - len(left), 3000))
    assert len(left) == 1024


def test_nothing_is_hashed_where_nothing_as_long_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[bytes] = []

    def noted(body: bytes, digest_size: int) -> Any:
        hashed.append(body)
        return hashlib.blake2b(body, digest_size=digest_size)

    monkeypatch.setattr(attempts, "blake2b", noted)
    known = Attempts[object]()
    known.find(exchange(b"body"), "scope")
    keep(known, exchange(b"failed"))
    known.find(exchange(b"body", at=SECOND), "scope")
    assert hashed == [b"failed"]


@pytest.mark.parametrize(
    ("status", "reading", "end", "expected"),
    [
        (None, {"status": "error"}, "failed", "retry"),
        (429, {"status": "error"}, "read", "retry"),
        (529, {"status": "error"}, "read", "retry"),
        (401, {"status": "error"}, "read", "auth"),
        (400, {"status": "error"}, "read", None),
        (200, {"status": "ok"}, "read", None),
        (200, {"status": "error"}, "failed", "retry"),
        (200, {"status": "error", "stream": True}, "failed", "broken"),
        (200, {"status": "error", "stream": True}, "closed", "broken"),
        (200, {"status": "cut", "stream": True, "finish_reasons": ("error",)}, "read", "broken"),
        (200, {"status": "cut", "stream": True, "finish_reasons": ("stop",)}, "read", None),
        (200, {"status": "cut", "stream": True}, "closed", None),
        (200, {"status": "cut", "stream": True}, "dropped", None),
        (200, {"status": "cancelled", "stream": True}, "cancelled", None),
        (None, {"status": "cancelled"}, "cancelled", None),
    ],
)
def test_what_an_attempt_may_follow(status: int | None, reading: Any, end: End, expected: Failure | None) -> None:
    sent = exchange(b"body")
    sent.status_code, sent.end = status, end
    assert failure_of(sent, Reading(api="openai.chat", provider="openai", **reading)) == expected


def test_what_had_begun_to_be_answered_may_be_billed_and_nothing_else() -> None:
    sent = exchange(b"body")
    sent.chunks = [(0, b"data: "), (1, b"x")]
    assert bill_of(sent, Usage(), 0) is None
    sent.status_code = 503
    assert bill_of(sent, Usage(), 0) is None
    sent.status_code = 200
    expected = {"attempt": 1, "answer_bytes": 7, "input_tokens": 5, "cache_read_tokens": 0}
    assert bill_of(sent, Usage(input_tokens=5, cache_read_tokens=0), 1) == expected


STEPS = st.lists(
    st.tuples(
        st.sampled_from([b"a", b"b", b"aa"]),
        st.sampled_from(["", "0", "1", "2", "-1", "x"]),
        st.sampled_from(["retry", "auth", "broken", None]),
        st.integers(0, 40),
    ),
    max_size=40,
)


@given(STEPS)
def test_every_call_that_is_kept_comes_back_once_however_the_attempts_fall(
    steps: list[tuple[bytes, str, Failure | None, int]],
) -> None:
    known = Attempts[object]()
    kept: Counter[object] = Counter()
    back: Counter[object] = Counter()
    now_s = 0
    for number, (body, count, failure, pause_s) in enumerate(steps):
        now_s += pause_s
        back.update(one.kept for one in known.expire(now_s * SECOND))
        sent = exchange(body, count, now_s * SECOND)
        sent.ended_at_ns = sent.started_at_ns
        before = known.find(sent, "scope")
        if before is not None:
            back[before.kept] += 1
            assert before.ended_at_ns <= sent.started_at_ns
        if failure is not None:
            kept[number] += 1
            tries = before.attempts + 1 if before else 1
            back.update(one.kept for one in known.keep(sent, "scope", failure, call_id="", attempts=tries, kept=number))
    back.update(one.kept for one in known.give_up())
    assert back == kept
