"""Records the requests of urllib3 (1.26 and 2.x), and so those of requests and of botocore, which send through it.

The shell sits on `HTTPConnectionPool._make_request`: one call of it is one request on the wire, urllib3's own retries
and redirects included. The body is noted below urllib3's decoding, where all its ways of reading meet: the chunks still
carry their content encoding. Imports no library; knows nothing of what the bytes mean.
"""

import functools
import inspect
import io
import logging
import weakref
from collections.abc import Callable, Generator, Iterator
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from tokenflation.sdk.exchange import REQUEST_HEADERS, Exchange, Tap
from tokenflation.sdk.hooks.bodies import end_by, safely
from tokenflation.sdk.hooks.heads import KEPT_HEADERS, host_of, loaded, path_of, picked
from tokenflation.sdk.hooks.httpx_tries import Sending, tried
from tokenflation.sdk.hooks.patches import Patches
from tokenflation.sdk.hooks.reading import ReadBody
from tokenflation.sdk.hooks.underway import UNDERWAY, Sent, passed_on
from tokenflation.sdk.saying import say
from tokenflation.sdk.wire import recognise

__all__ = ["install"]

_SEND = "_make_request"
_BODY = "__tokenflation_body__"
"""Set on http.client's response, which both generations of urllib3 read from."""
_MISSING = (
    "%s is missing in this version: nothing is recorded. Use urllib3 1.26.12 or newer (or 2.x) to record requests and "
    "boto3."
)
_PROMISED = (
    "%s is called with `multiplexed`: such a call is missing in the store, as its answer comes by a way that tokenflation "
    "does not see. Leave `multiplexed` out to record it."
)
_log = logging.getLogger(__name__)


class _Sending:
    """A request on its way: urllib3 2.x may read the whole body before its response reaches us."""

    __slots__ = ("answered", "connection", "exchange", "owner")

    def __init__(self, owner: "_Installation", connection: object, exchange: Exchange | None) -> None:
        self.owner = owner
        """The installation that records it: the shells of any other let it pass."""
        self.connection = connection
        self.exchange = exchange
        self.answered = False


_SENDING: ContextVar[_Sending | None] = ContextVar("tokenflation_urllib3", default=None)


def install(tap: Tap) -> Callable[[], None]:
    """Record every pool, session and AWS client, old or new, urllib3 imported or not; return what undoes it."""
    return _Installation(tap).wait_for("urllib3", "urllib3_future")  # niquests' own, beside urllib3 or in its place


# The core: one request, one response, one body.


class _Body(ReadBody):
    """The body of an answer while urllib3 reads it."""

    __slots__ = ("chunks",)

    def __init__(self, owner: object, exchange: Exchange) -> None:
        super().__init__(owner, exchange)
        self.chunks: weakref.ref[Generator[bytes, None, None]] | None = None
        """What urllib3 yields; weak, as it holds the response that we lie on."""

    def watch(self, chunks: Generator[bytes, None, None]) -> None:
        """Know what urllib3 yields."""
        self.chunks = weakref.ref(chunks)

    def is_inside(self) -> bool:
        """Return whether urllib3 is reading: it closes a response itself before it says what is wrong with it."""
        chunks = self.chunks() if self.chunks is not None else None
        return chunks is not None and getattr(chunks, "gi_running", False)


def _begin(tap: Tap, api: str, pool: Any, method: str, url: str, sent: dict[str, Any]) -> Exchange | Sent | None:
    """Return the exchange that this request opens, or what a hook or a shell further up records it as already."""
    host, path, body = host_of(pool, url), path_of(url), loaded(sent.get("body"))
    above = passed_on(host, path, body)
    if above is not None:
        return above
    return tap.begin(method, host, path, body, picked(sent.get("headers"), REQUEST_HEADERS), api=api)


