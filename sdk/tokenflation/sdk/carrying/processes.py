"""Carries the open scope into other processes of Python: the work of pools, `multiprocessing` and `subprocess`.

A forked process inherits the scope by itself; a pool's must not, as it serves many scopes: each piece of work brings
its own. What a program that is started anew runs inside of stands in its environment, if such programs are recorded.
A process of `multiprocessing` that is no fork is told to record, too, and so are Ray's workers.
"""

import functools
import inspect
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from tokenflation.children import CHILDREN, SCOPE
from tokenflation.sdk.carrying.threads import within
from tokenflation.sdk.hooks.patching import Layers
from tokenflation.sdk.interrupts import let_through
from tokenflation.sdk.scoping import scopes
from tokenflation.startup import Started

__all__ = ["carry_scopes_to_processes", "say_if_unheard", "stand_inside"]

_EXECUTORS = ("concurrent.futures.process", "joblib.externals.loky.process_executor", "loky.process_executor")
_POOLS = ("multiprocessing.pool", "multiprocess.pool")
_PROCESSES = ("multiprocessing.process", "multiprocess.process", "billiard.process")
_SERVING = frozenset(
    (
        *_EXECUTORS,
        *_POOLS,
        "billiard.pool",
        "distributed.process",
        "mpire.worker",
        "multiprocess.managers",
        "multiprocessing.managers",
        "pebble.pool.process",
        "torch.multiprocessing.pool",
    )
)
"""Where the processes are defined that serve many scopes, one after another: they stand in none."""
_NOWHERE = scopes.Scope("task", "none")
_NOWHERE.ended_at_ns = 0
"""What has ended is no scope to stand in, and around it is none: not even the one that this whole process runs inside
of.
"""
if hasattr(os, "register_at_fork"):
    # Its threads begin with an empty context, where that scope would hold.
    os.register_at_fork(after_in_child=lambda: scopes.root_in([]) if scopes.current() is None else None)
_ENV_OF_POPEN, _ENV_OF_OS = 11, 2
"""How many arguments stand before `env`, the instance included."""
_CHAIN = "_tokenflation_chain"
"""Set on a job of ppft: the scope that handed it in; on its worker once that has done one."""
_CALLED = "_tokenflation_called"
"""Set on what joblib calls when a batch is done: how it goes on inside the scope that handed that batch in."""
_MAX_CHARS = 32_000
"""An operating system refuses long variables."""
_HEARD_BY = "tokenflation-children.pth"
"""The file by which Python begins to record as it starts."""
_UNHEARD = (
    "%s are not recorded: tokenflation is in a folder of PYTHONPATH or in a "
    f"packed program, and Python reads {_HEARD_BY} in the site-packages of its environment only. Install tokenflation "
    "there%s."
)
_PROGRAMS = "Programs of Python that this one starts anew"
_LEAVE_OUT = ", or leave out children=True (of `tokenflation run`: --no-children)"
_Packed = list[dict[str, Any]]
_log = logging.getLogger("tokenflation")


def say_if_unheard(who: str = _PROGRAMS, otherwise: str = _LEAVE_OUT) -> None:
    """Log it if programs that are started anew will not begin to record, as none of Python's own folders has our file.

    Those of PYTHONPATH and the program's own are searched for modules alone, and a frozen program reads no such file.
    """
    others = {os.path.abspath(one) for one in (*os.environ.get("PYTHONPATH", "").split(os.pathsep), sys.path[0])}
    folders = [one for one in sys.path if os.path.abspath(one) not in others]
    if hasattr(sys, "frozen") or not any(os.path.isfile(os.path.join(one, _HEARD_BY)) for one in folders):
        _log.warning(_UNHEARD, who, otherwise)


def carry_scopes_to_processes(told: dict[str, Any]) -> Callable[[], None]:
    """Make processes and their pools start their work inside the scope that started it; return what undoes it.

    Those of `multiprocessing` record by these arguments of `instrument()`, however they start.
    """
    layers = Layers()

    def covering(*names: str, by: Callable[[Any], Any], of: str = "") -> Callable[[ModuleType], None]:
        def patch(module: ModuleType) -> None:
            owner: Any = getattr(module, of) if of else module
            for name in names:
                if callable(owner.__dict__.get(name)):
                    layers.cover(owner, name, by)

        return patch

    asked = ("apply_async", "_map_async", "imap", "imap_unordered")
    for module, patch in (
        ("subprocess", covering("__init__", by=_telling(_ENV_OF_POPEN), of="Popen")),
        ("os", covering("execve", "posix_spawn", "posix_spawnp", by=_telling(_ENV_OF_OS))),
        ("os", covering("execv", by=_execv_shell)),
        ("ray._private.services", covering("start_ray_process", by=_ray_shell(told))),
        ("anyio.to_process", covering("run_sync", by=_awaited_shell(0))),
        ("trio_parallel._impl", covering("run_sync", by=_awaited_shell(1), of="WorkerContext")),
        ("aiomultiprocess.pool", covering("create_worker", by=_nowhere_shell, of="Pool")),
        ("aiomultiprocess.pool", covering("queue_work", by=_queued_shell, of="Pool")),
        ("ppft._pp", covering("start", by=_nowhere_shell, of="_Worker")),
        ("ppft._pp", covering("__init__", by=_job_shell, of="_Task")),
        ("ppft._pp", covering("_run_local", by=_job_run_shell, of="Server")),
        ("joblib.parallel", covering("__init__", by=_batch_shell, of="BatchCompletionCallBack")),
        ("joblib.parallel", covering("__call__", by=_batch_done_shell, of="BatchCompletionCallBack")),
        *((name, covering("start", by=_start_shell(told), of="BaseProcess")) for name in _PROCESSES),
        *((name, covering("submit", by=_work_shell, of="ProcessPoolExecutor")) for name in _EXECUTORS),
        *((name, covering(*asked, by=_work_shell, of="Pool")) for name in _POOLS),
    ):
        layers.when_imported(module, patch)
    return layers.undo


