"""A program that ends itself by a signal, as uvicorn does when it has shut down, runs no exit handlers."""

import signal
from pathlib import Path

import pytest
from tests.providers import Provider
from tests.recording.programs import run
from tests.stored import rows

import tokenflation.sdk as tf

ENDS = """
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter
    tf.instrument(store, span_exporter=ConsoleSpanExporter(formatter=lambda span: "span\\n"))
    with httpx.Client() as client:
        ask(client)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)
"""
GOES_ON = """
    tf.instrument(store)
    seen = []
    with httpx.Client() as client:
        ask(client)
        for number in (signal.SIGUSR1, signal.SIGTERM):
            signal.signal(number, lambda *given: seen.append(given[0]))
            signal.raise_signal(number)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        ask(client, "again")
    print(len(seen))
"""


def test_a_program_that_ends_itself_by_a_signal_exports_its_spans_and_leaves_the_store_alone(
    provider: Provider, store: Path
) -> None:
    ended = run(ENDS, provider, store)
    assert (ended.returncode, ended.stderr) == (-signal.SIGTERM, "")
    assert ended.stdout == "span\n"
    assert sorted(path.name for path in store.parent.iterdir()) == ["runs.db", "runs.db.key"]
    assert len(rows(store)) == 1


def test_a_program_that_handles_or_blocks_a_signal_which_it_sends_to_itself_is_recorded_on(
    provider: Provider, store: Path
) -> None:
    ended = run(GOES_ON, provider, store)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "2\n", "")
    assert len(rows(store)) == 2


def test_raise_signal_refuses_what_it_refused(store: Path) -> None:
    before = signal.raise_signal
    with tf.instrument(store):
        for wrong in ("SIGTERM", [], 10_000):
            with pytest.raises((TypeError, ValueError, OSError)):
                signal.raise_signal(wrong)  # type: ignore[arg-type]
    assert signal.raise_signal is before


def test_a_signal_that_the_host_blocks_and_waits_for_is_not_taken_by_the_recorders_thread(
    provider: Provider, store: Path
) -> None:
    program = """
        tf.instrument(store)
        with httpx.Client() as client:
            ask(client)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        os.kill(os.getpid(), signal.SIGTERM)
        print(signal.sigwait({signal.SIGTERM}).name)
    """
    done = run(program, provider, store)
    assert (done.returncode, done.stdout) == (0, "SIGTERM\n")
    assert len(rows(store)) == 1
