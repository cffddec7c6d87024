"""The example agent's models: the real `openai` and `anthropic` clients, in four ways of asking.

Every answer's usage is also noted in a ledger, as the client received it: what the recorder stored is checked against
it. Knows nothing of the recorder.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import anthropic
import httpx2
import openai

from tokenflation.demo.replay import TASK_HEADER
from tokenflation.demo.server import MODEL

__all__ = ["Ledger", "Models", "Reported"]

Message = dict[str, Any]

# llama.cpp's server closes idle connections after five seconds, which is also when the clients would forget them.
_LIMITS = httpx2.Limits(keepalive_expiry=2)
_GREEDY = {"temperature": 0.0}
_TOOL_CALL_TOKENS = 56
_SAY_TOKENS = 24
_READ_TOKENS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What the server said of one call, as the client received it; `None` where it said nothing."""

    response_id: str
    api: str
    input_tokens: int
    """Prompt tokens, cached ones included."""
    cache_read_tokens: int | None
    output_tokens: int
    timings: dict[str, Any] | None = None
    """llama.cpp's own timings, which it sends with Chat Completions only."""


class Ledger:
    """What the server reported, call by call; may be written to from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: list[Reported] = []

    def note(self, row: Reported) -> None:
        """Add one call."""
        with self._lock:
            self._rows.append(row)

    def rows(self) -> list[Reported]:
        """Return all calls noted so far."""
        with self._lock:
            return list(self._rows)


class Models:
    """Clients of one server; `for_task()` gives each task's own, which share the connections."""

    def __init__(self, url: str, ledger: Ledger, tool_call_token: int) -> None:
        self._ledger = ledger
        self._tool_call_token = tool_call_token
        self._openai = openai.OpenAI(
            base_url=f"{url}/v1", api_key="local", timeout=120, http_client=openai.DefaultHttpxClient(limits=_LIMITS)
        )
        self._anthropic = anthropic.Anthropic(
            base_url=url, api_key="local", timeout=120, http_client=anthropic.DefaultHttpxClient(limits=_LIMITS)
        )

    def for_task(self, task_id: str) -> Self:
        """Return the same clients, which tell the server the task: a recorded provider answers by it."""
        own = object.__new__(type(self))
        own._ledger, own._tool_call_token = self._ledger, self._tool_call_token
        own._openai = self._openai.with_options(default_headers={TASK_HEADER: task_id})
        own._anthropic = self._anthropic.with_options(default_headers={TASK_HEADER: task_id})
        return own

    def close(self) -> None:
        """Close the connections."""
        self._openai.close()
        self._anthropic.close()

    def use_tool(self, messages: Sequence[Message], tools: Sequence[Message]) -> Message:
        """Return an assistant message that asks for a tool: OpenAI Chat Completions.

        So small a model rarely begins a tool call by itself: a bias on the token that opens one makes it.
        """
        answer = self._openai.chat.completions.create(
            model=MODEL,
            messages=cast(Any, messages),
            tools=cast(Any, tools),
            tool_choice="required",
            parallel_tool_calls=False,
            logit_bias={str(self._tool_call_token): 100},
            max_tokens=_TOOL_CALL_TOKENS,
            temperature=0,
        )
        self._note_chat(answer)
        return answer.choices[0].message.model_dump(exclude_none=True)

    def say(self, messages: Sequence[Message], tools: Sequence[Message] = (), schema: Message | None = None) -> str:
        """Return an answer, held to a JSON schema if given: OpenAI Chat Completions, streamed, with its usage."""
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
        stream = self._openai.chat.completions.create(
            model=MODEL,
            messages=cast(Any, messages),
            tools=cast(Any, tools) if tools else openai.omit,
            tool_choice="none" if tools else openai.omit,
            response_format=cast(Any, form) if schema else openai.omit,
            max_tokens=_SAY_TOKENS,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        text = ""
        for chunk in stream:
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
            if chunk.usage is not None:
                self._note_chat(chunk)
        return text

    def read(self, instructions: str, messages: Sequence[Message]) -> str:
        """Return an answer: Anthropic Messages, streamed."""
        with self._anthropic.messages.stream(
            model=MODEL,
            system=instructions,
            messages=cast(Any, messages),
            max_tokens=_READ_TOKENS,
            extra_body=_GREEDY,
        ) as stream:
            answer = stream.get_final_message()
        usage = answer.usage
        parts = (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens)
        row = Reported(
            response_id=answer.id,
            api="anthropic.messages",
            input_tokens=sum(part or 0 for part in parts),
            cache_read_tokens=usage.cache_read_input_tokens,
            output_tokens=usage.output_tokens,
        )
        self._ledger.note(row)
        return "".join(block.text for block in answer.content if block.type == "text")

    def sum_up(self, instructions: str, text: str) -> str:
        """Return an answer: OpenAI Responses."""
        answer = self._openai.responses.create(
            model=MODEL, instructions=instructions, input=text, max_output_tokens=_SAY_TOKENS, temperature=0
        )
        usage = answer.usage
        assert usage is not None, "the server reports the usage of every response"
        row = Reported(
            response_id=answer.id,
            api="openai.responses",
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.input_tokens_details.cached_tokens,
            output_tokens=usage.output_tokens,
        )
        self._ledger.note(row)
        return answer.output_text

    def _note_chat(self, answer: Any) -> None:
        details = answer.usage.prompt_tokens_details
        row = Reported(
            response_id=answer.id,
            api="openai.chat",
            input_tokens=answer.usage.prompt_tokens,
            cache_read_tokens=details.cached_tokens if details else None,
            output_tokens=answer.usage.completion_tokens,
            timings=(answer.model_extra or {}).get("timings"),
        )
        self._ledger.note(row)
