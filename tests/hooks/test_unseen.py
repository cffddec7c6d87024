"""Ways to a model that no hook covers are reported once each; what a hook sees, and other traffic, is not."""

import asyncio
import contextlib
import json
import logging
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import httpx
import pytest
import requests
import urllib3
from tests.hooks.conftest import Collected
from tests.providers import Provider

import tokenflation.sdk as tf
from tokenflation.sdk.exchange import Tap
from tokenflation.sdk.hooks import install, unseen
from tokenflation.sdk.store.contents import info

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize("host", ["api.openai.com", "acme.openai.azure.com"])
def test_a_providers_own_host_is_named_without_what_is_its_customers(host: str, recorded: Collected) -> None:
    with pytest.raises(FileNotFoundError):
        subprocess.run(["/none/curl", f"https://{host}/v1/chat/completions", "-d", "{}"], check=False)
    assert recorded.failures == [f"unseen:{host.removeprefix('acme.')}"]


def through_httpx(url: str) -> None:
    httpx.post(url, json=QUESTION)


def through_async_httpx(url: str) -> None:
    async def call() -> None:
        async with httpx.AsyncClient() as client:
            await client.post(url, json=QUESTION)

    asyncio.run(call())


def through_aiohttp(url: str) -> None:
    async def call() -> None:
        async with aiohttp.ClientSession() as session, session.post(url, json=QUESTION) as response:
            await response.read()

    asyncio.run(call())


def through_requests(url: str) -> None:
    requests.post(url, json=QUESTION)


def through_urllib3(url: str) -> None:
    with urllib3.PoolManager() as pool:
        pool.request("POST", url, body=json.dumps(QUESTION))


HOOKED = pytest.mark.parametrize(
    "call",
    [through_httpx, through_async_httpx, through_aiohttp, through_requests, through_urllib3],
    ids=lambda call: call.__name__,
)


