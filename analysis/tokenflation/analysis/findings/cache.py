"""Findings on the prefix cache: what was sent again and computed again, and why, as far as times and blocks tell.

Pure.
"""

from collections.abc import Iterator

import pandas as pd

from tokenflation.analysis.context.pauses import missed_tokens
from tokenflation.analysis.context.prefix import has_hashes
from tokenflation.analysis.context.volatile import volatile_prefixes, volatile_sentence
from tokenflation.analysis.findings.finding import MEASURED, Finding, most_calls, most_tasks, named
from tokenflation.sdk.words import many, percent

__all__ = ["TTL_S", "expired_cache", "uncached_history", "volatile_beginnings"]

TTL_S = 300.0
"""Seconds after which a cache is taken as expired.

Source: docs.anthropic.com, "Prompt caching": 5 minutes by default.
"""
_LONG_TTL_S = 3600.0
_WORTH_IT = 0.1
"""The share of what expired that a longer time to live must keep for it to be advised."""
_LONGER = (
    "Ask for a longer time to live (one hour, where the provider sells it), or cut the history down before going on."
)
_SHORTER = "Cut the history down before going on: most of it came after pauses of more than an hour."
_UNIT = "input tokens, read from a cache instead of computed"


def expired_cache(steps: pd.DataFrame) -> Iterator[Finding]:
    """Yield what calls computed again that came more than `TTL_S` after the one they go on with; of `context_steps`."""
    for (task, agent), group in _missed(steps):
        late = group[group["pause_s"] > TTL_S]
        missed = int(late["missed"].sum())
        if not missed:
            continue
        soon = int(late.loc[late["pause_s"] < _LONG_TTL_S, "missed"].sum())
        some = late[late["missed"] > 0]
        by_user = int(some["prompted_by"].eq("user").sum())
        whose = f"; the user spoke before {by_user:,} of them" if by_user else ""
        yield Finding(
            finding="expired_cache",
            task=task,
            agent=agent,
            sentence=f"{many(len(some), 'call')} of {named(task, agent)} came more than 5 minutes after the call before and "
            f"computed {missed:,} tokens of history again: the cache had expired{whose}. A time to live of one hour would "
            f"have kept {percent(soon / missed)} of them.",
            advice=_LONGER if soon >= _WORTH_IT * missed else _SHORTER,
            saved_tokens=missed,
            saved_unit=_UNIT,
            saved_is=MEASURED,
            estimate="Tokens that the call before had as input too, less what the provider read from its cache. A longer "
            "time to live may cost more per cached token.",
            counted_calls=len(group),
            calls=_of(steps, task, agent),
            task_ids=most_tasks(some, "missed"),
            call_ids=most_calls(some, "missed"),
        )


def uncached_history(steps: pd.DataFrame) -> Iterator[Finding]:
    """Yield what calls computed again although the one they go on with was not older than `TTL_S`, or none is known."""
    for (task, agent), group in _missed(steps):
        # A call without a known time before it may have been late: it says nothing of another cause, but it is a loss.
        rest = group[~(group["pause_s"] > TTL_S)]
        missed, again = int(rest["missed"].sum()), int(rest["resent_input_tokens"].sum())
        if not missed:
            continue
        some = rest[rest["missed"] > 0]
        yield Finding(
            finding="uncached_history",
            task=task,
            agent=agent,
            sentence=f"{many(len(some), 'call')} of {named(task, agent)} sent {missed:,} tokens of history again that the cache "
            f"did not serve, within 5 minutes of the call before: {percent(missed / again, 1)} of what they sent again.",
            advice="Look at the calls named: a history that was edited, another server or model, or no mark for the cache.",
            saved_tokens=missed,
            saved_unit=_UNIT,
            saved_is=MEASURED,
            estimate="Tokens that the call before had as input too, less what the provider read from its cache; ends of "
            "blocks, which no cache keeps, included.",
            counted_calls=len(group),
            calls=_of(steps, task, agent),
            task_ids=most_tasks(some, "missed"),
            call_ids=most_calls(some, "missed"),
        )


def volatile_beginnings(calls: pd.DataFrame) -> Iterator[Finding]:
    """Yield what changes in front of what stays; nothing where the calls have no prefix hashes."""
    if not has_hashes(calls):
        return
    of_agent = calls.groupby(["task", "agent"]).size()
    for _, place in volatile_prefixes(calls).iterrows():
        task, agent = str(place["task"]), str(place["agent"])
        yield Finding(
            finding="volatile_prefix",
            task=task,
            agent=agent,
            sentence=volatile_sentence(place),
            advice="Move what changes (a time, an id, a name, an order) behind what stays the same."
            if place["part"] != "history"
            else "Append to the history; do not edit, reorder or shorten what was sent before.",
            saved_tokens=int(place["lost_tokens"]),
            saved_unit=_UNIT,
            saved_is=MEASURED,
            estimate="Whole blocks behind the first one that differs, of what an earlier call had in common, for a cache "
            "that forgets nothing; without what the provider read from its cache all the same.",
            counted_calls=int(place["calls"]),
            calls=int(of_agent.loc[(task, agent)]),
        )


def _missed(steps: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """Yield the calls of each agent whose re-sent and read tokens are known, with `missed` (tokens) and `pause_s`."""
    rows = missed_tokens(steps)
    for (task, agent), group in rows.groupby(["task", "agent"], sort=True):
        yield (str(task), str(agent)), group


def _of(steps: pd.DataFrame, task: str, agent: str) -> int:
    return int(((steps["task"] == task) & (steps["agent"] == agent)).sum())
