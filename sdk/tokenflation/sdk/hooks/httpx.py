"""Records the requests of httpx and httpx2 clients, sync and async: one core, four shells.

The shells sit on `Client._send_single_request`: one call of it is one request on the wire, whatever transport sends
it, and its response is seen before anything is read. Imports neither library; knows nothing of what the bytes mean.
"""

import functools
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from tokenflation.sdk.exchange import REQUEST_HEADERS, Exchange, Tap
from tokenflation.sdk.hooks.bodies import kinds, safely, tapped
from tokenflation.sdk.hooks.httpx_tries import Sending, async_shell, sync_shell
from tokenflation.sdk.hooks.patches import Patches
from tokenflation.sdk.hooks.underway import UNDERWAY, passed_on, underway
from tokenflation.sdk.interrupts import count_failure, let_through
from tokenflation.sdk.wire import RESPONSE_HEADERS, recognise

__all__ = ["install", "transport"]

TapGetter = Callable[[], Tap | None]

_POOLS = {"httpx": "httpcore", "httpx2": "httpcore2"}
"""Library -> whose connection pools its transports send through."""
_LIBRARIES = tuple(_POOLS)
_SEND = "_send_single_request"
_REQUEST_HEADERS = frozenset(name.encode() for name in REQUEST_HEADERS)
_RESPONSE_HEADERS = frozenset(
    (b"content-type", b"content-encoding", b"location", *(name.encode() for name in RESPONSE_HEADERS))
)
_MOST_OWN = 64
_log = logging.getLogger(__name__)


def install(tap: Tap) -> Callable[[], None]:
    """Record every client of both libraries, made before or after; return the function that undoes it.

    A library that is not imported yet is patched when it is; nothing is imported by us.
    """
    return _Installation(tap).wait_for(*_LIBRARIES)


def transport(inner: Any, tap_getter: TapGetter) -> Any:
    """Return a transport that sends through `inner` (httpx or httpx2, sync, async or both) and records.

    The explicit way, without patches: `httpx2.Client(transport=transport(httpx2.HTTPTransport(), getter))`. Where the
    client is patched as well, a request is recorded once. `tap_getter` is asked at each request; None: not recording.
    """
    cls: type = type(inner)
    return _transport_class(cls)(inner, tap_getter)


# The core: plain functions over one request and one response, of either library, sync or async.


def _begin(tap: Tap | None, look: Callable[[Any], object], sender: Any, request: Any) -> Sending | None:
    """Return the exchange that this request opens, with the request, or None if it is not ours to look at.

    `look` is shown the client or transport that sends it, if it is ours.
    """
    if tap is None:
        return None
    try:
        host, path = _host_and_path(request.url)
        api = recognise(request.method, path)
        if api is None or (UNDERWAY.get() is not None and _is_passed_on(request, host, path)):
            return None
        look(sender)
        headers = _picked(request.headers, _REQUEST_HEADERS)
        exchange = tap.begin(request.method, host, path, _request_body(request), headers, api=api)
        return Sending(tap, request, exchange) if exchange is not None else None
    except Exception as error:
        count_failure(tap.failed, error)
        return None


def _host_and_path(url: Any) -> tuple[str, str]:
    """Return both as the library spells them: what it keeps, where that needs no decoding, saves four of its calls."""
    try:
        parts = url._uri_reference
        host, path = parts.host, parts.path
        if path and "%" not in path and not host.startswith("xn--"):
            return host, path
    except (AttributeError, TypeError):
        pass
    return url.host, url.path


def _is_passed_on(request: Any, host: str, path: str) -> bool:
    """Return whether a hook further up sends this request now: the same one, or one that a transport made of it."""
    if not underway():
        return False
    sending = UNDERWAY.get()
    if isinstance(sending, Sending) and sending.request is request:
        return True
    return passed_on(host, path, _request_body(request), whole=True) is not None


def _answered(exchange: Exchange | None, request: Any, response: Any) -> None:
    """Note the head of the response, and see to it that its body is noted as the host reads it."""
    if exchange is None:
        return
    if exchange.request_body is None:
        exchange.request_body = _loaded_body(request)
    headers = _picked(response.headers, _RESPONSE_HEADERS)
    if 300 <= response.status_code < 400 and "location" in headers:
        exchange.void = True
        return
    encoding = headers.get("content-encoding", "")
    if not response.is_closed:
        exchange.answer(response.status_code, headers.get("content-type", ""), encoding, headers)
        response.stream = tapped(response.stream, exchange)
        return
    # A cached or mocked response arrives already read: its stream never runs, so it is recorded here, decoded.
    exchange.answer(response.status_code, headers.get("content-type", ""), "", headers)
    body = _loaded_body(response)
    if body is None:
        exchange.finish("closed")
        return
    exchange.add(body)
    exchange.finish("read")


