"""Recorded demand: what a forecast of a series must do whatever the series."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tokenflation.analysis.history.backtest import backtest, judged, pinball, provisioned, wape
from tokenflation.analysis.history.backtesting import roll
from tokenflation.analysis.history.conformal import LEAST_SCORES, Bounds, Daytime, quantiles
from tokenflation.analysis.history.gaps import find_gaps
from tokenflation.analysis.history.monthsahead import months_ahead
from tokenflation.analysis.history.reading import History, read_history
from tokenflation.analysis.history.recorded import forecast_series, forecast_tasks, mix_is_stable
from tokenflation.analysis.history.timeseries import LEAST_STEPS, members, step_logs
from tokenflation.sdk.errors import FrameError, PlanError

Floats = NDArray[np.float64]
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "demand"


def daily(days: int, seed: int = 0, noise: float = 0.1) -> Floats:
    """Return hourly demand with a day's shape and multiplicative noise."""
    hours = np.arange(24 * days)
    shape = 100 * (1.5 + np.sin(2 * np.pi * hours / 24))
    return np.asarray(shape * np.exp(np.random.default_rng(seed).normal(0, noise, len(hours))), dtype=np.float64)


def next_day(values: Floats) -> Floats:
    return np.asarray(roll(values, 3600, step_s=3600, horizon=24, first=len(values)).middle[-1], dtype=np.float64)


def test_a_shape_of_the_day_is_found_to_within_its_noise() -> None:
    series = daily(15)
    assert wape(next_day(series[:336]), series[336:]) < 0.12


def test_a_forecast_scales_with_the_series() -> None:
    series = daily(10)
    assert next_day(1e6 * series) == pytest.approx(1e6 * next_day(series), rel=1e-6)


def test_a_forecast_does_not_depend_on_when_the_series_is_said_to_start() -> None:
    early = forecast_series(History("x", 0.0, 3600, daily(5), "1/s"), steps=3)
    late = forecast_series(History("x", 7e8, 3600, daily(5), "1/s"), steps=3)
    assert late["value"].to_numpy() == pytest.approx(early["value"].to_numpy(), nan_ok=True)
    assert (late["bucket_start"] - early["bucket_start"]).unique() == pytest.approx([7e8])


def test_no_forecast_knows_what_comes_after_its_origin() -> None:
    series = daily(8)
    other = series.copy()
    other[150:] *= 7
    a, b = (roll(one, 3600, step_s=3600, horizon=24, first=100) for one in (series, other))
    for name in ("middle", "low", "high", "provision"):
        np.testing.assert_array_equal(getattr(a, name)[:51], getattr(b, name)[:51])


def test_a_constant_series_is_forecast_as_it_is() -> None:
    assert next_day(np.full(240, 5.0)) == pytest.approx(np.full(24, 5.0))


def test_a_day_that_repeats_itself_exactly_is_forecast_as_it_is_and_said_to_be() -> None:
    series = 1.0 + np.arange(240) % 24
    rolled = roll(series, 3600, step_s=3600, horizon=24, first=100)
    assert rolled.middle[-1] == pytest.approx(series[:24])
    judged_by = backtest(History("x", 0.0, 3600, series, "1/s"), first=120)
    assert (judged_by.loc[judged_by["model"] == "ensemble", "coverage"] == 1).all()


def test_outages_written_as_zeros_hardly_change_the_forecast() -> None:
    series = daily(14)
    cut = series.copy()
    cut[60:75] = cut[200:206] = cut[-3:] = 0.0
    assert wape(next_day(cut), next_day(series)) < 0.06


def test_missing_bins_hardly_change_the_forecast() -> None:
    series = daily(14)
    cut = series.copy()
    cut[np.random.default_rng(1).random(len(cut)) < 0.15] = np.nan
    assert wape(next_day(cut), next_day(series)) < 0.06


def test_zeros_of_a_closed_night_are_demand_and_not_a_gap() -> None:
    series = daily(10)
    series[np.arange(len(series)) % 24 < 6] = 0.0
    assert not find_gaps(series, 3600).any()
    assert next_day(series)[1:5].max() < 0.1 * np.mean(series)


def test_zeros_of_a_series_of_few_requests_are_demand_and_not_a_gap() -> None:
    series = np.random.default_rng(0).poisson(1.5, 480).astype(np.float64)
    assert not find_gaps(series, 3600).any()
    assert 0.5 < next_day(series).mean() < 3


