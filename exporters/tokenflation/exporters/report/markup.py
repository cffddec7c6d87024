"""Small pieces of HTML: cards, tables, legends, charts with their data. Every text that comes in is escaped here."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from tokenflation.exporters.report.numbers import NOT_REPORTED
from tokenflation.exporters.report.theme import INK, PALETTE

__all__ = [
    "REST",
    "Section",
    "card",
    "chart",
    "coded",
    "definitions",
    "details",
    "glossary",
    "note",
    "notes",
    "section_html",
    "table",
]


REST = "data rest"
"""The class of what goes on with a list: on paper remarks are there in full, of others it is said that they go on."""
_ROW = 'th scope="row"'
_LONG_NAME = 40
"""Letters above which a name needs more room, or it runs over many lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One titled part of the page; `lede` is plain text, names in backticks, `body` is HTML."""

    key: str
    title: str
    lede: str
    body: Sequence[str] = field(default_factory=tuple)


def section_html(section: Section) -> str:
    """Return the section as HTML, labelled by its title."""
    title = f"{section.key}-title"
    return (
        f'<section id="{section.key}" aria-labelledby="{title}"><h2 id="{title}">{escape(section.title)}</h2>'
        f'<p class="lede">{coded(section.lede)}</p>{"".join(section.body)}</section>'
    )


def coded(text: str) -> str:
    """Return a sentence as HTML: what stands in backticks is a name, shown as one."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


def note(text: str, kind: str = "note") -> str:
    """Return a remark; `kind` is note, empty (what is missing, and how to get it) or warning."""
    return f'<p class="{kind}">{coded(text)}</p>'


def notes(title: str, texts: Iterable[str], kind: str = "note", *, most: int = 6) -> str:
    """Return a titled list of remarks, what is more than `most` of them on demand, or nothing where there are none."""
    items = [f"<li>{coded(text)}</li>" for text in texts]
    if not items:
        return ""
    # One more takes no more room than the line that would hide it.
    shown = items if len(items) <= most + 1 else items[:most]
    rest = items[len(shown) :]
    more = details(f"{len(rest)} more", f"<ul>{''.join(rest)}</ul>", kind=REST) if rest else ""
    return f'<div class="{kind}"><h3>{escape(title)}</h3><ul>{"".join(shown)}</ul>{more}</div>'


def definitions(pairs: Iterable[tuple[str, str, str]]) -> str:
    """Return figures with their names: (name, value, what more there is to say)."""
    rows = "".join(
        f'<div><dt>{escape(name)}</dt><dd><span class="value">{escape(value)}</span>'
        f"{f'<span class=more>{escape(more)}</span>' if more else ''}</dd></div>"
        for name, value, more in pairs
    )
    return f'<dl class="facts">{rows}</dl>'


