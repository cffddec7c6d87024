"""The scenarios of `boto3`'s Bedrock runtime: Converse and InvokeModel, with Anthropic's models."""

import json
from typing import Any

import boto3
from botocore.config import Config
from tests.matrix.clients.shared import plain

__all__ = ["DISTRIBUTION", "SCENARIOS"]

DISTRIBUTION = "boto3"
_MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
_TOOLS: Any = {
    "tools": [
        {
            "toolSpec": {
                "name": name,
                "description": name,
                "inputSchema": {"json": {"type": "object", "properties": {"query": {"type": "string"}}}},
            }
        }
        for name in ("search", "fetch")
    ]
}


def _client(url: str, attempts: int = 1) -> Any:
    return boto3.client(
        "bedrock-runtime",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="k",
        aws_secret_access_key="s",  # a server on loopback
        config=Config(retries={"total_max_attempts": attempts, "mode": "standard"}),
    )


def _ask(prompt: str) -> dict[str, Any]:
    return {"modelId": _MODEL, "messages": [{"role": "user", "content": [{"text": prompt}]}]}


def _body(prompt: str) -> dict[str, Any]:
    turns = [{"role": "user", "content": prompt}]
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": turns}
    return {"modelId": _MODEL, "body": json.dumps(body)}


def _seen(answer: dict[str, Any]) -> Any:
    return plain({key: value for key, value in answer.items() if key not in ("stream", "body")})


def _chat(url: str, prompt: str) -> Any:
    return _seen(_client(url).converse(**_ask(prompt)))


def _stream(url: str, prompt: str) -> Any:
    client = _client(url)
    return plain(list(client.converse_stream(**_ask(prompt))["stream"]))


def _tools(url: str, prompt: str) -> Any:
    return _seen(_client(url).converse(**_ask(prompt), toolConfig=_TOOLS))


def _tools_stream(url: str, prompt: str) -> Any:
    client = _client(url)
    return plain(list(client.converse_stream(**_ask(prompt), toolConfig=_TOOLS)["stream"]))


def _invoke_model(url: str, prompt: str) -> Any:
    answer = _client(url).invoke_model(**_body(prompt))
    return [_seen(answer), json.loads(answer["body"].read())]


def _invoke_stream(url: str, prompt: str) -> Any:
    client = _client(url)
    return plain(list(client.invoke_model_with_response_stream(**_body(prompt))["body"]))


def _made_before(url: str, prompt: str) -> Any:
    client = _client(url)
    yield
    yield _seen(client.converse(**_ask(prompt)))


def _abandoned(url: str, prompt: str) -> Any:
    client = _client(url)
    stream = client.converse_stream(**_ask(prompt))["stream"]
    first = plain(next(iter(stream)))
    stream.close()
    return first


def _retries(url: str, prompt: str) -> Any:
    return _seen(_client(url, attempts=3).converse(**_ask(prompt)))


SCENARIOS = {
    "chat": _chat,
    "stream": _stream,
    "tools": _tools,
    "tools_stream": _tools_stream,
    "invoke_model": _invoke_model,
    "invoke_stream": _invoke_stream,
    "made_before": _made_before,
    "abandoned": _abandoned,
    "broken": _stream,
    "retries": _retries,
    "refused": _chat,
    "failed": _chat,
    "failed_thrice": _retries,
}
