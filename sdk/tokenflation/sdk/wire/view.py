"""The bytes of one HTTP exchange as `read` takes them. Knows nothing of what they mean or of who collected them."""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct, field

__all__ = ["ExchangeBytes"]


class ExchangeBytes(Struct, frozen=True, kw_only=True, gc=False):
    """One request to a model endpoint and the answer's bytes; times are unix nanoseconds."""

    api: str
    """What `recognise` returned for the request."""
    method: str = "POST"
    host: str = ""
    """Host name, with or without a port."""
    path: str = ""
    """Path, with or without a query."""
    request_body: bytes | None = None
    status_code: int | None = None
    """HTTP status; None when no answer came."""
    response_headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of the answer; looked up by lower-case names."""
    content_type: str = ""
    content_encoding: str = ""
    """Encoding that the chunks still carry; empty when they were taken after decoding."""
    chunks: Sequence[tuple[int, bytes]] = ()
    """`(time_ns, bytes)` in order of arrival, cut anywhere."""
    truncated: bool = False
    """The body had more bytes than the chunks hold."""
    end: Literal["read", "closed", "dropped", "failed", "cancelled"] | None = "read"
    """How the host stopped reading."""
    error_type: str | None = None
    """Class of the exception that ended the exchange, if one did."""
