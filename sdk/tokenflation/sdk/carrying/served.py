"""Lets what an MCP server does for a tool call over HTTP stand in the trace of who asked, where the request says it.

The server is a process that serves many: what it asks models for one call of a tool is a task of its own, named after
the tool, inside the asking run's span. Over stdio it stands in the scope that started the server, and in memory in the
caller's. Imports nothing of `mcp`; the request's `_meta.traceparent`: modelcontextprotocol.io/seps/414-request-meta.
"""

import functools
import re
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from tokenflation.sdk.clock import now_ns
from tokenflation.sdk.hooks.bodies import safely
from tokenflation.sdk.hooks.patching import Layers
from tokenflation.sdk.scoping import scopes

__all__ = ["serve_in_traces"]

_RUNNERS, _SERVERS = "mcp.server.runner", "mcp.server.lowlevel.server"
_METHOD = "tools/call"
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")
"""Trace id and span id of W3C Trace Context, section 3.2: neither is all zeros."""


def serve_in_traces(failed: Callable[[str], None]) -> Callable[[], None]:
    """Make tools of MCP servers over HTTP run in the trace that the request names; return what undoes it.

    `failed` counts what we cannot read, by reason; the host serves all the same.
    """
    layers = Layers()

    def patch(module: ModuleType) -> None:
        owner, name, shell = (
            ("ServerRunner", "_on_request", _shell(_asked_of_2, failed))  # of version 2
            if module.__name__ == _RUNNERS
            else ("Server", "_handle_request", _shell(_asked_of_1, failed))
        )
        found = getattr(module, owner, None)
        if found is not None and callable(found.__dict__.get(name)):
            layers.cover(found, name, shell)

    for module in (_RUNNERS, _SERVERS):
        layers.when_imported(module, patch)
    return layers.undo


_Asked = tuple[str, Any]
"""Name of the tool, and what the request says of its trace."""


def _asked_of_2(given: Any, method: str = "", params: Any = None, *_: Any) -> _Asked | None:
    if method != _METHOD or not isinstance(params, Mapping) or not _is_over_http(given):
        return None
    meta = params.get("_meta")
    return str(params.get("name") or ""), meta.get("traceparent") if isinstance(meta, Mapping) else None


def _asked_of_1(given: Any, request: Any = None, *_: Any) -> _Asked | None:
    if getattr(request, "method", None) != _METHOD or not _is_over_http(given):
        return None
    meta = request.params.meta
    return str(request.params.name), (getattr(meta, "model_extra", None) or {}).get("traceparent")


def _is_over_http(given: Any) -> bool:
    transport = getattr(given, "transport", None)
    sent = getattr(given, "message_metadata", None)
    return getattr(transport, "headers", None) is not None or getattr(sent, "request_context", None) is not None


def _scope_of(asked: _Asked | None) -> scopes.Scope | None:
    """Return the tool run that another process opened, as a scope; None where the request names none."""
    if asked is None or not asked[0] or not isinstance(asked[1], str) or scopes.current() is not None:
        return None
    ids = _TRACEPARENT.fullmatch(asked[1])
    if ids is None:
        return None
    scope = scopes.Scope("tool", asked[0])
    scope.place(None, span_id=ids[2], trace_id=ids[1])
    scope.started_at_ns, scope.source = now_ns(), "span"
    return scope


def _shell(asked: Callable[..., _Asked | None], failed: Callable[[str], None]) -> Callable[[Any], Any]:
    def make(original: Any) -> Any:
        @functools.wraps(original)
        async def serve(this: Any, *args: Any, **kwargs: Any) -> Any:
            scope = safely(failed, lambda: _scope_of(asked(*args)))
            if scope is None:
                return await original(this, *args, **kwargs)
            with scopes.inside(scope):
                try:
                    return await original(this, *args, **kwargs)
                finally:
                    scope.ended_at_ns = now_ns()  # what goes on behind the answer is inside of nothing

        return serve

    return make
