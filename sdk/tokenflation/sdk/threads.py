"""Carries the open scope into threads: what a scope starts in a thread or a pool runs inside that scope.

Asyncio tasks and `asyncio.to_thread` copy the context by themselves; plain threads and pools begin with an empty one.
Only our own context variable is carried: the host's variables behave as they did. Without an open scope nothing is done.
"""

import functools
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tokenflation.sdk import scopes
from tokenflation.sdk.hooks.patching import cover, uncover, when_imported

__all__ = ["carry_scopes"]


def carry_scopes() -> Callable[[], None]:
    """Make threads and thread pools start their work inside the scope that started it; return what undoes it."""
    layers = [cover(threading.Thread, "start", _start_shell)]
    live = True

    def cover_pool(module: ModuleType) -> None:
        if live:  # wrapt cannot forget a post-import hook
            layers.append(cover(module.ThreadPoolExecutor, "submit", _submit_shell))

    def undo() -> None:
        nonlocal live
        live = False
        while layers:
            uncover(layers.pop())

    when_imported("concurrent.futures.thread", cover_pool)
    return undo


def _scope() -> scopes.Scope | None:
    try:
        return scopes.current()
    except Exception:  # the host's thread must start, whatever is wrong with us
        return None


def _start_shell(original: Any) -> Any:
    @functools.wraps(original)
    def start(this: threading.Thread) -> Any:
        scope = _scope()
        # A pool's worker serves many scopes: each piece of work brings its own, the thread has none.
        if scope is not None and not _is_pool_worker(this):
            _run_inside(this, scope)
        return original(this)

    return start


def _is_pool_worker(thread: threading.Thread) -> bool:
    return getattr(getattr(thread, "_target", None), "__module__", "") == "concurrent.futures.thread"


def _run_inside(thread: threading.Thread, scope: scopes.Scope) -> None:
    run = thread.run

    def within() -> None:
        thread.__dict__.pop("run", None)  # else the thread would keep itself alive by a cycle
        with scopes.inside(scope):
            run()

    thread.__dict__["run"] = within


def _submit_shell(original: Any) -> Any:
    @functools.wraps(original)
    def submit(this: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        scope = _scope()
        if scope is None:
            return original(this, function, *args, **kwargs)
        return original(this, _Within(scope, function), *args, **kwargs)

    return submit


class _Within:
    """A function that runs inside a scope; whatever else is asked of it is the function's own."""

    def __init__(self, scope: scopes.Scope, function: Callable[..., Any]) -> None:
        self._tf_scope = scope
        self.__wrapped__ = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with scopes.inside(self._tf_scope):
            return self.__wrapped__(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "__wrapped__"), name)