@pytest.fixture
def openai_is_local(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let api.openai.com be the local server, below whatever a hook lays over the look-up; return its URL."""
    look_up, port = socket.getaddrinfo, int(provider.url.rpartition(":")[2])

    def local(host: Any, *args: Any, **kwargs: Any) -> Any:
        return look_up("127.0.0.1" if host in ("api.openai.com", b"api.openai.com") else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", local)
    return f"http://api.openai.com:{port}/v1/chat/completions"


@HOOKED
def test_a_hooked_client_raises_no_alarm(
    call: Callable[[str], None], openai_is_local: str, collected: Collected
) -> None:
    undo = install(collected.tap)
    call(openai_is_local)
    undo()
    assert collected.only.host == "api.openai.com"


def test_other_requests_of_a_hooked_client_to_a_provider_raise_no_alarm(
    openai_is_local: str, collected: Collected
) -> None:
    undo = install(collected.tap)
    url = openai_is_local.removesuffix("chat/completions") + "models"
    assert httpx.get(url).status_code == requests.get(url).status_code == 200
    with urllib.request.urlopen(url) as response:  # no model is asked here either
        assert response.status == 200
    undo()
    assert (collected.exchanges, collected.failures) == ([], [])


def raw_socket(url: str) -> None:
    address = (url.split("/")[2].partition(":")[0], int(url.split(":")[2].partition("/")[0]))
    with socket.create_connection(address) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")


def test_a_provider_that_is_met_by_a_socket_of_its_own_is_reported_at_the_end(
    openai_is_local: str, collected: Collected
) -> None:
    undo = install(collected.tap)
    raw_socket(openai_is_local)
    assert collected.failures == []
    undo()
    assert collected.failures == ["unseen:api.openai.com"]


def test_a_provider_that_a_hook_sees_too_is_not_reported(openai_is_local: str, collected: Collected) -> None:
    undo = install(collected.tap)
    raw_socket(openai_is_local)
    through_httpx(openai_is_local)
    undo()
    assert collected.only.end == "read"


def test_after_a_grace_the_next_look_up_reports(
    openai_is_local: str, recorded: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unseen, "_GRACE_NS", 0)
    raw_socket(openai_is_local)
    socket.getaddrinfo("127.0.0.1", 80)
    assert recorded.failures == ["unseen:api.openai.com"]


def test_a_function_that_a_customer_serves_is_no_model_of_its_provider(collected: Collected) -> None:
    watch = unseen._Watch(collected.tap)
    watch._request("POST", "x.execute-api.eu-west-1.amazonaws.com", "/prod/score", b'{"text": "hi"}', "a way")
    assert collected.failures == []
    watch._request("POST", "bedrock-runtime.eu-west-1.amazonaws.com", "/model/m/converse", b"{}", "a way")
    assert collected.failures == ["unseen:bedrock-runtime.eu-west-1.amazonaws.com"]
    asks = json.dumps(QUESTION).encode()
    watch._request("POST", "x.execute-api.eu-west-1.amazonaws.com", "/prod/v1/chat/completions", asks, "a way")
    assert collected.failures[1:] == ["unseen:openai.chat"]


@pytest.mark.parametrize("host", ["s3.us-east-1.amazonaws.com", "huggingface.co", "acme.snowflakecomputing.com"])
def test_a_provider_of_much_else_is_not_suspected_by_its_name(host: str) -> None:
    assert unseen._provider_name(host) is None


def test_the_model_host_of_a_provider_of_much_else_is(collected: Collected) -> None:
    assert unseen._provider_name("bedrock-runtime.eu-west-1.amazonaws.com") is not None


GRPC_TARGETS = ["generativelanguage.googleapis.com:443", "dns:///api.x.ai:443", "x.internal:50051"]


@pytest.mark.parametrize("target", GRPC_TARGETS)
def test_a_grpc_channel_to_a_provider_is_reported_and_made(target: str, collected: Collected) -> None:
    grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
    before = grpc.secure_channel
    undo = install(collected.tap)
    with grpc.secure_channel(target, grpc.ssl_channel_credentials()) as channel:
        assert isinstance(channel, grpc.Channel)
    undo()
    assert grpc.secure_channel is before
    named = {
        "generativelanguage.googleapis.com:443": "generativelanguage.googleapis.com",
        "dns:///api.x.ai:443": "api.x.ai",
    }
    assert collected.failures == ([f"unseen:{named[target]}"] if target in named else [])


def test_curl_cffi_is_reported(recorded: Collected) -> None:
    curl_cffi = pytest.importorskip("curl_cffi", reason="curl_cffi is not installed")
    with pytest.raises(curl_cffi.requests.exceptions.RequestException):
        curl_cffi.requests.post("http://api.openai.com:1/v1/chat/completions", json={}, proxy="http://127.0.0.1:9")
    assert recorded.failures == ["unseen:api.openai.com"]


def test_curl_cffi_to_a_server_of_ones_own_is_reported_if_its_body_asks_a_model(
    recorded: Collected, provider: Provider
) -> None:
    requests = pytest.importorskip("curl_cffi.requests", reason="curl_cffi is not installed")
    url = f"{provider.openai_url}/chat/completions"
    with requests.Session() as session:
        session.post(url.replace("127.0.0.1", "localhost"), json={"orders": [1]})
        assert recorded.failures == []
        session.post(url, json={"model": "m", "messages": [{"role": "user", "content": "hi"}]})
    assert recorded.failures == ["unseen:openai.chat"]


@pytest.mark.parametrize(
    ("command", "reported"),
    [
        (["curl", "--version", "https://api.anthropic.com/v1/messages?key=1"], ["unseen:api.anthropic.com"]),
        (["curl", "--version", "https://example.test/v1/messages"], []),
        (["curl", "--version", "--url=https://api.anthropic.com/v1/messages"], ["unseen:api.anthropic.com"]),
        (["curl", "--version", "-d", "as in https://api.anthropic.com/v1/messages", "https://example.test/x"], []),
        ([sys.executable, "-c", "", "https://api.anthropic.com/v1/messages"], []),
    ],
    ids=["curl to a model", "curl elsewhere", "by its option", "cited in what is sent", "another program"],
)
def test_the_curl_command_is_reported_by_its_address(
    command: list[str], reported: list[str], recorded: Collected
) -> None:
    with contextlib.suppress(FileNotFoundError):  # where there is no curl, the attempt to run it tells as much
        subprocess.run(command, capture_output=True, check=False)
    assert recorded.failures == reported


@pytest.mark.parametrize(
    ("command", "reported"),
    [
        (["claude", "-p", "hello"], ["unseen:claude"]),
        (["claude.exe"], ["unseen:claude"]),
        (["codex", "exec", "hello"], ["unseen:codex"]),
        (["claude", "-v"], []),
        (["codex", "login", "status"], []),
        (["claudette", "-p", "hello"], []),
    ],
    ids=["with a prompt", "on a terminal", "another", "its version", "no model asked", "no agent"],
)
def test_a_coding_agent_that_is_started_as_a_program_is_reported_with_where_its_logs_lie(
    command: list[str], reported: list[str], tmp_path: Path, recorded: Collected, caplog: pytest.LogCaptureFixture
) -> None:
    program = tmp_path / command[0]
    program.write_text("#!/bin/sh\necho done\n")
    program.chmod(0o755)
    for _ in range(2):
        assert subprocess.run([str(program), *command[1:]], capture_output=True, check=True).stdout == b"done\n"
    assert recorded.failures == reported
    assert all(f"tokenflation import ~/.{command[0][:5]}" in record.getMessage() for record in caplog.records)
    assert len(caplog.records) == len(reported)


def test_a_coding_agent_in_a_line_for_the_shell_is_reported(tmp_path: Path, recorded: Collected) -> None:
    for line in ("gemini --version", "codex exec x"):
        assert subprocess.run(f"{tmp_path}/{line}", shell=True, capture_output=True, check=False).returncode == 127
    assert recorded.failures == ["unseen:codex"]


PLACES: list[tuple[Any, str]] = [
    (socket, "getaddrinfo"),
    (subprocess.Popen, "__init__"),
]


def test_undo_restores_the_identical_attributes(collected: Collected) -> None:
    before = [owner.__dict__[name] for owner, name in PLACES]
    undo = install(collected.tap)
    assert not any(owner.__dict__[name] is old for (owner, name), old in zip(PLACES, before, strict=True))
    undo()
    undo()
    assert all(owner.__dict__[name] is old for (owner, name), old in zip(PLACES, before, strict=True))


def through_curl(tap: Tap) -> None:
    with contextlib.suppress(OSError):
        subprocess.run(["/none/curl", "https://api.openai.com/v1/chat/completions", "-d", "{}"], check=False)


def through_a_socket(tap: Tap) -> None:
    with contextlib.suppress(RuntimeError):
        unseen.socket_unread(tap, "api.openai.com", "/")


def through_a_batch(tap: Tap) -> None:
    tap.begin("POST", "api.openai.com", "/v1/batches", None, {})


@pytest.mark.parametrize("way", [through_curl, through_a_socket, through_a_batch], ids=lambda way: way.__name__)
def test_what_is_unseen_is_counted_though_a_filter_of_the_hosts_log_fails(
    way: Callable[[Tap], None], collected: Collected
) -> None:
    undo, logger = install(collected.tap), logging.getLogger("tokenflation")
    handler = logging.NullHandler()
    handler.handle = raising  # type: ignore[method-assign]  # as a filter on it does
    logger.addHandler(handler)
    try:
        way(collected.tap)
    finally:
        logger.removeHandler(handler)
        undo()
    assert any(failure.startswith("unseen:") for failure in collected.failures)


def raising(*_: object, **__: object) -> Any:
    raise RuntimeError("ours")


@pytest.mark.parametrize("name", ["recognise", "provider_of", "underway", "_is_watched_caller"])
def test_the_host_is_answered_whatever_of_ours_raises(
    name: str, openai_is_local: str, recorded: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unseen, name, raising)
    raw_socket(openai_is_local)
    with pytest.raises(FileNotFoundError):
        subprocess.run(["/none/curl", "https://api.openai.com/v1/chat/completions", "-d", "{}"], check=False)
    assert set(recorded.failures) <= {"hook_error", "unseen:api.openai.com"}


def test_a_tap_that_raises_is_not_noticed(provider: Provider) -> None:
    undo = install(Tap(submit=raising, context=raising, failed=raising))
    assert requests.post(f"{provider.openai_url}/chat/completions", json=QUESTION).status_code == 200
    undo()


def test_a_module_without_the_place_is_left_alone(collected: Collected) -> None:
    watch = unseen._Watch(collected.tap)
    watch._patch("Curl", "setopt", raising, ModuleType("curl_cffi.curl"))
    watch.stop()
    assert collected.failures == []


LOOK_UP = """
try:
    socket.getaddrinfo("acme.openai.azure.com", 443)
except OSError:
    pass
"""


def test_the_store_counts_what_was_not_seen_and_holds_no_name_of_a_customer(tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    with tf.instrument(store), contextlib.suppress(OSError):
        socket.getaddrinfo("acme.openai.azure.com", 443)
    assert info(store)["drops"] == {"unseen:openai.azure.com": 1}
    assert not any(b"acme" in file.read_bytes() for file in tmp_path.iterdir())


def test_a_program_that_never_closes_leaves_the_report_behind(tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    script = f"import socket\nimport tokenflation.sdk as tf\ntf.instrument({str(store)!r}){LOOK_UP}"
    subprocess.run([sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{script}"], check=True)
    assert info(store)["drops"] == {"unseen:openai.azure.com": 1}
