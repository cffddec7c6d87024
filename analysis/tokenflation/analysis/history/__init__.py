"""Recorded demand over time: reading it, forecasting it, and how good that would have been.

`reading`, `gaps` and `seasonal` come before the forecast of hours (`timeseries`, `recorded`, with `conformal`
intervals) and of months (`monthsahead`); `backtest` and `backtesting` say what they were worth.
"""

__all__: list[str] = []
