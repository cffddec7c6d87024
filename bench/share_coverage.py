"""How often intervals of shares of one whole hold the truth, for `interval_coverage.py --shares`. Run that."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from task_laws import HARD, LAWS, OTHER_LAWS, OTHER_PARTS, PARTS, drawn, true_share

from tokenflation.analysis.statistics.prototypes import kappa
from tokenflation.analysis.statistics.ratios import LEAST_EFFECTIVE, from_tasks

__all__ = ["SHARE_SIZES", "shares", "show_shares"]

Floats = NDArray[np.float64]
Ends = tuple[Floats, Floats]

SHARE_SIZES = (10, 15, 30, 60)
LEVEL = 0.9
_SHARE_RESAMPLES = 400
# Of what fewer sessions have, most draws of ten have nothing.
_LEAST_SESSIONS = 30


def log_odds_t(part: Floats, whole: Floats) -> Ends:
    """Return the ends by bootstrap-t of the log odds, widened by `kappa`, as shares had them before."""
    count, rng = part.shape[1], np.random.default_rng(1)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=_SHARE_RESAMPLES).astype(np.float64)
    place, error = _log_odds(part, whole, np.ones((1, count)))
    again, errors = _log_odds(part, whole, weights)
    t = np.clip((again - place) / np.maximum(errors, error / 3), -50, 50)
    least, most = np.quantile(np.nan_to_num(t), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    wide = kappa(count) * error[:, 0]
    return _share(place[:, 0] - most * wide), _share(place[:, 0] - least * wide)


def _log_odds(part: Floats, whole: Floats, weights: Floats) -> tuple[Floats, Floats]:
    rest, count = whole - part, part.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        a, c = part @ weights.T, rest @ weights.T
        squares = part**2 @ weights.T / a**2 - 2 * (part * rest) @ weights.T / (a * c) + rest**2 @ weights.T / c**2
        return np.log(a / c), np.sqrt(np.maximum(squares, 0.0) * count / (count - 1))


def _share(place: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-place))


def kish_t(part: Floats, whole: Floats) -> Ends:
    """Return the ends by Student's t of the log odds, with as many degrees of freedom as effective tasks, less one."""
    place, error = _log_odds(part, whole, np.ones((1, part.shape[1])))
    free = np.maximum(whole.sum(axis=1) ** 2 / (whole**2).sum(axis=1) - 1, 1)
    wide = np.interp(np.log(free), np.log([1, 2, 3, 4, 6, 10, 20, 60]),
                     [6.31, 2.92, 2.35, 2.13, 1.94, 1.81, 1.72, 1.67]) * error[:, 0]  # fmt: skip
    return _share(place[:, 0] - wide), _share(place[:, 0] + wide)


def ours_of_shares(part: Floats, whole: Floats) -> Ends:
    low, high = from_tasks(part[..., None], whole[..., None], np.array([True]), LEVEL)
    return low[:, 0], high[:, 0]


SHARE_METHODS: dict[str, Callable[[Floats, Floats], Ends]] = {
    "ours": ours_of_shares, "log-odds-t": log_odds_t, "Kish t": kish_t}  # fmt: skip


def shares(sessions: list[list[dict[str, Any]]], draws: int, seed: int) -> pd.DataFrame:
    """Return one row per method, law, part and number of tasks: shares of misses, and mean width."""
    rows = []
    for number, (law, parts) in enumerate([*product(LAWS, PARTS), *product(OTHER_LAWS, OTHER_PARTS)]):
        truth = true_share(law, parts)
        for n in SHARE_SIZES:
            part, whole = drawn(law, parts, np.random.default_rng([seed, number, n]), (draws, n))
            rows += _share_rows(law, parts, n, part, whole, truth)
    for number, (name, (part, whole)) in enumerate(_session_shares(sessions).items()):
        for n in SHARE_SIZES:
            which = np.random.default_rng([seed, number, n]).integers(len(part), size=(draws, n))
            rows += _share_rows("sessions", name, n, part[which], whole[which], part.sum() / whole.sum())
    return pd.DataFrame(rows, columns=["method", "law", "parts", "n", "above", "below", "width", "few", "few_held"])


