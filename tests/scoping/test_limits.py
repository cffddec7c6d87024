"""Limits of a task: no request leaves beyond one, the exception gets out of real clients, the run is censored."""

import asyncio
import contextlib
import logging
import os
import pickle
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from tests.providers import Provider
from tests.scoping.limited import Ask, asking, censored, refused

import tokenflation.sdk as tf
from tokenflation.sdk import Instrumentation
from tokenflation.sdk.errors import LimitReached, MissingExtra, TaskLimitReached, TokenflationError
from tokenflation.sdk.scoping import scopes
from tokenflation.sdk.scoping.limits import Budget, Limits

TOKENS = 350
"""Input and output tokens of an answer of the provider."""


@pytest.fixture
def ask(provider: Provider) -> Iterator[Ask]:
    with asking(provider) as ask_it:
        yield ask_it


def test_no_request_leaves_beyond_the_calls_allowed(
    provider: Provider, store: Path, handle: Instrumentation, ask: Ask
) -> None:
    with refused("capped", max_calls=2) as (_, reached):
        for number in range(5):
            ask(f"hello {number}")
    assert len(provider.requests) == 2
    assert (reached.value.limit, reached.value.maximum, reached.value.used) == ("max_calls", 2, 2)
    assert censored(store, handle) == {"capped": "max_calls"}


@pytest.mark.parametrize(("allowed", "used"), [(0, "0 calls of"), (1, "1 call of"), (2, "2 calls of")])
def test_the_error_says_what_was_used_in_the_right_number(
    allowed: int, used: str, handle: Instrumentation, ask: Ask
) -> None:
    with refused("capped", max_calls=allowed) as (_, reached):
        for number in range(3):
            ask(f"hello {number}")
    assert f"has used {used} max_calls={allowed}," in str(reached.value)


def test_the_clients_own_retries_are_one_call(provider: Provider, handle: Instrumentation, ask: Ask) -> None:
    with tf.task("capped", max_calls=2):
        ask("one [[status:429x2]]")
        ask("two [[status:503x1]]")
    assert len(provider.requests) == 5


def test_asking_the_same_again_is_another_call(provider: Provider, handle: Instrumentation, ask: Ask) -> None:
    with refused("capped", max_calls=1):
        ask("same")
        ask("same")
    assert len(provider.requests) == 1


def test_the_tokens_of_every_answer_so_far_count(provider: Provider, handle: Instrumentation, ask: Ask) -> None:
    with refused("capped", max_tokens=2 * TOKENS + 1) as (_, reached):
        for number in range(5):
            ask(f"hello {number}")
    assert len(provider.requests) == 3
    assert reached.value.used == 3 * TOKENS


def test_a_call_that_is_tried_again_costs_its_tokens_once(
    provider: Provider, handle: Instrumentation, ask: Ask
) -> None:
    with tf.task("capped", max_tokens=TOKENS + 1) as scope:
        ask("hello [[status:429x2]]")
        assert handle.flush()
        assert isinstance(scope.budget, Budget)
        assert (scope.budget.tokens, scope.budget.calls) == (TOKENS, 1)


def test_the_cost_is_that_of_the_price_list(provider: Provider, handle: Instrumentation, ask: Ask) -> None:
    # gpt-4o-mini: 0.15, cached 0.075 and 0.60 US dollars a million; 136 new, 64 cached, 150 out.
    cost = (136 * 0.15 + 64 * 0.075 + 150 * 0.6) / 1e6
    with refused("capped", max_cost=1.5 * cost) as (_, reached):
        for number in range(5):
            ask(f"hello {number}")
    assert reached.value.used == pytest.approx(2 * cost)


def test_what_is_cached_for_an_hour_costs_what_the_price_list_says_of_an_hour(handle: Instrumentation) -> None:
    usage = {"input_tokens": 100, "cache_creation_input_tokens": 1000, "cache_read_input_tokens": 0, "output_tokens": 10,
             "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600}}  # fmt: skip
    answer = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "stop_reason": "end_turn",
              "stop_sequence": None, "content": [{"type": "text", "text": "hi"}], "usage": usage}  # fmt: skip
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json=answer))
    # 3 US dollars a million; written for five minutes 3.75, for an hour 6; output 15.
    cost = (100 * 3 + 400 * 3.75 + 600 * 6 + 10 * 15) / 1e6
    client = anthropic.Anthropic(api_key="k", http_client=httpx2.Client(transport=transport))
    with client, tf.task("capped", max_cost=1.0) as scope:
        client.messages.create(model="an-alias", max_tokens=9, messages=[{"role": "user", "content": "hello"}])
        assert handle.flush()
        assert isinstance(scope.budget, Budget)
        assert float(scope.budget.cost) == pytest.approx(cost)


