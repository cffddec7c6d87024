"""The recorder's thread: what fails in it costs no later call, and keeps no one waiting."""

import contextlib
import multiprocessing
import queue
import sqlite3
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from tests.providers import Provider
from tests.recording.programs import run, until

import tokenflation.sdk as tf
from tokenflation.sdk.instrument import active
from tokenflation.sdk.recording import forks, inbox, recorder
from tokenflation.sdk.recording.marks import Grown
from tokenflation.sdk.store.contents import info

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


def ask(provider: Provider) -> None:
    with httpx.Client() as client:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        client.post(f"{provider.openai_url}/chat/completions", json=body).raise_for_status()


def rows(store: Path) -> int:
    return int(info(store)["rows"]["calls"])


class Broken:
    """Stands for a part of the recorder; fails whatever is done with it, until it is mended."""

    def __init__(self, whole: object) -> None:
        self.whole = whole
        self.is_broken = True

    def __call__(self, *args: object) -> object:
        if self.is_broken:
            raise RuntimeError("broken")
        assert callable(self.whole)
        return self.whole(*args)


def test_a_queue_that_is_not_the_one_of_now_gives_way_with_all_that_waits_in_it(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other(queue._PySimpleQueue):  # type: ignore[name-defined,misc]  # as gevent puts its own in the place
        pass

    with tf.instrument(tmp_path / "runs.db") as handle:
        with monkeypatch.context() as broken:
            broken.setattr(recorder.Recorder, "_start", lambda _: None)
            ask(provider)
        monkeypatch.setattr(queue, "SimpleQueue", Other)
        ask(provider)
        assert handle.flush()
        assert type(handle._recorder._inbox._items) is Other
        assert type(handle._recorder._inbox._hurry._asked) is Other
    assert (rows(tmp_path / "runs.db"), handle.drops) == (2, {})


def test_greenlets_go_on_where_gevent_comes_after_the_recorder(provider: Provider, tmp_path: Path) -> None:
    pytest.importorskip("gevent")
    program = """
        handle = tf.instrument(store)
        from gevent import monkey
        monkey.patch_all()
        import gevent
        turns = [0]
        def others():
            while True:
                turns[0] += 1
                gevent.sleep(0.001)
        gevent.spawn(others)
        assert gevent.spawn(lambda: httpx.post(url + "/v1/chat/completions", json={"messages": []})).get(timeout=20)
        before = turns[0]
        gevent.sleep(0.5)
        assert turns[0] > before + 1
        handle.close()
    """
    done = run(program, provider, tmp_path / "runs.db")
    assert done.returncode == 0, done.stderr
    assert rows(tmp_path / "runs.db") == 1


def test_a_worker_that_fails_beyond_its_guards_is_followed_by_another_that_loses_nothing(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tf.instrument(tmp_path / "runs.db") as handle:
        broken = Broken(handle._recorder._inbox.next_items)
        monkeypatch.setattr(handle._recorder._inbox, "next_items", broken)
        ask(provider)
        began = time.monotonic()
        assert not handle.flush(30.0)
        assert time.monotonic() - began < 5.0  # nobody is there to wait for
        broken.is_broken = False
        ask(provider)
        assert handle.flush()
        assert handle.recorded == 2
        assert set(handle.drops) == {"recorder_error"}


def test_a_worker_that_is_behind_does_not_rest_between_two_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "_WINDOW_S", 3600.0)
    monkeypatch.setattr(inbox, "_BUSY_WINDOW_S", 3600.0)
    monkeypatch.setattr(inbox, "_MAX_BATCH", 20)
    store = tmp_path / "runs.db"
    answer = {"id": "1", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    with tf.instrument(store) as handle:
        handle.flush()
        with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # the worker waits for this while the calls pile up
            with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=answer))) as client:
                for _ in range(200):
                    client.post("http://models.test/v1/chat/completions", json={"model": "m", "messages": []})
            other.execute("ROLLBACK")
        deadline = time.monotonic() + 30.0
        while rows(store) < 180 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert rows(store) >= 180


def test_a_short_queue_is_emptied_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_WINDOW_S", "_BUSY_WINDOW_S", "_LOOK_S"):
        monkeypatch.setattr(inbox, name, 3600.0)
    answer = {"id": "1", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    deadline = time.monotonic() + 10.0
    with tf.instrument(tmp_path / "runs.db", queue_size=40) as handle:
        with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=answer))) as client:
            for _ in range(200):
                client.post("http://models.test/v1/chat/completions", json={"model": "m", "messages": []})
                while len(handle._recorder._inbox) > 30 and time.monotonic() < deadline:
                    time.sleep(0.001)
        assert handle.flush()
        assert (handle.recorded, handle.drops) == (200, {})


