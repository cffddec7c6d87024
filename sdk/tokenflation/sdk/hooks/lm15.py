"""Records the requests of lm15's transports, of lm15 itself and of the copy that is DSPy's own engine, sync and async.

One call of a transport is one request on the wire: lm15 does not retry. Chunks are noted as the response yields them.
Imports no library; knows nothing of what the bytes mean.
"""

import functools
import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from tokenflation.sdk.exchange import REQUEST_HEADERS, Exchange, Tap
from tokenflation.sdk.hooks.bodies import end_by, end_by_close, safely, tapped
from tokenflation.sdk.hooks.heads import KEPT_HEADERS, loaded, path_of, picked
from tokenflation.sdk.hooks.patches import Patches

__all__ = ["install"]

_COPIES = ("lm15", "dspy._vendor.lm15")
_MISSING = "%s lacks %s in this version: what it sends is not recorded. Use a version of lm15 that tokenflation knows."
_log = logging.getLogger(__name__)


def install(tap: Tap) -> Callable[[], None]:
    """Record every transport, made before or after; return the function that undoes it."""
    modules = [f"{copy}.transports.{name}" for copy in _COPIES for name in ("_sync", "_async")]
    return _Installation(tap).wait_for(*modules)


class _Installation(Patches):
    """The patches of the transports."""

    def _patch(self, library: ModuleType) -> None:
        is_sync = library.__name__.endswith("_sync")
        owner = getattr(library, "StdlibTransport" if is_sync else "StdlibAsyncTransport", None)
        name, make_shell = ("stream", self._shell) if is_sync else ("_do_stream", self._async_shell)
        if not callable(getattr(owner, "__dict__", {}).get(name)):
            self._say_missing(_log, _MISSING, library.__name__, name)
            return
        self._layers.cover(owner, name, make_shell)

    def _shell(self, original: Any) -> Any:
        @functools.wraps(original)
        def stream(transport: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            exchange = self._begun(request)
            if exchange is None:
                return original(transport, request, *args, **kwargs)
            try:
                response = original(transport, request, *args, **kwargs)
            except BaseException as error:
                safely(exchange.failed, end_by, exchange, error)
                raise
            safely(exchange.failed, _answered, exchange, response, _released)
            return response

        return stream

    def _async_shell(self, original: Any) -> Any:
        @functools.wraps(original)
        async def stream(transport: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            exchange = self._begun(request)
            if exchange is None:
                return await original(transport, request, *args, **kwargs)
            try:
                response = await original(transport, request, *args, **kwargs)
            except BaseException as error:
                safely(exchange.failed, end_by, exchange, error)
                raise
            safely(exchange.failed, _answered, exchange, response, _async_released)
            return response

        return stream

    def _begun(self, request: Any) -> Exchange | None:
        tap = self._tap
        return safely(tap.failed, _begin, tap, request) if tap is not None else None


def _begin(tap: Tap, request: Any) -> Exchange | None:
    """Return the exchange that this request opens, None if it asks no model."""
    url = request.url
    headers = picked(dict(request.headers), REQUEST_HEADERS)
    return tap.begin(request.method, urlsplit(url).hostname or "", path_of(url), loaded(request.body), headers)


def _answered(exchange: Exchange, response: Any, released: Callable[..., Any]) -> None:
    """Note the head of an answer, and see to it that its body is noted as the host reads it."""
    headers = picked(dict(response.headers), KEPT_HEADERS)
    if 300 <= response.status < 400 and "location" in headers:
        exchange.void = True
        return
    encoding = headers.get("content-encoding", "")
    exchange.answer(response.status, headers.get("content-type", ""), encoding, headers)
    response._chunks = tapped(response._chunks, exchange)
    response._release = functools.partial(released, exchange, response._release)


def _released(exchange: Exchange, release: Callable[[bool], None], body_consumed: bool) -> None:
    """Let go of the connection; whoever does so before the end reads no further."""
    _ended(exchange)
    release(body_consumed)


async def _async_released(exchange: Exchange, release: Callable[[bool], Any], body_consumed: bool) -> None:
    _ended(exchange)
    await release(body_consumed)


def _ended(exchange: Exchange) -> None:
    if exchange.end is None:
        safely(exchange.failed, end_by_close, exchange)
