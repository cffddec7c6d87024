"""Functions, coroutine functions and generators of which each call runs inside a context manager of its own.

A context variable set inside a generator would leak to its consumer between two yields, so a decorated generator runs
each step in a context of its own. Knows nothing of what the context managers do.
"""

import contextvars
import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

__all__ = ["decorated"]

F = TypeVar("F", bound=Callable[..., Any])
Fresh = Callable[[], AbstractContextManager[Any]]


def decorated(function: F, fresh: Fresh) -> F:
    """Return the function with each call of it inside the context manager that `fresh` makes for it."""
    if inspect.isasyncgenfunction(function):
        return cast(F, _decorated_async_generator(function, fresh))
    if inspect.iscoroutinefunction(function):
        return cast(F, _decorated_coroutine(function, fresh))
    if inspect.isgeneratorfunction(function):
        return cast(F, _decorated_generator(function, fresh))
    return cast(F, _decorated_function(function, fresh))


def _decorated_function(function: Callable[..., Any], fresh: Fresh) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with fresh():
            return function(*args, **kwargs)

    return call


def _decorated_coroutine(function: Callable[..., Awaitable[Any]], fresh: Fresh) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        with fresh():
            return await function(*args, **kwargs)

    return call


def _decorated_generator(
    function: Callable[..., Generator[Any, Any, Any]], fresh: Fresh
) -> Callable[..., Generator[Any, Any, Any]]:
    def body(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
        with fresh():
            return (yield from function(*args, **kwargs))

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        inner = body(args, kwargs)
        own = contextvars.copy_context()
        step: Callable[[], Any] = functools.partial(next, inner)
        try:
            while True:
                try:
                    item = own.run(step)
                except StopIteration as stop:
                    return stop.value
                try:
                    sent = yield item
                    step = functools.partial(inner.send, sent)
                except GeneratorExit:
                    raise
                except BaseException as error:  # thrown in by the consumer: it belongs to the generator
                    step = functools.partial(inner.throw, error)
        finally:
            own.run(inner.close)

    return call


def _decorated_async_generator(
    function: Callable[..., AsyncGenerator[Any, Any]], fresh: Fresh
) -> Callable[..., AsyncGenerator[Any, Any]]:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        own = contextvars.copy_context()
        scope = fresh()
        own.run(scope.__enter__)
        inner = own.run(functools.partial(function, *args, **kwargs))
        error: BaseException | None = None
        try:
            step = inner.__anext__()
            while True:
                try:
                    item = await _InContext(step, own)
                except StopAsyncIteration:
                    return
                try:
                    sent = yield item
                    step = inner.asend(sent)
                except GeneratorExit:
                    raise
                except BaseException as thrown:
                    step = inner.athrow(thrown)
        except BaseException as caught:
            error = caught
            raise
        finally:
            try:
                await _InContext(inner.aclose(), own)
            finally:
                own.run(scope.__exit__, type(error) if error else None, error, None)

    return call


class _InContext:
    """Awaits something with every step of it run in a given context."""

    def __init__(self, awaitable: Awaitable[Any], context: contextvars.Context) -> None:
        self._awaitable = awaitable
        self._context = context

    def __await__(self) -> Generator[Any, Any, Any]:
        run = self._context.run
        steps = self._awaitable.__await__()
        step: Callable[[], Any] = functools.partial(next, steps)
        while True:
            try:
                item = run(step)
            except StopIteration as stop:
                return stop.value
            try:
                sent = yield item
                step = functools.partial(_send, steps, sent)
            except BaseException as error:
                step = functools.partial(_throw, steps, error)


def _send(steps: Any, value: Any) -> Any:
    # A bare iterator (as some awaitables give) has no send; only None is ever sent to it.
    return next(steps) if value is None else steps.send(value)


def _throw(steps: Any, error: BaseException) -> Any:
    throw = getattr(steps, "throw", None)
    if throw is None:
        raise error
    return throw(error)
