"""A host that closes all open files, as daemons do when they begin: its own files stay as it makes them."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.providers import Provider

from tokenflation.sdk.store.contents import info

CALL = """
import os, sys, httpx, tokenflation.sdk as tf
handle = tf.instrument(sys.argv[2])

def ask():
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    httpx.post(f"{sys.argv[1]}/chat/completions", json=body).raise_for_status()

ask()
handle.flush()
"""
IN_ITS_PLACE = CALL + "os.closerange(3, 256)\n"
IN_A_CHILD = CALL + "if os.fork():\n    os.wait()\n    os._exit(0)\nos.closerange(3, 256)\n"
FILES = """
files = [open(f"{sys.argv[2]}-own-{number}", "w+b") for number in range(16)]
for number, file in enumerate(files):
    file.write(b"%d" % number)
    file.flush()
"""
END = """
ask()
handle.close()
for number, file in enumerate(files):
    file.seek(0)
    assert file.read() == b"%d" % number
"""


@pytest.mark.parametrize(
    ("program", "calls", "lost"),
    [(IN_ITS_PLACE + FILES + END, 1, 1), (IN_ITS_PLACE + "files = []" + END, 2, 0), (IN_A_CHILD + FILES + END, 2, 0)],
    ids=["its numbers are the host's files", "its numbers are free", "in a fork"],
)
def test_its_files_are_its_own_and_what_is_lost_is_counted(
    provider: Provider, tmp_path: Path, program: str, calls: int, lost: int
) -> None:
    store = tmp_path / "runs.db"
    subprocess.run([sys.executable, "-c", program, provider.openai_url, str(store)], check=True)
    found = info(store)
    assert (found["rows"]["calls"], found["lost"]) == (calls, lost)