def stand_inside() -> Callable[[], None]:
    """Let this process run inside the scope that its environment names, if any; return what ends it.

    It is taken out of the environment: what is started from here may stand in another scope, and is told by each start.
    """
    told = os.environ.pop(SCOPE, None)
    if told:
        scopes.root_in(json.loads(told))

    def end() -> None:
        scopes.root_in([])
        if told:
            os.environ.setdefault(SCOPE, told)

    return end


class _Work:
    """A piece of work that runs inside a scope in the process that does it."""

    def __init__(self, chain: _Packed, function: Callable[..., Any]) -> None:
        self.chain = chain
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with scopes.inside(scopes.unpacked(self.chain)):
            return self.function(*args, **kwargs)


class _AsyncWork(_Work):
    """The same of a coroutine function."""

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with scopes.inside(scopes.unpacked(self.chain)):
            return await self.function(*args, **kwargs)


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
    spawns = [one for package in ("multiprocessing", "multiprocess") if (one := sys.modules.get(f"{package}.spawn"))]
    return all(os.fsdecode(one.get_executable() or sys.executable) == sys.executable for one in spawns)


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
    if any(isinstance(pool, one.ThreadPool) for name in _POOLS if (one := sys.modules.get(name)) is not None):
        return within(function)
    chain = _packed()
    return _Work(chain, function) if chain is not None else function


def _batch_shell(original: Any) -> Any:
    @functools.wraps(original)
    def make(this: Any, *args: Any, **kwargs: Any) -> None:
        original(this, *args, **kwargs)
        setattr(this, _CALLED, within(_called))

    return make