def _request_body(request: Any) -> bytes | None:
    """Return the body of a request that is in memory, None for one that streams."""
    body = getattr(request, "_content", None)  # what `content` gives, in one step
    if type(body) is bytes:
        return body
    body = _loaded_body(request)
    if body is None:
        # What a redirect leads to is given the stream of the request before it, and counts as unread.
        stream: Any = getattr(request, "stream", None)
        if type(stream).__name__ == "ByteStream" and _is_of_library(stream):
            body = b"".join(stream)
    return body


def _is_of_library(thing: object) -> bool:
    return type(thing).__module__.partition(".")[0] in _LIBRARIES


def _loaded_body(message: Any) -> bytes | None:
    """Return the body of a request or response that is in memory, None for one that streams."""
    try:
        body = message.content
    except Exception as error:  # RequestNotRead or ResponseNotRead, of either library
        let_through(error)
        return None
    return body if isinstance(body, bytes) else None


def _picked(headers: Any, names: frozenset[bytes]) -> dict[str, str]:
    """Return the headers of these lower-case names; one pass over all of them, as a look-up of httpx costs as much."""
    picked: dict[str, str] = {}
    try:
        # What both libraries keep has the lower-case names already; `raw` makes a list to be lowered again.
        for _, name, value in headers._list:
            if name in names:
                key, text = name.decode("ascii"), value.decode("latin-1")
                picked[key] = f"{picked[key]}, {text}" if key in picked else text
    except (AttributeError, TypeError, ValueError):
        for key in (name.decode("ascii") for name in names):
            if values := headers.get_list(key):
                picked[key] = ", ".join(values)
    return picked


# The shells: they send, and tell the core.


