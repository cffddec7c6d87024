"""Scopes: nesting, depth, and that a context never leaks."""

import asyncio
import contextlib
import contextvars
import gc
import threading
import uuid
import weakref
from collections.abc import AsyncIterator, Iterator

import pytest

import tokenflation.sdk as tf
from tokenflation.sdk.scoping import scopes
from tokenflation.sdk.scoping.scopes import Scope, current


@pytest.fixture
def closed() -> Iterator[list[Scope]]:
    found: list[Scope] = []
    stop = scopes.listen(lambda scope, opened: None if opened else found.append(scope))
    yield found
    stop()


def name_of(scope: Scope | None) -> str:
    return scope.name if scope is not None else ""


def test_agents_inside_agents_are_one_level_deeper_each() -> None:
    with tf.task("t"), tf.agent("a") as a, tf.tool("x"), tf.agent("b") as b, tf.agent("c") as c:
        assert (a.depth, b.depth, c.depth) == (0, 1, 2)
        assert c.task == "t"
        assert c.task_id == a.task_id


def test_a_call_in_a_tool_scope_belongs_to_the_agent_run_around_it() -> None:
    with tf.agent("a") as a, tf.tool("x") as x:
        assert (x.agent_run_id, x.agent, x.depth) == (a.span_id, "a", 0)


def test_the_outermost_scope_is_the_task_when_none_is_given() -> None:
    with tf.agent("solo") as solo, tf.tool("x") as x:
        assert (x.task, x.task_id) == ("solo", solo.span_id)


def test_a_task_inside_a_task_starts_anew_at_depth_zero() -> None:
    with tf.task("outer"), tf.agent("a"), tf.task("inner", id="T-1") as inner, tf.agent("b") as b:
        assert (inner.task_id, b.depth, b.task) == ("T-1", 0, "inner")


def test_a_decorated_function_opens_a_new_scope_at_each_call(closed: list[Scope]) -> None:
    @tf.task("t")
    def work(value: int) -> int:
        return value + 1

    assert [work(1), work(2)] == [2, 3]
    assert len({scope.task_id for scope in closed}) == 2


def test_a_decorated_coroutine_is_inside_its_scope_while_it_awaits(closed: list[Scope]) -> None:
    @tf.agent("a")
    async def work() -> str:
        await asyncio.sleep(0)
        scope = current()
        return scope.name if scope else ""

    assert asyncio.run(work()) == "a"
    assert current() is None


def test_a_decorated_generator_never_leaks_its_scope_to_its_consumer(closed: list[Scope]) -> None:
    seen: list[str] = []

    @tf.agent("gen")
    def numbers() -> Iterator[int]:
        for number in range(3):
            scope = current()
            seen.append(scope.name if scope else "")
            yield number

    for _ in numbers():
        assert current() is None
    assert seen == ["gen"] * 3
    assert [scope.name for scope in closed] == ["gen"]


def test_a_scope_opened_in_a_generator_holds_inside_of_it_and_not_for_its_consumer() -> None:
    seen: list[str] = []

    def numbers() -> Iterator[int]:
        with tf.agent("gen"):
            for number in range(3):
                seen.append(name_of(current()))
                yield number

    with tf.task("consumer"):
        for _ in numbers():
            assert name_of(current()) == "consumer"
        abandoned = numbers()
        next(abandoned)
        assert name_of(current()) == "consumer"
    assert current() is None
    assert seen == ["gen"] * 4


def test_a_scope_opened_in_a_generator_holds_where_each_step_runs_in_a_thread_and_context_of_its_own() -> None:
    seen: list[str] = []

    def numbers() -> Iterator[int]:
        with tf.task("gen"):
            for name in ("one", "two"):
                seen.append(name_of(current()))
                with tf.agent(name):
                    yield 1
                    seen.append(name_of(current()))
                seen.append(name_of(current()))
                yield 2

    with tf.task("consumer"):
        running = numbers()
        for _ in range(4):
            thread = threading.Thread(target=contextvars.copy_context().run, args=(next, running))
            thread.start()
            thread.join()
            assert name_of(current()) == "consumer"
    assert seen == ["gen", "one", "gen", "gen", "two", "gen"]


def test_a_generator_of_which_each_step_runs_in_another_context_can_begin_what_stands_in_no_scope() -> None:
    with tf.task("ended") as ended:
        pass

    def numbers() -> Iterator[str]:
        with tf.agent("gen"):
            yield name_of(current())
            with tf.tool("deeper"):
                yield contextvars.Context().run(lambda: name_of(current()))
            with scopes.inside(ended):  # as what serves many scopes is begun
                yield name_of(current())

    running = numbers()
    assert [contextvars.copy_context().run(next, running) for _ in range(3)] == ["gen", "deeper", ""]


def test_a_scope_that_a_generator_leaves_open_is_not_kept_alive() -> None:
    def numbers() -> Iterator[weakref.ref[Scope]]:
        left = tf.agent("left open")
        left.__enter__()
        yield weakref.ref(left)

    found = contextvars.copy_context().run(lambda: next(numbers()))
    gc.collect()
    assert found() is None
    assert current() is None


def test_what_a_generator_begins_inside_its_scope_has_it() -> None:
    def numbers() -> Iterator[list[str]]:
        with tf.agent("gen"):
            found: list[str] = []
            context = contextvars.copy_context()
            thread = threading.Thread(target=lambda: found.append(context.run(lambda: name_of(current()))))
            thread.start()
            thread.join()
            yield found

    assert list(numbers()) == [["gen"]]