def _batch_done_shell(original: Any) -> Any:
    """Return what hands a pool of joblib's the next batch: in a thread of that pool, which serves many scopes."""

    @functools.wraps(original)
    def done(this: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(this, _CALLED, _called)(original, this, *args, **kwargs)

    return done


def _called(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def _queued_shell(original: Any) -> Any:
    @functools.wraps(original)
    def queue(this: Any, func: Any, *args: Any, **kwargs: Any) -> Any:
        chain = _packed()
        return original(this, _AsyncWork(chain, func) if chain is not None else func, *args, **kwargs)

    return queue


class _Arguments:
    """The packed arguments of a job of ppft: unpacked by the process that does it, they put that into a scope."""

    def __init__(self, chain: _Packed, loads: Callable[[bytes], Any], packed: bytes) -> None:
        self.parts = chain, loads, packed

    def __reduce__(self) -> Any:
        return _unpacked, self.parts


def _unpacked(chain: _Packed, loads: Callable[[bytes], Any], packed: bytes) -> Any:
    scopes.root_in(chain)
    return loads(packed)


def _job_shell(original: Any) -> Any:
    @functools.wraps(original)
    def make(this: Any, *args: Any, **kwargs: Any) -> Any:
        original(this, *args, **kwargs)
        setattr(this, _CHAIN, _packed())

    return make


def _job_run_shell(original: Any) -> Any:
    """Return what gives a job to a process: in a thread that serves many; a function goes there as its source."""

    @functools.wraps(original)
    def run(this: Any, *args: Any, **kwargs: Any) -> Any:
        return original(this, *(_with_scope(*args) if len(args) == 4 else args), **kwargs)

    return run


def _with_scope(job: Any, function: Any, arguments: Any, worker: Any) -> tuple[Any, ...]:
    try:
        chain = getattr(job, _CHAIN, None)
        if chain is not None or hasattr(worker, _CHAIN):
            pickling = sys.modules[type(job).__module__].pickle
            arguments = pickling.dumps(_Arguments(chain or [], pickling.loads, arguments))
            setattr(worker, _CHAIN, chain)
    except Exception as error:  # the host's work must be done, whatever is wrong with us
        let_through(error)
    return job, function, arguments, worker


def _awaited_shell(at: int) -> Callable[[Any], Any]:
    """Return what makes shells of coroutine functions that start a process where none is idle, and give it work.

    The work is their argument at this place.
    """

    def shell(original: Any) -> Any:
        @functools.wraps(original)
        async def run(*args: Any, **kwargs: Any) -> Any:
            chain = _packed() if len(args) > at else None
            if chain is None:
                return await original(*args, **kwargs)
            with scopes.inside(_NOWHERE):
                return await original(*args[:at], _Work(chain, args[at]), *args[at + 1 :], **kwargs)

        return run

    return shell


def _start_shell(told: dict[str, Any]) -> Callable[[Any], Any]:
    def shell(original: Any) -> Any:
        @functools.wraps(original)
        def start(this: Any) -> Any:
            serves = {getattr(getattr(this, "_target", None), "__module__", ""), type(this).__module__} & _SERVING
            if "run" not in this.__dict__ and _starts_anew(this):
                chain = None if serves else _packed()
                this.__dict__["run"] = Started(told, this, None if chain is None else _Run(chain, this))
            try:
                if serves and scopes.current() is not None:
                    with scopes.inside(_NOWHERE):
                        return original(this)
                return original(this)
            finally:
                if isinstance(this.__dict__.get("run"), Started):
                    del this.__dict__["run"]

        return start

    return shell


def _nowhere_shell(original: Any) -> Any:
    @functools.wraps(original)
    def start(*args: Any, **kwargs: Any) -> Any:
        with scopes.inside(_NOWHERE):
            return original(*args, **kwargs)

    return start


def _ray_shell(told: dict[str, Any]) -> Callable[[Any], Any]:
    """Return what makes shells of what starts Ray's daemons: they start its workers, which are to record as told."""

    def shell(original: Any) -> Any:
        @functools.wraps(original)
        def start(*args: Any, **kwargs: Any) -> Any:
            if CHILDREN not in os.environ:
                kwargs = _with_environment(original, kwargs, {CHILDREN: json.dumps(told)})
            with scopes.inside(_NOWHERE):
                return original(*args, **kwargs)

        return start

    return shell


def _with_environment(function: Any, kwargs: dict[str, Any], added: dict[str, str]) -> dict[str, Any]:
    """Return the arguments of a call with more variables for what it starts, if it takes them by that name."""
    given = kwargs.get("env_updates") or {}
    if "env_updates" not in inspect.signature(function).parameters or not isinstance(given, dict):
        return kwargs
    say_if_unheard("Ray's workers", "")
    return {**kwargs, "env_updates": {**added, **given}}


def _starts_anew(process: Any) -> bool:
    """Return whether a process of `multiprocessing`, or of what is made after it, is no fork and has our modules."""
    try:
        made_by = next(
            (one.__module__ for one in type(process).__mro__ if one.__name__ == "BaseProcess"), "multiprocessing"
        )
        method = getattr(process, "_start_method", None) or sys.modules[made_by.partition(".")[0]].get_start_method()
        return bool(method != "fork") and _is_ours()
    except Exception as error:  # the host's process must start, whatever is wrong with us
        let_through(error)
        return False


def _telling(at: int) -> Callable[[Any], Any]:
    """Return what makes shells of functions that start a program: its environment is their argument `env`."""

    def shell(original: Any) -> Any:
        @functools.wraps(original)
        def start(*args: Any, **kwargs: Any) -> Any:
            if scopes.current() is not None:
                if len(args) > at:
                    args = (*args[:at], _placed(args[at]), *args[at + 1 :])
                elif (env := _placed(kwargs.get("env"))) is not None:
                    kwargs["env"] = env
            return original(*args, **kwargs)

        start.__module__ = _named(original)
        return start

    return shell


def _execv_shell(original: Any) -> Any:
    @functools.wraps(original)
    def become(*args: Any, **kwargs: Any) -> Any:
        env = _placed(None) if scopes.current() is not None else None
        return original(*args, **kwargs) if env is None else os.execve(*args, **{**kwargs, "env": env})

    become.__module__ = _named(original)
    return become


def _named(function: Any) -> str:
    """Return the module where pickle finds what lies over a function: one of `posix` is covered in `os`."""
    return os.__name__ if function.__module__ == os.name else str(function.__module__)


def _placed(given: Any) -> Any:
    """Return an environment (None: this program's) that names the open scope and no other, if it says how to record."""
    try:
        around = os.environ if given is None else given
        if not isinstance(around, Mapping) or not any(os.fsdecode(name) == CHILDREN for name in around):
            return given
        chain = _packed() or []
        told = (json.dumps(some, default=str) for some in (chain, chain[-1:]) if some)
        scope = next((one for one in told if len(one) <= _MAX_CHARS), None)
        others = {name: value for name, value in around.items() if os.fsdecode(name) != SCOPE}
        return others if scope is None else {**others, SCOPE: scope}
    except Exception as error:  # the host's program must start, whatever is wrong with us
        let_through(error)
        return given
