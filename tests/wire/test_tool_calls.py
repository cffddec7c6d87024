"""Tool calls that an answer asks for: once each, whole or in pieces, with who runs them."""

from typing import Any

from msgspec.structs import replace

from tokenflation.sdk.records import Reading, ToolCall


def _bare(reading: Reading) -> tuple[ToolCall, ...]:
    return tuple(replace(call, arguments_hash=b"", said=()) for call in reading.tool_calls)


def test_streamed_pieces_of_two_calls_add_up_to_two_calls(exchange: Any, chat_stream: Any) -> None:
    deltas = [
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "find", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"q":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"é"}'}}]},
        {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "open", "arguments": "{}"}}]},
    ]

    assert _bare(exchange("openai.chat", chat_stream(deltas))) == (
        ToolCall(tool_call_id="a", name="find", arguments_bytes=10),
        ToolCall(tool_call_id="b", name="open", arguments_bytes=2),
    )


def test_calls_that_all_stand_in_slot_zero_are_told_apart_by_their_ids(exchange: Any, chat_stream: Any) -> None:
    deltas = [
        {"tool_calls": [{"index": 0, "id": name, "function": {"name": name, "arguments": "{}"}}]} for name in "ab"
    ]

    assert [call.name for call in exchange("openai.chat", chat_stream(deltas)).tool_calls] == ["a", "b"]


def test_a_repeated_id_and_name_is_the_same_call(exchange: Any, chat_stream: Any) -> None:
    piece = {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "find", "arguments": "xy"}}]}

    assert _bare(exchange("openai.chat", chat_stream([piece, piece]))) == (
        ToolCall(tool_call_id="a", name="find", arguments_bytes=4),
    )


def test_calls_without_ids_get_their_positions(exchange: Any) -> None:
    parts = [{"functionCall": {"name": "find", "args": {"q": 1}}}, {"functionCall": {"name": "find", "args": {}}}]
    body = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}

    assert _bare(exchange("google.generate_content", body)) == (
        ToolCall(tool_call_id="0", name="find", arguments_bytes=7),
        ToolCall(tool_call_id="1", name="find", arguments_bytes=2),
    )


def test_gemini_calls_in_several_chunks_are_several_calls(exchange: Any) -> None:
    chunk = {"candidates": [{"content": {"parts": [{"functionCall": {"name": "find", "args": {}}}]}}]}

    assert len(exchange("google.generate_content", [chunk, chunk]).tool_calls) == 2


def test_tools_that_the_provider_runs_are_apart(exchange: Any) -> None:
    content = [
        {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "srv", "content": []},
        {"type": "tool_use", "id": "toolu", "name": "find", "input": {}},
    ]

    calls = exchange("anthropic.messages", {"id": "msg", "content": content, "stop_reason": "tool_use"}).tool_calls

    assert [(call.name, call.kind) for call in calls] == [("web_search", "server"), ("find", "client")]


def test_arguments_streamed_in_pieces_replace_the_opening_object(exchange: Any) -> None:
    block = {"type": "tool_use", "id": "toolu", "name": "find", "input": {}}
    pieces = ["", '{"q": ', "1}"]
    events = [
        {"type": "content_block_start", "index": 1, "content_block": block},
        *(
            {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": piece}}
            for piece in pieces
        ),
        {"type": "message_stop"},
    ]

    assert _bare(exchange("anthropic.messages", events)) == (
        ToolCall(tool_call_id="toolu", name="find", arguments_bytes=8),
    )


def test_a_responses_item_is_counted_once_over_its_three_mentions(exchange: Any) -> None:
    begun = {"type": "function_call", "id": "fc", "call_id": "call_1", "name": "find", "arguments": ""}
    done = begun | {"arguments": '{"q":1}'}
    events = [
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"q":1}'},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {"type": "response.completed", "response": {"id": "resp", "status": "completed", "output": [done]}},
    ]

    assert _bare(exchange("openai.responses", events)) == (
        ToolCall(tool_call_id="call_1", name="find", arguments_bytes=7),
    )


