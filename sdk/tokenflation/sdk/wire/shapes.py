"""The vocabulary in which `dialects` describes a provider's bodies and which `extract` and `anatomy` understand.

Records only; msgspec's, because defining one costs a fifteenth of a frozen dataclass and the host waits for this
import. Knows no provider.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field

from tokenflation.sdk.wire.values import Path

__all__ = ["Answer", "Count", "Dialect", "EventRule", "Part", "Paths", "Request", "Result", "Tool"]

Channel = Literal["answer", "reasoning", "other", "none"]
"""`other` is generated as well, but no text of the answer: arguments, sound, pictures."""
Paths = tuple[Path, ...]


class Tool(Struct, frozen=True, kw_only=True):
    """Where a tool call says what it is. Each field lists alternatives, best first."""

    server: bool = False
    """The provider runs it itself."""
    server_if: tuple[Path, frozenset[str]] | None = None
    """... or it does where this path holds one of these values."""
    id: Paths = (("id",),)
    name: Paths = (("name",),)
    named: str = ""
    """Name of a tool whose calls carry none."""
    lasting: Path = ()
    """Where an id of the call stands that stays the same should `id` change from event to event."""
    arguments: Paths = ()
    appends: bool = False
    """Streamed pieces of the arguments add up; otherwise the last one is whole."""
    counts: Mapping[str, Path] = field(default_factory=dict)
    """Where it says what tokens it took beside the answer's: name of the sum over all calls in `extra` -> path."""


class Part(Struct, frozen=True, kw_only=True):
    """What a piece of an answer is: which channel it belongs to, and the tool call it may be."""

    channel: Channel = "answer"
    content: Paths = ((),)
    """It counts as generated once something non-empty stands here."""
    tool: Tool | None = None


class EventRule(Struct, frozen=True, kw_only=True):
    """What a streamed event of a certain type brings, beside what any document brings."""

    channel: Channel = "none"
    content: Path = ()
    """Where its generated content stands."""
    part: Path | None = None
    """Where a part stands, to be read by the rules for parts."""
    arguments: Path | None = None
    """Where a further piece of the arguments of the tool call in the same slot stands."""
    ends: bool = False
    """It is the stream's terminator."""


class Count(Struct, frozen=True, kw_only=True):
    """One count of tokens as a sum of terms; each term lists alternatives, best first.

    The first term must be there. A term that is there but is no count makes the whole sum unknown.
    """

    terms: tuple[Paths, ...] = ()
    each: Path | None = None
    """List whose entries the terms are looked up in; the count is the sum over all of them."""
    zero_beside: Paths = ()
    """A missing first term means zero if one of these is there: proto3 JSON leaves zeros out, embeddings generate
    nothing."""


