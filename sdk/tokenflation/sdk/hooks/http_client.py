"""Records the requests of the standard library's http.client, and so those of urllib.request and httplib2.

A request begins as its head ends; those of urllib3, which pass here too, are recorded by its own hook. A body is noted
as the host reads it: http.client has taken off the transfer encoding by then, a content encoding is still there.
Does not import http.client, which brings ssl and email.
"""

import functools
import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tokenflation.sdk.exchange import Exchange, Tap
from tokenflation.sdk.hooks.bodies import safely
from tokenflation.sdk.hooks.heads import KEPT_HEADERS, host_of, loaded, path_of, picked
from tokenflation.sdk.hooks.patches import Patches
from tokenflation.sdk.hooks.reading import ReadBody
from tokenflation.sdk.hooks.underway import UNDERWAY, passed_on
from tokenflation.sdk.wire import recognise

__all__ = ["install"]

_BODY = "__tokenflation_read__"
"""Set on a connection while it waits for an answer, and then on that."""
_ASKED = "__tokenflation_asked__"
"""Set on a connection from the first line of a request until its head is whole: api, method and target."""
_READS = ("read", "read1", "readline")
_MISSING = "http.client lacks %s in this Python: what urllib.request and http.client send is not recorded."
_log = logging.getLogger(__name__)


def install(tap: Tap) -> Callable[[], None]:
    """Record every connection, made before or after; return the function that undoes it."""
    return _Installation(tap).wait_for("http.client")


class _Body(ReadBody):
    __slots__ = ("is_inside",)

    def __init__(self, owner: object, exchange: Exchange) -> None:
        super().__init__(owner, exchange)
        self.is_inside = False
        """Whether a read is under way: http.client's reads call each other."""

    def came(self, response: Any, data: bytes) -> None:
        """Note what one read returned; at its end http.client lets go of its file, but after lines."""
        if data:
            self.note(data)
        if response.fp is None or response.length == 0:
            self.finish()

    def broke(self, error: BaseException) -> None:
        """Note that a read failed, and what had come till then."""
        partial = getattr(error, "partial", None)  # of `IncompleteRead`
        if isinstance(partial, bytes):
            self.note(partial)
        self.end_by(error)


def _ask(connection: Any, method: str, url: str) -> None:
    """Note the first line of a request, if it may ask a model."""
    connection.__dict__.pop(_ASKED, None)
    api = recognise(method, path_of(url))
    if api is not None:
        setattr(connection, _ASKED, (api, method, url))


def _begin(owner: object, tap: Tap, connection: Any, body: Any) -> _Body | None:
    """Return what notes the answer to this request; None if it asks no model, or a hook further up records it."""
    api, method, url = connection.__dict__.pop(_ASKED)
    tunnel = getattr(connection, "_tunnel_host", None)
    host, path = str(tunnel).strip("[]") if tunnel else host_of(connection, url), path_of(url)
    sent = None if body is None and method == "POST" else loaded(body)  # what comes after the head we do not see
    if passed_on(host, path, sent) is not None:
        return None
    exchange = tap.begin(method, host, path, sent, {}, api=api)
    return _Body(owner, exchange) if exchange is not None else None


def _answered(body: _Body, response: Any) -> None:
    """Note the head of an answer, and see to it that its body is noted as the host reads it."""
    headers = picked(response.headers, KEPT_HEADERS)
    if 300 <= response.status < 400 and "location" in headers:
        body.exchange.void = True
        return
    encoding = headers.get("content-encoding", "")
    body.exchange.answer(response.status, headers.get("content-type", ""), encoding, headers)
    setattr(response, _BODY, body)
    body.came(response, b"")


