"""Puts the page together: sections in their order, style, script and plotly inline, and a policy that forbids the network.

The policy names each script by its hash, so nothing else can run, and nothing at all can be fetched.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from importlib.metadata import version
from importlib.resources import files
from string import Template

import pandas as pd
from plotly.offline import get_plotlyjs

from tokenflation.exporters.report.demand_section import demand_section
from tokenflation.exporters.report.inflation_section import inflation_section
from tokenflation.exporters.report.markup import Section, section_html
from tokenflation.exporters.report.numbers import period
from tokenflation.exporters.report.summary_sections import footer, headline, percentiles_section
from tokenflation.exporters.report.task_section import task_section
from tokenflation.exporters.report.theme import FONT, css_variables, swaps
from tokenflation.exporters.report.token_sections import growth_section, kinds_section, parts_section, steps_section

__all__ = ["Report", "render"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that the page shows, as frames; a frame that is None comes with the sentence that says why."""

    name: str
    """What the store is called, for the title."""
    calls: pd.DataFrame
    """One row per call, as `tokenflation.analysis.load` returns it."""
    profile: pd.DataFrame
    """One row per task kind, of `tokenflation.analysis.profile`."""
    factors: pd.DataFrame | None = None
    """One row per task kind, of `tokenflation.analysis.inflation`."""
    no_factors: str = ""
    demand: pd.DataFrame | None = None
    """The long table of `tokenflation.analysis.forecast`."""
    no_demand: str = ""
    remarks: tuple[str, ...] = ()
    """What the demand assumes beside what its manifest says."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Records that could not be kept, by reason."""
    schema: str = ""
    tool_calls: pd.DataFrame | None = None
    """The store's table of that name; without it, scopes and depths alone say what a sub-agent is inside of."""
    spans: pd.DataFrame | None = None
    """The store's table of that name."""


def render(report: Report) -> str:
    """Return the report as one HTML page that needs nothing else."""
    sections = _sections(report)
    script = _file("page.js")
    plotly = get_plotlyjs().replace("</script", "<\\/script")
    links = [*((section.key, section.title) for section in sections), ("how", "How numbers are counted")]
    return Template(_file("page.html")).substitute(
        script_hashes=f"{_source_hash(plotly)} {_source_hash(script)}",
        generator=f"tokenflation {version('tokenflation')}",
        title=f"Token report: {escape(report.name)}",
        heading="Where the tokens go",
        style=_style(),
        source=_source(report),
        headline=headline(report.calls, report.profile, report.lost),
        navigation="".join(f'<li><a href="#{key}">{escape(title)}</a></li>' for key, title in links),
        sections="\n".join(section_html(section) for section in sections),
        footer=footer(report.calls, report.schema),
        theme=json.dumps(swaps()),
        plotly=plotly,
        script=script,
    )


def _sections(report: Report) -> list[Section]:
    return [
        kinds_section(report.profile),
        parts_section(report.calls),
        steps_section(report.calls),
        growth_section(report.calls),
        task_section(report.calls, report.tool_calls, report.spans),
        inflation_section(report.factors, report.no_factors),
        demand_section(report.demand, report.no_demand, report.remarks),
        percentiles_section(report.profile),
    ]


def _source(report: Report) -> str:
    started = report.calls["started_at_ns"]
    models = report.calls["model"].dropna().value_counts()
    named = ", ".join(str(name) for name in models.index[:3])
    more = f" and {len(models) - 3} more" if len(models) > 3 else ""
    told = [report.name, period(started.min(), started.max()), f"models {named}{more}" if named else ""]
    return escape(" · ".join(text for text in told if text))


def _style() -> str:
    # Each theme's colours stand once; `color-scheme` gives scroll bars and the like the same ground.
    light = f":root{{color-scheme:light dark;--font:{FONT};{css_variables(dark=False)}}}"
    dark = f"@media (prefers-color-scheme: dark){{:root{{{css_variables(dark=True)}}}}}"
    return f"{light}\n{dark}\n{_file('page.css')}"


def _file(name: str) -> str:
    return files("tokenflation.exporters.report").joinpath(name).read_text(encoding="utf-8")


def _source_hash(script: str) -> str:
    """Return a script's hash as Content-Security-Policy writes it."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"
