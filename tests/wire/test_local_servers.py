"""Servers that people run themselves, by their own apis, with bodies as their documentation or source shows them."""

from typing import Any

import pytest
from tests.wire.conftest import Sent, Stream, tokens

from tokenflation.sdk.wire import ExchangeBytes, read, recognise

AT = "http://127.0.0.1:1234"
LLAMA = {
    "index": 0,
    "content": "I am Gemma",
    "id_slot": 0,
    "stop": True,
    "model": "gemma",
    "tokens_predicted": 51,
    "tokens_evaluated": 5,
    "stop_type": "eos",
    "tokens_cached": 55,
    "timings": {"cache_n": 4, "prompt_n": 1, "predicted_n": 51, "predicted_ms": 2310.6},
}
SGLANG = {
    "id": "r",
    "finish_reason": {"type": "stop", "matched": 2},
    "prompt_tokens": 7,
    "completion_tokens": 8,
    "cached_tokens": 1,
    "reasoning_tokens": 3,
}


def test_lm_studios_chat_counts_in_its_stats(sent: Sent) -> None:
    tool = {"type": "tool_call", "tool": "model_search", "arguments": {"limit": 1}, "output": "..."}
    stats = {"input_tokens": 646, "total_output_tokens": 586, "reasoning_output_tokens": 0, "tokens_per_second": 29.7}
    answer = {"model_instance_id": "granite", "output": [tool, {"type": "message", "content": "Hi"}], "stats": stats}
    row = sent(f"{AT}/api/v1/chat", {"model": "m", "input": "hi"}, {**answer, "response_id": "resp_4"})
    assert (row["api"], row["provider"], row["response_model"]) == ("lm_studio.chat", "lm_studio", "granite")
    assert tokens(row) == (646, None, None, 586, 0)
    assert (row["response_id"], row["tool_calls"], row["usage_complete"]) == ("resp_4", 0, 1)


def test_lm_studios_stream_ends_with_all_of_its_answer(sent: Sent) -> None:
    stats = {"input_tokens": 329, "total_output_tokens": 268, "reasoning_output_tokens": 5}
    events = Stream([
        {"type": "chat.start", "model_instance_id": "g"},
        {"type": "reasoning.delta", "content": "Need"},
        {"type": "message.delta", "content": "The"},
        {"type": "chat.end", "result": {"model_instance_id": "g", "output": [], "stats": stats, "response_id": "resp_0"}},
    ])  # fmt: skip
    asked = {"model": "m", "input": "hi", "stream": True}
    row = sent(f"{AT}/api/v1/chat", asked, events)
    assert (tokens(row), row["status"], row["response_id"]) == ((329, None, None, 268, 5), "ok", "resp_0")
    cut = sent(f"{AT}/api/v1/chat", asked, Stream(events[:3]))
    assert (tokens(cut), cut["status"]) == ((None,) * 5, "cut")


def test_lm_studios_older_chat_has_openais_usage_beside_its_stats(sent: Sent) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 24, "completion_tokens": 53, "total_tokens": 77}
    answer = {"id": "c", "model": "granite", "choices": [choice], "usage": usage, "stats": {"stop_reason": "eosFound"}}
    row = sent(f"{AT}/api/v0/chat/completions", {"model": "m", "messages": []}, answer)
    assert (row["api"], tokens(row)) == ("openai.chat", (24, None, None, 53, None))


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/completion", {"prompt": "hi"}),
        ("/completions", {"prompt": "hi"}),
        ("/infill", {"input_prefix": "def f(", "input_suffix": "):"}),
    ],
)
def test_llama_cpp_counts_the_whole_prompt_and_what_was_cached(sent: Sent, path: str, asked: dict[str, Any]) -> None:
    row = sent(AT + path, asked, LLAMA)
    assert (row["api"], row["response_model"], row["finish_reasons"]) == ("llama_cpp.completion", "gemma", '["eos"]')
    assert tokens(row) == (5, 4, None, 51, None)


def test_a_stream_of_llama_cpp_ends_with_stop(sent: Sent) -> None:
    piece = {"content": "I am", "stop": False, "tokens_predicted": 2, "tokens_evaluated": 5}
    asked = {"prompt": "hi", "stream": True}
    row = sent(f"{AT}/completion", asked, Stream([piece, {**LLAMA, "content": ""}]))
    assert (tokens(row), row["status"], row["stream"]) == ((5, 4, None, 51, None), "ok", 1)
    cut = sent(f"{AT}/completion", asked, Stream([piece]))
    assert (cut["output_tokens"], cut["usage_source"], cut["status"]) == (2, "partial", "cut")


