"""A host that closes all open files, as daemons do, or has no descriptor left: its own files stay as it makes them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.providers import Provider
from tests.recording.programs import run

from tokenflation.sdk.store.contents import info
from tokenflation.sdk.store.descriptors import Spare

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
    "program",
    [IN_ITS_PLACE + FILES + END, IN_ITS_PLACE + "files = []" + END, IN_A_CHILD + FILES + END],
    ids=["its numbers are the host's files", "its numbers are free", "in a fork"],
)
def test_its_files_are_its_own_and_no_call_is_lost(provider: Provider, tmp_path: Path, program: str) -> None:
    store = tmp_path / "runs.db"
    subprocess.run([sys.executable, "-c", program, provider.openai_url, str(store)], check=True)
    found = info(store)
    assert (found["rows"]["calls"], found["lost"]) == (2, 0)


def test_without_a_free_descriptor_the_host_goes_on_and_the_loss_is_shown(provider: Provider, store: Path) -> None:
    program = """
        import resource
        with httpx.Client() as client:
            ask(client)
            handle = tf.instrument(store)
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
            held = []
            try:
                while True:
                    held.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                pass
            for _ in range(5):
                ask(client).raise_for_status()
            handle.close()
    """
    done = run(program, provider, store)
    assert done.returncode == 0, done.stderr
    assert info(store)["drops"] == {"store_error:StoreUnwritableError": 5}


def test_a_spare_that_the_host_closed_is_left_alone_also_where_nobody_lists_descriptors(tmp_path: Path) -> None:
    program = """
import os, sys
def listdir(path):
    raise FileNotFoundError(path)  # as without /proc
os.listdir = listdir
from tokenflation.sdk.store.descriptors import Spare
spare = Spare()
os.closerange(3, 64)
files = [open(f"{sys.argv[1]}-own-{number}", "wb") for number in range(4)]
spare.give_back()
for file in files:
    file.write(b"mine")
    file.flush()
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "file")], check=True)


def test_a_spare_that_was_lent_is_kept_back_again() -> None:
    spare = Spare()
    held = len(os.listdir("/dev/fd"))
    with spare.lent():
        lent = len(os.listdir("/dev/fd"))
    after = len(os.listdir("/dev/fd"))
    spare.give_back()
    assert (lent, after) == (held - 1, held)


def test_a_recorder_that_is_switched_off_leaves_no_descriptor_open(provider: Provider, store: Path) -> None:
    program = """
        def used():
            with tf.instrument(store), httpx.Client() as client:
                ask(client)
            tf.instrument(store).close()
            return len(os.listdir("/dev/fd"))
        assert used() == used() == used()
    """
    done = run(program, provider, store)
    assert done.returncode == 0, done.stderr


def test_a_fork_of_a_fork_holds_no_more_descriptors_than_the_first(provider: Provider, store: Path) -> None:
    program = """
        handle, counts = tf.instrument(store), []
        for _ in range(3):
            with httpx.Client() as client:
                ask(client)
            if os.fork():
                os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
            counts.append(len(os.listdir("/dev/fd")))
        assert len(set(counts)) == 1, counts
    """
    done = run(program, provider, store)
    assert done.returncode == 0, done.stderr


def test_a_file_system_of_a_test_that_knows_no_pipes_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int) -> os.stat_result:
        raise AssertionError(number)  # as pyfakefs does

    with monkeypatch.context() as within:
        within.setattr(os, "fstat", refuse)
        Spare().give_back()
