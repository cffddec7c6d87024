"""`tokenflation run`: runs a Python program as Python would, with the recorder on. Knows nothing of analysis."""

import atexit
import builtins
import contextlib
import importlib.util
import marshal
import os
import pkgutil
import runpy
import shlex
import signal
import sqlite3
import sys
import threading
import time
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from urllib.parse import quote, urlsplit

import click

import tokenflation.sdk as tf
from tokenflation.children import hand_on, told
from tokenflation.sdk.errors import TokenflationError
from tokenflation.sdk.store.paths import no_folder
from tokenflation.sdk.words import many
from tokenflation.startup import forget

__all__ = ["command"]

_OUR_FILES = (__file__, runpy.__file__, "<frozen runpy>")
_PYC_HEAD_BYTES = 16  # PEP 552


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--store",
    metavar="DB",
    help="Store to write to; made if absent.  [default: $TOKENFLATION_STORE, else tokenflation.db]",
)
@click.option(
    "--task",
    "kind",
    metavar="KIND",
    default="",
    help="Kind of the tasks that no scope names.  [default: the agent's name, or task- and a fingerprint]",
)
@click.option("-m", "as_module", is_flag=True, help="Run a module instead of a script.")
@click.option("--otlp", metavar="URL", help="Also send spans to this OTLP/HTTP traces endpoint.")
@click.option(
    "--children/--no-children",
    default=True,
    show_default=True,
    help="Record the Python programs that PROGRAM starts anew, too, where tokenflation is installed for them.",
)
@click.option("--quiet", is_flag=True, help="Say nothing at the end.")
@click.argument("program")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(store: str | None, kind: str, as_module: bool, otlp: str | None, children: bool, quiet: bool,
            program: str, arguments: tuple[str, ...]) -> None:  # fmt: skip
    """Run PROGRAM with its ARGUMENTS and record its model calls.

    PROGRAM is what Python takes: a script, a folder or zip file with a main module, or - for a script on standard
    input.

    Exits with the program's own code. Options come before PROGRAM; what follows it is the program's.
    """
    store = store or os.environ.get("TOKENFLATION_STORE") or "tokenflation.db"
    if program.startswith("-") and (as_module or program != "-"):
        raise click.UsageError(f"no such option: {program}. Options of tokenflation come first, then the program.")
    _check_here(store, program, as_module)
    if as_module:
        _check_module(program)
    elif program != "-":
        _check_script(program)
    _check_folder(store)
    since_ns = time.time_ns()
    forget(os.path.abspath(store))
    handle = tf.instrument(store, task=kind, span_exporter=_exporter(otlp), children=children)
    handle.held = True
    if children and otlp:
        hand_on({**told(), "otlp": otlp})
    # Not in a `finally` here: the program's threads go on after its main module ends, and Python waits for them first.
    interrupted = threading.Event()
    atexit.register(_end, handle, quiet, os.getpid(), interrupted, since_ns)
    try:
        if as_module:
            _run_module(program, arguments)
        else:
            _run_script(program, arguments)
    except SystemExit:
        raise
    except BaseException as error:  # as Python shows it: without the frames of what runs the program
        trace = _own_frames(error.__traceback__)
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        if isinstance(error, ModuleNotFoundError) and not quiet:
            _say(f"the program ran in {sys.prefix}; if its modules are in another place, install tokenflation there")
        if isinstance(error, KeyboardInterrupt):
            interrupted.set()  # not killed here: the program's threads and exit handlers come first
        sys.exit(1)


def _check_here(store: str, program: str, as_module: bool) -> None:
    if os.path.isabs(store) and not as_module and (program == "-" or os.path.isabs(program)):
        return
    try:
        os.getcwd()
    except OSError:
        raise TokenflationError(
            "the current folder does not exist any more. Go to one that does, or give the whole paths of store and program."
        ) from None


def _check_script(program: str) -> None:
    if os.path.isdir(program):
        if _main_of(program) is None:
            raise TokenflationError(f"{program!r} is a folder without a __main__.py to run; give the file to run.")
        return
    if not os.path.isfile(program):  # Path.is_file() raises in a folder that may not be read
        hint = f"use -m for a module: tokenflation run -m {program}"
        named = program.replace(".", "").isidentifier() and not program.endswith((".py", ".pyc", ".pyz"))
        raise TokenflationError(f"there is no file {program!r} to run; {hint if named else 'check the path'}.")
    if not os.access(program, os.R_OK):
        raise TokenflationError(f"{program!r} cannot be read: check the file's permissions.")


