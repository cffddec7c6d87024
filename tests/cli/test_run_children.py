"""`tokenflation run` of programs that start others anew: each is recorded, inside the scope that started it."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests.providers import Provider
from tests.stored import rows

_ASK = """
import os, sys
def ask(text="hi"):
    import httpx
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    httpx.post(os.environ["URL"] + "/v1/chat/completions", json=body).raise_for_status()
"""
_CHILD = "from asking import ask\nask('child')\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "asking.py").write_text(_ASK)
    (tmp_path / "child.py").write_text(_CHILD)
    return tmp_path


def run(folder: Path, provider: Provider, program: str, *options: str) -> "subprocess.CompletedProcess[str]":
    (folder / "program.py").write_text(textwrap.dedent(program))
    command = [sys.executable, "-m", "tokenflation.cli", "run", "--store", "runs.db", *options, "program.py"]
    environment = {**os.environ, "URL": provider.url}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def placed(folder: Path) -> list[tuple[str, str, int]]:
    return sorted((row["task"], row["task_id"], row["depth"]) for row in rows(folder / "runs.db"))


@pytest.mark.parametrize(
    "start",
    [
        "subprocess.run([sys.executable, 'child.py'], check=True)",
        "subprocess.run([sys.executable, 'child.py'], check=True, env={**os.environ, 'MORE': '1'})",
        "subprocess.run(f'{sys.executable} child.py', shell=True, check=True)",
        "subprocess.run([sys.executable, '-I', '-c', 'import sys; sys.path[:0] = [\".\"]; import child'], check=True)",
        "asyncio.run(wait())",
        "subprocess.run([sys.executable, 'child.py'], check=True, env={k.encode(): v.encode() for k, v in os.environ.items()})",
        "os.waitpid(os.posix_spawn(sys.executable, [sys.executable, 'child.py'], os.environ), 0)",
        "os.spawnv(os.P_WAIT, sys.executable, [sys.executable, 'child.py'])",
    ],
    ids=["run", "environment", "shell", "isolated", "asyncio", "bytes", "posix_spawn", "fork and exec"],
)
def test_a_program_that_is_started_anew_is_recorded_inside_the_scope_that_started_it(
    folder: Path, provider: Provider, start: str
) -> None:
    program = f"""
        import asyncio, os, subprocess, sys
        import tokenflation.sdk as tf
        async def wait():
            child = await asyncio.create_subprocess_exec(sys.executable, "child.py")
            await child.wait()
        with tf.task("triage", id="T-1"), tf.agent("planner"), tf.agent("reader"):
            {start}
    """
    said = run(folder, provider, program).stderr
    assert placed(folder) == [("triage", "T-1", 1)]
    assert "0 calls recorded to runs.db, and 1 by programs that it started" in said


def test_a_program_without_a_scope_around_it_has_tasks_of_its_own(folder: Path, provider: Provider) -> None:
    program = """
        import subprocess, sys
        from asking import ask
        ask("parent")
        for _ in range(2):
            subprocess.run([sys.executable, "child.py"], check=True)
    """
    run(folder, provider, program, "--task", "trip")
    found = placed(folder)
    assert [task for task, _, _ in found] == ["trip"] * 3
    assert len({task_id for _, task_id, _ in found}) == 3


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_processes_of_multiprocessing_are_recorded_however_they_start(
    folder: Path, provider: Provider, method: str
) -> None:
    program = f"""
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        import tokenflation.sdk as tf
        from asking import ask
        if __name__ == "__main__":
            context = multiprocessing.get_context({method!r})
            with ProcessPoolExecutor(2, context) as pool:
                for number in range(4):
                    with tf.task("pooled", id=str(number)):
                        pool.submit(ask, str(number))
            with tf.task("alone", id="p"):
                process = context.Process(target=ask)
                process.start()
            process.join()
    """
    run(folder, provider, program)
    assert placed(folder) == [("alone", "p", 0), *(("pooled", str(number), 0) for number in range(4))]


def test_what_a_started_program_starts_is_recorded_too(folder: Path, provider: Provider) -> None:
    (folder / "middle.py").write_text(
        "import subprocess, sys\nsubprocess.run([sys.executable, 'child.py'], check=True)\n"
    )
    program = """
        import subprocess, sys
        import tokenflation.sdk as tf
        with tf.task("triage", id="T-1"):
            subprocess.run([sys.executable, "middle.py"], check=True)
    """
    run(folder, provider, program)
    assert placed(folder) == [("triage", "T-1", 0)]


@pytest.mark.parametrize("before", ["", "import httpx\n", "tf.task('early').__enter__().__exit__(None, None, None)\n"])
def test_a_started_program_that_switches_the_recorder_on_by_itself_keeps_its_store_and_the_scope(
    folder: Path, provider: Provider, before: str
) -> None:
    own = f"import tokenflation.sdk as tf\n{before}tf.instrument('own.db')\n"
    (folder / "child.py").write_text(own + _CHILD)
    program = """
        import subprocess, sys
        import tokenflation.sdk as tf
        with tf.task("triage", id="T-1"):
            subprocess.run([sys.executable, "child.py"], check=True)
    """
    said = run(folder, provider, program).stderr
    assert [row["task_id"] for row in rows(folder / "own.db")] == ["T-1"]
    assert rows(folder / "runs.db") == []
    assert "already recording" not in said


def test_what_a_started_program_starts_in_a_scope_of_its_own_is_never_put_into_the_scope_around_it(
    folder: Path, provider: Provider
) -> None:
    (folder / "middle.py").write_text(
        textwrap.dedent("""
            import os, subprocess, sys, uuid
            import tokenflation.sdk as tf
            for number, one in enumerate(("short", uuid.UUID(int=7), "x" * 100_000)):
                with tf.task("inner", id=one):
                    subprocess.run([sys.executable, "child.py"], check=True)
            with tf.task("inner", id="system"):
                os.system(sys.executable + " child.py")
            os.execv(sys.executable, [sys.executable, "child.py"])
        """)
    )
    program = """
        import subprocess, sys
        import tokenflation.sdk as tf
        with tf.task("outer", id="O"):
            subprocess.run([sys.executable, "middle.py"], check=True)
    """
    run(folder, provider, program)
    found = [(task, task_id) for task, task_id, _ in placed(folder) if not task.startswith("task-")]
    assert found == [("inner", "00000000-0000-0000-0000-000000000007"), ("inner", "short"), ("outer", "O")]
    assert len(placed(folder)) == 5  # two could not be told where they stand


def test_a_scope_of_a_started_program_stands_inside_even_if_no_client_is_imported_yet(
    folder: Path, provider: Provider
) -> None:
    (folder / "child.py").write_text(
        textwrap.dedent("""
            import tokenflation.sdk as tf
            with tf.agent("reader"):
                from asking import ask
                ask()
                tf.outcome(success=True)
        """)
    )
    program = """
        import subprocess, sys
        import tokenflation.sdk as tf
        with tf.task("triage", id="T-1"), tf.agent("planner"):
            subprocess.run([sys.executable, "child.py"], check=True)
    """
    said = run(folder, provider, program).stderr
    assert placed(folder) == [("triage", "T-1", 1)]
    assert "outcome() of task 'triage' is lost" in said


def test_client_libraries_that_threads_import_at_once_are_whole_and_recorded(folder: Path, provider: Provider) -> None:
    (folder / "child.py").write_text(
        textwrap.dedent("""
            import os, threading
            both = threading.Barrier(2)
            def one():
                both.wait()
                import httpx
            def other():
                both.wait()
                import urllib3
            threads = [threading.Thread(target=work) for work in (one, other)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            import urllib3
            from asking import ask
            url, headers = os.environ["URL"] + "/v1/chat/completions", {"content-type": "application/json"}
            body = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
            assert urllib3.connectionpool.connection_from_url(url).urlopen("POST", url, body, headers).status == 200
            ask()
        """)
    )
    program = "import subprocess, sys\nsubprocess.run([sys.executable, 'child.py'], check=True)"
    run(folder, provider, program, "--otlp", f"{provider.url}/v1/traces")
    assert len(rows(folder / "runs.db")) == 2


def test_an_interpreter_that_waits_has_loaded_nothing_for_it_but_two_files_of_ours() -> None:
    code = (
        "import sys; sys.path += sys.argv[1:]; import os, tokenflation; before = set(sys.modules)\n"
        "from tokenflation.startup import begin_when_needed; begin_when_needed()\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    places = list(__import__("tokenflation").__path__)
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, *(str(Path(place).parent) for place in places)],
        env={**os.environ, "TOKENFLATION_CHILDREN": "{}"}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["tokenflation.children", "tokenflation.startup"]


def test_an_interpreter_starts_in_silence_if_the_package_behind_the_file_is_gone() -> None:
    line = (Path(__file__).resolve().parents[2] / "sdk" / "tokenflation-children.pth").read_text()
    assert line.startswith("import ")
    assert line.count("\n") == 1  # or the interpreter would read it in pieces, or as a folder
    told = {**os.environ, "TOKENFLATION_CHILDREN": "{}"}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", line], env=told, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_a_run_inside_a_run_writes_to_its_own_store_and_hands_that_on(folder: Path, provider: Provider) -> None:
    (folder / "middle.py").write_text(
        "import subprocess, sys\nsubprocess.run([sys.executable, 'child.py'], check=True)\n"
    )
    program = """
        import subprocess, sys
        import tokenflation.sdk as tf
        with tf.task("triage", id="T-1"):
            inner = [sys.executable, "-m", "tokenflation.cli", "run", "--store", "inner.db", "--task", "inner", "middle.py"]
            subprocess.run(inner, check=True)
    """
    run(folder, provider, program)
    assert [row["task"] for row in rows(folder / "inner.db")] == ["inner"]
    assert rows(folder / "runs.db") == []


def test_a_program_that_takes_the_place_of_this_one_is_recorded(folder: Path, provider: Provider) -> None:
    program = """
        import os, sys
        from asking import ask
        ask()
        os.execv(sys.executable, [sys.executable, "child.py"])
    """
    done = run(folder, provider, program)
    assert len(rows(folder / "runs.db")) == 2
    assert "not recorded" not in done.stderr


def test_programs_that_call_no_model_load_nothing_of_ours(folder: Path, provider: Provider) -> None:
    program = """
        import subprocess, sys
        code = "import sys, json; print(json.dumps(sorted(name for name in sys.modules if 'tokenflation' in name)))"
        subprocess.run([sys.executable, "-c", code], check=True)
    """
    done = run(folder, provider, program)
    assert json.loads(done.stdout) == ["tokenflation", "tokenflation.children", "tokenflation.startup"]


def test_started_programs_are_left_alone_if_asked(folder: Path, provider: Provider) -> None:
    program = """
        import os, subprocess, sys
        subprocess.run([sys.executable, "child.py"], check=True)
        print(sorted(name for name in os.environ if name.startswith("TOKENFLATION_")))
    """
    done = run(folder, provider, program, "--no-children")
    assert done.stdout == "[]\n"
    assert rows(folder / "runs.db") == []


def test_processes_of_multiprocessing_are_the_programs_own_and_what_they_start_is_left_alone_too(
    folder: Path, provider: Provider
) -> None:
    program = """
        import multiprocessing, subprocess, sys
        from asking import ask
        def work():
            ask()
            subprocess.run([sys.executable, "child.py"], check=True)
        if __name__ == "__main__":
            process = multiprocessing.get_context("spawn").Process(target=work)
            process.start()
            process.join()
    """
    run(folder, provider, program, "--no-children")
    assert len(placed(folder)) == 1


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="there is no interpreter without tokenflation of its own")
@pytest.mark.parametrize("options", [(), ("--no-children",)])
def test_where_only_pythonpath_leads_to_tokenflation_it_says_that_started_programs_are_not_recorded(
    folder: Path, provider: Provider, options: tuple[str, ...]
) -> None:
    start = "import subprocess, sys; from asking import ask; ask(); subprocess.run([sys.executable, 'child.py'], check=True)"
    (folder / "program.py").write_text(start)
    bare = sys._base_executable  # type: ignore[attr-defined]
    done = subprocess.run(
        [bare, "-m", "tokenflation.cli", "run", "--store", "runs.db", *options, "program.py"],
        cwd=folder, capture_output=True, text=True, timeout=120, check=True,
        env={**os.environ, "URL": provider.url, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert len(rows(folder / "runs.db")) == 1
    assert ("this one starts anew are not recorded: " in done.stderr) == (not options)


@pytest.mark.parametrize("told", ["", "{", "[]", '{"store": "/nowhere/at/all.db"}', '{"nothing": 1}'])
def test_what_cannot_be_understood_in_the_environment_stops_no_program(
    folder: Path, provider: Provider, told: str
) -> None:
    environment = {**os.environ, "URL": provider.url, "TOKENFLATION_CHILDREN": told, "TOKENFLATION_SCOPE": told}
    done = subprocess.run(
        [sys.executable, "child.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_one_line_records_started_programs_too_and_ends_with_the_recorder(folder: Path, provider: Provider) -> None:
    (folder / "program.py").write_text(
        textwrap.dedent("""
            import os, subprocess, sys
            import tokenflation.sdk as tf
            with tf.instrument("runs.db", children=True), tf.task("triage", id="T-1"):
                subprocess.run([sys.executable, "child.py"], check=True)
            subprocess.run([sys.executable, "child.py"], check=True)
            print([name for name in os.environ if name.startswith("TOKENFLATION_")])
        """)
    )
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=folder, env={**os.environ, "URL": provider.url}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == "[]\n"
    assert placed(folder) == [("triage", "T-1", 0)]
