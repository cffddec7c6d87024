"""Which call a call continues: rolling hashes of messages, ids of answers and of tool calls, answers that come back.

Pure: readings in, an edge out. Knows nothing of agent runs inside of others, nor of scopes but an id.
"""

from operator import attrgetter

from msgspec import Struct
from msgspec.structs import replace

from tokenflation.sdk.lineage.heads import is_of_one_agent
from tokenflation.sdk.lineage.histories import Edge, History, NewCall, Recent
from tokenflation.sdk.lineage.messages import MIN_ID_CHARS, contains, first_text, last_answer, pieces
from tokenflation.sdk.lineage.recalling import Alike
from tokenflation.sdk.records import Reading, Strength
from tokenflation.sdk.wire.texts import texts

__all__ = ["Continued", "Histories"]

_FAILED_WINDOW_NS = 60_000_000_000
_MIN_ANSWER = 16
_KEY_CHARS = 64
_times_continued = attrgetter("continued")
_ONE_QUESTION = ("user",)
"""The roles of a request that holds no earlier answer and no result, so that its messages continue nothing."""


class Continued(Struct, frozen=True):
    """The call that is continued, and how many leading messages of the request were sent or answered before."""

    history: History
    sent: int
    edge: Edge
    changed: bool = False
    """The history came back edited, cut or summarised."""
    asked: History | None = None
    """The call whose tool calls the request may answer, where that is another."""


class Histories:
    """The newest calls of histories, found by what a request that continues them must hold."""

    def __init__(self) -> None:
        self._by_end: Alike[bytes] = Alike()
        self._by_response: Recent[str, History] = Recent()
        self._by_conversation: Recent[str, History] = Recent()
        self._by_tool: Recent[str, History] = Recent()
        self._by_answer: Alike[str] = Alike()

    def remember(self, history: History, reading: Reading) -> None:
        """Note a call as the newest of its history."""
        if history.end_hash:
            self._by_end.put(history.end_hash, history)
        if history.failed:
            return
        if reading.response_id:
            self._by_response.put(reading.response_id, history)
        if reading.kept_as:
            self._by_response.put(reading.kept_as, history)
        if reading.conversation_id:
            self._by_conversation.put(reading.conversation_id, history)
        for id_ in history.open_tool_calls:
            if len(id_) >= MIN_ID_CHARS:
                self._by_tool.put(id_, history)
        key = _answer_key(history.answer)
        if key:
            self._by_answer.put(key, history)

    def knows(self, end_hash: bytes) -> bool:
        """Return whether a call that is remembered sent a request that ends with the message of this hash."""
        return end_hash in self._by_end

    def find(self, new: NewCall) -> Continued | None:
        """Return what a request continues, or None."""
        reading = new.reading
        kept = self._kept_by_provider(reading)
        if kept is not None or reading.message_roles == _ONE_QUESTION:
            return kept
        prefix = self._by_prefix(new)
        if prefix is not None and _is_tight(reading, prefix):
            return prefix
        return self._by_return(new, prefix) or prefix

    def _kept_by_provider(self, reading: Reading) -> Continued | None:
        named = self._by_response.get(reading.previous_response_id or "")
        if named is not None:
            return Continued(named, 0, Edge("response_id", "exact"))
        named = self._by_conversation.get(reading.conversation_id or "")
        return Continued(named, 0, Edge("conversation_id", "exact")) if named is not None else None

    def _by_prefix(self, new: NewCall) -> Continued | None:
        """Return the newest call whose whole request is the longest proper beginning of this one."""
        hashes, roles = new.reading.message_hashes, new.reading.message_roles
        for length in range(len(hashes) - 1, 0, -1):
            known = self._by_end.get(hashes[length - 1])
            if known is None:
                continue
            answered = roles[length] == "assistant"
            matches = [one for one in known if _may_go_on(one, new, answered=answered)]
            if matches:
                sent = length
                while sent < len(roles) and roles[sent] == "assistant":
                    sent += 1
                return _choose(matches, new, length, sent)
        return None

    def _by_return(self, new: NewCall, prefix: Continued | None) -> Continued | None:
        """Return the call whose tool calls the request answers, or whose answer is the last one in it."""
        reading, run_id = new.reading, new.scope_run_id
        last, end = last_answer(reading.message_roles)
        for result in reading.tool_results:
            history = self._by_tool.get(result.tool_call_id)
            if history is not None and history.run.scope_run_id == run_id:
                return _returned(history, reading, end, "tool_call_id", prefix)
        if end == 0:
            return None
        own = prefix.history.run if prefix is not None else None
        for text in texts(pieces(reading, last, end)):
            said = [
                one
                for one in self._by_answer.get(_answer_key(text) or " ") or ()
                if one.run.scope_run_id == run_id and text.strip().startswith(one.answer.strip())
            ]
            known = [one for one in said if one.call_id == new.after and is_of_one_agent(one, reading)]
            known = known or [one for one in said if one.run is own]
            if own is None and not known:
                known = _likeliest([one for one in said if is_of_one_agent(one, reading)], reading)
            if known:
                found = _returned(known[-1], reading, end, "answer", prefix)
                alone = all(one.run is found.history.run for one in known)
                return found if alone else replace(found, edge=Edge("answer", "weak"))
        return None


