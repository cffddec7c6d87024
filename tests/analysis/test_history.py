"""Reading a recorded demand, and the commands that forecast and judge it."""

import json
import lzma
import os
import sqlite3
import tracemalloc
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from tokenflation.analysis.history.reading import History, as_rate, read_history, read_kinds
from tokenflation.analysis.history.recorded import task_arrivals
from tokenflation.cli import main
from tokenflation.cli.backtest import command as backtest
from tokenflation.cli.forecast import command as forecast
from tokenflation.sdk.errors import FrameError, PlanError, StoreError, TokenflationError
from tokenflation.sdk.records import Call
from tokenflation.sdk.store.write import Batch, open_writer

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "demand"


def written(folder: Path, text: str, name: str = "demand.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def hourly(folder: Path, hours: int = 170) -> Path:
    rows = [f"{hour * 3600},{100 + 50 * np.sin(2 * np.pi * hour / 24) + hour % 7:.2f}" for hour in range(hours)]
    return written(folder, "\n".join(["t_s,req_per_s", *rows]))


def test_rows_that_are_missing_become_gaps(tmp_path: Path) -> None:
    found = read_history(written(tmp_path, "time,count\n0,5\n60,6\n240,7\n300,8\n360,9\n"))
    assert found.bin_s == 60
    np.testing.assert_array_equal(found.values, [5, 6, np.nan, np.nan, 7, 8, 9])


def test_dates_are_read_whatever_their_zone(tmp_path: Path) -> None:
    text = "date,count\n2025-01-06T00:00:00Z,1\n2025-01-06T02:00:00+01:00,2\n2025-01-06T02:00:00Z,3\n"
    found = read_history(written(tmp_path, text))
    assert (found.start_s, found.bin_s, found.values.tolist()) == (1736121600.0, 3600.0, [1.0, 2.0, 3.0])


def test_dates_alone_and_times_of_one_zone_are_no_mixture_of_zones(tmp_path: Path) -> None:
    for times in (("2025-01-06", "2025-01-07"), ("2025-01-06 00:00-0500", "2025-01-07 00:00-05:00")):
        found = read_history(written(tmp_path, "".join(["time,count\n", *(f"{one},1\n" for one in times)])))
        assert found.bin_s == 86_400.0


def test_rows_may_come_in_any_order_and_the_last_of_a_time_counts(tmp_path: Path) -> None:
    found = read_history(written(tmp_path, "t_s,n\n120,3\n0,1\n60,2\n60,9\n"))
    assert found.values.tolist() == [1.0, 9.0, 3.0]


def test_times_that_stray_from_their_grid_are_put_on_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    # Two weeks of minutes: by the median step of what strays, the last bins would be off by some.
    times = 1.7e9 + 60 * np.arange(20_000) + np.round(rng.normal(0, 0.9, 20_000), 3)
    rows = "".join(f"{time:.3f},{number}\n" for number, time in enumerate(times.tolist()))
    found = read_history(written(tmp_path, f"time,count\n{rows}"))
    assert (found.bin_s, len(found.values)) == (60.0, 20_000)
    assert found.values.tolist() == list(range(20_000))


def test_a_grid_of_its_own_is_kept_however_near_a_usual_one(tmp_path: Path) -> None:
    rows = "".join(f"{59.7 * number!r},{number}\n" for number in range(2_000))
    assert read_history(written(tmp_path, f"time,count\n{rows}")).bin_s == pytest.approx(59.7)


def test_years_beyond_what_nanoseconds_tell_are_read(tmp_path: Path) -> None:
    text = "date,count\n2300-01-06T00:00:00Z,1\n2300-01-06T01:00:00Z,2\n"
    found = read_history(written(tmp_path, text))
    assert (found.start_s, found.bin_s) == (10414224000.0, 3600.0)


def test_days_stand_before_months_where_one_of_them_can_only_be_a_day(tmp_path: Path) -> None:
    text = "date,count\n" + "".join(f"{day:02d}/04/2025 00:00,{day}\n" for day in range(1, 15))
    found = read_history(written(tmp_path, text))
    assert (found.start_s, found.bin_s) == (1743465600.0, 86400.0)
    assert found.values.tolist() == [float(day) for day in range(1, 15)]


@pytest.mark.parametrize("mark", [";", "\t"])
def test_fields_may_be_parted_by_semicolons_or_tabs(tmp_path: Path, mark: str) -> None:
    text = "time,count\n0,5\n60,6\n120,7".replace(",", mark)
    assert read_history(written(tmp_path, text)).values.tolist() == [5.0, 6.0, 7.0]


def test_requests_are_taken_before_other_numbers_and_a_time_may_stand_last(tmp_path: Path) -> None:
    text = "errors,Requests,Time\n1,50,0\n0,60,60\n2,70,120\n"
    assert read_history(written(tmp_path, text)).values.tolist() == [50.0, 60.0, 70.0]


def test_hourly_sums_of_tokens_are_bins_and_not_one_request_an_hour(tmp_path: Path) -> None:
    rows = "\n".join(f"{3600 * hour},{100 + hour},{10 + hour}" for hour in range(60))
    found = read_history(written(tmp_path, f"time,input_tokens,output_tokens\n{rows}\n"), column="output_tokens")
    assert found.values.tolist() == [10.0 + hour for hour in range(60)]


def test_rows_of_several_kinds_at_one_time_add_up(tmp_path: Path) -> None:
    text = "time,kind,tasks\n0,a,1\n0,b,10\n60,a,2\n60,b,20\n120,b,30\n"
    assert read_history(written(tmp_path, text)).values.tolist() == [11.0, 22.0, 30.0]


@pytest.mark.parametrize(
    "text",
    [
        "time,kind,tasks\n0,a,1\n0,b,10\n60,a,2\n120,a,3\n120,b,30\n240,b,20\n",
        "time,a,b\n0,1,10\n60,2,0\n120,3,30\n240,0,20\n",
    ],
)
def test_kinds_are_read_from_columns_of_theirs_or_from_one_that_names_them(tmp_path: Path, text: str) -> None:
    found = read_kinds(written(tmp_path, text), ["a", "b"])
    assert found is not None
    np.testing.assert_allclose(60 * found["a"].values, [1, 2, 3, np.nan, 0])
    np.testing.assert_allclose(60 * found["b"].values, [10, 0, 30, np.nan, 20])


def test_a_file_that_names_no_kind_counts_tasks_of_none(tmp_path: Path) -> None:
    assert read_kinds(written(tmp_path, "time,count\n0,1\n60,2\n"), ["a", "b"]) is None


@pytest.mark.parametrize(
    ("unit", "times"), [("tasks per bin", 600), ("tasks/s", 1), ("req/min", 60), ("req/hour", 3600)]
)
def test_tasks_are_counted_per_second_whatever_their_unit(unit: str, times: float) -> None:
    assert as_rate(History("x", 0.0, 600.0, np.array([times * 2.0]), unit)).values == pytest.approx([2.0])


def test_a_unit_of_no_known_time_is_refused() -> None:
    with pytest.raises(FrameError, match="per 'user'"):
        as_rate(History("req_per_user", 0.0, 600.0, np.ones(3), "req/user"))


def test_milliseconds_are_told_by_their_size(tmp_path: Path) -> None:
    found = read_history(written(tmp_path, "time,n\n1736121600000,1\n1736121660000,2\n"))
    assert (found.start_s, found.bin_s) == (1736121600.0, 60.0)


@pytest.mark.parametrize(("name", "bin_s"), [("hour", 3600.0), ("Day", 86_400.0), ("minute", 60.0), ("time", 1.0)])
def test_a_column_of_hours_or_days_counts_these(tmp_path: Path, name: str, bin_s: float) -> None:
    assert read_history(written(tmp_path, f"{name},count\n0,5\n1,6\n2,7\n")).bin_s == bin_s


def test_a_column_of_hours_may_hold_unix_seconds(tmp_path: Path) -> None:
    assert read_history(written(tmp_path, "hour,count\n1736121600,5\n1736125200,6\n")).bin_s == 3600.0


def test_a_trace_of_requests_becomes_their_rate(tmp_path: Path) -> None:
    rows = "\n".join(f"2023-11-16 18:{minute:02d}:{second:02d}.5,100,10" for minute in range(60) for second in (0, 30))
    path = written(tmp_path, f"TIMESTAMP,ContextTokens,GeneratedTokens\n{rows}\n")
    assert read_history(path).values.tolist() == pytest.approx([2 / 60] * 59)
    assert read_history(path, column="input_tokens").values.tolist() == pytest.approx([200 / 60] * 59)


def test_a_trace_of_burstgpt_is_one_of_requests(tmp_path: Path) -> None:
    rows = "\n".join(f"{20.5 * number + number % 7},ChatGPT,100,10,110,API log" for number in range(180))
    header = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"
    path = written(tmp_path, f"{header}\n{rows}\n")
    found, tokens = read_history(path), read_history(path, column="output_tokens")
    assert (found.unit, found.values.sum() * found.bin_s) == ("requests/s", pytest.approx(180, abs=3))
    assert tokens.values == pytest.approx(10 * found.values)


def test_a_record_too_short_to_forecast_is_told_where_a_shorter_step_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "time,n\n" + "".join(f"{60 * minute},5\n" for minute in range(300)))
    with pytest.raises(SystemExit) as end:
        main(["forecast", "--history", str(path)])
    assert (end.value.code, "or give --step 360." in capsys.readouterr().err) == (1, True)

    with pytest.raises(SystemExit) as end:
        main(["forecast", "--history", str(path), "--step", "120", "--json"])
    found = json.loads(capsys.readouterr().out)
    starts = [row["bucket_start"] for row in found["buckets"] if row["statistic"] == "mean"]
    assert (end.value.code, found["manifest"]["step_s"], len(starts)) == (0, 120, 24)
    assert starts[:3] == [18_000, 18_120, 18_240]


