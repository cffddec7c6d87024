"""The section at the top: what was found, what saves most first, each with its evidence and how its saving is found."""

import json
from collections.abc import Callable
from html import escape
from typing import Any

import pandas as pd

from tokenflation.analysis.findings import FINDINGS
from tokenflation.exporters.report.markup import REST, Section, coded, details, note, table
from tokenflation.exporters.report.names import shown_name
from tokenflation.exporters.report.numbers import NOT_REPORTED, count, exact, share
from tokenflation.sdk.words import many

__all__ = ["findings_section"]

_SHOWN = 8
_MAX = 60
_TITLE = "What to save first"
_IS = {"measured": "measured", "at most": "at most", "at least": "at least", "estimate": "estimated"}


def findings_section(found: pd.DataFrame | None, link: Callable[[str], str] | None = None) -> Section:
    """Return the findings of `analysis.findings` as a list, the first in full; `link` makes a task's id an address."""
    lede = (
        "Places where tokens go for nothing or twice, by what could be saved. Savings overlap, so they do not add up; "
        "each says how it was found."
    )
    if found is None or found.empty:
        nothing = (
            "Nothing was found. That is no proof that there is nothing to save: only what the calls report can be seen."
        )
        return Section(key="findings", title=_TITLE, lede=lede, body=[note(nothing, "empty")])
    rows = found.to_dict("records")
    items = "".join(_item(row, link) for row in rows[:_SHOWN])
    body = [f'<ol class="findings">{items}</ol>']
    if len(rows) > _SHOWN:
        more = "".join(_item(row, link) for row in rows[_SHOWN:_MAX])
        rest = len(rows[_SHOWN:_MAX])
        body.append(
            details(
                many(rest, "more finding"),
                f'<ol class="findings" start="{_SHOWN + 1}">{more}</ol>',
                kind=REST,
            )
        )
    if len(rows) > _MAX:
        body.append(note(f"{len(rows) - _MAX} findings that save less are left out."))
    return Section(
        key="findings", title=_TITLE, lede=lede, body=[*body, details("All findings as a table", _table(rows))]
    )


def _item(row: dict[Any, Any], link: Callable[[str], str] | None) -> str:
    known = count(row["saved_tokens"]) != NOT_REPORTED
    saved = f"{count(row['saved_tokens'])}" if known else "?"
    how = _IS[str(row["saved_is"])] if known else NOT_REPORTED
    part = f"{share(row['saved_share'])} of the kind" if known and share(row["saved_share"]) != NOT_REPORTED else ""
    evidence = (
        f"<p>{coded(str(row['estimate']))}</p>"
        f"<p>Rests on {exact(row['counted_calls'])} of {exact(row['calls'])} "
        f"{'call' if row['calls'] == 1 else 'calls'} concerned.</p>"
        f"{_ids('Tasks with most of it', row['task_ids'], link)}{_ids('Calls with most of it', row['call_ids'], None)}"
    )
    return (
        f'<li><div class="saved"><span class="value">{escape(saved)}</span>'
        f'<span class="more">{escape("tokens, " + how if known else "tokens " + how)}</span>'
        f'<span class="more">{escape(part)}</span></div>'
        f'<div class="told"><h3>{escape(FINDINGS[str(row["finding"])])}</h3>'
        f"<p>{coded(str(row['sentence']))}</p>"
        f'<p class="advice">{coded(str(row["advice"]))}</p>'
        f"{details('Evidence', evidence)}</div></li>"
    )


def _ids(title: str, text: Any, link: Callable[[str], str] | None) -> str:
    ids = json.loads(text)
    shown = [
        f'<a href="{escape(link(one))}">{name}</a>' if link else name
        for one, name in ((one, f"<code>{escape(shown_name(one))}</code>") for one in ids)
    ]
    return f"<p>{title}: {', '.join(shown)}</p>" if shown else ""


def _table(rows: list[dict[Any, Any]]) -> str:
    return table(
        "Findings by tokens saved",
        ["finding", "task kind", "agent", "tool", "tokens saved", "is", "of its kind", "rests on calls", "of"],
        [
            (
                FINDINGS[str(row["finding"])],
                str(row["task"]),
                *("" if pd.isna(row[name]) else str(row[name]) for name in ("agent", "tool")),
                exact(row["saved_tokens"]),
                str(row["saved_is"]),
                share(row["saved_share"]),
                exact(row["counted_calls"]),
                exact(row["calls"]),
            )
            for row in rows[:_MAX]
        ],
    )
