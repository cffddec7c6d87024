"""Work that a scope starts in threads belongs to the scope, and nothing leaks from one piece of work to the next."""

import asyncio
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
import wrapt
from tests.providers import Provider
from tests.stored import rows

import tokenflation.sdk as tf
from tokenflation.sdk.carrying.lastcall import carried as after_call
from tokenflation.sdk.carrying.threads import carry_scopes
from tokenflation.sdk.scoping import scopes


@pytest.fixture
def carried() -> Iterator[None]:
    undo = carry_scopes()
    yield
    undo()


def _name() -> str | None:
    scope = scopes.current()
    return scope.name if scope else None


@pytest.mark.usefixtures("carried")
def test_a_pool_runs_each_piece_of_work_inside_the_scope_that_gave_it() -> None:
    with ThreadPoolExecutor(1) as pool:
        with tf.task("one"):
            one = pool.submit(_name)
        with tf.task("two"), tf.agent("inner"):
            two = list(pool.map(lambda _: _name(), range(3)))
            nothing_closed = pool.submit(_name).result()
        none = pool.submit(_name)
    assert (two, nothing_closed, none.result()) == (["inner"] * 3, "inner", None)
    assert one.result() in ("one", None)  # the scope may have closed before the pool came to it


@pytest.mark.usefixtures("carried")
def test_a_thread_runs_inside_the_scope_that_started_it_also_when_its_class_overrides_run() -> None:
    found: list[str | None] = []

    class Own(threading.Thread):
        def run(self) -> None:
            found.append(_name())

    with tf.task("t"):
        threads: list[threading.Thread] = [threading.Thread(target=lambda: found.append(_name())), Own()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    outside = threading.Thread(target=lambda: found.append(_name()))
    outside.start()
    outside.join()
    assert found == ["t", "t", None]


@pytest.mark.usefixtures("carried")
def test_run_in_executor_carries_the_scope_of_the_task_that_called_it() -> None:
    async def one(name: str) -> str | None:
        with tf.task(name):
            await asyncio.sleep(0)
            return await asyncio.get_running_loop().run_in_executor(None, _name)

    async def both() -> list[str | None]:
        return list(await asyncio.gather(one("a"), one("b")))

    assert asyncio.run(both()) == ["a", "b"]


@pytest.mark.usefixtures("carried")
def test_an_exception_in_a_pool_is_the_works_own() -> None:
    def fail() -> None:
        raise KeyError("mine")

    with tf.task("t"), ThreadPoolExecutor(1) as pool, pytest.raises(KeyError, match="mine"):
        pool.submit(fail).result()


def test_undoing_gives_the_identical_methods_back() -> None:
    before = threading.Thread.__dict__["start"], ThreadPoolExecutor.__dict__["submit"]
    undo = carry_scopes()
    assert threading.Thread.__dict__["start"] is not before[0]
    undo()
    assert (threading.Thread.__dict__["start"], ThreadPoolExecutor.__dict__["submit"]) == before


def test_calls_of_a_pool_belong_to_the_task_around_it(tmp_path: Path, provider: Provider) -> None:
    store = tmp_path / "runs.db"
    client = openai.OpenAI(base_url=provider.openai_url, api_key="x")
    with tf.instrument(store), tf.task("fan") as scope, ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda n: client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"q{n}"}]),
                range(8),
            )
        )
    placed = [(call["task"], call["task_id"], call["parent_id"]) for call in rows(store)]
    assert placed == [("fan", scope.span_id, scope.span_id)] * 8


def test_a_class_that_stands_in_for_threads_and_inherits_their_start_is_covered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Green(threading.Thread):  # as gevent's monkey patches do
        pass

    monkeypatch.setattr(threading, "Thread", Green)
    before = Green.start
    names: list[str | None] = []
    undo = carry_scopes()
    with tf.task("one"):
        thread = threading.Thread(target=lambda: names.append(_name()))
        thread.start()
    thread.join()
    undo()
    assert names == ["one"]
    assert Green.start is before


def test_a_wrapper_by_wrapt_beneath_ours_still_gets_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []

    def noting(wrapped: Any, instance: object, args: Any, kwargs: Any) -> Any:
        started.append(instance)
        return wrapped(*args, **kwargs)

    monkeypatch.setattr(threading.Thread, "start", wrapt.FunctionWrapper(threading.Thread.start, noting))
    undo = carry_scopes()
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    undo()
    assert started == [thread]


@pytest.mark.parametrize("order", ["over ours", "beneath ours"])
def test_a_thread_runs_beside_a_tracer_that_takes_the_function_out_of_its_run(
    order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sentrys(original: Any) -> Any:
        def start(this: Any) -> Any:
            function = getattr(this.run, "__func__", this.run)
            this.run = lambda *_: function(threading.current_thread())
            return original(this)

        return start

    names: list[str | None] = []
    undo = carry_scopes() if order == "over ours" else lambda: None
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", sentrys(threading.Thread.start))
        undo = carry_scopes() if order == "beneath ours" else undo
        with tf.task("one"):
            thread = threading.Thread(target=lambda: names.append(_name()))
            thread.start()
        thread.join()
        if order == "beneath ours":
            undo()
    undo()
    assert names == ["one"]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="there is no pool of interpreters")
@pytest.mark.usefixtures("carried")
def test_a_pool_of_interpreters_is_given_the_work_itself_which_alone_it_can_take_there() -> None:
    with futures.InterpreterPoolExecutor(1) as pool:
        with tf.task("t"):
            inside = pool.submit(abs, -1).result()
        with after_call("0" * 16):
            after = list(pool.map(abs, [-2]))
    assert (inside, after) == (1, [2])


@pytest.mark.skipif(sys.version_info < (3, 14), reason="a thread always begins with an empty context")
def test_a_pools_threads_take_no_scope_along_where_threads_begin_with_a_copy_of_the_context() -> None:
    program = """
        from concurrent.futures import ThreadPoolExecutor
        import tokenflation.sdk as tf
        from tokenflation.sdk.scoping import scopes
        from tokenflation.sdk.carrying.lastcall import carried, last_call
        from tokenflation.sdk.carrying.threads import carry_scopes
        carry_scopes()
        pool = ThreadPoolExecutor(1)
        with tf.task("one"), carried("0" * 16):
            pool.submit(int).result()
            with scopes.inside(None), carried(""):
                print(pool.submit(lambda: (scopes.current(), last_call())).result())
    """
    command = [sys.executable, "-X", "thread_inherit_context=1", "-c", textwrap.dedent(program)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (found.stdout, found.stderr) == ("(None, '')\n", "")
