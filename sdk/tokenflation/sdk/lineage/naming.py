"""Names for agents and kinds of tasks that no scope names: from the system prompt if it gives one, else a fingerprint.

A name is taken only where the prompt introduces the agent by one ("You are Ada Lovelace.", "name: planner"): a few
capitalised words or one identifier, never a sentence, as a system prompt's text has no place in the store.
"""

import re
from functools import lru_cache
from hashlib import blake2b

__all__ = ["agent_name", "stable", "task_kind"]

_HEAD_BYTES = 2048
_WORD = r"[A-Z][A-Za-z0-9_\-]{1,30}"
_INTRODUCED = re.compile(
    rf"(?:^|[\s\"'])(?:You are|Your name is|I am) (?:the )?({_WORD}(?: {_WORD}){{0,3}})(?=[.,;:\n\\]|$| and | who )"
)
_QUOTED = re.compile(r"(?:agent|assistant) (?:named|called) [\"'`]?([A-Za-z][A-Za-z0-9_\-]{1,40})[\"'`]?")
# google.adk writes it behind the agent's own instructions, before the names of the agents that it may hand over to.
_INTERNAL = b"Your internal name is "
_OWN = re.compile(r"\\?[\"'`]([A-Za-z][A-Za-z0-9_\-]{0,40})\\?[\"'`]")
_HEADER = re.compile(
    # A quotation mark that is not escaped ends a field of the JSON: `"role":"system"` names nobody. Behind one that is,
    # a tag or an object tells of a colleague, a tool, an example: `<member id="sky" name="Sky">`, `{"name": "search"}`.
    # So does a list, with a description behind each name.
    r"(?:^|\n|\\n|(?<!\\)\")#* ?(?:agent[ _]?name|name|role)(?:\\\"|[^\w\"\\]){1,6}([A-Za-z][A-Za-z0-9_\-]{1,40})\s*(?:\\n|\n|$|\\?\")"
    r"(?! *(?:\w+ )?description)",
    re.IGNORECASE,
)
_NO_NAMES = frozenset({"An", "The", "ChatGPT", "Claude", "Gemini", "GPT-4", "AI", "Assistant"})
_TOOL_NAME = re.compile(rb'"name":"([^"\\]{1,64})"')
_VARYING = re.compile(
    # Ids first: a group of one may hold no digit. Then whatever holds a digit, and the words of dates.
    rb"(?i)\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{16,}\b|[a-z_]{0,16}\d\w*"
    rb"|\b(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?\b|\b[ap]m\b"
    rb"|\b(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    rb"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b"
)


def agent_name(system: bytes) -> str:
    """Return the name that a system prompt gives its agent, or an empty text."""
    if not system:
        return ""
    at = system.rfind(_INTERNAL)
    own = at >= 0 and _OWN.match(system[at + len(_INTERNAL) :][:64].decode("utf-8", "replace"))
    return own.group(1) if own else _name_in(system[:_HEAD_BYTES])


@lru_cache(maxsize=64)
def _name_in(beginning: bytes) -> str:
    head = beginning.decode("utf-8", "replace")
    for pattern in (_INTRODUCED, _QUOTED, _HEADER):
        found = pattern.search(head)
        if found is not None and found.group(1) not in _NO_NAMES:
            return found.group(1)
    return ""


def task_kind(system: bytes, tools: bytes, key: bytes) -> str:
    """Return `task-` and four hex digits: a keyed fingerprint of the system prompt and the names of the tools.

    The order of tools does not matter, nor what `stable` leaves out: a date in a prompt makes no task of another kind.
    """
    state = blake2b(digest_size=8, key=key, person=b"tf.kind")
    state.update(stable(system))
    for name in sorted(set(_TOOL_NAME.findall(tools))):
        state.update(b"\0" + name)
    return f"task-{state.hexdigest()[:4]}"


def stable(system: bytes) -> bytes:
    """Return a system prompt without what differs between two calls of one agent: numbers, ids, words of dates."""
    return _VARYING.sub(b"0", system)
