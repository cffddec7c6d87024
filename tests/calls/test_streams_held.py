"""Streams that a host has read but holds on to, as the next call of the same agent leaves and ends."""

import asyncio
import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.recording import scripted_bodies as bodies
from tests.recording.scripted import Scripted, as_events, as_json
from tests.stored import rows

import tokenflation.sdk as tf
from tokenflation.sdk import Instrumentation
from tokenflation.sdk.calls.assemble import Assembler
from tokenflation.sdk.exchange import Exchange, Tap
from tokenflation.sdk.recording import marks
from tokenflation.sdk.scoping.sentfrom import SentFrom
from tokenflation.sdk.store.journals.underway import Underway

_SAID = "It is the moon that makes the tides."
_SAID_AND_ASKED: list[Any] = [{"role": "assistant", "content": _SAID}, {"role": "user", "content": "Is that so?"}]
_EVENTS = bodies.chat_stream({"content": _SAID})
_BEFORE_ITS_COUNTS, _BEFORE_ITS_MARK = 3, 4


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[Instrumentation]:
    with tf.instrument(tmp_path / "runs.db") as running:
        yield running


class Conversation:
    """A stream of which the first pieces were read, and an answer to what was said after it."""

    def __init__(self, server: Scripted, pieces: int) -> None:
        self.client = openai.OpenAI(base_url=server.openai_url, api_key="k")
        self.asked: list[Any] = [{"role": "user", "content": "What makes the tides?"}]
        self.stream = self.client.chat.completions.create(
            model="m", messages=self.asked, stream=True, stream_options={"include_usage": True}
        )
        for _ in range(pieces):
            next(self.stream)

    def go_on(self, *, stream: bool = False) -> Any:
        self.asked += _SAID_AND_ASKED
        answer: Any = self.client.chat.completions.create(model="m", messages=self.asked, stream=stream)
        for _ in range(_BEFORE_ITS_COUNTS if stream else 0):
            next(answer)
        return answer


def _told(handle: Instrumentation) -> list[tuple[Any, ...]]:
    assert handle.flush()
    calls = rows(handle.store)
    ids = {call["call_id"]: at for at, call in enumerate(calls)}
    return [(ids[call["task_id"]], call["step"], call["status"], call["output_tokens"]) for call in calls]


def test_a_stream_that_its_host_has_all_of_is_a_step_before_the_next_call_though_it_ends_later(
    handle: Instrumentation,
) -> None:
    with Scripted(as_events(_EVENTS[:_BEFORE_ITS_MARK], dies=True), as_json(bodies.chat("Yes."))) as server:
        talk = Conversation(server, _BEFORE_ITS_MARK)
        talk.go_on()
        held = _told(handle)
        talk.stream.close()
        talk.client.close()
    assert held == [(0, 0, "ok", 150), (0, 1, "ok", 150)]
    assert _told(handle) == held
    first, then = rows(handle.store)
    assert (then["continues_call_id"], then["continues_evidence"]) == (first["call_id"], "history")
    assert then["resent_tokens"] > 0
    assert (first["attempts"], first["usage_complete"]) == (1, 1)


def test_streams_left_without_their_counts_are_steps_before_the_call_that_goes_on_from_them(
    handle: Instrumentation,
) -> None:
    answers = [as_events(_EVENTS[:_BEFORE_ITS_COUNTS], dies=True)] * 2
    with Scripted(*answers, as_json(bodies.chat("Yes."))) as server:
        talk = Conversation(server, _BEFORE_ITS_COUNTS)
        held = [talk.stream, talk.go_on(stream=True)]
        talk.go_on()
        assert handle.flush()
        for stream in held:
            stream.close()
        talk.client.close()
    assert _told(handle) == [(0, 0, "cut", None), (0, 1, "ok", None), (0, 2, "ok", 150)]
    calls = rows(handle.store)
    assert [call["continues_call_id"] for call in calls] == [None, *(call["call_id"] for call in calls[:-1])]
    assert [call["continues_evidence"] for call in calls] == [None, "history", "history"]


@pytest.mark.parametrize("pieces", [_BEFORE_ITS_COUNTS, _BEFORE_ITS_MARK])
def test_a_held_stream_is_found_by_what_is_sent_again_where_each_step_is_a_task_of_its_own(
    handle: Instrumentation, pieces: int
) -> None:
    async def steps(url: str) -> None:
        asked: list[Any] = [{"role": "user", "content": "What makes the tides?"}]
        async with openai.AsyncOpenAI(base_url=url, api_key="k") as client:

            async def begin() -> Any:
                stream = await client.chat.completions.create(
                    model="m", messages=asked, stream=True, stream_options={"include_usage": True}
                )
                for _ in range(pieces):
                    await anext(stream)
                return stream

            held = await asyncio.create_task(begin())
            asked.extend(_SAID_AND_ASKED)
            await asyncio.create_task(client.chat.completions.create(model="m", messages=asked))
            assert await asyncio.to_thread(handle.flush)
            await held.close()

    with Scripted(as_events(_EVENTS[:pieces], dies=True), as_json(bodies.chat("Yes."))) as server:
        asyncio.run(steps(server.openai_url))
    assert [one[:2] for one in _told(handle)] == [(0, 0), (0, 1)]


