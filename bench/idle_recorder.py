"""A recorder whose worker never runs: all that the host's thread does for a call is done, and nothing else."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tokenflation.sdk.exchange import Exchange, Tap
from tokenflation.sdk.recording.recorder import Recorder
from tokenflation.sdk.store.write import open_writer

__all__ = ["IdleRecorder", "idle_recorder"]

KEY = b"k" * 16


class IdleRecorder:
    """Its tap takes calls in, notes them in the journal beside a store of its own, and queues them."""

    def __init__(self, one: Recorder) -> None:
        self._one = one
        self.tap: Tap = one.tap

    def drain(self) -> int:
        """Let go of what was queued, as a worker does after it has written it; return how many calls that were."""
        calls = 0
        while items := self._one._inbox.next_items(0.0, lambda: True):
            exchanges = [one for one in items if isinstance(one, Exchange)]
            self._one._underway.free(exchanges)
            calls += len(exchanges)
        self._one._inbox.settle()
        self._one._underway.make_room()
        return calls


@contextlib.contextmanager
def idle_recorder() -> Iterator[IdleRecorder]:
    """Open one beside a store in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "runs.db")
        one = Recorder(path, open_writer=lambda: open_writer(path, key=KEY), key=KEY, queue_size=10**6)
        one._start = lambda: None  # type: ignore[method-assign, assignment, return-value]
        try:
            yield IdleRecorder(one)
        finally:
            one._underway.close()
            one._closed = True