def test_a_scope_opened_in_an_async_generator_holds_for_its_tasks_and_not_for_its_consumer() -> None:
    async def deep() -> str:
        await asyncio.sleep(0)
        return name_of(current())

    async def numbers() -> AsyncIterator[list[str]]:
        async with tf.agent("gen"):
            yield [await deep(), await asyncio.create_task(deep()), *await asyncio.gather(deep(), deep())]

    async def work() -> list[str]:
        found = []
        async for names in numbers():
            found += [*names, await deep()]
        return found

    assert asyncio.run(work()) == ["gen"] * 4 + [""]


def test_a_context_manager_made_of_a_generator_opens_its_scope_for_its_block() -> None:
    @contextlib.contextmanager
    def session() -> Iterator[None]:
        with tf.task("session"):
            yield

    @contextlib.asynccontextmanager
    async def asession() -> AsyncIterator[None]:
        async with tf.task("asession"):
            yield

    async def work() -> str:
        async with asession():
            return name_of(current())

    with session():
        assert name_of(current()) == "session"
    assert current() is None
    assert asyncio.run(work()) == "asession"


def test_a_decorated_generator_passes_on_what_is_sent_thrown_and_returned() -> None:
    @tf.tool("gen")
    def echo() -> Iterator[object]:
        got = yield "ready"
        try:
            yield got
        except KeyError:
            yield "caught"
        return "done"

    it = echo()
    assert next(it) == "ready"
    assert it.send(5) == 5  # type: ignore[attr-defined]
    assert it.throw(KeyError()) == "caught"  # type: ignore[attr-defined]
    with pytest.raises(StopIteration) as stop:
        next(it)
    assert stop.value.value == "done"


def test_an_abandoned_generator_closes_its_scope_without_an_error(closed: list[Scope]) -> None:
    @tf.agent("gen")
    def numbers() -> Iterator[int]:
        yield 1
        yield 2

    it = numbers()
    next(it)
    it.close()  # type: ignore[attr-defined]
    assert [(scope.name, scope.error_type) for scope in closed] == [("gen", None)]


def test_a_decorated_async_generator_never_leaks_and_can_be_closed_in_another_task(
    closed: list[Scope], caplog: pytest.LogCaptureFixture
) -> None:
    @tf.agent("agen")
    async def numbers() -> AsyncIterator[int]:
        for number in range(3):
            await asyncio.sleep(0)
            scope = current()
            assert scope is not None
            assert scope.name == "agen"
            yield number

    async def main() -> None:
        it = numbers()
        assert await anext(it) == 0
        assert current() is None
        await asyncio.create_task(it.aclose())  # type: ignore[attr-defined]
        assert current() is None

    asyncio.run(main())
    assert [scope.error_type for scope in closed] == [None]
    assert not caplog.records


def test_nothing_is_put_inside_a_scope_that_another_context_closed() -> None:
    opened = tf.agent("a")
    context = contextvars.copy_context()
    context.run(opened.__enter__)
    opened.__exit__(None, None, None)
    assert context.run(current) is None


def test_threads_keep_their_own_scopes() -> None:
    seen: list[Scope | None] = []
    with tf.agent("a"):
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_concurrent_tasks_keep_their_own_scopes() -> None:
    async def one(name: str) -> list[str]:
        found = []
        with tf.agent(name):
            for _ in range(3):
                await asyncio.sleep(0)
                scope = current()
                found.append(scope.name if scope else "")
        return found

    async def main() -> list[list[str]]:
        return await asyncio.gather(one("a"), one("b"))

    assert asyncio.run(main()) == [["a"] * 3, ["b"] * 3]


def test_an_exception_passes_untouched_and_is_noted_by_its_class(closed: list[Scope]) -> None:
    error = ValueError("secret text")
    with pytest.raises(ValueError, match="secret text") as caught, tf.tool("x"):
        raise error
    assert caught.value is error
    assert closed[0].record().error_type == "ValueError"


def test_outcome_belongs_to_the_task_however_deep_it_is_said(closed: list[Scope]) -> None:
    with tf.task("t"), tf.agent("a"):
        tf.outcome(success=True, score=0.8)
    task = closed[-1].record()
    assert (task.kind, task.outcome, task.score) == ("task", True, 0.8)


def test_outcome_outside_any_task_says_nothing() -> None:
    tf.outcome(success=False)


def test_a_scope_without_a_name_is_refused_at_once() -> None:
    with pytest.raises(tf.TokenflationError, match="needs a name"):
        tf.agent("")


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(tf.TokenflationError, match="score"):
        tf.outcome(score="good")  # type: ignore[arg-type]


def test_an_id_that_is_no_text_is_taken_for_what_it_says() -> None:
    with tf.task("triage", id=uuid.UUID(int=7)) as one, tf.task("triage", id=0) as other:  # type: ignore[arg-type]
        assert (one.task_id, other.task_id) == ("00000000-0000-0000-0000-000000000007", "0")


def test_work_inside_a_scope_that_is_closed_in_another_context_ends_in_silence() -> None:
    async def served() -> None:
        with scopes.inside(Scope("tool", "search")):
            await asyncio.sleep(9)

    async def begin() -> None:
        work = served()
        contextvars.Context().run(work.send, None)
        work.close()

    asyncio.run(begin())
