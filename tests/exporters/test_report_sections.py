"""What sections say where little is known, where kinds are many, and where a number would be taken for another one."""

from pathlib import Path
from typing import Any

import pandas as pd
from tests.analysis.conftest import frame_of, write_store
from tests.analysis.trees import at, call, tool, tools_of
from tests.browser.frames import calls_frame, demand_frame

from tokenflation.analysis import profile
from tokenflation.analysis.context.kvcache import cache_summary
from tokenflation.analysis.structure.summary import structure_summary
from tokenflation.analysis.structure.tools import tools
from tokenflation.exporters.report.facts import facts_of
from tokenflation.exporters.report.markup import section_html
from tokenflation.exporters.report.sections.cache import Cache, cache_section
from tokenflation.exporters.report.sections.demand import demand_section
from tokenflation.exporters.report.sections.structure import structure_section
from tokenflation.exporters.report.sections.summary import percentiles_section, unreported
from tokenflation.exporters.report.sections.tokens import growth_section, kinds_section, steps_section

_UNDATED_NS = 5_000_000_000


def _tasks(kinds: int, **values: Any) -> pd.DataFrame:
    return frame_of(
        call(f"k{kind}c{step}", f"r{kind}", step, 10 * kind + step, task=f"kind-{kind:02d}", task_id=f"t{kind}", **values)
        for kind in range(kinds)
        for step in range(2)
    )  # fmt: skip


def _cached(calls: pd.DataFrame) -> str:
    cache = Cache(
        whole=cache_summary(calls, by=()),
        models=cache_summary(calls),
        triggers=cache_summary(calls, by=("prompted_by",)),
    )
    return section_html(cache_section(cache))


def test_what_a_cache_could_give_is_not_called_its_hit_rate() -> None:
    blocks = kinds_section(profile(_tasks(1, input_tokens=128, shared_blocks=1, prefix_blocks=2)))
    reads = kinds_section(profile(_tasks(1, input_tokens=128, cache_read_tokens=64)))

    assert "Could be cached" in section_html(blocks)
    assert "Cache hit rate" not in section_html(blocks)
    assert "Cache hit rate" in section_html(reads)


def test_runs_that_report_no_input_are_not_said_to_be_left_out_for_their_length() -> None:
    calls = _tasks(1)
    silent = _tasks(1, input_tokens=None).assign(task_id="u", agent_run_id="silent", call_id=["x", "y"])
    both = pd.concat([calls, silent], ignore_index=True)

    assert "1 of 1 agent runs drawn" in section_html(growth_section(both))


def test_an_embedding_between_two_steps_is_drawn_neither_as_a_fall_of_the_context_nor_as_a_step() -> None:
    steps = frame_of(
        [
            call("a", "r", 0, 0, input_tokens=500),
            call("b", "r", 1, 2, input_tokens=11, output_tokens=0),
            call("c", "r", 2, 4, input_tokens=900),
        ]
    )
    for section in (growth_section, steps_section):
        shown = section_html(section(steps))
        assert "900" in shown
        assert ">11<" not in shown


def test_tables_of_the_cache_are_left_out_where_no_call_tells_of_it() -> None:
    assert "<table" not in _cached(_tasks(2, prompted_by="user"))
    assert _cached(_tasks(2, prompted_by="user", cache_read_tokens=0)).count("<table") == 2


def test_kinds_that_tables_of_structure_leave_out_are_counted_and_those_without_times_named() -> None:
    many = section_html(structure_section(structure_summary(_tasks(20)), None))
    assert "Left out here, with fewer calls: 4 kinds;" in many

    calls = frame_of([call("a", "r", 0, 0, task="timed"), call("b", "s", 0, 0, task="not", task_id="u", ended_at_ns=None, duration_s=None)])  # fmt: skip
    assert "has a duration: not." in section_html(structure_section(structure_summary(calls), None))


def test_tools_that_nobody_asked_for_and_successes_that_nobody_had_are_none_and_not_unreported() -> None:
    calls = _tasks(3)
    outcomes = pd.DataFrame(
        {"task": ["kind-00", "kind-01"], "task_id": ["t0", "t1"], "outcome": [0, 1]}
        | {name: [None, None] for name in ("score", "status", "error_type", "censored_by")}
    )
    html = section_html(structure_section(structure_summary(calls, None, None, outcomes), None))

    rows = {row.partition("</th>")[0]: row for row in html.partition("Success, where")[2].split('<th scope="row">')[1:]}
    assert "<td>no success</td><td>none</td>" in rows["kind-00"]
    assert "<td>none</td>" in rows["kind-01"]
    repeated = html.partition("Repetitions and failures")[2].partition("</table>")[0]
    assert "not reported" not in repeated


def test_tokens_of_results_are_said_to_be_of_so_many_results() -> None:
    calls = _tasks(1)
    asked = tools_of([tool("k0c0", "t1"), tool("k0c0", "t2")]).assign(result_tokens=[1_200, None])
    html = section_html(structure_section(structure_summary(calls, asked), tools(calls, asked)))

    assert "<td>1,200 in 1 result</td>" in html


def test_a_mean_below_its_bands_is_explained_and_only_then() -> None:
    told = "may lie above it"
    demand = demand_frame()
    raised = demand.assign(value=demand["value"].where(demand["statistic"] != "p50", 2 * demand["value"]))
    raised.attrs = demand.attrs

    assert told not in section_html(demand_section(demand, ""))
    assert told in section_html(demand_section(raised, ""))


def test_a_period_is_that_of_the_calls_that_have_a_date(tmp_path: Path) -> None:
    rows = [call("a", "r", 0, 0), call("b", "s", 0, 0, started_at_ns=_UNDATED_NS, ended_at_ns=None)]
    facts = facts_of(str(write_store(tmp_path / "runs.db", rows)))

    assert (facts.first_ns, facts.last_ns, facts.undated) == (at(0), at(0), 1)
    assert "Dates: not given for 1 of 2 calls; the period is that of the others." in unreported(facts)
    assert not any(one.startswith("Dates") for one in unreported(facts_of(frame_of(rows[1:]))))


def test_a_number_that_few_calls_report_says_how_many() -> None:
    calls = frame_of(call(f"c{step}", "r", step, step, cache_read_tokens=None if step else 64) for step in range(4))
    html = section_html(percentiles_section(profile(calls)))
    assert "cache reads, tokens (25.0\N{NO-BREAK SPACE}%)" in html
    assert "input tokens<" in html


def test_where_every_call_failed_nobody_is_told_to_ask_for_usage() -> None:
    calls = calls_frame([{"call_id": "a", "task": "k", "task_id": "t", "agent_run_id": "r", "status": "error"}])
    assert "Every call of this store failed" in section_html(steps_section(calls))
    assert "include_usage" in section_html(steps_section(calls.assign(status="ok")))


def test_more_read_than_the_ideal_is_explained_beside_both_rates() -> None:
    calls = _tasks(1, input_tokens=128, cache_read_tokens=100, prompted_by="user")
    whole = cache_summary(calls, by=()).assign(unseen_tokens=72)
    triggers = cache_summary(calls, by=("prompted_by",))
    html = section_html(cache_section(Cache(whole=whole, models=cache_summary(calls), triggers=triggers)))

    assert html.index("Ideal hit rate") < html.index("Providers read 72 tokens that the ideal does not hold")
    assert "that the ideal does not hold" not in _cached(_tasks(1, input_tokens=128, cache_read_tokens=0))
