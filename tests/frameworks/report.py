"""The page docs/frameworks.md, from the results of each framework. Does no I/O."""

from collections.abc import Sequence
from typing import Any

from tests.frameworks.plans import SCENARIOS

__all__ = ["IN_TURN", "page"]

IN_TURN = " (in turn)"
"""Stands behind a cell where the framework runs one after another what could be at once."""

_HEAD = """# Frameworks

Agents of known structure, in the newest release of each framework that installs on Python 3.11 beside tokenflation, run
by `tokenflation run` with no code of ours in them. Each speaks through its own provider client to a local server that
plays the model by a plan, so what is true is known. A cell is `ok` where the store tells exactly that: calls, attempts,
tasks, agent runs, depth, steps, the tool calls that each answer asks for, and the tool call that each sub-agent is
inside of. `-` means that the framework has no such thing, `(in turn)` that it runs one after another what others run at
once. Made by

    make frameworks                                                 # all; installs the newest releases
    python -m tests.frameworks.run agno crewai --only fan,team      # some; prints the cells

"""

_SCENARIOS = """
## The scenarios

- **single answer**: one call.
- **tool loop of 5 steps**: five tool calls, one after another, then the answer.
- **sub-agents to depth 3**: an agent's tool runs an agent, whose tool runs an agent, whose tool runs an agent; two of
  them use a tool of their own too.
- **4 sub-agents at once**: one answer asks for four, of one kind (equal instructions) or of four kinds. Each uses a tool
  that takes 0.3 s, so that some begin while others wait.
- **429, then 200**: the second call of a tool loop is refused once. A client that asks again says so on the wire: one
  call with two attempts. A framework that asks again by itself (DSPy) begins a call: a failed one and its successor, in
  one agent run.
- **compaction**: after some steps the history is replaced by a summary, or cut, in the framework's own way. A summary is
  a call of the same task, at the depth of the run it shortens, inside no tool call; the run goes on, and its steps count
  on (a summary that is told as a call of the run is one of them).
- **2 tasks at once**: two agents in one process, in threads or as asyncio tasks; the second begins while the first waits
  for its tool. Of one kind, or of two.
- **2 agents in a row, no tool call**: a second agent is told what the first one answered: one task, two agent runs.
"""

