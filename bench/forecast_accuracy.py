"""How right and how fast the demand model is: moments, bursts, quantiles, totals and peaks against brute force.

    python bench/forecast_accuracy.py [speed] [moments] [bursts] [quantiles] [totals] [peaks] [--days 400] [--seed 1]

Runs are made up: 40 of up to 12 calls, some in parallel, with log-normal durations. Brute force throws tasks at random
and adds their segments. Columns say model, simulation, and their difference over the simulation's standard error or its
value; `bar` is what is asked, and the last column whether it is met. What differs by no more than twice the
simulation's own error is told apart from neither.
"""

import argparse
import time

import numpy as np
import pandas as pd
from arrival_kinds import Starts, cascades, gaps, hourly, sessions
from numpy.typing import NDArray

import tokenflation.analysis as an
from tokenflation.analysis.fleet import bursts
from tokenflation.analysis.fleet.demand import cumulants, jumps
from tokenflation.analysis.fleet.loads import load_of, total_of
from tokenflation.analysis.fleet.paths import Path, Runs, runs_of
from tokenflation.analysis.fleet.peaks import autocorrelation, highest_scores, peaks
from tokenflation.analysis.fleet.resources import burst_cv
from tokenflation.analysis.fleet.simulate import loads_at, simulate_load
from tokenflation.analysis.fleet.windows import running, steps
from tokenflation.analysis.planning.arrivals import Arrivals
from tokenflation.analysis.planning.parts import Bursts, Timing, Uncertain
from tokenflation.analysis.planning.serving import Serving
from tokenflation.analysis.statistics.quantiles import GRID, lattice_quantiles, method_for, standard_quantiles

Floats = NDArray[np.float64]

_TRACE_H = 500

RESOURCES = ("concurrent_calls", "decode_tokens_per_s", "kv_tokens")
PARTS = ("speed", "moments", "bursts", "quantiles", "totals", "peaks")
SHAPE = Serving(active_parameters=70.6e9, layers=80, heads=64, head_dim=128, kv_heads=8)
LEVELS = (0.5, 0.95, 0.99)
_TAIL = 0.9
_PEAK_DRAWS = 20_000


def met(off: float, bar: float, error: float = 0.0) -> str:
    """Return whether a difference is within the bar; "?" where the simulation cannot tell."""
    if abs(off) <= bar:
        return "met"
    return "?" if abs(off) <= bar + 2 * error else "MISSED"


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
    print("\nmoments: 4,000 replicates; z is in Monte-Carlo standard errors")
    print(
        f"{'resource':30} {'tasks/s':>8} {'mean':>10} {'seen':>10} {'z':>6} {'sd':>10} {'seen':>10} {'z':>6}  bar |z| <= 3"
    )
    for number, (name, path) in enumerate(runs.paths.items()):
        for rate in (0.05, 0.5):
            over = constant(runs, rate)
            k = cumulants(path, np.full(40, 1 / 40), over, np.array([0.0]))[:, 0]
            seen = simulate_load(path, 40, rate, replicates=4_000, window_s=runs.longest_s,
                                 rng=np.random.default_rng([seed, number]))  # fmt: skip
            _moment_row(name, rate, k, seen)


def _moment_row(name: str, rate: float, k: Floats, seen: Floats) -> None:
    sd = seen.std(ddof=1)
    # Var(s^2) = (kappa4 + 2 kappa2^2) / n, and the deviation's error follows from it.
    error_sd = np.sqrt((k[3] + 2 * k[1] ** 2) / len(seen)) / (2 * np.sqrt(k[1]))
    z, z_sd = (seen.mean() - k[0]) / np.sqrt(k[1] / len(seen)), (sd - np.sqrt(k[1])) / error_sd
    print(f"{name:30} {rate:8.3f} {k[0]:10.4g} {seen.mean():10.4g} {z:6.2f} {np.sqrt(k[1]):10.4g} {sd:10.4g} {z_sd:6.2f}  "
          f"{met(max(abs(z), abs(z_sd)), 3)}")  # fmt: skip


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
        if name.startswith(("sessions", "Hawkes, 0.8")):
            # The same starts, given as a measured trace.
            trace = Bursts(kind="trace", times_s=tuple(begun[begun < _TRACE_H * 3600.0].tolist()))
            again = loads_at(path, 40, np.array(trace.times_s), step_s=5.0, from_s=7_200.0,
                             until_s=_TRACE_H * 3600.0 - 5.0, rng=rng)  # fmt: skip
            measured = float(np.sum(share[path.run] * path.load**2 * (path.end_s - path.start_s))) * rate / mean
            measured += bursts.clustering(trace, path, share)
            found.append((f"trace of {name}", measured, float(again.var()) / mean))
    return found


