"""Clouds with bodies of their own, shaped as their documentation or their clients show them."""

from typing import Any

import pytest
from tests.wire.conftest import Sent, Stream, tokens

from tokenflation.sdk.wire import ExchangeBytes, provider_of, read, recognise

USAGE = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}
ASKED = {"messages": [{"role": "user", "content": "hi"}]}
WORKERS = "https://api.cloudflare.com/client/v4/accounts/a/ai/run/"
LLAMA = "@cf/meta/llama-3.1-8b-instruct"
COMPLETION = {
    "id": "c",
    "object": "chat.completion",
    "model": "gpt-4o-2024",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": USAGE,
}
OCI = "https://inference.generativeai.us-chicago-1.oci.oraclecloud.com/20231130/actions"
SERVED = {"compartmentId": "c", "servingMode": {"servingType": "ON_DEMAND", "modelId": "meta.llama-3.3-70b"}}
OCI_USAGE = {
    "promptTokens": 50,
    "completionTokens": 20,
    "totalTokens": 70,
    "completionTokensDetails": {"reasoningTokens": 5},
    "promptTokensDetails": {"cachedTokens": 10},
}
SAP = "https://api.ai.prod.eu-central-1.aws.ml.hana.ondemand.com/v2/inference/deployments/d"


def _cloudflare(result: Any) -> dict[str, Any]:
    return {"result": result, "success": True, "errors": [], "messages": []}


def test_cloudflares_models_count_in_doubles_within_a_result(sent: Sent) -> None:
    usage = {"prompt_tokens": 20.0, "completion_tokens": 9.0, "total_tokens": 29.0}
    calls = [{"name": "f", "arguments": {"a": 1}}]
    row = sent(WORKERS + LLAMA, ASKED, _cloudflare({"response": "Hello", "tool_calls": calls, "usage": usage}))
    assert (row["api"], row["provider"], row["model"]) == ("cloudflare.run", "cloudflare", LLAMA)
    assert (tokens(row), row["tool_calls"]) == ((20, None, None, 9, None), 1)


def test_a_stream_of_cloudflares_ends_with_its_usage(sent: Sent) -> None:
    events = [{"response": "He", "p": "ab"}, {"response": "llo"}, {"response": "", "usage": USAGE}, "[DONE]"]
    for url in (WORKERS + LLAMA, f"https://gateway.ai.cloudflare.com/v1/a/g/workers-ai/{LLAMA}"):
        row = sent(url, {**ASKED, "stream": True}, Stream(events))
        assert (tokens(row), row["status"], row["model"]) == ((20, None, None, 9, None), "ok", LLAMA)
    assert sent(WORKERS + LLAMA, {**ASKED, "stream": True}, Stream(events[:2]))["status"] == "cut"


def test_newer_models_of_cloudflares_answer_as_openais_do(sent: Sent) -> None:
    row = sent(f"{WORKERS}@cf/zai-org/glm-4.7-flash", ASKED, _cloudflare(COMPLETION))
    assert (tokens(row), row["finish_reasons"]) == ((20, None, None, 9, None), '["stop"]')
    said = {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}
    details = {"reasoning_tokens": 30}
    usage = {"input_tokens": 82, "output_tokens": 40, "output_tokens_details": details, "total_tokens": 122}
    answer = {"id": "resp_1", "object": "response", "status": "completed", "output": [said], "usage": usage}
    row = sent(f"{WORKERS}@cf/openai/gpt-oss-120b", {"input": "hi"}, _cloudflare(answer))
    assert (tokens(row), row["response_id"]) == ((82, None, None, 40, 30), "resp_1")


def test_a_batch_of_cloudflares_counts_nothing_however_often_it_is_looked_at(sent: Sent) -> None:
    queued = {"status": "queued", "request_id": "r", "model": LLAMA}
    row = sent(f"{WORKERS}{LLAMA}?queueRequest=true", {"requests": [ASKED]}, _cloudflare(queued))
    assert (row["usage_source"], row["status"], row["finish_reasons"]) == ("absent", "ok", '["queued"]')
    done = {"responses": [{"id": 0, "result": {"response": "Hi", "usage": USAGE}, "success": True}], "usage": USAGE}
    assert sent(f"{WORKERS}{LLAMA}?queueRequest=true", {"request_id": "r"}, _cloudflare(done)) == {}


