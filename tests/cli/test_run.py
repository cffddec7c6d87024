"""`tokenflation run` runs a program as Python does: same output, same exit, same view of itself."""

import os
import py_compile
import shlex
import shutil
import signal
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest
from tests.providers import Provider
from tests.stored import rows

_RUN = "from tokenflation.cli import main; main()"


def as_python(folder: Path, program: str, *, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program with Python itself."""
    command = [sys.executable, program]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, input=given)


def as_recorded(
    folder: Path, program: str, *options: str, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program with the recorder on."""
    command = [sys.executable, "-c", _RUN, "run", *(options or ("--quiet",)), program]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, input=given)


@pytest.mark.parametrize(
    "program",
    [
        "print(__builtins__.len([1]), __name__, __package__, __spec__, __doc__)",
        "import sys; print(sys.orig_argv, sys.argv)",
        "x = = 1\n",
        "class Stop(BaseException): pass\nraise Stop('now')\n",
        "def f(): raise ValueError('x')\ntry: 1 / 0\nexcept ZeroDivisionError: f()\n",
        "import sys; sys.exit('message')",
        "import sys; sys.exit(True)",
        "import threading, sys; threading.Thread(target=lambda: sys.exit(3)).start()",
        "import atexit, os, signal, time\natexit.register(print, 'handler')\n\
try:\n  os.kill(os.getpid(), signal.SIGINT); time.sleep(5)\nfinally:\n  print('finally')\n",
    ],
    ids=["names", "arguments", "syntax", "base-exception", "exception", "message", "true", "thread", "interrupt"],
)
def test_a_program_prints_and_exits_as_under_python(tmp_path: Path, program: str) -> None:
    (tmp_path / "program.py").write_text(program)
    plain, recorded = as_python(tmp_path, "program.py"), as_recorded(tmp_path, "program.py")
    assert recorded.stdout == plain.stdout
    assert recorded.stderr == plain.stderr
    assert recorded.returncode == plain.returncode


@pytest.mark.parametrize("program", ["folder", "folder/", "app.pyz"])
def test_a_folder_or_a_zip_with_a_main_module_runs_as_under_python(tmp_path: Path, program: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "beside.py").write_text("NAME = 'beside'\n")
    (tmp_path / "folder" / "__main__.py").write_text(
        "import sys, beside\nprint(__name__, __file__, repr(__package__), __spec__.name, sys.argv, sys.path[0], __doc__)\n"
        "print(type(__loader__), globals().get('__cached__'), sys.modules['__main__'].__dict__ is globals())\nbeside.nothing\n"
    )
    zipapp.create_archive(tmp_path / "folder", tmp_path / "app.pyz")
    plain, recorded = as_python(tmp_path, program), as_recorded(tmp_path, program)
    assert "__main__ " in plain.stdout
    assert (recorded.stdout, recorded.returncode) == (plain.stdout, plain.returncode)
    shown = [line for line in plain.stderr.splitlines() if "<frozen runpy>" not in line]
    assert recorded.stderr.splitlines() == shown