def _check_module(name: str) -> None:
    """Refuse a module that is nowhere before a store is made; and make the module path what Python makes it for -m."""
    _import_from(os.getcwd())
    if name.endswith(".py") and Path(name).is_file():
        raise TokenflationError(f"{name!r} is a file, not a module; leave out -m: tokenflation run {name}.")
    missing = _missing(name)
    if missing.endswith("__main__"):
        raise TokenflationError(f"{name!r} is a package and cannot be run: there is no module {missing!r}.")
    if missing:
        raise TokenflationError(
            f"there is no module {missing!r} to run; check its name, install it beside tokenflation in {sys.prefix}, or "
            "run from the folder that it lies in."
        )


def _missing(name: str) -> str:
    """Return the module that is not there of those that it takes to run this one; "" if none is known to be missing.

    Runs nothing: to import a package, so that it may say where the modules inside it are, is the program's to do.
    """
    outer, *inner = name.split(".")
    try:
        spec = importlib.util.find_spec(outer) if outer else None
    except ValueError:  # a module without a spec, as one that another program made: it is there
        return ""
    full = outer
    while spec is not None:
        places = spec.submodule_search_locations
        if not inner and places is None:
            return ""
        package, part = spec, inner.pop(0) if inner else "__main__"
        full = f"{full}.{part}"
        found = (finder.find_spec(full, places or ()) for finder in sys.meta_path if hasattr(finder, "find_spec"))
        spec = next(filter(None, found), None)
        if spec is None and _may_hide(package):
            return ""
        if part == "__main__":
            break
    return "" if spec is not None else full if outer else name


def _may_hide(package: ModuleSpec) -> bool:
    """Return whether a package may, once it is imported, have modules where none are found now."""
    text = None
    with contextlib.suppress(ImportError, AttributeError):  # its file is gone, or its loader knows no sources
        text = package.loader.get_source(package.name)  # type: ignore[union-attr]
    return text is None or any(word in text for word in ("__path__", "sys.modules", "sys.meta_path"))


def _check_folder(store: str) -> None:
    path = Path(store).absolute()
    if not path.parent.is_dir():
        raise TokenflationError(f"cannot write the store {store}: {no_folder(path)}")


def _exporter(url: str | None) -> object:
    if url is None:
        return None
    if not _is_web_address(url):
        raise TokenflationError(
            f"--otlp {url!r} is no URL to send spans to; give the whole one, as http://localhost:4318/v1/traces."
        )
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter  # noqa: F401  (a program that ran would lack it)

        from tokenflation.sdk.tracing.exporting import OtlpExporter
    except ImportError:
        from tokenflation.sdk.errors import MissingExtra

        raise MissingExtra("--otlp", "otlp") from None
    return OtlpExporter(url)


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that do not close
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _run_script(program: str, arguments: tuple[str, ...]) -> None:
    # A module of its own in the place of __main__, as `python program` makes it: pickling and `if __name__` need it.
    path = str(Path(program).absolute())
    _show_arguments(program, *arguments)
    sys.argv[:] = [program, *arguments]
    main = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins)
    sys.modules["__main__"] = main
    if program == "-":
        _import_from("")
        main.__dict__.update(__file__="<stdin>")
        exec(compile(_standard_input(), "<stdin>", "exec", dont_inherit=True), main.__dict__)  # noqa: S102  (likewise)
        return
    _import_from(str(Path(path).resolve().parent))  # a link to a script imports what lies beside the script
    main.__dict__.update(__file__=path)
    packed = _main_of(program)
    if packed is not None:
        _import_from(_whole(program), packed=True)
        main.__dict__.update(
            __file__=packed.origin, __loader__=packed.loader, __spec__=packed, __package__=packed.parent
        )
        if sys.version_info < (3, 15):  # which sets it no more
            main.__dict__.update(__cached__=packed.cached)
        code = packed.loader.get_code("__main__")  # type: ignore[union-attr]
    else:
        with open(path, "rb") as file:
            code = _code_of(file.read(), path)
    exec(code, main.__dict__)  # noqa: S102  (what the user asked to run)


def _import_from(place: str, *, packed: bool = False) -> None:
    """Let the program's own place lead the module path, as Python does; where that adds none (-P), a folder or zip."""
    if not sys.flags.safe_path:
        sys.path[0] = place
    elif packed:
        sys.path.insert(0, place)


def _show_arguments(*arguments: str) -> None:
    """Show what Python was begun with as if it had begun the program: by that some begin themselves anew (a pex)."""
    ours = len(sys.orig_argv) - len(sys.argv) + 1
    if sys.orig_argv[ours:] != sys.argv[1:]:
        return  # begun by something of the user's own
    options = sys.orig_argv[1:ours]
    del options[-2 if options[-2:-1] in (["-m"], ["-c"]) else -1 :]
    sys.orig_argv[1:] = [*options, *arguments]


