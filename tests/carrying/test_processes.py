"""Scopes in other processes: pools' work, processes of multiprocessing, and what they leave of the host's own."""

import asyncio
import contextlib
import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.managers import BaseManager
from multiprocessing.pool import Pool, ThreadPool
from pathlib import Path
from typing import Any

import anyio.to_process
import httpx
import joblib
import pytest
from tests.providers import Provider
from tests.recording.programs import until
from tests.stored import rows

import tokenflation.sdk as tf
from tokenflation.children import hand_on
from tokenflation.sdk.scoping.scopes import current, packed, root_in
from tokenflation.sdk.store.journals.recover import recover

# Newer Pythons say it of a fork beside a thread that another test left, and of what aiomultiprocess calls.
pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning",
    "ignore:'asyncio.iscoroutinefunction' is deprecated:DeprecationWarning",
)

IN_PPFT = """
import sys, ppft, tokenflation.sdk as tf

def ask(url):
    import httpx
    return httpx.post(url + "/chat/completions", json={"model": "m", "messages": []}).status_code

with tf.instrument(sys.argv[2], children=True):
    with tf.task("triage", id="one"), tf.agent("planner"):
        pool = ppft.Server(1)
        assert pool.submit(ask, (sys.argv[1],))() == 200
    with tf.task("triage", id="two"):
        assert pool.submit(ask, (sys.argv[1],))() == 200
    assert pool.submit(ask, (sys.argv[1],))() == 200
    pool.destroy()
"""

_METHODS = ("fork", "spawn", "forkserver")


def where(_: object = None) -> tuple[str, str | None, int] | None:
    """Return the task, agent and depth that a call would have here."""
    scope = current()
    return (scope.task_id, scope.agent, scope.depth) if scope is not None else None


async def where_later(_: object = None) -> tuple[str, str | None, int] | None:
    await asyncio.sleep(0)
    return where()


def ask(url: str) -> int:
    return httpx.post(f"{url}/v1/chat/completions", json={"model": "m", "messages": []}).status_code


def tell(pipe: Any) -> None:
    pipe.send(where())


class Server(BaseManager):
    """A process that answers whoever asks."""


Server.register("where", callable=where)


class Telling(multiprocessing.get_context("spawn").Process):  # type: ignore[name-defined, misc]
    """A process with a `run` of its own."""

    def __init__(self, pipe: Any) -> None:
        super().__init__()
        self.pipe = pipe

    def run(self) -> None:
        tell(self.pipe)


class Copying(multiprocessing.get_context("spawn").Process):  # type: ignore[name-defined, misc]
    """A process that is sent as a copy of all that it has."""

    def __getstate__(self) -> dict[str, Any]:
        return copy.deepcopy(vars(self))

    def run(self) -> None:
        sys.exit(7 if "tokenflation.startup" in sys.modules else 8)


@pytest.fixture(autouse=True)
def recording(tmp_path: Path) -> Iterator[None]:
    with tf.instrument(tmp_path / "runs.db"):
        yield


@pytest.mark.parametrize("method", _METHODS)
def test_each_piece_of_a_process_pools_work_runs_inside_the_scope_that_handed_it_in(method: str) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        with tf.task("triage", id="one"), tf.agent("planner"), tf.agent("reader"):
            first = pool.submit(where)
        with tf.task("triage", id="two"):
            second = pool.submit(where)
            mapped = pool.map(where, [1, 2])
        third = pool.submit(where)
        assert first.result() == ("one", "reader", 1)
        assert [second.result(), *mapped] == [("two", None, 0)] * 3
        assert third.result() is None


@pytest.mark.parametrize("method", _METHODS)
def test_processes_of_multiprocessing_are_recorded_with_no_word_however_they_start(
    provider: Provider, tmp_path: Path, method: str
) -> None:
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, context) as pool:
        with tf.task("pooled", id="one"):
            assert pool.submit(ask, provider.url).result() == 200
        assert pool.submit(ask, provider.url).result() == 200
    process = context.Process(target=ask, args=(provider.url,))
    process.start()
    process.join()
    found = until(lambda: len(done := rows(tmp_path / "runs.db")) == 3 and [row["task_id"] for row in done])
    assert (found.count("one"), len({*found}), "run" in vars(process)) == (1, 3, False)