def test_several_prompts_in_one_request_are_one_call_with_their_sum(sent: Sent) -> None:
    row = sent(f"{AT}/completion", {"prompt": ["a", "b"]}, [LLAMA, {**LLAMA, "tokens_predicted": 9}])
    assert (tokens(row), row["status"], row["stream"]) == ((10, 8, None, 60, None), "ok", 0)
    answers = [{"text": "x", "meta_info": SGLANG}, {"text": "y", "meta_info": {**SGLANG, "prompt_tokens": 2}}]
    row = sent(f"{AT}/generate", {"text": ["a", "b"], "sampling_params": {}}, answers)
    assert (tokens(row), row["status"], row["stream"]) == ((9, 2, None, 16, 6), "ok", 0)


def _llama(number: int, predicted: int, *, stop: bool = True) -> dict[str, Any]:
    said = {"index": number, "tokens_evaluated": 5 + number, "tokens_predicted": predicted, "stop": stop}
    return {**LLAMA, **said} if stop else {**said, "content": "I"}


def test_a_stream_that_answers_several_prompts_at_once_has_the_sum_of_their_counts(sent: Sent) -> None:
    asked = {"text": ["a", "b"], "sampling_params": {}, "stream": True}
    running = {"text": "y", "meta_info": {**SGLANG, "finish_reason": None, "completion_tokens": 1}}
    first, second = {"text": "yes", "meta_info": SGLANG}, {"text": "no", "meta_info": {**SGLANG, "prompt_tokens": 2}}
    events = [{**running, "index": 1}, {**running, "index": 0}, {**second, "index": 1}, {**first, "index": 0}]
    row = sent(f"{AT}/generate", asked, Stream([*events, "[DONE]"]))
    assert (tokens(row), row["status"], row["usage_complete"]) == ((9, 2, None, 16, 6), "ok", 1)
    assert row["finish_reasons"] == '["stop","stop"]'
    cut = sent(f"{AT}/generate", asked, Stream(events[:3]))
    assert (tokens(cut), cut["usage_source"], cut["status"]) == ((9, 2, None, 9, 6), "partial", "cut")
    llamas = [_llama(1, 1, stop=False), _llama(0, 1, stop=False), _llama(1, 3), _llama(0, 2, stop=False), _llama(0, 4)]
    row = sent(f"{AT}/completion", {"prompt": ["a", [1, 2]], "stream": True}, Stream(llamas))
    assert (tokens(row), row["status"], row["usage_complete"]) == ((11, 8, None, 7, None), "ok", 1)
    assert "timings" not in row["extra"]


@pytest.mark.parametrize("events", [[_llama(0, 4)], [_llama(0, 4), _llama(1, 1, stop=False)]])
def test_a_stream_that_ends_before_all_prompts_are_answered_is_cut(sent: Sent, events: list[dict[str, Any]]) -> None:
    row = sent(f"{AT}/completion", {"prompt": ["a", "b"], "stream": True}, Stream(events))
    assert (row["usage_source"], row["status"]) == ("partial", "cut")


def test_a_prompt_counts_once_for_several_samples_of_its_answer(sent: Sent) -> None:
    answers = [{"text": "x", "meta_info": SGLANG}, {"text": "y", "meta_info": SGLANG}]
    asked = {"text": "hi", "sampling_params": {"n": 2}}
    assert tokens(sent(f"{AT}/generate", asked, answers)) == (7, 1, None, 16, 6)
    events = [{**answer, "index": number} for number, answer in enumerate(answers * 2)]
    row = sent(f"{AT}/generate", {**asked, "text": ["a", "b"], "stream": True}, Stream([*events, "[DONE]"]))
    assert (tokens(row), row["status"]) == ((14, 2, None, 32, 12), "ok")
    row = sent(
        f"{AT}/completion", {"prompt": "hi", "n_cmpl": 2, "stream": True}, Stream([LLAMA, {**LLAMA, "index": 1}])
    )
    assert (tokens(row), row["status"]) == ((5, 4, None, 102, None), "ok")


def test_what_sglang_gave_up_is_an_error(sent: Sent) -> None:
    said = {"type": "abort", "message": "too long", "status_code": 400, "err_type": "BadRequestError"}
    given_up = {"text": "", "meta_info": {**SGLANG, "finish_reason": said, "completion_tokens": 0}}
    row = sent(f"{AT}/generate", {"text": "hi", "stream": True}, Stream([given_up, "[DONE]"]))
    assert (row["status"], row["error_type"]) == ("error", "BadRequestError")


