"""`tokenflation info`: what a store holds, and what was lost. Needs no optional package."""

import csv
import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from tokenflation.cli.views.words import printable
from tokenflation.sdk.store.contents import info
from tokenflation.sdk.words import many

__all__ = ["command"]

_LEAST_ROOM = 20
_MOST_NAMES = 3
_KEY_STATES = {
    "ok": "in its file beside the store",
    "missing": "its file is missing: new prompts will share no prefix with those recorded",
    "other": "the file beside the store holds another one: new prompts share no prefix with older ones",
    "unreadable": "its file cannot be read",
}

_LOSSES = {
    "body_too_large": "of a body above 64 MiB the rest was not kept",
    "export_failed": "spans that their collector refused; the rows are in the store",
    "export_unfinished": "spans that were not sent when the program ended; the rows are in the store",
    "hook_error": "a hook of ours failed inside a client; the program went on",
    "hook_missing": "this version of a client lacks what we hook: its calls are not recorded",
    "journal_full": "calls that a killed program had no room to note while its store was locked or the disk was full",
    "parser_error": "a body that could not be read",
    "queue_full": "calls that ended faster than they were written: see instrument(queue_size=)",
    "recorder_error": "the recorder itself failed at a call",
    "store_error": "rows that the store refused, with the class of its error",
    "unseen": "a model that is called by a way we do not see; counted once, however many calls it has",
    "unreadable_note": "a note of losses beside the store that cannot be read",
    "waiting_for_store": "rows that wait for a store that could not be written; their calls come in once it can, if their "
    "program still runs or left its `underway` file",
}


# `readable=False` leaves it to us to say what cannot be read and why: bad input is exit code 1, misuse is 2.
@click.command("info")
@click.argument("db", type=click.Path(readable=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with the columns `name` and `value`.")
def command(db: Path, as_json: bool, as_csv: bool) -> None:
    """Show what a store holds and what was lost."""
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other; give one of them.")
    found = info(db)
    if as_csv:
        # CSV ends its lines with \r\n by RFC 4180; the other commands' do not, so neither does this.
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(("name", "value"))
        writer.writerows(_flat(found))
        return
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    lines = list(_lines(found))
    width = max(len(name) for name, _ in lines)
    # A pipe gets a line each; on a terminal no number is broken at its edge.
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for name, text in lines:
        for part in _folded(printable(text), room - width - 2):
            click.echo(f"{name:<{width}}  {part}".rstrip())
            name = ""


def _folded(text: str, room: int) -> list[str]:
    """Return the lines of a text that fit into so many characters; all in one where there is no room to speak of."""
    if room < _LEAST_ROOM or len(text) <= room:
        return [text]
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every plain value with its place, such as `models.0.calls`; what is missing is empty."""
    if isinstance(value, Mapping | list):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, one in items:
            yield from _flat(one, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _lines(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "store", f"{found['path']} ({_size(found['file_bytes'])})"
    if found["rows"]:
        made = "" if found["created_by"] is None else f", created by {found['created_by']}"
        yield "schema", f"version {found['schema_version']}{made}"
        yield "hash key", _key(found)
        yield from _contents(found)
    else:
        yield "", "there is no store" + (": it could not be written" if found["lost"] else "")
    yield from _losses(found)


def _key(found: Mapping[str, Any]) -> str:
    if found["key_id"] is None:
        return "none: the store says nothing of one"
    return f"{found['key_id']}, {_KEY_STATES[found['key_file']]}"


def _contents(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    rows = found["rows"]
    yield "tasks", "none with calls" if rows["spans"] and not rows["calls"] else _counts(found["tasks"])
    if again := found["reopened_tasks"]:
        yield "", f"{many(again, 'task')} opened more than once under one id: what was recorded counts as one task"
    yield "agent runs", f"{found['agent_runs']:,}, of them {many(found['sub_agent_runs'], 'sub-agent')}"
    yield "calls", f"{rows['calls']:,}, of them {found['sub_agent_calls']:,} in sub-agents"
    counts = f"{_attempts(rows)}, {many(found['tool_calls'], 'tool call')}, {many(rows['spans'], 'span')}"
    yield "", counts
    if not rows["calls"]:
        yield "", "no calls: record with `tokenflation run` or `tokenflation import` first"
        return
    yield "time", _time(found)
    yield "tokens", f"input {_number(found['input_tokens'])}, output {_number(found['output_tokens'])}"
    yield "usage from", _counts(found["usage_source"])
    yield "status", _counts(found["status"])
    for position, row in enumerate(found["models"]):
        tokens = f"input {_number(row['input_tokens'])}, output {_number(row['output_tokens'])}"
        name = f"{row['model'] or 'no model named'} ({row['provider']}{_answered(row['answered_as'])})"
        yield "" if position else "models", f"{name}: {many(row['calls'], 'call')}, {tokens}"


def _answered(names: Sequence[str]) -> str:
    """Return the names that answered, where they are not the one asked for: other commands and the page name those."""
    shown = ", ".join(names[:_MOST_NAMES])
    more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return f", answered as {shown}{more}" if names else ""


def _attempts(rows: Mapping[str, int]) -> str:
    """Return how many attempts are recorded: logs name those of few calls, which is no count of all that were made."""
    if not rows["attempts"] and rows["calls"]:
        return "attempts not recorded"
    of_few = " recorded (not those of every call)" if rows["attempts"] < rows["calls"] else ""
    return f"{many(rows['attempts'], 'attempt')}{of_few}"


def _losses(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if left := found["left_beside"]:
        yield "beside", f"{many(left, 'call')} of programs that ended, in {Path(found['path']).name}.underway-*"
        when = "once the store can be written" if found["rows"] else "as soon as a program records to this path again"
        yield "", f"keep these files: their calls come into the store {when}"
    if not found["lost"]:
        yield "lost", "nothing"
        return
    yield "LOST", f"{many(found['lost'], 'record')}: {_counts(found['drops'], total=False)}"
    for reason in sorted({name.partition(":")[0] for name in found["drops"]}):
        if meaning := _LOSSES.get(reason):
            yield "", f"{reason}: {meaning}"


def _counts(counts: Mapping[str, int], *, total: bool = True) -> str:
    parts = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    whole = f"{sum(counts.values()):,}"
    return f"{whole}: {parts}" if total and parts else parts or whole


def _number(value: int | None) -> str:
    return "not reported" if value is None else f"{value:,}"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"


def _time(found: Mapping[str, Any]) -> str:
    calls, undated, relative = found["rows"]["calls"], found["undated_calls"], found["relative_calls"]
    if undated == calls:
        if not relative:
            return "not given by the source"
        return (
            f"from each session's start, up to {found['last_ended_at_ns'] / 3.6e12:,.1f} h; the source gives no dates"
        )
    dates = [
        datetime.fromtimestamp(found[name] / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
        for name in ("first_started_at_ns", "last_ended_at_ns")
    ]
    without = f"; {many(undated, 'call')} without a date" if undated else ""
    return f"{dates[0]} to {dates[1]} UTC{without}"
