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


SLEEP = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(id, now);
    if ((id == CLOCK_REALTIME || id == CLOCK_BOOTTIME) && access(getenv("SLEPT"), F_OK) == 0) now->tv_sec += 28800;
    return failed;
}
"""
"""What the clocks of Linux say after a night's sleep of the machine: the monotonic one stood still."""
_COMPILER = shutil.which("cc")


@pytest.mark.skipif(sys.platform != "linux" or _COMPILER is None, reason="needs a C compiler, and Linux's clocks")
def test_a_call_after_the_machine_has_slept_has_the_time_at_which_it_was_made(
    provider: Provider, store: Path, tmp_path: Path
) -> None:
    (tmp_path / "sleep.c").write_text(SLEEP)
    library = tmp_path / "sleep.so"
    subprocess.run([str(_COMPILER), "-shared", "-fPIC", tmp_path / "sleep.c", "-o", library, "-ldl"], check=True)
    program = "import os, sys, httpx" + RECORD + "open(os.environ['SLEPT'], 'w').close()" + CALL
    environment = {**os.environ, "LD_PRELOAD": str(library), "SLEPT": str(tmp_path / "slept")}
    before_ns = time.time_ns()
    subprocess.run([sys.executable, "-c", program, provider.openai_url, str(store)], check=True, env=environment)
    with closing(sqlite3.connect(store)) as connection:
        ((started_at_ns,),) = connection.execute("select started_at_ns from calls")
    assert before_ns <= started_at_ns - 28_800 * 10**9 <= time.time_ns()
