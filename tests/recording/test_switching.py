"""Switching the recorder on and off, again and again and where a step of it fails, leaves the host as it was."""

import contextlib
import gc
import importlib
import logging
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from tests.providers import Provider
from tests.stored import only_call

import tokenflation.sdk as tf
from tokenflation.sdk import hooks
from tokenflation.sdk.store.contents import info

instrument = importlib.import_module("tokenflation.sdk.instrument")  # the package has a function of this name


def ask(provider: Provider) -> None:
    with httpx.Client() as client:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        client.post(f"{provider.openai_url}/chat/completions", json=body).raise_for_status()


def broken(*_: object, **__: object) -> None:
    raise RuntimeError("broken")


@pytest.fixture
def before() -> tuple[object, ...]:
    return attributes()


def attributes() -> tuple[object, ...]:
    return httpx.Client.__dict__["_send_single_request"], threading.Thread.__dict__["start"]


@pytest.mark.parametrize("place", [0, 1, 3, -1])
def test_an_undo_that_raises_leaves_no_later_patch_on(
    place: int, before: tuple[object, ...], tmp_path: Path, provider: Provider
) -> None:
    handle = tf.instrument(tmp_path / "runs.db")
    handle._undo.insert(place, broken)
    ask(provider)
    handle.close()
    assert attributes() == before
    assert instrument.active() is None
    assert handle.recorded == 1


def test_a_stream_that_cannot_be_finished_does_not_keep_the_recorder_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = tf.instrument(tmp_path / "runs.db")
    monkeypatch.setattr(handle._recorder._underway, "exchanges", broken)
    handle.close()
    assert instrument.active() is None
    assert handle._recorder._closed


def test_a_hook_that_cannot_be_installed_is_named_and_the_others_record(
    before: tuple[object, ...],
    provider: Provider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(hooks, "_HOOKS", (broken, *hooks._HOOKS))
    with caplog.at_level(logging.WARNING), tf.instrument(tmp_path / "runs.db") as handle:
        ask(provider)
    assert "could not be installed" in caplog.text
    assert (handle.recorded, handle.drops) == (1, {"hook_missing": 1})
    assert attributes() == before


def test_a_step_of_switching_on_that_fails_is_named_and_the_rest_records(
    before: tuple[object, ...],
    provider: Provider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(instrument, "_read_spans", broken)
    with caplog.at_level(logging.WARNING), tf.instrument(tmp_path / "runs.db") as handle:
        ask(provider)
    assert "broken failed, and is left out" in caplog.text
    assert handle.recorded == 1
    assert attributes() == before


def test_a_call_that_nothing_has_answered_when_the_recorder_is_switched_off_is_cut(tmp_path: Path) -> None:
    def ask(port: int) -> None:
        with contextlib.suppress(httpx.HTTPError):
            httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json={"model": "m", "messages": []})

    with socket.create_server(("127.0.0.1", 0)) as silent, tf.instrument(tmp_path / "runs.db") as handle:
        caller = threading.Thread(target=ask, args=silent.getsockname()[1:2])
        caller.start()
        connection, _ = silent.accept()
        with connection:
            connection.recv(1)  # the request has left
            handle.close()
        caller.join()
    call = only_call(handle)
    assert (call["status"], call["error_type"]) == ("cut", None)


def test_a_log_handler_of_the_host_that_fails_costs_neither_the_call_nor_the_count_of_the_loss(
    provider: Provider, tmp_path: Path
) -> None:
    logger = logging.getLogger("tokenflation")
    logger.addFilter(broken)  # type: ignore[arg-type]  # it never returns
    try:
        with tf.instrument(tmp_path / "runs.db", queue_size=0) as handle:
            ask(provider)
    finally:
        logger.removeFilter(broken)  # type: ignore[arg-type]  # as above
    assert handle.drops == {"queue_full": 1}


class Locked(logging.Handler):
    """A handler with a lock that its own thread cannot take twice, as a QueueHandler's queue has."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.waited = 0
        self.own = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        if not self.own.acquire(blocking=threading.current_thread() is not threading.main_thread()):
            self.waited += 1  # for itself
            return
        self.said.append(record.getMessage())
        self.own.release()


def test_a_stream_collected_inside_the_hosts_log_handler_does_not_wait_for_that(
    provider: Provider, tmp_path: Path
) -> None:
    handler, logger = Locked(), logging.getLogger("tokenflation")
    logger.addHandler(handler)
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    try:
        with tf.instrument(tmp_path / "runs.db", queue_size=0) as handle, httpx.Client() as client:
            request = client.build_request("POST", f"{provider.openai_url}/chat/completions", json=body)
            answer = client.send(request, stream=True)
            with handler.own:
                del answer
                gc.collect()
            handle.flush()
    finally:
        logger.removeHandler(handler)
    assert (handle.drops, handler.waited) == ({"queue_full": 1}, 0)
    assert [said.partition(":")[0] for said in handler.said] == ["tokenflation lost a record (queue_full)"]


def test_a_host_that_loads_all_modules_anew_records_each_call_once(provider: Provider, tmp_path: Path) -> None:
    program = """
import sys, httpx
for round in range(3):
    import tokenflation.sdk as tf
    handle = tf.instrument(sys.argv[2])
    httpx.post(f"{sys.argv[1]}/chat/completions", json={"model": "m", "messages": []})
    for name in [name for name in sys.modules if name.startswith("tokenflation")]:
        del sys.modules[name]
"""
    store = tmp_path / "runs.db"
    subprocess.run([sys.executable, "-c", program, provider.openai_url, str(store)], check=True)
    assert info(store)["rows"]["calls"] == 3
