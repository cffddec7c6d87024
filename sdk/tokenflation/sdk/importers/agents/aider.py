"""Reads aider's analytics log (`--analytics-log FILE`): one start of aider is one task, one `message_send` one call.

Fields as in aider.chat/docs/more/analytics.html and its `sample-analytics.jsonl`. Times have whole seconds: a call
starts with the `message_send_starting` before it and ends with its `message_send`. Caching and tool use are not in the
log.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.importers.files.fields import count, mapping, number, text, time_ns
from tokenflation.sdk.importers.files.formats import Context, Format, Head, Skipped, Taken
from tokenflation.sdk.importers.files.reading import lines
from tokenflation.sdk.importers.rows.building import TaskRows

__all__ = ["FORMAT"]

_KEYS = frozenset(("event", "properties", "user_id", "time"))


def _sniff(head: Head) -> float:
    return 0.95 if any(one.keys() >= _KEYS for one in head.objects) else 0.6 if head.keys >= _KEYS else 0.0


def _read(entries: Sequence[Entry], context: Context) -> Iterator[Taken | Skipped]:
    seen: Counter[tuple[str, int]] = Counter()
    for entry in entries:
        session: _Session | None = None
        for found in lines(entry, context):
            if isinstance(found, Skipped):
                yield found
                continue
            line, event = found
            at_ns, name = time_ns(event, "time"), text(event, "event")
            if at_ns is None or name is None:
                yield Skipped(entry.place(line), "an event without its name or time")
                continue
            if name == "launched" or session is None:
                if session is not None and session.calls:
                    yield Taken(session.rows.batch())
                user = text(event, "user_id") or ""
                seen[user, at_ns] += 1
                session = _Session(user, at_ns, seen[user, at_ns], context.kind("aider"))
            session.add(name, at_ns, mapping(event, "properties"))
        if session is not None and session.calls:
            yield Taken(session.rows.batch())


class _Session:
    """Holds the calls of one start of aider."""

    def __init__(self, user: str, at_ns: int, which: int, task: str) -> None:
        self.rows = TaskRows(
            "aider", f"{user}/{at_ns}/{which}", task=task, task_id=f"{at_ns // 10**9}-{which}-{user[:8]}"
        )
        self.calls = 0
        self._starting_ns: int | None = None

    def add(self, name: str, at_ns: int, properties: Mapping[str, Any]) -> None:
        """Take one event."""
        if name == "message_send_starting":
            self._starting_ns = at_ns
        if name != "message_send":
            return
        started_at_ns = self._starting_ns
        self._starting_ns = None
        known = started_at_ns is not None and started_at_ns <= at_ns
        model = text(properties, "main_model")
        extra = {"cost": number(properties, "cost"), "edit_format": text(properties, "edit_format")}
        self.rows.call(
            self.rows.main,
            self.rows.id_of("call", self.calls),
            extra={key: value for key, value in extra.items() if value is not None},
            provider=model.split("/")[0] if model and "/" in model else "unknown",
            api="unknown",
            model=model,
            started_at_ns=started_at_ns if known and started_at_ns is not None else at_ns,
            ended_at_ns=at_ns,
            duration_s=(at_ns - started_at_ns) / 1e9 if known and started_at_ns is not None else None,
            input_tokens=count(properties, "prompt_tokens"),
            output_tokens=count(properties, "completion_tokens"),
            prompted_by="user",
        )
        self.calls += 1


FORMAT = Format(name="aider", title="aider analytics log", sniff=_sniff, read=_read)
