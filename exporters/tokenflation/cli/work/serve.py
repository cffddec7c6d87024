"""`tokenflation serve DB`: the report as a page that follows its store, on this machine alone."""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click
import uvicorn

from tokenflation.analysis.streams import as_path
from tokenflation.cli.options.plan import plan_in
from tokenflation.exporters.web import create_app
from tokenflation.sdk.errors import ExportError

__all__ = ["run"]

# Never another one: the page shows names of tasks, agents and tools, and asks nobody who they are.
_HOST = "127.0.0.1"
_STOP_S = 3
_TIDY = """
import contextlib, sqlite3, sys
with contextlib.suppress(BaseException), contextlib.closing(sqlite3.connect(sys.argv[1], uri=True, timeout=1)) as store:
    store.execute("select 1 from sqlite_master limit 1").fetchone()
"""
"""What opens a store and closes it again: the last that closes one removes SQLite's files beside it."""


def run(store: str, port: int, plan_file: str | None) -> None:
    """Do what `tokenflation serve` asks."""
    if plan_file is not None:
        # Before the port is taken: a plan that is none is refused at once.
        plan_in(plan_file)
    # uvicorn has its own handlers of signals, and raises those again that came once everything is closed.
    with _listening(port) as listening, _stopped_by_signals(store):
        click.echo(f"Reading {store} ...")
        app = create_app(store, plan_file=Path(plan_file) if plan_file is not None else None)
        click.echo(f"http://{_HOST}:{listening.getsockname()[1]}/ shows {store}; Ctrl-C stops.")
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=_STOP_S, lifespan="on"
        )
        server = _Server(config)
        server.run(sockets=[listening])
        if not server.started:
            sys.exit(1)  # uvicorn has said why
        _leave(store)


@contextlib.contextmanager
def _stopped_by_signals(store: str) -> Iterator[None]:
    """Leave when a signal asks for it; an exception of ours might be caught by what reads the store just then."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        _leave(store)

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(store: str) -> NoReturn:
    """End the process at once: nobody waits for a page that is being made, which may take a minute.

    A thread that comes back from DuckDB as the interpreter ends would abort the process, so all are left as they are;
    and what reads the store holds it open. So the process becomes one that closes it.
    """
    with contextlib.suppress(Exception):  # it may be just then that something else is written there
        click.echo("Stopped.")
        sys.stderr.flush()
    path = as_path(store)
    if isinstance(path, Path) and os.name == "posix" and path.with_name(f"{path.name}-wal").exists():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        with contextlib.suppress(OSError):
            os.execv(sys.executable, [sys.executable, "-S", "-c", _TIDY, f"{path.absolute().as_uri()}?mode=rw"])
    os._exit(0)


class _Server(uvicorn.Server):
    """A server that ends its streams of events first: nothing else would, and it waits for them."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.app.state.over.set()  # type: ignore[union-attr]  # our application, not a name of one
        await super().shutdown(sockets)


def _listening(port: int) -> socket.socket:
    """Return a socket bound to a port of this machine.

    Raises:
        ExportError: the port is taken, or not ours to take.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((_HOST, port))
        # Who comes while the store is being read waits, and is not refused.
        bound.listen(64)
    except OSError as error:
        bound.close()
        raise ExportError(
            f"Port {port} of {_HOST} cannot be used: {error.strerror}. Give another one: --port N, or --port 0 for any."
        ) from error
    return bound
