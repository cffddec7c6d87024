"""What counts as the first content of a stream, and what of it is the answer's text: kind by kind."""

from typing import Any

import pytest
from tests.wire.conftest import Stream

CREATED = {"type": "response.created", "response": {"id": "r", "model": "m", "status": "in_progress", "output": []}}
COMPLETED = {"type": "response.completed", "response": {"id": "r", "model": "m", "status": "completed", "output": []}}
STARTED = {"type": "message_start", "message": {"id": "m", "content": [], "usage": {"input_tokens": 5}}}
OPENED = {"type": "content_block_start", "index": 0, "content_block": {"type": "compaction", "content": None}}
PICTURE = {"type": "image_url", "index": 0, "image_url": {"url": "data:image/png;base64,AA=="}}
MISTRAL = {"type": "message.output.delta", "id": "m", "output_index": 0}


def _of_responses(kind: str, **event: Any) -> Stream:
    return Stream([CREATED, {"type": f"response.{kind}", "output_index": 0, **event}, COMPLETED])


def _of_chat(**delta: Any) -> Stream:
    said = {"choices": [{"index": 0, "delta": {"content": "yes"}, "finish_reason": "stop"}]}
    return Stream([{"id": "c", "choices": []}, {"choices": [{"index": 0, "delta": delta}]}, said, "[DONE]"])


@pytest.mark.parametrize(
    ("api", "events", "first_answer"),
    [
        ("openai.responses", _of_responses("output_text.done", text="yes"), 1),
        ("openai.responses", _of_responses("refusal.done", refusal="no"), 1),
        ("openai.responses", _of_responses("function_call_arguments.done", arguments="{}"), 1),
        ("openai.responses", _of_responses("custom_tool_call_input.done", input="ls"), 1),
        ("openai.responses", _of_responses("mcp_call_arguments.done", arguments="{}"), 1),
        ("openai.responses", _of_responses("code_interpreter_call_code.done", code="1"), 1),
        ("openai.responses", _of_responses("shell_call_command.done", command="ls"), 1),
        ("openai.responses", _of_responses("apply_patch_call_operation_diff.delta", delta="@@"), 1),
        ("openai.responses", _of_responses("apply_patch_call_operation_diff.done", diff="@@"), 1),
        ("openai.responses", _of_responses("output_item.done", item={"type": "compaction", "encrypted_content": "x"}), 1),
        ("openai.responses", _of_responses("reasoning_text.done", text="hm"), None),
        ("openai.responses", _of_responses("reasoning_summary_text.done", text="hm"), None),
        ("openai.responses", _of_responses("reasoning.started", thought="hm"), None),
        ("openai.responses", _of_responses("reasoning.search_queries", queries=["q"]), None),
        ("openai.responses", _of_responses("reasoning.fetch_url_queries", urls=["u"]), None),
        ("openai.chat", _of_chat(images=[PICTURE]), 1),
        ("openai.chat", _of_chat(reasoning_details=[{"type": "reasoning.text", "index": 0, "text": "hm"}]), 2),
        ("openai.chat", _of_chat(reasoning_details=[{"type": "reasoning.summary", "summary": "hm"}]), 2),
        ("openai.chat", _of_chat(reasoning_details=[{"type": "reasoning.encrypted", "data": "x"}]), 2),
        ("openai.chat", _of_chat(thinking_blocks=[{"type": "thinking", "thinking": "hm"}]), 2),
        ("openai.chat", _of_chat(thinking_blocks=[{"type": "redacted_thinking", "data": "x"}]), 2),
    ],
)  # fmt: skip
def test_the_first_content_of_a_stream_may_be_of_any_kind(
    exchange: Any, api: str, events: Stream, first_answer: int | None
) -> None:
    reading = exchange(api, list(events))

    assert (reading.status, reading.first_token_ns, reading.first_answer_ns) == ("ok", 1, first_answer)


