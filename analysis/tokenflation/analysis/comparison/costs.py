"""What a task costs, split into cached prefix, fresh input and output, by prices that the user gives.

We keep no prices: they change, and a stale one looks like a fact. The table is the user's, in a JSON, TOML or CSV file.
"""

import csv
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.columns.inflation import COST_COLUMNS
from tokenflation.analysis.comparison.ledger import PRICE_NAMES, ledger
from tokenflation.analysis.statistics.prototypes import LEAST_RUNS, mean_interval
from tokenflation.sdk.errors import PlanError

__all__ = ["Price", "PriceTable", "costs", "read_prices", "with_cost"]

_KEYS = ("input", "cache_read", "cache_write", "cache_write_1h", "output")
_FOR_AN_HOUR = "cache_write_1h_tokens"
"""What `extra` calls the part of `cache_write_tokens` that a provider (Anthropic) keeps for an hour, at a price of its
own.
"""
# Of one token: no provider asks for a million less than a thousandth of what currencies count.
_LEAST_PRICE = 1e-9
_EXAMPLE = (
    'JSON or TOML: {"currency": "USD", "per_tokens": 1000000, "prices": [{"model": "my-model*", "input": 3, '
    '"cache_read": 0.3, "output": 15}]}; CSV: columns model, input, cache_read, cache_write, '
    "cache_write_1h, output, per million tokens."
)


_COLUMNS = (*PRICE_NAMES, "price_cache_write_1h")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What tokens of the models that match a pattern cost, in currency per `PriceTable.per_tokens` tokens."""

    model: str
    """Name of a model, with `*` and `?` as in file names."""
    input: float
    output: float
    cache_read: float | None = None
    """Of input read from the provider's cache; None: no discount, the price of input."""
    cache_write: float | None = None
    """Of input written to it; None: the price of input."""
    cache_write_1h: float | None = None
    """Of input written to it for an hour, where the call tells lifetimes apart; None: that of `cache_write`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """Prices of models; the first pattern that matches the model that answered, else the one asked for, counts."""

    prices: tuple[Price, ...]
    currency: str = "currency units"
    per_tokens: float = 1e6

    def of_model(self, name: str) -> Price | None:
        """Return the first price whose pattern matches a model's name, case and all."""
        return next((price for price in self.prices if fnmatchcase(name, price.model)), None)

    def of_calls(self, calls: pd.DataFrame) -> pd.DataFrame:
        """Return the price of one token for each call: columns `ledger.PRICE_NAMES`, NaN where no pattern matches.

        A written token costs what those of its call cost on average, where they are of several lifetimes.
        """
        pairs = calls[["response_model", "model"]].astype("object")
        keys, names = pd.factorize(pd.MultiIndex.from_frame(pairs.where(pairs.notna(), "")))
        rows = np.array([self._row(str(answered), str(asked)) for answered, asked in names], dtype=np.float64)
        found = pd.DataFrame(rows.reshape(-1, len(_COLUMNS))[keys], columns=list(_COLUMNS))
        more = found.pop(_COLUMNS[-1]) - found["price_cache_write"]
        if more.any():
            found["price_cache_write"] += more * _share_for_an_hour(calls)
        return found

    def _row(self, answered: str, asked: str) -> list[float]:
        price = (self.of_model(answered) if answered else None) or (self.of_model(asked) if asked else None)
        if price is None:
            return [math.nan] * len(_COLUMNS)
        read = price.input if price.cache_read is None else price.cache_read
        write = price.input if price.cache_write is None else price.cache_write
        hour = write if price.cache_write_1h is None else price.cache_write_1h
        return [one / self.per_tokens for one in (price.input, read, write, price.output, hour)]


def _share_for_an_hour(calls: pd.DataFrame) -> NDArray[np.float64]:
    """Return which share of its written tokens each call writes for an hour; 0 where it does not say."""
    share = np.zeros(len(calls))
    if "extra" not in calls.columns or "cache_write_tokens" not in calls.columns:
        return share
    told = (
        calls["extra"].astype("str").str.contains(f'"{_FOR_AN_HOUR}"', regex=False).fillna(False).to_numpy(dtype=bool)
    )
    written = calls["cache_write_tokens"].fillna(0).to_numpy(dtype=np.float64)
    for place in np.flatnonzero(told & (written > 0)):
        kept = json.loads(calls["extra"].iloc[place]).get(_FOR_AN_HOUR) or 0
        share[place] = min(kept / written[place], 1.0)
    return share


def read_prices(path: str | Path) -> PriceTable:
    """Return the table of prices in a JSON, TOML or CSV file; a CSV file's prices are per million tokens.

    Raises:
        PlanError: the file is not there, is no such table, or a price is no number of at least 0.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix.lower() == ".csv":
            return _table({"prices": [_filled(row) for row in csv.DictReader(text.splitlines())]}, file)
        return _table(tomllib.loads(text) if file.suffix.lower() == ".toml" else json.loads(text), file)
    except OSError as error:
        raise PlanError(
            f"the price table {file} cannot be read: {error.strerror}. Give the path of one. {_EXAMPLE}"
        ) from error
    except (ValueError, csv.Error, RecursionError) as error:
        raise PlanError(f"{file} is no price table: {error}. Write {_EXAMPLE}") from error


def _filled(row: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the cells of a CSV row that say something."""
    return {name: value for name, value in row.items() if value not in (None, "")}


