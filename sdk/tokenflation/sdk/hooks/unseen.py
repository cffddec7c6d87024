"""Says when the program talks to a model endpoint by a way that no hook sees: silence would look like no calls at all.

It watches these ways out: names of providers that are looked up while no hooked library is at work, channels of gRPC,
curl (curl_cffi, the command), functions of BAML, predictions of LM Studio's SDK, asyncio's pools of urllib3-future
(niquests), and coding agents that are started as programs, as their own SDKs do. It records nothing, reads no answer,
and names a provider's host, an api or an agent's command only: the host name of a private server is kept nowhere.
"""

import functools
import logging
import os
import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tokenflation.sdk.clock import now_ns
from tokenflation.sdk.exchange import Tap
from tokenflation.sdk.hooks.bodies import safely
from tokenflation.sdk.hooks.patching import Layers
from tokenflation.sdk.hooks.underway import underway
from tokenflation.sdk.interrupts import let_through
from tokenflation.sdk.saying import say
from tokenflation.sdk.wire import UNREAD, ExchangeBytes, provider_of, read, recognise, served_as

__all__ = ["install", "socket_unread"]

_HOOKED = frozenset(("aiohttp", "httpx", "httpx2", "urllib3", "urllib3_future", "websockets"))
_WATCHED = _HOOKED | {"http"}
"""Packages whose look-ups of names tell nothing: their requests are seen one by one."""
_WORKERS = frozenset(("anyio", "asyncio", "concurrent", "trio", "uvloop"))
"""Packages that look a name up in a thread of theirs, where the stack does not say for whom."""
_MANIFOLD = {
    "aws.bedrock": "bedrock-runtime",
    "cloudflare": "gateway.",
    "gcp.discovery_engine": "",
    "gcp.vertex_ai": "",
    "huggingface": "router.",
    "runpod": "",
    "sap": "",
    "snowflake": "",
}
"""Providers that serve much else beside models: only a host name that begins so says models; "": none does."""
_AWS_MODELS = ("bedrock", "runtime.sagemaker")
_GRACE_NS = 30_000_000_000
_MAX_JUDGED = 256
_MAX_JUDGED_BYTES = 4 * 1024 * 1024
_CURL_URL = 10002
"""CURLOPT_URL: <https://curl.se/libcurl/c/CURLOPT_URL.html>."""
_CURL_BODY = frozenset((10015, 10165))
"""CURLOPT_POSTFIELDS and CURLOPT_COPYPOSTFIELDS."""
_AT = "_tokenflation_url"
"""Set on a handle of curl: where it leads, for its body is set afterwards."""
_URL = re.compile(r"https?://([^/\s'\"?#]+)(/[^\s'\"?#]*)?")
_ADDRESS = re.compile(r"(--url=)?https?://")
_AGENTS = {"claude": "~/.claude/projects", "codex": "~/.codex/sessions", "gemini": "~/.gemini/tmp"}
"""Coding agents' commands, as claude-agent-sdk starts one for each query, and where their logs lie that we import."""
_ENDING = re.compile(r"\.(exe|cmd)$", re.IGNORECASE)
_ASKS_NOTHING = frozenset(
    ("--help", "--version", "-V", "-h", "-v", "auth", "completion", "config", "doctor", "install", "login", "logout",
     "mcp", "plugin", "update")
)  # fmt: skip
"""What a coding agent's command does first of all without a model."""
_BY_OURS = (
    "%s is called through %s, which tokenflation does not see: those calls are missing in the store. Send them "
    "with httpx, aiohttp, requests, urllib3, urllib.request or botocore (most clients take such a transport) to record them."
)
_BY_ITSELF = (
    "%s was started, a program whose model calls tokenflation does not see: they are missing in the store. It keeps "
    "logs: tokenflation import %s --store DB adds them afterwards."
)
_BY_SOCKET = (
    "%s is talked to over a WebSocket in a protocol that tokenflation does not read: those calls are missing in the "
    "store. Of sockets it reads OpenAI's realtime and Responses protocols and Google's Live API; ask "
    "over HTTP to record the others."
)
_ASKS = "%s asks models by %s, which tokenflation does not see: those calls are missing in the store. "
_BAML = (
    "baml",
    "an HTTP client of its own",
    f"{_ASKS}Let BAML build the requests alone (b.request) and send them with httpx to record them.",
)
_LMSTUDIO = ("lmstudio", "a WebSocket of its own", f"{_ASKS}Ask LM Studio's server over HTTP to record them.")
_BAML_CALLS = ("call_function", "call_function_sync", "stream_function", "stream_function_sync")
_BY_FUTURE = "urllib3-future's asyncio (niquests.AsyncSession)"
_LIVE = "BidiGenerate"
"""In the path of a socket of Google's, whose host may serve much else: its live music is not read."""
_log = logging.getLogger(__name__)


