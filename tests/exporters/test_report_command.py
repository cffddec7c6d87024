"""`tokenflation report`: one whole page, or one clear message and nothing."""

import re
import sqlite3
import time
from pathlib import Path

import duckdb
import numpy as np
import pytest
from tests.analysis.conftest import write_store
from tests.browser.frames import agent_rows, calls_frame, direct_rows, fleet

from tokenflation.analysis import profile
from tokenflation.cli import main
from tokenflation.exporters.report import Report, render
from tokenflation.sdk.importers import import_paths

SESSIONS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "agent_sessions" / "sessions.jsonl.xz"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of 362 real agent sessions, 24,665 calls."""
    if not SESSIONS.exists():
        pytest.skip(f"{SESSIONS} is not there")
    path = tmp_path_factory.mktemp("sessions") / "runs.db"
    import_paths([SESSIONS], path)
    return path


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    code = exit_.value.code
    return code if isinstance(code, int) else 0


def test_the_page_holds_its_scripts_and_asks_for_nothing() -> None:
    calls = fleet(tasks=3)
    page = render(Report(name="a", calls=calls, profile=profile(calls), no_factors="none", no_demand="none"))
    assert not re.search(r"<(script|img|iframe|link)[^>]+(src|href)=[\"'](?!data:)", page)
    assert page.count("plotly.js v") == 1
    assert "default-src 'none'" in page
    assert len(page) < 6_000_000


def test_two_hundred_task_kinds_still_make_a_page_of_sane_size() -> None:
    rng = np.random.default_rng(3)
    calls = calls_frame([row for kind in range(200) for row in direct_rows(rng, f"kind-{kind}", 0)])
    page = render(Report(name="a", calls=calls, profile=profile(calls), no_factors="none", no_demand="none"))
    assert len(page) < 6_000_000
    assert "Left out, with less input: 160 kinds" in page


def test_an_error_in_a_name_cannot_end_the_script_it_stands_in() -> None:
    rows = agent_rows(np.random.default_rng(1), "</script><script>alert(1)</script>", 0, mean_steps=4)
    calls = calls_frame(rows)
    page = render(Report(name="</title>", calls=calls, profile=profile(calls), no_factors="none", no_demand="none"))
    assert "<script>alert" not in page
    assert page.partition("</head>")[0].count("</title>") == 1


@pytest.mark.parametrize("content", [None, b"", b"not a store"])
def test_what_is_no_store_is_refused_and_no_page_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    store, out = tmp_path / "runs.db", tmp_path / "report.html"
    if content is not None:
        store.write_bytes(content)
    assert _run("report", store, "-o", out) == 1
    assert str(store) in capsys.readouterr().err
    assert list(tmp_path.glob("*.html*")) == []


@pytest.mark.shared_data
def test_the_page_is_made_in_time_and_shows_the_sums_of_the_store(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = time.perf_counter()
    assert _run("report", store, "-o", tmp_path / "report.html") == 0
    print(f"report of 24,665 calls: {time.perf_counter() - start:.1f} s")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert len(page) < 8_000_000
    assert "3,113,816,958" in page
    assert "10,837,727" in page
    assert "first request + final answer of the same task (intrinsic, not measured)" in page
    assert "Tasks a day: sessions 1M (362 recorded)." in page
    assert "24,665 calls" in capsys.readouterr().out


def test_bytes_of_a_token_are_those_of_the_plan_and_not_given_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hashed = {"block_tokens": 64, "block_hashes": bytes(16), "cache_read_tokens": 0}
    rows = [
        {"task_id": f"t{at}", "input_tokens": 128, "output_tokens": 1, "started_at_ns": at * 10**9, **hashed}
        for at in range(3)
    ]
    store = write_store(tmp_path / "runs.db", rows)
    plan = tmp_path / "plan.yaml"
    plan.write_text("tasks_per_day: 1000\nkv_bytes_per_token: 1000\n")
    page, given = tmp_path / "report.html", ("report", store, "--plan", plan, "-o", tmp_path / "report.html")
    assert _run(*given) == 0
    assert "size of the cache (bytes, logarithmic)" in page.read_text(encoding="utf-8")
    assert _run(*given, "--kv-bytes-per-token", "2000") == 2
    assert "leave out one of them" in capsys.readouterr().err


def test_losses_of_the_store_stand_on_the_page(tmp_path: Path) -> None:
    store = write_store(tmp_path / "runs.db", [{"input_tokens": 9, "output_tokens": 1}])
    with sqlite3.connect(store) as connection:
        connection.execute("insert into drops values ('w', 'queue_full', 12)")
    connection.close()
    assert _run("report", store, "-o", tmp_path / "report.html") == 0
    assert "12 records were lost" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.shared_data
def test_a_baseline_that_is_not_there_is_named_with_those_that_are(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("report", store, "-o", tmp_path / "report.html", "--baseline", "chat") == 1
    said = capsys.readouterr().err
    assert "'chat'" in said
    assert "sessions" in said
    assert not (tmp_path / "report.html").exists()


def test_a_folder_that_is_not_there_is_named_before_the_store_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none.db").write_text("no store", encoding="utf-8")
    assert _run("report", tmp_path / "none.db", "-o", tmp_path / "no" / "report.html") == 1
    said = capsys.readouterr().err
    assert str(tmp_path / "no") in said
    assert "none.db" not in said


def test_the_baseline_is_compared_with_and_is_no_part_of_the_fleet(tmp_path: Path) -> None:
    calls = fleet(tasks=12)
    frame = calls.assign(block_hashes=None)
    source = tmp_path / "fleet.parquet"
    with duckdb.connect() as engine:
        engine.register("frame", frame)
        engine.execute(f"copy (select * replace (cast(null as blob) as block_hashes) from frame) to '{source}'")
    assert _run("report", source, "-o", tmp_path / "report.html", "--tasks-per-day", "1000") == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "The baseline, answer-once, is no part of the fleet." in page
    assert "The baseline here is answer-once" in page
