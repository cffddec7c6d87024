"""The head of the page, the table of percentiles, and the foot that says how numbers are counted."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import pandas as pd

from tokenflation.analysis.columns import MEASURES, Measure
from tokenflation.analysis.profiles.profile import low_coverage
from tokenflation.exporters.report.facts import MISSABLE, Facts
from tokenflation.exporters.report.markup import Section, definitions, details, glossary, note, notes, table
from tokenflation.exporters.report.numbers import NOT_REPORTED, by_unit, count, exact, period, share
from tokenflation.sdk.words import many

__all__ = ["footer", "headline", "percentiles_section", "unreported"]

_SHOWN = ("mean", "p10", "p50", "p90", "p99")
_OPEN_KINDS = 1
_MAX_KINDS = 40
_MIN_P99 = 230
_TERMS = (
    ("Task", "One unit of user-visible work, from ask to final answer. Its tokens are the sum of its calls."),
    ("Call", "One exchange with a model endpoint, failed ones too. Retries are attempts of the same call."),
    (
        "Agent run, step, depth",
        "One invocation of one agent; the order of a call in it, from 0; the agent runs around it.",
    ),
    ("Input tokens", "All prompt tokens, cached ones included, as the provider counts them."),
    ("Output tokens", "All generated tokens, reasoning included."),
    (
        "Parts of the input",
        "System prompt, tool definitions, history already sent or produced, first-seen tool results, new. Their sum: input.",
    ),
    ("Peak context", "Largest input of one call of the task. Input / peak context says how often it was read again."),
    ("Cache hit rate", "Input tokens read from a prefix cache over input tokens, of the calls that report both."),
    ("By blocks", "Where no cache is reported: leading blocks of a prompt that an earlier call of the task had too."),
    ("Percentiles", "Interpolated linearly over tasks; of ISL and OSL (input and output of one call) over calls."),
    ("Means of ratios", "Are ratios of sums, so that a big task weighs what it costs."),
    ("k, M, G, T, P, E", "Thousand, million, billion, trillion, 10¹⁵, 10¹⁸."),
)


def headline(
    known: Facts, profile: pd.DataFrame, lost: Mapping[str, int], sample: tuple[int, int] | None = None
) -> str:
    """Return the store's headline facts, what was lost, and of how many tasks the page is made where not of all."""
    facts = [
        ("Tasks", exact(profile["tasks"].sum()), f"of {many(len(profile), 'kind')}"),
        ("Calls", exact(known.calls), f"{exact(known.failed)} failed" if known.failed else ""),
        ("Input tokens", count(known.input_tokens), _exactly(known.input_tokens)),
        ("Output tokens", count(known.output_tokens), _exactly(known.output_tokens)),
        ("Usage reported", *_reported(known.complete, known.in_part, known.calls)),
    ]
    total = sum(lost.values())
    if total:
        facts.append(("Lost records", exact(total), "see below"))
    warning = notes(
        f"{many(total, 'record')} {'was' if total == 1 else 'were'} lost; sums on this page leave {'it' if total == 1 else 'them'} out",
        [f"{reason.replace('_', ' ')}: {exact(number)}" for reason, number in lost.items()],
        "warning",
    )
    return definitions(facts) + (f'<div class="lost">{warning}</div>' if total else "") + _sampled(sample)


def _sampled(sample: tuple[int, int] | None) -> str:
    if sample is None:
        return ""
    taken, tasks = sample
    text = (
        f"The store is large: these totals, task kinds and percentiles are of all {many(tasks, 'task')}, everything else is "
        f"of {exact(taken)} of them, taken at random ({share(taken / tasks)}). Sums there are those of the sample."
    )
    return note(text, "note sample")


