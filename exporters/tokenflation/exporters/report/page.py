"""Puts the page together: sections in their order, style, script and plotly inline, a policy without network.

The policy names each script by its hash, so nothing else can run, and nothing at all can be fetched. The page of a
running server is the same but for its scripts, which it asks for, and its events.
"""

import base64
import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html import escape
from importlib.metadata import version
from importlib.resources import files
from string import Template
from urllib.parse import quote

import pandas as pd
from plotly.offline import get_plotlyjs

from tokenflation.exporters.report.facts import Facts, facts_of
from tokenflation.exporters.report.markup import Section, note, section_html
from tokenflation.exporters.report.names import listed, shown_name
from tokenflation.exporters.report.numbers import period
from tokenflation.exporters.report.sections.cache import Cache, cache_section
from tokenflation.exporters.report.sections.demand import demand_section
from tokenflation.exporters.report.sections.findings import findings_section
from tokenflation.exporters.report.sections.forecast import forecast_section
from tokenflation.exporters.report.sections.inflation import inflation_section
from tokenflation.exporters.report.sections.structure import context_table, structure_section
from tokenflation.exporters.report.sections.summary import footer, headline, percentiles_section
from tokenflation.exporters.report.sections.task import task_section
from tokenflation.exporters.report.sections.tokens import growth_section, kinds_section, parts_section, steps_section
from tokenflation.exporters.report.theme import FONT, css_variables, swaps

__all__ = ["Live", "Report", "page_parts", "render", "render_waiting", "script", "task_part"]


_SCRIPTS = ("tables", "page")
"""Every page's own; the first to run comes first."""
_OF_ALL = ("kinds", "percentiles")
"""Sections that are of all tasks, whether or not the others are of a sample."""
_BY_KIND = ("findings", "growth", "structure", "inflation")
"""Sections that take task kinds apart."""
_BESIDE_CALLS = ("findings", "structure")
"""Sections that rest on tool calls and scopes, not on calls alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that the page shows, as frames; a frame that is None comes with the sentence that says why."""

    name: str
    """What the store is called, for the title."""
    calls: pd.DataFrame
    """One row per call, as `tokenflation.analysis.load` returns it."""
    profile: pd.DataFrame
    """One row per task kind, of `tokenflation.analysis.profiles.profile`."""
    factors: pd.DataFrame | None = None
    """One row per task kind, of `tokenflation.analysis.comparison.inflation`."""
    no_factors: str = ""
    demand: pd.DataFrame | None = None
    """The long table of `tokenflation.analysis.fleet.forecast`."""
    no_demand: str = ""
    plan: str = ""
    """What the plan of the demand is called; empty: a fleet that nobody planned, of which a day is shown."""
    remarks: tuple[str, ...] = ()
    """What the demand assumes beside what its manifest says."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Records that could not be kept, by reason."""
    schema: str = ""
    alone: str = ""
    """What a source of calls alone cannot say, as a sentence; empty: it holds what is beside them too."""
    facts: Facts | None = None
    """Of all calls of the store; None: those of `calls`."""
    sample: tuple[int, int] | None = None
    """Tasks that `calls` holds, and those of the store; None: all of them."""
    kinds: tuple[int, int] | None = None
    """Task kinds that are taken apart, those with most tokens, and how many there are; None: all of them."""
    largest: pd.DataFrame | None = None
    """Calls of tasks to take apart that a sample may lack."""
    known: pd.DataFrame | None = None
    """Every task, where `calls` is a sample: `task`, `task_id`, `calls`, `tokens`, `started`."""
    tool_calls: pd.DataFrame | None = None
    """The store's table of that name; without it, scopes and depths alone say what a sub-agent is inside of."""
    spans: pd.DataFrame | None = None
    """The store's table of that name."""
    findings: pd.DataFrame | None = None
    """Of `tokenflation.analysis.findings`."""
    contexts: pd.DataFrame | None = None
    """One row per kind and agent, of `analysis.context_kinds`."""
    cache: Cache | None = None
    structure: pd.DataFrame | None = None
    """One row per task kind, of `analysis.structure.summary`."""
    tools: pd.DataFrame | None = None
    """One row per task kind and tool, of `analysis.structure.tools`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What a page of a running server has besides: it follows the store, and shows any task."""

    version: str
    """Which state of the store it shows."""
    task_id: str | None = None
    """The task to take apart; None: the largest of each kind."""


def render(report: Report, live: Live | None = None, parts: Mapping[str, str] | None = None) -> str:
    """Return the report as one HTML page that needs nothing else; with `live`, one that asks its own server alone.

    `parts` are those of `page_parts`, for whoever has them already.
    """
    parts = page_parts(report, live) if parts is None else parts
    keys = [key for key in parts if key not in ("source", "headline", "how")]
    links = [(key, _title(key, parts[key])) for key in (*keys, "how")]
    return _page(
        title=f"Token report: {escape(report.name)}",
        source=parts["source"],
        headline=parts["headline"],
        navigation="".join(f'<li><a href="#{key}">{title}</a></li>' for key, title in links),
        sections="\n".join(parts[key] for key in keys),
        footer=parts["how"],
        live=live,
    )


def render_waiting(name: str, live: Live) -> str:
    """Return the page of a store that holds no call yet; it fills by itself."""
    command = f"tokenflation run --store {shlex.quote(name)} SCRIPT".replace("`", "'")
    text = f"No call has been recorded yet. Record some, in another terminal: `{command}`. This page shows them as they arrive."
    return _page(
        title=f"Token report: {escape(name)}",
        source=escape(name),
        headline="",
        navigation="",
        sections=note(text, "empty"),
        footer="",
        live=live,
    )


