"""boto3's bedrock-runtime client against a server that answers as Bedrock does, event-stream frames and all."""

import gc
import io
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import botocore
import pytest
import wrapt
from botocore.retries.standard import ExponentialBackoff
from tests.hooks.bedrock import MARKER, MODEL, TEXT, Bedrock
from tests.hooks.conftest import Collected, body
from tests.stored import rows
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

import tokenflation.sdk as tf
from tokenflation.sdk.hooks import install

MESSAGES = [{"role": "user", "content": [{"text": f"What is the answer? {MARKER}"}]}]
CLAUDE_BODY = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 99,
    "messages": [{"role": "user", "content": f"What is the answer? {MARKER}"}],
}


def call_converse(client: Any) -> str:
    answer = client.converse(modelId=MODEL, messages=MESSAGES, system=[{"text": MARKER}])
    assert answer["usage"]["outputTokens"] == 150
    return str(answer["output"]["message"]["content"][0]["text"])


def call_converse_stream(client: Any) -> str:
    events = list(client.converse_stream(modelId=MODEL, messages=MESSAGES)["stream"])
    assert events[-1]["metadata"]["usage"]["outputTokens"] == 150
    return "".join(event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event)


def call_invoke(client: Any) -> str:
    answer = client.invoke_model(modelId=MODEL, body=json.dumps(CLAUDE_BODY))
    return str(json.loads(answer["body"].read())["content"][0]["text"])


def call_invoke_stream(client: Any) -> str:
    answer = client.invoke_model_with_response_stream(modelId=MODEL, body=json.dumps(CLAUDE_BODY))
    events = [json.loads(event["chunk"]["bytes"]) for event in answer["body"]]
    return "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")


CALLS = pytest.mark.parametrize(
    "call", [call_converse, call_converse_stream, call_invoke, call_invoke_stream], ids=lambda call: call.__name__
)


@pytest.fixture(autouse=True)
def no_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda self, context: 0.0)


@pytest.fixture
def bedrock() -> Iterator[Bedrock]:
    with Bedrock() as running:
        yield running


@CALLS
def test_every_operation_is_recorded_byte_for_byte(call: Any, bedrock: Bedrock, recorded: Collected) -> None:
    assert call(bedrock.client()) == TEXT
    only = recorded.only
    assert body(only) == bedrock.sent[0]
    path, raw = bedrock.asked[0]
    assert (only.path, only.request_body, only.end) == (unquote(path), raw, "read")
    assert only.path.split("/")[2] == MODEL
    assert not only.request_headers


def test_a_client_made_before_is_recorded(bedrock: Bedrock, collected: Collected) -> None:
    client = bedrock.client()
    call_converse(client)
    undo = install(collected.tap)
    call_converse(client)
    undo()
    call_converse(client)
    assert body(collected.only) == bedrock.sent[1]


def test_a_body_given_as_a_file_in_memory_is_kept(bedrock: Bedrock, recorded: Collected) -> None:
    raw = json.dumps(CLAUDE_BODY).encode()
    bedrock.client().invoke_model(modelId=MODEL, body=io.BytesIO(raw))["body"].read()
    assert bedrock.asked[0][1] == raw
    assert recorded.only.request_body == raw


def lines(stream: Any) -> bytes:
    return b"".join(stream.iter_lines(keepends=True))


def buffered(stream: Any) -> bytes:
    buffer = bytearray(31)
    return b"".join(bytes(buffer[:count]) for count in iter(lambda: stream.readinto(buffer), 0))


@pytest.mark.parametrize(
    "read", [lambda it: it.read(), lambda it: b"".join(it.iter_chunks(13)), lambda it: b"".join(it), lines, buffered]
)
def test_a_streaming_body_is_recorded_however_it_is_read(read: Any, bedrock: Bedrock, recorded: Collected) -> None:
    stream = bedrock.client().invoke_model(modelId=MODEL, body=json.dumps(CLAUDE_BODY))["body"]
    assert read(stream) == bedrock.sent[0]
    assert body(recorded.only) == bedrock.sent[0]
    assert recorded.only.end == "read"


def test_a_stream_cut_by_the_network_ends_as_failed_and_raises_what_it_would(recorded: Collected) -> None:
    with Bedrock(cut=230) as bedrock, pytest.raises(Exception, match=r"prematurely|broken|IncompleteRead"):
        call_converse_stream(bedrock.client())
    assert recorded.only.end == "failed"
    assert body(recorded.only) == bedrock.sent[0][:230]