def socket_unread(tap: Tap, host: str, path: str) -> None:
    """Say of a socket whose protocol nobody here reads that it leads to models, once for each provider."""
    name = _provider_name(host)
    if name is None and _LIVE in path and provider_of(host, ""):
        name = _shortened(host)
    if name is not None and name not in tap.sockets:
        tap.sockets.add(name)
        tap.failed(f"unseen:{name}")  # first: a handler of the host's may raise
        say(_log, _BY_SOCKET, name)


def install(tap: Tap) -> Callable[[], None]:
    """Watch for one tap and return the function that ends it; what only the end can tell is reported then."""
    watch = _Watch(tap)
    safely(tap.failed, watch.start)
    return watch.stop


class _Watch:
    """What was seen of ways that no hook covers, and the patches that show them."""

    def __init__(self, tap: Tap) -> None:
        self._tap: Tap | None = tap
        self._layers = Layers()
        self._named: set[str] = set()
        self._doubtful: dict[str, tuple[float, str]] = {}
        """Host -> when and how it was met; reported unless a hook records an exchange with it within the grace."""
        self._judged: set[tuple[str, str]] = set()

    def start(self) -> None:
        """Put the patches on; a module that is not imported yet is patched when it is."""
        places: tuple[tuple[str, str, str, Callable[[Any], Any]], ...] = (
            ("socket", "", "getaddrinfo", self._getaddrinfo),
            ("grpc", "", "secure_channel", self._channel),
            ("grpc.aio", "", "secure_channel", self._channel),
            ("curl_cffi.curl", "Curl", "setopt", self._setopt),
            ("subprocess", "Popen", "__init__", self._popen),
            *(("baml_py", "BamlRuntime", name, functools.partial(self._saying, _BAML)) for name in _BAML_CALLS),
            ("lmstudio.json_api", "PredictionEndpoint", "__init__", functools.partial(self._saying, _LMSTUDIO)),
            *(
                (f"{future}._async.connectionpool", "AsyncHTTPConnectionPool", "_make_request", self._async_pool)
                for future in ("urllib3", "urllib3_future")
            ),
        )
        for module, owner, name, make_shell in places:
            self._layers.when_imported(module, functools.partial(self._patch, owner, name, make_shell))

    def stop(self) -> None:
        """Take the patches off and report what no hook came to see; calling it again does nothing."""
        if self._tap is not None:
            safely(self._tap.failed, self._settle, float("inf"))
        self._tap = None
        self._layers.undo()

    def _patch(self, owner: str, name: str, make_shell: Callable[[Any], Any], module: ModuleType) -> None:
        """Patch one place; never raises, as it may run inside the host's import statement."""
        if self._tap is not None:
            safely(self._tap.failed, self._cover, getattr(module, owner, None) if owner else module, name, make_shell)

    def _cover(self, owner: Any, name: str, make_shell: Callable[[Any], Any]) -> None:
        if owner is not None and callable(owner.__dict__.get(name)):
            self._layers.cover(owner, name, make_shell)

    def _look(self, step: Callable[..., None], *arguments: Any) -> None:
        """Look at what the host is about to do; it is done whatever comes of it."""
        tap = self._tap
        if tap is not None:
            safely(tap.failed, step, *arguments)

    # What was met.

    def _met(self, host: str, way: str) -> None:
        """Note a provider that was met by a way that shows no path: a hook may yet record a call to it."""
        name = _provider_name(host)
        if name is not None and name not in self._named and len(self._doubtful) < _MAX_JUDGED:
            self._doubtful.setdefault(host.lower(), (now_ns(), way))
        self._settle(now_ns() - _GRACE_NS)

    def _settle(self, before: float) -> None:
        """Report what was met before this time, unless a hook has recorded an exchange with it."""
        tap = self._tap
        for host, (met_at, way) in list(self._doubtful.items()):
            if met_at > before or tap is None:
                continue
            self._doubtful.pop(host, None)
            if host not in tap.hosts:
                self._report(_provider_name(host) or "", way)

    def _request(self, method: str, host: str, path: str, body: Any, way: str) -> None:
        """Report a request to a model endpoint; of a host that is no provider's, only if its body asks a model."""
        api = recognise(method, path)
        tap = self._tap
        if api is None or tap is None or underway() or (api := served_as(api, host)) is None:
            return
        if api in UNREAD:
            tap.note_unread(api, host)
        elif provider_of(host, "") and not _is_anybodys(host):
            self._report(_shortened(host), way)
        elif self._asks_model(api, host, path, body):
            self._report(api, way)

    def _asks_model(self, api: str, host: str, path: str, body: Any) -> bool:
        raw = body.encode() if isinstance(body, str) else body
        if api in self._named or not isinstance(raw, bytes) or len(raw) > _MAX_JUDGED_BYTES:
            return False
        if (host, api) in self._judged or len(self._judged) >= _MAX_JUDGED:
            return False
        self._judged.add((host, api))
        return read(ExchangeBytes(api=api, host=host, path=path, request_body=raw), key=b"") is not None

    def _report(self, name: str, way: str, message: str = _BY_OURS) -> None:
        tap = self._tap
        if tap is None or not name or name in self._named:
            return
        self._named.add(name)
        tap.failed(f"unseen:{name}")  # as above
        say(_log, message, name, way)

    # The shells.

    def _getaddrinfo(self, original: Any) -> Any:
        @functools.wraps(original)
        def shell(host: Any, *args: Any, **kwargs: Any) -> Any:
            self._look(self._look_at_lookup, host)
            return original(host, *args, **kwargs)

        return shell

    def _look_at_lookup(self, host: Any) -> None:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        if isinstance(name, str) and (self._doubtful or provider_of(name, "")) and not _is_watched_caller():
            self._met(name.rstrip("."), "a library of its own")

    def _channel(self, original: Any) -> Any:
        @functools.wraps(original)
        def shell(target: Any, *args: Any, **kwargs: Any) -> Any:
            self._look(self._look_at_target, target)
            return original(target, *args, **kwargs)

        return shell

    def _look_at_target(self, target: Any) -> None:
        if isinstance(target, str):  # [scheme:[//authority]/]host[:port], see grpc/doc/naming.md
            self._met(_host_in(target.rpartition("/")[2].removeprefix("dns:")), "gRPC")

    def _setopt(self, original: Any) -> Any:
        @functools.wraps(original)
        def shell(curl: Any, option: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
            if option == _CURL_URL:
                self._look(self._look_at_url, value, "curl_cffi")
                self._look(setattr, curl, _AT, value)
            elif option in _CURL_BODY:
                self._look(self._look_at_url, getattr(curl, _AT, b""), "curl_cffi", value)
            return original(curl, option, value, *args, **kwargs)

        return shell

    def _saying(self, said: tuple[str, ...], original: Any) -> Any:
        @functools.wraps(original)
        def shell(*args: Any, **kwargs: Any) -> Any:
            self._look(self._report, *said)
            return original(*args, **kwargs)

        return shell

    def _async_pool(self, original: Any) -> Any:
        @functools.wraps(original)
        def shell(pool: Any, conn: Any, method: str, url: str, body: Any = None, *args: Any, **kwargs: Any) -> Any:
            if _may_ask(method, url.partition("?")[0]):
                self._look(self._request, method, str(pool.host), url.partition("?")[0], body, _BY_FUTURE)
            return original(pool, conn, method, url, body, *args, **kwargs)

        return shell

    def _popen(self, original: Any) -> Any:
        @functools.wraps(original)
        def shell(process: Any, args: Any, *more: Any, **kwargs: Any) -> Any:
            self._look(self._look_at_command, args)
            return original(process, args, *more, **kwargs)

        return shell

    def _look_at_command(self, args: Any) -> None:
        words = args.split(None, 1) if isinstance(args, str) else list(args) if isinstance(args, (list, tuple)) else []
        name = _ENDING.sub("", os.path.basename(os.fsdecode(words[0]))) if words else ""
        if name in _AGENTS:
            first = os.fsdecode(words[1]).split()[:1] if len(words) > 1 else []
            if not _ASKS_NOTHING.intersection(first):
                self._report(name, _AGENTS[name], _BY_ITSELF)
        for word in words[1:] if name == "curl" else ():
            # Of separate words only one that begins as an address is one: others are what is sent, and may cite any.
            if isinstance(args, str) or _ADDRESS.match(os.fsdecode(word)):
                self._look_at_url(word, "the curl command")

    def _look_at_url(self, value: Any, way: str, body: Any = None) -> None:
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        for found in _URL.finditer(text):
            self._request("POST", _host_in(found[1]), found[2] or "/", body, way)


def _may_ask(method: str, url: str) -> bool:
    """Return whether a request is worth a look: all but those to a model that no hook has under way are not."""
    try:
        return method == "POST" and recognise(method, url) is not None and not underway()
    except Exception as error:
        let_through(error)
        return True  # whoever looks fails the same way, and counts it


def _is_watched_caller() -> bool:
    """Return whether a hooked library looks the name up, or may: a thread of an event loop does not say for whom."""
    frame: Any = sys._getframe()
    for _ in range(5):  # this, _look_at_lookup, safely, _look, the shell, its caller: none where that is no Python
        frame = frame.f_back
    if frame is not None and _package(frame) in _WORKERS:
        return any(name in sys.modules for name in _HOOKED - {"urllib3"})
    caller: Any = frame
    while caller is not None:
        if _package(caller) in _WATCHED:
            return True
        caller = caller.f_back
    return False


def _package(frame: Any) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _host_in(authority: str) -> str:
    """Return the host of `user:password@host:port`."""
    host = authority.rpartition("@")[2]
    return host.partition("]")[0][1:] if host.startswith("[") else host.partition(":")[0]


def _provider_name(host: str) -> str | None:
    """Return what to call a host whose name alone says that models are asked, None for any other."""
    provider = provider_of(host, "")
    if not provider:
        return None
    beginning = _MANIFOLD.get(provider)
    if beginning is not None and not (beginning and host.lower().startswith(beginning)):
        return None
    return _shortened(host)


def _is_anybodys(host: str) -> bool:
    """Return whether a provider's customers serve what they like at a host (`x.execute-api.eu-1.amazonaws.com`)."""
    return provider_of(host, "") == "aws.bedrock" and not host.lower().startswith(_AWS_MODELS)


def _shortened(host: str) -> str:
    """Return a provider's host name without the labels in front that are its customer's (`acme.openai.azure.com`)."""
    name = host.lower().rstrip(".")
    if name.startswith("bedrock"):
        return name
    while provider_of(rest := name.partition(".")[2], ""):
        name = rest
    return name