_LIMITS = """
## What the wire cannot tell

- **An agent that nothing on the wire starts.** Where a program, a workflow or a graph's edge begins a second agent, no
  tool call is open. If its prompt repeats what the first one answered (24 characters and more; of an answer in JSON,
  XML or DSPy's fields a text in it that its request did not hold), that relates the two; if it does not, they are two
  tasks, and only a scope (`tf.task`) says that they are one. So it is with a guardrail or a memory manager that reads
  the question beside the agent, and with parts of an answer in plain words that are worked on apart.
- **A prompt that is written anew for each step** (browser-use, `dspy.ReAct`) is the next step of the agent where it begins
  as the one before and repeats such a text of what this was answered with. Of a stream the first 512 characters are known.
- **Parts and votes before they are put together.** Calls made at once are tasks of their own until a prompt repeats their
  answers, which then makes them one: the newest 16, and any number from the last five minutes of which a piece of 23 bytes
  without escapes is repeated, each as it was said. A prompt that puts the answers of several tasks into one report
  therefore makes those one, too.
- **A memory in what the user says.** A prompt that tells there what an earlier task's agent answered, in words of 24
  characters and more, goes on in that task. In the system prompt, where mem0 and others have it, it does not. Examples
  made of earlier answers, as DSPy's optimisers put them into prompts, are such a memory.
- **The same question put again after an answer**, as by a program that did not like it, is told as a new task: votes and a
  batch of equal tasks look the same. One that failed or was stopped is another matter: its
  successor within a minute, also at another provider, stands beside it.
- **Equal sub-agents of tasks that run at once.** Where each step runs in a context of its own (LangGraph, pydantic-ai), what
  they are asked and what they answer tells whose they are. Where both are equal in several tasks, each task has as many
  as it asked for, but perhaps another's; where both are shorter than 8 characters, each is a task of its own.
- **A run that goes on in another process**, from a checkpoint or behind another worker of a server, is a task of its own in
  each, as each process knows its own wire alone.
- **A prompt whose first words change from one question to the next** begins another agent's run, where the agent has not
  just been told results of its tools: put a memory behind what stays.
- **A system prompt that differs from task to task**: what was retrieved, a user's memories, a role a model made up.
  Numbers, ids and dates do not count; other words make a kind of their own, with one task in it: two agents may begin
  alike, too. `profile`, `forecast` and the report say where it looks like that. `--task NAME`, a scope or
  `tokenflation tasks DB --rename 'task-????' NAME` gives such tasks one name.
- **Another agent over the same messages.** Where two nodes of a graph share one history and differ in their system
  prompt only, the second continues the first. That is what an agent does that changes its instructions, too.
- **Tool calls written as text.** ReAct prompts, and agents that answer with code, ask for tools in the text of their
  answers. The store then has the calls and the steps, but no tool calls. A sub-agent is inside of the call that asked
  for it, found once its agent goes on: if its last words are told then, or it began in the same context with words of
  that answer (24 characters of a text in its code, or behind a colon). One whose agent ends on such an answer, or is
  told none of its words in another context, is a task of its own without a scope (`tf.task`) around both. But
  for smolagents' that write code, the agents here use the provider's tool calls, which is each framework's default or
  its own option.
- **Calls without messages.** An embedding or a ranking is a step of the agent that asks for it by a tool call or in its
  answer, or whose prompt then holds what was sought. Where nothing tells (documents as they are indexed, texts that are
  sent as token ids out of another context, as LangChain does unless `check_embedding_ctx_length=False`), and for speech
  and transcriptions, each is a task of its own, of the kind `task-embeddings`, `task-rerank`, `task-speech` and so on
  (embeddings and rankings under `--task` too: they are no tasks of users, and `forecast` leaves them out);
  `tf.task` around all that a question takes makes it one.
- **A call that is told the newest result alone.** What makes a tool's result shorter before the agent is told of it
  repeats nothing that was on the wire before. Made in the agent's own context, it is told as inside of the tool call,
  unless other calls with its system prompt repeat what the agent was told.
- **Results that go another way.** smolagents gives tool results back as text of the user, and answers through a tool
  (`final_answer`, in DSPy `submit`) that nobody answers: such a tool call stays open.
- **Tool calls without ids.** Gemini's have none; the store numbers them, and calls of one name in one answer are told
  apart by their arguments.
- **Tools in another process.** Under `tokenflation run`, an MCP server that the program starts over stdio is recorded where
  it is Python with tokenflation installed for it, as any program that is started; a server that something else starts must
  call `instrument()` itself. What a server asks a model stands inside the scope in which the server was started; without
  one it is a task of its own, as each process knows its own wire alone. Over HTTP it stands in the trace that the request
  names, which a recorded client sends while it exports spans from inside a scope: each tool call is a task of the server's
  own store, named after the tool. What it asks its client to sample stands inside the tool call.
- **Agents that are programs.** Claude's agent SDK starts the `claude` command for each query, and others start `codex` or
  `gemini`: their calls are not in the store. A run that starts one says so, and `tokenflation import` adds what they log.
- **HTTP of one's own.** BAML has an HTTP client of its own, which a run names as unseen. DSPy's (lm15) is recorded.
"""


def page(results: Sequence[dict[str, Any]]) -> str:
    """Return the page."""
    titles = [scenario.title for scenario in SCENARIOS.values()]
    lines = [_row(["framework", "version", *titles]), _row(["---"] * (len(titles) + 2))]
    notes = []
    for result in results:
        cells = []
        for name in SCENARIOS:
            cell = result["cells"].get(name, "")
            if cell.removesuffix(IN_TURN) not in ("ok", "-", ""):
                notes.append(f"{len(notes) + 1}. {result['framework']}, {SCENARIOS[name].title}: {cell}")
                cell = f"differs ({len(notes)})"
            cells.append(cell)
        lines.append(_row([result["framework"], result["version"], *cells]))
    told = sum(cell.removesuffix(IN_TURN) == "ok" for result in results for cell in result["cells"].values())
    played = sum(cell != "-" for result in results for cell in result["cells"].values())
    lines += ["", f"{told} of {played} cells are as they should be."]
    differs = ["", "## What differs", "", *notes] if notes else []
    uses = ["", "## How each framework is used", ""]
    uses += [f"- `{result['framework']}`: " + " ".join(result["about"].split()) for result in results]
    return _HEAD + "\n".join([*lines, *differs, *uses]) + "\n" + _SCENARIOS + _LIMITS


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