def _share_rows(law: str, parts: str, n: int, part: Floats, whole: Floats, truth: float) -> list[tuple[Any, ...]]:
    seen = (part.sum(axis=1) > 0) & (part.sum(axis=1) < whole.sum(axis=1))
    part, whole = part[seen], whole[seen]
    few = whole.sum(axis=1) ** 2 / (whole**2).sum(axis=1) < LEAST_EFFECTIVE
    rows = []
    for name, method in SHARE_METHODS.items():
        low, high = method(part, whole)
        above, below = truth > high, truth < low
        held = (~above & ~below)[few].sum()
        rows.append((name, law, parts, n, above.mean(), below.mean(), (high - low).mean(), few.mean(), held / len(few)))
    return rows


def _session_shares(sessions: list[list[dict[str, Any]]]) -> dict[str, tuple[Floats, Floats]]:
    models = sorted({one["model"] for calls in sessions for one in calls})
    whole = np.array([sum(one["in"] + one["out"] for one in calls) for calls in sessions], dtype=np.float64)
    parts = {
        "cached": [sum(one.get("hit_blocks") or 0 for one in calls) for calls in sessions],
        "output": [sum(one["out"] for one in calls) for calls in sessions],
        "first call": [calls[0]["in"] for calls in sessions],
        "after 50 calls": [sum(one["in"] for one in calls[50:]) for calls in sessions],
    } | {model: [sum(one["in"] + one["out"] for one in calls if one["model"] == model) for calls in sessions]
         for model in models}  # fmt: skip
    blocks = np.array([sum(one.get("n_blocks") or 0 for one in calls) for calls in sessions], dtype=np.float64)
    found = {name: (np.array(part, dtype=np.float64), blocks if name == "cached" else whole)
             for name, part in parts.items()}  # fmt: skip
    return {name: pair for name, pair in found.items() if (pair[0] > 0).sum() >= _LEAST_SESSIONS}


def show_shares(found: pd.DataFrame) -> None:
    found["coverage"] = 1 - found["above"] - found["below"]
    hard = found["parts"].str.startswith(HARD) & (found["law"] != "ln 0.5")
    chosen, recorded = found["law"].isin(LAWS), found["law"] == "sessions"
    groups = {
        "made up, by these laws the constants were chosen": chosen & ~hard,
        "made up, by other laws": ~chosen & ~hard & ~recorded,
        "made up, the part grows with heavy-tailed tasks": hard,
        "recorded sessions": recorded,
    }
    for title, which in groups.items():
        rows = found[which]
        grouped = rows.assign(near=rows["coverage"].between(0.86, 0.94), least=rows["coverage"]).groupby(
            ["n", "method"], sort=False
        )
        print(f"\n{title}: {rows[['law', 'parts']].drop_duplicates().shape[0]} settings")
        print(grouped.agg(coverage=("coverage", "mean"), least=("least", "min"), near=("near", "mean"),
                          enough=("least", lambda x: (x >= 0.86).mean()), above=("above", "mean"),
                          below=("below", "mean"), width=("width", "mean")).round(3).to_string())  # fmt: skip
    mine = found[found["method"] == "ours"]
    print("\nours by law of sizes, and by part, all numbers of tasks: mean and least coverage")
    for name in ("law", "parts"):
        print(mine.groupby(name, sort=False)["coverage"].agg(["mean", "min"]).round(3).T.to_string())
    few = mine["few"].sum()
    print(f"\nfewer than {LEAST_EFFECTIVE} effective tasks: {mine['few'].mean():.3f} of all samples, held "
          f"{mine['few_held'].sum() / few:.3f}; the others {(mine['coverage'] - mine['few_held']).sum() / (1 - mine['few']).sum():.3f}")  # fmt: skip
