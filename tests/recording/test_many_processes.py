"""Processes that fork, and processes that share a store: each writes its own rows, and each row once."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest
from tests.providers import Provider
from tests.recording.programs import HEAD, journals, run, until
from tests.stored import rows

from tokenflation.sdk.store.contents import info
from tokenflation.sdk.store.journals.recover import recover


def test_a_fork_that_leaves_by_os_exit_writes_its_own_rows(provider: Provider, store: Path) -> None:
    program = """
        handle = tf.instrument(store)
        with httpx.Client() as client:
            ask(client)
        pid = os.fork()
        if not pid:
            with httpx.Client() as client:
                for _ in range(10):
                    ask(client)
            os._exit(0)
        os.waitpid(pid, 0)
        with httpx.Client() as client:
            ask(client)
    """
    done = run(program, provider, store)
    assert done.returncode == 0, done.stderr
    assert len(rows(store)) == 12
    assert journals(store) == []


def test_the_rows_of_forks_alone_stand_in_the_stores_own_file_in_the_end(provider: Provider, store: Path) -> None:
    program = """
        import multiprocessing
        def work():
            with httpx.Client() as client:
                ask(client)
        tf.instrument(store)
        one = multiprocessing.get_context("fork").Process(target=work)
        one.start()
        one.join()
    """
    done = run(program, provider, store)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in store.parent.iterdir()) == ["runs.db", "runs.db.key"]
    assert len(rows(store)) == 1


def test_a_killed_fork_loses_no_finished_call_and_leaves_the_parents_alone(provider: Provider, store: Path) -> None:
    program = """
        handle = tf.instrument(store)
        with httpx.Client() as client:
            ask(client)
            pid = os.fork()
            if not pid:
                with httpx.Client() as own:
                    for _ in range(10):
                        ask(own)
                os.kill(os.getpid(), signal.SIGKILL)
            os.waitpid(pid, 0)
            ask(client)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run(program, provider, store).returncode == -signal.SIGKILL
    recover(store)
    assert len(rows(store)) == 12


def test_a_pool_whose_processes_do_one_task_each_gives_every_task(provider: Provider, store: Path) -> None:
    program = """
        import multiprocessing
        def work(number):
            with httpx.Client() as client, tf.task("job", id=f"T-{number}"):
                ask(client)
        tf.instrument(store)
        with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
            pool.map(work, range(10), chunksize=1)
            pool.close()
            pool.join()
    """
    done = run(program, provider, store)
    assert done.returncode == 0, done.stderr
    assert sorted(row["task_id"] for row in rows(store)) == sorted(f"T-{number}" for number in range(10))


def test_a_fork_does_not_wait_for_a_log_file_that_a_thread_of_its_parent_was_writing(
    provider: Provider, store: Path
) -> None:
    program = """
        import contextlib, logging, select, subprocess
        pipe = store + ".fifo"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        logging.basicConfig(filename=pipe, filemode="w")
        handle = tf.instrument(store)
        threading.Thread(target=logging.warning, args=("a" * 200_000,), daemon=True).start()
        select.select([reader], [], [])  # it waits for room with the buffer's lock
        pid = os.fork()
        if not pid:
            signal.alarm(30)
            with contextlib.suppress(OSError):
                subprocess.run(["/none/curl", "https://api.openai.com/v1/chat/completions", "-d", "{}"])
            with httpx.Client() as client:
                ask(client, "child")
            os._exit(handle.drops != {"unseen:api.openai.com": 1})
        print(os.waitpid(pid, 0)[1], flush=True)
        os._exit(0)
    """
    done = run(program, provider, store)
    assert done.stdout == "0\n", done
    assert len(rows(store)) == 1


def test_forks_of_which_python_is_not_told_write_their_own_rows(provider: Provider, store: Path) -> None:
    program = """
        import ctypes
        def work():
            with httpx.Client() as client:
                for number in range(3):
                    with tf.task("job"):
                        ask(client)
        handle = tf.instrument(store)
        work()
        handle.flush()
        child = ctypes.PyDLL(None).fork()  # C's own, as uWSGI's: it runs no handler of Python's
        work()
        if child:
            os.waitpid(child, 0)
        os._exit(handle.drops != {})
    """
    done = run(program, provider, store)
    assert (done.returncode, done.stderr) == (0, "")
    assert len({row["task_id"] for row in rows(store)}) == len(rows(store)) == 9
    assert len(rows(store, "SELECT * FROM spans")) == 9
    assert journals(store) == []


def test_a_fork_of_which_python_is_not_told_ends_at_once_if_it_calls_nothing(provider: Provider, store: Path) -> None:
    program = """
        import ctypes
        handle = tf.instrument(store)
        with httpx.Client() as client:
            ask(client)
        if not ctypes.PyDLL(None).fork():
            handle.close()
            os._exit(handle.drops != {})
        print(os.wait()[1])
    """
    assert run(program, provider, store).stdout == "0\n"
    assert len(rows(store)) == 1


