"""BAML asks models by an HTTP client of its own, which no hook sees: that is said."""

import pytest
from tests.hooks.conftest import Collected


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
