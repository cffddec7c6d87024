"""How often intervals for a mean hold the truth: ours, log bootstrap-t as it was, Student's t, and the plug-in.

A population is recorded runs of one agent. `n` of its runs are drawn without replacement; the truth is the mean of
those that remain. Intervals claim 90 %. Populations: what 500 tasks cost with each of 13 models, their calls (the same
runs, so no further evidence), and input tokens, output tokens and calls of 362 coding-agent sessions.

Methods: `ours` is `an.mean_interval(runs, future=remaining)`; `log-t` is log bootstrap-t with the factors kappa(n) of
section 1.5 of the FORECAST model, `log-t k=1` the same without them; `t` is Student's; `plug-in` takes the mean of the
runs for the truth, and leaves only the scatter of the remaining runs. `log-t` and `t` are given what ours is given: the
mean of so many remaining runs varies more than the population's.

    python bench/interval_coverage.py [--data ../shared/data] [--draws 200] [--seed 1] [--each]
        [--calls] [--ratios|--shares|--laws|--differences|--equal]

`--ratios` prints intervals of ratios instead, of tasks drawn with replacement, against the ratio of the whole
population: sums over the same tasks (`an` calls it paired: cached and output tokens per input token, tokens per call of
sessions, and cost per call of the 13 models), means of different tasks (each population's cost or tokens over
another's), and cost per success of the 13 models.

`--shares` prints intervals of shares of one whole, of made-up tasks (`task_laws.py`: light to very heavy tails; parts
of their own, growing or falling with the task, mostly absent) and of recorded sessions with replacement, at 10, 15, 30
and 60 tasks, beside bootstrap-t of the log odds widened by kappa(n) (as shares had it) and Student's t with Kish's
effective tasks as degrees of freedom. With 200 draws, coverage of a claimed 0.9 and mean width:

    tasks                                  10           15           30           60
    66 made-up settings,    ours   0.869 .381   0.887 .307   0.905 .210   0.907 .146
    laws of the       log-odds-t   0.816 .301   0.834 .254   0.844 .187   0.846 .140
    calibration           Kish t   0.835 .266   0.836 .216   0.834 .156   0.839 .116
    35 made-up settings,    ours   0.892 .351   0.909 .297   0.923 .217   0.924 .154
    other laws        log-odds-t   0.868 .334   0.875 .277   0.855 .192   0.859 .141
                          Kish t   0.850 .289   0.853 .239   0.850 .171   0.858 .125
    23 where the part       ours   0.860 .480   0.863 .431   0.888 .341   0.882 .250
    grows with heavy- log-odds-t   0.698 .362   0.707 .328   0.731 .264   0.754 .209
    tailed tasks          Kish t   0.569 .273   0.607 .253   0.630 .206   0.662 .170
    8 shares of             ours   0.933 .439   0.937 .386   0.939 .297   0.944 .211
    recorded sessions log-odds-t   0.831 .363   0.852 .333   0.878 .262   0.899 .174

The other laws and the sessions were looked at while form and constants were chosen: no setting here is independent
evidence. Of ours 0.61, 0.71, 0.85 and 0.85 of the first settings hold at least 0.86, and 0.69, 0.86, 0.94 and 0.91 of
the second. Where one task of ten is 20 times as long, or sizes are Pareto of index 1.5, ten tasks hold no evidence of
what they miss: 0.83 and 0.84 on average, down to 0.62. Samples of fewer than 3 effective tasks, which the commands and
the page name, held 0.76, the others 0.91. A share that some tasks are all of, and others none, is held too often (up to
0.97). On settings that were looked at only afterwards, 10, 15, 30 and 60 tasks held 0.94, 0.92, 0.92 and 0.91 of a part
that goes with size to the power of 1.5 (0.87 to 0.81 without the term for steep growth), 0.89, 0.86, 0.82 and 0.74 to
that of 2.5 (0.68 to 0.57); and 0.94 to 0.96 of what a context that grows by 900 tokens a call sends again, with the
calls of 13 models' runs (0.90 to 0.94, at 0.8 of the width).

`--laws` prints intervals of a mean, and of a ratio of the means of two kinds, of made-up tasks: with 2,000 draws, of a
mean 0.95 to 0.86 at log-normal sigma 0.5 to 1 and Pareto 2.5 at any number of tasks, 0.85 to 0.87 at sigma 1.5, 0.78 to
0.84 at sigma 2, 0.82 to 0.67 at Pareto 1.5, whose variance is infinite, and 0.65, 0.76, 0.91 and 0.91 of two modes. A
forecast's tokens/s, calls in flight, KV bytes and money are means too, each of its own amount per task, and hold as
these do; input tokens and KV bytes often go with the square of a run's length, and so have the heavier tail.
Percentiles have no interval: those of single tasks are refused below a number of runs, those of a load hold its mean's.

`--differences` prints intervals of the effects of `diff` (calls, input per call, output, their sum), with tasks of both
sides drawn with replacement, beside percentiles of resamples widened by kappa(n), as differences had them. With 80
draws and 10, 20 and 60 tasks a side, coverage of a claimed 0.9 of the sum, and mean width over that of resamples:

    tasks a side                        10           20           60
    13 models' runs,        ours   0.908  2.0   0.907  1.7   0.909  1.2
    two of them        resampled   0.887        0.886        0.886
    of one of them          ours   0.934  2.0   0.932  1.7   0.923  1.2
                       resampled   0.912        0.897        0.898
    sessions, two models    ours   0.950  1.7   0.925  1.3   0.942  1.1
                       resampled   0.904        0.883        0.917
    requests, two traces    ours   0.917  1.5   0.942  1.2   0.896  1.1
                       resampled   0.908        0.888        0.900
    made up, two laws       ours   0.731  2.4   0.758  2.0   0.721  1.3
                       resampled   0.669        0.646        0.667

The least of two models' runs is 0.80, 0.84 and 0.83 (resampled 0.74, 0.83 and 0.80). Input per call holds less: 0.86,
0.88 and 0.87 of the runs, 0.60 of laws under which a task's input goes with its calls to the power of 1.5. The made-up
tasks are all of these laws, and of the heaviest (Pareto of index 1.5, to that power) the input has no mean at all.

`--equal` compares widths at equal coverage: it asks ours for the level at which it covers what the bar's method covers.

Columns: coverage pooled over populations; the population with the least coverage; misses above (truth above the
interval: demand was underestimated) and below; the largest miss above of one population; median and mean width over the
runs' mean, all populations' draws in one pot.

The row `bar` holds the median widths that section 1.5 of the FORECAST model gives for log bootstrap-t before it was
widened to hold, on costs with 25 models, of which 13 are here; it covered 0.838, 0.857, 0.891, 0.894 and 0.887 of them.
`log-t k=1` is that method on these draws: compare it with `ours` for widths on the same runs.
"""