def test_a_compressed_trace_in_milliseconds_is_read(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl.xz"
    lines = [json.dumps({"timestamp": 1000 * second, "input_length": 5, "output_length": 1, "hash_ids": [1]})
             for second in range(0, 3600, 2)]  # fmt: skip
    path.write_bytes(lzma.compress("\n".join(lines).encode()))
    assert read_history(path).values.mean() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no rows.*a line that names them"),
        ("time,count\n", "no rows"),
        ('time,count\n0,"5\n', "cannot be read.*Give CSV in UTF-8 whose first line names its columns"),
        ("time,count\nnever,5\nsoon,6\n", "does not hold times"),
        ("time,count\n0,5\n0,6\n", "all rows have one time"),
        ("time,count\n60,5\n", "one row with a time"),
        ("time,count\n0,many\n60,few\n120,none\n", "column 'count' holds many, no number"),
        ("time,count\n0,5\n60,1e300\n120,5\n", "line 3: column 'count' holds 1e"),
        ("time,size\n0,5\n7,6\n19,1\n21,5\n38,1\n52,4\n53,1\n69,2\n75,1\n", "no grid .*or, if each row is a request"),
        ("time,count\n0,5\n60,-6\n120,5\n", "line 3: column 'count' holds -6"),
        ("time,count\n0,5\n60,oops\n120,5\n180,6\n", "line 3: column 'count' holds oops"),
        ("time,count\n0,1\n60,inf\n120,5\n180,6\n", "line 3: column 'count' holds inf"),
        ('time,count\n0,"1,000"\n60,"2,000"\n', "without other separators"),
        ("time;count\n0;1,5\n60;2,5\n", "a point before decimals"),
        ("time,count\n1700000000,5\n1700000060,6\n1700000120000,7\n1700000180000,9\n", "seconds or milliseconds"),
        (
            "time,count\n2025-01-01,5\nyesterday,6\n2025-01-03,5\n2025-01-04,5\n",
            "line 3: column 'time' holds yesterday",
        ),
        ("count\n5\n4\n6\n", "no column of times"),
        ("2025-01-01 00:00,5\n2025-01-01 01:00,6\n", "a value and no name"),
        ("time,count\n00:00,5\n01:00,6\n00:00,5\n01:00,6\n", "2 times; give dates"),
        ("time,count\n0,5\n1,6\n1e15,7\n2,8\n", "check its times"),
        (
            "time,count\n2025-01-01T00:00Z,5\n2025-01-01T01:00,6\n2025-01-01T02:00Z,6\n",
            "line 3: .*without a zone, while line 2",
        ),
        (
            "month,count\n2025-01,5\n2025-02,6\n2025-03,6\n2025-04,6\n",
            "months differ in length; give demand by the day",
        ),
        ("date,count\n1/1/2025 1:00 PM,5\n1/1/2025 2:00 PM GMT,6\n", "line 2: .*without a zone, while line 3"),
    ],
)
def test_what_is_no_series_is_refused_with_the_reason(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(FrameError, match=why):
        read_history(written(tmp_path, text))


def test_an_address_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(FrameError, match="is an address: write what it leads to to a file"):
        read_history("http://models.test/demand.csv")


@pytest.mark.parametrize(
    ("name", "times", "why"),
    [
        ("time", map(str, range(500)), ["read as seconds from 0 to 500; if they count something else", "--step 10."]),
        (
            "time",
            ("2025-01-01", "2025-01-02", "2025-01-03"),
            ["from 2025-01-01 00:00 to 2025-01-04 00:00", "record longer."],
        ),
    ],
)
def test_a_record_too_short_is_refused_with_what_was_read_of_its_times(
    name: str, times: Iterable[str], why: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, f"{name},requests\n" + "".join(f"{at},5\n" for at in times))
    with pytest.raises(SystemExit) as end:
        main(["forecast", "--history", str(path)])
    said = capsys.readouterr().err
    assert (end.value.code, [part for part in why if part not in said]) == (1, [])


def test_a_json_array_of_bins_is_read_as_its_lines_would_be(tmp_path: Path) -> None:
    bins = [{"time": 60 * number, "requests": number} for number in range(5)]
    for name, text in (("lines.jsonl", "\n".join(map(json.dumps, bins))), ("array.json", json.dumps(bins, indent=1))):
        (tmp_path / name).write_text(text)
    lines, array = (read_history(tmp_path / name) for name in ("lines.jsonl", "array.json"))
    assert array.values.tolist() == lines.values.tolist() == [0, 1, 2, 3, 4]


def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="req_per_s"):
        read_history(hourly(tmp_path), column="tokens")


