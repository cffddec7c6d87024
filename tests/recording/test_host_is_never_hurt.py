"""Whatever happens inside the recorder, the host gets what it would have got without it, and the loss is counted."""

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from tests.providers import DEFAULT_TEXT, Provider
from tests.recording.programs import until

import tokenflation.sdk as tf
from tokenflation.sdk.calls import assemble
from tokenflation.sdk.recording import recorder
from tokenflation.sdk.scoping import scopes
from tokenflation.sdk.store.losses import read_losses
from tokenflation.sdk.store.write import open_writer


def ask(provider: Provider) -> str:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    with httpx.Client() as client:
        answer = client.post(f"{provider.openai_url}/chat/completions", json=body)
    return str(answer.json()["choices"][0]["message"]["content"])


def info(store: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", "from tokenflation.cli import main; main()", "info", str(store), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_a_parser_that_raises_costs_the_record_and_nothing_else(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("parser")

    store = tmp_path / "runs.db"
    with tf.instrument(store) as handle:
        assert ask(provider) == DEFAULT_TEXT
        handle.flush()
        monkeypatch.setattr(assemble, "read", broken)
        assert ask(provider) == DEFAULT_TEXT
    assert handle.drops == {"parser_error": 1}
    assert info(store)["drops"] == {"parser_error": 1}


def test_a_full_queue_drops_and_counts(provider: Provider, tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    with tf.instrument(store, queue_size=0) as handle:
        assert ask(provider) == DEFAULT_TEXT
    assert handle.drops == {"queue_full": 1}
    assert info(store)["drops"] == {"queue_full": 1}


def test_a_context_that_raises_is_not_seen_by_the_host(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tf.instrument(tmp_path / "runs.db") as handle:
        monkeypatch.setattr(recorder.scopes, "current", lambda: 1 / 0)
        assert ask(provider) == DEFAULT_TEXT
    assert handle.drops == {"hook_error": 1}


def test_a_store_locked_by_another_writer_loses_nothing(provider: Provider, tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    with tf.instrument(store) as handle:
        other = sqlite3.connect(store, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert ask(provider) == DEFAULT_TEXT
        other.execute("COMMIT")
        other.close()
        handle.flush()
    assert info(store)["rows"]["calls"] == 1


def in_child(program: str, provider: Provider, store: Path, before: Callable[[], None] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), provider.openai_url, str(store)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=before,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


HOST = """
    import sys, httpx, tokenflation.sdk as tf
    url, store = sys.argv[1:]
    handle = tf.instrument(store)
    body = {"model": "m", "messages": [{"role": "user", "content": "hi " * 2000}]}
    with httpx.Client() as client:
        for _ in range(40):
            answer = client.post(f"{url}/chat/completions", json=body)
    handle.close()
    print(answer.json()["choices"][0]["message"]["content"])
"""


def test_a_full_disk_does_not_reach_the_host_and_the_loss_is_shown(provider: Provider, tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    tf.instrument(store).close()

    def almost_full() -> None:
        # Files may grow to this and no further: to SQLite that is a disk without room.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    assert in_child(HOST, provider, store, almost_full) == DEFAULT_TEXT
    found = info(store)
    assert found["rows"]["calls"] + sum(found["drops"].values()) >= 40
    assert sum(found["drops"].values()) > 0


def test_a_read_only_store_does_not_reach_the_host_and_the_loss_is_shown(provider: Provider, tmp_path: Path) -> None:
    folder = tmp_path / "ro"
    folder.mkdir()
    store = folder / "runs.db"
    tf.instrument(store).close()
    if os.getuid() == 0:
        # Root writes where it may not: a mount that is read-only stops it too.
        if subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False).returncode:
            pytest.skip("as root, a read-only folder needs a mount, and this machine allows none")
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
    else:
        store.chmod(0o444)
        folder.chmod(0o555)
    try:
        assert in_child(HOST, provider, store) == DEFAULT_TEXT
        assert sum(read_losses(store).values()) >= 40
        assert sum(info(store)["drops"].values()) >= 40
    finally:
        if os.getuid() == 0:
            subprocess.run(["umount", folder], check=True)
        else:
            folder.chmod(0o755)


def test_a_killed_host_has_its_finished_calls_in_the_store(provider: Provider, tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    program = """
        import os, signal, sys, httpx, tokenflation.sdk as tf
        url, store = sys.argv[1:]
        handle = tf.instrument(store)
        with httpx.Client() as client:
            client.post(f"{url}/chat/completions", json={"model": "m", "messages": [{"role": "user", "content": "x"}]})
        handle.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), provider.openai_url, str(store)], check=False)
    assert info(store)["rows"]["calls"] == 1


def test_a_host_that_never_closes_loses_nothing(provider: Provider, tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    in_child(HOST.replace("handle.close()", ""), provider, store)
    assert info(store)["rows"]["calls"] == 40


def test_a_process_that_can_start_no_thread_goes_on_and_loses_nothing(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name == "tokenflation":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)
    store = tmp_path / "runs.db"
    with tf.instrument(store) as handle, tf.task("triage"):
        assert ask(provider) == DEFAULT_TEXT
    assert handle.drops == {}
    assert info(store)["rows"] == {**info(store)["rows"], "calls": 1, "spans": 1}


def test_what_close_cannot_wait_for_is_shown_as_lost_until_it_is_written(provider: Provider, tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    with tf.instrument(store) as handle:
        other = sqlite3.connect(store, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert ask(provider) == DEFAULT_TEXT
        worker, rows = handle._recorder._thread, handle._recorder._outbox
        assert worker is not None
        assert until(lambda: len(rows))
        for _ in range(2):  # which the worker does not get to
            assert ask(provider) == DEFAULT_TEXT
        handle._recorder.close(timeout_s=0.2)
        assert info(store)["drops"] == handle.drops == {"waiting_for_store": 3}
        other.execute("ROLLBACK")
        other.close()
        worker.join(10)
    assert (info(store)["lost"], handle.drops) == (0, {})
    assert info(store)["rows"]["calls"] == 3


def test_what_close_could_not_wait_for_is_not_lost_where_the_journal_has_it(provider: Provider, tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    program = """
        import os, signal, sqlite3, sys, httpx, tokenflation.sdk as tf
        url, store = sys.argv[1:]
        handle = tf.instrument(store)
        other = sqlite3.connect(store, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
        with httpx.Client() as client:
            for _ in range(3):
                client.post(f"{url}/chat/completions", json=body)
            with tf.task("t"):
                pass
        handle._recorder.close(timeout_s=0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), provider.openai_url, str(store)], check=False)
    waiting = read_losses(store)["waiting_for_store"]
    found = info(store)
    assert waiting >= 4  # no journal has scopes
    assert (found["rows"]["calls"], found["drops"]) == (3, {"waiting_for_store": waiting - 3})


def test_calls_that_close_cannot_write_come_in_once_the_store_can_be_written(
    provider: Provider, tmp_path: Path
) -> None:
    folder, store = tmp_path / "there", tmp_path / "there" / "runs.db"
    folder.mkdir()
    handle = tf.instrument(store)
    with handle, tf.task("t"):
        ask(provider)
        handle.flush()
        for path in folder.glob("runs.db*"):
            if ".underway-" not in path.name:
                path.rename(tmp_path / path.name)
        store.mkdir()
        for _ in range(3):
            ask(provider)
    assert handle.drops == {"store_error:StoreError": 1, "waiting_for_store": 3}  # no journal has scopes
    store.rmdir()
    for path in tmp_path.glob("runs.db*"):
        path.rename(folder / path.name)
    found = info(store)
    assert (found["rows"]["calls"], found["drops"]) == (4, {"store_error:StoreError": 1})


def test_a_store_that_is_deleted_while_recording_is_made_anew(provider: Provider, tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    with tf.instrument(store) as handle:
        ask(provider)
        handle.flush()
        for path in tmp_path.glob("runs.db*"):
            path.unlink()
        ask(provider)
    assert info(store)["rows"]["calls"] == 1


def test_a_store_that_somebody_replaces_while_recording_gets_what_comes_after(
    provider: Provider, tmp_path: Path
) -> None:
    store = tmp_path / "runs.db"
    with tf.instrument(store) as handle:
        ask(provider)
        handle.flush()
        for path in tmp_path.glob("runs.db*"):
            path.unlink()
        open_writer(store).close()
        ask(provider)
    assert info(store)["rows"]["calls"] == 1


def test_a_loss_noted_beside_a_failing_store_is_counted_once_when_the_store_is_back(
    provider: Provider, tmp_path: Path
) -> None:
    folder, away = tmp_path / "there", tmp_path / "away"
    folder.mkdir()
    store = folder / "runs.db"
    with tf.instrument(store) as handle:
        folder.rename(away)
        handle._recorder.count_loss("hook_error")
        ask(provider)
        handle.flush()
        assert read_losses(store)["hook_error"] == 1
        away.rename(folder)
        ask(provider)
        handle.flush()
    found = info(store)
    assert (found["drops"], found["rows"]["calls"]) == ({"hook_error": 1}, 2)


class Exporter(SpanExporter):
    """Says of all spans what it is told to; None: it never says anything."""

    def __init__(self, result: SpanExportResult | None) -> None:
        self.result = result

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self.result is None:
            threading.Event().wait()
        assert self.result is not None
        return self.result


@pytest.mark.parametrize(
    ("result", "drops"),
    [
        (SpanExportResult.SUCCESS, {}),
        (SpanExportResult.FAILURE, {"export_failed": 2}),
        (None, {"export_unfinished": 2}),
    ],
)
def test_an_exporter_that_fails_or_hangs_neither_stops_the_end_nor_goes_unseen(
    provider: Provider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    result: SpanExportResult | None,
    drops: dict[str, int],
) -> None:
    monkeypatch.setattr(sys.modules[tf.instrument.__module__], "_EXPORT_WAIT_S", 0.2)
    store = tmp_path / "runs.db"
    with tf.instrument(store, span_exporter=Exporter(result)), tf.task("t"):
        ask(provider)
    found = info(store)
    assert (found["rows"]["calls"], found["drops"]) == (1, drops)


def test_threads_that_switch_the_recorder_on_at_once_get_one(provider: Provider, tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    barrier = threading.Barrier(8)

    def switch_on() -> tf.Instrumentation:
        barrier.wait()
        return tf.instrument(store)

    with ThreadPoolExecutor(8) as pool:
        handles = [one.result() for one in [pool.submit(switch_on) for _ in range(8)]]
    ask(provider)
    handles[0].close()
    assert len({id(handle) for handle in handles}) == 1
    assert info(store)["rows"]["calls"] == 1


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_another_process_keeps_the_store_locked_waits_for_nobody(
    provider: Provider, tmp_path: Path
) -> None:
    store = tmp_path / "runs.db"
    with tf.instrument(store) as handle:
        other = sqlite3.connect(store, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        ask(provider)
        while handle._recorder._outbox._writer is None:
            time.sleep(0.001)
        child = os.fork()
        if not child:
            outbox = handle._recorder._outbox
            os.kill(os.getpid(), signal.SIGUSR1 if outbox._writer is None else signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGUSR1  # it was handed no open connection
        other.execute("COMMIT")
        other.close()
    assert info(store)["rows"]["calls"] == 1


def test_a_listener_that_raises_does_not_stop_the_work_in_a_scope() -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("listener")

    stop = scopes.listen(broken)
    try:
        with tf.task("t"):
            done = True
    finally:
        stop()
    assert done
