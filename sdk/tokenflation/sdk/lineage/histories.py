"""What lineage is asked and remembers: calls, agent runs, and the tool calls that are open. Knows no rule."""

from collections import OrderedDict
from typing import Generic, Literal, TypeVar
from weakref import ref

from msgspec import Struct, field

from tokenflation.sdk.records import Reading, Strength
from tokenflation.sdk.tokens.prefix import Anchor

__all__ = [
    "MAX_HISTORIES", "Edge", "Evidence", "History", "Host", "NewCall", "OpenCall", "Recent", "Run", "hands_over",
    "is_around", "weakest",
]  # fmt: skip

MAX_HISTORIES = 4096
"""Histories, agent runs and tasks remembered at once."""
_HANDOFF = ("transfer_to_", "handoff_to_", "handoff-transfer_to_")
"""Semantic Kernel writes a tool's plugin before its name."""
_MAX_RESULTS = 8
_MAX_INNER = 1024

Evidence = Literal[
    "scope", "span", "response_id", "conversation_id", "history", "tool_call_id", "answer", "words", "compaction",
    "flow_arguments", "flow_result", "context", "open_tool_call", "quoted", "sought",
]  # fmt: skip
"""What an edge of the tree rests on; each word is explained in the docstring of the package."""

_FROM_WEAKEST: tuple[Strength, ...] = ("weak", "strong", "exact")

K = TypeVar("K")
V = TypeVar("V")


def weakest(*strengths: Strength | None) -> Strength | None:
    """Return the weakest of the strengths that there are."""
    for one in _FROM_WEAKEST if any(strengths) else ():
        if one in strengths:
            return one
    return None


def hands_over(tool: str) -> bool:
    """Return whether a tool of this name makes another agent go on."""
    return tool.lower().startswith(_HANDOFF) or tool == "handoff"


class Recent(OrderedDict[K, V], Generic[K, V]):
    """A dictionary that forgets what was least recently put; `room` is how much it holds."""

    room = MAX_HISTORIES

    def put(self, key: K, value: V) -> None:
        """Set an entry and make it the newest."""
        size = len(self)
        self[key] = value
        if len(self) == size:  # it was there, at its old place
            self.move_to_end(key)
        elif size >= self.room:
            self.popitem(last=False)


class NewCall(Struct, frozen=True, gc=False):
    """A call that is to be placed: what its request says, and where and when it left."""

    reading: Reading
    scope_run_id: str | None
    """Agent run or task that the user's scopes give; None where the wire alone decides."""
    started_at_ns: int
    after: str | None
    """The call that left before in the same context or in the one it was copied from; None where nobody looked, empty
    where there was none."""


class Edge(Struct, frozen=True, gc=False):
    """What an edge rests on, and how well."""

    evidence: Evidence
    strength: Strength


_QUOTED = Edge("quoted", "weak")


class OpenCall(Struct):
    """A client tool call that an answer asked for and that no request has answered yet."""

    name: str
    said: tuple[str, ...] = ()
    """Texts of its arguments."""
    runs: int = 0
    """Agent runs that began inside."""
    answers: bool = False
    """It is an answer in a tool's clothes: nobody runs it."""


class Host(Struct, frozen=True):
    """The tool call that an agent run is inside of."""

    call_id: str
    tool_call_id: str
    """Empty where the call asked in its text."""
    run: "Run"
    edge: Edge


