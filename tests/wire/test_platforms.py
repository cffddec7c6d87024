"""Platforms with bodies of their own, shaped as their clients' types and their documentation say."""

from typing import Any

import pytest
from tests.wire.conftest import Sent, Stream, tokens

ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
COUNTED = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
LLAMA = "https://api.llama.com/v1/chat/completions"
METRICS = [
    {"metric": "num_completion_tokens", "value": 3.0, "unit": "tokens"},
    {"metric": "num_prompt_tokens", "value": 12, "unit": "tokens"},
    {"metric": "num_total_tokens", "value": 15, "unit": "tokens"},
]


def _counts(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["input_tokens"], row["output_tokens"], row["status"], row["usage_source"]


def test_metas_chat_counts_in_metrics(sent: Sent) -> None:
    call = {"id": "c", "function": {"name": "look", "arguments": '{"q": 1}'}}
    message = {"role": "assistant", "content": {"type": "text", "text": "yes"}, "stop_reason": "stop"}

    row = sent(LLAMA, ASKED, {"id": "r", "completion_message": {**message, "tool_calls": [call]}, "metrics": METRICS})

    assert (row["api"], row["provider"], row["response_id"], row["tool_calls"]) == ("llama.chat", "meta", "r", 1)
    assert (_counts(row), row["finish_reasons"]) == ((12, 3, "ok", "provider"), '["stop"]')


def test_metas_stream_counts_in_one_more_event(sent: Sent) -> None:
    def event(kind: str, delta: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"id": "r", "event": {"event_type": kind, "delta": delta, **more}}

    call = {"type": "tool_call", "id": "c", "function": {"name": "look", "arguments": '{"q'}}
    events = [
        event("start", {"type": "text", "text": ""}),
        event("progress", {"type": "text", "text": "yes"}),
        event("progress", call),
        event("progress", {"type": "tool_call", "function": {"arguments": '": 1}'}}),
        event("complete", {"type": "text", "text": ""}, stop_reason="tool_calls"),
        event("metrics", {"type": "text", "text": ""}, metrics=METRICS),
    ]

    row = sent(LLAMA, {**ASKED, "stream": True}, Stream(events), content_type="text/event-stream")

    assert (_counts(row), row["stream"], row["tool_calls"]) == ((12, 3, "ok", "provider"), 1, 1)
    assert row["ttft_s"] is not None


def test_metas_other_path_answers_as_openai_does(sent: Sent) -> None:
    choice = {"index": 0, "message": {"content": "yes"}, "finish_reason": "stop"}

    row = sent("https://api.llama.com/compat/v1/chat/completions", ASKED, {"choices": [choice], "usage": COUNTED})

    assert (row["api"], row["provider"], _counts(row)) == ("openai.chat", "meta", (12, 3, "ok", "provider"))


@pytest.mark.parametrize("streamed", [False, True])
def test_yandex_writes_its_counts_as_texts(sent: Sent, streamed: bool) -> None:
    def said(text: str, status: str, **details: Any) -> dict[str, Any]:
        usage = {"inputTextTokens": "12", "completionTokens": "3", "totalTokens": "15", **details}
        alternative = {"message": {"role": "assistant", "text": text}, "status": f"ALTERNATIVE_STATUS_{status}"}
        return {"result": {"alternatives": [alternative], "usage": usage, "modelVersion": "1"}}

    whole = said("yes, it is", "FINAL", completionTokensDetails={"reasoningTokens": "1"})
    asked = {"modelUri": "gpt://f/yandexgpt/latest", "messages": [{"role": "user", "text": "hi"}]}
    url = "https://llm.api.cloud.yandex.net/foundationModels/v1/completion"

    row = sent(url, asked, Stream([said("yes", "PARTIAL"), whole]) if streamed else whole)

    assert (row["api"], row["provider"], row["model"]) == ("yandex.completion", "yandex_cloud", asked["modelUri"])
    assert (tokens(row), row["status"], bool(row["stream"])) == ((12, None, None, 3, 1), "ok", streamed)


def test_yandexs_vectors_are_counted(sent: Sent) -> None:
    asked = {"modelUri": "emb://f/text-search-doc/latest", "text": "hi"}
    url = "https://llm.api.cloud.yandex.net/foundationModels/v1/textEmbedding"

    row = sent(url, asked, {"embedding": [0.1], "numTokens": "7", "modelVersion": "1"})

    assert (row["api"], _counts(row)) == ("yandex.embed", (7, 0, "ok", "provider"))


CLOVA_USAGE = {"promptTokens": 12, "completionTokens": 3, "totalTokens": 15}


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v3/chat-completions/HCX-005",
         {"status": {"code": "20000"}, "result": {"message": {"content": "yes"}, "finishReason": "stop", "usage": CLOVA_USAGE}}),
        ("/v3/chat-completions/HCX-005",
         Stream([{"message": {"content": "yes"}, "finishReason": None, "usage": None},
                 {"message": {"content": "yes"}, "finishReason": "stop", "usage": CLOVA_USAGE}])),
        ("/testapp/v1/chat-completions/HCX-005",
         {"result": {"message": {"content": "yes"}, "stopReason": "stop", "inputLength": 12, "outputLength": 3}}),
    ],
)  # fmt: skip
def test_clova_studio_counts_in_both_versions(sent: Sent, path: str, answer: Any) -> None:
    row = sent(f"https://clovastudio.stream.ntruss.com{path}", {"messages": ASKED["messages"]}, answer)

    assert (row["api"], row["provider"], row["model"]) == ("clova.chat", "naver_cloud", "HCX-005")
    assert (_counts(row), row["finish_reasons"]) == ((12, 3, "ok", "provider"), '["stop"]')