def burstiness(runs: Runs, seed: int) -> None:
    print("\nbursts: variance over mean of calls in flight, 2 tasks/s; simulated 2,000 h")
    print(f"{'arrivals':28} {'model':>8} {'seen':>8} {'off':>7}  bar 3 %")
    for name, said, seen in burst_rows(runs, seed, 2_000):
        print(f"{name:28} {said:8.3f} {seen:8.3f} {said / seen - 1:+7.1%}  {met(said / seen - 1, 0.03)}")


def quantiles(runs: Runs, seed: int) -> None:
    print(
        "\nquantiles: 30,000 to 400,000 replicates; off is against the simulation, error its own standard error, both of the value"
    )
    print(f"{'resource':22} {'tasks/s':>8} {'way':16} {'level':>5} {'model':>10} {'seen':>10} {'off':>7} {'error':>7}  "
          "bar of fft 1 % or a unit, of others 2 %")  # fmt: skip
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
            replicates = int(min(400_000, 60_000 / rate))
            seen = np.sort(simulate_load(path, 40, rate, replicates=replicates, window_s=runs.longest_s, rng=rng))
            for level in LEVELS:
                said = float(found[np.searchsorted(GRID, level)])
                unit = 1.0 if name == "concurrent_calls" else 0.0
                _quantile_row(
                    f"{name:22} {rate:8.2f} {way:16}", level, said, seen, 0.01 if way == "fft" else 0.02, unit
                )


def _quantile_row(what: str, level: float, said: float, seen: Floats, bar: float, unit: float = 0.0,
                  own: float = 0.0) -> None:  # fmt: skip
    true = float(np.quantile(seen, level))
    safe = true if true else 1.0
    off, error = (said - true) / safe, np.hypot(_error(seen, level), own) / safe
    told = "met" if abs(said - true) <= unit else met(off, bar, error)
    print(f"{what} {level:5.2f} {said:10.4g} {true:10.4g} {off:+7.2%} {error:7.2%}  {told}")


def _error(seen: Floats, level: float) -> float:
    """Return the standard error of a quantile of what was simulated.

    So many of `seen` lie below it as the binomial law says; the width of that many order statistics is its error. Where
    that reaches past the largest, an exponential tail above the nine tenths' quantile stands in for those beyond it.
    """
    spread = np.sqrt(level * (1 - level) / len(seen))
    if level + 2 * spread < 1:
        near = np.quantile(seen, [max(level - spread, 0), level + spread])
        return float(near[1] - near[0]) / 2
    tail = np.quantile(seen, _TAIL)
    return float((seen[seen >= tail] - tail).mean() * spread / (1 - level))


