"""Importing files and folders: all or nothing, once each."""

import gzip
import json
import lzma
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.importers.traces import marker, request, session, write_lines

from tokenflation.sdk.errors import ImportSourceError, StoreError
from tokenflation.sdk.importers import ImportSummary, import_paths
from tokenflation.sdk.importers.files.formats import Skipped
from tokenflation.sdk.store.contents import info
from tokenflation.sdk.store.write import open_writer

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "agent_sessions"
TRACE = session(request(0.0), marker(0.5, [request(0.5)]), request(1.5))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "stores").mkdir()
    return tmp_path / "stores" / "runs.db"


def _rows(store: Path, query: str) -> list[Any]:
    connection = sqlite3.connect(store)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_becomes_tasks_named_after_it(tmp_path: Path, store: Path) -> None:
    file = write_lines(tmp_path / "night.run.jsonl", TRACE, session(request(0.0), id="s2"))
    summary = import_paths([file], store)
    assert (summary.files, summary.tasks, summary.calls) == (1, 2, 4)
    assert (summary.sub_agent_runs, summary.sub_agent_calls) == (1, 1)
    assert (summary.input_tokens, summary.output_tokens, summary.skipped) == (2560, 200, {})
    assert info(store)["tasks"] == {"night.run": 2}
    assert info(store)["key_file"] == "ok"


@pytest.mark.parametrize(
    "name", ["a.json", "a.jsonl", "a.json.xz", "a.jsonl.xz", "a.xz", "a.json.gz", "a.jsonl.gz", "a.gz"]
)
def test_every_kind_of_file_is_read(tmp_path: Path, store: Path, name: str) -> None:
    content = json.dumps(TRACE, indent=2 if ".json" in name and ".jsonl" not in name else None).encode()
    if name.endswith(".xz"):
        content = lzma.compress(content)
    elif name.endswith(".gz"):
        content = gzip.compress(content)
    (tmp_path / name).write_bytes(content)
    import_paths([tmp_path / name], store)
    assert info(store)["tasks"] == {"a": 1}


def test_a_folder_is_read_whole_and_names_the_tasks(tmp_path: Path, store: Path) -> None:
    folder = tmp_path / "corpus"
    (folder / "deep").mkdir(parents=True)
    write_lines(folder / "a.json", TRACE)
    write_lines(folder / "deep" / "b.jsonl", session(request(0.0), id="s2"))
    (folder / "README.md").write_text("about the corpus")
    assert import_paths([folder], store).files == 2
    assert info(store)["tasks"] == {"corpus": 2}


def test_the_user_may_name_the_task(tmp_path: Path, store: Path) -> None:
    import_paths([write_lines(tmp_path / "a.jsonl", TRACE)], store, task="fix-a-bug")
    assert info(store)["tasks"] == {"fix-a-bug": 1}