def test_a_stream_of_snowflakes_ends_without_a_word_and_asks_for_its_tools_in_its_own_way(sent: Sent) -> None:
    def said(usage: dict[str, int], **delta: Any) -> dict[str, Any]:
        return {"id": "i", "model": "claude-sonnet-4", "choices": [{"delta": delta}], "usage": usage}

    url = "https://x.snowflakecomputing.com/api/v2/cortex/inference:complete"
    call = {"tool_use_id": "tooluse_1", "name": "get_price"}
    events = [
        said({}, type="text", content="I'll look", content_list=[{"type": "text", "text": "I'll look"}]),
        said({}, type="tool_use", content_list=[call], **call),
        said({}, type="tool_use", input='{"symbol":', content_list=[]),
        said(USAGE, type="tool_use", input='"X"}', content_list=[]),
    ]
    asked = {"model": "claude-sonnet-4", "stream": True, **ASKED}
    row = sent(url, asked, Stream(events))
    assert (row["api"], row["provider"], tokens(row)) == ("snowflake.complete", "snowflake", (20, None, None, 9, None))
    assert (row["status"], row["usage_complete"], row["tool_calls"]) == ("ok", 1, 1)
    cut = sent(url, asked, Stream(events[:2]))
    assert (tokens(cut), cut["usage_complete"]) == ((None,) * 5, 0)
    parts = [
        {"type": "text", "text": "I'll look"},
        {"type": "tool_use", "tool_use": {**call, "input": {"symbol": "X"}}},
    ]
    whole = {**said(USAGE), "choices": [{"message": {"content": "I'll look", "content_list": parts}}]}
    assert (tokens(row := sent(url, asked, whole)), row["tool_calls"]) == ((20, None, None, 9, None), 1)


@pytest.mark.parametrize("path", ["/client/v4/accounts/a/dns_records", "/client/v4/accounts/a/ai/tomarkdown"])
def test_other_requests_to_cloudflare_are_not_touched(path: str) -> None:
    assert recognise("POST", path) is None


def _oci(request: dict[str, Any], answer: Any, sent: Sent) -> dict[str, Any]:
    return sent(f"{OCI}/chat", {**SERVED, "chatRequest": request}, answer)


def test_oracles_chat_counts_beside_its_choices(sent: Sent) -> None:
    call = {"id": "t", "type": "FUNCTION", "name": "f", "arguments": "{}"}
    said = {"role": "ASSISTANT", "content": [{"type": "TEXT", "text": "Hi"}], "toolCalls": [call]}
    choice = {"index": 0, "message": said, "finishReason": "stop"}
    answer = {
        "modelId": "meta.llama",
        "chatResponse": {"apiFormat": "GENERIC", "choices": [choice], "usage": OCI_USAGE},
    }
    asked = {"apiFormat": "GENERIC", "messages": [{"role": "USER", "content": [{"type": "TEXT", "text": "hi"}]}]}
    row = _oci(asked, answer, sent)
    assert (row["api"], row["provider"], row["model"]) == ("oci.chat", "oci", "meta.llama-3.3-70b")
    assert (tokens(row), row["tool_calls"], row["response_model"]) == ((50, 10, None, 20, 5), 1, "meta.llama")


def test_an_event_of_oracles_stream_is_a_choice_by_itself(sent: Sent) -> None:
    events = [
        {"index": 0, "message": {"role": "ASSISTANT", "content": [{"type": "TEXT", "text": "He"}]}, "pad": "aa"},
        {"message": {"toolCalls": [{"id": "t", "type": "FUNCTION", "name": "f", "arguments": ""}]}},
        {"message": {"toolCalls": [{"type": "FUNCTION", "arguments": "{}"}]}},
        {"finishReason": "tool_calls"},
        {"usage": OCI_USAGE},
    ]
    asked = {"apiFormat": "GENERIC", "messages": [], "isStream": True, "streamOptions": {"isIncludeUsage": True}}
    row = _oci(asked, Stream(events), sent)
    assert (tokens(row), row["status"], row["tool_calls"]) == ((50, 10, None, 20, 5), "ok", 1)
    assert _oci(asked, Stream(events[:3]), sent)["status"] == "cut"