import argparse
import json
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from difference_coverage import differences, of_pairs, show_differences, show_pairs
from numpy.typing import NDArray
from share_coverage import SHARE_SIZES, shares, show_shares
from task_laws import LAWS, sized

import tokenflation.analysis as an
from tokenflation.analysis.statistics.intervals import paired_interval, per_success_interval, ratio_interval

Floats = NDArray[np.float64]
Ends = tuple[Floats, Floats]

SIZES = (10, 20, 30, 50, 100)
LEVEL = 0.9
_NORMAL_95 = 1.6449
_STUDENT_95 = {10: 1.8331, 20: 1.7291, 30: 1.6991, 50: 1.6766, 100: 1.6604}
_KAPPA = {10: 1.26, 20: 1.12, 30: 1.05, 50: 1.02, 100: 1.03}
_RESAMPLES = 1000
# Median width over mean and coverage of log bootstrap-t, as section 1.5 of the FORECAST model has it.
_BAR = {10: (1.16, 0.838), 20: (0.89, 0.857), 30: (0.72, 0.891), 50: (0.56, 0.894), 100: (0.42, 0.887)}


def populations(data: Path, *, calls: bool) -> dict[str, dict[str, Floats]]:
    """Return values of whole runs by population, by group."""
    runs = pd.read_csv(data / "populations" / "swebench_bash_only_runs.csv.xz")
    groups = {"cost": {str(model): of["cost_usd"].to_numpy(dtype=np.float64) for model, of in runs.groupby("model")}}
    groups["sessions"] = _sessions(sessions_of(data))
    if calls:
        groups["calls"] = {str(m): of["api_calls"].to_numpy(dtype=np.float64) for m, of in runs.groupby("model")}
    return groups