class Answer(Struct, frozen=True, kw_only=True):
    """Where an answer's facts stand: in a whole body and in the documents of a stream alike."""

    envelopes: Paths = ()
    """Where an answer object may stand inside a streamed document; else the document is the answer."""
    only_if: tuple[str, frozenset[str | None]] | None = None
    """A document is an answer only if this key has one of these values; others bring events alone."""
    listed: str | None = None
    """It is an array whose entries answer one request together, read as one document that has them under this key."""
    apart: str | None = None
    """Key that numbers the answers to several prompts, or several to one, which come together, in a stream or as an
    array: each ends by itself, with counts of its own."""
    plain: bool = False
    """It may be a text alone, of the type `text/plain`, which says nothing but proves whose it is."""
    blob: str | None = None
    """Key of a base64 text that holds the document itself."""
    event_key: str = "type"
    """Key of a streamed document's event type; the event's own name stands in for one that lacks it."""
    wrapped: bool = False
    """A streamed document is `{event type: event}`."""
    model: Paths
    response_id: Paths
    kept: Path | None = None
    """Token ids that stand for all up to this answer in a request that goes on from it."""
    choices: Path | None = None
    """List of choices; None where an answer is its only choice."""
    parts: Paths
    """From a choice: a list of parts, or one part."""
    keyed: Mapping[str, Part] = field(default_factory=dict)
    """Parts told apart by which keys they have."""
    typed: Mapping[str, Part] = field(default_factory=dict)
    """Parts told apart by their `type`."""
    reasoning_flag: str | None = None
    """A part with this key true is reasoning, whatever else it is."""
    finish: Paths
    """From a choice: why it ended."""
    finish_detail: Path | None = None
    """From a choice: a word that completes the reason (`incomplete:max_output_tokens`)."""
    blocked: Path | None = None
    """From the answer: why there are no choices."""
    unfinished: frozenset[str] = frozenset()
    """Values at `finish` that are no end: the answer is still being made."""
    failed: Mapping[str, Literal["error", "cancelled"]] = field(default_factory=dict)
    """Values at `finish` that mean failure."""
    events: Mapping[str, EventRule] = field(default_factory=dict)
    """By the `type` of a streamed event."""
    slot: tuple[str, ...] = ("index",)
    """Keys that number a part among its siblings in a stream."""
    terminator: bytes | None = None
    """Data of the event that ends a stream."""
    ends_if: Paths = ()
    """Something true here ends a stream."""
    ends_with_finish: bool = False
    """There is no terminator: a stream is whole once every choice says why it ended."""
    ends_unmarked: bool = False
    """Nothing tells the end of a stream: one that was read to its end is whole."""
    mark: Path | None = None
    """What stands here proves whose answer it is where it says neither counts nor content."""
    errors: Paths = (("error",),)
    """An object, or a text, here means failure."""
    error_events: frozenset[str] = frozenset({"error"})
    """Types of events that mean failure by themselves."""
    error_words: Paths = (("type",), ("code",), ("status",))
    """From the error: its class."""
    error_header: str | None = None
    """Response header that names the class of a failure."""

    usage: Paths
    """Where usage objects stand in a document; the last one seen wins. `()` is the document itself."""
    usage_listed: tuple[str, str] | None = None
    """A usage object may be a list of objects that hold its fields: keys of a field's name and of its value."""
    headers: tuple[str, ...] = ()
    """Response headers with counts, lower case; they stand beside the fields of the usage object."""
    merge_usage: bool = False
    """The last value of each field wins, instead of the last object as a whole."""
    said_once: frozenset[str] = frozenset()
    """Usage fields that one event fills, and those after it with 0."""
    shared_counts: frozenset[str] = frozenset()
    """Usage fields that stand in answers of other dialects, too: they do not prove that an answer is of this one."""
    counts_one: str = ""
    """Name in `extra` whose being there says that of several choices the counts are those of one."""
    placeholders: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By event type: usage fields that this event fills with a placeholder."""
    doubles: bool = False
    """It may write its counts as doubles or texts: 28.0 and "28" are 28. Elsewhere these are no counts."""
    input: Count
    cache_read: Count = Count()
    cache_write: Count = Count()
    output: Count
    reasoning: Count = Count()
    total: Path | None = None
    reasoning_outside: frozenset[str] = frozenset()
    """Providers whose output count leaves the reasoning out while their total has it."""
    reasoning_outside_models: tuple[str, ...] = ()
    """The same by the beginning of the model's name, for gateways."""
    reasoning_beside: tuple[str, tuple[str, ...]] = ("", ())
    """Provider, and beginnings of models' names, whose output count and total both leave the reasoning out."""
    reasoning_apart: tuple[Path, Path] | None = None
    """Where something stands at both, the reasoning count is of tokens that are in no total."""
    input_outside_if: Path | None = None
    """Where a number stands here, the total has input that the input count leaves out."""
    iterations: Path | None = None
    """From the usage: list of usage objects of the call's hidden iterations."""
    split: Mapping[str, str] = field(default_factory=dict)
    """From the usage: key of a list of objects that each count a share -> the names in `extra`, with {} for the
    share's.
    """
    split_by: tuple[str, str] = ("modality", "tokenCount")
    """Keys of these objects: whose share it is, and its count."""
    usage_extra: Mapping[str, Path] = field(default_factory=dict)
    """Name in `extra` -> path from the usage."""
    extra: Mapping[str, Path] = field(default_factory=dict)
    """Name in `extra` -> path from the answer."""


