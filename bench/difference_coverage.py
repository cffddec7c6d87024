"""How often intervals of what differs between two samples hold the truth, for `interval_coverage.py`.

`--differences` asks of samples of their own, `--pairs` of the same tasks done twice.
"""

import lzma
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from task_laws import sized

from tokenflation.analysis.comparison.effects import Side, bounds, chains_of, effects_between, with_sums
from tokenflation.analysis.statistics.prototypes import kappa

__all__ = ["differences", "of_pairs", "show_differences", "show_pairs"]

Floats = NDArray[np.float64]

DIFFERENCE_SIZES = (10, 20, 60)
LEVEL = 0.9
FACTORS = {2: "calls", 3: "input per call", 4: "output", -1: "total"}
MADE = ("ln 0.5", "ln 1", "ln 1.5", "pareto 1.5", "pareto 2.5", "modes")
_RESAMPLES = 500
_MANY = 200_000
# Fewer sessions of a model are no population.
_LEAST_SESSIONS = 50
_SHARED = np.array([True])


def populations(data: Path, sessions: list[list[dict[str, Any]]]) -> dict[str, dict[str, Floats]]:
    """Return, by group, populations of tasks: calls, input, and input with output (of runs: cost twice)."""
    runs = pd.read_csv(data / "populations" / "swebench_bash_only_runs.csv.xz")
    found = {"runs": {str(model): _amounts(of["api_calls"], of["cost_usd"], 0) for model, of in runs.groupby("model")}}
    main = pd.Series([max(calls, key=lambda one: one["in"])["model"] for calls in sessions])
    counts = _amounts(*([f(calls) for calls in sessions] for f in (
        len, lambda calls: sum(one["in"] for one in calls), lambda calls: sum(one["out"] for one in calls))))  # fmt: skip
    found["sessions"] = {str(model): counts[main == model] for model in main.unique()
                         if (main == model).sum() >= _LEAST_SESSIONS}  # fmt: skip
    requests = {name: pd.read_csv(data / "demand" / f"azure_2023_{name}.csv.xz")[["ContextTokens", "GeneratedTokens"]]
                for name in ("code", "conv")}  # fmt: skip
    with lzma.open(data / "demand" / "mooncake_conversation.jsonl.xz", "rt") as lines:
        requests["mooncake"] = pd.read_json(lines, lines=True)[["input_length", "output_length"]]
    found["requests"] = {name: _amounts(np.ones(len(of)), *of.to_numpy().T) for name, of in requests.items()}
    for number, law in enumerate(MADE):
        rng = np.random.default_rng([3, number])
        calls = np.maximum(1.0, np.round(8 * sized(law, rng, _MANY)))
        tokens = calls**1.5 * np.exp(0.4 * rng.standard_normal(_MANY))
        found.setdefault("made up", {})[law] = _amounts(calls, tokens, 0.05 * calls)
    return found


def _amounts(calls: Any, tokens: Any, output: Any) -> Floats:
    first, second = np.asarray(calls, dtype=np.float64), np.asarray(tokens, dtype=np.float64)
    return np.column_stack([first, second, second + np.asarray(output, dtype=np.float64)])