def test_zeros_here_and_there_of_half_a_request_an_hour_are_demand() -> None:
    for seed in range(3):
        series = np.random.default_rng(seed).poisson(0.5, 480).astype(np.float64)
        assert series[~find_gaps(series, 3600)].mean() == pytest.approx(series.mean(), rel=0.1)


def test_zeros_of_quiet_nights_are_demand_where_days_are_smooth_and_an_outage_by_day_is_none() -> None:
    hour = np.arange(14 * 144) % 144 / 6
    expected = np.exp(4.6 * (0.5 - 0.5 * np.cos(2 * np.pi * (hour - 3) / 24)))  # 1 a bin at night, 100 by day
    series = np.random.default_rng(0).poisson(expected).astype(np.float64)
    outage = np.arange(8 * 144 + 72, 8 * 144 + 96)
    series[outage] = 0.0
    gaps = find_gaps(series, 600)
    assert gaps[outage].all()
    quiet = expected < 3
    assert series[quiet & ~gaps].mean() == pytest.approx(series[quiet].mean(), rel=0.1)


def test_a_zero_between_hours_that_hardly_differ_is_a_gap() -> None:
    series = daily(10, noise=0.02)
    series[[50, 51, 130]] = 0.0
    assert np.flatnonzero(find_gaps(series, 3600)).tolist() == [50, 51, 130]


def damaged(how: str) -> Floats:
    """Return a week of hours, damaged as logs are."""
    series = daily(7)
    spans = {"out for a night": (94, 101), "out twice": (60, 66), "out at the end": (165, 168), "two days out": (72, 120),
             "missing for two days": (60, 108)}  # fmt: skip
    if how in spans:
        series[slice(*spans[how])] = np.nan if "missing" in how else 0.0
    if how == "out twice":
        series[68:75] = 0.0
    if how == "three hundred times in one hour":
        series[100] *= 300
    if how == "half from the outage on":
        series[100:110], series[110:] = 0.0, series[110:] / 2
    if how == "constant but for one hour":
        series[:] = 50.0
        series[100] = 0.0
    return series[:60] if how == "two days and a half" else series


@pytest.mark.parametrize("how", ["out for a night", "out twice", "out at the end", "two days out", "missing for two days",
                                 "three hundred times in one hour", "half from the outage on", "constant but for one hour",
                                 "two days and a half"])  # fmt: skip
def test_no_damage_to_a_series_makes_a_forecast_of_nonsense(how: str) -> None:
    series = damaged(how)
    made = roll(series, 3600, step_s=3600, horizon=24, first=len(series) - 24)
    usual = float(np.nanmedian(series[series > 0]))
    assert np.isfinite(made.middle[-1]).all()
    assert made.middle[-1].min() > 0.03 * usual
    assert made.middle[-1].max() < 10 * usual
    told = np.isfinite(made.high[-1])
    assert (made.low[-1][told] <= made.middle[-1][told]).all()
    assert (made.middle[-1][told] <= made.high[-1][told]).all()


def test_a_series_that_is_too_short_is_refused_with_what_it_needs() -> None:
    with pytest.raises(FrameError, match=f"at least {LEAST_STEPS}"):
        step_logs(np.ones(20), 3600, 3600)


def test_a_series_of_nothing_but_zeros_is_refused() -> None:
    with pytest.raises(FrameError, match="zero everywhere"):
        step_logs(np.zeros(400), 3600, 3600)


def test_a_step_that_is_no_multiple_of_the_bin_is_refused() -> None:
    with pytest.raises(FrameError, match="no multiple"):
        step_logs(np.ones(400), 600, 900)


@pytest.mark.parametrize("seed", [0])
def test_intervals_hold_nine_times_in_ten_on_a_series_whose_noise_doubles(seed: int) -> None:
    rng = np.random.default_rng(seed)
    series = daily(16, noise=0.0) * np.exp(rng.normal(0, np.where(np.arange(384) < 200, 0.1, 0.2)))
    made = roll(series, 3600, step_s=3600, horizon=1, first=1)
    judged_at = np.arange(144, 384)
    row = judged_at - made.origins[0]
    inside = (series[judged_at] >= made.low[row, 0]) & (series[judged_at] <= made.high[row, 0])
    assert 0.86 <= inside.mean() <= 0.94


