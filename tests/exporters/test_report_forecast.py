"""The forecast on the page: what the fan, the totals and the split show of the numbers, and what is left out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.analysis.test_forecast_command import recorded

from tokenflation import analysis as an
from tokenflation.analysis.planning.parts import Growth, Uncertain
from tokenflation.cli import main
from tokenflation.exporters.report import build_report, page_parts
from tokenflation.exporters.report.markup import section_html
from tokenflation.exporters.report.sections.forecast import forecast_section


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return an.load(recorded(tmp_path_factory.mktemp("runs"), {"triage": 3, "research": 8}))


def demand_of(calls: pd.DataFrame, **plan: Any) -> pd.DataFrame:
    fleet = an.Plan(**{"tasks_per_day": {"triage": 90_000.0, "research": 10_000.0}, **plan})
    return an.forecast(calls, fleet, rng=np.random.default_rng(1), bands=True)


def figure(html: str, key: str) -> dict[str, Any]:
    spec = html.partition(f'id="{key}-spec">')[2].partition("</script>")[0]
    found = json.loads(spec)
    assert isinstance(found, dict)
    return found


def traces(html: str, key: str) -> dict[str, dict[str, Any]]:
    return {trace["name"]: trace for trace in figure(html, key)["data"] if trace.get("name")}


def values(demand: pd.DataFrame, resource: str, statistic: str) -> list[float]:
    rows = demand[(demand["resource"] == resource) & (demand["statistic"] == statistic)]
    return [float(one) for one in rows["value"]]


def test_the_fan_holds_mean_and_bands_of_each_hour_and_the_peak_apart(calls: pd.DataFrame) -> None:
    demand = demand_of(calls, day_shape="business_day", days=2)
    drawn = traces(section_html(forecast_section(demand, "")), "forecast-concurrent-calls")
    assert drawn["mean"]["y"] == pytest.approx(values(demand, "concurrent_calls", "mean"))
    low, high = values(demand, "concurrent_calls", "p25"), values(demand, "concurrent_calls", "p75")
    assert drawn["50 % band"]["y"] == pytest.approx(low + high[::-1])
    (peak,) = values(demand, "concurrent_calls", "day_peak_p95")
    (line,) = [trace for name, trace in drawn.items() if name.startswith("peak of the busiest day")]
    assert line["y"] == pytest.approx([peak, peak])
    assert line["x"] in ([0, 24], [24, 48])
    assert peak > max(values(demand, "concurrent_calls", "p95"))


def test_a_long_horizon_is_drawn_by_the_busiest_hour_of_each_day(calls: pd.DataFrame) -> None:
    demand = demand_of(calls, day_shape="business_day", days=9, growth=Growth(per_day=0.1))
    html = section_html(forecast_section(demand, ""))
    drawn = traces(html, "forecast-decode-tokens-per-s")
    hours = np.array(values(demand, "decode_tokens_per_s", "mean")).reshape(9, 24)
    assert drawn["mean"]["x"] == list(range(1, 10))
    assert drawn["mean"]["y"] == pytest.approx(hours.max(axis=1))
    (line,) = [trace for name, trace in drawn.items() if name.startswith("peak of the busiest day")]
    assert line["x"] == [8.5, 9.5]
    assert "the busiest hour of each day" in html


def test_parts_of_the_variance_fill_the_bar_and_a_tornado_needs_unsure_numbers(calls: pd.DataFrame) -> None:
    sure = section_html(forecast_section(demand_of(calls), ""))
    assert "What moves it" not in sure
    assert len(figure(sure, "forecast-split")["data"]) == 2
    unsure = demand_of(calls, assumptions={"tasks_per_day.triage": Uncertain(cv=0.3)})
    html = section_html(forecast_section(unsure, ""))
    parts = [trace["x"] for trace in figure(html, "forecast-split")["data"]]
    assert np.sum(parts, axis=0) == pytest.approx([1.0] * len(parts[0]))
    bars = {
        trace["name"]: trace for trace in figure(html, "forecast-moves-concurrent-calls")["data"] if "name" in trace
    }
    effect = next(row for row in unsure.attrs["manifest"]["effects"] if row["resource"] == "concurrent_calls")
    assert bars["at its p90"]["x"][0] + bars["at its p90"]["base"][0] == pytest.approx(effect["p90"])
    assert bars["at its p10"]["x"][0] < 0


def test_the_page_says_totals_what_to_record_next_and_what_is_assumed(calls: pd.DataFrame) -> None:
    html = section_html(forecast_section(demand_of(calls), "", ("A remark of the caller.",), "plan.yaml"))
    assert "<code>plan.yaml</code>" in html
    assert '<th scope="row">Tasks</th><td>100k</td><td>as planned</td>' in html
    assert "What to record next" in html
    assert "triage 90k (12 runs recorded)" in html
    assert "A remark of the caller." in html
    assert '<th scope="row">triage: calls</th><td>3</td><td>needs 22 finished runs</td>' in html


def test_too_few_runs_have_a_fan_but_no_interval_and_say_so(tmp_path: Path) -> None:
    few = an.load(recorded(tmp_path, {"triage": 2}, runs=3))
    demand = an.forecast(few, an.Plan(tasks_per_day=1e5), bands=True)
    html = section_html(forecast_section(demand, ""))
    assert "too few runs of some kind" in html
    assert "too few runs</td>" in html
    assert '<th scope="row">Tasks</th><td>100k</td><td>as planned</td>' in html
    assert "What to record next" not in html
    assert "50 % band" in html


def test_a_fleet_that_is_mostly_idle_is_called_so(calls: pd.DataFrame) -> None:
    busy, idle = (demand_of(calls, tasks_per_day={"triage": volume}) for volume in (1e6, 10.0))
    told = "Most instants have no call in flight"
    assert told in section_html(forecast_section(idle, ""))
    assert told not in section_html(forecast_section(busy, ""))


def test_without_a_forecast_the_section_says_why() -> None:
    html = section_html(forecast_section(None, "There is no forecast: no call has a duration."))
    assert "no call has a duration" in html
    assert "figure" not in html


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return exit_.value.code if isinstance(exit_.value.code, int) else 0


def test_the_command_shows_the_plans_forecast_in_place_of_a_days_demand(tmp_path: Path) -> None:
    store, plan, out = recorded(tmp_path, {"triage": 3}), tmp_path / "fleet.yaml", tmp_path / "report.html"
    plan.write_text("tasks_per_day: {triage: 5000}\n", encoding="utf-8")
    assert run("report", store, "--plan", plan, "-o", out) == 0
    page = out.read_text(encoding="utf-8")
    assert '<section id="forecast"' in page
    assert '<section id="demand"' not in page
    assert "<code>fleet.yaml</code>" in page


def test_a_plan_that_does_not_fit_the_store_makes_no_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, plan, out = recorded(tmp_path, {"triage": 3}), tmp_path / "fleet.yaml", tmp_path / "report.html"
    plan.write_text("tasks_per_day: {triagge: 5000}\n", encoding="utf-8")
    assert run("report", store, "--plan", plan, "-o", out) == 1
    assert "did you mean 'triage'" in capsys.readouterr().err
    assert not out.exists()
    assert run("report", store, "--plan", plan, "--shape", "flat", "-o", out) == 2


def test_the_live_page_the_report_and_the_command_forecast_the_same_without_a_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, out = recorded(tmp_path, {"triage": 3, "research": 8}), tmp_path / "report.html"
    live = build_report(str(store))
    assert run("report", store, "-o", out) == 0
    assert page_parts(live)["demand"] in out.read_text(encoding="utf-8")
    capsys.readouterr()
    assert run("forecast", store, "--tasks-per-day", "1e6", "--shape", "business_day", "--json") == 0
    told = _means(json.loads(capsys.readouterr().out)["totals"])
    assert live.demand is not None
    assert _means(live.demand[live.demand["bucket_start"] < 0].to_dict("records")) == pytest.approx(told)
    assert ("calls", "mean_low") in told


def _means(rows: list[dict[Any, Any]]) -> dict[tuple[str, str], float]:
    """Return means and their intervals; peaks differ, as the page has buckets of another length."""
    return {(row["resource"], row["statistic"]): row["value"] for row in rows if row["statistic"].startswith("mean")}
