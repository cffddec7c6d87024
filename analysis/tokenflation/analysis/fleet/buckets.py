"""Reads a forecast's long table bucket by bucket. Knows nothing of how a forecast is made or shown."""

import pandas as pd

__all__ = ["busiest", "by_bucket"]


def by_bucket(demand: pd.DataFrame, resource: str) -> pd.DataFrame:
    """Return one row per bucket of a resource, in order, by where it starts (s), and one column per statistic."""
    rows = demand[(demand["resource"] == resource) & (demand["bucket_start"] >= 0)]
    return rows.pivot_table(index="bucket_start", columns="statistic", values="value")


def busiest(buckets: pd.DataFrame) -> "pd.Series[float]":
    """Return the first of the rows whose `mean` is highest; a mean that is not known is below all others."""
    return buckets.iloc[int(buckets["mean"].fillna(-1.0).to_numpy().argmax())]
