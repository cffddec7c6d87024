"""What a host's signal handler raises reaches the host, also where it interrupts the recorder."""

import functools
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.providers import Provider
from tests.recording.programs import until
from tests.stored import rows

import tokenflation.sdk as tf
from tokenflation.sdk import exchange
from tokenflation.sdk.exchange import Tap
from tokenflation.sdk.hooks import bodies
from tokenflation.sdk.hooks import httpx as httpx_hook
from tokenflation.sdk.hooks.underway import UNDERWAY, Sent
from tokenflation.sdk.recording import recorder
from tokenflation.sdk.recording.exits import before_exec


class TimeLimit(Exception):
    """As a task queue's soft time limit: raised by a signal handler, and no BaseException."""


def plain(_number: int, _frame: Any) -> None:
    raise TimeLimit


def by_a_helper(*given: Any) -> None:
    plain(*given)


def once(number: int, _frame: Any) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise TimeLimit


class Limit:
    def __call__(self, _number: int, _frame: Any) -> None:
        raise TimeLimit


HANDLERS = [plain, by_a_helper, once, Limit(), functools.partial(plain)]


@pytest.fixture(params=HANDLERS, ids=["plain", "helper", "once", "object", "partial"])
def ring(request: pytest.FixtureRequest) -> Iterator[Callable[..., None]]:
    """What lets the alarm go off, wherever it is called."""
    before = signal.signal(signal.SIGALRM, request.param)
    yield lambda *_: signal.raise_signal(signal.SIGALRM)
    signal.signal(signal.SIGALRM, before)


def ask(provider: Provider, **more: object) -> int:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **more}
    return httpx.post(f"{provider.openai_url}/chat/completions", json=body).status_code


def test_as_a_call_leaves(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ring: Callable[..., None]
) -> None:
    with tf.instrument(tmp_path / "runs.db") as handle:
        monkeypatch.setattr(recorder, "note_call", ring)
        with pytest.raises(TimeLimit):
            ask(provider)
        monkeypatch.undo()
        assert ask(provider) == 200
    assert handle.drops == {}
    assert len(rows(tmp_path / "runs.db")) == 1


def test_as_the_worker_begins(
    provider: Provider, store: Path, monkeypatch: pytest.MonkeyPatch, ring: Callable[..., None]
) -> None:
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        if thread.name == "tokenflation":
            ring()

    with tf.instrument(store) as handle:
        monkeypatch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(TimeLimit):
            ask(provider)
        monkeypatch.undo()
        for _ in range(3):
            ask(provider)
        # Two would take each other's rows.
        assert until(lambda: [thread.name for thread in threading.enumerate()].count("tokenflation") == 1)
    assert ([row["status"] for row in rows(store)].count("ok"), handle.drops) == (3, {})


def test_as_it_is_noted_that_a_call_is_being_sent(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ring: Callable[..., None]
) -> None:
    class Rings:
        get = UNDERWAY.get

        def set(self, sent: Sent | None) -> None:
            UNDERWAY.set(sent)
            if sent is not None:
                ring()

    with tf.instrument(tmp_path / "runs.db"):
        monkeypatch.setattr(httpx_hook, "UNDERWAY", Rings())
        with pytest.raises(TimeLimit):
            ask(provider)
        assert UNDERWAY.get() is None  # else the hooks of urllib3 and aiohttp would take all that follows for this one


def test_as_a_chunk_of_a_stream_is_noted(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ring: Callable[..., None]
) -> None:
    with tf.instrument(tmp_path / "runs.db"):
        monkeypatch.setattr(exchange, "Exchange", functools.partial(exchange.Exchange, pack_at_bytes=1))
        monkeypatch.setattr(bodies, "_add", ring)
        with pytest.raises(TimeLimit):
            ask(provider, stream=True)


def test_as_a_call_ends(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ring: Callable[..., None]
) -> None:
    with tf.instrument(tmp_path / "runs.db") as handle:
        monkeypatch.setattr(handle._recorder._underway, "end", ring)
        with pytest.raises(TimeLimit):
            ask(provider)
    assert handle.drops == {}
    assert [(row["status"], row["output_tokens"]) for row in rows(tmp_path / "runs.db")] == [("ok", 150)]


