"""How forecasts of recorded demand do on production series, beside what others use, with and without gaps.

Series: `servegen_10min_*.csv` of two weeks, requests and tokens (input + output). Days 1 to 7 start, days 8 to 14 are
forecast from every hour (`hour-ahead`) and at every midnight for 24 hours (`day-ahead`); every forecast sees only what
was recorded before it. `WAPE all` judges every hour as recorded, outages as zeros; `WAPE` leaves out hours that are
mostly outage. Capacity is at 1 % short 10-minute bins over mean demand, with a headroom found in hindsight for every
row alike; the second figure of ours is the bound that we would have provided, with the share of bins short, without
hindsight. A week has seven midnights, and one day off is a seventh: coverage of a day ahead is also judged from every
hour.

    python bench/demand_backtest.py [--data ../shared/data/demand] [--others PYTHON|none] [--only TEXT] [--limit S]
    python bench/demand_backtest.py --gaps [--only TEXT]

`--others` is the Python of an environment with statsforecast, prophet and pmdarima; by default one is made in a
temporary folder (`venv`, pip; a minute). On two cores they take all of `--limit` (a quarter of an hour; each that has
finished is named on standard error), ours 1 to 3 s a series: see ours alone by `--others none`. What cannot be
installed or run is said so, not left out in silence. `--gaps` damages the series in twenty ways instead
(demand_gaps.py).
"""

import argparse
import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from demand_gaps import gap_table
from numpy.typing import NDArray

from tokenflation.analysis.history.backtest import backtest, judged, naive_error
from tokenflation.analysis.history.backtesting import roll
from tokenflation.analysis.history.gaps import find_gaps
from tokenflation.analysis.history.reading import History
from tokenflation.analysis.history.rows import read_table

Floats = NDArray[np.float64]

HERE = Path(__file__).resolve().parent
FIRST = 168
BARS = {("m-large", "requests", "next step"): 0.155, ("m-small", "requests", "next step"): 0.145,
        ("m-large", "tokens", "next step"): 0.24, ("m-large", "requests", "next day"): 0.33,
        ("m-small", "requests", "next day"): 0.18}  # fmt: skip
CAPACITY_BARS = {"m-large": 1.90, "m-small": 1.95}


def series(data: Path) -> dict[tuple[str, str], History]:
    """Return requests and tokens of every file that holds two weeks."""
    found = {}
    for path in sorted(data.glob("servegen_10min_*.csv")):
        table = read_table(path)
        if len(table) * 600 < 14 * 86_400:
            continue
        name = path.stem.removeprefix("servegen_10min_")
        columns = {"requests": table["req_per_s"], "tokens": table["input_tok_per_s"] + table["output_tok_per_s"]}
        for of, values in columns.items():
            found[name, of] = History(
                of, float(table["t_s"].iloc[0]), 600.0, values.to_numpy(dtype=np.float64), f"{of}/s"
            )
    return found


def environment(folder: Path) -> tuple[str | None, str]:
    """Return the Python of a new environment with the other forecasters, and what could not be installed."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    failed = []
    for package in ("statsforecast", "prophet", "pmdarima"):
        done = subprocess.run(
            [python, "-m", "pip", "install", "-q", package], capture_output=True, text=True, check=False
        )
        if done.returncode:
            failed.append(f"{package} could not be installed: {done.stderr.strip().splitlines()[-1:]}")
    return python, "; ".join(failed)


def others(python: str, chosen: dict[tuple[str, str], History], limit_s: float) -> pd.DataFrame:
    """Return the figures of the other forecasters on every series, as `backtest` has them; say which did not run."""
    hours = {
        " ".join(key): np.nan_to_num(one.values).reshape(-1, 6).mean(axis=1).tolist() for key, one in chosen.items()
    }
    command = [python, str(HERE / "demand_predictors.py")]
    running = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert running.stdin is not None
    assert running.stdout is not None
    end = functools.partial(os.killpg, running.pid, signal.SIGKILL)
    ended = threading.Timer(limit_s, end)
    ended.start()
    try:
        # One that could not even start has closed its end.
        with contextlib.suppress(BrokenPipeError), running.stdin:
            running.stdin.write(json.dumps({"series": hours, "first": FIRST}))
        made = _as_they_finish(running.stdout)
    except BaseException:
        end()
        raise
    finally:
        ended.cancel()
    if running.wait() == -signal.SIGKILL:
        print(f"  the other forecasters were ended after {limit_s:g} s; what had finished follows")
    if running.returncode > 0:
        print(f"  the other forecasters stopped with code {running.returncode}; is {python} an environment with them?")
    spent: dict[str, float] = {}
    for one in made:
        spent[one["name"]] = spent.get(one["name"], 0.0) + one["cpu_s"]
        if one["error"]:
            print(f"  {one['name']} did not run on {one['series']}: {one['error']}")
    print("  processor seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in spent.items()))
    rows = [row for one in made for key, history in chosen.items() if " ".join(key) == one["series"]
            for row in other_rows(one, history)]  # fmt: skip
    return pd.DataFrame(rows)


def _as_they_finish(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Return what each forecaster made of each series, and say on standard error how far they are."""
    began, made = time.perf_counter(), []
    for line in lines:
        # What was being written when time was up has no end.
        if line.endswith("\n"):
            made.append(json.loads(line))
            passed_s = time.perf_counter() - began
            print(f"  {passed_s:4.0f} s: {made[-1]['name']} on {made[-1]['series']}", file=sys.stderr, flush=True)
    return made


