"""Switching the recorder on and off: the one place with module-level state, the active handle.

Importing it has no side effect; `instrument()` opens the store, installs the hooks and listens to scopes.
"""

import atexit
import contextlib
import logging
import os
import secrets
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from tokenflation.sdk.errors import StoreError, TokenflationError
from tokenflation.sdk.interrupts import let_through
from tokenflation.sdk.saying import let_say
from tokenflation.sdk.scoping import scopes
from tokenflation.sdk.tracing.nesting import current_span, nest_in_user_spans

if TYPE_CHECKING:
    from tokenflation.sdk.recording.recorder import Recorder
    from tokenflation.sdk.tracing.bridge import ForeignCalls
    from tokenflation.sdk.tracing.spanread import SpanProcessor

__all__ = ["Instrumentation", "active", "instrument", "span_processor", "transport"]

_QUEUE_SIZE = 10_000
_OPEN_WAIT_S = 1.0
"""The host waits no longer for who keeps the store locked; the worker does, later."""
_LOCK_WAIT_S = 0.25
"""A fork waits until no transaction is under way, and a transaction may wait for another process's."""
_EXEC_WAIT_S = 1.0
_EXPORT_WAIT_S = 3.0
_LENT_EXPORT_WAIT_S = 1.0
"""A program's end waits no longer for an endpoint that takes no spans; there may be many that one program started."""
_SWITCH_WAIT_S = 10.0
"""In a fork the lock may be held by a thread that is not there any more."""
_log = logging.getLogger("tokenflation")
_active: "Instrumentation | None" = None
_switching = threading.RLock()
_HANDLE = "_tokenflation_handle"
"""Attribute of `sys` that holds the active handle too: a host that loads its modules anew loses ours with `_active`."""


