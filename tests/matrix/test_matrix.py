"""The matrix itself: with the clients of the development environment, and that it finds what is wrong."""

import pytest
from tests.matrix.run import play, scenarios_of
from tests.matrix.scenarios import SCENARIOS, differences, prompt_of
from tests.matrix.server import Models
from tests.matrix.table import markdown, text

# A client may use what is deprecated; this is about us.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.mark.parametrize("client", ["openai", "anthropic", "google"])
@pytest.mark.parametrize("name", ["tools_stream", "retries", "cancelled"])
def test_a_client_sees_no_recorder_and_the_store_says_what_the_server_did(client: str, name: str) -> None:
    with Models() as server:
        assert play(server, name, scenarios_of(client)[name]) == []


def test_a_row_that_is_missing_or_wrong_is_found() -> None:
    with Models() as server:
        scenarios_of("openai")["chat"](server.url, prompt_of("chat"))
        sent = server.requests
    row = {"attempts": 1, "stream": 0, "tool_calls": 0, "status": "ok", "duration_s": 1.0, "ttfc_s": None}
    usage = sent[0].usage or {}
    row |= {"input_tokens": usage["input"], "cache_read_tokens": usage["cached"], "cache_write_tokens": None}
    row |= {"output_tokens": usage["output"], "reasoning_tokens": usage["reasoning"]}
    attempts = [{"status_code": 200}]
    assert differences(SCENARIOS["chat"], sent, [row], attempts) == []
    assert differences(SCENARIOS["chat"], sent, [], attempts) == ["0 rows for 1 calls"]
    wrong = differences(SCENARIOS["chat"], sent, [row | {"output_tokens": 1, "status": "cut"}], attempts)
    assert wrong == [f"output_tokens 1, not {usage['output']}", "status cut, not ok"]


def test_the_tables_show_each_version_beside_the_others_and_name_what_differs() -> None:
    reports = [
        {"client": "openai", "version": "1.0.0", "cells": {"chat": "ok", "helper": "-"}},
        {"client": "openai", "version": "3.5.0", "cells": {"chat": "2 rows for 1 calls", "helper": "ok"}},
    ]
    assert "| chat | ok | 2 rows for 1 calls |" in markdown(reports)
    assert "| openai | 1.0.0 | 1 | 1 | 0 |" in markdown(reports)
    assert "3.5.0 chat: 2 rows for 1 calls" in text(reports)
