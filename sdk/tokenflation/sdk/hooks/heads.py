"""What is kept of the head of a request or an answer, as urllib3, http.client and lm15 have it; changes nothing."""

import io
from typing import Any
from urllib.parse import unquote

from tokenflation.sdk.exchange import REQUEST_HEADERS
from tokenflation.sdk.wire import RESPONSE_HEADERS

__all__ = ["KEPT_HEADERS", "host_of", "loaded", "path_of", "picked"]

KEPT_HEADERS = frozenset(("content-type", "content-encoding", "location")) | RESPONSE_HEADERS
_LENGTHS = {names: frozenset(map(len, names)) for names in (REQUEST_HEADERS, KEPT_HEADERS)}


def path_of(url: str) -> str:
    """Return the path of a request's target, decoded and without its query; a proxy's target is a whole URL."""
    path = url.partition("?")[0].partition("#")[0]
    if not path.startswith("/"):
        path = "/" + path.partition("://")[2].partition("/")[2]
    return unquote(path) if "%" in path else path


def host_of(pool: Any, url: str) -> str:
    """Return the host that a request goes to, not that of a proxy on the way."""
    host = str(pool.host)
    if not url.startswith("/"):  # forwarded by a proxy: the pool is the proxy's
        host = url.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]
        host = host.partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return host.strip("[]")


def loaded(body: Any) -> bytes | None:
    """Return a request's body if it is in memory, None for files and iterators, which only the sender may read."""
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, (bytearray, memoryview)):
        return bytes(body)
    if type(body) is io.BytesIO:
        return body.getvalue()[body.tell() :]
    return b"" if body is None else None


def picked(headers: Any, names: frozenset[str]) -> dict[str, str]:
    """Return the headers of these lower-case names; botocore's come as bytes."""
    known = getattr(headers, "_container", None)
    if type(known) is dict:  # urllib3's own, by lower-case name: [name, value, value, ...]; its `items` costs 5 us
        return {name: ", ".join(map(_text, known[name][1:])) for name in names & known.keys()}
    found: dict[str, str] = {}
    lengths = _LENGTHS[names]
    for raw_name, value in headers.items() if headers is not None else ():
        name = _text(raw_name).lower() if len(raw_name) in lengths else ""
        if name in names:
            found[name] = f"{found[name]}, {_text(value)}" if name in found else _text(value)
    return found


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