@pytest.mark.parametrize("streamed", [False, True])
def test_an_app_of_dify_counts_at_its_end(sent: Sent, streamed: bool) -> None:
    ids = {"message_id": "m", "conversation_id": "c", "task_id": "t"}
    metadata = {"usage": {**COUNTED, "total_price": "0.001", "currency": "USD"}, "retriever_resources": []}
    events = [{"event": "message", **ids, "answer": "yes"}, {"event": "message_end", **ids, "metadata": metadata}]
    asked = {"inputs": {}, "query": "hi", "user": "u", "conversation_id": "c"}
    answer = Stream(events) if streamed else {"event": "message", **ids, "answer": "yes", "metadata": metadata}

    row = sent("http://dify.test/v1/chat-messages", asked, answer)

    assert (row["api"], row["response_id"], _counts(row)) == ("dify.chat", "m", (12, 3, "ok", "provider"))


def test_a_failure_in_a_stream_of_difys_is_one(sent: Sent) -> None:
    event = {"event": "error", "status": 400, "code": "provider_quota_exceeded", "message": "no"}

    row = sent("https://api.dify.ai/v1/completion-messages", {"inputs": {}, "user": "u"}, Stream([event]))

    assert (row["provider"], row["status"], row["error_type"]) == ("dify", "error", "provider_quota_exceeded")


@pytest.mark.parametrize("streamed", [False, True])
def test_pinecones_assistants_count_what_they_read(sent: Sent, streamed: bool) -> None:
    ended = {"id": "i", "model": "gpt-x", "finish_reason": "stop", "usage": COUNTED}
    events = [
        {"type": "message_start", "id": "i", "model": "gpt-x", "role": "assistant"},
        {"type": "content_chunk", "id": "i", "delta": {"content": "yes"}},
        {"type": "citation", "id": "i", "citation": {"position": 1, "references": []}},
        {"type": "message_end", **ended},
    ]
    answer = Stream(events) if streamed else {**ended, "message": {"role": "assistant", "content": "yes"}}

    row = sent("https://prod-1-data.ke.pinecone.io/assistant/chat/books", ASKED, answer)

    assert (row["api"], row["provider"], row["response_model"]) == ("pinecone.chat", "pinecone", "gpt-x")
    assert (_counts(row), row["finish_reasons"]) == ((12, 3, "ok", "provider"), '["stop"]')


def test_pinecones_inference_is_named_after_it(sent: Sent) -> None:
    asked = {"model": "m", "inputs": [{"text": "hi"}], "parameters": {}}
    embedded = sent("https://api.pinecone.io/embed", asked, {"model": "m", "data": [], "usage": {"total_tokens": 5}})
    asked = {"model": "m", "query": "q", "documents": [{"text": "d"}]}
    ranked = sent("https://api.pinecone.io/rerank", asked, {"model": "m", "data": [], "usage": {"rerank_units": 1}})

    assert (embedded["provider"], _counts(embedded)) == ("pinecone", (5, 0, "ok", "provider"))
    assert (_counts(ranked), ranked["extra"]["rerank_units"]) == ((None, None, "ok", "absent"), 1)


def test_what_pinecone_finds_without_an_answer_is_no_call(sent: Sent) -> None:
    answer = {"id": "i", "snippets": [], "usage": {**COUNTED, "completion_tokens": 0}}

    assert sent("https://prod-1-data.ke.pinecone.io/assistant/chat/books/context", ASKED, answer) == {}


def test_minimaxs_vectors_are_a_call_without_counts(sent: Sent) -> None:
    asked = {"model": "embo-01", "type": "db", "texts": ["hi"]}
    answer = {"vectors": [[0.1]], "base_resp": {"status_code": 0, "status_msg": "success"}}

    row = sent("https://api.minimax.chat/v1/embeddings?GroupId=1", asked, answer)

    assert (row["api"], row["provider"]) == ("openai.embeddings", "minimax")
    assert _counts(row) == (None, None, "ok", "absent")


@pytest.mark.parametrize(
    ("url", "model"),
    [
        ("https://ai.api.nvidia.com/v1/vlm/microsoft/phi-3-vision", "microsoft/phi-3-vision"),
        ("https://api.nvcf.nvidia.com/v2/nvcf/pexec/functions/1a2b", None),
    ],
)
def test_nvidias_other_paths_take_a_chat_of_openais(sent: Sent, url: str, model: str | None) -> None:
    choice = {"index": 0, "message": {"content": "yes"}, "finish_reason": "stop"}

    row = sent(url, {"messages": ASKED["messages"]}, {"id": "c", "choices": [choice], "usage": COUNTED})

    assert (row["api"], row["provider"], row["model"]) == ("openai.chat", "nvidia", model)
    assert _counts(row) == (12, 3, "ok", "provider")


@pytest.mark.parametrize(
    "path",
    [
        "/v3/chat-completions/m",
        "/v1/chat-messages",
        "/assistant/chat/m",
        "/v1/vlm/m",
        "/foundationModels/v1/completion",
    ],
)
def test_what_other_programs_answer_at_such_paths_is_no_call(sent: Sent, path: str) -> None:
    asked = {**ASKED, "query": "q", "user": "u", "modelUri": "x"}

    assert sent(f"https://other.test{path}", asked, {"done": True, "score": 3}) == {}
