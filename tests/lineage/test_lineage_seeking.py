"""Whom embeddings and rankings serve: the tool call or answer that asks for them, or the prompt that tells of them."""

import json
import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.lineage.lineage_calls import Agents, reading_of, result, said, user
from tests.recording.scripted import Scripted, as_json

import tokenflation.sdk as tf
from tokenflation.sdk.lineage import Lineage, Placement
from tokenflation.sdk.records import Reading
from tokenflation.sdk.wire import ExchangeBytes, read

QUESTION = "How long does a refund take?"
_ids = count()


def _read(api: str, path: str, request: dict[str, Any]) -> Reading:
    answer = b'{"data": [], "usage": {"prompt_tokens": 7, "total_tokens": 7}}'
    view = ExchangeBytes(
        api=api, path=path, request_body=json.dumps(request).encode(), status_code=200, chunks=[(1, answer)]
    )
    found = read(view, key=b"k")
    assert found is not None
    return found


def _embed(agents: Agents, *texts: str, after: str | None = None) -> tuple[str, Placement]:
    """Embed texts; return the call's id and its place."""
    call_id = f"e{next(_ids)}"
    reading = _read("openai.embeddings", "/v1/embeddings", {"model": "e", "input": list(texts)})
    placement = agents.lineage.place(reading, call_id, None, agents.now, after)
    agents.lineage.remember(reading, placement, call_id, None, agents.now + 1, ())
    agents.now += 10
    return call_id, placement


def test_what_a_prompt_tells_was_sought_for_it_before() -> None:
    agents = Agents()

    embedded, alone = _embed(agents, QUESTION, after="")
    _, place = agents.call(user(f"Context: ...\nQuestion: {QUESTION}"), says="Ten days.", after=embedded)

    moved = agents.moved()[embedded]
    assert alone.task == "task-embeddings"
    assert moved.run is place.run
    assert (moved.step, place.step, place.depth) == (0, 1, 0)
    assert (moved.evidence, moved.strength) == ("sought", "strong")


def test_what_serves_no_agent_is_no_task_of_the_kind_that_all_others_are_called() -> None:
    lineage = Lineage(default_task="support", new_trace_id=lambda: "t", key=b"k")
    index = _read("openai.embeddings", "/v1/embeddings", {"model": "e", "input": ["one document", "another one"]})
    asked = reading_of([user(QUESTION)], "Be brief.", "Ten days.", {}, ())

    assert lineage.place(index, "e", None, 0, "").task == "task-embeddings"
    assert lineage.place(asked, "c", None, 10, "e").task == "support"


def test_a_batch_of_documents_is_no_question_though_a_prompt_holds_them() -> None:
    agents = Agents()

    index, _ = _embed(agents, "Refunds take ten days, not more.", "Parking is in the north.", after="")
    agents.call(user(f"Refunds take ten days, not more. Parking is in the north. {QUESTION}"), after=index)

    assert agents.moved() == {}


def test_of_what_a_prompt_tells_the_newest_was_sought_for_it() -> None:
    agents = Agents()

    document, _ = _embed(agents, "Refunds take ten days, not more.", after="")
    question, _ = _embed(agents, QUESTION, after=document)
    agents.call(user(f"Refunds take ten days, not more. {QUESTION}"), after=question)

    assert list(agents.moved()) == [question]


def test_in_another_context_a_text_of_some_length_tells_weakly_and_a_shorter_one_nothing() -> None:
    agents = Agents()

    long, _ = _embed(agents, QUESTION, after="")
    short, _ = _embed(agents, "refund time", after="")
    agents.call(user(f"{QUESTION} And refund time?"), after="")

    moved = agents.moved()
    assert list(moved) == [long]
    assert moved[long].strength == "weak"
    assert short not in moved


def test_a_tool_call_in_whose_context_or_with_whose_words_something_is_sought_is_no_sub_agent() -> None:
    agents = Agents()
    asked, root = agents.call(user(QUESTION), asks={"call_1": "how long refunds take"}, after="")

    first, in_context = _embed(agents, "something of the tool's own", after=asked)
    _, elsewhere = _embed(agents, "how long refunds take", after="")
    _, behind = agents.call(
        user(QUESTION), said(call_1="how long refunds take"), result("call_1", "Ten days."), after=first
    )

    for place, evidence in ((in_context, "context"), (elsewhere, "flow_arguments")):
        assert (place.agent_run_id, place.depth) == (root.agent_run_id, 0)
        assert (place.inside_call_id, place.inside_tool_call_id) == (asked, "call_1")
        assert place.inside_evidence == evidence
    assert [root.step, in_context.step, elsewhere.step, behind.step] == [0, 1, 2, 3]
    assert behind.continues is not None
    assert behind.continues.call_id == asked


def test_what_an_answer_said_is_sought_for_its_agent_also_where_lines_were_joined() -> None:
    agents = Agents()
    asked, root = agents.call(user("List the facts."), says="The user lives\nin Hamburg with two cats.", after="")

    _, fact = _embed(agents, "The user lives in Hamburg", after=asked)
    _, turn = _embed(agents, "user: hi assistant: The user lives in Hamburg with two cats.", after=asked)

    assert fact.agent_run_id == turn.agent_run_id == root.agent_run_id
    assert (fact.inside_call_id, fact.inside_tool_call_id, fact.inside_evidence) == (asked, None, "flow_arguments")
    assert turn.inside_evidence == "flow_result"