def test_as_a_loss_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ring: Callable[..., None]) -> None:
    with tf.instrument(tmp_path / "runs.db") as handle:
        monkeypatch.setattr(logging.getLogger("tokenflation"), "handle", ring)
        with pytest.raises(TimeLimit):
            bodies.safely(handle._recorder.tap.failed, lambda: 1 / 0)
        monkeypatch.undo()
    assert handle.drops == {"hook_error": 1}


def failing(*_: Any) -> Any:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    "step",
    [
        lambda tap: tap.begin("POST", "models.test", "/v1/chat/completions", b"{}", {}),
        lambda tap: tap.hold("openai.responses", "POST", "models.test", "/v1/responses"),
        lambda tap: tap.begin("POST", "models.test", "/v1/chat/completions", b"{}", {}, context="here").finish("read"),
    ],
    ids=["begin", "hold", "finish"],
)
def test_as_a_failure_of_ours_is_counted(step: Callable[[Tap], object], ring: Callable[..., None]) -> None:
    tap = Tap(submit=failing, context=failing, failed=ring)
    with pytest.raises(TimeLimit):
        step(tap)


@pytest.mark.parametrize("step", ["install", "aiohttp._Installation._patch", "httpx._Installation._warn"])
def test_as_recording_begins(
    step: str, tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch, ring: Callable[..., None]
) -> None:
    before = httpx.Client.__dict__["_send_single_request"]
    with monkeypatch.context() as patch:
        patch.setattr(f"tokenflation.sdk.hooks.{step}", ring)
        patch.delattr(httpx.AsyncClient, "_send_single_request")  # what httpx's hook warns of, having patched the other
        with pytest.raises(TimeLimit):
            tf.instrument(tmp_path / "runs.db")
    assert tf.active() is None
    assert httpx.Client.__dict__["_send_single_request"] is before
    with tf.instrument(tmp_path / "runs.db"):
        assert ask(provider) == 200
    assert len(rows(tmp_path / "runs.db", "SELECT * FROM calls")) == 1


def test_as_recording_ends(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ring: Callable[..., None]
) -> None:
    handle = tf.instrument(tmp_path / "runs.db")
    ask(provider)
    monkeypatch.setattr(recorder.Recorder, "drop_streams", ring)
    with pytest.raises(TimeLimit):
        handle.close()
    assert tf.active() is None
    assert len(rows(tmp_path / "runs.db")) == 1


def test_as_a_program_becomes_another(ring: Callable[..., None]) -> None:
    undo = before_exec(ring)
    try:
        with pytest.raises(TimeLimit):
            os.execv("/no/such/program", ["program"])
    finally:
        undo()


def test_as_a_scope_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ring: Callable[..., None]) -> None:
    with tf.instrument(tmp_path / "runs.db") as handle:
        scope = tf.task("job")
        scope.__enter__()
        monkeypatch.setattr(handle._recorder, "_put", ring)
        with pytest.raises(TimeLimit):
            scope.__exit__(None, None, None)
        monkeypatch.undo()
    assert handle.drops == {"hook_error": 1}


def test_an_exception_of_ours_is_kept_from_the_host_beside_it(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tf.instrument(tmp_path / "runs.db") as handle:
        monkeypatch.setattr(recorder, "note_call", lambda _: 1 / 0)
        assert ask(provider) == 200
    assert handle.drops == {"hook_error": 1}


@pytest.mark.parametrize(("module", "through"), [("program", True), ("tokenflation.sdk.scoping.scopes", False)])
def test_a_function_of_ours_that_looks_at_its_callers_frame_is_no_handler(module: str, through: bool) -> None:
    space: dict[str, Any] = {"__name__": module}
    exec("import sys\ndef look():\n    frame = sys._getframe(1)\n    raise ValueError(frame)", space)  # noqa: S102  (a module's name)
    kept: list[str] = []
    if through:
        with pytest.raises(ValueError, match="frame"):
            bodies.safely(kept.append, lambda: space["look"]())
    else:
        assert bodies.safely(kept.append, lambda: space["look"]()) is None
    assert kept == ([] if through else ["hook_error"])
