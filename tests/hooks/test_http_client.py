"""Real http.client and urllib.request against a real server: what is recorded is what came, however it is read."""

import contextlib
import gc
import gzip
import http.client
import io
import json
import socket
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3
from tests.hooks.conftest import Collected, body
from tests.providers import Provider

import tokenflation.sdk as tf
from tokenflation.sdk.hooks import http_client as hook
from tokenflation.sdk.hooks import install

Response = http.client.HTTPResponse


def payload(prompt: str, *, stream: bool = True) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": prompt}], "stream": stream}).encode()


def opened(provider: Provider, prompt: str, *, stream: bool = True) -> Any:
    url = f"{provider.openai_url}/chat/completions?key=query"
    headers = {"Content-Type": "application/json", "Authorization": "Bearer secret-key"}
    return urllib.request.urlopen(urllib.request.Request(url, payload(prompt, stream=stream), headers))


def connection_to(provider: Provider) -> Any:
    return contextlib.closing(http.client.HTTPConnection(provider.url.removeprefix("http://")))


def whole(response: Response) -> bytes:
    return response.read()


def pieces(response: Response) -> bytes:
    return b"".join(iter(lambda: response.read(7), b""))


def pieces_at_once(response: Response) -> bytes:
    return b"".join(iter(lambda: response.read1(9), b""))


def pieces_into(response: Response) -> bytes:
    buffer = bytearray(11)
    return b"".join(bytes(buffer[:count]) for count in iter(lambda: response.readinto(buffer), 0))


def lines(response: Response) -> bytes:
    return b"".join(response)


def all_lines(response: Response) -> bytes:
    return b"".join(response.readlines())


def as_text(response: Response) -> bytes:
    return b"".join(line.encode() for line in io.TextIOWrapper(response, "utf-8", newline=""))


READS = pytest.mark.parametrize(
    "read", [whole, pieces, pieces_at_once, pieces_into, lines, all_lines, as_text], ids=lambda read: read.__name__
)


@READS
@pytest.mark.parametrize("stream", [True, False], ids=["chunked", "length"])
def test_an_answer_is_recorded_whole_however_it_is_read(
    read: Callable[[Response], bytes], stream: bool, provider: Provider, recorded: Collected
) -> None:
    with opened(provider, "hi", stream=stream) as response:
        seen = read(response)
    only = recorded.only
    assert body(only) == seen
    assert (only.api, only.host, only.path) == ("openai.chat", "127.0.0.1", "/v1/chat/completions")
    assert (only.status_code, only.end, only.request_body) == (200, "read", provider.requests[0].raw)
    assert not only.request_headers


def test_an_encoded_body_is_kept_as_it_came(provider: Provider, recorded: Collected) -> None:
    with opened(provider, "[[gzip:1]]") as response:
        seen = gzip.decompress(response.read())
    assert (recorded.only.content_encoding, gzip.decompress(body(recorded.only))) == ("gzip", seen)


def test_a_request_in_single_steps_and_one_on_an_old_connection_are_recorded(
    provider: Provider, recorded: Collected
) -> None:
    asked = payload("hi", stream=False)
    with connection_to(provider) as connection:
        for after_head in (False, True):
            connection.putrequest("POST", "/v1/chat/completions")
            connection.putheader("Content-Length", str(len(asked)))
            connection.endheaders(None if after_head else asked)
            if after_head:
                connection.send(asked)
            assert connection.getresponse().read()
        connection.request("GET", "/v1/models")
        assert connection.getresponse().read()
    assert [one.request_body for one in recorded.exchanges] == [asked, None]  # we do not look at what follows the head
    assert recorded.ends == ["read", "read"]


def test_refusals_redirects_and_servers_that_are_away_or_break_off(provider: Provider, recorded: Collected) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        opened(provider, "[[status:503]]")
    with refused.value:
        refused.value.read()
    with opened(provider, "[[redirect:302]]", stream=False) as response:  # a GET follows, as urllib.request has it
        response.read()
    with opened(provider, "[[cut:200]]") as response, pytest.raises(http.client.IncompleteRead) as cut:
        response.read()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", 9)) as away, pytest.raises(OSError):  # noqa: PT011
        away.request("POST", "/v1/chat/completions", payload("hi"))
    ends = [(one.status_code, one.end, one.error_type) for one in recorded.exchanges if not one.void]
    assert ends == [(503, "read", None), (200, "failed", "IncompleteRead"), (None, "failed", "ConnectionRefusedError")]
    assert body(recorded.exchanges[-2]).endswith(cut.value.partial)
    assert recorded.failures == []