@pytest.mark.shared_data
def test_every_recorded_demand_at_hand_is_read_as_a_series() -> None:
    paths = sorted(DATA.glob("*")) if DATA.is_dir() else []
    if not paths:
        pytest.skip("the shared data is not there")
    assert all(len(read_history(path).values) >= 50 for path in paths)


def test_a_file_alone_is_forecast_hour_by_hour(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        forecast, ["--history", str(hourly(tmp_path)), "--hours", "3", "--json"], catch_exceptions=False
    )
    buckets = json.loads(done.stdout)["buckets"]
    assert [row["bucket_start"] for row in buckets if row["statistic"] == "mean"] == [612000.0, 615600.0, 619200.0]
    assert all(row["low"] < row["mean"] < row["high"] for row in wide(buckets))


def test_the_table_says_how_long_the_bins_are_that_its_numbers_are_of(tmp_path: Path) -> None:
    bins = pd.date_range("2026-03-01", periods=5 * 96, freq="15min", tz="Asia/Kathmandu").strftime("%Y-%m-%dT%H:%M%z")
    path = written(tmp_path, "time,calls\n" + "".join(f"{at},{50 + number % 3}\n" for number, at in enumerate(bins)))
    shown = CliRunner().invoke(forecast, ["--history", str(path)], catch_exceptions=False).stdout
    assert "calls per bin of 15 min" in shown
    assert "2026-03-05 18:15" in shown
    assert "Steps start in UTC" in " ".join(shown.split())