def test_coheres_models_at_oracle_answer_in_their_own_way(sent: Sent) -> None:
    usage = {"promptTokens": 5, "completionTokens": 2, "totalTokens": 7}
    said = {"apiFormat": "COHERE", "text": "Hello you, all of you", "finishReason": "COMPLETE", "usage": usage}
    calls = [{"name": "f", "parameters": {"a": 1}}]
    asked = {"apiFormat": "COHERE", "message": "hi"}
    row = _oci(asked, {"modelId": "cohere.command", "chatResponse": {**said, "toolCalls": calls}}, sent)
    assert (tokens(row), row["finish_reasons"], row["tool_calls"]) == ((5, None, None, 2, None), '["COMPLETE"]', 1)
    row = _oci(asked, Stream([{"apiFormat": "COHERE", "text": "Hello"}, {**said, "chatHistory": []}]), sent)
    assert (tokens(row), row["status"]) == ((5, None, None, 2, None), "ok")


def test_a_completion_at_oracle_that_was_all_reasoning_is_known_by_the_total(sent: Sent) -> None:
    usage = {"promptTokens": 5, "totalTokens": 55, "completionTokensDetails": {"reasoningTokens": 50}}
    choice = {"index": 0, "message": {}, "finishReason": "length"}
    row = _oci({"messages": []}, {"modelId": "m", "chatResponse": {"choices": [choice], "usage": usage}}, sent)
    assert tokens(row) == (5, None, None, 50, 50)


def test_a_choice_of_oracles_may_hold_the_usage_itself(sent: Sent) -> None:
    choice = {"index": 0, "message": {}, "finishReason": "stop", "usage": OCI_USAGE}
    row = _oci({"messages": []}, {"modelId": "m", "chatResponse": {"choices": [choice]}}, sent)
    assert (tokens(row), row["usage_complete"]) == ((50, 10, None, 20, 5), 1)


def test_a_message_of_one_word_is_no_class_of_a_failure(sent: Sent) -> None:
    assert _oci({"messages": []}, {"error": "MARKER"}, sent)["error_type"] == "error"
    assert (
        _oci({"messages": []}, {"code": "TooManyRequests", "message": "MARKER"}, sent)["error_type"]
        == "TooManyRequests"
    )


def test_oracle_counts_embeddings_and_nothing_that_it_ranks(sent: Sent) -> None:
    usage = {"promptTokens": 4, "completionTokens": 0, "totalTokens": 4}
    answer = {"id": "i", "modelId": "cohere.embed", "embeddings": [[1.0]], "usage": usage}
    row = sent(f"{OCI}/embedText", {**SERVED, "inputs": ["a"]}, answer)
    assert (row["api"], tokens(row)) == ("oci.embed", (4, None, None, 0, None))
    row = sent(f"{OCI}/rerankText", {**SERVED, "input": "q", "documents": ["a"]}, {"id": "i", "documentRanks": []})
    assert (row["api"], row["usage_source"], row["status"]) == ("oci.others", "absent", "ok")


def test_saps_orchestration_is_counted_once_by_its_result(sent: Sent) -> None:
    prompt = {"template": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]}
    module = {"model": {"name": "gpt-4o", "params": {}}, "prompt": prompt}
    answer = {"request_id": "r", "intermediate_results": {"llm": COMPLETION}, "final_result": COMPLETION}
    for modules in ({"prompt_templating": module}, [{"prompt_templating": module}]):
        row = sent(f"{SAP}/v2/completion", {"config": {"modules": modules}}, answer)
        assert (row["api"], row["provider"], row["model"]) == ("sap.orchestration", "sap", "gpt-4o")
        assert (tokens(row), row["response_model"]) == ((20, None, None, 9, None), "gpt-4o-2024")
        assert row["system_tokens"] > 0
    configurations = {"llm_module_config": {"model_name": "gpt-4o"}, "templating_module_config": prompt}
    asked = {"orchestration_config": {"module_configurations": configurations}}
    row = sent(f"{SAP}/completion", asked, {"module_results": {"llm": COMPLETION}, "orchestration_result": COMPLETION})
    assert (tokens(row), row["model"]) == ((20, None, None, 9, None), "gpt-4o")


def test_a_stream_of_saps_ends_as_openais_do(sent: Sent) -> None:
    delta = {"index": 0, "delta": {"role": "assistant", "content": "Hi"}, "finish_reason": ""}
    chunk = {"id": "c", "model": "gpt-4o-2024", "choices": [delta]}
    last = {**chunk, "choices": [{**delta, "finish_reason": "stop"}], "usage": USAGE}
    events = [{"final_result": chunk}, {"intermediate_results": {"llm": last}, "final_result": last}, "[DONE]"]
    asked = {"config": {"modules": {"prompt_templating": {}}}}
    row = sent(f"{SAP}/v2/completion", asked, Stream(events))
    assert (tokens(row), row["status"]) == ((20, None, None, 9, None), "ok")
    failed = Stream([events[0], {"error": {"code": 400, "message": "no", "location": "LLM Module"}}])
    assert sent(f"{SAP}/v2/completion", asked, failed)["status"] == "error"