def test_an_answer_that_is_left_is_closed_and_one_that_is_lost_is_dropped(
    provider: Provider, recorded: Collected
) -> None:
    with opened(provider, "hi") as response:
        response.readline()
    opened(provider, "hi").read(5)
    gc.collect()
    with connection_to(provider) as connection:
        connection.request("POST", "/v1/chat/completions", payload("nobody asks for the answer"))
    del connection
    gc.collect()
    assert recorded.ends == ["closed", "dropped", "dropped"]


def test_what_urllib3_sends_is_recorded_once_and_by_its_own_hook(provider: Provider, recorded: Collected) -> None:
    url, asked = f"{provider.openai_url}/chat/completions", json.loads(payload("hi", stream=False))
    requests.post(url, json=asked)
    with urllib3.PoolManager() as pool:
        pool.request("POST", url, body=json.dumps(asked))
    assert recorded.ends == ["read", "read"]


def test_what_goes_through_a_tunnel_or_a_proxy_has_the_host_that_it_goes_to(recorded: Collected) -> None:
    for path in ("/v1/chat/completions", "http://models.test/v1/chat/completions"):
        connection = http.client.HTTPConnection("127.0.0.1", 9)
        if path[0] == "/":
            connection.set_tunnel("models.test")
        connection.sock = socket.socket()  # never connected: sending fails after the request has begun
        with contextlib.closing(connection), pytest.raises(OSError):  # noqa: PT011
            connection.request("POST", path, payload("hi"))
    assert [(one.host, one.path) for one in recorded.exchanges] == [("models.test", "/v1/chat/completions")] * 2


def test_a_limit_holds_the_request_back(provider: Provider, tmp_path: Path) -> None:
    with tf.instrument(tmp_path / "runs.db"), tf.task("limited", max_calls=1):
        with opened(provider, "hi", stream=False) as response:
            response.read()
        with pytest.raises(tf.LimitReached):
            opened(provider, "hi again", stream=False)
    assert len(provider.requests) == 1


def test_a_call_is_a_row_with_its_tokens_and_a_survey_at_a_like_path_none(provider: Provider, tmp_path: Path) -> None:
    with tf.instrument(tmp_path / "runs.db"):
        for prompt in ("hi", "hi again"):
            with opened(provider, prompt, stream=False) as response:
                response.read()
        survey = urllib.request.Request(f"{provider.url}/survey/v1/chat/completions", b'{"answers": [1, 2]}')
        with urllib.request.urlopen(survey) as response:
            response.read()
    with contextlib.closing(sqlite3.connect(tmp_path / "runs.db")) as store:
        rows = store.execute("SELECT api, input_tokens, output_tokens, status FROM calls").fetchall()
        drops = store.execute("SELECT * FROM drops").fetchall()
    assert rows == [("openai.chat", 200, 150, "ok")] * 2
    assert drops == []


PLACES = [(http.client.HTTPConnection, name) for name in ("putrequest", "endheaders", "getresponse")] + [
    (Response, name) for name in ("read", "read1", "readline", "readinto", "close")
]


def test_undo_restores_the_identical_attributes(collected: Collected) -> None:
    before = [owner.__dict__[name] for owner, name in PLACES]
    undo = install(collected.tap)
    assert not any(owner.__dict__[name] is old for (owner, name), old in zip(PLACES, before, strict=True))
    undo()
    assert all(owner.__dict__[name] is old for (owner, name), old in zip(PLACES, before, strict=True))


def test_a_python_that_lacks_a_place_is_said(collected: Collected, caplog: pytest.LogCaptureFixture) -> None:
    hook._Installation(collected.tap).patch(type(json)("http.client"))
    assert collected.failures == ["hook_missing"]
    assert "lacks putrequest" in caplog.text


@READS
@pytest.mark.parametrize("name", ["_ask", "_begin", "_answered", "_filled", "_Body.came", "_Body.close", "_Body.note"])
def test_the_host_reads_its_answer_whatever_of_ours_raises(
    name: str,
    read: Callable[[Response], bytes],
    provider: Provider,
    recorded: Collected,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def raising(*_: object) -> Any:
        raise RuntimeError("ours")

    owner, _, attribute = name.rpartition(".")
    monkeypatch.setattr(getattr(hook, owner) if owner else hook, attribute, raising)
    with opened(provider, "hi") as response:
        assert read(response).rstrip().endswith(b"[DONE]")
