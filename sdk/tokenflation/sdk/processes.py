"""Carries the open scope into other processes of Python: the work of pools, `multiprocessing` and `subprocess`.

A forked process inherits the scope by itself; a pool's must not, as it serves many scopes: each piece of work brings its
own. What a program that is started anew runs inside of stands in its environment, if such programs are recorded.
"""

import functools
import json
import os
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from tokenflation.children import CHILDREN, SCOPE
from tokenflation.sdk import scopes
from tokenflation.sdk.hooks.patching import Layer, cover, uncover, when_imported
from tokenflation.sdk.interrupts import let_through
from tokenflation.sdk.threads import within

__all__ = ["carry_scopes_to_processes", "stand_inside"]

_EXECUTORS = ("concurrent.futures.process", "joblib.externals.loky.process_executor", "loky.process_executor")
_POOLS = (*_EXECUTORS, "multiprocessing.pool")
_BEFORE_ENV = 10
"""Arguments of `Popen` before its `env`."""
_MAX_CHARS = 32_000
"""An operating system refuses long variables."""
_Packed = list[dict[str, Any]]


def carry_scopes_to_processes() -> Callable[[], None]:
    """Make processes and their pools start their work inside the scope that started it; return what undoes it."""
    layers: list[Layer] = []
    live = True

    def covering(*names: str, by: Callable[[Any], Any], of: str) -> Callable[[ModuleType], None]:
        def patch(module: ModuleType) -> None:
            owner = getattr(module, of)
            for name in names if live else ():
                if callable(owner.__dict__.get(name)):
                    layers.append(cover(owner, name, by))

        return patch

    def undo() -> None:
        nonlocal live
        live = False
        while layers:
            uncover(layers.pop())

    for module, patch in (
        ("subprocess", covering("__init__", by=_popen_shell, of="Popen")),
        ("multiprocessing.process", covering("start", by=_start_shell, of="BaseProcess")),
        *((name, covering("submit", by=_work_shell, of="ProcessPoolExecutor")) for name in _EXECUTORS),
        (
            "multiprocessing.pool",
            covering("apply_async", "_map_async", "imap", "imap_unordered", by=_work_shell, of="Pool"),
        ),
    ):
        when_imported(module, patch, wanted=lambda: live)
    return undo


def stand_inside() -> Callable[[], None]:
    """Let this process run inside the scope that its environment names, if any; return what ends it."""
    told = os.environ.get(SCOPE)
    scopes.root_in(json.loads(told) if told else [])
    return lambda: scopes.root_in([])


class _Work:
    """A piece of work that runs inside a scope in the process that does it."""

    def __init__(self, chain: _Packed, function: Callable[..., Any]) -> None:
        self.chain = chain
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with scopes.inside(scopes.unpacked(self.chain)):
            return self.function(*args, **kwargs)


class _Run:
    """The `run` of a process that is started anew: its own, inside a scope."""

    def __init__(self, chain: _Packed, process: Any) -> None:
        self.chain = chain
        self.process = process

    def __call__(self) -> None:
        with scopes.inside(scopes.unpacked(self.chain)):
            type(self.process).run(self.process)


def _packed() -> _Packed | None:
    try:
        scope = scopes.current()
        return scopes.packed(scope) if scope is not None and _is_ours() else None
    except Exception as error:  # the host's process must start, whatever is wrong with us
        let_through(error)
        return None


def _is_ours() -> bool:
    """Return whether processes that are started anew are this interpreter, which has our modules too."""
    spawn = sys.modules.get("multiprocessing.spawn")
    return spawn is None or os.fsdecode(spawn.get_executable() or sys.executable) == sys.executable


def _work_shell(original: Any) -> Any:
    @functools.wraps(original)
    def submit(this: Any, /, *args: Any, **kwargs: Any) -> Any:
        if args and callable(args[0]):
            args = (_carried(this, args[0]), *args[1:])
        elif callable(kwargs.get("func")):
            kwargs["func"] = _carried(this, kwargs["func"])
        return original(this, *args, **kwargs)

    return submit


def _carried(pool: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    threads = sys.modules.get("multiprocessing.pool")
    if threads is not None and isinstance(pool, threads.ThreadPool):
        return within(function)
    chain = _packed()
    return _Work(chain, function) if chain is not None else function


def _start_shell(original: Any) -> Any:
    @functools.wraps(original)
    def start(this: Any) -> Any:
        if scopes.current() is None:
            return original(this)
        if getattr(getattr(this, "_target", None), "__module__", "") in _POOLS:
            with scopes.inside(None):
                return original(this)
        chain = _packed() if "run" not in this.__dict__ and not _forks(this) else None
        if chain is None:
            return original(this)
        this.__dict__["run"] = _Run(chain, this)
        try:
            return original(this)
        finally:
            this.__dict__.pop("run", None)

    return start


def _forks(process: Any) -> bool:
    method = getattr(process, "_start_method", None)
    return bool((method or sys.modules["multiprocessing"].get_start_method()) == "fork")


def _popen_shell(original: Any) -> Any:
    @functools.wraps(original)
    def init(this: Any, *args: Any, **kwargs: Any) -> None:
        if scopes.current() is not None and len(args) <= _BEFORE_ENV:
            kwargs = _told(kwargs)
        original(this, *args, **kwargs)

    return init


def _told(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a `Popen` with the open scope in its environment, if that says how to record."""
    given = kwargs.get("env")
    around: Mapping[str, str] = os.environ if given is None else given
    try:
        chain = _packed() if isinstance(around, Mapping) and CHILDREN in around else None
        scope = json.dumps(chain) if chain is not None else ""
    except Exception as error:  # the host's program must start, whatever is wrong with us
        let_through(error)
        return kwargs
    return {**kwargs, "env": {**around, SCOPE: scope}} if 0 < len(scope) <= _MAX_CHARS else kwargs