def test_a_bound_is_missed_as_often_as_it_says_when_errors_grow() -> None:
    bounds, misses = Bounds(0.1, 1), []
    for score in np.random.default_rng(0).exponential(1, 2000) * np.linspace(1, 5, 2000):
        given = bounds.values()
        misses.append(score > given[0])
        bounds.learn(np.array([0]), np.array([score]), given)
    assert np.mean(misses[100:]) == pytest.approx(0.1, abs=0.02)


def test_no_bound_is_given_before_enough_scores_are_known_and_unknown_ones_do_not_count() -> None:
    bounds = Bounds(0.1, 2)
    for number in range(LEAST_SCORES - 1):
        bounds.learn(np.array([0, 1]), np.array([1.0 + number, np.nan]), bounds.values())
    assert not np.isfinite(bounds.values()).any()
    bounds.learn(np.array([0, 1]), np.array([1.0, 1.0]), bounds.values())
    assert np.isfinite(bounds.values()).tolist() == [True, False]


def test_one_bad_stretch_moves_a_bound_far_ahead_less_than_that_of_the_next_step() -> None:
    bounds, both = Bounds(0.1, 24), np.array([0, 23])
    scores = np.abs(np.random.default_rng(0).normal(0, 1, 60))
    for score in scores:
        bounds.learn(both, np.array([score, score]), np.full(2, np.nan))
    before = bounds.values()[both]
    for _ in range(3):
        bounds.learn(both, np.full(2, float(np.median(scores))), np.zeros(2))
    near, far = bounds.values()[both] - before
    assert near > far


def test_a_time_of_day_that_is_forecast_worse_gets_a_larger_factor() -> None:
    daytime = Daytime(24, 1)
    for hour in range(24 * 6):
        daytime.learn(hour, np.array([0]), np.array([3.0 if hour % 24 < 8 else 1.0]))
    factors = daytime.factors(0, 24)
    assert factors[3] > 1.2
    assert factors[15] < 0.9


def test_factors_are_the_same_whichever_hours_are_asked_for() -> None:
    daytime = Daytime(24, 1, most=24 * 6)
    for hour in range(24 * 6):
        daytime.learn(hour, np.array([0]), np.array([1.0 + hour % 24 % 7]))
    day = daytime.factors(0, 24)
    assert daytime.factors(24 * 5 + 22, 5) == pytest.approx(day[[22, 23, 0, 1, 2]])


def test_the_interval_of_a_series_of_few_requests_stays_near_what_they_can_be() -> None:
    made = roll(np.random.default_rng(2).poisson(1.2, 300).astype(np.float64), 3600, step_s=3600, horizon=1, first=1)
    assert np.nanmedian(made.high[150:]) < 12


def test_a_quantile_of_few_scores_lies_where_one_more_would_make_it_exact() -> None:
    few = np.array([[4.0, 2.0, np.nan, 1.0, 3.0]])
    assert quantiles(few, np.array([0.6])) == pytest.approx([3.0])
    assert quantiles(few, np.array([0.99])) > 4.0


def test_an_interval_on_a_series_that_falls_to_nothing_at_times_reaches_down_to_nothing() -> None:
    rng = np.random.default_rng(3)
    series = daily(14) * np.where(rng.random(336) < 0.12, 0.0, 1.0) * rng.gamma(1.0, 1.0, 336)
    made = roll(series, 3600, step_s=3600, horizon=1, first=1)
    row = np.arange(168, 336) - made.origins[0]
    inside = (series[168:] >= made.low[row, 0]) & (series[168:] <= made.high[row, 0])
    assert made.low[row, 0].min() == 0.0
    assert 0.85 <= inside.mean() <= 0.95


@pytest.mark.parametrize(("share", "off"), [(0.5, 0.1), (0.8, 0.15)])
def test_forecasts_of_a_series_that_often_holds_nothing_add_up_to_what_came(share: float, off: float) -> None:
    rng = np.random.default_rng(6)
    series = np.where(rng.random(21 * 24) < share, 0, rng.poisson(3, 21 * 24) + 1).astype(np.float64)
    made = roll(series, 3600, step_s=3600, horizon=1, first=1, mask=False)
    row = np.arange(240, 504) - made.origins[0]
    assert made.middle[row, 0].sum() / series[240:].sum() == pytest.approx(1.0, abs=off)


