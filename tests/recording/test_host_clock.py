"""A host may freeze or replace the time that it sees, as its tests do: the recorder's own goes on and stays true."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from tests.providers import Provider

from tokenflation.sdk.store.journals.recover import recover

FREEZE = """
import sys, time, httpx

def freeze():
    # As freezegun does: wherever a module has one of these functions, a frozen one stands in its place.
    frozen = {"time": 0.0, "time_ns": 0, "perf_counter": 7.0, "perf_counter_ns": 7, "monotonic": 7.0, "monotonic_ns": 7}
    instead = {id(getattr(time, name)): (lambda value=value: value) for name, value in frozen.items()}
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] not in ("threading", "queue"):
            for key, value in list(vars(module).items()):
                if id(value) in instead:
                    setattr(module, key, instead[id(value)])
"""
RECORD = """
import tokenflation.sdk as tf
handle = tf.instrument(sys.argv[2])
"""
CALL = """
text = "hi [[slow:0.001]]"
with httpx.Client() as client:
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": text}]}
    client.post(f"{sys.argv[1]}/chat/completions", json=body)
assert handle.flush()
handle.close()
"""


@pytest.mark.parametrize(
    "program", [FREEZE + "freeze()" + RECORD + CALL, FREEZE + RECORD + "freeze()" + CALL], ids=["before", "after"]
)
def test_a_host_that_freezes_its_time_gets_true_times_in_its_rows(
    provider: Provider, tmp_path: Path, program: str
) -> None:
    store = tmp_path / "runs.db"
    before_ns = time.time_ns()
    subprocess.run([sys.executable, "-c", program, provider.openai_url, str(store)], check=True)
    with closing(sqlite3.connect(store)) as connection:
        query = "select started_at_ns, ended_at_ns, ttfc_s, duration_s from calls"
        ((started_at_ns, ended_at_ns, ttfc_s, duration_s),) = connection.execute(query)
    assert before_ns <= started_at_ns < ended_at_ns <= time.time_ns()
    assert 0 < ttfc_s < duration_s


MOVED = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(id, now);
    FILE *file = id == CLOCK_REALTIME || id == CLOCK_BOOTTIME ? fopen(getenv("MOVED"), "r") : NULL;
    long by = 0, also = 0;
    if (file != NULL) {
        if (fscanf(file, "%ld %ld", &by, &also) && (id == CLOCK_REALTIME || also)) now->tv_sec += by;
        fclose(file);
    }
    return failed;
}
"""
"""What the clocks of Linux say once they were set by so many seconds, or, with a 1 behind that, the machine slept."""
_COMPILER = shutil.which("cc")
MOVE = """
def move(by):
    with open(os.environ["MOVED"], "w") as file:
        file.write(by)

def ask(text="hi"):
    with httpx.Client() as client:
        body = {"model": "m", "messages": [{"role": "user", "content": text}]}
        client.post(f"{sys.argv[1]}/chat/completions", json=body)
    assert handle.flush()
"""


def moved(program: str, provider: Provider, store: Path) -> int:
    """Run a program whose clocks can be moved; returns how it ended."""
    source, library = store.with_name("moved.c"), store.with_name("moved.so")
    source.write_text(MOVED)
    subprocess.run([str(_COMPILER), "-shared", "-fPIC", source, "-o", library, "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), "MOVED": str(store.with_name("moved"))}
    command = [
        sys.executable,
        "-c",
        "import os, sqlite3, sys, httpx" + RECORD + MOVE + program,
        provider.openai_url,
        str(store),
    ]
    return subprocess.run(command, env=environment, check=False).returncode


def late_h(store: Path, query: str) -> list[int]:
    """Return how many hours later than true each time that the query finds is, rounded."""
    with closing(sqlite3.connect(store)) as connection:
        return [round((time_ns - time.time_ns()) / 3.6e12) for row in connection.execute(query) for time_ns in row]


@pytest.mark.skipif(sys.platform != "linux" or _COMPILER is None, reason="needs a C compiler, and Linux's clocks")
class TestMovedClocks:
    def test_a_call_after_the_machine_has_slept_has_the_time_at_which_it_was_made(
        self, provider: Provider, store: Path
    ) -> None:
        assert moved("move('28800 1')\nask()\nhandle.close()", provider, store) == 0
        assert late_h(store, "select started_at_ns from calls") == [8]

    @pytest.mark.parametrize("by", [28_800, -28_800])
    def test_a_call_after_the_clock_was_set_has_the_time_that_it_says(
        self, provider: Provider, store: Path, by: int
    ) -> None:
        program = f"ask('first')\nmove('{by}')\nask('second')\nhandle.close()"
        assert moved(program, provider, store) == 0
        for column in ("started_at_ns", "ended_at_ns"):
            assert late_h(store, f"select {column} from calls order by rowid") == [0, by // 3600]
            assert late_h(store, f"select {column} from attempts order by rowid") == [0, by // 3600]

    def test_a_task_in_which_the_clock_is_set_back_keeps_its_order_and_the_next_one_has_the_new_time(
        self, provider: Provider, store: Path
    ) -> None:
        program = """
with tf.task("first"):
    ask()
    move("-28800")
    with tf.agent("a"):
        ask()
with tf.task("second"):
    ask()
handle.close()
"""
        assert moved(program, provider, store) == 0
        assert late_h(store, "select started_at_ns from calls order by rowid") == [0, 0, -8]
        assert (
            late_h(store, "select started_at_ns, ended_at_ns from spans order by name = 'second'") == [0] * 4 + [-8] * 2
        )

    def test_calls_of_a_killed_program_whose_clock_was_set_have_the_new_time_and_are_there_once(
        self, provider: Provider, store: Path
    ) -> None:
        program = """
ask()
move("28800")
ask()
locked = sqlite3.connect(sys.argv[2])
locked.execute("begin immediate")
handle.flush = lambda: True
ask("more")
os.kill(os.getpid(), 9)
"""
        assert moved(program, provider, store) == -9
        assert recover(store) == 1
        assert late_h(store, "select started_at_ns, ended_at_ns from calls order by rowid") == [0, 0, 8, 8, 8, 8]