def totals(runs: Runs, seed: int) -> None:
    """Compare the tokens of an hour with brute force: the integral of the load over it, tasks thrown at random."""
    print("\ntotals: output tokens of an hour, 4,000 replicates; bars as above")
    path, share, hour = runs.paths["decode_tokens_per_s"], np.full(40, 1 / 40), 3_600.0
    tokens, lasts = path.integrals(40), np.maximum.reduceat(path.end_s, np.flatnonzero(np.diff(path.run, prepend=-1)))
    for number, rate in enumerate((0.002, 0.02, 0.5)):
        over = constant(runs, rate)
        load = total_of(runs, running(path, hour), steps(path, hour), share, over, np.array([0.0]), np.ones((1, 1)),
                        cv_of=lambda mean: np.zeros(len(mean)))  # fmt: skip
        rng = np.random.default_rng([seed, 20 + number])
        seen = np.array([_hour_of(path, tokens, lasts, rate, hour, rng) for _ in range(4_000)])
        _moment_row("output tokens of an hour", rate, load.kappa[:, 0], seen)
        for level in LEVELS:
            score = load.laws.scores(np.array([[level]]))[0, 0]
            said = load.kappa[0, 0] + np.sqrt(load.kappa[1, 0]) * score
            what = f"{'output tokens of an hour':24} {rate:6.3f} {method_for(load.kappa[:, 0]):16}"
            _quantile_row(what, level, said, seen, 0.02)


def _hour_of(path: Path, tokens: Floats, lasts: Floats, rate: float, hour: float, rng: np.random.Generator) -> float:
    """Return tokens within [0, hour) of tasks thrown from before it: whole runs in the middle, parts at both ends."""
    before = float(lasts.max())
    starts = rng.uniform(-before, hour, rng.poisson(rate * (hour + before)))
    run = rng.integers(0, len(tokens), len(starts))
    whole = (starts >= 0) & (starts + lasts[run] <= hour)
    found = float(tokens[run[whole]].sum())
    for start, one in zip(starts[~whole], run[~whole], strict=True):
        of = path.run == one
        inside = np.minimum(path.end_s[of] + start, hour) - np.maximum(path.start_s[of] + start, 0.0)
        found += float(path.load[of] @ np.maximum(inside, 0.0))
    return found


def day_peaks(runs: Runs, seed: int, resource: str, rate: float, days: int, arriving: Starts,
              plan: an.Plan) -> tuple[Floats, Floats]:  # fmt: skip
    """Return the highest of a day's one-minute instants in draws of the model, and in simulated days."""
    path, share = runs.paths[resource], np.full(40, 1 / 40)
    over = constant(runs, rate)
    k = cumulants(path, share, over, np.array([0.0]))
    cv = burst_cv(path, share, over, np.array([0.0]), plan, k[0])
    load = load_of(runs, path, share, over, 60.0 * np.arange(24), np.ones((1, 1)), cv=np.repeat(cv, 24), scale=1.0)
    rng = np.random.default_rng([seed, 7])
    scores = highest_scores([autocorrelation(path, share, 1440, plan.burstiness)], 3600, rng, _PEAK_DRAWS)[0]
    said = peaks(scores, load.kappa, load.laws, load.means, load.spreads, rng)[:, 0]
    before = runs.longest_s + 3_600.0
    seen = np.empty(days)
    for day in range(days):
        starts = arriving(rate, before + 86_400.0, rng) - before
        seen[day] = loads_at(path, 40, starts, step_s=60.0, from_s=0.0, until_s=86_340.0, rng=rng).max()
    return said, seen


WAYS = (
    ("Poisson", gaps(1.0), Bursts()),
    ("sessions of 5", sessions(5.0, 60.0), Bursts(kind="sessions", tasks_per_session=5.0, gap_s=60.0)),
    ("Hawkes, 0.8", cascades(0.8, 30.0), Bursts(kind="hawkes", branching=0.8, decay_s=30.0)),
)


