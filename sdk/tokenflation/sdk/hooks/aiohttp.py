"""Records the requests of aiohttp's clients, whatever way the host reads the answers.

An exchange begins where a connection is asked for and is answered where a response starts: one call of each is one
request on the wire, redirects and retries included. The body is noted as the connection feeds it to the response's
reader, decoded by aiohttp where it decodes. Imports no aiohttp; knows nothing of what the bytes mean.
"""

import functools
import inspect
import logging
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tokenflation.sdk.exchange import REQUEST_HEADERS, Exchange, Tap
from tokenflation.sdk.hooks.bodies import end_by, safely
from tokenflation.sdk.hooks.httpx_tries import Sending
from tokenflation.sdk.hooks.patches import Patches
from tokenflation.sdk.hooks.underway import passed_on
from tokenflation.sdk.wire import RESPONSE_HEADERS, recognise

__all__ = ["asked_for", "install"]

_EXCHANGE = "__tokenflation_exchange__"
"""Set on a request once a connection is asked for, and on its response until that starts: its exchange, or what sends
it further up.
"""
_RAW = "__tokenflation_raw__"
"""Set on a connection whose next response is left as it comes: `auto_decompress=False`."""
_HOOKED = (
    ("connector", "BaseConnector", "connect", "req"),
    ("client_reqrep", "ClientRequest", "send", "conn"),
    ("client_reqrep", "ClientResponse", "start", "connection"),
    ("client_proto", "ResponseHandler", "set_response_params", "auto_decompress"),
    ("streams", "StreamReader", "feed_data", "data"),
    ("streams", "StreamReader", "feed_eof", "self"),
    ("streams", "StreamReader", "set_exception", "exc"),
    ("streams", "StreamReader", "_wait", "func_name"),
)
"""What we need of aiohttp: module, class, method, and a parameter by which we know it."""
_log = logging.getLogger(__name__)


def install(tap: Tap) -> Callable[[], None]:
    """Record every session, made before or after; return the function that undoes it. Nothing is imported by us."""
    return _Installation(tap).wait_for("aiohttp")


# The core: plain functions over one request and one response.


def _begin(tap: Tap, request: Any) -> None:
    """Open an exchange for a request that goes to a model endpoint, unless a hook further up has."""
    url = request.url
    path = url.path
    if recognise(request.method, path) is None:
        return
    host, body = url.host or "", _body(request)
    above = passed_on(host, path, body)
    if above is not None:
        if isinstance(above, Sending):
            above.leaves()
            setattr(request, _EXCHANGE, above)
        return
    headers = {name: str(request.headers[name]) for name in REQUEST_HEADERS if name in request.headers}
    exchange = tap.begin(request.method, host, path, body, headers)
    if exchange is not None:
        setattr(request, _EXCHANGE, exchange)


def _body(request: Any) -> bytes | None:
    """Return the body of a request if it lies in memory in one piece: None for streams, files and multipart forms."""
    body = request.body
    value = body if isinstance(body, bytes) else getattr(body, "_value", None)
    return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else None


def asked_for(request: Any) -> Exchange | Sending | None:
    """Return what a request that waits for a connection is recorded as, or what sends it further up, if anything."""
    exchange = getattr(request, _EXCHANGE, None)
    return exchange if isinstance(exchange, Exchange | Sending) else None


def _broke(exchange: Exchange | Sending, request: Any, error: BaseException) -> None:
    """Note that no response came; a total timeout reaches us as the cancellation that aiohttp makes of it."""
    if isinstance(exchange, Sending):
        exchange.broke(error)
        return
    timed_out = getattr(getattr(request, "_timer", None), "_cancelled", False)
    end_by(exchange, TimeoutError() if timed_out and not isinstance(error, Exception) else error)


def _answered(exchange: Exchange | Sending, response: Any, raw: bool) -> None:
    """Note the head of the response, and see to it that its body is noted as it arrives."""
    headers = response.headers
    if isinstance(exchange, Sending):
        exchange.came(response.status, headers.items())
        return
    if 300 <= response.status < 400 and "location" in headers:
        exchange.void = True
        return
    encoding = headers.get("content-encoding", "") if raw else ""
    wanted = {name: str(headers[name]) for name in RESPONSE_HEADERS if name in headers}
    exchange.answer(response.status, headers.get("content-type", ""), encoding, wanted)
    reader = response.content
    for chunk in getattr(reader, "_buffer", ()):  # it came with the head
        exchange.add(chunk)
    if reader.is_eof():
        exchange.finish("read")
        return
    found: type = type(reader)
    cls = _tapped_class(found)
    cls.bodies[id(reader)] = _Body(exchange)
    reader.__class__ = cls


class _Body:
    """The exchange of one reader, and how the host's last wait for data was broken off, if none came since."""

    __slots__ = ("broken_by", "exchange")

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.broken_by: type[BaseException] | None = None

    def add(self, data: bytes) -> None:
        self.broken_by = None
        self.exchange.add(data)

    def end(self, reader: Any, error: BaseException) -> None:
        """Note why no more will come, by the exception that the reader was given."""
        if type(error).__name__ != "ClientConnectionError":  # its subclasses, and others, are failures of the network
            end_by(self.exchange, error)
            return
        # With this very class aiohttp tells the reader that the host has closed or released the response.
        handled = sys.exception()
        if self.broken_by is not None:
            handled = self.broken_by()
        elif getattr(reader._timer, "_cancelled", False):
            handled = TimeoutError()
        elif isinstance(handled, Exception):
            handled = None
        end_by(self.exchange, handled)

    def drop(self) -> None:
        """Note that the host let go of the response, maybe because it was cancelled while it waited."""
        if self.broken_by is None:
            self.exchange.finish("dropped")
        else:
            end_by(self.exchange, self.broken_by())