def test_a_model_without_a_price_is_said_once_and_not_limited(
    provider: Provider, handle: Instrumentation, caplog: pytest.LogCaptureFixture
) -> None:
    client = openai.OpenAI(base_url=provider.openai_url, api_key="k")
    with client, tf.task("capped", max_cost=1e-9):
        for number in range(3):
            messages: Any = [{"role": "user", "content": f"hello {number} [[say:x]]"}]
            client.chat.completions.create(model="my-own-weights", messages=messages)
    assert handle.flush()
    assert [record.message for record in caplog.records if "No price" in record.message] == [
        "No price is known for the model my-own-weights of openai_compatible; max_cost does not count its calls."
    ]


@pytest.mark.parametrize("left_early", [False, True])
def test_a_call_without_token_counts_is_said_once_for_each_limit_that_needs_them(
    left_early: bool, provider: Provider, handle: Instrumentation, caplog: pytest.LogCaptureFixture
) -> None:
    client = openai.OpenAI(base_url=provider.openai_url, api_key="k")
    with client, tf.task("capped", max_cost=1e-9, max_tokens=1):
        for number in range(2):
            messages: Any = [{"role": "user", "content": f"hello {number}"}]
            with client.chat.completions.create(model="gpt-4o", messages=messages, stream=True) as stream:
                for _ in stream:
                    if left_early:
                        break
    assert handle.flush()
    assert sorted(record.message for record in caplog.records if "no tokens" in record.message) == [
        "A call to gpt-4o reports no tokens; max_cost does not count it.",
        "A call to gpt-4o reports no tokens; max_tokens does not count it.",
    ]


def test_without_the_price_list_the_limit_is_refused_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "genai_prices", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tokenflation\[analysis\]'"):
        tf.task("capped", max_cost=1.0)


def test_an_agent_too_deep_is_refused_before_its_first_request(
    provider: Provider, store: Path, handle: Instrumentation, ask: Ask
) -> None:
    with refused("capped", max_depth=1) as (_, reached), tf.agent("a"):
        ask("a")
        with tf.agent("b"):
            ask("b")
            with tf.agent("c"):
                ask("c")
    assert len(provider.requests) == 2
    assert (reached.value.limit, reached.value.used) == ("max_depth", 2)
    assert censored(store, handle) == {"capped": "max_depth"}


def test_depth_that_only_the_wire_tells_ends_the_task_one_call_later(
    provider: Provider, handle: Instrumentation
) -> None:
    client = openai.OpenAI(base_url=provider.openai_url, api_key="k")
    with client, refused("capped", max_depth=0) as (_, reached):
        for system, text in (("lead", "[[tool:delegate]]"), ("helper", "work"), ("helper", "more")):
            messages: Any = [{"role": "system", "content": system}, {"role": "user", "content": text}]
            client.chat.completions.create(model="m", messages=messages)
    assert len(provider.requests) == 2
    assert reached.value.limit == "max_depth"


def test_a_limit_of_nothing_lets_nothing_leave(provider: Provider, handle: Instrumentation, ask: Ask) -> None:
    for limits in ({"max_calls": 0}, {"max_tokens": 0}, {"max_cost": 0}):
        with refused("capped", **limits):  # type: ignore[arg-type]
            ask("hello")
    assert provider.requests == []


def test_warn_only_logs_and_only_once(
    provider: Provider, store: Path, handle: Instrumentation, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    with tf.task("warned", max_calls=1, on_limit="warn"):
        for number in range(4):
            ask(f"hello {number}")
    assert len(provider.requests) == 4
    assert sum("max_calls=1" in record.message for record in caplog.records) == 1
    assert censored(store, handle) == {"warned": None}


def test_outside_the_task_it_is_an_ordinary_error() -> None:
    with refused(max_calls=1) as (scope, reached):
        raise LimitReached("said", limit="max_calls", budget=scope.budget)
    assert isinstance(reached.value, TokenflationError)
    assert isinstance(reached.value, Exception)


def test_the_limit_of_a_task_around_ends_the_task_inside_too(
    provider: Provider, store: Path, handle: Instrumentation, ask: Ask
) -> None:
    with refused("outer", max_calls=2) as (_, reached):
        with tf.task("first", max_calls=5):
            ask("one")
        with contextlib.suppress(Exception), tf.task("second", max_calls=5):
            ask("two")
            ask("three")
    assert reached.value.task == "outer"
    assert len(provider.requests) == 2
    assert censored(store, handle) == {"outer": "max_calls", "first": None, "second": "max_calls"}


def test_the_limit_of_a_task_inside_is_an_error_that_the_one_around_may_handle(
    provider: Provider, store: Path, handle: Instrumentation, ask: Ask
) -> None:
    with tf.task("outer", max_calls=10):
        with contextlib.suppress(TokenflationError), tf.task("inner", max_calls=1):
            ask("one")
            ask("two")
        ask("three")
    assert len(provider.requests) == 2
    assert censored(store, handle) == {"outer": None, "inner": "max_calls"}


def test_a_request_that_an_outer_task_refuses_counts_for_none(
    provider: Provider, handle: Instrumentation, ask: Ask
) -> None:
    with refused("outer", max_calls=1):
        ask("one")
        with tf.task("inner", max_calls=1) as inner:
            try:
                ask("two")
            finally:
                assert inner.budget is not None
                assert inner.budget.calls == 0


def test_each_run_of_a_decorated_function_has_the_limits_anew(
    provider: Provider, handle: Instrumentation, ask: Ask
) -> None:
    @tf.task("decorated", max_calls=1)
    def work(text: str) -> None:
        ask(text)

    for number in range(3):
        work(f"hello {number}")
    assert len(provider.requests) == 3


def test_a_decorated_generator_is_limited_and_its_consumer_is_not(
    provider: Provider, handle: Instrumentation, ask: Ask
) -> None:
    @tf.task("decorated", max_calls=1)
    def work() -> Iterator[int]:
        for number in range(3):
            ask(f"inside {number}")
            yield number

    steps = work()
    assert next(steps) == 0
    ask("outside")
    with pytest.raises(TaskLimitReached):
        next(steps)
    assert len(provider.requests) == 2


async def _asked_async(provider: Provider, number: int) -> None:
    async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="k") as client:
        messages: Any = [{"role": "user", "content": f"hello {number}"}]
        await client.chat.completions.create(model="m", messages=messages)


