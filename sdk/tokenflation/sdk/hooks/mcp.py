"""Records the tool calls of the official `mcp` client as runs of tools, whatever transport carries them.

The shell sits on the session's `send_request`, where `tools/call` goes through whoever asks for it; of version 2 also
on `Client.call_tool`, as one call of that may take several requests (the server asks the client for input in between).
What a server asks the client to do meanwhile (to sample a model, for one) runs inside the run that it serves. Listing
and everything else passes. Imports nothing of `mcp`; of arguments and results only sizes are kept.
A server over stdio is a program that this one starts, with a few of its variables alone: where programs that are
started anew are recorded, the variable that says so is one of them.

Trace context goes to the server as `_meta.traceparent`: modelcontextprotocol.io/seps/414-request-meta.
"""

import functools
import inspect
import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from tokenflation.children import CHILDREN
from tokenflation.sdk.exchange import Tap, ToolRunning
from tokenflation.sdk.hooks.bodies import safely
from tokenflation.sdk.hooks.patches import Patches
from tokenflation.sdk.interrupts import let_through
from tokenflation.sdk.wire.values import dumps

__all__ = ["install"]

_SESSIONS = "mcp.client.session"
_CLIENTS = "mcp.client.client"
_STDIO = "mcp.client.stdio"
_METHOD = "tools/call"
_TIMEOUTS = frozenset((-32001, 408))
"""Error codes of a request that was given up: of `mcp` 2 and 1."""
_log = logging.getLogger(__name__)


class _Run:
    """One run of a tool, and the session that it goes through."""

    __slots__ = ("running", "session")

    def __init__(self, session: Any, running: ToolRunning) -> None:
        self.session = session
        self.running = running


_RUN: ContextVar[_Run | None] = ContextVar("tokenflation_mcp_run", default=None)
"""The run that a `Client.call_tool` further up has opened."""


def install(tap: Tap) -> Callable[[], None]:
    """Record every session and client, made before or after; return the function that undoes it.

    If `mcp` is not imported yet it is patched when it is; nothing is imported by us.
    """
    return _Installation(tap).wait_for(_SESSIONS, _CLIENTS, _STDIO)


# The core: plain functions over one request and one result.


def _asked(request: Any) -> Any | None:
    """Return the parameters of a request that calls a tool, None for any other; version 1 wraps its requests."""
    request = getattr(request, "root", request)
    return request.params if getattr(request, "method", None) == _METHOD else None


def _canonical(arguments: Any) -> bytes | None:
    """Return the arguments as canonical JSON; the recorder keeps their size, and tells tool calls apart by a hash."""
    try:
        return dumps(arguments) if arguments is not None else None
    except Exception as error:  # what JSON cannot say, the session will refuse
        let_through(error)
        return None


def _size_of_result(result: Any) -> int | None:
    """Return the bytes of a result's content: text as UTF-8, media as it is encoded; None for what is no result."""
    content = getattr(result, "content", None)
    if not isinstance(content, list):
        return None
    size = 0
    for block in content:
        block = getattr(block, "resource", block)
        text = getattr(block, "text", None)
        if isinstance(text, str):
            size += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        for name in ("data", "blob"):
            media = getattr(block, name, None)
            size += len(media) if isinstance(media, str | bytes) else 0
    return size


def _failure_of(result: Any) -> str | None:
    """Return what opentelemetry.io/docs/specs/semconv/gen-ai/mcp calls a result that says that the tool failed."""
    failed = getattr(result, "is_error", None) or getattr(result, "isError", None)
    return "tool_error" if failed is True else None


def _type_of(error: BaseException) -> str:
    code = getattr(getattr(error, "error", None), "code", None)
    return "TimeoutError" if code in _TIMEOUTS else type(error).__name__


def _with_trace(run: _Run, request: Any) -> Any:
    """Return the request with our trace context, or as it is where it or the host's own tracing brings one.

    A copy: the caller may send the same request again. Its arguments are the same object.
    """
    params = _asked(request)
    ids = run.running.ids
    meta = getattr(params, "meta", None)
    if params is None or ids is None or _is_traced() or (meta is not None and "traceparent" in _keys(meta)):
        return request
    # W3C Trace Context, section 3.2: version, trace id, parent id, flags (sampled).
    context = {"traceparent": f"00-{ids[0]}-{ids[1]}-01"}
    if meta is None or isinstance(meta, Mapping):
        ours: Any = {**(meta or {}), **context}
        if not isinstance(meta, dict) and (made := _meta_class(params)) is not None:
            ours = made(**context)
    else:
        ours = meta.model_copy(update=context)
    inner = getattr(request, "root", request)
    traced = inner.model_copy(update={"params": params.model_copy(update={"meta": ours})})
    return traced if inner is request else request.model_copy(update={"root": traced})


def _keys(meta: Any) -> Any:
    return meta if isinstance(meta, Mapping) else {**meta.__dict__, **(getattr(meta, "model_extra", None) or {})}


def _meta_class(params: Any) -> Any | None:
    """Return the class that version 1 has for `_meta`; of version 2 it is a dict."""
    made = getattr(type(params), "Meta", None)
    return made if isinstance(made, type) else None


def _is_traced() -> bool:
    """Return whether the host's own OpenTelemetry has a current span: version 2 sends that by itself."""
    trace = sys.modules.get("opentelemetry.trace")
    return trace is not None and trace.get_current_span().get_span_context().is_valid