@pytest.mark.parametrize(
    ("api", "asked", "event", "reasons"),
    [
        ("mistral.conversations", {"inputs": "hi"}, {**MISTRAL, "content": "yes"}, False),
        ("mistral.conversations", {"inputs": "hi"}, {**MISTRAL, "content": {"type": "text", "text": "yes"}}, False),
        ("mistral.conversations", {"inputs": "hi"}, {**MISTRAL, "content": {"type": "thinking", "thinking": [{}]}}, True),
        ("google.interactions", {"input": "hi", "model": "m"},
         {"event_type": "step.delta", "index": 0, "delta": {"type": "thought_signature", "signature": "x"}}, True),
        ("cohere.v1", {"message": "hi"},
         {"event_type": "search-queries-generation", "search_queries": [{"text": "q"}]}, False),
        ("cohere.v1", {"input": "hi", "model": "m"}, {"type": "tool_call.start", "tool": "search"}, False),
        ("openai.images", {"prompt": "a cat"}, {"type": "image_generation.text_chunk", "text": "<svg"}, False),
        ("openai.speech", {"input": "hi", "model": "m"}, {"type": "speech.audio.delta", "audio": "AA=="}, False),
        ("openai.speech", {"input": "hi", "model": "m"}, {"type": "speech.audio.delta", "audio_data": "AA=="}, False),
        ("openai.speech", {"input": "hi", "model": "m"}, {"object": "audio.tts.chunk", "b64": "AA=="}, False),
    ],
)  # fmt: skip
def test_the_first_event_with_content_is_taken_in_the_apis_of_one_provider(
    exchange: Any, api: str, asked: dict[str, Any], event: dict[str, Any], reasons: bool
) -> None:
    reading = exchange(api, [{"type": "ping"}, event, event], request=asked)

    assert (reading.first_token_ns, reading.first_answer_ns) == (1, None if reasons else 1)
    assert reading.reasoning_blocks == reasons


def test_a_compaction_is_the_first_content_and_no_text_of_the_answer(exchange: Any) -> None:
    summary = {"type": "compaction_delta", "content": "A summary of all that was said before."}
    events = [
        *(STARTED, OPENED, {"type": "content_block_delta", "index": 0, "delta": summary}),
        {"type": "message_delta", "delta": {"stop_reason": "compaction"}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ]

    reading = exchange("anthropic.messages", events)

    assert (reading.status, reading.first_token_ns, reading.first_answer_ns) == ("ok", 2, 2)
    assert (reading.answer, reading.reasoning_blocks) == ("", 0)


def test_what_a_streamed_response_asks_tools_is_no_text_of_its_answer(exchange: Any) -> None:
    text, asked = "I will look that up.", '{"city": "Paris"}'
    message = {"type": "message", "id": "m", "content": [{"type": "output_text", "text": text}]}
    call = {"type": "function_call", "id": "f", "call_id": "call", "name": "look", "arguments": asked}
    whole = {**COMPLETED["response"], "output": [message, call]}
    events = [
        {"type": "response.output_text.delta", "output_index": 0, "delta": text},
        {"type": "response.output_item.added", "output_index": 1, "item": {**call, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": asked},
        {"type": "response.function_call_arguments.done", "output_index": 1, "arguments": asked},
        {"type": "response.completed", "response": whole},
    ]

    streamed, at_once = exchange("openai.responses", events), exchange("openai.responses", whole)

    assert streamed.answer == at_once.answer == text
    assert streamed.tool_calls == at_once.tool_calls


def test_pieces_of_reasoning_are_told_apart_by_their_number(exchange: Any, chat_stream: Any) -> None:
    pieces = [{"type": "reasoning.text", "index": number, "text": "hm"} for number in (0, 0, 1)]

    reading = exchange("openai.chat", chat_stream([{"reasoning_details": [piece]} for piece in pieces]))

    assert reading.reasoning_blocks == 2