def test_a_store_whose_name_the_disk_refuses_is_told(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", TRACE)
    with pytest.raises(StoreError):
        import_paths([file], tmp_path / ("a" * 250))
    assert list(tmp_path.iterdir()) == [file]


def test_importing_twice_adds_nothing(tmp_path: Path, store: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", TRACE)
    import_paths([file], store)
    before = _rows(store, "SELECT * FROM calls"), _rows(store, "SELECT * FROM spans")
    summary = import_paths([file], store)
    assert (summary.tasks, summary.calls, summary.skipped) == (0, 0, {"already in the store": 1})
    assert (_rows(store, "SELECT * FROM calls"), _rows(store, "SELECT * FROM spans")) == before


def test_two_sessions_with_one_id_stay_two_tasks(tmp_path: Path, store: Path) -> None:
    other = session(request(0.0, out=7))
    file = write_lines(tmp_path / "a.jsonl", TRACE, other)
    assert import_paths([file], store).tasks == 2
    assert import_paths([file], store).tasks == 0
    names = [name for (name,) in _rows(store, "SELECT DISTINCT task_id FROM calls ORDER BY task_id")]
    assert names[0] == "s1"
    assert names[1].startswith("s1#")
    kept = _rows(store, "SELECT json_extract(extra, '$.session.id') FROM calls WHERE output_tokens = 7")
    assert kept == [("s1",)]


def test_tool_calls_that_the_source_does_not_name_are_counted(tmp_path: Path, store: Path) -> None:
    asks = [request(float(number), stop=stop) for number, stop in enumerate(("tool_use", "tool_use", "end_turn"))]
    summary = import_paths([write_lines(tmp_path / "a.jsonl", session(*asks))], store)
    assert summary.tool_calls == info(store)["tool_calls"] == 2
    assert info(store)["rows"]["tool_calls"] == 0


def test_a_session_without_calls_is_skipped_and_said(tmp_path: Path, store: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", session(), TRACE)
    told: list[Skipped] = []
    summary = import_paths([file], store, left_out=told.append)
    assert (summary.tasks, summary.skipped) == (1, {"a session without calls": 1})
    assert list(summary.problems) == told == [Skipped(str(file), "a session without calls", "s1", "session")]


def test_an_import_adds_to_a_store_with_its_key(tmp_path: Path, store: Path) -> None:
    open_writer(store).close()
    key = store.with_name("runs.db.key").read_bytes()
    import_paths([write_lines(tmp_path / "a.jsonl", TRACE)], store)
    assert store.with_name("runs.db.key").read_bytes() == key
    assert info(store)["rows"]["calls"] == 3


def test_an_empty_file_is_taken_for_a_store_to_be_made(tmp_path: Path, store: Path) -> None:
    store.touch()
    import_paths([write_lines(tmp_path / "a.jsonl", TRACE)], store)
    assert sorted(_content(store.parent)) == ["runs.db", "runs.db.key"]


def _broken_at_17(tmp_path: Path) -> Path:
    sessions = [session(request(0.0), id=f"new-{number}") for number in range(20)]
    lines = [json.dumps(one) for one in sessions]
    lines[16] = '{"id": "broken"'
    file = tmp_path / "broken.jsonl"
    file.write_text("\n".join(lines))
    return file


def test_a_broken_line_is_named_and_costs_nothing_else(tmp_path: Path, store: Path) -> None:
    summary = import_paths([_broken_at_17(tmp_path)], store)
    assert (summary.tasks, summary.broken) == (19, {"not JSON": 1})
    assert summary.problems[0].where.endswith("broken.jsonl:17")


def test_two_records_that_were_appended_to_one_line_at_once_are_both_taken(tmp_path: Path, store: Path) -> None:
    first, one, other, last = (json.dumps(session(request(0.0), id=name)) for name in ("first", "one", "other", "last"))
    (tmp_path / "a.jsonl").write_text(f'{first}\n{one} {other}\n{one[:-9]}\n{last}{{"id": "cut\n')
    summary = import_paths([tmp_path / "a.jsonl"], store)
    assert (summary.tasks, summary.broken) == (4, {"not JSON": 2})
    assert [problem.where.rpartition(":")[2] for problem in summary.problems] == ["3", "4"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"x", "is of no known format"),
        ("a.db", b"SQLite format 3\0\x10\0", "is a database: what tokenflation recorded is read where it is"),
        ("crush.db", b"SQLite format 3\0\x10\0", "is Crush's database, which has sums of sessions but no counts"),
        ("session-store.db", b"SQLite format 3\0\x10\0", "import the folder `session-state` beside it"),
        ("api_conversation_history.json", b'[{"role": "user", "content": "go"}]', "is a task of Cline's or Roo Code's"),
        (".aider.chat.history.md", b"# aider chat started", "start aider with --analytics-log FILE"),
        ("a.jsonl", b'{"working_dir": "/w", "accumulated_total_tokens": 9}\n', "is a Goose session"),
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl", b"\n  \n", "is empty"),
        ("a.json", b"", "is empty"),
        ("a.jsonl.xz", b"this is no xz", "cannot be unpacked"),
        ("a.jsonl.gz", b"this is no gz", "cannot be unpacked"),
        ("a.jsonl.xz", lzma.compress(json.dumps(TRACE).encode() * 50)[:-40], "cannot be unpacked"),
        ("a.jsonl.gz", gzip.compress(json.dumps(TRACE).encode())[:-20], "cannot be unpacked"),
        ("a.json", json.dumps(TRACE).encode()[:-5], "is not JSON"),
        ("a.jsonl", json.dumps({"timestamp": 1, "input_length": 2}).encode(), "is of no known format"),
    ],
)
def test_a_wrong_file_gets_one_clear_message(
    tmp_path: Path, store: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImportSourceError, match=message) as raised:
        import_paths([tmp_path / name], store)
    assert name in str(raised.value)
    assert _content(store.parent) == {}


def test_a_missing_file_and_a_folder_without_traces_are_named(tmp_path: Path, store: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImportSourceError, match=r"nothing\.jsonl: there is no such file"):
        import_paths([tmp_path / "nothing.jsonl"], store)
    with pytest.raises(ImportSourceError, match="the folder holds no file"):
        import_paths([tmp_path / "empty"], store)


def test_a_file_that_is_no_store_is_refused_and_unchanged(tmp_path: Path, store: Path) -> None:
    store.write_text("not a store")
    with pytest.raises(StoreError, match="no SQLite file"):
        import_paths([write_lines(tmp_path / "a.jsonl", TRACE)], store)
    assert _content(store.parent) == {"runs.db": b"not a store"}


def test_a_store_in_a_missing_folder_is_named(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", TRACE)
    with pytest.raises(StoreError, match=r"runs\.db: the folder .* does not exist"):
        import_paths([file], tmp_path / "nowhere" / "runs.db")


def test_a_store_that_appears_during_the_import_is_not_overwritten(tmp_path: Path, store: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", TRACE)
    with pytest.raises(StoreError, match="made by another program"):
        import_paths([file], store, progress=lambda done, total: open_writer(store).close())
    assert info(store)["rows"]["calls"] == 0
    assert sorted(_content(store.parent)) == ["runs.db", "runs.db.key"]


def test_progress_reaches_the_size_of_all_files(tmp_path: Path, store: Path) -> None:
    files = [write_lines(tmp_path / name, session(request(0.0), id=name)) for name in ("a.jsonl", "b.jsonl")]
    seen: list[tuple[int, int]] = []
    import_paths(files, store, progress=lambda done, total: seen.append((done, total)))
    size = sum(file.stat().st_size for file in files)
    assert seen == [(size // 2, size), (size, size)]


@pytest.fixture(name="recorded", scope="module")
def _recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ImportSummary]:
    """Return a store of the recorded sessions and what its import said."""
    file = DATA / "sessions.jsonl.xz"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    store = tmp_path_factory.mktemp("recorded") / "runs.db"
    return store, import_paths([file], store)


@pytest.mark.shared_data
def test_real_sessions_give_the_published_sums(recorded: tuple[Path, ImportSummary]) -> None:
    store, summary = recorded
    assert (summary.tasks, summary.calls, summary.sub_agent_calls, summary.sub_agent_runs) == (362, 24665, 348, 32)
    assert (summary.input_tokens, summary.output_tokens) == (3_113_816_958, 10_837_727)
    ((hit, whole),) = _rows(
        store,
        "SELECT sum(shared_blocks) * 1.0 / sum(prefix_blocks), sum(input_tokens = system_tokens + "
        "tool_definition_tokens + resent_tokens + tool_result_tokens + new_tokens) FROM calls",
    )
    assert round(hit, 4) == 0.9637
    assert whole == 24665


@pytest.mark.shared_data
def test_blocks_shared_by_hashes_are_those_that_the_source_counted(
    recorded: tuple[Path, ImportSummary], tmp_path: Path
) -> None:
    file = DATA / "sessions_with_block_hashes.jsonl.xz"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    store = Path(shutil.copytree(recorded[0].parent, tmp_path / "both")) / "runs.db"
    import_paths([file], store)
    pairs = _rows(
        store,
        "SELECT a.shared_blocks, b.shared_blocks, length(b.block_hashes) / 8, (b.input_tokens + 63) / 64 FROM calls a "
        "JOIN calls b USING (task_id, step) WHERE a.block_hashes IS NULL AND b.block_hashes IS NOT NULL AND a.depth = 0",
    )
    assert len(pairs) == 1189
    assert all(counted == found and hashes == blocks for counted, found, hashes, blocks in pairs)


def test_a_store_that_is_no_regular_file_is_refused_and_stays(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", TRACE)
    pipe = tmp_path / "pipe.db"
    os.mkfifo(pipe)

    with pytest.raises(StoreError, match=r"pipe\.db is no regular file"):
        import_paths([file], pipe)

    assert pipe.is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "pipe.db"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_not_called_empty(tmp_path: Path, store: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(ImportSourceError, match="closed: the folder cannot be read"):
        import_paths([tmp_path / "closed"], store)