def test_a_process_that_copies_what_it_is_made_of_as_it_is_sent_starts_all_the_same() -> None:
    process = Copying()
    process.start()
    process.join()
    assert process.exitcode == 7


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_what_joblib_hands_in_when_an_earlier_piece_is_done_runs_inside_the_scope_too(backend: str) -> None:
    work = joblib.Parallel(2, backend=backend, pre_dispatch=2, batch_size=1)
    for name in ("one", "two"):
        with tf.task("triage", id=name), tf.agent("planner"):
            assert work(joblib.delayed(where)(number) for number in range(6)) == [(name, "planner", 0)] * 6


def test_the_processes_of_joblib_serve_each_scope_in_turn() -> None:
    with tf.task("triage", id="one"), tf.agent("planner"):
        first = joblib.Parallel(2)(joblib.delayed(where)(number) for number in range(3))
    with tf.task("triage", id="two"):
        second = joblib.Parallel(2)(joblib.delayed(lambda: where())() for _ in range(3))
    third = joblib.Parallel(2)(joblib.delayed(where)(number) for number in range(3))
    assert (first, second, third) == ([("one", "planner", 0)] * 3, [("two", None, 0)] * 3, [None] * 3)


@pytest.mark.parametrize(
    "ask",
    [
        lambda pool: pool.apply(where),
        lambda pool: pool.apply_async(func=where).get(),
        lambda pool: pool.map(where, [1])[0],
        lambda pool: pool.starmap(where, [(1,)])[0],
        lambda pool: next(pool.imap(where, [1], 2)),
        lambda pool: next(pool.imap_unordered(where, [1])),
    ],
)
@pytest.mark.parametrize("make", [multiprocessing.get_context("fork").Pool, ThreadPool])
def test_each_way_to_ask_a_pool_of_multiprocessing_carries_the_scope(
    make: Callable[[int], Pool], ask: Callable[[Pool], Any]
) -> None:
    with tf.task("around", id="zero"):
        pool = make(1)
    with contextlib.closing(pool):
        with tf.task("triage", id="one"):
            assert ask(pool) == ("one", None, 0)
        assert ask(pool) is None


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_that_serves_others_stands_in_no_scope(method: str) -> None:
    server = Server(ctx=multiprocessing.get_context(method))
    with tf.task("triage", id="one"):
        server.start()
        inside = server.where()._getvalue()  # type: ignore[attr-defined]
    with tf.task("triage", id="two"):
        after = server.where()._getvalue()  # type: ignore[attr-defined]
    server.shutdown()
    assert (inside, after) == (None, None)


@pytest.mark.parametrize("begin", [dict, hand_on], ids=["unrecorded", "recorded"])
def test_the_processes_of_anyio_serve_each_scope_in_turn(tmp_path: Path, begin: Callable[[Any], Any]) -> None:
    async def ask() -> list[Any]:
        with tf.task("triage", id="one"), tf.agent("planner"):
            first = await anyio.to_process.run_sync(where)
        with tf.task("triage", id="two"):
            second = await anyio.to_process.run_sync(where)
        return [first, second, await anyio.to_process.run_sync(where)]

    end = begin({"store": str(tmp_path / "runs.db")})
    try:
        assert anyio.run(ask) == [("one", "planner", 0), ("two", None, 0), None]
    finally:
        if begin is hand_on:
            end()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_processes_of_aiomultiprocess_serve_each_scope_in_turn(method: str) -> None:
    aiomultiprocess = pytest.importorskip("aiomultiprocess")

    async def ask() -> list[Any]:
        with tf.task("triage", id="one"), tf.agent("planner"):
            pool = aiomultiprocess.Pool(1)
            first = await pool.apply(where_later)
        with tf.task("triage", id="two"):
            second = await pool.map(where_later, [1])
        third = await pool.apply(where_later)
        pool.close()
        await pool.join()
        return [first, *second, third]

    aiomultiprocess.set_start_method(method)
    assert asyncio.run(ask()) == [("one", "planner", 0), ("two", None, 0), None]


