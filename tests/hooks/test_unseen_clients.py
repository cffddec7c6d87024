"""Libraries that ask models by an HTTP client of their own, which no hook sees: that is said."""

import asyncio

import pytest
from tests.hooks.conftest import Collected
from tests.providers import Provider

from tokenflation.sdk.hooks import urllib3


def test_functions_of_baml_are_reported(recorded: Collected) -> None:
    baml = pytest.importorskip("baml_py", reason="baml-py is not installed")
    client = 'client<llm> C { provider openai-generic, options { base_url "http://127.0.0.1:9", model "m" } }'
    asks = 'function Ask(q: string) -> string { client C, prompt #"{{ q }}"# }'
    source = {"main.baml": f"{client}\n{asks}".replace("{ ", "{\n").replace(", ", "\n").replace(" }", "\n}")}
    runtime = baml.BamlRuntime.from_files("/", source, {})
    for _ in range(2):
        context = runtime.create_context_manager()
        assert not runtime.call_function_sync("Ask", {"q": "hi"}, context, None, None, [], {}, None).is_ok()
    assert recorded.failures == ["unseen:baml"]


def test_predictions_of_lm_studios_own_sdk_are_reported(recorded: Collected) -> None:
    lmstudio = pytest.importorskip("lmstudio", reason="lmstudio is not installed")
    api = pytest.importorskip("lmstudio.json_api")
    for _ in range(2):  # what `LLM.respond` begins with, once it is connected
        assert api.ChatResponseEndpoint("m", lmstudio.Chat("Be brief."))
    assert recorded.failures == ["unseen:lmstudio"]


def test_what_niquests_asks_a_model_by_asyncio_is_reported(recorded: Collected, provider: Provider) -> None:
    niquests = pytest.importorskip("niquests", reason="niquests is not installed")
    question = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

    async def ask() -> int:
        async with niquests.AsyncSession() as session:
            await session.get(f"{provider.url}/orders")
            assert recorded.failures == []
            return int((await session.post(f"{provider.openai_url}/chat/completions", json=question)).status_code)

    assert asyncio.run(ask()) == 200
    assert (recorded.failures, recorded.exchanges) == (["unseen:openai.chat"], [])


def test_what_niquests_asks_a_model_beside_urllib3_is_recorded(recorded: Collected, provider: Provider) -> None:
    niquests = pytest.importorskip("niquests", reason="niquests is not installed")
    question = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert niquests.post(f"{provider.openai_url}/chat/completions", json=question).status_code == 200
    assert recorded.only.end == "read"


def test_a_request_whose_answer_is_promised_is_reported_once_and_makes_no_call(collected: Collected) -> None:
    installation = urllib3._Installation(collected.tap)
    for _ in range(2):
        exchange = collected.tap.begin("POST", "models.test", "/v1/chat/completions", b"{}", {})
        assert urllib3._answered(urllib3._Sending(installation, None, exchange), object()) is None
    assert (collected.failures, collected.exchanges) == (["unseen:openai.chat"], [])