class Run(Struct, eq=False, weakref=True):
    """One agent run: where it stands, and its calls; a late correction changes it for all its later steps."""

    run_id: str
    agent: str
    task: str
    task_id: str
    trace_id: str
    depth: int = 0
    host: Host | None = None
    scope_run_id: str | None = None
    """Agent run or task that the user's scopes gave; None where the wire alone decides."""
    placed_by_scope: bool = False
    instructions_hash: bytes = b""
    steps: int = 0
    calls: list[str] = field(default_factory=list)
    inner: tuple["Run", ...] = ()
    """The newest agent runs that move with it: an agent that lives long may begin any number."""
    started_at_ns: int = 0
    after: str = ""
    """The call that had left before its first one in its context; empty where there was none, or nobody looked."""
    results: tuple[str, ...] = ()
    """Beginnings of the results of its tool calls that it was told."""
    asked: tuple[str, ...] = ()
    """Texts of the arguments of its tool calls that were answered."""
    opening: str = ""
    """Beginning of its first message that is no answer."""
    question: bytes = b""
    """Hash of the last message of its first request."""
    summary: str = ""
    """Beginning of the summary that it went on from last."""
    newest: "History | None" = None
    """Its newest call, as `note_newest` was told."""
    tells_from: int = 0
    """Bytes that a text must have to tell of its newest call: those of the answer; none while that waits for tools."""
    quotes: bool = False
    """It is in this task because it began with the answer of another run of it."""
    bare: bool = False
    """It began with a call that offers no tools."""
    moved: bool = False
    """It, or what it is inside of, was put elsewhere after calls of it had been placed."""
    # Weak: a program whose every prompt repeats the one before would keep all of them.
    _about: "ref[Run] | None" = None
    _repeats: "ref[Run] | None" = None

    @property
    def around(self) -> "Run | None":
        """The agent run that it is inside of."""
        return self.host.run if self.host is not None else None

    @property
    def edge(self) -> Edge | None:
        """What its place in the task rests on: the tool call that it is inside of, or the answers that it quotes."""
        if self.host is not None:
            return self.host.edge
        return _QUOTED if self.quotes else None

    @property
    def about(self) -> "Run | None":
        """The agent run whose messages its own first message repeats: it may summarise them."""
        return self._about() if self._about is not None else None

    @about.setter
    def about(self, run: "Run | None") -> None:
        self._about = ref(run) if run is not None else None

    @property
    def repeats(self) -> "Run | None":
        """The agent run that waits, around it or elsewhere, whose first message its own repeats: it may sum that up."""
        return self._repeats() if self._repeats is not None else None

    @repeats.setter
    def repeats(self, run: "Run | None") -> None:
        self._repeats = ref(run) if run is not None else None

    def note_newest(self, history: "History") -> None:
        """Keep its newest call."""
        self.newest = history
        history.answer_chars = len(history.answer.strip())
        shortest = min(map(len, history.words), default=history.answer_chars)
        self.tells_from = 0 if history.open_tool_calls else min(shortest, history.answer_chars)

    def note_result(self, text: str) -> None:
        """Keep what a tool call of it gave."""
        self.results = (*self.results, text)[-_MAX_RESULTS:]

    def note_asked(self, texts: tuple[str, ...]) -> None:
        """Keep what it asked of a tool that has answered."""
        self.asked = (*self.asked, *texts)[-_MAX_RESULTS:]

    def take_in(self, run: "Run") -> None:
        """Let another run move with this one."""
        self.inner = (*self.inner, run)[-_MAX_INNER:]


def is_around(run: Run, inner: Run | None) -> bool:
    """Return whether an agent run is this other one, or the other one is inside of it."""
    while inner is not None:
        if inner is run:
            return True
        inner = inner.around
    return False


class History(Struct, eq=False):
    """The newest call of one history, and what the next call of it needs to know."""

    call_id: str
    run: Run
    instructions_hash: bytes
    messages: int
    end_hash: bytes
    ended_at_ns: int
    open_tool_calls: dict[str, OpenCall]
    """Client tool calls asked for, by id."""
    anchors: tuple[Anchor, ...] = ()
    head: bytes = b""
    """First words of the system prompt."""
    tool_definition_bytes: int = 0
    answer: str = ""
    """Beginning of the answer's text, or of what a tool call that was the answer says."""
    answer_chars: int = 0
    """Its characters without space around it; a text with fewer bytes cannot hold it."""
    words: tuple[str, ...] = ()
    """What an answer says in its fields and its request did not: who repeats one was told of it."""
    is_last: bool = False
    """It answered by a tool that it need not have called, or in code, with which its agent says that it is done."""
    continued: int = 0
    """Calls that continue it so far."""
    failed: bool = False
    told: bool = False
    """Another agent was told its answer."""
    beside: "History | None" = None
    """The call whose agent run waited, and waits on, as this one was told about it."""

    @property
    def waits(self) -> bool:
        """Whether its agent run waits for results of the tool calls that it asked for."""
        newest = self.run.newest
        return bool(self.open_tool_calls) and newest is not None and (newest is self or newest.beside is self)