def test_a_tool_search_whose_call_id_changes_while_it_streams_is_one_call(exchange: Any) -> None:
    item = {"id": "tsc_1", "type": "tool_search_call", "execution": "client", "arguments": {}}
    done = {**item, "call_id": "call_2", "arguments": {"goal": "weather"}}
    events = [
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "call_id": "call_1"}},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": [done]}},
    ]

    reading = exchange("openai.responses", events)

    assert [(call.tool_call_id, call.name) for call in reading.tool_calls] == [("call_2", "tool_search")]


def test_a_shell_in_a_container_of_the_provider_is_run_there(exchange: Any) -> None:
    call = {"type": "shell_call", "status": "completed", "action": {"commands": ["ls"]}}
    output = [
        {**call, "call_id": "call_1", "environment": {"type": "container_reference", "container_id": "cntr_1"}},
        {"type": "shell_call_output", "call_id": "call_1", "status": "completed", "output": []},
        {**call, "call_id": "call_2", "environment": {"type": "local"}},
        {**call, "call_id": "call_3"},
    ]

    calls = exchange("openai.responses", {"id": "r", "status": "completed", "output": output}).tool_calls

    assert [call.kind for call in calls] == ["server", "client", "client"]


def test_what_xai_searches_by_itself_is_run_there_though_some_of_it_comes_as_custom_calls(exchange: Any) -> None:
    output = [
        {"type": "custom_tool_call", "call_id": "xs_call_1", "name": "x_keyword_search", "input": '{"query":"x"}'},
        {"type": "x_search_call", "id": "fc_1", "name": "x_semantic_search", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "call_1", "name": "grep", "input": "x"},
    ]

    calls = exchange("openai.responses", {"id": "r", "status": "completed", "output": output}).tool_calls

    assert [(call.name, call.kind) for call in calls] == [
        ("x_keyword_search", "server"),
        ("x_semantic_search", "server"),
        ("grep", "client"),
    ]


def test_ids_of_calls_are_unique_even_where_the_provider_repeats_them(exchange: Any) -> None:
    call = {"id": "call_0", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    choices = [{"index": index, "message": {"tool_calls": [call, call]}} for index in (0, 1)]

    calls = exchange("openai.chat", {"id": "c", "choices": choices}).tool_calls

    assert len({call.tool_call_id for call in calls}) == len(calls) == 4


def test_an_object_of_empty_strings_is_no_call(exchange: Any) -> None:
    message = {"content": "yes", "function_call": {"name": "", "arguments": ""}, "tool_calls": None}

    assert exchange("openai.chat", {"id": "c", "choices": [{"index": 0, "message": message}]}).tool_calls == ()


def _drawn(name: str, tokens: int) -> dict[str, Any]:
    said = {"model": "m-svg", "input_tokens": 40, "output_tokens": tokens, "reasoning_tokens": 5}
    return {"type": "image_generation_call", "id": name, "status": "completed", "result": "PHN2Zz4=", "svg_usage": said}


def test_what_wrote_pictures_as_svg_counts_once_beside_the_usage_however_often_it_is_said(exchange: Any) -> None:
    drawn = [_drawn("ig_1", 900), _drawn("ig_2", 100)]
    usage = {"input_tokens": 12, "output_tokens": 7, "total_tokens": 19}
    answer = {"id": "resp_1", "status": "completed", "output": drawn, "usage": usage}
    done = [{"type": "response.output_item.done", "output_index": at, "item": one} for at, one in enumerate(drawn)]

    for said in (answer, [*done, {"type": "response.completed", "response": answer}]):
        reading = exchange("openai.responses", said)

        assert (reading.usage.input_tokens, reading.usage.output_tokens) == (12, 7)
        assert reading.extra == {"svg_input_tokens": 80, "svg_output_tokens": 1000, "svg_reasoning_tokens": 10}
        assert [call.kind for call in reading.tool_calls] == ["server", "server"]

    assert exchange("openai.responses", done[:1]).extra["svg_output_tokens"] == 900