class Instrumentation:
    """The running recorder; made by `instrument()`. A context manager: leaving it closes it."""

    def __init__(
        self, recorder: "Recorder", undo: list[Any], provider: Any, owns_provider: bool, exporter: Any = None
    ) -> None:
        self._recorder = recorder
        self._undo = undo
        self._provider = provider
        self._owns_provider = owns_provider
        self._exporter = exporter
        self._closed = False
        self.asked: dict[str, Any] = {}
        """The arguments of `instrument()` that it was begun with."""
        self.lent = False
        """Begun by who started this program: an `instrument()` of its own takes the place of it."""
        self.held = False
        """Begun by `tokenflation run`, which records to one store until the program ends."""

    @property
    def store(self) -> str:
        """Path of the store that is written to."""
        return self._recorder.store

    @property
    def recorded(self) -> int:
        """Calls that this process added to the store so far."""
        return self._recorder.recorded

    @property
    def drops(self) -> dict[str, int]:
        """Records lost so far in this process, by reason; empty when nothing was lost."""
        return self._recorder.drops

    @property
    def tracer_provider(self) -> Any:
        """The TracerProvider that our spans go to; add span processors to it to export them anywhere.

        Private unless one was given to `instrument()`; made when first asked for.
        """
        if self._provider is None:
            from tokenflation.sdk.tracing.spans import SpanEmitter, private_provider

            self._provider = private_provider(())
            self._recorder.emitter = SpanEmitter(self._provider)
        return self._provider

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until every call that ended before is in the store or counted as lost; False if that took longer."""
        return self._recorder.flush(timeout_s)

    def close(self) -> None:
        """Write what is left and undo every patch; safe to call twice. Under `tokenflation run` recording goes on."""
        _quietly(self.flush if self.held else self._end)

    def _end(self) -> None:
        global _active
        if self._closed:
            return
        self._closed = True
        limit: Exception | None = None
        try:
            for step in (*reversed(self._undo), self._recorder.drop_streams, self._recorder.close, let_say):
                try:
                    _quietly(step)
                except Exception as error:  # the host's own, by a signal: the others are done all the same
                    limit = error
        finally:
            if _active is self:
                _active = None
            if getattr(sys, _HANDLE, None) is self:
                delattr(sys, _HANDLE)
            atexit.unregister(self._end)
        if self._owns_provider and self._provider is not None:
            _quietly(partial(self._shut_provider_down, _LENT_EXPORT_WAIT_S if self.lent else _EXPORT_WAIT_S))
        if limit is not None:
            raise limit

    def _shut_provider_down(self, wait_s: float) -> None:
        from tokenflation.sdk.store.losses import note_losses
        from tokenflation.sdk.tracing.exporting import shut_down

        before = self.drops  # they are in the store; the exporter fails too late for that
        shut_down(self._provider, wait_s)
        if self._exporter is not None and self._exporter.missing():
            self._recorder.count_loss("export_unfinished", self._exporter.missing())
        late = {reason: count - before.get(reason, 0) for reason, count in self.drops.items()}
        if any(late.values()):
            note_losses(self.store, f"export-{secrets.token_hex(8)}", late)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()


def instrument(
    store: str | os.PathLike[str] = "tokenflation.db",
    *,
    task: str = "",
    tracer_provider: Any = None,
    span_exporter: Any = None,
    queue_size: int = _QUEUE_SIZE,
    exact_tokens: bool = False,
    mcp_trace_context: bool = True,
    children: bool = False,
) -> Instrumentation:
    """Record every model call of this process from here on; clients made before are recorded too.

    A second call returns the handle that is active. A store that cannot be written does not stop the program: what is
    lost is counted and `tokenflation info` shows it.

    Args:
        store: path of the SQLite store; made if absent.
        task: kind of the tasks that no scope names; empty for the agent's name, or a fingerprint of prompt and tools.
        tracer_provider: send our spans to this OpenTelemetry TracerProvider, and nest them in its spans. Where another
            instrumentation has a span of the same call there, ours has no `gen_ai.*` attribute: nothing counts twice.
        span_exporter: send our spans to this exporter (OTLP, for one) through a private TracerProvider.
        queue_size: finished calls that may wait to be written before more are dropped and counted.
        exact_tokens: split inputs by the model's own vocabulary where that is public, on the recorder's thread; needs
            the extra `tokens` and about 0.3 ms for each new KB of prompt.
        mcp_trace_context: while spans are exported, tell MCP servers the trace that their tools run in, as
            `_meta.traceparent` of the call; what the host or its own tracing says there stays. No argument is changed.
        children: also record programs of Python that this one starts anew (`subprocess`), where tokenflation is
            installed for them too: they are told by the environment variable TOKENFLATION_CHILDREN. Processes that are
            forked, or that `multiprocessing` or Ray starts, need no such thing.

    Raises:
        StoreError: `store` is a file of another kind, or was written by a newer version.
        TokenflationError: both a provider and an exporter are given.
        MissingExtra: `exact_tokens` without the extra `tokens`.
    """
    path = _absolute(store)
    alone = _switching.acquire(timeout=_SWITCH_WAIT_S)
    try:
        return _instrument(
            path, task, tracer_provider, span_exporter, queue_size, exact_tokens, mcp_trace_context, children
        )
    finally:
        if alone:
            _switching.release()


def _instrument(path: str, task: str, tracer_provider: Any, span_exporter: Any,
                queue_size: int, exact_tokens: bool, mcp_trace_context: bool, children: bool) -> Instrumentation:  # fmt: skip
    global _active
    if _active is not None and _active.lent:
        _quietly(_active.close)
    asked = {"store": path, "task": task, "tracer_provider": tracer_provider, "span_exporter": span_exporter,
             "exact_tokens": exact_tokens, "children": children}  # fmt: skip
    if _active is not None:
        _say_ignored(_active, asked)
        return _active
    if tracer_provider is not None and span_exporter is not None:
        raise TokenflationError(
            "instrument() takes tracer_provider or span_exporter, not both; add the exporter to your provider instead."
        )
    if exact_tokens:
        from tokenflation.sdk.tokens.exact import require_splintr

        require_splintr()
    if (earlier := getattr(sys, _HANDLE, None)) is not None:
        _quietly(earlier._end)  # its hooks would record each call a second time
    from tokenflation.children import hand_on
    from tokenflation.sdk import hooks  # what follows is imported only by who records
    from tokenflation.sdk.carrying.processes import carry_scopes_to_processes, say_if_unheard, stand_inside
    from tokenflation.sdk.carrying.served import serve_in_traces
    from tokenflation.sdk.carrying.threads import carry_scopes
    from tokenflation.sdk.recording.exits import before_exec, before_os_exit, before_raised_signal
    from tokenflation.sdk.tracing.bridge import ForeignCalls

    foreign_calls = ForeignCalls() if tracer_provider is not None else None
    recorder = _recorder(path, task, foreign_calls, queue_size, exact_tokens)
    recorder.hands_trace_on = mcp_trace_context
    provider, exporter = tracer_provider, None
    if tracer_provider is not None or span_exporter is not None:
        from tokenflation.sdk.tracing.spans import SpanEmitter, private_provider

        if tracer_provider is None:
            from tokenflation.sdk.tracing.exporting import Counted

            exporter = Counted(span_exporter, recorder.count_loss)
            provider = private_provider([exporter])
            provider.add_span_processor(exporter)
        recorder.emitter = SpanEmitter(provider, foreign_calls)
    told = {"store": path, "task": task, "exact_tokens": exact_tokens, "mcp_trace_context": mcp_trace_context}
    steps: list[Callable[[], Callable[[], object]]] = [
        partial(scopes.listen, recorder.scope_changed),
        carry_scopes,
        partial(carry_scopes_to_processes, {**told, "children": bool(children)}),
        partial(serve_in_traces, recorder.count_loss),
        stand_inside,
        partial(before_os_exit, _leave),
        partial(before_exec, partial(recorder.flush, _EXEC_WAIT_S)),
        partial(before_raised_signal, _end_active),
        partial(hooks.install, recorder.tap),
    ]
    if foreign_calls is not None:
        steps += [partial(_watch_calls, foreign_calls, tracer_provider), partial(scopes.listen, nest_in_user_spans)]
    steps.append(partial(_read_spans, tracer_provider))
    if children:
        _quietly(say_if_unheard)
        steps.append(partial(hand_on, told))
    undo: list[Callable[[], object]] = []
    handle = Instrumentation(recorder, undo, provider, owns_provider=tracer_provider is None, exporter=exporter)
    try:
        for step in steps:
            if (undo_one := _installed(step)) is not None:
                undo.append(undo_one)
    except BaseException:  # raised by a signal's handler: nobody gets a handle to close
        _quietly(handle._end)
        raise
    _active = handle
    _active.asked = asked
    setattr(sys, _HANDLE, _active)
    atexit.register(_active._end)  # our provider holds spans back for a batch: a program that ends exports them
    return _active


def _say_ignored(running: Instrumentation, asked: dict[str, Any]) -> None:
    """Log what a second `instrument()` asks for and does not get: another store, a name of tasks, spans sent on."""
    ignored = []
    for name, value in asked.items():
        begun_with = running.asked.get(name)
        if isinstance(value, str):
            if value and value != begun_with:
                ignored.append(f"{name}={value!r}")
        elif value is not None and value is not False and value is not begun_with:
            ignored.append(f"{name}=...")
    if ignored:
        when = "under `tokenflation run`, which has options for it" if running.held else "until close()"
        _log.warning(
            "already recording to %s; instrument(%s) changes nothing %s", running.store, ", ".join(ignored), when
        )


def _absolute(store: str | os.PathLike[str]) -> str:
    try:
        return os.path.abspath(os.fsdecode(store))
    except FileNotFoundError as error:
        raise StoreError(
            f"{store}: the current folder does not exist any more. Give the store's whole path."
        ) from error


def _installed(step: Callable[[], Callable[[], object]]) -> Callable[[], object] | None:
    """Return what undoes a step of switching on, None if it failed: the rest is recorded all the same."""
    try:
        return step()
    except Exception as error:
        let_through(error)
        what = getattr(step, "func", step)
        _log.warning("%s.%s failed, and is left out: %r", what.__module__, what.__name__, error)
        return None


def _quietly(step: Callable[[], object]) -> None:
    """Do one step of switching off; should it fail, the host does not notice."""
    try:
        step()
    except Exception as error:
        _log.debug("tokenflation: a step of close() failed", exc_info=True)
        let_through(error)


def _leave() -> None:
    if _active is not None:
        _active._recorder.leave()
        if _active._exporter is not None and _active._exporter.missing():
            _quietly(partial(_active._shut_provider_down, _LENT_EXPORT_WAIT_S))
    let_say()


def _end_active() -> None:
    if _active is not None:
        _active._end()


def active() -> Instrumentation | None:
    """Return the running recorder's handle, or None."""
    return _active


