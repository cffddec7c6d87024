"""Ray's workers, which its daemons start: they record as the program does that started these.

What is asked of Ray itself needs Ray, which no other test does: `make beside` installs it, or `pip install ray`.
"""

import os
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.providers import Provider
from tests.stored import rows

ASK = """
def ask(url):
    import httpx
    return httpx.post(url + "/v1/chat/completions", json={"model": "m", "messages": []}).status_code
"""
IN_RAY = """
import sys, tokenflation.sdk as tf
from asking import ask

if __name__ == "__main__":
    tf.instrument("runs.db")
    import ray
    ray.init(num_cpus=1, include_dashboard=False)

    @ray.remote
    class Agent:
        def work(self, url):
            with tf.task("triage", id="one"):
                return [ask(url), ask(url)]

    asked = ray.remote(ask)
    assert ray.get([asked.remote(sys.argv[1]) for _ in range(3)]) == [200] * 3
    assert ray.get(Agent.remote().work.remote(sys.argv[1])) == [200] * 2
    ray.shutdown()
"""
SERVICES = """
import os, subprocess

def start_ray_process(command, process_type, fate_share, env_updates=None):
    return subprocess.Popen(command, env={**os.environ, **(env_updates or {})})
"""
STARTED = """
import sys, tokenflation.sdk as tf
from ray._private import services

with tf.instrument("runs.db", task="service"), tf.task("triage"):
    worker = services.start_ray_process([sys.executable, "worker.py", sys.argv[1]], "raylet", False, **{given})
    assert worker.wait() == 0
"""
WORKER = """
import subprocess, sys
from asking import ask

ask(sys.argv[1])
subprocess.run([sys.executable, "-c", "import sys, asking; asking.ask(sys.argv[1])", sys.argv[1]], check=True)
"""


def run(folder: Path, provider: Provider, program: str) -> None:
    (folder / "asking.py").write_text(ASK)
    (folder / "program.py").write_text(textwrap.dedent(program))
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "program.py", provider.url], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("given", ["{}", "{'env_updates': None}", "{'env_updates': {'MORE': '1'}}"])
def test_what_rays_daemons_start_is_recorded_in_no_scope_and_what_it_starts_anew_is_not(
    provider: Provider, tmp_path: Path, given: str
) -> None:
    (tmp_path / "ray" / "_private").mkdir(parents=True)
    for written, text in (("__init__.py", ""), ("_private/__init__.py", ""), ("_private/services.py", SERVICES)):
        (tmp_path / "ray" / written).write_text(text)
    (tmp_path / "worker.py").write_text(WORKER)
    run(tmp_path, provider, STARTED.replace("{given}", given))
    assert [(row["task"], row["structure_source"]) for row in rows(tmp_path / "runs.db")] == [("service", "wire")]


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_rays_workers_record_what_tasks_and_actors_ask(provider: Provider, tmp_path: Path) -> None:
    run(tmp_path, provider, IN_RAY)
    found = [row["task_id"] for row in rows(tmp_path / "runs.db")]
    assert (len(found), found.count("one")) == (5, 2)
