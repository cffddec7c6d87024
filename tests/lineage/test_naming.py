"""Names of agents out of system prompts, as they stand in the canonical JSON of a request."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import openai
import pytest
from tests.recording.scripted import Scripted, as_json

import tokenflation.sdk as tf
from tokenflation.sdk.lineage.naming import agent_name


def _system(text: str, role: str = "system") -> bytes:
    return json.dumps([{"role": role, "content": text}], separators=(",", ":")).encode()


@pytest.mark.parametrize("role", ["system", "developer"])
def test_the_role_of_a_system_message_is_no_agents_name(role: str) -> None:
    assert agent_name(_system("You are a careful helper.", role)) == ""


@pytest.mark.parametrize(
    "text",
    [
        "You are Ada Lovelace.",
        "Be brief.\nname: Ada\nWrite code.",
        "# Agent name: Ada",
        'name: "Ada"\n',
        "You are an agent named Ada",
    ],
)
def test_an_agent_is_called_what_its_system_prompt_calls_it(text: str) -> None:
    assert agent_name(_system(text)).startswith("Ada")


@pytest.mark.parametrize("own", ["You are a helper.", "You are Bob.", "Be brief. " * 300])
def test_an_agent_is_not_called_what_those_are_called_that_it_may_hand_over_to(own: str) -> None:
    told = 'You are an agent. Your internal name is "ada". The description about you is "asks".'
    others = "You have a list of other agents to transfer to:\n\n\nAgent name: cy\nAgent description: reads\n"
    assert agent_name(_system(f"{own}\n\n{told}\n\n\n{others}")) == "ada"
    assert agent_name(_system("Your internal name is of no matter. You are Ada.")) == "Ada"


@pytest.mark.parametrize(
    "text",
    [
        '# Tools\n<tools>\n{"type": "function", "function": {"name": "search", "description": "Looks up"}}\n</tools>',
        'Answer as JSON, such as {"name": "John", "role": "Clerk"}',
        "# Tools\n\nName: ask_researcher\nDescription: Asks.\n\nName: final_answer\nDescription: Ends it.\n",
    ],
)
def test_an_agent_is_not_called_what_json_or_a_list_in_its_prompt_names(text: str) -> None:
    assert agent_name(_system(text)) == ""


def test_a_leader_is_not_called_what_the_members_of_its_team_are_called() -> None:
    team = '<team_members>\n<member id="sky" name="Sky">\nRole: looks up\n</member>\n</team_members>'
    assert agent_name(_system(f"Delegate.\n\n<team>\nYou coordinate this team.\n\n{team}\n</team>")) == ""


def test_what_has_no_messages_is_a_task_named_by_what_was_asked_for_apart_from_chats_without_instructions(
    tmp_path: Path,
) -> None:
    embedded = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}], "model": "m"}
    said = {"id": "c", "model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}}]}
    with (
        tf.instrument(tmp_path / "runs.db"),
        Scripted(as_json(embedded), as_json(said), as_json({}), as_json(said)) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0) as client,
    ):
        client.embeddings.create(model="m", input="hi", encoding_format="float")
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
        client.audio.speech.create(model="m", voice="alloy", input="hi")
        client.chat.completions.create(model="m", messages=[{"role": "system", "content": "Choose who speaks next."}])
    with closing(sqlite3.connect(tmp_path / "runs.db")) as store:
        named = [task for (task,) in store.execute("SELECT task FROM calls ORDER BY started_at_ns")]
    assert (named[0], named[2]) == ("task-embeddings", "task-speech")
    assert len({*named, "task-chat"}) == 5
