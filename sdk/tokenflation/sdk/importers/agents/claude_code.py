"""Reads Claude Code's session logs (`~/.claude/projects/*/*.jsonl`): one session, with its sub-agents, is one task.

What the log is, as its files show (there is no public specification), and what is taken how:

* A line is one record; an answer stands on several lines, one per content block, each repeating the call's usage. Lines
  of one `message.id` are one call; of each count the largest is taken, for a stream's counts only grow.
* `output_tokens` is final only on lines with a `stop_reason`; on others it is what the stream had said so far. Older
  versions wrote nearly all lines without one. Where most calls of a session lack it, the output of none of its calls is
  taken: the few that have it are no fair sample. `extra.output_tokens_logged` keeps what stands there.
* `usage.iterations` has what the provider ran inside a call (compactions, an advisor) and left out of its counts: the
  sums over all of them are in `extra.billed_input_tokens` and `extra.billed_output_tokens`, as of recorded calls.
* Sub-agents' calls stand in `progress` lines (`data.agentId`, `parentToolUseID`), in lines with `isSidechain`, or in
  files of their own (`agent-*.jsonl`); wherever they repeat, they are one call. They are an agent run inside the tool
  call (`Task` or `Agent`) that started them; `agent-*.meta.json` beside their file names it and the kind of the agent.
* `system` lines with `api_error` are failed attempts of the call that follows them; a `<synthetic>` answer with
  `isApiErrorMessage` is a call that failed. Other `<synthetic>` answers are no calls.
* `compact_boundary`: the next call continues the one before by a summary. The call that made the summary is not logged,
  nor is one that makes a title.
* A call starts when the record that it answers was written, and ends with its last line; a tool call runs from its own
  line to its result's, the user's time for a permission in it. TTFT is not known.
* A session that resumes another one may repeat its calls under a new name: the store keeps them where they came first.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from tokenflation.sdk.importers.agents.claude_code_rows import taken
from tokenflation.sdk.importers.agents.claude_code_session import Session
from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.importers.files.fields import text
from tokenflation.sdk.importers.files.formats import Context, Format, Head, Skipped, Taken
from tokenflation.sdk.importers.files.reading import document, lines

__all__ = ["FORMAT"]

_SESSION_ID = re.compile(rb'(?<!\\)"sessionId"\s*:\s*"([^"\\]+)"')
_KINDS = frozenset(("user", "assistant", "system", "progress", "attachment"))


def _sniff(head: Head) -> float:
    if _is_about(head.name):
        return 0.9 if "agentType" in head.keys and "parentSessionId" not in head.keys else 0.0  # else Qwen Code's
    if any("parentUuid" in one and "sessionId" in one and str(one.get("type")) in _KINDS for one in head.objects):
        return 0.97
    if any(one.get("type") == "summary" and "leafUuid" in one for one in head.objects):
        return 0.8
    return 0.9 if {"parentUuid", "isSidechain"} <= head.keys else 0.0


def _group(head: Head) -> str:
    """Return the session's id: the files of its sub-agents name the same, or lie in its folder."""
    if _is_about(head.name):
        return PurePath(head.path).parent.parent.name
    for one in head.objects:
        if session_id := text(one, "sessionId"):
            return session_id
    found = _SESSION_ID.search(head.start)
    return found[1].decode("utf-8", "replace") if found else head.path


def _is_about(name: str) -> bool:
    return name.startswith("agent-") and name.endswith(".meta.json")


def _read(entries: Sequence[Entry], context: Context) -> Iterator[Taken | Skipped]:
    session = Session()
    for entry in entries:
        if _is_about(entry.name):
            for about in document(entry):
                if isinstance(about, Skipped):
                    yield about
                else:
                    session.add_about(entry.name, about[1])
            continue
        session.begin_file(entry.name)
        for found in lines(entry, context):
            if isinstance(found, Skipped):
                yield found
            elif (wrong := session.add(found[1])) is not None:
                yield Skipped(entry.place(found[0]), wrong)
    if any(not _is_about(entry.name) for entry in entries):
        yield taken(session, task=context.kind("claude-code"), default_id=entries[0].task)


FORMAT = Format(name="claude-code", title="Claude Code session log", sniff=_sniff, read=_read, group=_group)