def _standard_input() -> bytes:
    return b"" if sys.stdin is None else sys.stdin.buffer.read()


def _code_of(content: bytes, path: str) -> types.CodeType:
    """Return the code of a script, or of what Python compiled before."""
    is_compiled = content.startswith(importlib.util.MAGIC_NUMBER)
    if path.endswith(".pyc") and not is_compiled:
        raise RuntimeError("Bad magic number in .pyc file")  # in Python's own words
    if not is_compiled:
        return compile(content, path, "exec", dont_inherit=True)
    code = marshal.loads(content[_PYC_HEAD_BYTES:])
    if not isinstance(code, types.CodeType):
        raise RuntimeError("Bad code object in .pyc file")  # noqa: TRY004  (likewise)
    return code


def _main_of(program: str) -> ModuleSpec | None:
    """Return what Python runs of a folder or a zip file (a zipapp), None for any other file."""
    importer = pkgutil.get_importer(_whole(program))
    spec = importer.find_spec("__main__") if importer is not None else None
    return spec if spec is not None and spec.loader is not None else None


def _whole(program: str) -> str:
    """Return a path as Python makes it whole; the current folder may be gone if it is whole already."""
    return program if os.path.isabs(program) else os.path.join(os.getcwd(), program)


def _run_module(name: str, arguments: tuple[str, ...]) -> None:
    _show_arguments("-m", name, *arguments)
    sys.argv[:] = [name, *arguments]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _own_frames(trace: types.TracebackType | None) -> types.TracebackType | None:
    at = trace
    while at is not None and at.tb_frame.f_code.co_filename in _OUR_FILES:
        at = at.tb_next
    return at  # None: it never came to run, a syntax error for one


def _end(handle: tf.Instrumentation, quiet: bool, process_id: int, interrupted: threading.Event, since_ns: int) -> None:
    handle.held = False
    handle.close()
    if os.getpid() != process_id:
        return  # a forked child inherits the exit handlers; the parent alone sums up
    if not quiet:
        _sum_up(handle, since_ns)
    if interrupted.is_set():  # die as Python does, so that a shell's loop stops too
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(process_id, signal.SIGINT)


def _sum_up(handle: tf.Instrumentation, since_ns: int) -> None:
    lost = sum(handle.drops.values())
    all_calls, silent = _calls_since(handle.store, since_ns)
    others = max(0, all_calls - handle.recorded)
    beside = f", and {others} by programs that it started, or that write there too" if others else ""
    _say(f"{many(handle.recorded, 'call')} recorded to {_short(handle.store)}{beside}")
    if silent:
        _say(
            f"{silent} of them, streamed, came without token counts: OpenAI's Chat Completions sends them "
            'only to who passes stream_options={"include_usage": True}'
        )
    if lost:
        _say(f"LOST {many(lost, 'record')}; tokenflation info {_quoted(handle.store)} says why")
    elif not handle.recorded and not others:
        _say(
            "this process made no model call through httpx, httpx2, aiohttp, urllib3 (and so requests and boto3), "
            "http.client (and so urllib.request), lm15 or websockets"
        )
    else:
        _say(f"next, tokenflation profile {_quoted(handle.store)}")


def _say(what: str) -> None:
    """Write a line past standard error's buffer: Python exits with 120 where it cannot write what is left there."""
    stream = sys.__stderr__
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError):  # it is full, or closed
        stream.flush()
        os.write(stream.fileno(), f"tokenflation: {what}\n".encode(stream.encoding, "backslashreplace"))


def _calls_since(store: str, since_ns: int) -> tuple[int, int]:
    """Return how many calls began since then, and how many of them are whole streamed chat calls without token counts.

    Zeros where the store cannot say.
    """
    asked = (
        "SELECT count(*), count(*) FILTER (WHERE stream AND status = 'ok' AND usage_source = 'absent' "
        "AND api = 'openai.chat') FROM calls WHERE started_at_ns >= ?"
    )
    try:
        # Not read-only: then the last that closes a store would leave its -wal and -shm beside it.
        uri = f"file:{quote(os.fsencode(store))}?mode=rw"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=1.0)) as connection:
            all_calls, silent = connection.execute(asked, (since_ns,)).fetchone()
            return int(all_calls), int(silent)
    except sqlite3.Error:
        return 0, 0


def _quoted(path: str) -> str:
    """Return a path as a shell takes it."""
    return shlex.quote(_short(path))


def _short(path: str) -> str:
    with contextlib.suppress(OSError):  # the program may have removed the folder that it ended in
        return min(path, os.path.relpath(path), key=len)
    return path