def page_parts(report: Report, live: Live | None = None) -> dict[str, str]:
    """Return the HTML of each part of the page that depends on the store: `source`, `headline`, each section, `how`."""
    facts = report.facts or facts_of(report.calls)
    return {
        "source": _source(report.name, facts),
        "headline": headline(facts, report.profile, report.lost, report.sample),
        **{section.key: section_html(section) for section in _sections(report, live)},
        "how": footer(facts, report.schema),
    }


def task_part(report: Report, live: Live) -> str:
    """Return the one part of a live page that depends on the task that was chosen; it is that task, whole."""
    section = _tasks(report, live)
    return section_html(section if live.task_id else _of_sample(section, report))


def _title(key: str, html: str) -> str:
    """Return the heading of a part, as HTML."""
    return html.partition(f'<h2 id="{key}-title">')[2].partition("</h2>")[0]


def _page(*, live: Live | None, **parts: str) -> str:
    """Return the page around its parts: style, scripts, and the policy that says what may run and be asked for."""
    if live is None:
        inside = [get_plotlyjs().replace("</script", "<\\/script"), *(_file(f"{name}.js") for name in _SCRIPTS)]
        policy = f"form-action 'none'; script-src {' '.join(map(_source_hash, inside))}"
        scripts = "\n".join(f"<script>{text}</script>" for text in inside)
        status = ""
    else:
        policy = "form-action 'self'; connect-src 'self'; script-src 'self'"
        scripts = "".join(f'<script src="/{name}.js" defer></script>' for name in ("plotly", *_SCRIPTS, "live"))
        status = f'<p class="live" role="status" data-version="{escape(live.version)}">Live</p>'
    return Template(_file("page.html")).substitute(
        parts,
        policy=policy,
        generator=f"tokenflation {version('tokenflation')}",
        heading="Where the tokens go",
        style=_style(),
        status=status,
        theme=json.dumps(swaps()),
        scripts=scripts,
    )


def script(name: str) -> str:
    """Return a script that a live page asks for: `plotly.js`, `tables.js`, `page.js` or `live.js`."""
    return get_plotlyjs() if name == "plotly.js" else _file(name)


def _sections(report: Report, live: Live | None) -> list[Section]:
    link = (lambda task_id: f"/?task={quote(task_id, safe='')}#tasks") if live else None
    growth = growth_section(report.calls)
    grown = replace(growth, body=[*growth.body, *context_table(report.contexts)])
    sections = [
        findings_section(report.findings, link) if report.findings is not None else None,
        kinds_section(report.profile),
        parts_section(report.calls),
        steps_section(report.calls),
        grown,
        cache_section(report.cache) if report.structure is not None else None,
        structure_section(report.structure, report.tools) if report.structure is not None else None,
        _tasks(report, live),
        inflation_section(report.factors, report.no_factors),
        forecast_section(report.demand, report.no_demand, report.remarks, report.plan)
        if report.plan
        else demand_section(report.demand, report.no_demand, report.remarks),
        percentiles_section(report.profile),
    ]
    return [_of_sample(_of_calls_alone(section, report), report) for section in sections if section is not None]


def _tasks(report: Report, live: Live | None) -> Section:
    inside = report.calls
    if report.largest is not None:
        inside = pd.concat([inside, report.largest], ignore_index=True).drop_duplicates("call_id", ignore_index=True)
    chosen = (live.task_id or "") if live else None
    return task_section(inside, report.tool_calls, report.spans, chosen, report.known)


def _of_sample(section: Section, report: Report) -> Section:
    """Return the section as one that says of which tasks and kinds it is, where that is not all of them."""
    told = []
    if report.sample is not None and section.key not in _OF_ALL:
        told.append("Of a sample: {:,} of {:,} tasks.".format(*report.sample))
    if report.kinds is not None and section.key in _BY_KIND:
        told.append("Task kinds: the {:,} with most tokens, of {:,}.".format(*report.kinds))
    return replace(section, body=[*(note(one, "note sample") for one in told), *section.body])


def _of_calls_alone(section: Section, report: Report) -> Section:
    """Return the section with what its source cannot say, where the section rests on it."""
    if not report.alone or section.key not in _BESIDE_CALLS:
        return section
    return replace(section, body=[note(report.alone, "empty"), *section.body])


def _source(name: str, facts: Facts) -> str:
    models = [shown_name(one) for one in facts.models]
    named = f"model{'s' * (len(models) > 1)} {listed(models, most=3)}" if models else ""
    told = [name, period(facts.first_ns, facts.last_ns), named]
    return escape(" · ".join(text for text in told if text))


def _style() -> str:
    # Each theme's colours stand once; `color-scheme` gives scroll bars and the like the same ground.
    light = f":root{{color-scheme:light dark;--font:{FONT};{css_variables(dark=False)}}}"
    chosen = f"color-scheme:dark;{css_variables(dark=True)}"
    # The system's theme, unless the reader has chosen the other one; paper is light.
    dark = f"@media screen and (prefers-color-scheme: dark){{:root:not([data-theme=light]){{{chosen}}}}}"
    dark += f"@media screen{{:root[data-theme=dark]{{{chosen}}}}}"
    dark += ":root[data-theme=light]{color-scheme:light}@media print{:root{color-scheme:light}}"
    return f"{light}\n{dark}\n{_file('page.css')}"


def _file(name: str) -> str:
    return files("tokenflation.exporters.report").joinpath(name).read_text(encoding="utf-8")


def _source_hash(script: str) -> str:
    """Return a script's hash as Content-Security-Policy writes it."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"