def _sync_shell(tap_of: Callable[[Any], Tap | None], look: Callable[[Any], None], send: Callable[..., Any]) -> Any:
    """Return what stands over `send(this, request)`, of a client or transport."""

    @functools.wraps(send)
    def shell(this: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        sending = _begin(tap_of(this), look, this, request)
        if sending is None:
            return send(this, request, *args, **kwargs)
        around = UNDERWAY.get()
        try:
            UNDERWAY.set(sending)  # in here: a signal's handler may raise as it returns
            # Without more, as ever, not by way of a tuple and a dictionary.
            response = send(this, request, *args, **kwargs) if args or kwargs else send(this, request)
        except BaseException as error:
            safely(sending.tap.failed, sending.end_by, error)
            raise
        finally:
            UNDERWAY.set(around)
            exchange = sending.let_go()
        try:
            _answered(exchange, request, response)
        except Exception as error:
            count_failure(sending.tap.failed, error)
        return response

    return shell


def _async_shell(
    tap_of: Callable[[Any], Tap | None], look: Callable[[Any], None], send: Callable[..., Awaitable[Any]]
) -> Any:
    @functools.wraps(send)
    async def shell(this: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        sending = _begin(tap_of(this), look, this, request)
        if sending is None:
            return await send(this, request, *args, **kwargs)
        around = UNDERWAY.get()
        try:
            UNDERWAY.set(sending)  # in here: a signal's handler may raise as it returns
            response = await (send(this, request, *args, **kwargs) if args or kwargs else send(this, request))
        except BaseException as error:
            safely(sending.tap.failed, sending.end_by, error)
            raise
        finally:
            UNDERWAY.set(around)
            exchange = sending.let_go()
        try:
            _answered(exchange, request, response)
        except Exception as error:
            count_failure(sending.tap.failed, error)
        return response

    return shell


def _look_at_nothing(_: Any) -> None:
    """Stand for a look at clients where transports themselves are recorded."""


class _Transport:
    """What both kinds of transport share: whatever is not sending is the wrapped transport's own."""

    def __init__(self, inner: Any, tap_getter: TapGetter) -> None:
        self._tf_inner = inner
        self._tf_tap_getter = tap_getter

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_tf_inner"), name)


def _tap_given(this: _Transport) -> Tap | None:
    return this._tf_tap_getter()


class _SyncTransport(_Transport):
    def _send(self, request: Any) -> Any:
        return self._tf_inner.handle_request(request)

    handle_request = _sync_shell(_tap_given, _look_at_nothing, _send)

    def close(self) -> None:
        self._tf_inner.close()

    def __enter__(self) -> Any:
        self._tf_inner.__enter__()
        return self

    def __exit__(self, *exception: object) -> Any:
        return self._tf_inner.__exit__(*exception)


class _AsyncTransport(_Transport):
    async def _send(self, request: Any) -> Any:
        return await self._tf_inner.handle_async_request(request)

    handle_async_request = _async_shell(_tap_given, _look_at_nothing, _send)

    async def aclose(self) -> None:
        await self._tf_inner.aclose()

    async def __aenter__(self) -> Any:
        await self._tf_inner.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> Any:
        return await self._tf_inner.__aexit__(*exception)


@functools.lru_cache(maxsize=64)
def _transport_class(cls: type) -> type[_Transport]:
    """Make the class of transports that wrap transports of this class: it has the same bases of its library."""
    ours = {"BaseTransport": _SyncTransport, "AsyncBaseTransport": _AsyncTransport}
    bases = kinds(cls, *ours)
    if not bases:  # a transport by duck typing: httpx asks for no base class either
        return type("TappedTransport", (_SyncTransport, _AsyncTransport), {})
    return type("TappedTransport", (*(ours[base.__name__] for base in bases), *bases), {})


# The patches.


class _Installation(Patches):
    """The patches of both libraries."""

    def __init__(self, tap: Tap) -> None:
        super().__init__(tap)
        self._warned: set[str] = set()

    def patch(self, library: ModuleType) -> None:
        """Patch both clients of one library; never raises, as it runs inside the host's import statement."""
        if self._tap is not None:
            tap = self._tap
            safely(tap.failed, self._patch_client, library, "Client", "HTTPTransport", "handle_request")
            safely(tap.failed, self._patch_client, library, "AsyncClient", "AsyncHTTPTransport", "handle_async_request")

    def _patch_client(self, library: ModuleType, client: str, fallback: str, fallback_method: str) -> None:
        asynchronous = client == "AsyncClient"
        shell, below = (_async_shell, async_shell) if asynchronous else (_sync_shell, sync_shell)
        pool = "AsyncConnectionPool" if asynchronous else "ConnectionPool"
        look = _once_through_another(lambda: self._cover_pool(library.__name__, pool, fallback_method, below))
        if self._cover(getattr(library, client, None), _SEND, functools.partial(shell, self._tap_now, look)):
            return
        instead = functools.partial(shell, self._tap_now, _look_at_nothing)
        found = self._cover(getattr(library, fallback, None), fallback_method, instead)
        self._warn(
            f"{library.__name__}.{client}.{_SEND}(request)",
            f"{fallback} is recorded instead" if found else f"{fallback} is unknown too, nothing is recorded",
        )

    def _tap_now(self, _: Any) -> Tap | None:
        return self._tap

    def _cover_pool(self, library: str, pool: str, method: str, shell: Callable[[Any], Any]) -> None:
        """See each try that passes this pool, once it is imported: a transport may do that as late as it sends."""

        def patch(core: ModuleType) -> None:
            if self._tap is not None:
                safely(self._tap.failed, self._cover, getattr(core, pool, None), method, shell)

        if library in _POOLS:
            self._layers.when_imported(_POOLS[library], patch)

    def _warn(self, missing: str, consequence: str) -> None:
        """Say once, in the log, what this version of a library lacks, and count it."""
        if missing in self._warned:
            return
        self._warned.add(missing)
        remedy = "Wrap transports of your own with tokenflation.sdk.transport() to record them"
        self._say_missing(_log, "%s is missing in this version: %s. %s.", missing, consequence, remedy)

    def _cover(self, owner: Any, name: str, shell: Callable[[Any], Any]) -> bool:
        """Put a shell over a method that takes one request; False if there is no such method."""
        owner = next((cls for cls in getattr(owner, "__mro__", ()) if name in cls.__dict__), None)
        if owner is None or not _takes_one_request(owner.__dict__[name]):
            return False
        # After httpx2.alias_httpx() both names lead to the same classes: go by the class, not by the name.
        if not any(layer.owner is owner and layer.name == name for layer in self._layers):
            self._layers.cover(owner, name, shell)
        return True


def _once_through_another(act: Callable[[], object]) -> Callable[[Any], None]:
    """Return what looks at a client, and acts once: at the first whose transport is none of the libraries' own."""
    acted = threading.Lock()
    own: set[type] = set()

    def look(client: Any) -> None:
        try:
            if type(client._transport) in own and not client._mounts:
                return
        except AttributeError:
            pass
        first, mounts = getattr(client, "_transport", None), getattr(client, "_mounts", None)
        if acted.locked():
            return
        others = [
            one for one in (first, *(mounts.values() if mounts else ())) if one is not None and not _is_of_library(one)
        ]
        if others and acted.acquire(blocking=False):
            act()
        elif not others and len(own) < _MOST_OWN:
            own.add(type(first))

    return look


def _takes_one_request(function: Any) -> bool:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return False
    rest = [p for p in parameters[2:] if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return len(parameters) >= 2 and parameters[1].name == "request" and not rest