# The patches.


class _Installation(Patches):
    """The patches of the session, and of the client that version 2 has."""

    def __init__(self, tap: Tap) -> None:
        super().__init__(tap)
        self._open: dict[int, list[_Run]] = {}
        """Session, by its identity as a host's own class may have no hash -> its runs that are under way."""

    def _patch(self, library: ModuleType) -> None:
        if library.__name__ == _SESSIONS:
            self._patch_session(library)
        elif library.__name__ == _STDIO:
            module: Any = library
            if callable(module.__dict__.get("get_default_environment")):
                self._layers.cover(module, "get_default_environment", self._variables_shell)
        else:
            self._cover(getattr(library, "Client", None), "call_tool", self._call_shell, "name")

    def _patch_session(self, module: ModuleType) -> None:
        session = getattr(module, "ClientSession", None)
        if not self._cover(session, "send_request", self._send_shell, "request"):
            self._say_missing(
                _log,
                "mcp.client.session.ClientSession.send_request(request) is missing in this version: tool calls through "
                "MCP are not recorded. Use a version of mcp that tokenflation knows.",
            )
        for name in ("_on_request", "_received_request"):  # of versions 2 and 1
            self._cover(session, name, self._serve_shell)

    def _cover(self, owner: Any, name: str, shell: Callable[[Any], Any], first: str = "") -> bool:
        """Put a shell over a coroutine method whose first parameter has this name; False if there is none."""
        owner = next((cls for cls in getattr(owner, "__mro__", ()) if name in cls.__dict__), None)
        if owner is None or not inspect.iscoroutinefunction(owner.__dict__[name]):
            return False
        if first and first not in list(inspect.signature(owner.__dict__[name]).parameters)[1:2]:
            return False
        self._layers.cover(owner, name, shell)
        return True

    def _variables_shell(self, original: Any) -> Any:
        @functools.wraps(original)
        def get_default_environment() -> Any:
            variables, told = original(), os.environ.get(CHILDREN)
            if self._tap is not None and told is not None and isinstance(variables, dict):
                variables.setdefault(CHILDREN, told)
            return variables

        return get_default_environment

    def _begin(self, tap: Tap, session: Any, name: str, arguments: Any) -> _Run | None:
        running = tap.run_tool(str(name), _canonical(arguments))
        if running is None:
            return None
        run = _Run(session, running)
        self._open.setdefault(id(session), []).append(run)
        return run

    def _over(self, run: _Run, error_type: str | None, result_bytes: int | None = None) -> None:
        runs = self._open.get(id(run.session), [])
        if run in runs:
            runs.remove(run)
        if not runs:
            self._open.pop(id(run.session), None)
        run.running.close(error_type=error_type, result_bytes=result_bytes)

    def _send_shell(self, original: Any) -> Any:
        @functools.wraps(original)
        async def send_request(this: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            tap = self._tap
            params = safely(tap.failed, _asked, request) if tap is not None else None
            if tap is None or params is None:
                return await original(this, request, *args, **kwargs)
            around = _RUN.get()
            if around is not None and around.session is this:
                request = safely(tap.failed, _with_trace, around, request) or request if tap.traces() else request
                return await original(this, request, *args, **kwargs)
            run = safely(tap.failed, self._begin, tap, this, params.name, params.arguments)
            if run is None:
                return await original(this, request, *args, **kwargs)
            if tap.traces():
                request = safely(tap.failed, _with_trace, run, request) or request
            return await self._watched(tap, run, original(this, request, *args, **kwargs))

        return send_request

    def _call_shell(self, original: Any) -> Any:
        @functools.wraps(original)
        async def call_tool(this: Any, name: Any, arguments: Any = None, *args: Any, **kwargs: Any) -> Any:
            tap = self._tap
            session = safely(tap.failed, getattr, this, "session") if tap is not None else None
            if tap is None or session is None:
                return await original(this, name, arguments, *args, **kwargs)
            run = safely(tap.failed, self._begin, tap, session, name, arguments)
            if run is None:
                return await original(this, name, arguments, *args, **kwargs)
            before = _RUN.get()
            _RUN.set(run)
            try:
                return await self._watched(tap, run, original(this, name, arguments, *args, **kwargs))
            finally:
                _RUN.set(before)  # no token: a coroutine may be closed in another context than it ran in

        return call_tool

    async def _watched(self, tap: Tap, run: _Run, result: Any) -> Any:
        """Await the result of a run and note how it ended; what the host gets is what came."""
        try:
            result = await result
        except BaseException as error:
            safely(tap.failed, self._over, run, safely(tap.failed, _type_of, error) or "error")
            raise
        failure, size = safely(tap.failed, _failure_of, result), safely(tap.failed, _size_of_result, result)
        safely(tap.failed, self._over, run, failure, size)
        return result

    def _serve_shell(self, original: Any) -> Any:
        @functools.wraps(original)
        async def serve(this: Any, *args: Any, **kwargs: Any) -> Any:
            tap = self._tap
            runs = self._open.get(id(this), [])
            # Of several runs under way it is open which one the server asks for.
            within = safely(tap.failed, runs[0].running.within) if tap is not None and len(runs) == 1 else None
            if within is None:
                return await original(this, *args, **kwargs)
            with within:
                return await original(this, *args, **kwargs)

        return serve