def _answered(sending: _Sending, response: Any) -> _Body | None:
    """Note the head of an answer, and see to it that its body is noted as the host reads it."""
    exchange = sending.exchange
    if sending.answered or exchange is None:
        return None
    sending.answered = True
    if not hasattr(response, "headers"):
        sending.owner.let_go(exchange)
        return None
    headers = picked(response.headers, KEPT_HEADERS)
    if 300 <= response.status < 400 and "location" in headers:
        exchange.void = True
        return None
    content_type, encoding = headers.get("content-type", ""), headers.get("content-encoding", "")
    held: Any = getattr(response, "_content", None)
    kept = held.getvalue() if isinstance(held, io.BytesIO) else None  # vcrpy's, which are read past our shells
    # urllib3 1.26 hands over http.client's response, 2.x its own around it.
    source = response if hasattr(response, "fp") else getattr(response, "_fp", None)
    if source is None or kept is not None:  # HTTP/2, recorded answers of test tools: in memory, or not for us to read
        exchange.answer(response.status, content_type, encoding if kept is not None else "", headers)
        whole = kept if kept is not None else getattr(response, "_data", None)
        if isinstance(whole, bytes):
            exchange.add(whole)
        exchange.finish("read" if isinstance(whole, bytes) else "closed")
        return None
    exchange.answer(response.status, content_type, encoding, headers)
    setattr(source, _BODY, body := _Body(sending.owner, exchange))
    return body


def _body_of(owner: object, response: Any) -> _Body | None:
    """Return the body that this installation notes while this response is read, if any."""
    body: _Body | None = getattr(getattr(response, "_fp", None), _BODY, None)
    if body is None:
        sending = _SENDING.get()
        if sending is not None and not sending.answered and sending.exchange is not None:
            body = safely(sending.exchange.failed, _answered, sending, response)
    return body if body is not None and body.owner is owner else None


def _note_read(body: _Body, data: bytes | None, source: Any) -> None:
    """Note what one read returned; at a body's end http.client lets go of its file, and urllib3-future's is closed."""
    if data:
        body.note(data)
    if getattr(source, "fp", source) is None or getattr(source, "closed", False):
        body.finish()


def _note_close(body: _Body, response: Any) -> None:
    if not body.is_inside():
        body.close(response)


def _noted(body: _Body, chunks: Generator[bytes, None, None]) -> Iterator[bytes]:
    """Yield what urllib3 yields, chunk by chunk, and note how it ends; the chunks themselves are noted below."""
    safely(body.exchange.failed, body.watch, chunks)
    try:
        yield from chunks
    except BaseException as error:
        safely(body.exchange.failed, body.end_by, error)
        raise
    safely(body.exchange.failed, body.finish)