def test_calls_made_in_the_loop_that_reads_a_stream_are_inside_its_tool_call_and_behind_it(
    handle: Instrumentation,
) -> None:
    asks = {"id": "call_moon", "type": "function", "function": {"name": "ask", "arguments": '{"of": "the moon"}'}}
    events = [bodies.chat_chunk({"tool_calls": [{"index": 0, **asks}]}), bodies.chat_chunk({}, "tool_calls")]
    inner, last = as_json(bodies.chat("It pulls at the sea.")), as_json(bodies.chat(_SAID))
    with (
        Scripted(as_events([*events, *_EVENTS[-2:]], pause_s=0.02), inner, last) as server,
        openai.OpenAI(base_url=server.openai_url, api_key="k") as client,
    ):
        question = [{"role": "user", "content": "What makes the tides?"}]
        call: Any = client.chat.completions.create
        for chunk in call(model="m", messages=question, stream=True, stream_options={"include_usage": True}):
            if chunk.choices and chunk.choices[0].finish_reason:
                call(model="m", messages=[{"role": "system", "content": "You know the moon."}, *question])
                results = [{"role": "tool", "tool_call_id": "call_moon", "content": "It pulls at the sea."}]
                call(model="m", messages=[*question, {"role": "assistant", "tool_calls": [asks]}, *results])
    assert _told(handle) == [(0, 0, "ok", 150), (0, 0, "ok", 150), (0, 1, "ok", 150)]
    assert [call["inside_tool_call_id"] for call in rows(handle.store)] == [None, "call_moon", None]
    assert "stream_end" not in json.loads(rows(handle.store)[0]["extra"])
    (run,) = rows(handle.store, "SELECT * FROM tool_calls")
    assert (run["executed"], run["result_bytes"]) == (1, len("It pulls at the sea."))


def test_a_history_with_another_answer_does_not_go_on_from_a_stream_that_was_asked_the_same(
    handle: Instrumentation,
) -> None:
    with Scripted(as_events(_EVENTS[:2], dies=True), as_json(bodies.chat("Yes."))) as server:
        talk = Conversation(server, 2)
        asked = [*talk.asked, {"role": "assistant", "content": "Nobody knows that."}, _SAID_AND_ASKED[1]]
        talk.client.chat.completions.create(model="m", messages=asked)
        assert handle.flush()
        talk.stream.close()
        talk.client.close()
    assert [one[:2] for one in _told(handle)] == [(0, 0), (1, 0)]


def test_a_stream_that_is_read_on_after_the_next_call_loses_nothing(handle: Instrumentation) -> None:
    with Scripted(as_events(_EVENTS, pause_s=0.02), as_json(bodies.chat("Yes."))) as server:
        talk = Conversation(server, 2)
        talk.go_on()
        assert handle.flush()
        for _ in talk.stream:
            pass
        talk.client.close()
    assert [one[2:] for one in _told(handle)] == [("ok", 150), ("ok", 150)]


def test_a_stream_that_nobody_went_on_from_ends_when_it_is_let_go_of(handle: Instrumentation) -> None:
    with Scripted(as_events(_EVENTS[:_BEFORE_ITS_MARK], dies=True)) as server:
        talk = Conversation(server, _BEFORE_ITS_MARK)
        assert handle.flush()
        before = handle.recorded
        del talk.stream
        gc.collect()
        assert handle.flush()
        talk.client.close()
    assert (before, handle.recorded) == (0, 1)


def _exchange(call_id: str, after: str) -> Exchange:
    context = SentFrom(after=after)
    return Exchange("openai.chat", "POST", "h", "/", None, {}, context, lambda _: None, 0, call_id=call_id)


def test_calls_that_ended_out_of_order_come_in_the_order_in_which_they_left() -> None:
    one, two, three, held = _exchange("1", "held"), _exchange("2", "1"), _exchange("3", "2"), _exchange("held", "")
    wake = object()
    found = marks.in_order([three, wake, one, two], lambda call_id: held if call_id == "held" else None)
    assert found == [held, one, two, three, wake]


def test_calls_that_name_each_other_come_once_each() -> None:
    one, two = _exchange("1", "2"), _exchange("2", "1")
    assert {id(each) for each in marks.in_order([one, two, one], lambda _: None)} == {id(one), id(two)}


def test_a_stream_that_ends_while_the_worker_takes_the_call_behind_it_is_the_step_before(tmp_path: Path) -> None:
    underway = Underway(str(tmp_path / "runs.db"), default_task="")
    assembler = Assembler(key=b"k", under_way=underway.untaken)

    def begin(call_id: str, after: str, **body: Any) -> Exchange:
        tap = Tap(submit=lambda _: None, context=lambda: SentFrom(after=after), failed=print)
        raw = json.dumps({"model": "m", **body}).encode()
        exchange = tap.begin("POST", "h", "/v1/chat/completions", raw, {})
        assert exchange is not None
        exchange.call_id = call_id
        underway.begin(exchange)
        return exchange

    asked = [{"role": "user", "content": "What makes the tides?"}]
    held = begin("held", "", messages=asked, stream=True)
    held.answer(200, "text/event-stream", "")
    held.add(b"".join(map(bodies.encode, _EVENTS)))
    behind = begin("behind", "held", messages=[*asked, *_SAID_AND_ASKED])
    behind.answer(200, "application/json", "")
    behind.add(json.dumps(bodies.chat("Yes.")).encode())
    _end(behind, underway)
    underway.look()
    _end(held, underway)
    second, first = assembler.exchange(behind).call, assembler.exchange(held).call
    underway.close()
    assert first is not None
    assert second is not None
    assert (second.task_id, second.step, second.continues_call_id) == (first.task_id, 1, "held")
    assert (first.call_id, first.step, first.status, first.output_tokens) == ("held", 0, "ok", 150)


def _end(exchange: Exchange, underway: Underway) -> None:
    underway.end(exchange)
    exchange.finish("read")
