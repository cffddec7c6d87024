"""opencode's sessions: as versions 1.1 to 1.18 write them, with other numbers."""

import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.importers import opencode_logs as logs

from tokenflation.sdk.errors import ImportSourceError
from tokenflation.sdk.importers import import_paths

_COUNTS = "input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens"


def _rows(store: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute(query).fetchall()


def _calls(store: Path, columns: str = _COUNTS) -> list[tuple[Any, ...]]:
    return _rows(store, f"SELECT {columns} FROM calls ORDER BY started_at_ns")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return logs.database(tmp_path / "opencode.db", logs.story())


def test_each_answer_is_one_call_as_the_provider_counted_it(database: Path, store: Path) -> None:
    summary = import_paths([database], store)
    assert (summary.tasks, summary.calls, summary.compactions, summary.tool_calls) == (2, 5, 1, 2)
    assert _calls(store) == [
        (100, 30, 10, 12, 5),
        (20, 0, 0, 3, 0),
        (100, 0, 0, 9, 0),
        (20, 5, 0, 2, 0),
        (40, 0, 0, 4, 0),
    ]
    columns = "model, provider, prompted_by, duration_s, finish_reasons"
    assert _calls(store, columns)[0] == ("m-x", "local", "user", 2.0, '["stop"]')
    assert [row[0] for row in _calls(store, "prompted_by")] == ["user", "user", "tool", None, "user"]


def test_sessions_of_kilo_code_are_named_after_it(database: Path, store: Path, tmp_path: Path) -> None:
    import_paths([database], store)
    its = database.rename(tmp_path / "kilo.db")
    import_paths([its], tmp_path / "its.db")
    named = "SELECT DISTINCT task FROM calls"
    assert (_rows(store, named), _rows(tmp_path / "its.db", named)) == ([("opencode",)], [("kilo-code",)])
    assert import_paths([its], store).calls == 0, "under either name a call is the same"


def test_a_sub_agent_stands_in_the_tool_call_that_made_its_session(database: Path, store: Path) -> None:
    import_paths([database], store)
    inner = "SELECT agent, depth, inside_tool_call_id, task_id, agent_run_id FROM calls WHERE depth"
    (found,) = _rows(store, inner)
    assert found[:4] == ("explore", 1, "task-1", "ses_1")
    tools = "SELECT name, agent_run_id, failed, result_bytes, ended_at_ns - started_at_ns FROM tool_calls ORDER BY name"
    assert _rows(store, tools) == [("read", None, 1, 2, 5 * 10**9), ("task", found[4], 0, 4, 5 * 10**9)]


def test_a_fork_has_only_the_calls_that_are_its_own(database: Path, store: Path) -> None:
    import_paths([database], store)
    forked = "SELECT input_tokens, extra ->> '$.session.calls_of_the_parent' FROM calls WHERE task_id = 'ses_3'"
    assert _rows(store, forked) == [(40, 3)]


@pytest.mark.parametrize("write", [logs.files, logs.exports])
def test_a_session_is_the_same_in_the_database_in_files_and_exported(
    database: Path, store: Path, tmp_path: Path, write: Any
) -> None:
    written = write(tmp_path / "others", logs.story())
    import_paths([written], tmp_path / "alone.db")
    import_paths([database], store)
    columns = f"call_id, task_id, depth, step, inside_call_id, started_at_ns, ended_at_ns, {_COUNTS}"
    assert _calls(tmp_path / "alone.db", columns) == _calls(store, columns)
    assert import_paths([written], store).calls == 0


@pytest.mark.parametrize(
    ("tokens", "provider", "made"),
    [
        (logs.counted(60, 30, 10, 7, 5, total=112), "local", 12),
        (logs.counted(60, 30, 10, 12, 5, total=112), "local", 12),
        (logs.counted(60, 30, 10, 12, 5), "local", 12),
        (logs.counted(60, 30, 10, 7, 5), "google", 12),
    ],
)
def test_reasoning_is_counted_once_in_every_version(
    tmp_path: Path, store: Path, tokens: Any, provider: str, made: int
) -> None:
    told = logs.session("1")
    logs.answers(told, 1, tokens, logs.word(2), providerID=provider)
    import_paths([logs.database(tmp_path / "opencode.db", [told])], store)
    assert _calls(store) == [(100, 30, 10, made, 5)]


def test_a_failed_call_has_no_counts_and_an_unfinished_one_waits(tmp_path: Path, store: Path) -> None:
    told = logs.session("1")
    error = {"name": "APIError", "data": {"message": "secret", "statusCode": 429}}
    logs.answers(told, 1, None, error=error)
    logs.answers(told, 4, None, error={"name": "MessageAbortedError", "data": {}})
    logs.answers(told, 7, None, logs.word(8))
    import_paths([logs.database(tmp_path / "opencode.db", [told])], store)
    found = _calls(store, "status, error_type, input_tokens, extra ->> '$.session.unfinished_calls'")
    assert found == [("error", "http_429", None, 1), ("cancelled", "MessageAbortedError", None, None)]
    told["messages"].pop()
    logs.answers(told, 7, logs.counted(9, 0, 0, 1, 0), logs.word(8))
    (tmp_path / "opencode.db").unlink()
    assert import_paths([logs.database(tmp_path / "opencode.db", [told])], store).calls == 1


@pytest.mark.parametrize("packed", [False, True])
def test_what_waits_in_the_log_is_read_and_nothing_is_written(store: Path, tmp_path: Path, packed: bool) -> None:
    source = tmp_path / "opencode"
    source.mkdir()
    with closing(sqlite3.connect(source / "opencode.db")) as writing:
        writing.execute("PRAGMA journal_mode = WAL")
        writing.execute("PRAGMA wal_autocheckpoint = 0")
        logs.fill(writing, logs.story())
        before = {one.name: one.read_bytes() for one in source.iterdir() if not one.name.endswith("-shm")}
        assert len(before["opencode.db"]) < len(before["opencode.db-wal"])
        if packed:
            with tarfile.open(tmp_path / "all.tgz", "w:gz") as archive:
                archive.add(source, "opencode")
        summary = import_paths([tmp_path / "all.tgz" if packed else source], store)
        assert (summary.calls, summary.broken, summary.foreign) == (5, {}, {})
        assert before == {one.name: one.read_bytes() for one in source.iterdir() if not one.name.endswith("-shm")}


def test_a_copy_with_its_log_alone_is_read_whole_and_gets_no_files_beside_it(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    with closing(sqlite3.connect(tmp_path / "opencode.db")) as writing:
        writing.execute("PRAGMA journal_mode = WAL")
        writing.execute("PRAGMA wal_autocheckpoint = 0")
        logs.fill(writing, logs.story())
        for name in ("opencode.db", "opencode.db-wal"):
            (copy / name).write_bytes((tmp_path / name).read_bytes())
    for source in (copy, copy / "opencode.db"):
        assert import_paths([source], tmp_path / f"{source.name}.store").calls == 5
    assert sorted(one.name for one in copy.iterdir()) == ["opencode.db", "opencode.db-wal"]


def test_a_database_at_rest_gets_no_files_beside_it(database: Path, store: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    import_paths([database], store)
    assert [one.name for one in database.parent.iterdir() if one.name.startswith("opencode")] == ["opencode.db"]


def test_damage_is_named_and_the_other_sessions_are_read(database: Path, store: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE message SET data = '{\"role\":' WHERE id = 'msg_1001'")
        connection.commit()
    summary = import_paths([database], store)
    assert (summary.calls, dict(summary.broken)) == (4, {"not JSON": 1})
    assert summary.problems[0].detail == "message msg_1001"


def test_a_torn_database_is_refused_by_name(database: Path, store: Path) -> None:
    database.write_bytes(database.read_bytes()[:5000])
    with pytest.raises(ImportSourceError, match=r"opencode\.db: file is damaged: SQLite cannot read it"):
        import_paths([database], store)
    assert not store.exists()


def test_a_database_of_another_program_with_its_name_is_refused(tmp_path: Path, store: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "opencode.db")) as connection:
        connection.execute("CREATE TABLE session (id)")
    with pytest.raises(ImportSourceError, match="no opencode database: no table session as opencode has it"):
        import_paths([tmp_path / "opencode.db"], store)
