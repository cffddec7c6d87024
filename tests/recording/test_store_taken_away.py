"""A store that somebody removes, renames or empties while a program records: no row written is lost with it."""

import signal
import sqlite3
from pathlib import Path

import pytest
from tests.providers import Provider
from tests.recording.programs import begin, journals, run
from tests.stored import rows

from tokenflation.sdk.store.contents import info
from tokenflation.sdk.store.journals.recover import recover
from tokenflation.sdk.store.write import open_writer

PROGRAM = """
    from tokenflation.sdk.recording.worker import Worker
    handle = tf.instrument(store)
    folder = os.path.dirname(store)
    with httpx.Client() as client:
        for _ in range(3):
            ask(client)
        handle.flush()
        for name in os.listdir(folder) if sys.argv[3] != "rename" else ["runs.db"]:
            if sys.argv[3] == "remove":
                os.unlink(os.path.join(folder, name))
            elif sys.argv[3] in ("rename", "rename all"):
                os.rename(os.path.join(folder, name), os.path.join(folder, name.replace("runs", "moved")))
        if sys.argv[3] == "empty":
            open(store, "w").close()
        if sys.argv[4] == "close":
            ask(client)
            handle.close()
        else:
            journal = handle._recorder._underway._journal
            while not journal.path.exists() or not os.path.samestat(journal.path.stat(), os.fstat(journal._descriptor)):
                time.sleep(0.01)
            Worker.write = lambda self, now: time.sleep(60)
            ask(client)
            os.kill(os.getpid(), signal.SIGKILL)
"""

KEEPS_ITS_LOCKS = sqlite3.sqlite_version_info >= (3, 51)
"""Whether locks outlast that their program opens and closes the store as any file: <https://sqlite.org/changes.html>."""

READ = """
    import shutil, subprocess
    from tokenflation.sdk.store.contents import info
    def look():
        subprocess.run([sys.executable, "-c", "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
            "c.execute('select 1 from calls'); c.close()", store], check=True)
    handle = tf.instrument(store)
    with httpx.Client() as client:
        ask(client)
        handle.flush()
        if sys.argv[3] == "copied":
            shutil.copy(store, store + ".copy")
        elif sys.argv[3] == "loaded":
            from tokenflation import analysis
            assert len(analysis.load(store)) == 1
        else:
            assert info(store)["rows"]["calls"] == 1
        look()
        print(os.path.exists(store + "-wal"), flush=True)
        for _ in range(3):
            ask(client)
            handle.flush()
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("how", "is_left"), [("copied", KEEPS_ITS_LOCKS), ("read", True), ("loaded", True)])
def test_what_comes_after_a_program_has_read_its_own_store_and_another_has_closed_it_is_in_the_store(
    provider: Provider, store: Path, how: str, is_left: bool
) -> None:
    done = run(READ, provider, store, how)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout.split() == [str(is_left)]  # whether the log that it writes is the store's still
    assert info(store)["rows"]["calls"] == 4


BESIDE = (
    READ[: READ.index("    with httpx")]
    + """
    import sqlite3
    with httpx.Client() as client:
        ask(client)
        handle.flush()
        own = sqlite3.connect(store)
        own.execute("select 1 from calls").fetchone()
        shutil.copy(store, store + ".copy")
        look()
        ask(client)
        handle.flush()
        print(handle.recorded)
        own.close()
        ask(client)
        handle.flush()
        print(handle.recorded, handle.drops)
        handle.close()
