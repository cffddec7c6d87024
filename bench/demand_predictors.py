"""Other forecasters over the same origins, in an environment of their own: statsforecast, Prophet, Dynamo's predictors.

Run by demand_backtest.py; reads one JSON object from standard input ({"hours": [...], "first": n, "names": [...]}) and
writes {name: {"hour": [...], "day": [...], "error": ""}} to standard output. It sees hourly means with gaps as recorded.

Dynamo's planner has `constant` (last value), `arima` (pmdarima's auto_arima, the default), `kalman` (local linear trend,
process noise 1 and 0.1, observation noise 10) and `prophet` (window of 50). They are written again here after its source;
its own step is 180 s, ours an hour. Source: ai-dynamo/dynamo, components/planner, load_predictor.py.
"""

import json
import logging
import sys
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Predictor = Callable[[Floats, int], Floats]

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

_WINDOW = 50


def statsforecast_model(name: str) -> Predictor:
    from statsforecast import models

    made = {"AutoETS": lambda: models.AutoETS(season_length=24), "AutoTheta": lambda: models.AutoTheta(season_length=24),
            "MSTL": lambda: models.MSTL(season_length=[24, 168] if name == "MSTL(24,168)" else [24]),
            "AutoARIMA": lambda: models.AutoARIMA(season_length=24, approximation=True, stepwise=True, nmodels=12)}  # fmt: skip

    def predict(known: Floats, count: int) -> Floats:
        model = made[name.split("(")[0]]()
        return np.asarray(model.forecast(known, count)["mean"])

    return predict


def prophet(window: int | None) -> Predictor:
    import pandas as pd
    from prophet import Prophet

    def predict(known: Floats, count: int) -> Floats:
        start = 0 if window is None else max(0, len(known) - window)
        hours = pd.date_range("2025-01-06", periods=len(known) + count, freq="h")
        model = Prophet(weekly_seasonality=window is None, daily_seasonality=window is None)
        model.fit(pd.DataFrame({"ds": hours[start : len(known)], "y": known[start:]}))
        return model.predict(pd.DataFrame({"ds": hours[len(known) :]}))["yhat"].to_numpy()

    return predict


def constant() -> Predictor:
    return lambda known, count: np.full(count, known[-1])


def arima() -> Predictor:
    import pmdarima

    def predict(known: Floats, count: int) -> Floats:
        window = known[-_WINDOW:]
        if np.ptp(window) == 0:
            return np.full(count, window[-1])
        return np.asarray(pmdarima.auto_arima(window, suppress_warnings=True, error_action="ignore").predict(count))

    return predict


def kalman() -> Predictor:
    def predict(known: Floats, count: int) -> Floats:
        state, spread = np.array([known[0], 0.0]), np.eye(2) * 10
        move, noise = np.array([[1.0, 1.0], [0.0, 1.0]]), np.diag([1.0, 0.1])
        for value in known:
            state, spread = move @ state, move @ spread @ move.T + noise
            gain = spread[:, 0] / (spread[0, 0] + 10.0)
            state = state + gain * (value - state[0])
            spread = spread - np.outer(gain, spread[0])
        return state[0] + state[1] * np.arange(1, count + 1)

    return predict


PREDICTORS: dict[str, tuple[Callable[[], Predictor], bool, str]] = {
    # name: what makes it, whether it is run every hour too, what it needs
    "statsforecast AutoTheta": (lambda: statsforecast_model("AutoTheta"), True, "statsforecast"),
    "statsforecast AutoETS": (lambda: statsforecast_model("AutoETS"), False, "statsforecast"),
    "statsforecast MSTL(24)": (lambda: statsforecast_model("MSTL(24)"), False, "statsforecast"),
    "statsforecast MSTL(24,168)": (lambda: statsforecast_model("MSTL(24,168)"), False, "statsforecast"),
    "statsforecast AutoARIMA": (lambda: statsforecast_model("AutoARIMA"), False, "statsforecast"),
    "Prophet": (lambda: prophet(None), True, "prophet"),
    "Dynamo constant": (constant, True, ""),
    "Dynamo arima": (arima, True, "pmdarima"),
    "Dynamo kalman": (kalman, True, ""),
    "Dynamo prophet": (lambda: prophet(_WINDOW), True, "prophet"),
}


def rolled(name: str, hours: Floats, first: int) -> dict[str, object]:
    make, hourly, _ = PREDICTORS[name]
    try:
        predict = make()
        days = [np.maximum(predict(hours[:origin], 24), 0).tolist() for origin in range(first, len(hours) - 23, 24)]
        every = [float(max(predict(hours[:o], 1)[0], 0)) for o in range(first, len(hours))] if hourly else []
    except Exception as error:  # noqa: BLE001  # a forecaster that fails is named in the table, not the end of it
        return {"hour": [], "day": [], "error": f"{type(error).__name__}: {error}"}
    return {"hour": every, "day": [value for day in days for value in day], "error": ""}


def main() -> None:
    asked = json.load(sys.stdin)
    hours = np.array(asked["hours"], dtype=np.float64)
    json.dump({name: rolled(name, hours, asked["first"]) for name in asked["names"]}, sys.stdout)


if __name__ == "__main__":
    main()