def test_a_worker_that_fails_to_the_end_delays_no_close_and_is_shown(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = tf.instrument(tmp_path / "runs.db")
    monkeypatch.setattr(handle._recorder._inbox, "next_items", Broken(None))
    ask(provider)
    began = time.monotonic()
    handle.close()
    assert time.monotonic() - began < 5.0
    assert info(tmp_path / "runs.db")["drops"]["waiting_for_store"] >= 1


class Unlucky:
    """Fails in every step of a fork."""

    def before_fork(self) -> None:
        raise RuntimeError("before")

    def after_fork(self) -> None:
        raise RuntimeError("after")

    def begin_in_child(self) -> None:
        raise RuntimeError("child")


def asks_in_child(provider: Provider) -> int | None:
    def work() -> None:
        ask(provider)
        handle = active()
        assert handle is not None
        assert handle.flush()

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(20)
    return child.exitcode


def test_a_fork_at_which_something_fails_leaves_parent_and_child_recording(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tf.instrument(tmp_path / "runs.db") as handle:
        unlucky = Unlucky()
        forks.watch_forks(unlucky)
        monkeypatch.setattr(handle._recorder._outbox, "leave_to_parent", unlucky.begin_in_child)
        ask(provider)
        assert handle.flush()
        assert asks_in_child(provider) == 0
        ask(provider)
        assert handle.flush()
        assert not handle._recorder._outbox._writing.locked()
    assert rows(tmp_path / "runs.db") == 3


def test_a_child_that_cannot_begin_anew_records_nothing_and_waits_for_no_lock(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tf.instrument(tmp_path / "runs.db") as handle:
        ask(provider)
        monkeypatch.setattr(handle._recorder, "_reset", Broken(None))
        assert asks_in_child(provider) == 0
    assert rows(tmp_path / "runs.db") == 1


def test_all_that_is_taken_together_with_the_end_is_counted_where_close_cannot_wait_for_it(
    provider: Provider, tmp_path: Path
) -> None:
    store, gate = tmp_path / "runs.db", threading.Event()
    with tf.instrument(store) as handle:
        other = sqlite3.connect(store, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        handle._recorder._put(Grown(SimpleNamespace(pack=gate.wait)), force=True)  # type: ignore[arg-type]
        for _ in range(2):
            ask(provider)
        threading.Timer(0.1, gate.set).start()
        handle._recorder.close(timeout_s=2)
        assert handle.drops == {"waiting_for_store": 2}
        other.execute("ROLLBACK")
        other.close()


def test_what_the_worker_has_in_hand_is_counted_where_close_cannot_wait_for_it(
    provider: Provider, tmp_path: Path
) -> None:
    store, first, second = tmp_path / "runs.db", threading.Event(), threading.Event()
    with tf.instrument(store) as handle:
        worker = handle._recorder._start()
        for gate in (first, second):
            handle._recorder._put(Grown(SimpleNamespace(pack=gate.wait)), force=True)  # type: ignore[arg-type]
            for _ in range(2):
                ask(provider)
        first.set()
        assert until(lambda: len(handle._recorder._outbox) == 2)
        handle._recorder.close(timeout_s=0.2)
        assert handle.drops == {"waiting_for_store": 4}
        second.set()
        assert worker is not None
        worker.join(10)
    assert (rows(store), handle.drops) == (4, {})


@pytest.mark.parametrize("stack_kib", [64, 256])
def test_a_worker_reads_what_is_nested_deep_where_the_host_gives_its_threads_small_stacks(
    provider: Provider, store: Path, stack_kib: int
) -> None:
    program = """
        threading.stack_size(int(sys.argv[3]) * 1024)
        handle = tf.instrument(store)
        with httpx.Client() as client:
            deep = []
            for _ in range(900):
                deep = [deep]
            tool = {"type": "function", "function": {"name": "f", "parameters": deep}}
            ask(client, tools=[tool])
            handle.flush()
        print(threading.stack_size() // 1024, handle.recorded, handle.drops)
        handle.close()
    """
    done = run(program, provider, store, str(stack_kib))
    assert (done.returncode, done.stdout) == (0, f"{stack_kib} 1 {{}}\n"), done.stderr


def test_calls_that_wait_for_a_store_hold_none_of_their_prompts(provider: Provider, store: Path) -> None:
    program = """
        import gc, shutil, tracemalloc
        handle = tf.instrument(store)
        with httpx.Client() as client:
            ask(client)
            handle.flush()
            shutil.rmtree(os.path.dirname(store))
            tracemalloc.start()
            for number in range(60):
                ask(client, f"{number}" + "word " * 100_000)
                handle.flush()
        gc.collect()  # httpx's responses refer to themselves
        print(handle.drops, tracemalloc.get_traced_memory()[0] < 10_000_000, flush=True)
        os._exit(0)
    """
    (store.parent / "folder").mkdir()
    done = run(program, provider, store.parent / "folder" / "runs.db")
    assert done.stdout == "{} True\n", done.stdout + done.stderr


def test_writes_that_fail_leave_the_collector_nothing_of_theirs(provider: Provider, store: Path) -> None:
    program = """
        import gc, shutil
        handle = tf.instrument(store)
        with httpx.Client() as client:
            ask(client)
            handle.flush()
            shutil.rmtree(os.path.dirname(store))
            gc.collect()
            gc.disable()
            for _ in range(3):
                ask(client)
                handle.flush()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        print(len(gc.garbage) > 0, sum(type(one).__name__ == "StoreError" for one in gc.garbage), flush=True)
        os._exit(0)
    """
    (store.parent / "folder").mkdir()
    done = run(program, provider, store.parent / "folder" / "runs.db")
    assert done.stdout == "True 0\n", done.stdout + done.stderr
