"""An agent that writes its prompt anew for each step and is answered in JSON, through a real client."""

from pathlib import Path
from typing import Any

import openai
from tests.providers import Provider
from tests.stored import rows

from tokenflation.sdk import Instrumentation

MEMORY = "Nothing has been looked up so far."
SAYS = r'[[say:{"memory": "\u004eothing has been looked up so far."}]]'
"""Words that the request itself does not hold."""


def test_its_steps_are_one_agent_run_and_no_compactions(
    provider: Provider, store: Path, handle: Instrumentation
) -> None:
    with openai.OpenAI(base_url=provider.openai_url, api_key="k") as client:
        for history in ("", MEMORY):
            prompt = f"<user_request>Look up the tides.</user_request><history>{history}</history>{SAYS}"
            messages: Any = [{"role": "system", "content": "You look up."}, {"role": "user", "content": prompt}]
            client.chat.completions.create(model="m", messages=messages)
    assert handle.flush(60.0)
    calls = rows(store, "SELECT * FROM calls ORDER BY started_at_ns")
    assert [(one["step"], one["continues_evidence"], "compacted" in one["extra"]) for one in calls] == [
        (0, None, False),
        (1, "words", False),
    ]
    assert len({(one["task_id"], one["agent_run_id"]) for one in calls}) == 1