def test_sglang_counts_in_its_meta_info(sent: Sent) -> None:
    asked = {"text": "hi", "sampling_params": {"max_new_tokens": 8}}
    row = sent(f"{AT}/generate", asked, {"text": "yes", "output_ids": [1], "meta_info": SGLANG})
    assert (row["api"], row["response_id"], row["finish_reasons"]) == ("sglang.generate", "r", '["stop"]')
    assert tokens(row) == (7, 1, None, 8, 3)
    first = {"text": "y", "meta_info": {**SGLANG, "finish_reason": None, "completion_tokens": 1}}
    row = sent(f"{AT}/generate", asked, Stream([first, {"text": "yes", "meta_info": SGLANG}, "[DONE]"]))
    assert (tokens(row), row["status"], row["usage_complete"]) == ((7, 1, None, 8, 3), "ok", 1)


@pytest.mark.parametrize(
    ("path", "asked", "answer", "read"),
    [
        ("/encode", {"text": "hi"}, {"embedding": [0.1], "meta_info": {"id": "r", "prompt_tokens": 6}}, 6),
        ("/classify", {"text": ["a", "b"]}, [{"meta_info": {"prompt_tokens": 6}}, {"meta_info": {"prompt_tokens": 7}}], 13),
        ("/classify", {"model": "m", "input": "a"}, {"id": "c", "data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8}}, 8),
        ("/v1/score", {"model": "m", "text_1": "a", "text_2": "b"}, {"data": [], "usage": {"prompt_tokens": 9}}, 9),
        ("/pooling", {"model": "m", "input": "a"}, {"data": [], "usage": {"prompt_tokens": 4, "completion_tokens": 0}}, 4),
        ("/v1/ranking", {"model": "m", "query": {}, "passages": []}, {"rankings": [], "usage": {"total_tokens": 5}}, 5),
    ],
)  # fmt: skip
def test_what_only_reads_generates_nothing(
    sent: Sent, path: str, asked: dict[str, Any], answer: Any, read: int
) -> None:
    row = sent(AT + path, asked, answer)
    assert (tokens(row), row["status"]) == ((read, None, None, 0, None), "ok")


def test_triton_counts_where_it_is_asked_to(sent: Sent) -> None:
    url = f"{AT}/v2/models/vllm_model/generate"
    answer = {"model_name": "vllm_model", "model_version": "1", "text_output": "yes"}
    row = sent(url, {"text_input": "hi"}, {**answer, "num_input_tokens": 4, "num_output_tokens": 9})
    assert (row["api"], row["model"], tokens(row)) == ("triton.generate", "vllm_model", (4, None, None, 9, None))
    row = sent(url, {"text_input": "hi"}, answer)
    assert (row["usage_source"], row["status"]) == ("absent", "ok")
    # Each event counts its own tokens: the last count is no total.
    events = Stream([{**answer, "num_input_tokens": 4, "num_output_tokens": 1}] * 2)
    row = sent(f"{url}_stream", {"text_input": "hi", "stream": True}, events)
    assert (tokens(row), row["usage_source"], row["status"]) == ((4, None, None, None, None), "partial", "ok")


def test_koboldcpp_counts_in_its_result(sent: Sent) -> None:
    result = {"text": "yes", "finish_reason": "stop", "prompt_tokens": 5, "completion_tokens": 6}
    for path in ("/api/v1/generate", "/api/latest/generate"):
        row = sent(AT + path, {"prompt": "hi"}, {"results": [result]})
        assert (row["api"], tokens(row)) == ("koboldcpp.generate", (5, None, None, 6, None))
    pieces = Stream([{"token": "y", "finish_reason": None}, {"token": "es", "finish_reason": "stop"}])
    row = sent(f"{AT}/api/extra/generate/stream", {"prompt": "hi"}, pieces)
    assert (row["usage_source"], row["status"]) == ("absent", "ok")


def test_huggingfaces_servers_count_in_headers_what_their_bodies_leave_out(sent: Sent) -> None:
    counted = {"x_prompt_tokens": "7", "x_generated_tokens": "3"}
    row = sent(f"{AT}/generate", {"inputs": "hi"}, {"generated_text": "yes"}, **counted)
    assert (row["api"], tokens(row)) == ("huggingface.generate", (7, None, None, 3, None))
    for path, asked, answer in (
        ("/embed", {"inputs": "hi"}, [[0.1, 0.2]]),
        ("/rerank", {"query": "q", "texts": ["a"]}, [{"index": 0, "score": 0.3}]),
    ):
        row = sent(AT + path, asked, answer, x_compute_tokens="7")
        assert (row["api"], tokens(row), row["status"]) == ("huggingface.embed", (7, None, None, 0, None), "ok")


@pytest.mark.parametrize(
    ("path", "asked", "answer"),
    [
        ("/embed_sparse", {"inputs": "hi"}, [[{"index": 3, "value": 0.5}]]),
        ("/embed_all", {"inputs": "hi"}, [[[0.1], [0.2]]]),
        ("/similarity", {"inputs": {"source_sentence": "hi", "sentences": ["ho", "hu"]}}, [0.7, 0.2]),
    ],
)
def test_huggingfaces_other_embeddings_are_known_by_the_header_that_counts(
    sent: Sent, path: str, asked: dict[str, Any], answer: Any
) -> None:
    row = sent(AT + path, asked, answer, x_compute_tokens="9")
    assert (row["api"], tokens(row), row["usage_complete"]) == ("huggingface.embed", (9, None, None, 0, None), 1)
    assert sent(AT + path, asked, answer) == {}
    if path == "/embed_sparse":  # a model of this kind may stand at the root of an endpoint
        row = sent("https://x.endpoints.huggingface.cloud/", asked, answer, x_compute_tokens="9")
        assert (row["api"], tokens(row)) == ("huggingface.embed", (9, None, None, 0, None))


def test_llama_cpps_own_embeddings_are_known_by_their_vectors(sent: Sent) -> None:
    answer = [{"index": 0, "embedding": [[0.1, 0.2]]}, {"index": 1, "embedding": [[0.3, 0.4]]}]
    row = sent(f"{AT}/embedding", {"content": ["a", "b"]}, answer)
    assert (row["api"], row["usage_source"], row["status"]) == ("llama_cpp.embed", "absent", "ok")
    assert sent(f"{AT}/embedding", {"content": "a"}, {"ok": True}) == {}


@pytest.mark.parametrize("path", ["/embedding", "/similarity", "/classify", "/generate"])
def test_a_request_that_nobody_answered_at_a_path_of_everybodys_is_no_call(path: str) -> None:
    api = recognise("POST", path)
    assert api is not None
    body = b'{"content": "hi", "text": "hi", "inputs": {"source_sentence": "hi", "sentences": []}}'
    assert read(ExchangeBytes(api=api, path=path, request_body=body, end="failed"), key=b"k") is None


def test_a_failure_of_huggingfaces_servers_has_its_class(sent: Sent) -> None:
    begun = {"index": 1, "token": {"id": 1, "text": "a"}, "generated_text": None, "details": None}
    failed = {"error": "Request failed during generation", "error_type": "generation"}
    row = sent(f"{AT}/generate_stream", {"inputs": "hi"}, Stream([begun, failed]))
    assert (row["status"], row["error_type"]) == ("error", "generation")


def test_vectors_that_nobody_counts_are_no_failure(sent: Sent) -> None:
    row = sent(f"{AT}/embed", {"inputs": "hi"}, [[0.1, 0.2]])
    assert (row["status"], row["usage_source"]) == ("ok", "absent")
    row = sent(f"{AT}/embeddings", {"input": ["a", "b"]}, [{"embedding": [0.1]}, {"embedding": [0.2]}])
    assert (row["status"], row["stream"], row["usage_source"]) == ("ok", 0, "absent")


@pytest.mark.parametrize(
    ("path", "asked", "answer"),
    [
        ("/completion", {"prompt": "hi"}, {"id": "1", "text": "a word"}),
        ("/score", {"model": "m", "query": "q"}, {"id": "1", "model": "m", "score": 0.7}),
        ("/classify", {"text": "hi"}, {"id": "1", "label": "spam"}),
        ("/encode", {"text": "hi"}, {"error": "no"}),
        ("/report/generate", {"text": "hi", "template": "t"}, {"text": "Dear all"}),
        ("/generate", {"text": "hi"}, {"error": "no"}),
        ("/api/v1/apps/x/completion", {"input": {"done": 3}}, {"output": 4}),
        ("/api/v1/chat", {"model": "m", "input": "hi"}, {"reply": "hello"}),
        ("/v2/models/m/generate", {"text_input": "hi"}, {"id": "1"}),
    ],
)
def test_other_programs_at_such_paths_are_no_models(sent: Sent, path: str, asked: dict[str, Any], answer: Any) -> None:
    assert sent(AT + path, asked, answer) == {}