def test_saps_deployments_also_speak_bedrocks_apis_and_embed(sent: Sent) -> None:
    usage = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}
    answer = {"output": {"message": {"content": [{"text": "Hi"}]}}, "stopReason": "end_turn", "usage": usage}
    row = sent(f"{SAP}/converse", {"messages": []}, answer)
    assert (row["api"], row["provider"], tokens(row)) == ("bedrock.converse", "sap", (3, None, None, 2, None))
    asked = {"config": {"modules": {"embeddings": {"model": {"name": "e"}}}}, "input": {"text": ["x"]}}
    result = {"object": "list", "data": [], "model": "e", "usage": {"prompt_tokens": 20, "total_tokens": 20}}
    row = sent(f"{SAP}/v2/embeddings", asked, {"request_id": "r", "final_result": result})
    assert (row["api"], row["model"], tokens(row)) == ("sap.embeddings", "e", (20, None, None, 0, None))


@pytest.mark.parametrize(
    ("url", "asked", "answer", "counts"),
    [
        ("https://x.snowflakecomputing.com/api/v2/cortex/inference:embed", {"text": ["a"], "model": "e"}, {"data": [], "model": "e", "usage": {"total_tokens": 7}}, (7, 0)),
        ("https://api.deepinfra.com/v1/inference/meta/Llama", {"input": "hi"}, {"results": [{"generated_text": "a"}], "num_input_tokens": 7, "inference_status": {"tokens_generated": 5, "tokens_input": 7}}, (7, 5)),
        ("https://api.deepinfra.com/v1/inference/BAAI/bge", {"inputs": ["hi"]}, {"embeddings": [[0.1]], "input_tokens": 42, "inference_status": {"tokens_generated": None}}, (42, 0)),
        ("https://api.deepinfra.com/v1/inference/Qwen/Qwen3-Reranker-8B", {"queries": ["q"], "documents": ["d"]}, {"scores": [0.1], "input_tokens": 42, "inference_status": {"status": "unknown", "tokens_generated": 0, "tokens_input": 0}}, (42, 0)),
        ("https://w.ap-southeast-1.maas.aliyuncs.com/compatible-api/v1/reranks", {"model": "r", "query": "q", "documents": ["d"]}, {"object": "list", "results": [{"index": 0, "relevance_score": 0.9}], "usage": {"total_tokens": 79}}, (79, 0)),
        ("https://aip.baidubce.com/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/eb-instant", ASKED, {"id": "as", "result": "Hi", "usage": USAGE}, (20, 9)),
        ("https://aip.baidubce.com/rpc/2.0/ai_custom/v1/wenxinworkshop/embeddings/embedding-v1", {"input": ["a"]}, {"data": [], "usage": {"prompt_tokens": 4, "total_tokens": 4}}, (4, 0)),
        ("https://hunyuan.tencentcloudapi.com/", {"Model": "hunyuan-pro", "Messages": [{"Role": "user", "Content": "hi"}]}, {"Response": {"Choices": [{"FinishReason": "stop", "Message": {"Content": "Hi"}}], "Usage": {"PromptTokens": 4, "CompletionTokens": 3, "TotalTokens": 7}}}, (4, 3)),
        ("https://x.endpoints.huggingface.cloud/", {"inputs": "hi"}, {"generated_text": "a", "details": {"finish_reason": "length", "generated_tokens": 3, "input_length": 2}}, (2, 3)),
        ("https://dashscope.aliyuncs.com/api/v1/apps/x/completion", {"input": {"prompt": "hi"}}, {"output": {"text": "a", "finish_reason": "stop"}, "usage": {"models": [{"model_id": "qwen-max", "input_tokens": 33, "output_tokens": 12}, {"model_id": "qwen-turbo", "input_tokens": 3, "output_tokens": 2}]}}, (36, 14)),
        ("https://eu-de.ml.cloud.ibm.com/ml/v1/text/embeddings", {"inputs": ["a"], "model_id": "slate"}, {"model_id": "slate", "results": [{"embedding": [0.1]}], "input_token_count": 10}, (10, 0)),
        ("https://eu-de.ml.cloud.ibm.com/ml/v1/text/rerank", {"query": "q", "inputs": [{"text": "a"}], "model_id": "r"}, {"model_id": "r", "results": [{"index": 0, "score": 0.5}], "input_token_count": 18}, (18, 0)),
        ("https://api.reka.ai/v1/chat", {"model": "reka-core", **ASKED}, {"id": "i", "model": "reka-core", "responses": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}], "usage": {"input_tokens": 5, "output_tokens": 2}}, (5, 2)),
        ("https://modeldeployment.us-ashburn-1.oci.customer-oci.com/ocid1.datasciencemodeldeployment.oc1.iad.x/predict", {"model": "odsc-llm", **ASKED}, COMPLETION, (20, 9)),
        ("https://api.perplexity.ai/v1/sonar", {"model": "sonar", **ASKED}, COMPLETION, (20, 9)),
        ("https://ark.cn-beijing.volces.com/api/v3/embeddings/multimodal", {"model": "m", "input": []}, {"data": {}, "usage": {"prompt_tokens": 13, "total_tokens": 13}}, (13, 0)),
        ("https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/l/endpoints/e:rawPredict", ASKED, COMPLETION, (20, 9)),
    ],
)  # fmt: skip
def test_a_documented_answer_is_recorded_with_its_counts(
    sent: Sent, url: str, asked: dict[str, Any], answer: Any, counts: tuple[int, int]
) -> None:
    row = sent(url, asked, answer)
    assert (row["input_tokens"], row["output_tokens"], row["status"]) == (*counts, "ok")
    assert row["usage_complete"]