def _likeliest(said: list[History], reading: Reading) -> list[History]:
    """Return which of agents of one kind that said the same may be told it: who was not told yet, and was asked it."""
    if len(said) > 1:
        opening = first_text(reading)
        said = [one for one in said if not one.continued] or said
        said = [one for one in said if one.run.opening == opening] or said
    return said


def _answer_key(answer: str) -> str:
    answer = answer.strip()
    return answer[:_KEY_CHARS] if len(answer) >= _MIN_ANSWER else ""


def _is_tight(reading: Reading, one: Continued) -> bool:
    """Return whether nothing but one answer and what came after it stands behind the continued request."""
    return last_answer(reading.message_roles)[1] <= one.sent and not _is_answered_elsewhere(reading, one)


def _is_answered_elsewhere(reading: Reading, one: Continued) -> bool:
    asked = one.history.open_tool_calls
    return bool(reading.tool_results) and not any(result.tool_call_id in asked for result in reading.tool_results)


def _may_go_on(one: History, new: NewCall, *, answered: bool) -> bool:
    """Return whether a request that begins with this call's may continue it.

    Where its answer is left out, it must have been over, and be of the same agent: with one message in common alone,
    another agent may just have been asked about the same.
    """
    if one.run.scope_run_id != new.scope_run_id:
        return False
    if one.failed and not 0 <= new.started_at_ns - one.ended_at_ns < _FAILED_WINDOW_NS:
        return False
    if answered:
        return True
    of_its_agent = one.failed or one.messages > 1 or one.instructions_hash == new.reading.instructions_hash
    return of_its_agent and new.started_at_ns >= one.ended_at_ns


def _choose(matches: list[History], new: NewCall, start: int, end: int) -> Continued:
    """Return which of several equal requests is continued: by ids it answers, the answer that came back, context.

    What was answered to them stands from `start` to `end` in the messages of the new request.
    """
    whole = [one for one in matches if not one.failed] or matches
    answered = {result.tool_call_id for result in new.reading.tool_results}
    by_ids = [one for one in whole if answered & one.open_tool_calls.keys()]
    if len(by_ids) == 1:
        return Continued(by_ids[0], end, Edge("history" if len(whole) == 1 else "tool_call_id", "exact"))
    whole = by_ids or whole  # several: ids made by us, where an api has none
    said = b"".join(pieces(new.reading, start, end)) if start < end else b""
    by_answer = [one for one in whole if one.answer and said and contains(said, one.answer)]
    among = by_answer or whole
    among = [one for one in among if one.call_id == new.after] or _whose_newest_is(new.after, among) or among
    chosen = min(reversed(among), key=_times_continued)
    if by_answer:
        sure: Strength = "exact" if len(by_answer) == 1 else "strong" if len(among) == 1 else "weak"
        return Continued(chosen, end, Edge("history" if len(whole) == 1 else "answer", sure))
    is_another = bool(chosen.answer and said)
    weak = is_another or chosen.failed or start == end or len(among) > 1
    return Continued(chosen, end, Edge("history", "weak" if weak else "strong"))


def _whose_newest_is(call_id: str | None, calls: list[History]) -> list[History]:
    """Return the calls of agent runs whose newest call is this one."""
    return [one for one in calls if one.run.newest is not None and one.run.newest.call_id == call_id]


def _returned(history: History, reading: Reading, end: int, evidence: str, prefix: Continued | None) -> Continued:
    """Return the edge to a call whose answer came back though its request did not, or not whole."""
    same = reading.message_hashes[history.messages - 1 : history.messages] == (history.end_hash,)
    if same:
        return Continued(history, end, Edge("history", "exact"))
    sent = prefix.sent if prefix is not None else 0
    edge = Edge("tool_call_id", "strong") if evidence == "tool_call_id" else Edge("answer", "strong")
    return Continued(history, sent, edge, changed=True)