def sessions_of(data: Path) -> list[list[dict[str, Any]]]:
    """Return the calls of each recorded session, those of sub-agents too."""
    with lzma.open(data / "agent_sessions" / "sessions.jsonl.xz", "rt") as lines:
        return [list(_flat(json.loads(line)["requests"])) for line in lines]


def _sessions(sessions: list[list[dict[str, Any]]]) -> dict[str, Floats]:
    return {
        "input tokens": np.array([sum(one["in"] for one in calls) for calls in sessions], dtype=np.float64),
        "output tokens": np.array([sum(one["out"] for one in calls) for calls in sessions], dtype=np.float64),
        "calls": np.array([len(calls) for calls in sessions], dtype=np.float64),
    }


def _flat(requests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in requests:
        if one["type"] == "subagent":
            yield from _flat(one["requests"])
        else:
            yield one


def ours(runs: Floats, future: int, rng: np.random.Generator) -> Ends:
    ends = [an.mean_interval(row, future=future, level=LEVEL, rng=rng) for row in runs]
    low, high = np.array(ends).T
    return low, high


def log_t(kappa: dict[int, float]) -> Callable[[Floats, int, np.random.Generator], Ends]:
    def interval(runs: Floats, future: int, rng: np.random.Generator) -> Ends:
        count = runs.shape[1]
        mean, error = runs.mean(axis=1), _error(runs, future)
        weights = rng.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES).astype(np.float64)
        again = runs @ weights.T / count
        variance = np.maximum(runs**2 @ weights.T / count - again**2, 0.0) * count / (count - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.log(again / mean[:, None]) / (np.sqrt(variance / count) / again)
        least, most = np.nanquantile(t, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
        with np.errstate(over="ignore"):
            return mean * np.exp(-kappa[count] * most * error), mean * np.exp(-kappa[count] * least * error)

    return interval


def student(runs: Floats, future: int, _rng: np.random.Generator) -> Ends:
    half = _STUDENT_95[runs.shape[1]] * _error(runs, future)
    return runs.mean(axis=1) * (1 - half), runs.mean(axis=1) * (1 + half)


def plug_in(runs: Floats, future: int, _rng: np.random.Generator) -> Ends:
    half = _NORMAL_95 * runs.std(axis=1, ddof=1) / np.sqrt(future)
    return runs.mean(axis=1) - half, runs.mean(axis=1) + half


def _error(runs: Floats, future: int) -> Floats:
    """Return the standard error of the mean of `future` further runs about that of `runs`, as a share of the latter."""
    share: Floats = runs.std(axis=1, ddof=1) / runs.mean(axis=1) * np.sqrt(1 / runs.shape[1] + 1 / future)
    return share


METHODS: dict[str, Callable[[Floats, int, np.random.Generator], Ends]] = {
    "ours": ours,
    "log-t": log_t(_KAPPA),
    "log-t k=1": log_t(dict.fromkeys(_KAPPA, 1.0)),
    "t": student,
    "plug-in": plug_in,
}


def measure(values: Floats, count: int, draws: int, seed: list[int]) -> pd.DataFrame:
    """Return one row per method and draw: whether the truth lies above or below, and width over mean."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.tile(values, (draws, 1)), axis=1)
    runs, truth = shuffled[:, :count], shuffled[:, count:].mean(axis=1)
    parts = []
    for name, method in METHODS.items():
        low, high = method(runs, len(values) - count, np.random.default_rng([*seed, 1]))
        width = (high - low) / runs.mean(axis=1)
        parts.append(pd.DataFrame({"method": name, "above": truth > high, "below": truth < low, "width": width}))
    return pd.concat(parts, ignore_index=True)


def summary(found: pd.DataFrame, *, each: bool) -> None:
    by_population = found.groupby(["group", "n", "method", "population"], sort=False).agg(
        above=("above", "mean"), below=("below", "mean"), width=("width", "median")
    )
    by_population["coverage"] = 1 - by_population["above"] - by_population["below"]
    for group in found["group"].unique():
        print(f"\n{group}: {by_population.loc[group].index.get_level_values('population').nunique()} populations")
        print(f"{'n':>4} {'method':10} {'coverage':>8} {'least':>6} {'above':>6} {'below':>6} {'most above':>10} "
              f"{'median w':>8} {'mean w':>8}  least covered")  # fmt: skip
        for (n, method), rows in by_population.loc[group].groupby(["n", "method"], sort=False):
            widths = found.loc[(found["group"] == group) & (found["n"] == n) & (found["method"] == method), "width"]
            least = rows["coverage"].idxmin()[2]
            print(f"{n:4d} {method:10} {rows['coverage'].mean():8.3f} {rows['coverage'].min():6.3f} "
                  f"{rows['above'].mean():6.3f} {rows['below'].mean():6.3f} {rows['above'].max():10.3f} "
                  f"{widths.median():8.3f} {widths.mean():8.3g}  {least}")  # fmt: skip
            if method == "ours":
                print(f"{n:4d} {'bar':10} {_BAR[n][1]:8.3f} {'':>6} {'':>6} {'':>6} {'':>10} {_BAR[n][0]:8.3f}")
    if each:
        print(by_population.xs("ours", level="method").round(3).to_string())


def ratios(data: Path, draws: int, seed: int) -> pd.DataFrame:
    """Return a row by kind of ratio, number of tasks and two populations: shares of misses, and width over truth."""
    same, means = _pairs(data), [v for group in populations(data, calls=False).values() for v in group.values()]
    other = {str(k): (one, means[(k + 5) % len(means)]) for k, one in enumerate(means)}
    rows = []
    for kind, pairs in (("same tasks", same), ("other tasks", other), ("per success", _successes(data))):
        for n in SIZES:
            for number, (mine, base) in enumerate(pairs.values()):
                rng = np.random.default_rng([seed, n, number])
                first, second = (rng.integers(len(side), size=(n, draws)) for side in (mine, base))
                if kind == "same tasks":
                    part, of = mine[first], base[first]
                    found = [paired_interval(part[:, [k]], of[:, [k]], LEVEL) for k in range(draws)]
                    low, high = np.array(found)[:, :, 0].T
                elif kind == "per success":
                    found = [per_success_interval(mine[one], base[one], LEVEL) for one in first.T]
                    low, high = np.array([ends for ends in found if np.isfinite(ends).all()]).T
                else:
                    low, high = ratio_interval(mine[first], base[second], LEVEL)
                truth = mine.mean() / base.mean()
                rows.append((kind, n, (truth > high).mean(), (truth < low).mean(), np.median(high - low) / truth))
    return pd.DataFrame(rows, columns=["kind", "n", "above", "below", "width"])


def show_equal(data: Path, draws: int, seed: int) -> None:
    """Print what ours claims, covers and takes in width where it covers as much as the method of the bar."""
    every = [values for group in populations(data, calls=False).values() for values in group.values()]
    print("   n  level  coverage  median w  bar: coverage  median w")
    for n, (bar_width, bar_coverage) in _BAR.items():
        drawn = []
        for number, values in enumerate(every):
            rng = np.random.default_rng([seed, n, number])
            shuffled = rng.permuted(np.tile(values, (draws, 1)), axis=1)
            drawn.append((shuffled[:, :n], shuffled[:, n:].mean(axis=1), len(values) - n))
        low, high = 0.5, 0.99
        for _ in range(10):
            level = (low + high) / 2
            coverage, width = _at_level(drawn, level)
            low, high = (level, high) if coverage < bar_coverage else (low, level)
        met = "met" if width <= bar_width else "MISSED"
        print(f"{n:4d}  {level:5.3f}  {coverage:8.3f}  {width:8.3f}  {bar_coverage:13.3f}  {bar_width:8.2f}  {met}")


def _at_level(drawn: list[tuple[Floats, Floats, int]], level: float) -> tuple[float, float]:
    inside, widths = [], []
    for runs, truth, future in drawn:
        ends = np.array(
            [an.mean_interval(row, future=future, level=level, rng=np.random.default_rng(0)) for row in runs]
        )
        inside.append(((truth >= ends[:, 0]) & (truth <= ends[:, 1])).mean())
        widths.append((ends[:, 1] - ends[:, 0]) / runs.mean(axis=1))
    return float(np.mean(inside)), float(np.median(np.concatenate(widths)))


def _pairs(data: Path) -> dict[str, tuple[Floats, Floats]]:
    sessions = sessions_of(data)
    sums = {name: np.array([sum(one.get(name) or 0 for one in calls) for calls in sessions], dtype=np.float64)
            for name in ("in", "out", "hit_blocks", "n_blocks")}  # fmt: skip
    counts = np.array([len(calls) for calls in sessions], dtype=np.float64)
    pairs = {"cached": (sums["hit_blocks"], sums["n_blocks"]), "output": (sums["out"], sums["in"]),
             "input a call": (sums["in"], counts), "output a call": (sums["out"], counts)}  # fmt: skip
    runs = pd.read_csv(data / "populations" / "swebench_bash_only_runs.csv.xz")
    for model, of in runs.groupby("model"):
        pairs[str(model)] = (of["cost_usd"].to_numpy(np.float64), of["api_calls"].to_numpy(np.float64))
    return pairs


def _successes(data: Path) -> dict[str, tuple[Floats, Floats]]:
    """Return what each run of a model cost, and whether it succeeded."""
    runs = pd.read_csv(data / "populations" / "swebench_bash_only_runs.csv.xz")
    names = ("cost_usd", "resolved")
    return {str(model): (of[names[0]].to_numpy(dtype=np.float64), of[names[1]].to_numpy(dtype=np.float64))
            for model, of in runs.groupby("model")}  # fmt: skip


def laws(draws: int, seed: int) -> pd.DataFrame:
    """Return a row per law and number of tasks: misses of the interval of a mean, and of a ratio of two kinds."""
    rows = []
    for number, law in enumerate(LAWS):
        truth = float(sized(law, np.random.default_rng(7), 5_000_000).mean())
        for n in SHARE_SIZES:
            rng = np.random.default_rng([seed, number, n])
            values, base = sized(law, rng, (draws, n)), sized("ln 0.5", rng, (draws, n))
            low, high = np.array([an.mean_interval(row, level=LEVEL, rng=rng) for row in values]).T
            rows.append(("mean", law, n, (truth > high).mean(), (truth < low).mean(), np.median(high - low) / truth))
            low, high = ratio_interval(values.T, base.T, LEVEL)
            ratio = truth / float(np.exp(0.125))
            rows.append(("ratio", law, n, (ratio > high).mean(), (ratio < low).mean(), np.median(high - low) / ratio))
    return pd.DataFrame(rows, columns=["interval", "law", "n", "above", "below", "width"])


def show_ratios(found: pd.DataFrame) -> None:
    found["coverage"] = 1 - found["above"] - found["below"]
    grouped = found.groupby(["kind", "n"], sort=False)
    print(grouped.agg(pairs=("n", "size"), coverage=("coverage", "mean"), least=("coverage", "min"), above=("above", "mean"),
                      below=("below", "mean"), width=("width", "median")).round(3).to_string())  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", action="store_true", help="also print each population's figures for ours")
    parser.add_argument("--calls", action="store_true", help="also the calls of the 13 models' runs")
    parser.add_argument("--ratios", action="store_true", help="intervals of ratios instead")
    parser.add_argument("--equal", action="store_true", help="widths at the coverage of the bar instead")
    parser.add_argument("--shares", action="store_true", help="intervals of shares instead")
    parser.add_argument("--differences", action="store_true", help="what differs between two samples instead")
    parser.add_argument("--pairs", action="store_true", help="what differs between two runs of the same tasks instead")
    parser.add_argument("--laws", action="store_true", help="means and ratios of made-up tasks instead")
    options = parser.parse_args()
    if options.shares:
        show_shares(shares(sessions_of(options.data), options.draws, options.seed))
        return
    if options.differences:
        show_differences(differences(options.data, sessions_of(options.data), options.draws, options.seed))
        return
    if options.pairs:
        show_pairs(of_pairs(options.draws, options.seed))
        return
    if options.laws:
        found = laws(options.draws, options.seed)
        found["coverage"] = 1 - found["above"] - found["below"]
        print(found.pivot_table(index=["interval", "law"], columns="n", values=["coverage", "width"], sort=False)
              .round(3).to_string())  # fmt: skip
        return
    if options.equal:
        show_equal(options.data, options.draws, options.seed)
        return
    if options.ratios:
        show_ratios(ratios(options.data, options.draws, options.seed))
        return
    parts = []
    for group, members in populations(options.data, calls=options.calls).items():
        for number, (name, values) in enumerate(members.items()):
            for n in SIZES:
                found = measure(values, n, options.draws, [options.seed, number, n])
                parts.append(found.assign(group=group, population=name, n=n))
    found = pd.concat(parts, ignore_index=True)
    together = found[found["group"] != "calls"].assign(group="cost and sessions")
    summary(pd.concat([found, together], ignore_index=True), each=options.each)


if __name__ == "__main__":
    main()