def resampled(a: Side, b: Side, point: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the ends by percentiles of resamples of both sides, widened by `kappa`, as differences had them before."""
    chains = []
    for side in (a, b):
        count = len(side.kinds)
        means = rng.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES) @ side.amounts / count
        chains.append(np.column_stack([np.ones((_RESAMPLES, 2)), means])[:, None, :])
    drawn = with_sums(effects_between(*chains, _SHARED, "lmdi")) - point
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    width = kappa(min(len(a.kinds), len(b.kinds)))
    return (point + width * low)[0], (point + width * high)[0]


def differences(data: Path, sessions: list[list[dict[str, Any]]], draws: int, seed: int) -> pd.DataFrame:
    """Return one row per method, pair of populations, number of tasks a side and effect: misses, median width."""
    rows = []
    for group, members in populations(data, sessions).items():
        names = list(members)
        for number, (one, other) in enumerate([(one, names[(k + s) % len(names)]) for s in (0, 1)
                                               for k, one in enumerate(names)]):  # fmt: skip
            first, second = (of / of.mean(axis=0) * [4.0, scale, scale] for of, scale in
                             ((members[one], 1.0), (members[other], 1.5)))  # fmt: skip
            truth = with_sums(_point(_side(first), _side(second)))[0]
            for n in DIFFERENCE_SIZES:
                rng = np.random.default_rng([seed, number, n])
                ends: dict[str, list[tuple[Floats, Floats]]] = {"ours": [], "resampled": []}
                for _ in range(draws):
                    a, b = (_side(of[rng.integers(len(of), size=n)]) for of in (first, second))
                    found = bounds(a, b, ["k"], _SHARED, total=False, method="lmdi", rng=rng, level=LEVEL)
                    ends["ours"].append((found[0][0], found[1][0]))
                    ends["resampled"].append(resampled(a, b, with_sums(_point(a, b)), rng))
                for method, of in ends.items():
                    low, high = np.array(of).transpose(1, 0, 2)
                    rows += [(method, group, "same" if one == other else "other", one, other, n, name,
                              (truth[k] > high[:, k]).mean(), (truth[k] < low[:, k]).mean(), np.median(high - low, axis=0)[k])
                             for k, name in FACTORS.items()]  # fmt: skip
    return pd.DataFrame(rows, columns=["method", "group", "law", "a", "b", "n", "effect", "above", "below", "width"])


def _side(amounts: Floats) -> Side:
    return Side(kinds=np.array(["k"] * len(amounts), dtype=object), amounts=amounts)


def _point(a: Side, b: Side) -> Floats:
    return effects_between(chains_of(a, ["k"], False), chains_of(b, ["k"], False), _SHARED, "lmdi")


def of_pairs(draws: int, seed: int) -> pd.DataFrame:
    """Return one row per law, spread of a task's own, number of tasks, effect, and how the two samples were drawn.

    `pairs`: the same tasks done twice, of which the intervals know; `unknown`: of which they do not; `other`: other
    tasks. `own` is what two runs of one task differ by, in log of calls and of tokens.
    """
    rows = []
    for number, (law, own, scale) in enumerate(product(MADE, (0.1, 0.5), (1.0, 1.3))):
        rng = np.random.default_rng([seed, number])
        size = sized(law, rng, _MANY)
        first, second = (_runs(size, own, times, rng) for times in (1.0, scale))
        truth = with_sums(_point(_side(first), _side(second)))[0]
        for n, how in product((10, 30, 60), ("pairs", "unknown", "other")):
            ends = []
            for _ in range(draws):
                at = rng.integers(_MANY, size=n)
                ids = np.arange(n).astype(object) if how == "pairs" else None
                sides = first[at], second[rng.integers(_MANY, size=n) if how == "other" else at]
                a, b = (Side(kinds=np.array(["k"] * n, dtype=object), amounts=one, ids=ids) for one in sides)
                low, high = bounds(a, b, ["k"], _SHARED, total=False, method="lmdi", rng=rng, level=LEVEL)
                ends.append((low[0], high[0]))
            low, high = np.array(ends).transpose(1, 0, 2)
            rows += [(law, own, n, how, name, ((low <= truth) & (truth <= high))[:, k].mean(), np.median(high - low, axis=0)[k])
                     for k, name in FACTORS.items() if name != "output"]  # fmt: skip
    return pd.DataFrame(rows, columns=["law", "own", "n", "how", "effect", "coverage", "width"])


def _runs(size: Floats, own: float, times: float, rng: np.random.Generator) -> Floats:
    """Return what runs of tasks of these sizes take."""
    calls, tokens, output = (np.exp(own * rng.standard_normal(len(size))) for _ in range(3))
    calls = np.maximum(1.0, np.round(8 * size * calls))
    return _amounts(calls, times * 1000 * calls**1.5 * tokens, 50 * calls * output)


def show_pairs(found: pd.DataFrame) -> None:
    """Print coverage and width by spread of a task's own, and coverage by law."""
    print(
        found.pivot_table(index=["own", "effect"], columns=["how", "n"], values=["coverage"], sort=False)
        .round(2)
        .to_string()
    )
    print(
        found.pivot_table(index=["law", "own"], columns=["how", "effect"], values=["coverage"], sort=False)
        .round(2)
        .to_string()
    )
    widths = found.pivot_table(index=["own", "effect", "n", "law"], columns="how", values="width")
    print((widths["pairs"] / widths["unknown"]).groupby(["own", "effect", "n"]).median().unstack().round(2).to_string())


def show_differences(found: pd.DataFrame) -> None:
    """Print coverage and widths by group of populations; effects that no sample moves are left out."""
    found = found[found["width"] > 1e-9].assign(coverage=lambda rows: 1 - rows["above"] - rows["below"])
    grouped = found.groupby(["group", "law", "effect", "n", "method"], sort=False)
    table = grouped.agg(pairs=("a", "size"), coverage=("coverage", "mean"), least=("coverage", "min"),
                        above=("above", "mean"), below=("below", "mean"), width=("width", "mean"))  # fmt: skip
    print(table.unstack("method").drop(columns=[("pairs", "resampled")]).round(3).to_string())