def _reported(complete: int, in_part: int, calls: int) -> tuple[str, str]:
    """Return of how many calls the usage is known, and what more there is to say."""
    if in_part and not complete:
        return "in part", f"of {exact(in_part)} of {many(calls, 'call')}; in full of none"
    part = f"; {exact(in_part)} in part" if in_part else ""
    return share(complete / calls), f"{exact(complete)} of {many(calls, 'call')}{part}"


def _exactly(value: int | None) -> str:
    return exact(value) if value is not None and value >= 1000 else ""


def percentiles_section(profile: pd.DataFrame) -> Section:
    """Return one table per task kind: every measure that its tasks report, with its mean and percentiles."""
    tables = []
    order = profile.sort_values("input_tokens_sum", ascending=False, na_position="last", kind="stable")
    for place, row in enumerate(order.head(_MAX_KINDS).to_dict("records")):
        rows = []
        for measure in MEASURES:
            cells = [by_unit(row[f"{measure.name}_{name}"], measure.unit) for name in _SHOWN]
            if cells[0] != NOT_REPORTED:
                rows.append((_label(row, measure), *cells, _sum(row, measure)))
        caption = f"{row['task']}, {many(row['tasks'], 'task')}"
        found = table(caption, ["per task", *_SHOWN, "all tasks"], rows)
        tables.append(details(caption, found, is_open=place < _OPEN_KINDS, kind="kind"))
    if len(order) > _MAX_KINDS:
        tables.append(
            note(
                f"Left out, with less input: {many(len(order) - _MAX_KINDS, 'kind')}; `tokenflation profile DB` has them all."
            )
        )
    few = [str(row["task"]) for row in profile.to_dict("records") if row["tasks"] < _MIN_P99]
    lede = (
        "Per task of each kind; input and output of a call (ISL, OSL) per call. What no task reports has no row. In brackets: "
        "the share of the calls that report the number, where it is less than that of the calls with usage."
    )
    if few:
        lede += (
            f" With fewer than {_MIN_P99} tasks of a kind, its true p99 may well lie above the largest that was seen."
        )
    return Section(key="percentiles", title="Percentiles per task kind", lede=lede, body=tables)


def _label(row: Mapping[Any, Any], measure: Measure) -> str:
    label = f"{measure.label}, tokens" if measure.unit == "tokens" and "tokens" not in measure.label else measure.label
    coverage = low_coverage(row, measure)
    return label if coverage is None else f"{label} ({share(coverage)})"


def _sum(row: Mapping[Any, Any], measure: Measure) -> str:
    name = f"{measure.name}_sum"
    if name not in row:
        return ""
    return exact(row[name]) if measure.unit in ("count", "tokens") else by_unit(row[name], measure.unit)


def unreported(facts: Facts) -> list[str]:
    """Return what this store does not hold, a sentence each."""
    said = []
    for column, name in MISSABLE.items():
        gone = facts.missing[column]
        if gone:
            which = "any call" if gone == facts.calls else f"{exact(gone)} of {many(facts.calls, 'call')}"
            said.append(f"{name}: not reported for {which}.")
    if 0 < facts.undated < facts.calls:
        said.append(
            f"Dates: not given for {exact(facts.undated)} of {many(facts.calls, 'call')}; the period is that of the others."
        )
    if facts.inferred:
        part = share(facts.inferred / facts.calls)
        said.append(f"Tasks, agents and steps of {part} of the calls are inferred from the requests or the log.")
    return said


def footer(facts: Facts, schema: str) -> str:
    """Return how numbers are counted, what is not reported, and the versions that made the page."""
    span = period(facts.first_ns, facts.last_ns)
    schema = f"{schema}, " if schema else ""
    versions = ", ".join(f"{name} {version(name)}" for name in ("tokenflation", "pandas", "duckdb", "plotly"))
    return (
        '<h2 id="how-title">How numbers are counted</h2>'
        + glossary(_TERMS)
        + notes("What is not reported", unreported(facts))
        + notes("Made from", [f"Starts of calls: {span}.", f"Versions: {schema}{versions}."])
    )
