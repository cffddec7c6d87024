"""How forecasts of recorded demand do on production series, beside what others use, with and without gaps.

Series: `servegen_10min_*.csv` of two weeks, requests and tokens (input + output). Days 1 to 7 start, days 8 to 14 are
forecast from every hour (`hour-ahead`) and at every midnight for 24 hours (`day-ahead`); every forecast sees only what was
recorded before it. `WAPE all` judges every hour as recorded, outages as zeros; `WAPE` leaves out hours that are mostly
outage. Capacity is at 1 % short 10-minute bins over mean demand, with a headroom found in hindsight for every row alike;
the second figure of ours is the bound that we would have provided, with the share of bins short, without hindsight.

    python bench/demand_backtest.py [--data ../shared/data/demand] [--others PYTHON|none] [--only TEXT] [--limit S]

`--others` is the Python of an environment with statsforecast, prophet and pmdarima; by default one is made in a temporary
folder (`venv`, pip; a minute). What cannot be installed or run is said so, not left out in silence.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.backtest import backtest, judged
from tokenflation.analysis.backtesting import roll
from tokenflation.analysis.gaps import find_gaps
from tokenflation.analysis.history import History, read_table

Floats = NDArray[np.float64]

HERE = Path(__file__).resolve().parent
FIRST = 168
BARS = {("m-large", "requests", "next step"): 0.155, ("m-small", "requests", "next step"): 0.145,
        ("m-large", "tokens", "next step"): 0.24, ("m-large", "requests", "next day"): 0.33,
        ("m-small", "requests", "next day"): 0.18}  # fmt: skip
CAPACITY_BARS = {"m-large": 1.90, "m-small": 1.95}
GAPS = ("none", "missing 10 %", "zeros 2 h a day", "zeros 20 h", "missing 2 days")


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


def others(python: str, history: History, limit_s: float) -> dict[str, dict[str, list[float]]]:
    from demand_predictors import PREDICTORS  # the names alone; they run in the other environment

    hours = np.nan_to_num(history.values).reshape(-1, 6).mean(axis=1).tolist()
    found: dict[str, dict[str, list[float]]] = {}
    for name in PREDICTORS:
        asked = json.dumps({"hours": hours, "first": FIRST, "names": [name]})
        command = [python, str(HERE / "demand_predictors.py")]
        try:
            done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False, timeout=limit_s)
        except subprocess.TimeoutExpired:
            print(f"  {name} did not finish within {limit_s:g} s")
            continue
        if done.returncode:
            print(f"  {name} could not run: {done.stderr.strip()[-300:]}")
            continue
        found |= json.loads(done.stdout[done.stdout.index('{"') :])
    return found


def other_rows(history: History, python: str, limit_s: float) -> pd.DataFrame:
    """Return the figures of the other forecasters, as `backtest` has them."""
    bins = history.values.reshape(-1, 6)
    gaps = find_gaps(history.values, history.bin_s).reshape(-1, 6)
    known = np.where(gaps, 0, bins).sum(axis=1) / np.maximum((~gaps).sum(axis=1), 1)
    truth = np.where((~gaps).sum(axis=1) >= 3, known, np.nan)[FIRST:]
    raw = np.nan_to_num(bins).mean(axis=1)[FIRST:]
    rows = []
    for name, made in others(python, history, limit_s).items():
        if made["error"]:
            print(f"  {name} did not run: {made['error']}")
            continue
        for ahead, middle in (("next step", made["hour"]), ("next day", made["day"])):
            if middle:
                rows.append({"ahead": ahead, "model": name, **judged(np.array(middle), truth, raw, bins[FIRST:])})
    return pd.DataFrame(rows)


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


def with_gaps(values: Floats, how: str, rng: np.random.Generator) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the series with gaps cut into it, and which bins were cut."""
    cut = np.zeros(len(values), dtype=np.bool_)
    if how == "missing 10 %":
        cut = rng.random(len(values)) < 0.1
    elif how == "zeros 2 h a day":
        for day in range(len(values) // 144):
            start = day * 144 + int(rng.integers(0, 132))
            cut[start : start + 12] = True
    elif how == "zeros 20 h":
        for start in (5 * 144 + 30, 10 * 144 + 60):
            cut[start : start + 120] = True
    elif how == "missing 2 days":
        cut[4 * 144 : 6 * 144] = True
    return np.where(cut, np.nan if how.startswith("missing") else 0.0, values), cut


def gap_table(key: tuple[str, str], history: History) -> None:
    """Print the error on hours that no cut touched, with each kind of gap."""
    print(f"\n{key[0]} {key[1]}: gaps cut into the series; WAPE on hours whose bins all stayed")
    print(
        f"  {'gaps':18} {'cut':>6} {'hour-ahead':>10} {'without':>8} {'day-ahead':>10} {'without':>8} {'inside 90 %':>11}"
    )
    whole = hindsight(history)
    for how in GAPS:
        values, cut = with_gaps(history.values, how, np.random.default_rng(1))
        made = hindsight(History(history.name, history.start_s, history.bin_s, values, history.unit))
        stayed = ~(cut | find_gaps(history.values, 600.0)).reshape(-1, 6).any(axis=1)[FIRST:]
        figures = []
        truth = np.nan_to_num(history.values).reshape(-1, 6).mean(axis=1)[FIRST:]
        for ahead in ("hour", "day"):
            for forecasts in (made, whole):
                figures.append(float(np.abs(forecasts[ahead] - truth)[stayed].sum() / truth[stayed].sum()))
        inside = float(((truth >= made["low"]) & (truth <= made["high"]))[stayed].mean())
        print(f"  {how:18} {cut.mean():6.1%} {figures[0]:10.4f} {figures[1]:8.4f} {figures[2]:10.4f} {figures[3]:8.4f} "
              f"{inside:11.3f}")  # fmt: skip


def hindsight(history: History) -> dict[str, Floats]:

    made = roll(history.values, 600.0, step_s=3600.0, horizon=24, first=1)
    row = FIRST - int(made.origins[0])
    return {"hour": made.middle[row : row + 168, 0], "day": made.middle[row : row + 168 : 24].reshape(-1),
            "low": made.low[row : row + 168, 0], "high": made.high[row : row + 168, 0]}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data" / "demand")
    parser.add_argument("--others", default="make", help="Python with the other forecasters; `none` leaves them out")
    parser.add_argument("--only", default="", help="only series whose name holds this")
    parser.add_argument("--limit", type=float, default=600, help="seconds for each of the others on one series")
    parser.add_argument("--no-gaps", action="store_true", help="leave out the tables of gaps")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        python: str | None = options.others
        if options.others == "make":
            python, failed = environment(Path(folder))
            print(failed or "the other forecasters' environment: statsforecast, prophet, pmdarima installed")
        elif options.others == "none":
            python = None
        chosen = {key: one for key, one in series(options.data).items() if options.only in " ".join(key)}
        said = []
        for key, history in chosen.items():
            began = time.perf_counter()
            ours = backtest(history, step_s=3600.0, first=FIRST)
            spent = time.perf_counter() - began
            theirs = pd.DataFrame() if python is None else other_rows(history, python, options.limit)
            for ahead, title in (("next step", "hour-ahead"), ("next day", "day-ahead")):
                print(f"\n{key[0]} {key[1]}: {title}, days 8 to 14 ({spent:.1f} s for ours)")
                rows = pd.concat([ours, theirs], ignore_index=True)
                show(rows[rows["ahead"] == ahead])
            said += [f"{' '.join(key)}, {one}" for one in verdicts(key, ours)]
        for key, history in () if options.no_gaps else chosen.items():
            gap_table(key, history)
    print("\n" + "\n".join(said))


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    main()