def test_the_processes_of_trio_parallel_serve_each_scope_in_turn() -> None:
    trio_parallel = pytest.importorskip("trio_parallel")

    async def ask() -> list[Any]:
        with tf.task("triage", id="one"), tf.agent("planner"):
            first = await trio_parallel.run_sync(where)
        with tf.task("triage", id="two"):
            second = await trio_parallel.run_sync(where)
        return [first, second, await trio_parallel.run_sync(where)]

    assert anyio.run(ask, backend="trio") == [("one", "planner", 0), ("two", None, 0), None]


def test_the_processes_of_ppft_serve_each_scope_in_turn(provider: Provider, store: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"  # functions go to those processes as source
    script.write_text(IN_PPFT)
    done = subprocess.run([sys.executable, script, provider.openai_url, store], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    until(lambda: recover(store) or len(rows(store)) == 3)  # it kills them
    found = [(row["task_id"], row["agent"]) for row in rows(store)]
    assert found[:2] == [("one", "planner"), ("two", "agent")]
    assert found[2][0] not in ("one", "two")


def test_a_process_that_serves_others_stands_in_no_scope_in_a_program_that_runs_inside_one_either() -> None:
    with tf.task("around", id="zero") as around:
        chain = packed(around)
    root_in(chain)
    try:
        server = Server(ctx=multiprocessing.get_context("fork"))
        server.start()
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
            worked = pool.submit(where).result()
    finally:
        root_in([])
    served = server.where()._getvalue()  # type: ignore[attr-defined]
    server.shutdown()
    assert (worked, served) == (("zero", None, 0), None)


@pytest.mark.parametrize("method", _METHODS)
def test_a_process_runs_inside_the_scope_that_started_it(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    with tf.task("triage", id="one"):
        process = context.Process(target=tell, args=(theirs,))
        process.start()
    process.join()
    assert ours.recv() == ("one", None, 0)
    assert "run" not in vars(process)


def test_a_process_with_a_run_of_its_own_runs_that(tmp_path: Path) -> None:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    with tf.task("triage", id="one"):
        process = Telling(theirs)
        process.start()
    process.join()
    assert ours.recv() == ("one", None, 0)


def test_work_that_cannot_be_sent_fails_as_it_does_without_a_recorder() -> None:
    with ProcessPoolExecutor(1) as pool, tf.task("triage"):
        future = pool.submit(lambda: None)
        with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
            future.result()


def test_functions_of_the_operating_system_can_be_sent_to_processes_as_without_a_recorder() -> None:
    wanted = [os._exit, os.execv, os.execve, os.posix_spawn, os.posix_spawnp, subprocess.Popen.__init__]
    assert pickle.loads(pickle.dumps(wanted)) == wanted
    with pytest.raises(BrokenProcessPool), ProcessPoolExecutor(1) as pool, tf.task("triage"):
        pool.submit(os._exit, 1).result()


def test_without_the_wish_to_record_them_programs_get_the_environment_that_they_would_get() -> None:
    with tf.task("triage"):
        said = subprocess.run(["env"], capture_output=True, text=True, check=True)
        empty = subprocess.run(["/usr/bin/env"], capture_output=True, text=True, check=True, env={})
    assert "TOKENFLATION_SCOPE" not in said.stdout
    assert "TOKENFLATION_SCOPE" not in empty.stdout
    assert "TOKENFLATION_SCOPE" not in os.environ


def test_switched_off_nothing_of_ours_lies_over_the_standard_library() -> None:
    active = tf.instrument()
    covered = ((subprocess.Popen, "__init__"), (ProcessPoolExecutor, "submit"), (Pool, "imap"))
    during = [vars(owner)[name] for owner, name in covered]
    active.close()
    after = [vars(owner)[name] for owner, name in covered]
    assert not {id(one) for one in during} & {id(one) for one in after}
    assert {one.__module__ for one in after} <= {"subprocess", "concurrent.futures.process", "multiprocessing.pool"}
