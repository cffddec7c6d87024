"""`tokenflation serve`: on this machine alone, one clear message where it cannot, and a page for nobody else."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.analysis.conftest import write_store
from tests.analysis.trees import call

from tokenflation.cli import main
from tokenflation.exporters.report import Live, build_report, page_parts
from tokenflation.exporters.web import create_app
from tokenflation.exporters.web.snapshot import Watched

_SERVE = "from tokenflation.cli import main; main()"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of two tasks."""
    rows: list[dict[str, Any]] = []
    for task in range(2):
        rows += [
            call(
                f"t{task}c{step}",
                f"r{task}",
                step,
                10 * task + step,
                task_id=f"T-{task}",
                input_tokens=100 * (step + 1),
            )
            for step in range(3)
        ]
    return write_store(tmp_path / "runs.db", rows)


def _asked(store: Path) -> TestClient:
    return TestClient(create_app(str(store)), base_url="http://127.0.0.1")


def _refused(*arguments: object, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    assert exit_.value.code == 1
    return capsys.readouterr().err


def test_the_page_asks_its_own_server_alone_and_only_by_names_of_this_machine(store: Path) -> None:
    client = _asked(store)
    page = client.get("/")
    assert page.status_code == 200
    assert "connect-src 'self'; script-src 'self'" in page.text
    assert "http" not in page.text.replace("http-equiv", "")
    assert client.get("/", headers={"host": "attacker.example"}).status_code == 400
    assert client.get("/plotly.js").text.count("plotly.js v") == 1
    assert client.get("/passwd").status_code == 404


def test_the_page_takes_the_task_apart_that_its_address_names(store: Path) -> None:
    page = _asked(store).get("/?task=T-1").text
    assert "kind: T-1" in page
    assert "kind: T-0" not in page
    assert "has the id &lt;i&gt;" in _asked(store).get("/?task=<i>").text


def test_parts_of_the_page_are_those_of_the_report(store: Path) -> None:
    report = build_report(str(store))
    live = page_parts(report, Live(version=""))
    still = page_parts(report)
    assert list(live) == list(still)
    assert {key for key in live if live[key] != still[key]} <= {"tasks", "findings"}


def test_a_store_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "none.db" in _refused("serve", tmp_path / "none.db", "--port", "0", capsys=capsys)


def test_a_port_that_is_taken_is_named_with_the_way_out(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = _refused("serve", store, "--port", port, capsys=capsys)
    assert f"Port {port} of 127.0.0.1 cannot be used" in said
    assert "--port" in said


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_command_listens_on_this_machine_only_and_stops_by_a_signal(store: Path, stop: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with contextlib.closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")  # as the recorder makes its stores
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, "serve", str(store), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    with process, contextlib.ExitStack() as stack:
        assert process.stdout is not None
        stack.callback(process.kill)
        line = next(line for line in process.stdout if line.startswith("http"))
        port = int(line.split("/")[2].partition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as asked:
            asked.sendall(b"GET /events?since= HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            received = b""
            while b"event: change" not in received and (piece := asked.recv(65536)):
                received += piece
            assert b"text/event-stream" in received
            assert b"event: change" in received
            process.send_signal(stop)
            with contextlib.suppress(ConnectionError):
                while asked.recv(65536):
                    pass
        _, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    assert process.returncode == 0, said
    assert not list(store.parent.glob("runs.db-*"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("stop", ["SIGINT", "SIGTERM"])
def test_a_page_that_stops_while_it_reads_its_store_leaves_no_files_beside_it(store: Path, stop: str) -> None:
    with contextlib.closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    read_then_stop = (
        "import signal, sqlite3, sys\nfrom tokenflation.cli import main\nfrom tokenflation.cli.work import serve\n"
        "def reading(path, **_options):\n"
        "    held = sqlite3.connect(f'file:{path}?mode=ro', uri=True)\n"
        "    held.execute('select * from calls').fetchone()\n"
        f"    signal.raise_signal(signal.{stop})\n"
        "serve.create_app = reading\n"
        "main(['serve', sys.argv[1], '--port', '0'])\n"
    )
    command = [sys.executable, "-c", read_then_stop, str(store)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout.splitlines()[-1], ended.stderr) == (0, "Stopped.", "")
    assert not list(store.parent.glob("runs.db-*"))


def test_an_event_holds_what_changed_as_json(store: Path) -> None:
    report = build_report(str(store))
    assert json.loads(json.dumps(page_parts(report)))["headline"].count("<dt>") >= 5


def test_a_plan_that_is_edited_is_followed_and_one_that_breaks_is_named_beside_the_last(
    store: Path, tmp_path: Path
) -> None:
    pytest.importorskip("yaml", reason="plans as files need PyYAML, of the extra `analysis`")
    plan = tmp_path / "fleet.yaml"
    plan.write_text("tasks_per_day: 1000\n", encoding="utf-8")
    watched = Watched(str(store), plan_file=plan)
    first = watched.read().version
    plan.write_text("tasks_per_day: -1\n", encoding="utf-8")
    assert watched.read().version == first
    assert "fleet.yaml: plan.tasks_per_day is -1; it must be above 0. This page shows the plan before." in (
        watched.state.error
    )
    plan.write_text("tasks_per_day: 2000\n", encoding="utf-8")
    assert watched.read().version != first
    assert not watched.state.error


def test_a_plan_that_changes_is_read_again_while_the_store_rests(store: Path, tmp_path: Path) -> None:
    pytest.importorskip("yaml", reason="plans as files need PyYAML, of the extra `analysis`")
    plan = tmp_path / "fleet.yaml"
    plan.write_text("tasks_per_day: 1000\n", encoding="utf-8")
    watched = Watched(str(store), every_s=0.01, plan_file=plan)

    async def followed() -> tuple[str, str]:
        # The limit only ends what would else wait for ever.
        async with asyncio.timeout(120):
            with watched.reading():
                task = asyncio.create_task(watched.watch())
                before = watched.read().version
                plan.write_text("tasks_per_day: 20000\n", encoding="utf-8")
                while watched.snapshot.version == before:
                    await asyncio.sleep(0.01)
                task.cancel()
        return before, watched.snapshot.version

    before, after = asyncio.run(followed())
    assert before != after


def test_a_file_that_holds_no_plan_is_refused_before_the_page_is_served(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "fleet.yaml"
    plan.write_text("tasks_per_day: [1]\n", encoding="utf-8")
    said = _refused("serve", store, "--plan", plan, "--port", "0", capsys=capsys)
    assert "fleet.yaml: plan.tasks_per_day is [1]; give one number for all kinds" in said