@pytest.mark.parametrize(
    ("read_outside", "input_tokens"),
    [(False, 3681), (True, 3781)],
)
def test_perplexitys_agent_is_asked_by_a_preset_and_counts_its_cache(
    sent: Sent, read_outside: bool, input_tokens: int
) -> None:
    details = {"cache_creation_input_tokens": 10, "cache_read_input_tokens": 100}
    total = input_tokens + 780
    usage = {"input_tokens": 3681, "input_tokens_details": details, "output_tokens": 780, "total_tokens": total}
    answer = {"id": "r", "object": "response", "model": "openai/gpt-5.1", "status": "completed", "usage": usage}
    for path in ("/v1/responses", "/v1/agent"):
        row = sent(f"https://api.perplexity.ai{path}", {"preset": "pro-search", "input": "hi"}, answer)
        assert (row["api"], tokens(row)) == ("openai.responses", (input_tokens, 100, 10, 780, None))


def test_a_call_of_watsonx_has_the_model_that_its_body_names(sent: Sent) -> None:
    host = "https://eu-de.ml.cloud.ibm.com/ml/v1/text"
    assert sent(f"{host}/chat", {"model_id": "granite", **ASKED}, {**COMPLETION, "model": None})["model"] == "granite"
    result = {"generated_text": "Hi", "generated_token_count": 2, "input_token_count": 3, "stop_reason": "eos_token"}
    row = sent(f"{host}/generation", {"model_id": "granite", "input": "hi"}, {"results": [result]})
    assert (row["model"], tokens(row)) == ("granite", (3, None, None, 2, None))


@pytest.mark.parametrize("path", ["/ml/v1/text/generation_stream", "/ml/v1-beta/generation/text_stream"])
def test_a_stream_of_watsonx_says_its_input_once_and_its_output_so_far(sent: Sent, path: str) -> None:
    pieces = [("", 0, 8, "not_finished"), (" sky", 10, 0, "not_finished"), ("", 11, 0, "eos_token")]
    names = ("generated_text", "generated_token_count", "input_token_count", "stop_reason")
    events = [{"model_id": "flan", "results": [dict(zip(names, piece, strict=True))]} for piece in pieces]
    row = sent(f"https://us-south.ml.cloud.ibm.com{path}", {"model_id": "flan", "input": "hi"}, Stream(events))
    assert (row["api"], row["status"], row["finish_reasons"]) == ("ibm.text_generation", "ok", '["eos_token"]')
    assert tokens(row) == (8, None, None, 11, None)