def other_rows(made: dict[str, Any], history: History) -> list[dict[str, Any]]:
    bins = history.values.reshape(-1, 6)
    gaps = find_gaps(history.values, history.bin_s).reshape(-1, 6)
    known = np.where(gaps, 0, bins).sum(axis=1) / np.maximum((~gaps).sum(axis=1), 1)
    truth = np.where((~gaps).sum(axis=1) >= 3, known, np.nan)
    naive = naive_error(truth[:FIRST], 24)
    raw = np.nan_to_num(bins).mean(axis=1)[FIRST:]
    rows = []
    for ahead, given in (("next step", made["hour"]), ("next day", made["day"])):
        if not given:
            continue
        middle, low, high = np.array(given, dtype=np.float64).T
        bounds = {} if np.isnan(low).all() else {"low": low, "high": high, "provision": np.full(len(low), np.nan)}
        figures = judged(middle, truth[FIRST:], raw, bins[FIRST:], bounds=bounds)
        mase = float(np.nanmean(np.abs(middle - truth[FIRST:]))) / naive
        rows.append({"series": made["series"], "ahead": ahead, "model": made["name"], "mase": mase,
                     **figures})  # fmt: skip
    return rows


def show(rows: pd.DataFrame) -> None:
    print(f"  {'model':28} {'WAPE all':>8} {'WAPE':>7} {'MASE':>6} {'pinball':>7} {'inside 90 %':>11} {'capacity':>8} "
          f"{'provided':>8} {'short':>6}")  # fmt: skip
    for row in rows.sort_values("wape_all").to_dict("records"):
        figures = [
            row.get(name, np.nan) for name in ("mase", "pinball", "coverage", "provisioned", "provided", "short")
        ]
        cells = ["-" if pd.isna(value) or value > 1e6 else f"{value:.3f}" for value in figures]
        print(f"  {row['model']:28} {row['wape_all']:8.4f} {row['wape']:7.4f} {cells[0]:>6} {cells[1]:>7} {cells[2]:>11} "
              f"{cells[3]:>8} {cells[4]:>8} {cells[5]:>6}")  # fmt: skip


def verdicts(key: tuple[str, str], ours: pd.DataFrame) -> list[str]:
    said = []
    for ahead in ("next step", "next day"):
        row = ours[(ours["ahead"] == ahead) & (ours["model"] == "ensemble")].iloc[0]
        if (bar := BARS.get((*key, ahead))) is not None:
            said.append(
                f"{ahead}: WAPE {row['wape_all']:.4f}, bar {bar}: {'met' if row['wape_all'] <= bar else 'MISSED'}"
            )
        good = 0.87 <= row["coverage"] <= 0.93
        said.append(f"{ahead}: coverage {row['coverage']:.3f}, bar 0.87 to 0.93: {'met' if good else 'MISSED'}")
        if ahead == "next step" and key[1] == "requests" and (most := CAPACITY_BARS.get(key[0])) is not None:
            met = "met" if row["provisioned"] < most else "MISSED"
            said.append(f"{ahead}: capacity {row['provisioned']:.3f}, bar {most}: {met}")
    return said


def from_every_hour(history: History) -> str:
    rolled = roll(history.values, history.bin_s, step_s=3600.0, horizon=24)
    inside = []
    for row, origin in enumerate(rolled.origins):
        truth = rolled.steps[origin : origin + 24]
        low, high = (one[row, : len(truth)] for one in (rolled.low, rolled.high))
        if origin >= FIRST:
            inside += list(((truth >= low) & (truth <= high))[np.isfinite(truth) & np.isfinite(high)])
    met = "met" if 0.87 <= np.mean(inside) <= 0.93 else "MISSED"
    return f"next day from every hour: coverage {np.mean(inside):.3f}, bar 0.87 to 0.93: {met}"


def compare(chosen: dict[tuple[str, str], History], python: str | None, limit_s: float) -> list[str]:
    """Print a table for every series and distance; return what holds of the bars."""
    began = time.perf_counter()
    theirs = pd.DataFrame() if python is None else others(python, chosen, limit_s)
    if python is not None:
        print(f"the other forecasters took {time.perf_counter() - began:.0f} s")
    said = []
    for key, history in chosen.items():
        began = time.perf_counter()
        ours = backtest(history, step_s=3600.0, first=FIRST)
        spent = time.perf_counter() - began
        beside = theirs[theirs["series"] == " ".join(key)] if len(theirs) else theirs
        rows = pd.concat([ours, beside], ignore_index=True)
        for ahead, title in (("next step", "hour-ahead"), ("next day", "day-ahead")):
            print(f"\n{key[0]} {key[1]}: {title}, days 8 to 14 ({spent:.1f} s for ours)")
            show(rows[rows["ahead"] == ahead])
        said += [f"{' '.join(key)}, {one}" for one in (*verdicts(key, ours), from_every_hour(history))]
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data" / "demand")
    parser.add_argument("--others", default="make", help="Python with the other forecasters; `none` leaves them out")
    parser.add_argument("--only", default="", help="only series whose name holds this")
    parser.add_argument("--limit", type=float, default=900, help="seconds for all the others together")
    parser.add_argument("--gaps", action="store_true", help="damage the series on purpose instead of comparing")
    options = parser.parse_args()
    chosen = {key: one for key, one in series(options.data).items() if options.only in " ".join(key)}
    if options.gaps:
        wrong = [one for key, history in chosen.items() for one in gap_table(" ".join(key), history)]
        print("\nno silly value" if not wrong else "\nsilly values: " + "; ".join(wrong))
        return
    with tempfile.TemporaryDirectory() as folder:
        python: str | None = None if options.others == "none" else options.others
        if python == "make":
            python, failed = environment(Path(folder))
            print(failed or "the other forecasters' environment: statsforecast, prophet, pmdarima installed")
        said = compare(chosen, python, options.limit)
    print("\n" + "\n".join(said))


if __name__ == "__main__":
    main()