def test_the_master_of_uwsgi_has_no_thread_that_its_workers_would_wait_for(provider: Provider, store: Path) -> None:
    program = """
        import ctypes, types
        master = os.getpid()
        sys.modules["uwsgi"] = types.SimpleNamespace(masterpid=lambda: master)
        tf.instrument(store)
        with httpx.Client() as client:
            ask(client)
        print(threading.active_count(), flush=True)
        if not ctypes.PyDLL(None).fork():
            with httpx.Client() as client:
                ask(client)
            print(threading.active_count(), flush=True)
            os._exit(0)
        os.wait()
    """
    assert run(program, provider, store).stdout == "1\n2\n"
    assert len(rows(store)) == 2
    assert journals(store) == []


def reachable(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


APP = """
import os
import httpx
import tokenflation.sdk as tf
tf.instrument(os.environ["STORE"])
client = httpx.Client()
def app(environ, start_response):
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    with tf.task("request", id=environ["PATH_INFO"]):
        client.post(os.environ["MODEL"] + "/v1/chat/completions", json=body)
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""


def test_workers_of_a_server_that_loads_its_app_before_it_forks_write_their_own_rows(
    provider: Provider, store: Path
) -> None:
    pytest.importorskip("gunicorn", reason="gunicorn is not installed")
    (store.parent / "served.py").write_text(APP)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "ignore", "-m", "gunicorn", "--preload", "-w", "2", "-b", f"127.0.0.1:{port}",
               "--log-level", "error", "served:app"]  # fmt: skip
    environment = {**os.environ, "STORE": str(store), "MODEL": provider.url}
    server = subprocess.Popen(command, cwd=store.parent, env=environment)
    try:
        until(lambda: reachable(port))
        workers = {httpx.get(f"http://127.0.0.1:{port}/{number}").text for number in range(40)}
    finally:
        server.terminate()
        server.wait(30)
    recover(store)
    assert sorted(row["task_id"] for row in rows(store)) == sorted(f"/{number}" for number in range(40))
    assert str(server.pid) not in workers
    assert journals(store) == []


def test_eight_processes_write_one_file_without_loss_doubling_or_complaint(provider: Provider, store: Path) -> None:
    program = """
        handle = tf.instrument(store)
        with httpx.Client() as client:
            for number in range(50):
                with tf.task("job", id=f"{sys.argv[3]}-{number}"):
                    ask(client)
        handle.close()
        assert handle.drops == {}, handle.drops
    """
    source = textwrap.dedent(HEAD) + textwrap.dedent(program)
    writers = [
        subprocess.Popen([sys.executable, "-c", source, provider.url, str(store), str(n)], stderr=subprocess.PIPE)
        for n in range(8)
    ]
    said = [writer.communicate(timeout=120)[1] for writer in writers]
    assert said == [b""] * 8
    found = rows(store)
    assert len(found) == len({row["task_id"] for row in found}) == 400
    assert len(rows(store, "SELECT * FROM spans")) == 400
    assert rows(store, "SELECT * FROM drops") == []


def test_threads_that_fork_at_once_and_long_leave_the_recorder_free(provider: Provider, store: Path) -> None:
    program = """
        both = threading.Barrier(2)
        os.register_at_fork(before=lambda: both.wait(60))  # a library's own, which is run after ours
        handle = tf.instrument(store)

        def fork():
            pid = os.fork()
            if not pid:
                os._exit(0)
            os.waitpid(pid, 0)

        threads = [threading.Thread(target=fork) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with httpx.Client() as client:
            ask(client)
        print(handle.flush(), handle.recorded)
    """
    done = run(program, provider, store)
    assert done.stdout == "True 1\n", done.stdout + done.stderr


def test_a_fork_amid_a_transaction_that_a_slow_disk_holds_up_waits_for_nothing_and_loses_no_call(
    provider: Provider, store: Path
) -> None:
    program = """
        import functools, sqlite3
        from tokenflation.sdk.store import outbox
        outbox._FORK_WAIT_S = 0.05
        parent, begun, over = os.getpid(), threading.Event(), threading.Event()
        class OnSlowDisk(sqlite3.Connection):
            def execute(self, sql, *values):
                if sql == "COMMIT" and os.getpid() == parent:
                    begun.set()
                    over.wait(30)
                return super().execute(sql, *values)
        handle = tf.instrument(store)
        sqlite3.connect = functools.partial(sqlite3.connect, factory=OnSlowDisk)
        with httpx.Client() as client:
            ask(client)
        begun.wait(30)
        pid = os.fork()
        with httpx.Client() as client:
            ask(client)
        if not pid:
            print(handle.flush())
            sys.exit()
        os.waitpid(pid, 0)
        over.set()
    """
    done = run(program, provider, store)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    found = info(store)
    assert (found["rows"]["calls"], found["input_tokens"] > 0, found["lost"]) == (3, True, 0)
    assert journals(store) == []
