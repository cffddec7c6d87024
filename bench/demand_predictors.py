"""Other forecasters over the same origins, in an environment of their own: statsforecast, Prophet, Dynamo's predictors.

Run by demand_backtest.py, by hand so:

    python -m venv ENV && ENV/bin/pip install statsforecast prophet pmdarima
    python bench/demand_backtest.py --others ENV/bin/python

It reads one JSON object from standard input ({"series": {name: hourly means, ...}, "first": n}) and writes one line for
each series and forecaster as it finishes: {"series", "name", "hour", "day", "error", "cpu_s"}, the forecasts as rows of
mean, low and high of 90 % (NaN where there is no interval). It sees hourly means with gaps as recorded, and nothing
that comes after an origin. Two processes of one thread each.

statsforecast fits anew at every hour, but for AutoETS and AutoARIMA: these choose a model and fit it every midnight,
and from then on apply it (`forward`) to what comes in. AutoARIMA is held to (p, q, P, Q) of at most (2, 2, 1, 1), four
in all, twelve models, conditional sums of squares while it chooses (`approximation`): with its defaults one fit takes
minutes. Prophet fits anew at every hour, daily and weekly, with 300 samples for its interval.

Dynamo's planner has `constant` (last value), `arima` (pmdarima's auto_arima, the default), `prophet` (defaults), all
three over its default window of 50 samples, and `kalman` (local linear trend, process noise 1 and 0.1, observation
noise 10). They are written again here after its source, and say nothing of intervals; its own step is 180 s, ours an
hour.
Sources: ai-dynamo/dynamo, components/planner, load_predictor.py; statsforecast 2.1 and pmdarima 2.1 as
documented.
"""

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before NumPy: two processes share two cores

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Predictor = Callable[[Floats, int, bool], Floats]
"""What is known, how many steps to go, whether a model may be chosen anew; returns (steps, 3): mean, low, high."""

_WINDOW = 50


def _alone(middle: Floats) -> Floats:
    return np.column_stack((middle, np.full((len(middle), 2), np.nan)))


def statsforecast_model(name: str, *, at_midnight: bool = False) -> Predictor:
    from statsforecast import models

    makers = {"SeasonalNaive(24)": lambda: models.SeasonalNaive(season_length=24),
              "SeasonalNaive(168)": lambda: models.SeasonalNaive(season_length=168),
              "AutoETS": lambda: models.AutoETS(season_length=24), "AutoTheta": lambda: models.AutoTheta(season_length=24),
              "MSTL(24)": lambda: models.MSTL(season_length=[24]),
              "MSTL(24,168)": lambda: models.MSTL(season_length=[24, 168]),
              "AutoARIMA": lambda: models.AutoARIMA(season_length=24, approximation=True, nmodels=12, max_order=4,
                                                    max_p=2, max_q=2, max_P=1, max_Q=1)}  # fmt: skip
    held = []

    def predict(known: Floats, count: int, anew: bool) -> Floats:
        if anew or not at_midnight or not held:
            held[:] = [makers[name]().fit(known)]
            found = held[0].predict(count, level=[90])
        else:
            found = held[0].forward(known, count, level=[90])
        return np.column_stack([np.asarray(found[one], dtype=np.float64) for one in ("mean", "lo-90", "hi-90")])

    return predict


def prophet(window: int | None) -> Predictor:
    import pandas as pd
    from prophet import Prophet

    def predict(known: Floats, count: int, _anew: bool) -> Floats:
        start = 0 if window is None else max(0, len(known) - window)
        hours = pd.date_range("2025-01-06", periods=len(known) + count, freq="h")
        model = Prophet(uncertainty_samples=300 if window is None else 0, interval_width=0.9)
        model.fit(pd.DataFrame({"ds": hours[start : len(known)], "y": known[start:]}))
        found = model.predict(pd.DataFrame({"ds": hours[len(known) :]}))
        if window is not None:
            return _alone(found["yhat"].to_numpy())
        return found[["yhat", "yhat_lower", "yhat_upper"]].to_numpy()

    return predict