@functools.lru_cache(maxsize=8)
def _tapped_class(cls: Any) -> Any:
    """Make the class that a reader of this class is turned into: it notes what it is fed, and has the same slots.

    It feeds the host first, so nothing waits for us. A reader has no room for the exchange (nor for a weak reference):
    it stands in the class, by the reader's id, until the reader is told the end or is collected.
    """
    bodies: dict[int, _Body] = {}

    class StreamReader(cls):  # type: ignore[misc]  # a class known only as the host runs
        __slots__ = ()

        def feed_data(self, data: bytes, *size: Any, **more: Any) -> Any:
            result = cls.feed_data(self, data, *size, **more)
            body = bodies.get(id(self))
            if body is not None and data:
                safely(body.exchange.failed, body.add, data)
            return result

        def feed_eof(self) -> None:
            cls.feed_eof(self)
            body = bodies.pop(id(self), None)
            if body is not None:
                safely(body.exchange.failed, body.exchange.finish, "read")

        def set_exception(self, error: BaseException, *cause: Any, **more: Any) -> None:
            cls.set_exception(self, error, *cause, **more)
            body = bodies.pop(id(self), None)
            if body is not None:
                safely(body.exchange.failed, body.end, self, error)

        async def _wait(self, *names: Any, **more: Any) -> None:
            try:
                await cls._wait(self, *names, **more)
            except BaseException as error:
                body = bodies.get(id(self))
                # The class only: the exception holds the host's frames, and they hold this reader.
                if body is not None and (isinstance(error, TimeoutError) or not isinstance(error, Exception)):
                    body.broken_by = TimeoutError if isinstance(error, TimeoutError) else type(error)
                raise

        def __del__(self) -> None:
            try:
                body = bodies.pop(id(self), None)
                if body is not None:
                    body.drop()
            except BaseException:  # noqa: S110  # the collector has nobody to tell
                pass

    StreamReader.bodies = bodies
    StreamReader.__module__, StreamReader.__qualname__ = cls.__module__, cls.__qualname__
    return StreamReader


def _taken(owner: Any) -> Exchange | Sending | None:
    """Return, and remove, what a request or a response that has not started carries."""
    # Through getattr: whoever asks an object for its __dict__ makes all its attributes slower from then on.
    exchange = getattr(owner, _EXCHANGE, None)
    if exchange is not None:
        setattr(owner, _EXCHANGE, None)
    return exchange if isinstance(exchange, Exchange | Sending) else None


# The patches.


class _Installation(Patches):
    """The patches of aiohttp's classes."""

    def _patch(self, library: ModuleType) -> None:
        missing = _missing(library)
        if missing:
            remedy = "Calls through aiohttp are not recorded; use a version that tokenflation knows, or an httpx client"
            self._say_missing(_log, "%s is missing or other than known in this version. %s.", missing, remedy)
            return
        shells = (self._connect_shell, _send_shell, _start_shell, _params_shell)
        for (module, owner, name, _), shell in zip(_HOOKED, shells, strict=False):
            self._layers.cover(getattr(getattr(library, module), owner), name, shell)

    def _connect_shell(self, original: Any) -> Any:
        @functools.wraps(original)
        async def connect(this: Any, req: Any, *args: Any, **kwargs: Any) -> Any:
            tap = self._tap
            if tap is not None:
                safely(tap.failed, _begin, tap, req)
            try:
                return await original(this, req, *args, **kwargs)
            except BaseException as error:
                exchange = _taken(req)
                if exchange is not None:
                    safely(exchange.failed, _broke, exchange, req, error)
                raise

        return connect


def _send_shell(original: Any) -> Any:
    @functools.wraps(original)
    async def send(this: Any, *args: Any, **kwargs: Any) -> Any:
        exchange = _taken(this)
        if exchange is None:
            return await original(this, *args, **kwargs)
        try:
            response = await original(this, *args, **kwargs)
        except BaseException as error:
            safely(exchange.failed, _broke, exchange, this, error)
            raise
        safely(exchange.failed, setattr, response, _EXCHANGE, exchange)
        return response

    return send


def _start_shell(original: Any) -> Any:
    @functools.wraps(original)
    async def start(this: Any, connection: Any, *args: Any, **kwargs: Any) -> Any:
        exchange = _taken(this)
        if exchange is None:
            return await original(this, connection, *args, **kwargs)
        raw = getattr(connection.protocol, _RAW, False)
        try:
            response = await original(this, connection, *args, **kwargs)
        except BaseException as error:
            safely(exchange.failed, _broke, exchange, this, error)
            raise
        safely(exchange.failed, _answered, exchange, this, raw)
        return response

    return start


def _params_shell(original: Any) -> Any:
    @functools.wraps(original)
    def set_response_params(this: Any, *args: Any, **kwargs: Any) -> Any:
        raw = not kwargs.get("auto_decompress", True)
        if raw or getattr(this, _RAW, False):
            setattr(this, _RAW, raw)
        return original(this, *args, **kwargs)

    return set_response_params


def _missing(library: ModuleType) -> str | None:
    """Return the first thing we need that this version lacks or has otherwise, None if all is there."""
    for module, owner, name, parameter in _HOOKED:
        cls = getattr(getattr(library, module, None), owner, None)
        if cls is None or parameter not in _parameters(getattr(cls, "__dict__", {}).get(name)):
            return f"aiohttp.{module}.{owner}.{name}({parameter})"
    return None


def _parameters(function: Any) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return ()
