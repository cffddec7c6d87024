"""What cut runs do to a forecast: recorded sessions cut at random or by a limit, plain means beside those that know.

    python bench/forecast_censored.py [--data ../shared/data] [--draws 400] [--seed 1]

So many of the recorded sessions are drawn, and each is stopped by the call that passes its limit of tokens: a random
one of its own (exponential), or one for all (a quantile of all sessions). Columns: share of the runs cut, share cut
beyond the longest finished one; bias of the mean input tokens and calls as recorded (plain), and with longer runs
standing in for what was cut (known); coverage of the 90 % interval of the mean input of all sessions: of the same runs
uncut, plain and known; and the known interval's median width over that of the runs uncut. Where one limit cuts all that
is long, nothing but the share beyond can tell.
"""

import argparse
import json
import lzma
from pathlib import Path

import numpy as np
from forecast_end_to_end import _flat
from numpy.typing import NDArray

from tokenflation.analysis.statistics.censoring import Shares, even_shares, run_shares
from tokenflation.analysis.statistics.prototypes import mean_factors

Floats = NDArray[np.float64]

_TAILS = (0.05, 0.95)


def recorded(path: Path) -> list[Floats]:
    """Return input tokens, output tokens and a 1 for each call, by session."""
    with lzma.open(path, "rt") as lines:
        sessions = [list(_flat(json.loads(line)["requests"])) for line in lines]
    return [np.array([(call["in"], call["out"], 1.0) for call in calls]) for calls in sessions]


def stopped(session: Floats, limit: float) -> tuple[Floats, bool, float]:
    """Return what a session used until the call that passed the limit had ended, whether that cut it, and tokens.

    The tokens are those it had used when it was cut, or before the call that finished it.
    """
    tokens = np.concatenate(([0.0], np.cumsum(session[:, 0] + session[:, 1])))
    made = min(int(np.searchsorted(tokens[1:], limit)) + 1, len(session))
    cut = made < len(session)
    return session[:made].sum(axis=0), cut, float(tokens[made if cut else made - 1])


def interval(values: Floats, shares: Shares, rng: np.random.Generator) -> tuple[float, float]:
    """Return the 90 % interval of the mean of the first column, as a forecast has it."""
    factors = mean_factors(values, 500, rng, shares=shares)[:, 0]
    low, high = np.quantile(factors, _TAILS) * (shares.weights @ values[:, 0])
    return float(low), float(high)


def one_draw(sessions: list[Floats], limits: Floats, picked: NDArray[np.int64], truth: Floats,
             rng: np.random.Generator) -> list[float]:  # fmt: skip
    """Return one row of figures, in the order of the columns."""
    rows = [stopped(sessions[place], limit) for place, limit in zip(picked, limits, strict=True)]
    values, cut = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    shares, even = run_shares(np.array([row[2] for row in rows]), cut), even_shares(len(picked))
    whole = np.array([sessions[place].sum(axis=0) for place in picked])
    ends = [interval(whole, even, rng), interval(values, even, rng), interval(values, shares, rng)]
    plain, known = even.weights @ values / truth - 1, shares.weights @ values / truth - 1
    return [float(cut.mean()), shares.beyond, plain[0], known[0], plain[2], known[2],
            *(float(low <= truth[0] <= high) for low, high in ends),
            (ends[2][1] - ends[2][0]) / (ends[0][1] - ends[0][0])]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sessions = recorded(options.data / "agent_sessions" / "sessions.jsonl.xz")
    used = np.array([one.sum(axis=0) for one in sessions])
    truth, tokens = used.mean(axis=0), used[:, 0] + used[:, 1]
    print(f"{len(sessions)} sessions, {options.draws} draws each")
    print(f"{'limits':18} {'n':>4} {'cut':>5} {'beyond':>6} | {'input plain':>11} {'known':>7} | {'calls plain':>11} {'known':>7}"
          f" | {'cover uncut':>11} {'plain':>6} {'known':>6} | {'width':>5}")  # fmt: skip
    for name, mean, quantile in (("random, few", 6.0, None), ("random, many", 2.2, None), ("one, at p90", None, 0.9),
                                 ("one, at p75", None, 0.75)):  # fmt: skip
        for count in (30, 100):
            rng = np.random.default_rng([options.seed, count])
            rows = []
            for _ in range(options.draws):
                limits = (rng.exponential(mean * tokens.mean(), count) if mean is not None
                          else np.full(count, np.quantile(tokens, quantile)))  # fmt: skip
                rows.append(one_draw(sessions, limits, rng.integers(0, len(sessions), count), truth, rng))
            found = np.array(rows)
            cut, beyond, plain, known, plain_calls, known_calls, *cover, _ = found.mean(axis=0)
            print(f"{name:18} {count:4} {cut:5.0%} {beyond:6.1%} | {plain:+11.1%} {known:+7.1%} | {plain_calls:+11.1%} "
                  f"{known_calls:+7.1%} | {cover[0]:11.2f} {cover[1]:6.2f} {cover[2]:6.2f} | {np.median(found[:, -1]):5.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
