"""One HTTP exchange with a model endpoint, as the host program saw it, and the tap that hooks pour it into.

The host's thread does nothing here but append `(time_ns, bytes)`, and reads the clock without a call of ours. Knows
nothing of any HTTP library (the hooks do) and nothing of what the bytes mean (`wire` does, on the worker thread).
"""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, Protocol

from msgspec import Struct, field

from tokenflation.sdk.clock import ORIGIN_NS, ticks_ns
from tokenflation.sdk.interrupts import count_failure
from tokenflation.sdk.saying import say
from tokenflation.sdk.wire import UNREAD, recognise, served_as, unread_name
from tokenflation.sdk.wire.streams.packed import PackedChunks

__all__ = [
    "MAX_KEPT_BYTES",
    "REQUEST_HEADERS",
    "RETRIED_CODES",
    "RETRY_COUNT",
    "Exchange",
    "Tap",
    "ToolRunning",
    "is_stream",
]

MAX_KEPT_BYTES = 64 * 1024 * 1024
"""Of one answer we keep at most so much; the rest only passes by, and `Exchange.truncated` says so."""
RETRY_COUNT = "x-stainless-retry-count"
"""The header in which clients made by Stainless say which try of a call this is, from 0."""
REQUEST_HEADERS = frozenset((RETRY_COUNT,))
"""All that is kept of a request's headers: no key, no cookie, nothing a user put there."""
RETRIED_CODES = frozenset((408, 409, 425, 429, *range(500, 1000)))
"""The HTTP statuses after which clients send a request again by themselves."""
_PACK_BYTES = 1024 * 1024
_LOOSE_CHUNKS = 64
"""The last chunks stay as they are: the usage is in them."""

_NOT_READ = (
    "%s %s: what models did for it is missing in the store, where it is the loss unseen:%s. What this program asks of "
    "models itself is recorded."
)
_log = logging.getLogger(__name__)

End = Literal["read", "closed", "dropped", "failed", "cancelled"]
"""How the host was done with an answer: read to its end, closed before, garbage collected unread, broken, cancelled.

A client may close a stream that is complete: openai's stops at `[DONE]`, one byte run before the end of the body. So
`closed` says what the host did; whether the answer is whole is for `wire` to say.
"""


def is_stream(content_type: str) -> bool:
    """Return whether a body of this type is a stream of events or documents."""
    return "stream" in content_type or "ndjson" in content_type


def _ignore(_reason: str) -> None:
    """Count nothing: for an exchange made without a tap."""


