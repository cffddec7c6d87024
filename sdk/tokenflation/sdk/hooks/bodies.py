"""Response bodies that note each chunk as it passes: they keep the kind of the body they wrap (sync, async, both).

Knows httpx's stream classes by name only, so that one wrapper serves httpx and httpx2 and imports neither.
"""

import functools
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Any

from tokenflation.sdk.clock import ORIGIN_NS, ticks_ns
from tokenflation.sdk.exchange import Exchange
from tokenflation.sdk.interrupts import count_failure

__all__ = ["end_by", "end_by_close", "kinds", "safely", "tapped"]


def tapped(stream: Any, exchange: Exchange) -> Any:
    """Return a body that yields what `stream` yields, at the same moment, and notes it in the exchange."""
    cls: type = type(stream)
    return _tapped_class(cls)(stream, exchange)


def kinds(cls: type, *names: str) -> tuple[type, ...]:
    """Return the bases of a class that carry one of these names, in the order of the names."""
    return tuple(base for name in names for base in cls.__mro__ if base.__name__ == name)


def safely(failed: Callable[[str], None], step: Callable[..., object], *arguments: object) -> Any:
    """Return `step(*arguments)`; if it raises, count that and return None: the host must not notice us."""
    try:
        return step(*arguments)
    except Exception as error:  # whatever it was, the host must not see it
        count_failure(failed, error)
        return None


def end_by(exchange: Exchange, error: BaseException | None) -> None:
    """Finish an exchange that did not reach its end, by what ended it; the exception itself is not touched."""
    if isinstance(error, GeneratorExit):
        # The host closed the generator; it may have done so because it was cancelled itself.
        error = error.__context__ if _is_cancellation(error.__context__) else None
    if error is None:
        exchange.finish("closed")
    else:
        exchange.finish("cancelled" if _is_cancellation(error) else "failed", error)


def _is_cancellation(error: BaseException | None) -> bool:
    # asyncio.CancelledError, trio.Cancelled, KeyboardInterrupt and SystemExit have in common that they are no
    # Exception.
    return error is not None and not isinstance(error, (Exception, GeneratorExit))


def end_by_close(exchange: Exchange) -> None:
    """Finish an exchange whose answer the host lets go of before its end, perhaps as it was cancelled."""
    handled = sys.exception()
    end_by(exchange, handled if _is_cancellation(handled) else None)


class _Tapped:
    """What all bodies share: whatever is not iterating or closing is the wrapped body's own."""

    def __init__(self, stream: Any, exchange: Exchange) -> None:
        self._tf_stream = stream
        self._tf_exchange = exchange

    def __getattr__(self, name: str) -> Any:
        # httpx2 reads `elapsed` here. The plain look-up of the wrapped body cannot recurse in a half-made copy.
        return getattr(object.__getattribute__(self, "_tf_stream"), name)

    def __del__(self) -> None:
        try:  # at interpreter shutdown contextlib may be gone, like anything else
            if self._tf_exchange.end is None:
                self._tf_exchange.finish("dropped")
        except BaseException:  # noqa: S110  # the collector has nobody to tell
            pass


class _SyncBody(_Tapped):
    def __iter__(self) -> Iterator[bytes]:
        exchange = self._tf_exchange
        note, size = exchange.chunks.append, 0
        room = exchange.pack_at_bytes - exchange.kept_bytes if exchange.end is None else -1
        try:
            for chunk in self._tf_stream:
                try:  # as `safely` and `exchange.add` do, without calling them for each chunk
                    size += len(chunk)
                    if size <= room:
                        note((ORIGIN_NS + ticks_ns(), chunk))
                    else:
                        room, size = _add(exchange, chunk, size), 0
                except Exception as error:
                    count_failure(exchange.failed, error)
                yield chunk
        except BaseException as error:
            safely(exchange.failed, _ended_by, exchange, size, error)
            raise
        try:  # as `safely` does
            exchange.kept_bytes += size
            exchange.finish("read")
        except Exception as error:
            count_failure(exchange.failed, error)

    def close(self) -> None:
        if self._tf_exchange.end is None:
            safely(self._tf_exchange.failed, end_by_close, self._tf_exchange)
        self._tf_stream.close()


class _AsyncBody(_Tapped):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        exchange = self._tf_exchange
        note, size = exchange.chunks.append, 0
        room = exchange.pack_at_bytes - exchange.kept_bytes if exchange.end is None else -1
        chunks = self._tf_stream.__aiter__()
        try:
            async for chunk in chunks:
                try:  # as above
                    size += len(chunk)
                    if size <= room:
                        note((ORIGIN_NS + ticks_ns(), chunk))
                    else:
                        room, size = _add(exchange, chunk, size), 0
                except Exception as error:
                    count_failure(exchange.failed, error)
                yield chunk
        except BaseException as error:
            safely(exchange.failed, _ended_by, exchange, size, error)
            # As httpx2 does: an async generator left to the garbage collector is closed by another task.
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
            raise
        try:  # as `safely` does
            exchange.kept_bytes += size
            exchange.finish("read")
        except Exception as error:
            count_failure(exchange.failed, error)

    async def aclose(self) -> None:
        if self._tf_exchange.end is None:
            safely(self._tf_exchange.failed, end_by_close, self._tf_exchange)
        await self._tf_stream.aclose()


def _ended_by(exchange: Exchange, size: int, error: BaseException) -> None:
    exchange.kept_bytes += size
    end_by(exchange, error)


def _add(exchange: Exchange, chunk: bytes, size: int) -> int:
    """Add the chunk for which there is no room, of `size` bytes with those before it; return the room after it."""
    exchange.room(size - len(chunk))
    exchange.add(chunk)
    return exchange.room()


@functools.lru_cache(maxsize=64)
def _tapped_class(cls: type) -> type[_Tapped]:
    """Make the class of bodies that wrap bodies of this class: it has the same bases of its library, and no more."""
    ours = {"SyncByteStream": _SyncBody, "AsyncByteStream": _AsyncBody}
    bases = kinds(cls, *ours)
    if not bases:  # a body by duck typing: the client judges it as it would have
        return type("TappedStream", (_SyncBody, _AsyncBody), {})
    return type("TappedStream", (*(ours[base.__name__] for base in bases), *bases), {})
