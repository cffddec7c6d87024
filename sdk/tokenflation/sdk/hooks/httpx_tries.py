"""Sees a request of httpx or httpx2 that a transport of the host's own sends again: each try is an exchange.

Transports that retry (httpx-retries, pydantic-ai's tenacity ones) stand between the client, where one request leaves
and the last answer comes back, and httpcore's pool, or aiohttp's or urllib3's, where each try passes. Only a failure
that is worth a retry is taken for a try of its own. Imports no library.

The shells lie on the pool, not on the library's transport: tracers wrap that one, and can take off only what is on top.
"""

import functools
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from msgspec import Struct

from tokenflation.sdk.clock import now_ns
from tokenflation.sdk.exchange import RETRIED_CODES, Exchange, Tap
from tokenflation.sdk.hooks.bodies import end_by, safely
from tokenflation.sdk.hooks.underway import UNDERWAY

__all__ = ["Sending", "async_shell", "sync_shell", "tried"]


class _Failure(NamedTuple):
    """How a try ended that another may follow."""

    at_ns: int
    status_code: int | None
    content_type: str
    error_type: str | None


class Sending(Struct, eq=False):
    """One request that a client sends now; filled by the shells in whichever thread or task they run."""

    tap: Tap
    request: Any
    exchange: Exchange | None
    """The last try; None if that is not recorded."""
    _failure: _Failure | None = None

    @property
    def failed(self) -> Callable[[str], None]:
        """Counts one failure of the recorder itself, by reason."""
        return self.tap.failed

    def let_go(self) -> Exchange | None:
        """Return the last try, and hold neither it nor the request: contexts that were copied meanwhile may live on.

        Tasks that a transport starts have such, and open connections of asyncio.
        """
        last, self.exchange, self.request = self.exchange, None, None
        return last

    def leaves(self) -> None:
        """Begin another exchange if this is the next try after one that failed.

        Raises:
            LimitReached: as `Tap.begin` does.
        """
        before, failure = self.exchange, self._failure
        if before is None or failure is None:
            return
        self._failure = self.exchange = None
        if failure.status_code is not None:
            before.answer(failure.status_code, failure.content_type, "")
        before.error_type = failure.error_type
        before.finish("closed" if failure.error_type is None else "failed", ended_at_ns=failure.at_ns)
        url = self.request.url  # a transport may have turned to another host
        self.exchange = self.tap.begin(
            before.method,
            url.host,
            url.path,
            before.request_body,
            before.request_headers,
            context=before.context,
            resent=True,
        )

    def came(self, status_code: int, headers: Iterable[tuple[Any, Any]]) -> None:
        """Note what came back of a try."""
        failed = status_code in RETRIED_CODES
        self._failure = _Failure(now_ns(), status_code, _content_type(headers), None) if failed else None

    def broke(self, error: BaseException) -> None:
        """Note that nothing came back of a try."""
        self._failure = _Failure(now_ns(), None, "", type(error).__name__) if isinstance(error, Exception) else None

    def end_by(self, error: BaseException) -> None:
        """Finish the last try by what reaches the client: a transport may raise an error of its own for an answer."""
        last, failure = self.exchange, self._failure
        if last is None:
            return
        if failure is not None and failure.status_code is not None:
            last.answer(failure.status_code, failure.content_type, "")
        end_by(last, error)


def _content_type(headers: Iterable[tuple[Any, Any]]) -> str:
    return next((_text(value) for name, value in headers if _text(name).lower() == "content-type"), "")


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def tried(sending: Sending, send: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return what `send` returns, a try of what a client sends now; its headers are an attribute, as pairs or not."""
    safely(sending.failed, sending.leaves)
    try:
        response = send(*args, **kwargs)
    except BaseException as error:
        safely(sending.failed, sending.broke, error)
        raise
    safely(sending.failed, _note, sending, response)
    return response


async def _tried_async(sending: Sending, send: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
    safely(sending.failed, sending.leaves)
    try:
        response = await send(*args, **kwargs)
    except BaseException as error:
        safely(sending.failed, sending.broke, error)
        raise
    safely(sending.failed, _note, sending, response)
    return response


def _note(sending: Sending, response: Any) -> None:
    headers = response.headers
    sending.came(response.status, headers.items() if hasattr(headers, "items") else headers)


def _sending(request: Any) -> Sending | None:
    """Return what is known of this request of httpcore's if a client's shell sends it now: both have one body."""
    sending = UNDERWAY.get()
    if not isinstance(sending, Sending) or getattr(request, "stream", sending) is not getattr(
        sending.request, "stream", None
    ):
        return None
    return sending


def sync_shell(original: Any) -> Any:
    """Return what stands over `ConnectionPool.handle_request`."""

    @functools.wraps(original)
    def shell(this: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        sending = _sending(request)
        if sending is None:
            return original(this, request, *args, **kwargs)
        return tried(sending, original, this, request, *args, **kwargs)

    return shell


def async_shell(original: Any) -> Any:
    """Return what stands over `AsyncConnectionPool.handle_async_request`."""

    @functools.wraps(original)
    async def shell(this: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        sending = _sending(request)
        if sending is None:
            return await original(this, request, *args, **kwargs)
        return await _tried_async(sending, original, this, request, *args, **kwargs)

    return shell
