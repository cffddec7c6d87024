"""A process that is killed while another keeps its store locked: what it had finished comes into the store later."""

import signal
from pathlib import Path

from tests.providers import Provider
from tests.recording.programs import journals, run

import tokenflation.sdk as tf
from tokenflation.sdk.store.contents import info

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