@pytest.mark.parametrize(
    "what", [["program.py"], ["-m", "program"], ["folder"], ["-"]], ids=["script", "module", "folder", "input"]
)
def test_a_program_finds_its_modules_as_under_python_that_adds_no_folder_by_itself(
    tmp_path: Path, what: list[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "given").mkdir()
    for place in ("program.py", "folder/__main__.py", "given/program.py"):
        (tmp_path / place).write_text("import sys; print(sys.path)")
    told = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": str(tmp_path / "given")}
    given = "import sys; print(sys.path)"
    commands = ([], ["-c", _RUN, "run", "--quiet", "--no-children"])
    plain, recorded = (
        subprocess.run(
            [sys.executable, *begun, *what],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            input=given,
            env=told,
        )
        for begun in commands
    )
    assert plain.stdout
    assert (recorded.stdout, recorded.returncode) == (plain.stdout, plain.returncode)


def test_a_script_on_standard_input_and_a_compiled_one_run_as_under_python(tmp_path: Path) -> None:
    text = "import sys\nprint(__name__, globals().get('__file__'), __spec__, sys.argv, repr(sys.stdin.read()))\n1 / 0\n"
    (tmp_path / "program.py").write_text(text)
    py_compile.compile(str(tmp_path / "program.py"), cfile=str(tmp_path / "program.pyc"), doraise=True)
    shutil.copy(tmp_path / "program.pyc", tmp_path / "without-a-name")
    (tmp_path / "old.pyc").write_bytes(b"\x16\r\r\n" + bytes(20))
    for program in ("-", "program.pyc", "without-a-name", "old.pyc"):
        plain, recorded = (run(tmp_path, program, given=text) for run in (as_python, as_recorded))
        assert (recorded.stdout, recorded.stderr) == (plain.stdout, plain.stderr)
        assert recorded.returncode == plain.returncode == 1


def test_a_script_on_standard_input_imports_from_the_working_folder_and_is_recorded(
    tmp_path: Path, provider: Provider
) -> None:
    (tmp_path / "beside.py").write_text(f"URL = {provider.openai_url!r}\n")
    text = (
        "import beside, openai\nclient = openai.OpenAI(base_url=beside.URL, api_key='k')\n"
        "client.chat.completions.create(model='m', messages=[{'role': 'user', 'content': 'hi'}])\n"
    )
    assert "1 call recorded to runs.db" in as_recorded(tmp_path, "-", "--store", "runs.db", given=text).stderr


def test_a_program_that_lacks_a_module_is_told_in_which_environment_it_ran(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import nowhere_installed")
    told = as_recorded(tmp_path, "program.py", "--store", "runs.db")
    assert told.returncode == 1
    assert "ModuleNotFoundError: No module named 'nowhere_installed'\n" in told.stderr
    assert f"tokenflation: the program ran in {sys.prefix}; " in told.stderr


def test_a_program_without_model_calls_is_told_which_clients_are_seen(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("")
    said = as_recorded(tmp_path, "program.py", "--store", "runs.db").stderr
    assert "0 calls recorded to runs.db" in said
    for library in ("httpx2", "aiohttp", "requests", "boto3", "websockets"):
        assert library in said.partition("no model call through ")[2]


def test_a_run_leaves_one_file_of_its_store_and_its_key(tmp_path: Path, provider: Provider) -> None:
    (tmp_path / "program.py").write_text(
        f"import openai\nclient = openai.OpenAI(base_url={provider.openai_url!r}, api_key='k')\n"
        "client.chat.completions.create(model='m', messages=[{'role': 'user', 'content': 'hi'}])\n"
    )
    said = as_recorded(tmp_path, "program.py", "--store", "runs.db").stderr
    assert "1 call recorded to runs.db" in said
    assert sorted(path.name for path in tmp_path.glob("runs.db*")) == ["runs.db", "runs.db.key"]


def test_a_store_whose_name_is_no_utf_8_is_summed_up(tmp_path: Path, provider: Provider) -> None:
    (tmp_path / "program.py").write_text(
        f"import openai\nclient = openai.OpenAI(base_url={provider.openai_url!r}, api_key='k')\n"
        "client.chat.completions.create(model='m', messages=[{'role': 'user', 'content': 'hi'}])\n"
    )
    ran = as_recorded(tmp_path, "program.py", "--store", "runs\udcff.db")
    assert "1 call recorded to runs" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_command_that_a_run_suggests_can_be_typed_as_it_stands(tmp_path: Path, provider: Provider) -> None:
    (tmp_path / "program.py").write_text(
        f"import openai\nclient = openai.OpenAI(base_url={provider.openai_url!r}, api_key='k')\n"
        "client.chat.completions.create(model='m', messages=[{'role': 'user', 'content': 'hi'}])\n"
    )
    said = as_recorded(tmp_path, "program.py", "--store", "my runs & more.db").stderr
    assert shlex.split(said.partition("next, ")[2]) == ["tokenflation", "profile", "my runs & more.db"]


def test_all_calls_of_a_run_go_to_its_store_also_after_a_recorder_of_the_programs_own(
    tmp_path: Path, provider: Provider
) -> None:
    (tmp_path / "program.py").write_text(
        "import sqlite3, openai, tokenflation.sdk as tf\n"
        f"client = openai.OpenAI(base_url={provider.openai_url!r}, api_key='k')\n"
        "def call():\n"
        "    client.chat.completions.create(model='m', messages=[{'role': 'user', 'content': 'hi'}])\n"
        "for name in ('own.db', 'other.db'):\n"
        "    with tf.instrument(name, task=name) as handle:\n"
        "        call()\n"
        "    rows = sqlite3.connect(handle.store).execute('select count(*) from calls').fetchone()\n"
        "    print(handle.store, rows[0])\n"
        "call()\n"
    )
    recorded = as_recorded(tmp_path, "program.py", "--store", "runs.db")
    assert recorded.stdout.splitlines() == [f"{tmp_path}/runs.db 1", f"{tmp_path}/runs.db 2"]
    assert "3 calls recorded to runs.db" in recorded.stderr
    assert "changes nothing under `tokenflation run`" in recorded.stderr
    assert sorted(path.name for path in tmp_path.glob("*.db*")) == ["runs.db", "runs.db.key"]


@pytest.mark.parametrize(
    ("given", "said"),
    [("", "instrument(task='triage') changes nothing"), ("triage", ""), ("other", "instrument(task='triage')")],
)
def test_a_name_of_tasks_that_the_program_gives_under_run_is_not_passed_over_without_a_word(
    given: str, said: str, tmp_path: Path, provider: Provider
) -> None:
    (tmp_path / "program.py").write_text(
        "import openai, tokenflation.sdk as tf\ntf.instrument('runs.db', task='triage')\n"
        f"client = openai.OpenAI(base_url={provider.openai_url!r}, api_key='k')\n"
        "client.chat.completions.create(model='m', messages=[{'role': 'user', 'content': 'hi'}])\n"
    )
    options = ["--store", "runs.db", *(["--task", given] if given else [])]
    recorded = as_recorded(tmp_path, "program.py", *options)
    assert ("already recording" in recorded.stderr, said in recorded.stderr) == (bool(said), True)
    assert [row["task"].startswith(given or "task-") for row in rows(tmp_path / "runs.db")] == [True]


def test_streamed_calls_that_nobody_asked_for_their_usage_are_named_at_the_end(
    tmp_path: Path, provider: Provider
) -> None:
    (tmp_path / "program.py").write_text(
        f"""
import openai
client = openai.OpenAI(base_url="{provider.url}", api_key="x")
asked = {{"model": "m", "messages": [{{"role": "user", "content": "hi"}}]}}
client.chat.completions.create(**asked)
for options in ({{}}, {{}}, {{"stream_options": {{"include_usage": True}}}}):
    list(client.chat.completions.create(**asked, **options, stream=True))
"""
    )
    said = as_recorded(tmp_path, "program.py", "--store", "runs.db").stderr
    assert "4 calls recorded to runs.db" in said
    assert "2 of them, streamed, came without token counts" in said
    (tmp_path / "program.py").write_text("")
    assert "streamed" not in as_recorded(tmp_path, "program.py", "--store", "runs.db").stderr


def test_an_interrupted_program_dies_by_the_signal_after_its_exit_handlers(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import atexit\natexit.register(print, 'handler')\nraise KeyboardInterrupt\n", encoding="utf-8"
    )
    done = as_recorded(tmp_path, "program.py", "--store", "runs.db")
    assert done.returncode == -signal.SIGINT
    assert done.stdout == "handler\n"
    assert "0 calls recorded" in done.stderr


def test_a_linked_script_imports_what_lies_beside_the_script(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "beside.py").write_text("")
    (tmp_path / "real" / "program.py").write_text("import beside\nprint('found')\n")
    (tmp_path / "link.py").symlink_to(tmp_path / "real" / "program.py")
    assert as_recorded(tmp_path, "link.py").stdout == "found\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_does_not_sum_up_again(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\n")
    assert as_recorded(tmp_path, "program.py", "--store", "runs.db").stderr.count("calls recorded") == 1


def test_a_misspelt_option_is_named_as_one(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from tokenflation.cli import main; main()", "run", "--stroe", "x.db", "a.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "no such option: --stroe" in done.stderr


@pytest.mark.parametrize(
    ("options", "program", "said"),
    [
        (("-m",), "nowhere", "there is no module 'nowhere' to run"),
        (("-m",), ".relative", "there is no module '.relative' to run"),
        (("-m",), "nowhere.inner", "there is no module 'nowhere' to run"),
        (("-m",), "program.inner", "there is no module 'program.inner' to run"),
        (("-m",), "email.nowhere", "there is no module 'email.nowhere' to run"),
        (("-m",), "email.mime", "'email.mime' is a package and cannot be run"),
        ((), ".", "'.' is a folder without a __main__.py to run"),
        (("-m",), "program.py", "leave out -m: tokenflation run program.py"),
        (("--otlp", "localhost:4318"), "program.py", "--otlp 'localhost:4318' is no URL"),
        (("--otlp", "http://[::1"), "program.py", "--otlp 'http://[::1' is no URL"),
        (("--store", "postgresql://u@h/db"), "program.py", "a database can only be read"),
        (("--store", "sqlite:///runs.db"), "program.py", "give its path alone, without `sqlite:///`"),
    ],
)
def test_what_cannot_be_run_leaves_no_store_behind(
    tmp_path: Path, options: tuple[str, ...], program: str, said: str
) -> None:
    (tmp_path / "program.py").write_text("print('ran')")
    done = as_recorded(tmp_path, program, "--store", "runs.db", *options)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["program.py"]


def test_a_module_of_the_working_folder_runs_with_its_arguments(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "inner.py").write_text("import sys\nprint(__name__, sys.argv[1:], sys.orig_argv[-2:])")
    done = as_recorded(tmp_path, "package.inner", "--quiet", "-m")
    assert (done.stdout, done.stderr) == ("__main__ [] ['-m', 'package.inner']\n", "")


@pytest.mark.parametrize("name", ["package", "package.inner", "space.inner", "package.hidden", "json.tool"])
def test_a_module_that_python_runs_is_run(tmp_path: Path, name: str) -> None:
    for file, text in (
        ("package/__init__.py", "__path__.append('elsewhere')"),
        ("package/__main__.py", "print('ran')"),
        ("package/inner.py", "print('ran')"),
        ("elsewhere/hidden.py", "print('ran')"),
        ("space/inner.py", "print('ran')"),
    ):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    command = [sys.executable, "-m", name]
    plain = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, input="[1]")
    done = as_recorded(tmp_path, name, "--quiet", "-m", given="[1]")
    assert (done.returncode, done.stdout, done.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    assert done.stdout


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_program_that_may_not_be_read_leaves_no_store_behind(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("print('ran')")
    (tmp_path / "program.py").chmod(0)
    done = as_recorded(tmp_path, "program.py", "--store", "runs.db")
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot be read" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["program.py"]


def _from_a_removed_folder(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # From a file, as the command: with -c CPython 3.13.0 to 3.13.2 fail there at imports, of openai too.
    command_file = tmp_path / "command.py"
    command_file.write_text(f"import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone'); {_RUN}")
    command = [sys.executable, str(command_file), "run", *arguments]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)


def test_a_program_that_removes_the_folder_it_works_in_is_summed_up(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import os; os.mkdir('w'); os.chdir('w'); os.rmdir('../w')")
    done = as_recorded(tmp_path, "program.py", "--store", "runs.db")
    assert f"0 calls recorded to {tmp_path / 'runs.db'}\n" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_program_and_a_store_with_whole_paths_need_no_current_folder(tmp_path: Path) -> None:
    program, store = tmp_path / "program.py", tmp_path / "runs.db"
    program.write_text("print(__file__)")
    done = _from_a_removed_folder(tmp_path, "--quiet", "--store", str(store), str(program))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{program}\n", "")
    assert store.exists()


@pytest.mark.parametrize("what", [("program.py",), ("-m", "json.tool"), ("--store", "runs.db", "{}/program.py")])
def test_what_needs_a_current_folder_that_is_gone_is_said(tmp_path: Path, what: tuple[str, ...]) -> None:
    (tmp_path / "program.py").write_text("print('ran')")
    done = _from_a_removed_folder(tmp_path, *(part.format(tmp_path) for part in what))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("tokenflation: the current folder does not exist any more.")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no file that is always full")
def test_a_program_keeps_its_exit_code_where_standard_error_is_full(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("raise SystemExit(3)")
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", _RUN, "run", "program.py"], cwd=tmp_path, stderr=full, check=False)
    assert done.returncode == 3