def card(title: str, more: str, body: str) -> str:
    """Return a card: its title, beside it a short remark, under it `body` (HTML)."""
    return f'<article class="card"><h3>{escape(title)}<span>{escape(more)}</span></h3>{body}</article>'


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, nested: bool = False) -> str:
    """Return a table whose first column names the row and whose others hold figures; it scrolls alone when too wide.

    A column that is not reported in any row is named in the caption instead. Readers may put the rows in another order,
    unless they are `nested`: then what a row is inside of stands above it.
    """
    caption, header, rows = _without_unreported(caption, header, list(rows))
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(f"<tr>{_cell(_ROW, row[0])}{''.join(_cell('td', cell) for cell in row[1:])}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table{" class=nested" if nested else ""}>'
        f"<caption><span>{escape(caption)}</span></caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(start: str, text: str) -> str:
    return f"<{start}{' class=long' if len(text) > _LONG_NAME else ''}>{escape(text)}</{start[:2]}>"


def _without_unreported(
    caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[str, Sequence[str], Sequence[Sequence[str]]]:
    gone = [place for place in range(1, len(header)) if rows and all(row[place] == NOT_REPORTED for row in rows)]
    if not gone:
        return caption, header, rows
    kept = [place for place in range(len(header)) if place not in gone]
    named = ", ".join(header[place] for place in gone)
    return (
        f"{caption} ({NOT_REPORTED}: {named})",
        [header[place] for place in kept],
        [[row[place] for place in kept] for row in rows],
    )


def glossary(terms: Iterable[tuple[str, str]]) -> str:
    """Return terms with what they mean."""
    rows = "".join(f"<dt>{escape(term)}</dt><dd>{escape(meaning)}</dd>" for term, meaning in terms)
    return f"<dl>{rows}</dl>"


def details(summary: str, body: str, *, is_open: bool = False, kind: str = "data") -> str:
    """Return a part that opens on demand; `kind` is its class: data, kind or `REST`."""
    opened = " open" if is_open else ""
    return f'<details class="{kind}"{opened}><summary>{escape(summary)}</summary>{body}</details>'


def chart(
    key: str, title: str, label: str, figure: Any, data: str, remark: str = "", colours: Mapping[str, str] | None = None
) -> str:
    """Return one chart: its title, legend, drawing place, the figure as JSON, and its data as a table.

    The legend names the traces, or what `colours` of the palette stand for where one trace has several. `label` says in
    a sentence what the chart shows, for those who cannot see it; `data` is the HTML of the table.
    """
    # The JSON stands inside a script element, which only "</" and "<!--" could end or upset.
    spec = figure.to_json().replace("<", "\\u003c")
    return (
        f'<figure class="chart" aria-labelledby="{key}-name">'
        f'<figcaption id="{key}-name"><h3>{escape(title)}</h3>{note(remark) if remark else ""}{_legend(figure, colours)}</figcaption>'
        f'<div class="plot" role="img" aria-label="{escape(label)}" data-figure="{key}-spec"'
        f' style="min-height:{figure.layout.height}px"></div>'
        f'<script type="application/json" id="{key}-spec">{spec}</script>'
        f"{details('Data of this chart', data)}</figure>"
    )


def _legend(figure: Any, colours: Mapping[str, str] | None) -> str:
    """Return the legend of the traces that are to have one, or of the colours."""
    entries = {name: f'<i class="box" style="--c:var(--{colour})"></i>' for name, colour in (colours or {}).items()}
    for trace in figure.data if colours is None else ():
        if trace.showlegend is not False and trace.name:
            entries.setdefault(trace.name, _swatch(trace))
    items = "".join(f"<li>{swatch}{escape(name)}</li>" for name, swatch in entries.items())
    return f'<ul class="legend">{items}</ul>' if entries else ""


def _swatch(trace: Any) -> str:
    """Return a mark that looks like the trace: a filled box for bars and bands, a line for lines."""
    spec = json.loads(trace.to_json())
    line = spec.get("line", {})
    if spec["type"] == "bar":
        kind, colour = "box", spec["marker"]["color"]
    elif spec.get("fill") in ("toself", "tonexty"):
        kind, colour = "box", spec["fillcolor"]
    else:
        kind, colour = "dash" if line.get("dash") else "line", line.get("color") or spec["marker"]["color"]
    return f'<i class="{kind}" style="{_css_colour(colour)}"></i>'


def _css_colour(colour: str) -> str:
    """Return a figure's colour as CSS that follows the theme: its custom property, faded where it was translucent."""
    named = {paint.light: paint.name for paint in (*PALETTE.values(), *INK.values())}
    if colour in named:
        return f"--c:var(--{named[colour]})"
    red, green, blue, opacity = colour.removeprefix("rgba(").rstrip(")").split(",")
    name = named[f"#{int(red):02x}{int(green):02x}{int(blue):02x}"]
    return f"--c:color-mix(in srgb, var(--{name}) {100 * float(opacity):g}%, transparent)"
