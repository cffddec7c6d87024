"""Recorded demand with times of the week that hold nothing: forecasts know them, and nothing else is taken for them."""

import numpy as np
import pytest

from tokenflation.analysis.history.backtesting import roll
from tokenflation.analysis.history.gaps import find_gaps
from tokenflation.analysis.history.reading import History
from tokenflation.analysis.history.recorded import forecast_series
from tokenflation.analysis.history.seasonal import weekly


def working_days(days: int) -> np.ndarray:
    """Return daily demand of about 1,000 from a Monday on, none at weekends."""
    demand = np.random.default_rng(1).poisson(1_000, days).astype(np.float64)
    return np.where(np.arange(days) % 7 >= 5, 0.0, demand)


def office_hours(days: int) -> np.ndarray:
    """Return hourly demand of about 1,000 from eight to six on working days, none at other times."""
    hour = np.arange(24 * days)
    opened = (hour // 24 % 7 < 5) & (hour % 24 >= 8) & (hour % 24 < 18)
    return np.where(opened, np.random.default_rng(1).poisson(1_000, len(hour)), 0.0).astype(np.float64)


def test_days_of_the_week_without_demand_are_none_and_no_gaps() -> None:
    series = working_days(12 * 7 + 5)
    assert not find_gaps(series, 86_400).any()
    ahead = roll(series, 86_400, step_s=86_400, horizon=7, first=len(series) - 30).middle[-1]
    assert ahead[:2].max() < 50
    assert ahead[2:] == pytest.approx(np.full(5, 1_000), rel=0.15)


def test_a_monday_after_a_closed_weekend_is_forecast_at_its_hours() -> None:
    series = office_hours(5 * 7)
    found = roll(series, 3600, step_s=3600, horizon=24, first=len(series) - 100)
    assert found.middle[-1][8:18] == pytest.approx(np.full(10, 1_000), rel=0.25)
    assert found.middle[-1][:8].max() < 50
    assert found.high[-1].max() <= 2 * series.max()


def test_half_a_year_of_days_bears_intervals_of_all_days_ahead() -> None:
    series = np.random.default_rng(1).poisson(1_000, 180).astype(np.float64)
    found = forecast_series(History("requests", 0.0, 86_400.0, series, "requests per bin"), steps=24)
    assert found["value"].notna().all()


def test_quiet_weekends_are_forecast_as_quiet_and_mondays_as_busy() -> None:
    hour = np.arange(24 * 7 * 5)
    shape = np.where(hour // 24 % 7 < 5, 1_000.0, 100.0) * (1.2 + np.sin(2 * np.pi * hour / 24))
    series = shape * np.exp(np.random.default_rng(1).normal(0, 0.1, len(hour)))
    for end in (19 * 24, len(series) - 24 * 7):  # a Friday evening, and a Sunday's
        middle = roll(series[:end], 3600, step_s=3600, horizon=24, first=end - 72).middle[-1]
        assert middle.sum() == pytest.approx(shape[end : end + 24].sum(), rel=0.1)


def test_weeks_that_do_not_agree_have_no_shape_of_a_week() -> None:
    steps = np.random.default_rng(1).normal(0, 0.3, 24 * 28)
    assert np.mean(weekly(steps, 24, 168, 24) != 0) < 0.15
    assert np.abs(weekly(steps, 24, 168, 24)).mean() < 0.03
    steps[-24 * 7 * 3 :] = np.nan
    assert (weekly(steps, 24, 168, 24) == 0).all()
