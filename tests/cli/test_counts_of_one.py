"""What commands and the page say of a single call, task or run is said in the singular."""

import contextlib
import html
import re
from pathlib import Path

import pytest
from tests.analysis.conftest import write_store
from tests.analysis.trees import call

from tokenflation.cli import main

_NOUNS = (
    "calls|tasks|runs|steps|agents|agent runs|sub-agent runs|tool calls|attempts|tries|records|kinds|files|sessions"
)
_WRONG = re.compile(rf"(?<![\d.,:-])1 (?:{_NOUNS})\b|each of 1 \w+|\b1 \w+ (?:have|are|report) .*")
_COMMANDS = (
    ["profile"], ["inflation"], ["structure"], ["context"], ["cache"], ["info"], ["tasks"], ["tree"], ["tree", "none"],
    ["forecast", "--tasks-per-day", "100", "--explain"],
)  # fmt: skip
_STORES = {
    "one call": [call("c0", "r", 0, 0, task_id="T")],
    "one that failed": [call("c0", "r", 0, 0, task_id="T", status="error", attempts=2, output_tokens=None)],
    "a sub-agent of one call": [
        *(call(f"p{step}", "p", step, 5 * step, task_id="T", input_tokens=5_000, depth=0) for step in range(2)),
        call("s0", "s", 0, 2, task_id="T", input_tokens=9_000, depth=1, system_tokens=6_000, tool_definition_tokens=2_000),
    ],
    "a task without usage": [
        *(call(f"c{task}", f"r{task}", 0, task, task_id=f"T{task}", task="triage") for task in range(2)),
        call("x0", "x", 0, 30, task_id="X", task="triage", input_tokens=None, output_tokens=None),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", _STORES)
def test_one_of_anything_is_said_in_the_singular(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    store, page = str(write_store(tmp_path / "runs.db", _STORES[name])), tmp_path / "page.html"
    for format_ in ("weka", "mooncake", "speedscope", "pprof"):
        _run("export", store, str(tmp_path / format_), "--format", format_)
    _run("report", store, "-o", str(page))
    for command, *options in _COMMANDS:
        _run(command, store, *options)
    text = re.sub(r"<script.*?</script>|<style.*?</style>|<[^>]+>", "\n", page.read_text(), flags=re.DOTALL)
    said = "".join(capsys.readouterr()) + html.unescape(text)
    assert [found.group() for found in _WRONG.finditer(said.replace("\N{NO-BREAK SPACE}", " "))] == []


def _run(*arguments: str) -> None:
    with contextlib.suppress(SystemExit):  # so little may be refused
        main(list(arguments))