def test_a_decorated_async_generator_is_limited(provider: Provider, handle: Instrumentation) -> None:
    @tf.task("decorated", max_calls=1)
    async def work() -> AsyncIterator[int]:
        for number in range(3):
            await _asked_async(provider, number)
            yield number

    async def consume() -> list[int]:
        return [number async for number in work()]

    with pytest.raises(TaskLimitReached):
        asyncio.run(consume())
    assert len(provider.requests) == 1


def test_a_group_with_failures_of_its_own_stays_a_group() -> None:
    with pytest.raises(BaseExceptionGroup) as group, tf.task("grouped", max_calls=1) as scope:
        raise BaseExceptionGroup("two", [LimitReached("said", budget=scope.budget), ValueError("own")])
    assert {type(error) for error in group.value.exceptions} == {LimitReached, ValueError}


@pytest.mark.parametrize(
    "limits",
    [
        {"max_calls": -1},
        {"max_calls": 1.5},
        {"max_calls": True},
        {"max_tokens": "many"},
        {"max_depth": -1},
        {"max_cost": float("nan")},
        {"max_cost": "1"},
        {"max_calls": 1, "on_limit": "stop"},
        {"on_limit": "stop"},
    ],
)
def test_a_value_that_is_no_limit_is_refused_where_it_is_written(limits: dict[str, Any]) -> None:
    with pytest.raises(TokenflationError, match=next(iter(limits)) if len(limits) == 1 else "on_limit"):
        tf.task("t", **limits)


def test_a_limit_without_a_recorder_is_said_to_have_no_effect(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), tf.task("capped", max_calls=1):
        pass
    assert "have no effect" in caplog.text


def test_without_limits_a_request_asks_for_no_budget(provider: Provider, handle: Instrumentation, ask: Ask) -> None:
    with tf.task("free") as scope:
        ask("hello")
        assert scope.budget is None


def test_it_can_be_sent_from_another_process() -> None:
    error = LimitReached("said", task="t", limit="max_calls", maximum=1, used=1, budget=object())
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.limit, copy.maximum) == ("said", "max_calls", 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_goes_on_from_what_was_used(provider: Provider, handle: Instrumentation, ask: Ask) -> None:
    with tf.task("forked", max_calls=2, max_tokens=10_000):
        ask("parent")
        child = os.fork()
        if child == 0:
            status = 9
            try:
                _ask_fresh(provider, "child")
                _ask_fresh(provider, "refused")
            except LimitReached:
                status = 7
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert len(provider.requests) == 2


def _ask_fresh(provider: Provider, text: str) -> None:
    with openai.OpenAI(base_url=provider.openai_url, api_key="k") as client:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])


def test_a_limit_that_cannot_be_checked_does_not_stop_the_host(
    provider: Provider, handle: Instrumentation, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(scopes, "admit_to", fail)
    with tf.task("capped", max_calls=0):
        ask("hello")
    assert len(provider.requests) == 1
    assert handle.drops == {"hook_error": 1}


def test_limits_are_a_plain_record() -> None:
    assert not Limits(max_calls=3).asks_worker
    assert Limits(max_tokens=3).asks_worker


def test_a_failure_that_a_refused_request_leads_to_is_the_limits(
    provider: Provider, handle: Instrumentation, ask: Ask
) -> None:
    with refused(max_calls=0) as (_, reached):
        try:
            ask("hello")
        except LimitReached as error:  # a library that gathers results with their exceptions takes it for a result
            error.generations  # type: ignore[attr-defined]  # noqa: B018
    assert isinstance(reached.value, TaskLimitReached)
    assert isinstance(reached.value.__cause__, AttributeError)


def test_a_failure_without_a_refused_request_stays_what_it_is() -> None:
    with pytest.raises(ZeroDivisionError), tf.task("capped", max_calls=1, max_tokens=5):
        1 / 0  # noqa: B018