def daily_peaks(runs: Runs, seed: int, days: int) -> None:
    print(f"\npeaks: the highest of a day's 1,440 one-minute instants, {days} simulated days; bar 2 % at 100 calls in flight, "
          "5 % at 20")  # fmt: skip
    print(f"{'resource':20} {'arrivals':14} {'mean':>9} {'p99':>9} {'level':>5} {'model':>10} {'seen':>10} {'off':>7} "
          f"{'error':>7}")  # fmt: skip
    calls = float(runs.paths["concurrent_calls"].integrals(40).mean())
    for way, arriving, burst in WAYS:
        for resource in RESOURCES if way == "Poisson" else RESOURCES[:2]:
            per_task = float(runs.paths[resource].integrals(40).mean())
            for in_flight, bar in ((20, 0.05), (100, 0.02)):
                rate = in_flight / calls
                plan = an.Plan(tasks_per_day=rate * 86_400, burstiness=burst)
                k = cumulants(runs.paths[resource], np.full(40, 1 / 40), constant(runs, rate), np.array([0.0]))[:, 0]
                instant = k[0] + np.sqrt(k[1]) * standard_quantiles(k)[np.searchsorted(GRID, 0.99)]
                said, seen = day_peaks(runs, seed, resource, rate, days, arriving, plan)
                for level in LEVELS:
                    what = f"{resource:20} {way:14} {rate * per_task:9.4g} {instant:9.4g}"
                    _quantile_row(what, level, float(np.quantile(said, level)), seen, bar, own=_error(said, level))


def speed() -> None:
    print("\nspeed: an.forecast, 40 runs, business day, processor seconds (best of 7)")
    calls = made_up()
    found: dict[str, float] = {}
    doubt = {"tasks_per_day": Uncertain(cv=0.3)}
    slow = {"timing.ttft_s": Uncertain(cv=0.2), "timing.tpot_s": Uncertain(cv=0.2), "cache_kept": Uncertain(sd=0.05)}
    timing = Timing(ttft_s=0.5, tpot_s=0.02)
    ways = (
        ("288 buckets, 1e3 tasks a day", {"tasks_per_day": 1e3, "bucket_s": 300}, 1.0),
        ("288 buckets, 1e6 tasks a day", {"tasks_per_day": 1e6, "bucket_s": 300}, 1.0),
        ("288 buckets, 1e9 tasks a day", {"tasks_per_day": 1e9, "bucket_s": 300}, 1.0),
        ("the same, volume unsure", {"tasks_per_day": 1e6, "bucket_s": 300, "assumptions": doubt}, 30.0),
        (
            "and timing and cache unsure",
            {"tasks_per_day": 1e6, "bucket_s": 300, "timing": timing, "cache_kept": 0.9, "assumptions": doubt | slow},
            30.0,
        ),
        ("30 days of hours with growth", {"tasks_per_day": 1e5, "days": 30, "growth_per_day": 0.01}, np.inf),
    )
    made = {}
    # By turns, so that what else the machine does falls on all of them alike.
    for _ in range(7):
        for what, options, _ in ways:
            began = time.process_time()
            made[what] = an.forecast(calls, an.Plan(day_shape="business_day", **options))
            found[what] = min(found.get(what, np.inf), time.process_time() - began)
    for what, _, bar in ways:
        asked = f"bar {bar:g} s: {met(found[what], bar)}" if np.isfinite(bar) else ""
        print(
            f"{what:32} {found[what]:6.2f} s, {len(made[what]):,} rows of {made[what]['resource'].nunique()} resources, "
            f"{made[what].attrs['manifest']['draws']:,} draws  {asked}"
        )
    few, many = found["288 buckets, 1e3 tasks a day"], found["288 buckets, 1e9 tasks a day"]
    print(f"{'1e3 over 1e9 tasks a day':32} {few / many:6.2f}    bar within 20 %: {met(few / many - 1, 0.2)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=PARTS, help=f"of {', '.join(PARTS)}; all without any")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=int, default=400, help="simulated days per peak")
    options = parser.parse_args()
    runs = runs_of(made_up(), serving=SHAPE)
    if "speed" in options.parts:
        speed()
    if "moments" in options.parts:
        moments(runs, options.seed)
    if "bursts" in options.parts:
        burstiness(runs, options.seed)
    if "quantiles" in options.parts:
        quantiles(runs, options.seed)
    if "totals" in options.parts:
        totals(runs, options.seed)
    if "peaks" in options.parts:
        daily_peaks(runs, options.seed, options.days)


if __name__ == "__main__":
    main()