def _table(found: Any, file: Path) -> PriceTable:
    entries = found.get("prices") if isinstance(found, dict) else None
    if not isinstance(entries, list) or not entries:
        raise PlanError(f"{file} is no price table: it has no list `prices` with an entry in it. Write {_EXAMPLE}")
    per_tokens = _number(found.get("per_tokens", 1e6), "per_tokens", file)
    if per_tokens <= 0:
        raise PlanError(f"{file}: per_tokens is {per_tokens:g}; it is the number of tokens that a price is for.")
    prices = tuple(_price(entry, number, file) for number, entry in enumerate(entries, 1))
    highest = max(max(one.input, one.output) for one in prices)
    if 0 < highest / per_tokens < _LEAST_PRICE:
        raise PlanError(f"{file}: the highest price is {highest:g} for {per_tokens:,.0f} tokens, too little by far; if "
                        "prices are of one token, multiply them by a million, or give \"per_tokens\": 1 in JSON or TOML.")  # fmt: skip
    first: dict[str, int] = {}
    for number, price in enumerate(prices, 1):
        if first.setdefault(price.model, number) != number:
            raise PlanError(
                f"{file}: price {number} is for {price.model!r}, as price {first[price.model]} is; keep one of them."
            )
    return PriceTable(prices=prices, currency=str(found.get("currency", "currency units")), per_tokens=per_tokens)


def _price(entry: Any, number: int, file: Path) -> Price:
    where = f"price {number}"
    if not isinstance(entry, dict) or not entry.get("model"):
        raise PlanError(f"{file}: {where} names no model. Write {_EXAMPLE}")
    if unknown := sorted(str(name) for name in set(entry) - {"model", *_KEYS}):
        raise PlanError(f"{file}: {where} has {unknown}, which we do not know. Write {_EXAMPLE}")
    given = {name: _number(entry[name], f"{name} of {where}", file) for name in _KEYS if entry.get(name) is not None}
    if missing := [name for name in ("input", "output") if name not in given]:
        raise PlanError(f"{file}: {where} ({entry['model']}) lacks {missing}. Write {_EXAMPLE}")
    return Price(
        model=str(entry["model"]),
        input=given["input"],
        output=given["output"],
        cache_read=given.get("cache_read"),
        cache_write=given.get("cache_write"),
        cache_write_1h=given.get("cache_write_1h"),
    )


def _number(value: Any, what: str, file: Path) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise PlanError(f"{file}: {what} is {value!r}; it must be a number of at least 0.")
    return number


def with_cost(tasks: pd.DataFrame) -> pd.DataFrame:
    """Return the tasks of a ledger with `cost` added: NaN where no call reports usage or one of them has no price."""
    parts = tasks[["cached_cost", "fresh_cost", "output_cost"]].astype("float64")
    reports = tasks["calls_unreported"] < tasks["calls"]
    return tasks.assign(cost=parts.sum(axis=1).where(reports & (tasks["unpriced_calls"] == 0)))


def costs(
    calls: pd.DataFrame, prices: PriceTable, *, rng: np.random.Generator | None = None, level: float = 0.9
) -> pd.DataFrame:
    """Return one row per task kind with the mean cost of a task and its parts; columns as in `COST_COLUMNS`.

    The parts cached, fresh and output sum to the cost. Cache reads count only where the provider reports them: nobody
    grants a discount for what was merely the same. With `rng`, the mean has an interval over whole tasks at `level`;
    without it, or with fewer than `prototypes.LEAST_RUNS` tasks, it has none.

    Raises:
        FrameError: `calls` lacks columns.
        PlanError: no call with usage has a price.
    """
    booked = with_cost(ledger(calls, prices.of_calls(calls)))
    if booked["cost"].isna().all():
        raise PlanError(_no_price(calls, prices))
    rows = [_row(str(kind), group, prices, rng, level) for kind, group in booked.groupby("task", sort=True)]
    return pd.DataFrame(rows)[list(COST_COLUMNS)]


def _no_price(calls: pd.DataFrame, prices: PriceTable) -> str:
    names = sorted({str(name) for name in calls["response_model"].fillna(calls["model"]).dropna()})
    shown: Sequence[str] = names[:10]
    return (
        f"no task can be priced: the prices are for {[price.model for price in prices.prices][:10]}, and the models here "
        f"are {shown}{' and more' if len(names) > 10 else ''}. A task needs a call with usage, and each of those a price."
    )


def _row(
    kind: str, group: pd.DataFrame, prices: PriceTable, rng: np.random.Generator | None, level: float
) -> dict[str, Any]:
    known = group.dropna(subset=["cost"])
    parts = ("cached_cost", "fresh_cost", "output_cost", "written_cost", "reasoning_cost")
    sums = {name: float(known[name].sum()) for name in (*parts, "cost", "list_cost")}
    total = sums["cost"]
    low, high = np.nan, np.nan
    if rng is not None and len(known) >= LEAST_RUNS:
        low, high = mean_interval(known["cost"].to_numpy(), level=level, rng=rng)
    row: dict[str, Any] = {
        "task": kind,
        "tasks": len(group),
        "tasks_without_cost": len(group) - len(known),
        "unpriced_calls": int(group["unpriced_calls"].sum()),
        "currency": prices.currency,
        "cost_mean": total / len(known) if len(known) else np.nan,
        "cost_mean_low": low,
        "cost_mean_high": high,
        "cache_saving_share": 1 - total / sums["list_cost"] if sums["list_cost"] > 0 else np.nan,
    }
    row |= {f"{name}_mean": sums[name] / len(known) if len(known) else np.nan for name in parts}
    return row | {f"{name}_share": sums[name] / total if total > 0 else np.nan for name in parts[:3]}