def _open(owner: "_Installation", tap: Tap, pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sent | None:
    """Return what is to be known while a request is sent, or None if it is nothing to us."""
    if len(args) < 3:
        return None  # not as urllib3 itself calls it
    connection, method, url = args[:3]
    api = recognise(method, path_of(url) if "%" in url else url)
    around = _SENDING.get()
    begun = _begin(tap, api, pool, method, url, kwargs) if api is not None else None
    exchange = begun if isinstance(begun, Exchange) else None
    if isinstance(begun, Sending) and around is None:
        return begun
    if exchange is None and (around is None or around.connection is connection):
        return None
    # A request that is sent inside another one (a name looked up over HTTPS) is not to be taken for it.
    return _Sending(owner, connection, exchange)


def _send(sending: _Sending, original: Callable[..., Any], pool: Any, *args: Any, **kwargs: Any) -> Any:
    """Send one request through urllib3 and record what comes of it."""
    exchange = sending.exchange
    # Told not to load the body, urllib3 reads nothing of it before we see its response.
    token = _SENDING.set(sending) if kwargs.get("preload_content", True) or exchange is None else None
    around = UNDERWAY.get()
    if exchange is not None:
        UNDERWAY.set(sending)
    try:
        response = original(pool, *args, **kwargs)
    except BaseException as error:
        if exchange is not None:
            safely(exchange.failed, end_by, exchange, error)
        raise
    finally:
        if token is not None:
            _SENDING.reset(token)
        if exchange is not None:
            UNDERWAY.set(around)
    if exchange is not None:
        safely(exchange.failed, _answered, sending, response)
    return response


# The patches.


class _Installation(Patches):
    """The patches of urllib3's pools and responses."""

    def __init__(self, tap: Tap) -> None:
        super().__init__(tap)
        self._warned = False
        self._promised: set[str] = set()

    def let_go(self, exchange: Exchange) -> None:
        """Say of an api, once, that a request's answer comes by a way that is not seen; it makes no row."""
        exchange.void = True
        if exchange.api not in self._promised:
            self._promised.add(exchange.api)
            exchange.failed(f"unseen:{exchange.api}")
            say(_log, _PROMISED, exchange.api)

    def _patch(self, library: ModuleType) -> None:
        pools = getattr(library, "connectionpool", None)
        pool, secure = getattr(pools, "HTTPConnectionPool", None), getattr(pools, "HTTPSConnectionPool", None)
        response = getattr(getattr(library, "response", None), "HTTPResponse", None)
        # 2.x turns the errors of a read into its own in `_raw_read`; 1.26 has `_fp_read` only.
        read = "_raw_read" if hasattr(response, "_raw_read") else "_fp_read"
        places: list[tuple[Any, str, tuple[str, ...], Callable[[Any], Any]]] = [
            (pool, _SEND, ("conn", "method", "url"), self._sender),
            (response, read, ("amt",), self._reader),
            (response, "_handle_chunk", ("amt",), self._chunk_reader),
            (response, "read_chunked", ("amt",), self._chunks_reader),
            (response, "close", (), self._closer),
        ]
        if _SEND in getattr(secure, "__dict__", ()):  # New Relic's agent has wrapped what this class inherited
            places.append((secure, _SEND, ("conn", "method", "url"), self._sender))
        missing = [f"{name}({', '.join(first)})" for owner, name, first, _ in places if not _takes(owner, name, first)]
        if missing:
            self._warn(f"{library.__name__}: {', '.join(missing)}")
            return
        for owner, name, _, make_shell in places:
            self._layers.cover(owner, name, make_shell)

    def _warn(self, missing: str) -> None:
        """Say once, in the log, what this version lacks, and count it."""
        if not self._warned and self._tap is not None:
            self._warned = True
            self._say_missing(_log, _MISSING, missing)

    def _sender(self, original: Any) -> Any:
        @functools.wraps(original)
        def shell(pool: Any, *args: Any, **kwargs: Any) -> Any:
            tap = self._tap
            sending = safely(tap.failed, _open, self, tap, pool, args, kwargs) if tap is not None else None
            if sending is None:
                return original(pool, *args, **kwargs)
            if isinstance(sending, Sending):
                return tried(sending, original, pool, *args, **kwargs)
            return _send(sending, original, pool, *args, **kwargs)

        return shell

    def _reader(self, original: Any) -> Any:
        @functools.wraps(original)
        def shell(response: Any, *args: Any, **kwargs: Any) -> Any:
            body = _body_of(self, response)
            if body is None:
                return original(response, *args, **kwargs)
            try:
                data = original(response, *args, **kwargs)
            except BaseException as error:
                safely(body.exchange.failed, body.end_by, error)
                raise
            safely(body.exchange.failed, _note_read, body, data, response._fp)
            return data

        return shell

    def _chunk_reader(self, original: Any) -> Any:
        @functools.wraps(original)
        def shell(response: Any, *args: Any, **kwargs: Any) -> Any:
            chunk = original(response, *args, **kwargs)
            body = _body_of(self, response)
            if body is not None:
                safely(body.exchange.failed, body.note, chunk)
            return chunk

        return shell

    def _chunks_reader(self, original: Any) -> Any:
        @functools.wraps(original)
        def shell(response: Any, *args: Any, **kwargs: Any) -> Any:
            body = _body_of(self, response)
            chunks = original(response, *args, **kwargs)
            return chunks if body is None else _noted(body, chunks)

        return shell

    def _closer(self, original: Any) -> Any:
        @functools.wraps(original)
        def shell(response: Any, *args: Any, **kwargs: Any) -> Any:
            body = _body_of(self, response)
            if body is not None:
                safely(body.exchange.failed, _note_close, body, response)
            return original(response, *args, **kwargs)

        return shell


def _takes(owner: Any, name: str, first: tuple[str, ...]) -> bool:
    """Return whether a class itself has this method, with these first parameters and none else required."""
    try:
        parameters = list(inspect.signature(owner.__dict__[name]).parameters.values())[1:]
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    rest = [
        p for p in parameters[len(first) :] if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    return tuple(p.name for p in parameters[: len(first)]) == first and not rest