def test_a_tool_call_that_was_left_loses_what_was_sought_for_the_next_task() -> None:
    agents = Agents()
    asked, left = agents.call(user("Where do I park?"), asks={"call_1": "parking for visitors"}, after="")

    embedded, _ = _embed(agents, QUESTION, after=asked)
    _, place = agents.call(user(QUESTION), system="You answer.", says="Ten days.", tools=(), after=embedded)

    moved = agents.moved()
    assert moved[embedded].run is place.run
    assert left.run is not None
    assert embedded not in left.run.calls


@pytest.mark.parametrize(
    ("api", "path", "request_"),
    [
        ("openai.embeddings", "/v1/embeddings", {"model": "e", "input": QUESTION}),
        ("cohere.embed", "/v2/embed", {"model": "e", "texts": [QUESTION], "input_type": "search_query"}),
        ("cohere.rerank", "/v2/rerank", {"model": "r", "query": QUESTION, "documents": ["a long document", "another"]}),
        ("google.embed", "/v1beta/models/e:embedContent", {"content": {"parts": [{"text": QUESTION}]}}),
        ("google.embed", "/v1beta/models/e:batchEmbedContents",
         {"requests": [{"model": "models/e-001", "content": {"parts": [{"text": QUESTION}]}}]}),
        ("ollama.embed", "/api/embed", {"model": "e", "input": [QUESTION]}),
    ],
)  # fmt: skip
def test_each_api_says_what_is_sought(api: str, path: str, request_: dict[str, Any]) -> None:
    assert _read(api, path, request_).sought == (QUESTION,)


EMBEDDED = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}], "model": "m",
            "usage": {"prompt_tokens": 7, "total_tokens": 7}}  # fmt: skip


def test_in_the_scope_of_a_task_without_agents_an_embedding_is_a_step_of_the_agent_that_it_serves(
    tmp_path: Path,
) -> None:
    answer = {"id": "c", "model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Ten."}}]}
    with (
        tf.instrument(tmp_path / "runs.db"),
        Scripted(*[as_json(one) for one in (EMBEDDED, EMBEDDED, answer, EMBEDDED, answer)]) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0) as client,
    ):
        client.embeddings.create(model="e", input=QUESTION, encoding_format="float")
        for _ in range(2):
            with tf.task("support"):
                client.embeddings.create(model="e", input=QUESTION, encoding_format="float")
                client.chat.completions.create(model="m", messages=[{"role": "user", "content": QUESTION}])
    with closing(sqlite3.connect(tmp_path / "runs.db")) as store:
        query = "SELECT task, agent_run_id, step, inside_evidence FROM calls ORDER BY started_at_ns"
        rows = store.execute(query).fetchall()
    assert [row[0] for row in rows] == ["task-embeddings", *["support"] * 4]
    assert rows[1][1] == rows[2][1] != rows[3][1] == rows[4][1]
    assert [row[2:] for row in rows] == [(0, None), (0, "sought"), (1, None), (0, "sought"), (1, None)]


def test_a_retrieval_and_the_tool_of_an_agent_are_in_its_task_in_the_store(tmp_path: Path) -> None:
    function = {"name": "search", "arguments": json.dumps({"query": "the time that refunds take"})}
    asks = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
    }
    answers = ({"role": "assistant", "content": "Ten days."}, asks, {"role": "assistant", "content": "Ten."})
    said = [{"id": f"c{n}", "model": "m", "choices": [{"index": 0, "message": one}]} for n, one in enumerate(answers)]
    with (
        tf.instrument(tmp_path / "runs.db"),
        Scripted(*[as_json(one) for one in (EMBEDDED, said[0], said[1], EMBEDDED, said[2])]) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0) as client,
    ):
        client.embeddings.create(model="e", input=QUESTION, encoding_format="float")
        messages: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
        client.chat.completions.create(model="m", messages=messages)
        messages[1] = {"role": "user", "content": "And now with your tool."}
        client.chat.completions.create(model="m", messages=messages)
        client.embeddings.create(model="e", input="the time that refunds take", encoding_format="float")
        messages += [asks, {"role": "tool", "tool_call_id": "call_1", "content": "Refunds take ten days."}]
        client.chat.completions.create(model="m", messages=messages)
    with closing(sqlite3.connect(tmp_path / "runs.db")) as store:
        query = "SELECT task_id, agent_run_id, step, depth, inside_tool_call_id, inside_evidence FROM calls ORDER BY started_at_ns"
        rows = store.execute(query).fetchall()
        tools = store.execute("SELECT agent_run_id FROM tool_calls").fetchall()
    one, other = rows[1][0], rows[2][0]
    assert [row[0] for row in rows] == [one, one, other, other, other]
    assert len({row[1] for row in rows}) == 2
    assert [row[2:] for row in rows] == [
        (0, 0, None, "sought"), (1, 0, None, None), (0, 0, None, None), (1, 0, "call_1", "flow_arguments"), (2, 0, None, None)
    ]  # fmt: skip
    assert tools == [(None,)]
