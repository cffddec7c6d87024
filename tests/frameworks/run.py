"""Plays every scenario in every framework, each in a virtual environment of its own, and writes docs/frameworks.md.

    python -m tests.frameworks.run                          # all of them
    python -m tests.frameworks.run agno crewai --only fan,team

An agent is a script in `agents/` that knows nothing of tokenflation; its header names what it needs from PyPI
(packaging.python.org/en/latest/specifications/inline-script-metadata). It runs under `tokenflation run` against the
scripted model. A cell is `ok` where the store tells exactly what is true.
"""

import argparse
import ast
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.frameworks.judge import differences, in_turn, read_rows, unlike_the_plan
from tests.frameworks.plans import SCENARIOS
from tests.frameworks.report import IN_TURN, page
from tests.frameworks.server import Model

__all__ = ["agents", "main", "play"]

_ROOT = Path(__file__).parents[2]
_AGENTS = Path(__file__).with_name("agents")
_VENVS = _ROOT / ".venv" / "frameworks"
_MARK = ".installed"
_NOT_HERE = 3  # as agents/shared.py exits
_TIMEOUT_S = 120
_QUIET = {
    # Nothing leaves this machine: what a framework would report of its users stays off.
    "AGNO_TELEMETRY": "false",
    "ANONYMIZED_TELEMETRY": "false",
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "OTEL_SDK_DISABLED": "true",
    "no_proxy": "127.0.0.1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True)
class Agent:
    """One framework's script and what its header says."""

    name: str
    script: Path
    dependencies: tuple[str, ...]
    about: str
    """The script's docstring: how it uses the framework."""

    @property
    def distribution(self) -> str:
        """The distribution whose version the table shows: the first that the script needs."""
        return self.dependencies[0].partition("[")[0].partition("=")[0].partition("<")[0].partition(">")[0]

    @property
    def title(self) -> str:
        """What the table calls it: the distribution, and the kind of agent where it has several."""
        kind = self.name.removeprefix(f"{self.distribution}_")
        return self.distribution if kind == self.name else f"{self.distribution} ({kind})"


def agents() -> dict[str, Agent]:
    """Return the scripts that there are, by name."""
    found = {}
    for script in sorted(_AGENTS.glob("with_*.py")):
        name = script.stem.removeprefix("with_")  # a script named as its framework would be imported in its place
        lines = script.read_text(encoding="utf-8").splitlines()
        header = tomllib.loads("\n".join(line[2:] for line in lines[1 : lines.index("# ///")]))
        about = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
        found[name] = Agent(name, script, tuple(header["dependencies"]), about)
    return found


def play(python: Path, script: Path, name: str, folder: Path) -> str:
    """Play one scenario with an environment's interpreter; return what differs, or `ok`, or `-` where there is none."""
    scenario, store = SCENARIOS[name], folder / f"{name}.db"
    with Model() as model:
        env = {**os.environ, **_QUIET, "MODEL_URL": model.url, "TOOL_S": str(scenario.tool_s), "HOME": str(folder)}
        command = [str(python.with_name("tokenflation")), "run", "--quiet", "--store", str(store), str(script), name]
        try:
            done = subprocess.run(
                command, check=False, env=env, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            return f"the agent did not end in {_TIMEOUT_S} s"
    if done.returncode == _NOT_HERE and not model.served:
        return "-"
    (folder / f"{name}.log").write_text(done.stdout + done.stderr)
    found = [*model.problems, *unlike_the_plan(scenario, model.served)]
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        found.append(f"the agent exited with {done.returncode}: {last[:200]}")
    if found:
        return "; ".join(found)
    found = differences(scenario, model.served, read_rows(store))
    return ("; ".join(found) or "ok") + (IN_TURN if in_turn(scenario, model.served) else "")


def _environment(agent: Agent) -> Path:
    """Return the interpreter of an agent's environment; makes it where it is missing or its needs have changed."""
    folder = _VENVS / agent.name
    python, mark = folder / "bin" / "python", folder / _MARK
    needs = hashlib.sha256(repr(agent.dependencies).encode()).hexdigest()
    if not mark.exists() or mark.read_text() != needs:
        print(f"{agent.name}: installing {', '.join(agent.dependencies)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = ["install", "--quiet", "--no-cache-dir", "--upgrade", "--editable", str(_ROOT), *agent.dependencies]
        subprocess.run([str(python), "-m", "pip", *install], check=True)
        mark.write_text(needs)
    return python


def _version(python: Path, distribution: str) -> str:
    code = f"from importlib.metadata import version; print(version({distribution!r}))"
    return subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def _results(agent: Agent, names: list[str], keep: Path | None) -> dict[str, object]:
    python = _environment(agent)
    file = _VENVS / f"{agent.name}.json"
    old: Mapping[str, str] = json.loads(file.read_text())["cells"] if file.exists() else {}
    cells = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        for name in names:
            (folder / agent.name).mkdir(parents=True, exist_ok=True)
            (folder / agent.name / f"{name}.db").unlink(missing_ok=True)
            cells[name] = play(python, agent.script, name, folder / agent.name)
            print(f"  {SCENARIOS[name].title:36} {cells[name]}", flush=True)
    version = _version(python, agent.distribution)
    result = {"framework": agent.title, "version": version, "about": agent.about, "cells": {**old, **cells}}
    file.write_text(json.dumps(result, indent=1))
    return result


def main() -> None:
    """Play what the command line names, print each cell, and write the page anew."""
    parser = argparse.ArgumentParser(description="Play the scenarios of agents in frameworks.")
    parser.add_argument("names", nargs="*", help="frameworks; all where none is named")
    parser.add_argument("--upgrade", action="store_true", help="install the newest releases, also where some are there")
    parser.add_argument("--only", default="", help="scenarios, with commas between them")
    parser.add_argument("--page", type=Path, help="write the page here, from the newest result of each framework")
    parser.add_argument("--keep", type=Path, help="leave stores and outputs in this folder")
    options = parser.parse_args()
    there = agents()
    if unknown := set(options.names) - set(there):
        parser.error(f"no script for {', '.join(sorted(unknown))}; there are {', '.join(there)}")
    for name in options.names or there:
        print(name, flush=True)
        keep = options.keep.absolute() if options.keep else None
        if options.upgrade:
            (_VENVS / name / _MARK).unlink(missing_ok=True)
        _results(there[name], options.only.split(",") if options.only else list(SCENARIOS), keep)
    if options.page:
        files = [_VENVS / f"{name}.json" for name in there]
        options.page.write_text(page([json.loads(file.read_text()) for file in files if file.exists()]))


if __name__ == "__main__":
    main()