def test_a_forecast_that_is_held_to_what_came_stays_within_its_interval() -> None:
    hour, weekday = np.arange(28 * 24) % 24, np.arange(28 * 24) // 24 % 7
    open_ = (hour >= 8) & (hour < 18) & (weekday < 5)
    series = np.where(open_, np.random.default_rng(101).poisson(40, open_.size), 0).astype(np.float64)
    made = roll(series, 3600, step_s=3600, horizon=1, first=1, mask=False)
    known = np.isfinite(made.middle) & np.isfinite(made.low) & np.isfinite(made.high)
    assert known.sum() > 500
    assert ((made.low <= made.middle) & (made.middle <= made.high))[known].all()


def test_the_figures_of_a_forecast_are_those_worked_out_by_hand() -> None:
    assert wape(np.array([1.0, 4.0, 9.0]), np.array([2.0, 2.0, np.nan])) == pytest.approx(3 / 4)
    assert pinball(np.array([1.0, 3.0]), np.array([2.0, 2.0]), 0.9) == pytest.approx((0.9 + 0.1) / 2)
    bins = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert provisioned(np.array([1.0, 2.0]), bins) == pytest.approx(2 * 1.5 / 2.5)


def test_a_quarter_of_the_bins_may_be_short_where_that_is_allowed() -> None:
    assert provisioned(np.ones(2), np.array([[1.0, 2.0], [3.0, 4.0]]), short=0.25) == pytest.approx(3 / 2.5)


@pytest.mark.parametrize(("capacity", "wanted"), [
    ([1e308, 1e308, 1e308], 1.5), ([1e308, 1e308, 1e-290], np.inf), ([0.0, 1.0, 1.0], np.inf),
    ([np.inf, 1.0, 1.0], np.inf), ([np.nan, 1.0, 1.0], np.nan), ([0.0, 0.0, 0.0], np.nan)])  # fmt: skip
def test_capacity_of_absurd_forecasts_is_a_number_or_none_that_is_enough(capacity: list[float], wanted: float) -> None:
    found = provisioned(np.array(capacity), np.array([[1.0], [2.0], [3.0]]), short=0.0)
    assert found == pytest.approx(wanted, nan_ok=True)


def test_hours_of_outage_count_only_where_every_hour_is_asked_for() -> None:
    series = daily(8, noise=0.02)
    series[150:156] = 0.0
    rows = backtest(History("x", 0.0, 3600, series, "1/s"))
    ours = rows[(rows["model"] == "ensemble") & (rows["ahead"] == "next step")].iloc[0]
    assert ours["steps"] == 96 - 6
    assert ours["wape_all"] > ours["wape"]


def test_a_bound_that_is_always_held_and_one_that_never_is_are_told_apart() -> None:
    truth, bins = np.array([1.0, 2.0]), np.array([[1.0], [2.0]])
    bounds = {"low": truth - 1, "high": truth + 1, "provision": truth - 0.5}
    figures = judged(truth, truth, truth, bins, bounds=bounds)
    assert (figures["coverage"], figures["short"], figures["wape"]) == (1.0, 1.0, 0.0)


def test_kinds_whose_shares_stay_are_forecast_together_and_sum_to_the_total() -> None:
    import pandas as pd

    rng = np.random.default_rng(0)
    kinds = {name: History(name, 0.0, 3600, rng.poisson(of * daily(8)).astype(np.float64) / 3600, "tasks/s")
             for name, of in (("a", 1.0), ("b", 3.0))}  # fmt: skip
    taken = pd.DataFrame(
        {"calls": [2.0, 1.0], "input_tokens": [10.0, 20.0], "output_tokens": [1.0, 2.0]}, index=["a", "b"]
    )
    found = forecast_tasks(kinds, taken, steps=4)
    assert found.attrs["manifest"]["mix"].startswith("stable")
    mean = found[found["statistic"] == "mean"].pivot_table(
        index="task", columns="resource", values="value", aggfunc="sum"
    )
    assert mean.loc["all"].to_numpy() == pytest.approx((mean.loc["a"] + mean.loc["b"]).to_numpy())
    assert mean.loc["a", "input_tokens_per_s"] == pytest.approx(10 * mean.loc["a", "tasks_per_s"])