def test_hours_ahead_are_hours_also_where_steps_or_bins_are_not(tmp_path: Path) -> None:
    days = written(tmp_path, "t_s,n\n" + "".join(f"{86_400 * day},{100 + day % 7}\n" for day in range(110)))
    with pytest.raises(PlanError, match="48 hours are 2,880 steps of 60 s, and a forecast is of 336 at most"):
        CliRunner().invoke(forecast, ["--history", str(days), "--hours", "48", "--step", "60"], catch_exceptions=False)
    for given, steps in ((["--hours", "48"], 2), (["--hours", "48", "--step", "172800"], 1)):
        arguments = ["--history", str(days), *given, "--json"]
        buckets = json.loads(CliRunner().invoke(forecast, arguments, catch_exceptions=False).stdout)["buckets"]
        assert len(wide(buckets)) == steps


def wide(buckets: list[dict[str, float]]) -> list[dict[str, float]]:
    by_start: dict[float, dict[str, float]] = {}
    for row in buckets:
        by_start.setdefault(row["bucket_start"], {})[str(row["statistic"])] = row["value"]
    return list(by_start.values())


def test_months_ahead_are_asked_for_by_scenario(tmp_path: Path) -> None:
    arguments = ["--history", str(hourly(tmp_path)), "--months", "2", "--growth", "high=0.1", "--csv"]
    done = CliRunner().invoke(forecast, arguments, catch_exceptions=False)
    assert done.stdout.splitlines()[0] == "scenario,month,statistic,value,unit"
    assert len(done.stdout.splitlines()) == 1 + 2 * 4