class Result(Struct, frozen=True, kw_only=True):
    """Where a tool result in a request says whose it is and what it holds."""

    id: tuple[str, ...]
    content: tuple[str, ...]
    failed: Path = ()
    """Where it says that the tool failed: by true, by `error`, or by anything under a key of that name."""


class Request(Struct, frozen=True, kw_only=True):
    """Where a request's facts stand."""

    proof: tuple[frozenset[str], ...]
    """A body is a request of this api if of each set it has at least one key."""
    in_path: str = ""
    """... and if its path holds this."""
    forms: bool = False
    """A body may also be a form with files, which is judged by its answer."""
    within: Paths = ()
    """Where objects stand whose entries are the request's own, too."""
    previous: Paths = (("previous_response_id",),)
    """Where the id of the answer stands that this request goes on from, or the token ids that it ended with."""
    previous_in_path: str = ""
    """Regular expression whose first group is that id, for apis that have it in the path."""
    conversation: Paths = (("conversation", "id"), ("conversation",), ("conversation_id",))
    """Where the id of a conversation stands whose history the provider keeps."""
    choices: Paths = (("n",),)
    """Where it says how many choices it wants; else it wants one."""
    prompts: tuple[str, ...] = ()
    """Keys of a prompt, or of a list of prompts that are answered each by itself; one of tokens holds numbers."""
    counts_if: Path = ()
    """Something true here asks for the counts of a stream, which has none otherwise."""
    forced: Paths = (("tool_choice", "function", "name"), ("tool_choice", "name"), ("tool_choice", "tool", "name"))
    """Where the name of the one tool stands that the answer must call."""
    sought: Paths = ()
    """Where it stands what an api that generates nothing is asked to embed or to rank by."""
    model: Paths = (("model",),)
    """Where the model stands."""
    model_in_path: str = ""
    """Regular expression whose first group is the model, for bodies that do not name it."""
    messages: tuple[str, ...] = ()
    alone: bool = False
    """One message may stand without a list."""
    system: tuple[str, ...] = ()
    tools: tuple[str, ...] = ("tools",)
    schemas: Paths = ()
    """Where the schema of a structured answer stands; the model reads it beside the tool definitions."""
    content: str = "content"
    """Key of a message's content."""
    kinds: Mapping[str, Literal["system", "user", "assistant", "tool"]] = field(default_factory=dict)
    """A message's `type` or `role` -> what we call it; user where it is not listed."""
    results_by_kind: Mapping[str, Result] = field(default_factory=dict)
    """Messages that are tool results, by the same word."""
    results_by_type: Mapping[str, Result] = field(default_factory=dict)
    """Parts of a message's content that are tool results, by their `type`."""
    results_by_key: Mapping[str, Result] = field(default_factory=dict)
    """Parts that hold a tool result under this key."""


class Dialect(Struct, frozen=True, kw_only=True):
    """One api: how its requests and answers are to be read."""

    api: str
    compatible: str
    """Provider name for hosts that are not known."""
    request: Request
    answer: Answer
    fetches: bool = False
    """Its exchanges fetch an answer that an earlier request asked for: they generate nothing."""
    common_path: bool = False
    """Other programs use its path too: an answer counts only if it says something that this api says."""
    by_answer: bool = False
    """... and so many do that nothing but an answer with its counts, its reasons or its mark counts: neither content
    nor a failure does, nor a request that none came for."""
