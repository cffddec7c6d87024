"""Attempts: which exchanges are tries of one call."""

from tokenflation.sdk.attempts import Attempts, Try, is_retryable
from tokenflation.sdk.exchange import Exchange
from tokenflation.sdk.records import Attempt

SECOND = 1_000_000_000


def exchange(body: bytes, count: str = "", at: int = 0) -> Exchange:
    headers = {"x-stainless-retry-count": count} if count else {}
    return Exchange("openai.chat", "POST", "host", "/v1/chat/completions", body, headers, None, lambda _: None, at)


def failed(attempts: Attempts, key: bytes, tries: int = 1, at: int = 0) -> Try:
    row = Attempt(call_id="c", attempt=0, status_code=429, error_type=None, started_at_ns=at, ended_at_ns=at)
    one = Try(key, [row] * tries)
    attempts.keep(one)
    return one


def test_the_same_body_after_a_failure_is_the_next_attempt() -> None:
    attempts = Attempts()
    key, _ = attempts.find(exchange(b"body"), "scope")
    one = failed(attempts, key)
    assert attempts.find(exchange(b"body", at=SECOND), "scope")[1] is one
    assert attempts.find(exchange(b"body", at=SECOND), "scope")[1] is None


def test_an_equal_call_made_beside_a_failing_one_is_no_retry_of_it() -> None:
    attempts = Attempts()
    key, _ = attempts.find(exchange(b"body", at=0), "scope")
    one = failed(attempts, key, at=SECOND)
    assert attempts.find(exchange(b"body", at=SECOND // 2), "scope")[1] is None
    assert attempts.find(exchange(b"body", "1", at=SECOND // 2), "scope")[1] is None
    assert attempts.find(exchange(b"body", at=2 * SECOND), "scope")[1] is one


def test_another_body_or_scope_is_another_call() -> None:
    attempts = Attempts()
    key, _ = attempts.find(exchange(b"body"), "scope")
    failed(attempts, key)
    assert attempts.find(exchange(b"else", at=SECOND), "scope")[1] is None
    assert attempts.find(exchange(b"body", at=SECOND), "other")[1] is None


def test_a_client_that_counts_its_retries_is_believed() -> None:
    attempts = Attempts()
    key, _ = attempts.find(exchange(b"body", "0"), "")
    first, second = failed(attempts, key, 1), failed(attempts, key, 2)
    assert attempts.find(exchange(b"body", "0", SECOND), "")[1] is None
    assert attempts.find(exchange(b"body", "2", SECOND), "")[1] is second
    assert attempts.find(exchange(b"body", "1", SECOND), "")[1] is first


def test_a_call_is_given_up_when_no_retry_comes() -> None:
    attempts = Attempts()
    key, _ = attempts.find(exchange(b"body"), "")
    one = failed(attempts, key)
    assert attempts.find(exchange(b"body", at=61 * SECOND), "")[1] is None
    assert attempts.expire(121 * SECOND) == [one]
    assert attempts.give_up() == []


def test_what_clients_retry_is_retryable() -> None:
    assert [is_retryable(code) for code in (None, 408, 429, 500, 529)] == [True] * 5
    assert [is_retryable(code) for code in (200, 400, 401, 404)] == [False] * 4
