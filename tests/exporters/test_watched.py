"""The store behind a live page: changes are seen, a store gone or another is told of, a page unseen costs nothing."""

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.analysis.conftest import complete, write_store
from tests.analysis.trees import call

from tokenflation.exporters.web.mark import Mark
from tokenflation.exporters.web.snapshot import Watched


def _rows(tasks: int) -> list[dict[str, Any]]:
    return [
        call(f"t{task}c{step}", f"r{task}", step, 10 * task + step, task_id=f"T-{task}")
        for task in range(tasks)
        for step in range(2)
    ]


def _add(store: Path, call_id: str) -> None:
    row = complete(call(call_id, "more", 0, 900, task_id="T-more"), 0)
    with sqlite3.connect(store) as connection:
        connection.execute(
            f"insert into calls ({', '.join(row)}) values ({', '.join('?' * len(row))})", [*row.values()]
        )
    connection.close()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of three tasks of two calls."""
    return write_store(tmp_path / "runs.db", _rows(3))


async def _until(watched: Watched, says: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not says():
            await watched.changed(watched.snapshot.version, watched.state, timeout_s=0.05)


def _watching(store: Path, test: Callable[[Watched], Awaitable[None]]) -> None:
    async def run() -> None:
        watched = Watched(str(store), every_s=0.01)
        watched.read()
        task = asyncio.create_task(watched.watch())
        try:
            await test(watched)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def test_a_call_that_another_process_adds_is_seen_while_somebody_looks(store: Path) -> None:
    async def test(watched: Watched) -> None:
        with watched.reading():
            _add(store, "new")
            await _until(watched, lambda: watched.state.calls == 7)
        assert "7" in watched.snapshot.parts["headline"]

    _watching(store, test)


def test_nothing_is_read_while_nobody_looks_and_the_change_is_not_forgotten(store: Path) -> None:
    async def test(watched: Watched) -> None:
        _add(store, "new")
        await asyncio.sleep(0.3)
        assert watched.state.calls == 6
        watched.asked()
        await _until(watched, lambda: watched.state.calls == 7)

    _watching(store, test)


def test_a_store_that_is_gone_is_told_of_with_the_page_kept_and_one_that_comes_back_is_shown(
    store: Path, tmp_path: Path
) -> None:
    async def test(watched: Watched) -> None:
        with watched.reading():
            before = watched.snapshot
            store.rename(tmp_path / "away.db")
            await _until(watched, lambda: "runs.db" in watched.state.error)
            assert watched.snapshot is before
            (tmp_path / "away.db").rename(store)
            await _until(watched, lambda: not watched.state.error)
            assert watched.snapshot.version == before.version

    _watching(store, test)


def test_a_store_that_takes_the_place_of_another_is_shown(store: Path, tmp_path: Path) -> None:
    other = write_store(tmp_path / "other.db", _rows(5))

    async def test(watched: Watched) -> None:
        with watched.reading():
            shutil.move(other, store)
            await _until(watched, lambda: watched.state.calls == 10)
            write_store(tmp_path / "empty.db", []).rename(store)
            await _until(watched, lambda: watched.snapshot.report is None)

    _watching(store, test)


def test_a_mark_is_another_after_a_commit_or_another_file_and_the_same_without(store: Path, tmp_path: Path) -> None:
    mark = Mark(str(store))
    seen = [mark.read(), mark.read()]
    assert seen[0] == seen[1]
    _add(store, "new")
    seen.append(mark.read())
    store.rename(tmp_path / "away.db")
    seen.append(mark.read())
    assert "runs.db" in str(seen[-1])
    write_store(store, _rows(1))
    seen.append(mark.read())
    mark.close()
    assert len({str(one) for one in seen[1:]}) == 4