def test_aleph_alphas_completions_and_embeddings_are_counted(sent: Sent) -> None:
    at, asked = "https://api.aleph-alpha.com", {"model": "pharia", "prompt": [{"type": "text", "data": "hi"}]}
    counts = {"num_tokens_prompt_total": 9, "num_tokens_generated": 30}
    answer = {"completions": [{"completion": "Ho", "finish_reason": "maximum_tokens"}], "model_version": "2022-04"}
    row = sent(f"{at}/complete", {**asked, "maximum_tokens": 30}, {**answer, **counts})
    assert (row["api"], row["provider"], row["model"]) == ("aleph_alpha.complete", "aleph_alpha", "pharia")
    assert (tokens(row), row["finish_reasons"]) == ((9, None, None, 30, None), '["maximum_tokens"]')
    summary = {"type": "stream_summary", "index": 0, "model_version": "2022-04", "finish_reason": "maximum_tokens"}
    events = [{"type": "stream_chunk", "index": 0, "completion": "Ho"}, summary]
    events += [{"type": "completion_summary", "model_version": "2022-04", **counts}]
    row = sent(f"{at}/complete", {**asked, "maximum_tokens": 30, "stream": True}, Stream([*events, "[DONE]"]))
    assert (tokens(row), row["status"], row["ttft_s"] is None) == ((9, None, None, 30, None), "ok", False)
    row = sent(f"{at}/semantic_embed", asked, {"embedding": [0.1], "num_tokens_prompt_total": 9})
    assert (row["api"], tokens(row)) == ("aleph_alpha.embed", (9, None, None, 0, None))
    assert sent("https://forms.test/complete", {"prompt": "?", "answer": 1}, {"completions": []}) == {}


def test_a_stream_of_writers_ends_with_its_counts(sent: Sent) -> None:
    last = {"id": "c", "choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}]}
    events = Stream([last, {"id": "c", "choices": [], "usage": USAGE}])
    row = sent("https://api.writer.com/v1/chat", {"model": "palmyra-x4", "stream": True, **ASKED}, events)
    assert (row["status"], tokens(row)) == ("ok", (20, None, None, 9, None))


def test_a_cache_that_alibabas_chat_writes_is_counted_in_the_details(sent: Sent) -> None:
    details = {"cached_tokens": 0, "cache_creation_input_tokens": 16, "cache_type": "ephemeral"}
    answer = {**COMPLETION, "usage": {**USAGE, "prompt_tokens_details": details}}
    url = "https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions"
    assert tokens(sent(url, {"model": "qwen3-max", **ASKED}, answer)) == (20, 0, 16, 9, None)


def test_fal_counts_what_its_router_answers_at_once(sent: Sent) -> None:
    usage = {"prompt_tokens": 1340, "completion_tokens": 63, "total_tokens": 1403, "cost": 0.0005595}
    asked = {"prompt": "hi", "model": "google/gemini-2.5-flash"}
    for path in ("", "/vision"):
        row = sent(f"https://fal.run/openrouter/router{path}", asked, {"output": "A tiger", "usage": usage})
        assert (row["api"], row["provider"], row["model"]) == ("fal.router", "fal_ai", "google/gemini-2.5-flash")
        assert (tokens(row), row["extra"]["cost"]) == ((1340, None, None, 63, None), 0.0005595)
    events = Stream([{"output": "A", "partial": True}, {"output": "A tiger", "partial": False, "usage": usage}])
    row = sent("https://fal.run/openrouter/router/stream", asked, events)
    assert (tokens(row), row["status"], row["stream"]) == ((1340, None, None, 63, None), "ok", 1)
    assert sent("https://queue.fal.run/openrouter/router", asked, {"status": "IN_QUEUE", "request_id": "r"}) == {}


def test_a_request_to_the_root_of_another_server_is_not_touched(sent: Sent) -> None:
    assert sent("https://dynamodb.eu-west-1.amazonaws.com/", {"inputs": "hi"}, {"generated_text": "a"}) == {}
    assert sent("http://127.0.0.1:8545/", {"inputs": "hi"}, {"generated_text": "a"}) == {}


def test_an_agent_of_ones_own_is_no_response() -> None:
    view = ExchangeBytes(api="perplexity.agent", request_body=b'{"model": "m", "input": "hi"}', status_code=200)
    assert read(view, key=b"k") is None


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("inference.generativeai.eu-frankfurt-1.oci.oraclecloud.com", "oci"),
        ("objectstorage.eu-frankfurt-1.oraclecloud.com", "none"),
        ("qianfan.baidubce.com", "baidu"),
        ("ark.cn-beijing.volces.com", "volcengine"),
        ("tos-cn-beijing.volces.com", "none"),
    ],
)
def test_a_cloud_is_known_by_the_hosts_of_its_models(host: str, provider: str) -> None:
    assert provider_of(host, "none") == provider
