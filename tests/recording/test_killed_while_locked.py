"""A store that another process keeps locked: it holds nobody up, and what a killed one had finished comes in later."""

import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import httpx
from tests.providers import Provider
from tests.recording.programs import journals, run

import tokenflation.sdk as tf
from tokenflation.sdk.store.contents import info
from tokenflation.sdk.store.write import open_writer

LOCKED = """
    import sqlite3
    handle = tf.instrument(store)
    answer = {"id": "c", "object": "chat.completion", "model": "m", "usage": {"prompt_tokens": 7, "completion_tokens": 3},
              "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}]}
    other = sqlite3.connect(store, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, json=answer))) as client:
        for number in range(1500):
            ask(client)
            if number % 100 == 0:
                time.sleep(0.05)  # as calls that take their time
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_is_more_than_the_journal_first_had_room_for_is_all_kept(provider: Provider, tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    done = run(LOCKED, provider, store)
    assert done.returncode == -signal.SIGKILL, done.stderr
    tf.instrument(store).close()
    found = info(store)
    assert found["rows"]["calls"] + found["lost"] == 1500
    assert (found["rows"]["calls"], found["input_tokens"], found["lost"]) == (1500, 10_500, 0)
    assert journals(store) == []


def test_a_store_that_another_has_to_itself_holds_no_program_up_as_it_begins(
    provider: Provider, tmp_path: Path
) -> None:
    store = tmp_path / "runs.db"
    open_writer(store).close()
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("UPDATE meta SET value = value")
        before_s = time.monotonic()
        handle = tf.instrument(store)
        took_s = time.monotonic() - before_s
        with httpx.Client() as client:
            client.post(f"{provider.openai_url}/chat/completions", json={"model": "m", "messages": []})
    handle.close()
    assert took_s < 10
    assert (info(store)["rows"]["calls"], info(store)["lost"]) == (1, 0)
