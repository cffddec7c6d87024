"""Carries the open scope, and which call left last, into threads: what a scope starts in one runs inside that scope.

Asyncio tasks and `asyncio.to_thread` copy the context by themselves; plain threads and pools begin with an empty one.
Only our own context variables are carried: the host's behave as they did. Without a scope or a call nothing is done.
"""

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from types import MethodType, ModuleType
from typing import Any

from tokenflation.sdk.carrying.lastcall import carried, last_call
from tokenflation.sdk.hooks.patching import Layers
from tokenflation.sdk.interrupts import let_through
from tokenflation.sdk.scoping import scopes

__all__ = ["carry_scopes", "within"]

_POOLS = ("concurrent.futures.thread", "multiprocessing.pool")


def carry_scopes() -> Callable[[], None]:
    """Make threads and thread pools start their work inside the scope that started it; return what undoes it."""
    layers = Layers()

    def cover_method(owner: Any, name: str, make_shell: Callable[[Any], Any]) -> None:
        # gevent puts classes that inherit the method in place of the standard library's.
        owner = next((cls for cls in getattr(owner, "__mro__", ()) if callable(cls.__dict__.get(name))), None)
        if owner is not None:
            layers.cover(owner, name, make_shell)

    def cover_pool(module: ModuleType) -> None:
        cover_method(module.ThreadPoolExecutor, "submit", _submit_shell)

    cover_method(threading.Thread, "start", _start_shell)
    layers.when_imported("concurrent.futures.thread", cover_pool)
    return layers.undo


_Origin = tuple[scopes.Scope | None, str]
"""The open scope, and the id of the call that left last."""


def _origin() -> _Origin | None:
    try:
        found = scopes.current(), last_call()
        return found if found[0] is not None or found[1] else None
    except Exception as error:  # the host's thread must start, whatever is wrong with us
        let_through(error)
        return None


@contextlib.contextmanager
def _begun_at(origin: _Origin) -> Iterator[None]:
    scope, call_id = origin
    with scopes.inside(scope) if scope is not None else contextlib.nullcontext(), carried(call_id):
        yield


def _start_shell(original: Any) -> Any:
    @functools.wraps(original)
    def start(this: threading.Thread) -> Any:
        origin = _origin()
        if origin is None:
            return original(this)
        if _is_pool_worker(this):
            # It serves many scopes: each piece of work brings its own, the thread has none, also where threads begin
            # with a copy of the context (`sys.flags.thread_inherit_context`).
            with scopes.inside(None), carried(""):
                return original(this)
        _run_inside(this, origin)
        return original(this)

    return start


def _is_pool_worker(thread: threading.Thread) -> bool:
    return getattr(getattr(thread, "_target", None), "__module__", "") in _POOLS


def _run_inside(thread: threading.Thread, origin: _Origin) -> None:
    run = thread.run

    def within(this: threading.Thread) -> None:
        this.__dict__.pop("run", None)  # else the thread would keep itself alive by a cycle
        with _begun_at(origin):
            run()

    # A method, as what it stands for: Sentry takes the function out of it and calls that with the thread.
    thread.__dict__["run"] = MethodType(within, thread)


def _submit_shell(original: Any) -> Any:
    @functools.wraps(original)
    def submit(this: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        return original(this, function if _is_of_interpreters(this) else within(function), *args, **kwargs)

    return submit


def _is_of_interpreters(pool: Any) -> bool:
    """Return whether a pool does its work in other interpreters, where our modules cannot be loaded (Python 3.14)."""
    module = sys.modules.get("concurrent.futures.interpreter")
    return module is not None and isinstance(pool, module.InterpreterPoolExecutor)


def within(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does its work, in whichever thread, inside the scope that is open now."""
    origin = _origin()
    return _Within(origin, function) if origin is not None else function


class _Within:
    """A function that runs inside a scope; whatever else is asked of it is the function's own."""

    def __init__(self, origin: _Origin, function: Callable[..., Any]) -> None:
        self._tf_origin = origin
        self.__wrapped__ = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with _begun_at(self._tf_origin):
            return self.__wrapped__(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "__wrapped__"), name)
