"""How right and how fast the demand model is: moments, bursts, quantiles and the day's peak against brute force.

    python bench/forecast_accuracy.py [moments] [bursts] [quantiles] [peaks] [speed] [--seed 1]

Runs are made up: 40 of up to 12 calls, some in parallel, with log-normal durations. Brute force throws tasks at random and
adds their segments. Columns say model, simulation, and their difference over the simulation's standard error or its value.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import tokenflation.analysis as an
from tokenflation.analysis import bursts
from tokenflation.analysis.arrivals import Arrivals
from tokenflation.analysis.demand import cumulants, jumps
from tokenflation.analysis.loads import load_of
from tokenflation.analysis.paths import Runs, runs_of
from tokenflation.analysis.peaks import autocorrelation, highest_scores, peaks
from tokenflation.analysis.quantiles import GRID, lattice_quantiles, method_for, standard_quantiles
from tokenflation.analysis.simulate import loads_at, simulate_load

Floats = NDArray[np.float64]

RESOURCES = ("concurrent_calls", "decode_tokens_per_s", "kv_tokens")


def made_up(runs: int = 40, seed: int = 1) -> pd.DataFrame:
    """Return calls of made-up runs, one row per call."""
    rng = np.random.default_rng(seed)
    rows = []
    for run in range(runs):
        clock_s = 0.0
        for _ in range(int(rng.integers(1, 13))):
            duration_s = float(rng.lognormal(1.0, 0.6))
            rows.append({
                "task": "triage", "task_id": f"triage-{run}", "model": "m", "stream": 1,
                "started_at_ns": int((1_000 * run + clock_s) * 1e9), "duration_s": duration_s,
                "ttft_s": 0.25 * duration_s, "input_tokens": int(rng.integers(100, 5_000)),
                "cache_read_tokens": 50, "output_tokens": int(rng.integers(1, 400)),
            })  # fmt: skip
            clock_s += duration_s * float(rng.uniform(0.4, 1.5))  # below 1: the next call overlaps
    return pd.DataFrame(rows).convert_dtypes()


def constant(runs: Runs, rate_per_s: float) -> Arrivals:
    """Return Poisson arrivals of a constant rate, long enough for the longest run."""
    before = int(np.ceil(runs.longest_s / 60)) + 2
    return Arrivals(cell_s=60.0, first_s=-60.0 * before, rate_per_s=np.full(before + 30, rate_per_s))


def moments(runs: Runs, seed: int) -> None:
    print("\nmoments: 4,000 replicates; z is in Monte-Carlo standard errors (asked: within 3)")
    print(f"{'resource':28} {'tasks/s':>8} {'mean':>10} {'seen':>10} {'z':>6} {'sd':>10} {'seen':>10} {'z':>6}")
    for number, name in enumerate(runs.paths):
        path = runs.paths[name]
        for rate in (0.05, 0.5):
            over = constant(runs, rate)
            k = cumulants(path, np.full(40, 1 / 40), over, np.array([0.0]))[:, 0]
            seen = simulate_load(path, 40, rate, replicates=4_000, window_s=runs.longest_s,
                                 rng=np.random.default_rng([seed, number]))  # fmt: skip
            error = np.sqrt(k[1] / len(seen))
            error_sd = np.sqrt((k[3] + 2 * k[1] ** 2) / len(seen)) / (2 * np.sqrt(k[1]))
            sd = seen.std(ddof=1)
            print(f"{name:28} {rate:8.2f} {k[0]:10.4g} {seen.mean():10.4g} {(seen.mean() - k[0]) / error:6.2f} "
                  f"{np.sqrt(k[1]):10.4g} {sd:10.4g} {(sd - np.sqrt(k[1])) / error_sd:6.2f}")  # fmt: skip


def gaps(cv: float) -> Callable[[float, float, np.random.Generator], Floats]:
    def starts(rate: float, until_s: float, rng: np.random.Generator) -> Floats:
        shape = 1 / cv**2
        found = np.cumsum(rng.gamma(shape, 1 / (rate * shape), int(rate * until_s * 1.2 + 1_000)))
        return np.asarray(found[found < until_s])

    return starts


def cascades(branching: float, decay_s: float) -> Callable[[float, float, np.random.Generator], Floats]:
    def starts(rate: float, until_s: float, rng: np.random.Generator) -> Floats:
        mothers = rng.uniform(0, until_s, rng.poisson(rate * (1 - branching) * until_s))
        found = [mothers]
        while len(mothers):
            children = rng.poisson(branching, len(mothers))
            mothers = np.repeat(mothers, children) + rng.exponential(decay_s, int(children.sum()))
            found.append(mothers)
        every = np.concatenate(found)
        return np.asarray(every[every < until_s])

    return starts


def sessions(tasks: float, gap_s: float) -> Callable[[float, float, np.random.Generator], Floats]:
    def starts(rate: float, until_s: float, rng: np.random.Generator) -> Floats:
        current = rng.uniform(0, until_s, rng.poisson(rate / tasks * until_s))
        found = [current]
        while len(current):
            current = current[rng.random(len(current)) < 1 - 1 / tasks]
            current = current + rng.exponential(gap_s, len(current))
            found.append(current)
        every = np.concatenate(found)
        return np.asarray(every[every < until_s])

    return starts


def hourly(cv: float) -> Callable[[float, float, np.random.Generator], Floats]:
    def starts(rate: float, until_s: float, rng: np.random.Generator) -> Floats:
        hours = int(until_s // 3600)
        # One level out of each of so many equally likely ranges: what many more hours would show.
        level = rng.permutation(np.sort(rng.gamma(1 / cv**2, cv**2, hours * 100))[50::100])
        counts = rng.poisson(rate * 3600 * level)
        return np.asarray(np.repeat(np.arange(hours), counts) * 3600 + rng.uniform(0, 3600, int(counts.sum())))

    return starts


def burst_rows(runs: Runs, seed: int, hours: int, cell_s: float = 0.5) -> list[tuple[str, float, float]]:
    """Return name, model's and simulation's variance over mean of calls in flight, for each kind of arrivals."""
    path, share, rate = runs.paths["concurrent_calls"], np.full(40, 1 / 40), 2.0
    cells = int(np.ceil(runs.longest_s / cell_s)) + 1
    ways = {
        "Poisson": (gaps(1.0), bursts.cox_autocovariance(rate, 0.0, 3600.0, cell_s, cells)),
        "gamma renewal, cv 2": (gaps(2.0), bursts.renewal_autocovariance(rate, 2.0, cell_s, cells)),
        "gamma renewal, cv 4": (gaps(4.0), bursts.renewal_autocovariance(rate, 4.0, cell_s, cells)),
        "Hawkes, 0.5": (cascades(0.5, 30.0), bursts.hawkes_autocovariance(rate, 0.5, 30.0, cell_s, cells)),
        "Hawkes, 0.8": (cascades(0.8, 30.0), bursts.hawkes_autocovariance(rate, 0.8, 30.0, cell_s, cells)),
        "sessions of 5, gap 60 s": (sessions(5.0, 60.0), bursts.session_autocovariance(rate, 5.0, 60.0, cell_s, cells)),
        "hourly Cox, 0.3": (hourly(0.3), bursts.cox_autocovariance(rate, 0.3, 3600.0, cell_s, cells)),
    }
    mean = rate * float(path.integrals(40).mean())
    found = []
    for number, (name, (starts, gamma)) in enumerate(ways.items()):
        rng = np.random.default_rng([seed, number])
        said = bursts.arrival_variance(path, share, rate, gamma, cell_s) / mean
        begun = starts(rate, hours * 3600.0, rng)
        seen = loads_at(path, 40, begun, step_s=5.0, from_s=7_200.0, until_s=hours * 3600.0 - 5.0, rng=rng)
        found.append((name, said, float(seen.var()) / mean))
    return found


def burstiness(runs: Runs, seed: int) -> None:
    print("\nbursts: variance over mean of calls in flight, 2 tasks/s; simulated 2,000 h (asked: within 3 %)")
    print(f"{'arrivals':28} {'model':>8} {'seen':>8} {'off':>7}")
    for name, said, seen in burst_rows(runs, seed, 2_000):
        print(f"{name:28} {said:8.3f} {seen:8.3f} {said / seen - 1:+7.1%}")


def quantiles(runs: Runs, seed: int) -> None:
    print(
        "\nquantiles: 20,000 replicates; off is against the simulation, error its own standard error, both of the value"
    )
    print(f"{'resource':22} {'tasks/s':>8} {'way':16} {'level':>5} {'model':>10} {'seen':>10} {'off':>7} {'error':>7}")
    for number, name in enumerate(RESOURCES):
        path = runs.paths[name]
        for rate in (0.02, 0.2, 2.0):
            over, weight = constant(runs, rate), np.full(40, 1 / 40)
            k = cumulants(path, weight, over, np.array([0.0]))[:, 0]
            way = method_for(k)
            if way == "fft":
                counts = jumps(path, weight, over, np.array([0.0]))[:, 0]
                found = lattice_quantiles(path.load, counts, k)
            else:
                found = k[0] + np.sqrt(k[1]) * standard_quantiles(k)
            rng = np.random.default_rng([seed, number])
            window = runs.longest_s
            seen = np.sort(simulate_load(path, 40, rate, replicates=20_000, window_s=window, rng=rng))
            for level in (0.5, 0.95, 0.99):
                said = float(found[np.searchsorted(GRID, level)])
                true = float(np.quantile(seen, level))
                spread = np.sqrt(level * (1 - level) / len(seen))
                near = np.quantile(seen, [max(level - spread, 0), min(level + spread, 1)])
                off = (said - true) / true if true else said - true
                error = (near[1] - near[0]) / 2 / true if true else 0.0
                print(f"{name:22} {rate:8.2f} {way:16} {level:5.2f} {said:10.4g} {true:10.4g} {off:+7.2%} {error:7.2%}")


def day_peaks(runs: Runs, seed: int, resource: str, rate: float, days: int) -> list[tuple[float, float, float, float]]:
    """Return level, model's and simulation's quantile of the day's peak and the simulation's error, and the mean first."""
    path, share = runs.paths[resource], np.full(40, 1 / 40)
    over = constant(runs, rate)
    k = np.repeat(cumulants(path, share, over, np.array([0.0])), 24, axis=1)
    load = load_of(runs, path, share, over, 60.0 * np.arange(24), np.ones((1, 1)), cv=np.zeros(24), scale=1.0)
    rng = np.random.default_rng([seed, 7])
    scores = highest_scores([autocorrelation(path, share, 1440)], 3600, rng, 4_000)[0]
    said = peaks(scores, k, load.laws, load.means, load.spreads, rng)[:, 0]
    seen = []
    for _ in range(days):
        starts = rng.uniform(-runs.longest_s, 86_400, rng.poisson(rate * (86_400 + runs.longest_s)))
        seen.append(loads_at(path, 40, starts, step_s=60.0, from_s=0.0, until_s=86_340.0, rng=rng).max())
    found = []
    for level in (0.5, 0.95, 0.99):
        spread = np.sqrt(level * (1 - level) / days)
        near = np.quantile(seen, [max(level - spread, 0), min(level + spread, 1)])
        found.append((level, float(np.quantile(said, level)), float(np.quantile(seen, level)), (near[1] - near[0]) / 2))
    return found


def daily_peaks(runs: Runs, seed: int) -> None:
    print("\npeaks: the highest of a day's 1,440 one-minute instants, 120 simulated days "
          "(asked: 2 % at mean >= 100, 5 % at mean >= 20)")  # fmt: skip
    print(
        f"{'resource':22} {'mean':>9} {'instant p99':>11} {'level':>5} {'model':>10} {'seen':>10} {'off':>7} {'error':>7}"
    )
    for resource in RESOURCES:
        per_task = float(runs.paths[resource].integrals(40).mean())
        calls = float(runs.paths["concurrent_calls"].integrals(40).mean())
        for calls_in_flight in (20, 100):
            rate = calls_in_flight / calls
            k = cumulants(runs.paths[resource], np.full(40, 1 / 40), constant(runs, rate), np.array([0.0]))[:, 0]
            instant = k[0] + np.sqrt(k[1]) * standard_quantiles(k)[np.searchsorted(GRID, 0.99)]
            for level, said, seen, error in day_peaks(runs, seed, resource, rate, 120):
                print(f"{resource:22} {rate * per_task:9.4g} {instant:11.4g} {level:5.2f} {said:10.4g} {seen:10.4g} "
                      f"{said / seen - 1:+7.2%} {error / seen:7.2%}")  # fmt: skip


def speed() -> None:
    print("\nspeed: an.forecast, 40 runs, business day, processor seconds (best of 5)")
    calls = made_up()
    for what, options in (
        ("288 buckets, 1e3 tasks a day", {"tasks_per_day": 1e3, "bucket_s": 300}),
        ("288 buckets, 1e6 tasks a day", {"tasks_per_day": 1e6, "bucket_s": 300}),
        ("288 buckets, 1e9 tasks a day", {"tasks_per_day": 1e9, "bucket_s": 300}),
        ("30 days of hours with growth", {"tasks_per_day": 1e5, "days": 30, "growth_per_day": 0.01}),
    ):
        plan = an.Plan(day_shape="business_day", **options)  # type: ignore[arg-type]  # a mixed bag of options
        took = []
        for _ in range(5):
            began = time.process_time()
            rows = len(an.forecast(calls, plan))
            took.append(time.process_time() - began)
        print(f"{what:32} {min(took):6.2f} s, {rows:,} rows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["moments", "bursts", "quantiles", "peaks", "speed"])
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    runs = runs_of(made_up())
    if "speed" in options.parts:
        speed()
    if "moments" in options.parts:
        moments(runs, options.seed)
    if "bursts" in options.parts:
        burstiness(runs, options.seed)
    if "quantiles" in options.parts:
        quantiles(runs, options.seed)
    if "peaks" in options.parts:
        daily_peaks(runs, options.seed)


if __name__ == "__main__":
    main()