def test_kinds_whose_shares_move_are_forecast_each_by_itself() -> None:
    import pandas as pd

    rng = np.random.default_rng(0)
    falling, rising = np.linspace(3, 0.3, 144), np.linspace(0.3, 3, 144)
    kinds = {name: History(name, 0.0, 3600, rng.poisson(of * 100) / 3600, "tasks/s")
             for name, of in (("a", falling), ("b", rising))}  # fmt: skip
    taken = pd.DataFrame(
        {"calls": [1.0, 1.0], "input_tokens": [10.0, 20.0], "output_tokens": [1.0, 2.0]}, index=["a", "b"]
    )
    found = forecast_tasks(kinds, taken, steps=4)
    assert found.attrs["manifest"]["mix"].startswith("moving")
    mean = found[(found["statistic"] == "mean") & (found["resource"] == "tasks_per_s")].groupby("task")["value"].mean()
    assert mean["a"] == pytest.approx(30 / 3600, rel=0.4)
    assert mean["b"] == pytest.approx(300 / 3600, rel=0.2)


def test_a_kind_that_grows_beside_one_that_does_not_moves_the_mix() -> None:
    steady = History("a", 0.0, 3600, np.full(240, 1.0), "tasks/s")
    growing = History("b", 0.0, 3600, np.linspace(0.1, 3, 240), "tasks/s")
    assert not mix_is_stable({"a": steady, "b": growing})


def test_months_ahead_grow_as_the_scenario_says_around_the_last_week() -> None:
    history = History("x", 0.0, 3600, np.tile(daily(1, noise=0.0), 21), "1/s")
    found = months_ahead(history, months=2, growth_per_month={"twice": 1.0}, rng=np.random.default_rng(0))
    mean = found[found["statistic"] == "mean"]["value"].to_numpy()
    assert mean == pytest.approx(history.values.mean() * np.array([2**0.5, 2**1.5]), rel=1e-6)


def interval_of_months(days: Floats, months: int) -> Floats:
    """Return high over low of each month ahead of a series of these daily levels."""
    series = np.repeat(days, 24) * np.tile(daily(1, noise=0.0), len(days))
    found = months_ahead(History("x", 0.0, 3600, series, "1/s"), months=months, growth_per_month={"flat": 0.0},
                         rng=np.random.default_rng(0)).pivot_table(index="month", columns="statistic", values="value")  # fmt: skip
    return np.asarray(found["mean_high"] / found["mean_low"], dtype=np.float64)


def test_two_weeks_whose_days_differ_say_no_more_of_next_year_than_of_next_month() -> None:
    width = interval_of_months(np.exp(np.random.default_rng(0).normal(0, 0.4, 14)), 12)
    assert 1.2 < width[0] < 3
    assert width[-1] == pytest.approx(width[0], rel=0.15)


def test_a_level_that_wandered_for_weeks_goes_on_to_wander() -> None:
    weeks = np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.1, 10)))
    width = interval_of_months(np.repeat(weeks, 7), 6)
    assert (np.diff(width) > 0).all()


def test_a_growth_that_leaves_less_than_nothing_is_refused() -> None:
    with pytest.raises(PlanError, match="growth of 'x'"):
        months_ahead(History("x", 0.0, 3600, daily(21), "1/s"), months=1, growth_per_month={"x": -1.5},
                     rng=np.random.default_rng(0))  # fmt: skip


def test_members_cover_every_step_asked_for_even_beyond_the_record() -> None:
    rows = members(step_logs(daily(3), 3600, 3600), 400)
    assert rows.shape[1] == 400
    assert np.isfinite(rows).all()


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "hour", "day"), [("m-large", 0.155, 0.33), ("m-small", 0.145, 0.18)])
def test_two_weeks_of_production_requests_are_forecast_within_the_bars(name: str, hour: float, day: float) -> None:
    path = DATA / f"servegen_10min_{name}.csv"
    if not path.exists():
        pytest.skip("the shared data is not there")
    rows = backtest(read_history(path), first=168)
    ours = rows[rows["model"] == "ensemble"].set_index("ahead")
    assert ours.loc["next step", "wape_all"] <= hour
    assert ours.loc["next day", "wape_all"] <= day
    assert 0.87 <= ours.loc["next step", "coverage"] <= 0.93
    assert ours.loc["next step", "provisioned"] < 1.9


def test_a_record_that_starts_with_an_outage_is_judged_all_the_same() -> None:
    series = daily(8, noise=0.02)
    series[:30] = series[55:70] = 0.0
    assert np.isfinite(roll(series, 3600, step_s=3600, horizon=2, first=1).middle[-1]).all()
