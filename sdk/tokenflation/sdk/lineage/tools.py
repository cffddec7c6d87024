"""What is known of tools by what became of their calls: whether somebody runs them, and what agents begin inside.

Pure. Bounded.
"""

import re

from tokenflation.sdk.lineage.histories import History, Host, OpenCall, Recent, Run, hands_over
from tokenflation.sdk.records import Reading, ToolCall

__all__ = ["BY_CONTEXT", "Tools"]

BY_CONTEXT = ("context", "open_tool_call")
"""What an agent run's place rests on where nothing flowed."""

# ai.pydantic.dev/output: final_result; huggingface.co/docs/smolagents: final_answer; and the like elsewhere.
_ANSWER_TOOL = re.compile(
    r"(?i)final_?(?:result|answer|output|response)\w*|structured_?(?:output|response)|submit(?:_\w+)?|finish|return_\w*result"
)


class Tools:
    """The tools that agents asked for."""

    def __init__(self) -> None:
        self._asked: Recent[tuple[bytes, str], bool] = Recent()
        """(instructions, tool): False once such a call turned out to be an answer, True once one was answered."""
        self._plain: Recent[tuple[bytes, str], bool] = Recent()
        """(instructions, tool): True while all that were answered had no agent inside, False after one had."""
        self._hosted: Recent[tuple[bytes, str, bytes], bool] = Recent()
        """(instructions, tool, instructions): what agents were inside."""
        self._alone: Recent[bytes, bool] = Recent()
        """Instructions of which the newest agent run began a task of its own."""
        self.some_hand_over = False
        """Whether any agent asked for a tool that makes another go on."""

    def note_result(self, history: History, tool_call_id: str, reading: Reading) -> None:
        """Note that a tool call of a call was answered: the tool is run by somebody.

        Unless what was taken for an answer is given again: it was refused, as one that does not fit its schema is.
        """
        known = history.open_tool_calls[tool_call_id]
        tool = history.instructions_hash, known.name
        if not (known.answers and _is_given_again(known.name, reading)):
            self._asked.put(tool, True)
        self._plain.put(tool, self._plain.get(tool, True))
        for run in history.run.inner if known.runs else ():
            if run.host is not None and (run.host.call_id, run.host.tool_call_id) == (history.call_id, tool_call_id):
                self._note_hosted(tool, run)

    def note_left(self, history: History) -> None:
        """Note that nobody waits any more for what a call asked for; of tools that nobody ran yet it was an answer."""
        for call in history.open_tool_calls.values():
            if not self._asked.get((history.instructions_hash, call.name), False):
                self._asked.put((history.instructions_hash, call.name), False)
                call.answers = True

    def note_alone(self, run: Run) -> None:
        """Note that an agent run stands inside no tool call."""
        self._alone.put(run.instructions_hash, True)

    def note_inside(self, run: Run, host: Host, asked: History, call: OpenCall) -> None:
        """Note that an agent run stands inside a tool call of the call `asked`.

        Where nothing but its context says so, that is noted once the tool call is answered.
        """
        if host.edge.evidence not in BY_CONTEXT:
            self._note_hosted((asked.instructions_hash, call.name), run)

    def _note_hosted(self, tool: tuple[bytes, str], run: Run) -> None:
        self._plain.put(tool, False)
        self._hosted.put((*tool, run.instructions_hash), True)
        self._alone.pop(run.instructions_hash, None)

    def hosts(self, history: History, call: OpenCall) -> bool:
        """Return whether a tool is known to begin agents."""
        return self._plain.get((history.instructions_hash, call.name)) is False

    def is_plain(self, history: History, call: OpenCall) -> bool:
        """Return whether a tool's calls were answered, and none had an agent inside."""
        return self._plain.get((history.instructions_hash, call.name), False)

    def may_host(self, history: History, call: OpenCall, reading: Reading) -> bool:
        """Return whether a new history may be inside a tool call though nothing but its context says so.

        An agent that gave up leaves its tool calls open, and its thread goes on to others. A call without tools may be
        about the agent.
        """
        tool = history.instructions_hash, call.name
        if (*tool, reading.instructions_hash) in self._hosted:
            return True
        told = reading.system_bytes + reading.tool_definition_bytes
        if told and reading.instructions_hash in self._alone:
            return False
        return not reading.tool_definition_bytes or not self.is_plain(history, call)

    def answers(self, asked: ToolCall, reading: Reading) -> bool:
        """Return whether a tool call is an answer nobody runs: by name, by force, or by what became of its like."""
        known = self._asked.get((reading.instructions_hash, asked.name))
        if known is not None:
            return not known
        self.some_hand_over = self.some_hand_over or hands_over(asked.name)
        return _is_to_answer(asked.name, reading)


def _is_to_answer(name: str, reading: Reading) -> bool:
    """Return whether a tool is there to answer with, by force or by name."""
    return name == reading.forced_tool or _ANSWER_TOOL.fullmatch(name) is not None


def _is_given_again(name: str, reading: Reading) -> bool:
    return _is_to_answer(name, reading) and any(one.name == name for one in reading.tool_calls)