def test_months_of_a_few_requests_an_hour_are_told_by_the_hour(tmp_path: Path) -> None:
    text = "\n".join(["t_s,req_per_s", *(f"{hour * 3600},{0.002 + hour % 2 / 1000}" for hour in range(240))])
    options = ["--history", str(written(tmp_path, text)), "--months", "1"]
    page = CliRunner().invoke(forecast, options, catch_exceptions=False).stdout
    assert "/h\n" in page.replace(" ", "")
    (row,) = [line for line in page.splitlines() if "none" in line]
    assert float(row.split("│")[3]) == pytest.approx(9, rel=0.05)


def test_tasks_of_a_store_are_forecast_by_kind_with_what_they_take(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        forecast, ["--history", str(store(tmp_path)), "--hours", "2", "--json"], catch_exceptions=False
    )
    means = {(row["task"], row["resource"]): row["value"] for row in json.loads(done.stdout)["buckets"]
             if row["statistic"] == "mean"}  # fmt: skip
    assert means["triage", "tasks_per_s"] == pytest.approx(1 / 1200, rel=0.15)
    assert means["all", "input_tokens_per_s"] == pytest.approx(200 * means["all", "tasks_per_s"])


def test_a_baseline_of_a_record_is_no_part_of_the_fleet_and_said_to_be_none(tmp_path: Path) -> None:
    path = store(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("update calls set task = 'once' where task_id in ('0', '1') and step = 0")
        connection.execute("delete from calls where task_id in ('0', '1') and step = 1")
        connection.commit()
    done = CliRunner().invoke(forecast, ["--history", str(path), "--hours", "2", "--json"], catch_exceptions=False)
    assert {row["task"] for row in json.loads(done.stdout)["buckets"]} == {"triage", "all"}
    assert done.stderr.count("The baseline, once, is no part of the fleet.") == 1


def test_a_backtest_leaves_out_a_baseline_as_the_forecast_does_unless_it_is_asked_for(tmp_path: Path) -> None:
    path, without = store(tmp_path), tmp_path / "without.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("update calls set task = 'once' where cast(task_id as int) % 3 = 0 and step = 0")
        connection.execute("delete from calls where task = 'triage' and cast(task_id as int) % 3 = 0")
        connection.commit()
        connection.execute("vacuum into ?", [str(without)])
    with closing(sqlite3.connect(without)) as connection:
        connection.execute("delete from calls where task = 'once'")
        connection.commit()
    judged, expected = (
        CliRunner().invoke(backtest, [str(one), "--json"], catch_exceptions=False) for one in (path, without)
    )
    assert json.loads(judged.stdout)["models"] == json.loads(expected.stdout)["models"]
    assert (judged.stderr, expected.stderr) == ("The baseline, once, is no part of the fleet.\n", "")
    alone = CliRunner().invoke(backtest, [str(path), "--task", "once", "--json"], catch_exceptions=False)
    assert (json.loads(alone.stdout)["manifest"]["series"], alone.stderr) == ("once", "")


def test_what_no_call_of_a_record_reports_is_said_once_and_not_step_by_step(tmp_path: Path) -> None:
    path = store(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("update calls set output_tokens = null")
        connection.commit()
    shown = CliRunner().invoke(forecast, ["--history", str(path), "--hours", "2"], catch_exceptions=False).stdout
    assert "output: not reported by the record." in shown
    assert "too short a record" not in shown


def test_a_file_of_counts_beside_a_store_is_forecast_in_tasks_per_second(tmp_path: Path) -> None:
    rows = "\n".join(f"{3600 * hour},7200" for hour in range(72))
    given = [
        str(store(tmp_path)),
        "--history",
        str(written(tmp_path, f"time,tasks\n{rows}\n")),
        "--hours",
        "1",
        "--json",
    ]
    done = CliRunner().invoke(forecast, given, catch_exceptions=False)
    means = {(row["task"], row["resource"]): row["value"] for row in json.loads(done.stdout)["buckets"]
             if row["statistic"] == "mean"}  # fmt: skip
    assert means["triage", "tasks_per_s"] == pytest.approx(2.0)
    assert means["all", "input_tokens_per_s"] == pytest.approx(400.0)


def store(folder: Path) -> Path:
    """Return a store of three days with a task of two calls every twenty minutes."""
    calls = []
    for number in range(3 * 72):
        for step in range(2):
            start = (1_736_121_600 + 1200 * number + step) * 10**9
            calls.append(Call(call_id=f"{number}-{step}", trace_id=str(number), task="triage", task_id=str(number),
                              agent="a", agent_run_id=str(number), step=step, provider="openai", api="openai.chat",
                              model="m", started_at_ns=start, ended_at_ns=start + 10**8, duration_s=0.1, stream=False,
                              input_tokens=100, output_tokens=10, usage_source="provider",
                              usage_complete=True))  # fmt: skip
    path = folder / "runs.db"
    writer = open_writer(path)
    writer.write(Batch(calls=calls))
    writer.close()
    return path


def test_a_backtest_names_every_model_and_says_how_many_gaps_there_are(tmp_path: Path) -> None:
    done = CliRunner().invoke(backtest, [str(hourly(tmp_path, 100))], catch_exceptions=False)
    assert "ensemble" in done.stdout
    assert "0 bins are gaps" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--history", "X", "--tasks-per-day", "5"],
        ["--months", "2"],
        ["--history", "X", "--growth", "a=1"],
        [],
        ["runs.db", "--tasks-per-day", "5", "--step", "60"],
        ["runs.db", "--tasks-per-day", "5", "--hours", "2"],
        ["--history", "X", "--months", "2", "--step", "60"],
        ["--history", "X", "--months", "2", "--hours", "5"],
        ["--history", "X", "--step", "nan"],
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(tmp_path: Path, arguments: list[str]) -> None:
    given = [str(hourly(tmp_path)) if one == "X" else one for one in arguments]
    assert CliRunner().invoke(forecast, given).exit_code == 2


def test_two_minutes_by_the_second_are_judged_without_a_day_of_seconds(tmp_path: Path) -> None:
    # Each step once took sums over all 86,400 seconds of a day and the four hours around each.
    path = written(tmp_path, "t_s,count\n" + "".join(f"{at},{5 + at % 3}\n" for at in range(120)))
    tracemalloc.start()
    done = CliRunner().invoke(backtest, [str(path)], catch_exceptions=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "steps of 1 s" in done.stdout
    assert peak < 40_000_000


def test_a_backtest_by_steps_that_are_no_multiple_of_a_bin_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenflationError):
        CliRunner().invoke(backtest, [str(hourly(tmp_path)), "--step", "1000"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--level", "2"], "not in the range"),
        (["--level", "x"], "'x' is not a valid number."),
        (["--step", "-1"], "not in the range"),
        (["--step", "inf"], "'inf' is not a valid number."),
        (["--first", "0"], "not in the range"),
        (["--first", "1.5"], "'1.5' is not a valid whole number."),
    ],
)
def test_an_option_that_is_no_such_number_is_refused_in_plain_words(
    tmp_path: Path, options: list[str], why: str
) -> None:
    done = CliRunner().invoke(backtest, [str(hourly(tmp_path)), *options])
    assert done.exit_code == 2
    assert why in done.stderr


@pytest.mark.parametrize(
    ("ids", "why"), [(["a", "b"], "2 tasks that all start at one time"), (["a"], "holds one task")]
)
def test_a_store_whose_tasks_have_no_dates_is_no_demand_over_time(ids: list[str], why: str) -> None:
    calls = pd.DataFrame({"task": "triage", "task_id": ids, "started_at_ns": 0})
    with pytest.raises(FrameError, match=f"{why}.*; a series needs demand over time"):
        task_arrivals(calls)


def test_a_folder_and_a_missing_file_are_called_so(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="is a folder; give the path of a CSV"):
        read_history(tmp_path)
    with pytest.raises(FrameError, match="is not there; give the path of a CSV"):
        read_history(tmp_path / "none.csv")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_record_that_may_not_be_read_is_told_from_one_that_is_no_table(tmp_path: Path) -> None:
    path = hourly(tmp_path)
    path.chmod(0)
    with pytest.raises(StoreError, match=r"Permission denied\. Check the file's permissions"):
        backtest.main([str(path)], standalone_mode=False)