class _Installation(Patches):
    """The patches of connections and answers."""

    def _patch(self, library: ModuleType) -> None:
        connection, response = getattr(library, "HTTPConnection", None), getattr(library, "HTTPResponse", None)
        places: list[tuple[Any, str, Callable[[Any], Any]]] = [
            (connection, "putrequest", self._asker),
            (connection, "endheaders", self._sender),
            (connection, "getresponse", self._getter),
            (response, "readinto", self._filler),
            (response, "close", self._closer),
            *((response, name, self._reader) for name in _READS),
        ]
        missing = [name for owner, name, _ in places if not callable(getattr(owner, "__dict__", {}).get(name))]
        if missing:
            self._say_missing(_log, _MISSING, ", ".join(missing))
            return
        for owner, name, make_shell in places:
            self._layers.cover(owner, name, make_shell)

    def _asker(self, original: Any) -> Any:
        @functools.wraps(original)
        def shell(connection: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
            if self._tap is not None:
                safely(self._tap.failed, _ask, connection, method, url)
            return original(connection, method, url, *args, **kwargs)

        return shell

    def _sender(self, original: Any) -> Any:
        @functools.wraps(original)
        def shell(connection: Any, message_body: Any = None, **kwargs: Any) -> Any:
            tap, noted = self._tap, None
            if tap is not None and _ASKED in connection.__dict__:
                noted = safely(tap.failed, _begin, self, tap, connection, message_body)
            if noted is None:
                return original(connection, message_body, **kwargs)
            around = UNDERWAY.get()
            UNDERWAY.set(noted)
            try:
                done = original(connection, message_body, **kwargs)
            except BaseException as error:
                safely(noted.exchange.failed, noted.end_by, error)
                raise
            finally:
                UNDERWAY.set(around)
            safely(noted.exchange.failed, setattr, connection, _BODY, noted)
            return done

        return shell

    def _getter(self, original: Any) -> Any:
        @functools.wraps(original)
        def shell(connection: Any, *args: Any, **kwargs: Any) -> Any:
            body = self._body_of(connection)
            if body is None:
                return original(connection, *args, **kwargs)
            delattr(connection, _BODY)
            try:
                response = original(connection, *args, **kwargs)
            except BaseException as error:
                safely(body.exchange.failed, body.end_by, error)
                raise
            safely(body.exchange.failed, _answered, body, response)
            return response

        return shell

    def _reader(self, original: Any) -> Any:
        @functools.wraps(original)
        def shell(response: Any, *args: Any, **kwargs: Any) -> Any:
            body = self._body_of(response)
            if body is None or body.is_inside:
                return original(response, *args, **kwargs)
            data = _inside(body, original, response, *args, **kwargs)
            safely(body.exchange.failed, body.came, response, data)
            return data

        return shell

    def _filler(self, original: Any) -> Any:
        @functools.wraps(original)
        def shell(response: Any, buffer: Any, *args: Any, **kwargs: Any) -> Any:
            body = self._body_of(response)
            if body is None or body.is_inside:
                return original(response, buffer, *args, **kwargs)
            count = _inside(body, original, response, buffer, *args, **kwargs)
            safely(body.exchange.failed, _filled, body, response, buffer, count)
            return count

        return shell

    def _closer(self, original: Any) -> Any:
        @functools.wraps(original)
        def shell(response: Any, *args: Any, **kwargs: Any) -> Any:
            body = self._body_of(response)
            if body is not None and not body.is_inside:
                safely(body.exchange.failed, body.close, response)
            return original(response, *args, **kwargs)

        return shell

    def _body_of(self, owner: Any) -> _Body | None:
        body: _Body | None = owner.__dict__.get(_BODY)
        return body if body is not None and body.owner is self else None


def _inside(body: _Body, read: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return what a read returns; what it reads by others is not noted twice."""
    body.is_inside = True
    try:
        return read(*args, **kwargs)
    except BaseException as error:
        safely(body.exchange.failed, body.broke, error)
        raise
    finally:
        body.is_inside = False


def _filled(body: _Body, response: Any, buffer: Any, count: int) -> None:
    body.came(response, bytes(memoryview(buffer).cast("B")[:count]))