class Exchange(Struct, eq=False, weakref=True):
    """One request to a model endpoint and what came back; filled by the host's thread, read by the worker.

    A struct of msgspec's, whose fields with defaults cost the host's thread a third of a dataclass's.
    """

    api: str
    method: str
    host: str
    path: str
    request_body: bytes | None
    request_headers: Mapping[str, str]
    context: object
    """Whatever the tap's `context` function returned when the request left: the open scope and the like."""
    submit: Callable[["Exchange"], None]
    started_at_ns: int
    status_code: int | None = None
    content_type: str = ""
    content_encoding: str = ""
    """Encoding that the chunks still carry; empty when they were taken after decoding."""
    chunks: list[tuple[int, bytes]] = field(default_factory=list)
    response_headers: Mapping[str, str] = MappingProxyType({})
    """Of the answer, those in `wire.RESPONSE_HEADERS` at least; by lower-case names."""
    kept_bytes: int = 0
    """Bytes of the answer that are kept; those of the last MiB may be missing where the host ends a stream early."""
    truncated: bool = False
    ended_at_ns: int | None = None
    """When the last byte came that the host had of the answer; where it had none, when it was done with it."""
    end: End | None = None
    error_type: str | None = None
    process_id: int = 0
    """Process the request left from: a fork must not write its parent's exchanges again."""
    failed: Callable[[str], None] = _ignore
    """Counts one failure of the recorder itself, by reason."""
    call_id: str = ""
    """Id of the call that this would be if it is no further attempt of one; empty where nobody gave one."""
    grown: Callable[["Exchange"], object] | None = None
    """Is told, each time that another MiB of a stream is kept, so that somebody may `pack` it."""
    packed: PackedChunks | None = None
    """The first chunks of a long stream, which are then not in `chunks`."""
    pack_at_bytes: int = _PACK_BYTES
    saved_bytes: int = 0
    waited_ns: int = 0
    """How long after its start it left: it waited in its client for a free connection."""
    left: bool = False
    """The request had left before anybody told us, so no limit can stop it."""
    resent: bool = False
    """A transport of the host sent the request again by itself, so what its client counts is not one more."""
    void: bool = False
    """A redirect came back, so no model has answered: the request that follows it is the one to record."""
    slot: int = -1
    """Where the recorder noted that it is under way; -1 for nowhere."""
    _finished: threading.Lock = field(default_factory=threading.Lock)

    def answer(
        self, status_code: int, content_type: str, content_encoding: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Note the head of the response; of its headers those in `wire.RESPONSE_HEADERS` are wanted."""
        self.status_code = status_code
        self.content_type = content_type
        self.content_encoding = content_encoding
        if headers is not None:
            self.response_headers = headers

    def add(self, chunk: bytes) -> None:
        """Note one chunk of the body as it arrived; the bytes are the host's own, not a copy."""
        if self.truncated or self.end is not None:
            return
        self.kept_bytes += len(chunk)
        if self.kept_bytes > self.pack_at_bytes and not self._has_room(chunk):
            return
        self.chunks.append((ORIGIN_NS + ticks_ns(), chunk))

    def room(self, noted_bytes: int = 0) -> int:
        """Return how many more bytes a hook may put into `chunks` by itself, beside the `noted_bytes` that it did put.

        For a loop in which a call of `add` for each chunk is too much; what has no room is for `add`.
        """
        self.kept_bytes += noted_bytes
        return -1 if self.truncated or self.end is not None else self.pack_at_bytes - self.kept_bytes

    def _has_room(self, chunk: bytes) -> bool:
        """Return whether a chunk of a long answer may be kept, and see to it that what is kept becomes less."""
        if self.kept_bytes - self.saved_bytes > MAX_KEPT_BYTES:
            self.kept_bytes -= len(chunk)
            self.truncated = True
            return False
        self.pack_at_bytes = min(self.kept_bytes + _PACK_BYTES, self.saved_bytes + MAX_KEPT_BYTES)
        if self.grown is not None and is_stream(self.content_type) and not self.content_encoding:
            self.grown(self)
        return True

    def pack(self) -> None:
        """Compress the chunks so far; for the worker, while the host's thread may add more."""
        count = len(self.chunks) - _LOOSE_CHUNKS
        if count <= 0:
            return
        loose = self.chunks[:count]
        packed = (self.packed or PackedChunks()).packed_with(loose)
        self.saved_bytes += sum(len(chunk) for _, chunk in loose)
        self.saved_bytes -= packed.packed_bytes - (self.packed.packed_bytes if self.packed is not None else 0)
        self.packed = packed
        del self.chunks[:count]

    def body(self) -> Sequence[tuple[int, bytes]]:
        """Return all chunks of the answer that were kept."""
        return self.chunks if self.packed is None else self.packed.followed_by(self.chunks)

    def seal(self, end: End) -> bool:
        """Close the exchange without handing it over; False if that, or `finish`, was done before."""
        if not self._finished.acquire(blocking=False):
            return False
        # A host may have had the last of an answer long before it asks for more and finds the end, or lets go of it.
        had = end in ("read", "closed", "dropped") and self.chunks and not self.truncated
        self.ended_at_ns = self.chunks[-1][0] if had else ORIGIN_NS + ticks_ns()
        self.end = end
        return True

    def finish(self, end: End, error: BaseException | None = None, *, ended_at_ns: int | None = None) -> None:
        """Close the exchange and hand it over; only the first call counts, and it raises nothing of ours.

        The garbage collector may call it, in any thread and at any point: `submit` must not take a lock that the
        interrupted code may hold.
        """
        if not self.seal(end):
            return
        if error is not None:
            self.error_type = type(error).__name__
        if ended_at_ns is not None:
            self.ended_at_ns = ended_at_ns
        try:
            self.submit(self)
        except Exception as failure:  # the host must not notice us
            count_failure(self.failed, failure)


class ToolRunning(Protocol):
    """A run of a tool that a hook has seen begin."""

    @property
    def ids(self) -> tuple[str, str] | None:
        """Trace id and span id to hand on to whoever runs the tool, if they are known."""

    def within(self) -> contextlib.AbstractContextManager[None]:
        """Run work that is done for this tool elsewhere inside it."""

    def close(self, *, error_type: str | None, result_bytes: int | None) -> None:
        """Note how it ended."""


class Tap:
    """Where hooks pour exchanges into; the recorder makes one. Its methods never raise."""

    def __init__(
        self,
        *,
        submit: Callable[[Exchange], None],
        context: Callable[[], object],
        failed: Callable[[str], None],
        begun: Callable[[Exchange], None] | None = None,
        grown: Callable[[Exchange], object] | None = None,
        run_tool: Callable[[str, bytes | None], ToolRunning | None] = lambda *_: None,
        traces: Callable[[], bool] = lambda: False,
        hold: Callable[[Exchange], None] = lambda _: None,
    ) -> None:
        self._submit = submit
        self.context = context
        """Return what an exchange that began now would have as its `context`."""
        self._begun = begun
        self._grown = grown
        self._hold = hold
        self.run_tool = run_tool
        """Return a run of the tool of this name, with these arguments as canonical JSON, that begins now."""
        self.traces = traces
        """Return whether our trace ids mean something elsewhere: whether our spans are exported."""
        self.failed = failed
        """Count one failure of the recorder itself, by reason."""
        self.sockets: set[str] = set()
        """Providers of whose sockets it was said that nobody here reads them."""
        self.resumed: dict[str, str] = {}
        """By the handle with which another socket may go on with it: a conversation that its provider keeps."""
        self._unread: set[str] = set()
        self.hosts: set[str] = set()
        """Hosts that an exchange went to: nobody need warn that they are not seen."""

    def begin(
        self,
        method: str,
        host: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        api: str | None = None,
        context: object = None,
        left: bool = False,
        resent: bool = False,
    ) -> Exchange | None:
        """Return a new exchange if this is a request to a model endpoint, else None: other traffic is not touched.

        `api` names the api of what method and path alone do not tell, such as one turn on a socket; `context` stands
        for the one that is current where the host did not ask just now; `left` says that the request is gone already,
        and `resent` what `Exchange.resent` does.

        Raises:
            LimitReached: the host set a limit on its task, and this request is beyond it: it must not be sent. It is
                no `Exception`, so whatever keeps the recorder's failures from the host lets it pass.
        """
        try:
            api = api or recognise(method, path)
            api = api and served_as(api, host)
            if api is None:
                return None
            if api in UNREAD:
                self.note_unread(api, host)
                return None
            self.hosts.add(host)
            exchange = self._made(api, method, host, path, body, headers, context)
            exchange.left = left
            exchange.resent = resent
            if self._begun is not None:
                self._begun(exchange)
            return exchange
        except Exception as error:  # the host must not notice us
            count_failure(self.failed, error)
            return None

    def note_unread(self, api: str, host: str) -> None:
        """Say of a request in `wire.UNREAD` that its provider calls models unseen by us, once for each such thing."""
        name = unread_name(api, host)
        if name is None:
            return
        self.hosts.add(host)
        if name not in self._unread:
            self._unread.add(name)
            self.failed(f"unseen:{name}")  # first: a handler of the host's may raise
            say(_log, _NOT_READ, name.rpartition(".")[0], UNREAD[api].why, name)

    def hold(self, api: str, method: str, host: str, path: str) -> None:
        """Hold a request that is about to leave to the host's limits, where only its leaving can be recorded.

        Raises:
            LimitReached: as `begin` does.
        """
        try:
            self._hold(self._made(api, method, host, path, None, {}, None))
        except Exception as error:  # as above
            count_failure(self.failed, error)

    def _made(self, api: str, method: str, host: str, path: str, body: bytes | None, headers: Mapping[str, str],
              context: object) -> Exchange:  # fmt: skip
        return Exchange(
            api,
            method,
            host,
            path,
            body,
            headers,
            self.context() if context is None else context,
            self._submit,
            ORIGIN_NS + ticks_ns(),
            process_id=os.getpid(),
            failed=self.failed,
            grown=self._grown,
        )