def constant() -> Predictor:
    return lambda known, count, _anew: _alone(np.full(count, known[-1]))


def arima() -> Predictor:
    import pmdarima

    def predict(known: Floats, count: int, _anew: bool) -> Floats:
        window = known[-_WINDOW:]
        if np.ptp(window) == 0:
            return _alone(np.full(count, window[-1]))
        model = pmdarima.auto_arima(window, suppress_warnings=True, error_action="ignore")
        return _alone(np.asarray(model.predict(count)))

    return predict


def kalman() -> Predictor:
    def predict(known: Floats, count: int, _anew: bool) -> Floats:
        state, spread = np.zeros(2), np.eye(2) * 1000
        move, noise = np.array([[1.0, 1.0], [0.0, 1.0]]), np.diag([1.0, 0.1])
        for value in known:
            state, spread = move @ state, move @ spread @ move.T + noise
            gain = spread[:, 0] / (spread[0, 0] + 10.0)
            state = state + gain * (value - state[0])
            spread = spread - np.outer(gain, spread[0])
        return _alone(state[0] + state[1] * np.arange(1, count + 1))

    return predict


# Quick ones first: where time runs out, most have finished.
PREDICTORS: dict[str, Callable[[], Predictor]] = {
    "Dynamo constant": constant,
    "Dynamo kalman": kalman,
    "statsforecast SeasonalNaive(24)": lambda: statsforecast_model("SeasonalNaive(24)"),
    "statsforecast SeasonalNaive(168)": lambda: statsforecast_model("SeasonalNaive(168)"),
    "statsforecast AutoTheta": lambda: statsforecast_model("AutoTheta"),
    "statsforecast MSTL(24)": lambda: statsforecast_model("MSTL(24)"),
    "statsforecast AutoETS": lambda: statsforecast_model("AutoETS", at_midnight=True),
    "statsforecast AutoARIMA": lambda: statsforecast_model("AutoARIMA", at_midnight=True),
    "statsforecast MSTL(24,168)": lambda: statsforecast_model("MSTL(24,168)"),
    "Prophet": lambda: prophet(None),
    "Dynamo prophet": lambda: prophet(_WINDOW),
    "Dynamo arima": arima,
}


def _cpu_s() -> float:
    """Return the processor time of this process and those it ran (Prophet fits in one of its own)."""
    return sum(os.times()[:4])


def rolled(series: str, name: str, hours: Floats, first: int) -> dict[str, object]:
    """Return forecasts from every hour for the next, and from every 24th for the next 24."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    began = _cpu_s()
    every: list[list[float]] = []
    days: list[list[float]] = []
    error = ""
    try:
        predict = PREDICTORS[name]()
        for origin in range(first, len(hours)):
            midnight = (origin - first) % 24 == 0
            found = np.maximum(predict(hours[:origin], 24 if midnight else 1, midnight), 0.0)
            every.append(found[0].tolist())
            if midnight and origin + 24 <= len(hours):
                days += found.tolist()
    except Exception as caught:  # noqa: BLE001  # a forecaster that fails is named in the table, not the end of it
        every, days, error = [], [], f"{type(caught).__name__}: {caught}"
    return {"series": series, "name": name, "hour": every, "day": days, "error": error,
            "cpu_s": _cpu_s() - began}  # fmt: skip


def main() -> None:
    asked = json.load(sys.stdin)
    with ProcessPoolExecutor(2) as pool:
        jobs = [pool.submit(rolled, series, name, np.array(hours, dtype=np.float64), asked["first"])
                for name in PREDICTORS for series, hours in asked["series"].items()]  # fmt: skip
        for job in as_completed(jobs):
            print(json.dumps(job.result()), flush=True)


if __name__ == "__main__":
    main()