def span_processor() -> "SpanProcessor":
    """Return an OpenTelemetry span processor that reads spans as evidence of structure, while a recorder runs.

    For a TracerProvider of your own or of any vendor: `provider.add_span_processor(tf.span_processor())`. Spans of
    agents, tools and workflows name what a call runs in, in place of what the wire tells; scopes win over them. Token
    counts on spans are never read, and nothing of ours goes to that provider. A provider that is given to
    `instrument()`, or is or becomes the global one, is read without this.
    """
    from tokenflation.sdk.tracing.spanread import SpanProcessor

    return SpanProcessor(lambda: _active._recorder.spans if _active is not None else None)


def transport(inner: Any) -> Any:
    """Wrap an httpx or httpx2 transport, sync or async, so that calls through it are recorded while a recorder runs.

    For clients that must not be patched: `httpx.Client(transport=tf.transport(httpx.HTTPTransport()))`.
    """
    from tokenflation.sdk import hooks

    return hooks.transport(inner, lambda: _active._recorder.tap if _active is not None else None)


def _recorder(path: str, task: str, foreign_calls: "ForeignCalls | None", queue_size: int,
              exact_tokens: bool) -> "Recorder":  # fmt: skip
    from tokenflation.sdk.recording.recorder import Recorder
    from tokenflation.sdk.store.keys import load_key
    from tokenflation.sdk.store.write import SqliteWriter, open_writer

    def opened() -> SqliteWriter:
        with contextlib.suppress(StoreError):
            load_key(path, former=key)  # it may have been taken away together with the store
        return open_writer(path, key=key, timeout_s=_LOCK_WAIT_S)

    try:
        # A wrong file must be refused now, at the call the user wrote.
        open_writer(path, timeout_s=_OPEN_WAIT_S).close()
    except OSError as error:
        _log.warning("%s Until it can, calls wait; those that still do at the end are lost.", error)
    key = load_key(path)
    return Recorder(
        path,
        open_writer=opened,
        key=key,
        default_task=task,
        exact_tokens=exact_tokens,
        foreign=partial(current_span, foreign_calls) if foreign_calls is not None else None,
        queue_size=queue_size,
    )


def _watch_calls(foreign_calls: "ForeignCalls", provider: Any) -> Callable[[], None]:
    foreign_calls.watch(provider)
    return foreign_calls.close


def _read_spans(given: Any) -> Callable[[], None]:
    """Learn of the spans of the user's provider: the one given, or the global one, also if it is set later."""
    from tokenflation.sdk.tracing.spanread import follow_global_provider

    processor = span_processor()
    if given is None:
        return follow_global_provider(processor)
    processor.watch(given)
    return processor.close