def test_a_stream_closed_after_one_event_ends_as_closed(recorded: Collected) -> None:
    with Bedrock(held=True) as bedrock:
        stream = bedrock.client().converse_stream(modelId=MODEL, messages=MESSAGES)["stream"]
        assert "messageStart" in next(iter(stream))
        stream.close()
        assert recorded.only.end == "closed"
    assert body(recorded.only) == bedrock.sent[0][: len(body(recorded.only))]


@pytest.mark.filterwarnings("ignore:unclosed", "ignore::pytest.PytestUnraisableExceptionWarning")  # botocore's socket
def test_a_stream_that_nobody_reads_ends_when_it_is_collected(recorded: Collected) -> None:
    with Bedrock(held=True) as bedrock:
        answer = bedrock.client().converse_stream(modelId=MODEL, messages=MESSAGES)
        del answer
        gc.collect()
        assert recorded.only.end == "dropped"


def test_a_request_that_waits_to_be_told_to_continue_is_recorded(bedrock: Bedrock, recorded: Collected) -> None:
    client = bedrock.client()

    def expect(request: Any, **_: Any) -> None:
        request.headers.add_header("Expect", "100-continue")

    client.meta.events.register("before-sign.bedrock-runtime.*", expect)
    assert call_converse(client) == TEXT
    assert body(recorded.only) == bedrock.sent[0]
    assert recorded.only.request_body == bedrock.asked[0][1]


@CALLS
def test_calls_over_tls_are_recorded(call: Any, certificate: str, recorded: Collected) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with Bedrock(tls=tls) as bedrock:
        assert call(bedrock.client(verify=f"{certificate}.crt")) == TEXT
    assert body(recorded.only) == bedrock.sent[0]
    assert recorded.only.end == "read"


@pytest.mark.parametrize("order", ["before", "after"])
def test_calls_over_tls_are_recorded_beside_a_tracer_that_wraps_the_pools_of_each_scheme(
    order: str, certificate: str, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    undo = install(collected.tap) if order == "after" else lambda: None
    for pool in (HTTPSConnectionPool, HTTPConnectionPool):  # as New Relic's agent does, when it is switched on
        wrapper = wrapt.FunctionWrapper(HTTPConnectionPool.__dict__["_make_request"], lambda f, _, a, k: f(*a, **k))
        monkeypatch.setattr(pool, "_make_request", wrapper)
    theirs = HTTPSConnectionPool.__dict__["_make_request"]
    undo = install(collected.tap) if order == "before" else undo
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with Bedrock(tls=tls) as bedrock:
        assert call_converse(bedrock.client(verify=f"{certificate}.crt")) == TEXT
    undo()
    assert body(collected.only) == bedrock.sent[0]
    assert HTTPSConnectionPool.__dict__["_make_request"] is theirs


# End to end: what the store holds.


@CALLS
def test_the_stores_row_holds_what_the_server_counted(call: Any, bedrock: Bedrock, tmp_path: Path) -> None:
    with tf.instrument(tmp_path / "runs.db") as handle:
        assert call(bedrock.client()) == TEXT
        handle.flush()
        assert handle.drops == {}
    (row,) = rows(tmp_path / "runs.db")
    expected = {
        "input_tokens": 200,
        "cache_read_tokens": 64,
        "cache_write_tokens": 36,
        "output_tokens": 150,
        "usage_source": "provider",
        "status": "ok",
        "model": MODEL,
        "attempts": 1,
    }
    assert {name: row[name] for name in expected} == expected


@CALLS
def test_botocores_own_retries_are_attempts_of_one_call(call: Any, tmp_path: Path) -> None:
    with Bedrock(throttled=2) as bedrock, tf.instrument(tmp_path / "runs.db") as handle:
        assert call(bedrock.client()) == TEXT
        handle.flush()
    (row,) = rows(tmp_path / "runs.db")
    assert len(bedrock.asked) == 3
    assert (row["attempts"], row["status"], row["input_tokens"]) == (3, "ok", 200)


def test_a_call_that_stays_throttled_is_one_failed_call(tmp_path: Path) -> None:
    with Bedrock(throttled=9) as bedrock, tf.instrument(tmp_path / "runs.db") as handle:
        with pytest.raises(botocore.exceptions.ClientError, match="ThrottlingException"):
            call_converse(bedrock.client())
        handle.flush()
    (row,) = rows(tmp_path / "runs.db")
    assert (row["attempts"], row["status"], row["output_tokens"]) == (len(bedrock.asked), "error", None)


@CALLS
def test_no_text_and_no_secret_is_in_the_store(call: Any, tmp_path: Path) -> None:
    with Bedrock(throttled=1) as bedrock, tf.instrument(tmp_path / "runs.db"):
        call(bedrock.client())
    for file in tmp_path.iterdir():
        raw = file.read_bytes()
        assert MARKER.encode() not in raw, file
        assert b"AKIAMARKER" not in raw, file