"""
)


def test_beside_an_older_connection_of_the_program_whose_log_was_removed_nothing_is_written_and_nothing_lost(
    provider: Provider, store: Path
) -> None:
    done = run(BESIDE, provider, store)
    before_its_end = "2" if KEEPS_ITS_LOCKS else "1"
    assert (done.returncode, done.stdout.split("\n")[:2]) == (0, [before_its_end, "3 {}"]), done.stderr
    assert (info(store)["rows"]["calls"], info(store)["lost"]) == (3, 0)


@pytest.mark.parametrize(("how", "kept"), [("remove", 0), ("rename", 3), ("rename all", 3), ("empty", 0)])
def test_what_comes_after_goes_into_a_new_store_and_what_was_renamed_keeps_its_rows(
    provider: Provider, store: Path, how: str, kept: int
) -> None:
    done = run(PROGRAM, provider, store, how, "close")
    assert done.returncode == 0, done.stderr
    assert (info(store)["rows"]["calls"], info(store)["lost"], info(store)["key_file"]) == (1, 0, "ok")
    moved = store.with_name("moved.db")
    assert (info(moved)["rows"]["calls"] if moved.exists() else 0) == kept


@pytest.mark.parametrize("how", ["remove", "rename all"])
def test_a_kill_after_the_journal_was_taken_away_loses_no_finished_call(
    provider: Provider, store: Path, how: str
) -> None:
    done = run(PROGRAM, provider, store, how, "kill")
    assert done.returncode == -signal.SIGKILL, done.stderr
    open_writer(store).close()
    assert recover(store) == 1
    moved = store.with_name("moved.db")
    if moved.exists():
        assert info(moved)["rows"]["calls"] == 3
        assert not {row["call_id"] for row in rows(moved)} & {row["call_id"] for row in rows(store)}
    assert journals(store) == []


def test_a_store_that_a_link_leads_to_is_made_anew_where_it_was_and_the_link_stays(
    provider: Provider, store: Path, tmp_path: Path
) -> None:
    real = tmp_path / "elsewhere" / "real.db"
    real.parent.mkdir()
    store.symlink_to(real)
    done = run(PROGRAM, provider, store, "empty", "close")
    assert done.returncode == 0, done.stderr
    assert store.is_symlink()
    assert info(real)["rows"]["calls"] == 1


ONE_OF_SEVERAL = """
    handle = tf.instrument(store)
    with httpx.Client() as client:
        for _ in sys.stdin:
            ask(client)
            print(handle.flush(), flush=True)
    handle.close()
    print(handle.recorded, handle.drops)
"""


@pytest.mark.parametrize("newcomers", [0, 1])
def test_a_store_that_is_renamed_while_several_programs_record_stays_whole_and_a_new_one_takes_what_comes_after(
    provider: Provider, store: Path, newcomers: int
) -> None:
    programs = [begin(ONE_OF_SEVERAL, provider, store) for _ in range(3)]
    moved = store.with_name("moved.db")
    for _ in range(2):
        for one in programs:
            print(file=one.stdin, flush=True)
            assert one.stdout
            assert one.stdout.readline() == "True\n"
        if not moved.exists():
            store.rename(moved)
            programs[:0] = [begin(ONE_OF_SEVERAL, provider, store) for _ in range(newcomers)]
    said = [one.communicate(timeout=60) for one in programs]
    assert said == [("1 {}\n", "")] * newcomers + [("2 {}\n", "")] * 3
    kept = [{row["call_id"] for row in rows(one)} for one in (moved, store)]
    assert list(map(len, kept)) == [3, 3 + newcomers]
    assert not kept[0] & kept[1]


LEFT = """
    handle = tf.instrument(store)
    with httpx.Client() as client:
        ask(client)
    handle.flush()
    os.rename(store, sys.argv[3])
    if sys.argv[4] == "fork" and os.fork() == 0:
        os._exit(0)
    handle.close()
"""


@pytest.mark.parametrize("end", ["close", "fork"])
def test_a_store_that_is_renamed_after_the_last_call_keeps_it(provider: Provider, store: Path, end: str) -> None:
    moved = store.with_name("moved.db")
    assert run(LEFT, provider, store, str(moved), end).stderr == ""
    assert info(moved)["rows"]["calls"] == 1
    assert not list(store.parent.glob("runs.db-*"))


def test_a_damaged_store_does_not_reach_the_program_and_its_calls_come_in_once_a_copy_is_restored(
    provider: Provider, store: Path
) -> None:
    open_writer(store).close()
    whole = store.read_bytes()
    store.write_bytes(whole[:100] + b"\xff" * 8000 + whole[8100:])
    done = run("tf.instrument(store); print(ask(httpx).status_code)", provider, store)
    assert (done.returncode, done.stdout) == (0, "200\n"), done.stderr
    assert "runs.db cannot be written: database disk image is malformed. Restore it from a copy" in done.stderr
    store.write_bytes(whole)
    found = info(store)
    assert (found["rows"]["calls"], found["lost"]) == (1, 0)


def test_a_path_that_the_system_refuses_is_named_and_does_not_reach_the_program(
    provider: Provider, tmp_path: Path
) -> None:
    done = run("tf.instrument(store); print(ask(httpx).status_code)", provider, tmp_path / ("a" * 300))
    assert (done.returncode, done.stdout) == (0, "200\n"), done.stderr
    assert "aaa cannot be written: " in done.stderr
