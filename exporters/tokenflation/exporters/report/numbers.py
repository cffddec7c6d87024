"""Writes numbers for people: three significant digits, a scale letter, a unit, and "not reported" where none is known.

k, M, G, T, P and so on stand for thousand, million, billion, trillion, ... and follow the digits at once, as they do on
the axes and in what commands print. Knows nothing of HTML.
"""

import math
from datetime import UTC, datetime
from typing import Any

from tokenflation.analysis.columns.tasks import DATED_FROM_NS
from tokenflation.sdk.words import in_time, with_letter

__all__ = [
    "NOT_REPORTED",
    "by_unit",
    "count",
    "exact",
    "moment",
    "period",
    "seconds",
    "share",
    "times",
    "with_unit",
]

NOT_REPORTED = "not reported"

_SPACE = "\N{NO-BREAK SPACE}"


def count(value: Any) -> str:
    """Return a count or a number of tokens, such as `5.06M`; what is whole stays whole."""
    if _unknown(value):
        return NOT_REPORTED
    number, letter = with_letter(float(value))
    return f"{_short(number)}{letter}"


def with_unit(value: Any, unit: str) -> str:
    """Return a count and its unit, such as `5.06M tokens`; the unit is left out where the number is not reported."""
    if _unknown(value):
        return NOT_REPORTED
    number = count(value)
    return f"{number}{_SPACE}{unit.removesuffix('s') if number == '1' and '/' not in unit else unit}"


def exact(value: Any) -> str:
    """Return a whole number with all its digits, such as `3,113,816,958`."""
    return NOT_REPORTED if _unknown(value) else f"{round(float(value)) if isinstance(value, float) else int(value):,}"


def share(value: Any) -> str:
    """Return a fraction as a percentage; what is not quite everything never reads 100 %, nor what is something 0."""
    if _unknown(value):
        return NOT_REPORTED
    percent = 100 * float(value)
    digits = 0 if percent in (0.0, 100.0) else 2 if percent < 0.05 or 99.95 <= percent < 100 else 1
    text = f"{percent:.{digits}f}"
    # Rounded, the rarest would read as nothing and what is nearly all as all.
    text = {"100.00": "> 99.99", "0.00": "< 0.01"}.get(text, text)
    return f"{text}{_SPACE}%"


def times(value: Any) -> str:
    """Return a factor: 32.6 and a multiplication sign; no letter before a million, which would read as a product."""
    if _unknown(value):
        return NOT_REPORTED
    number = float(value)
    return f"{f'{number:,.0f}' if 999.5 <= abs(number) < 999_500 else count(number)}×"


def seconds(value: Any) -> str:
    """Return a duration in the unit that reads best."""
    if _unknown(value):
        return NOT_REPORTED
    number, unit = in_time(float(value))
    return f"{_three(number)}{_SPACE}{unit}" if number else f"0{_SPACE}s"


def moment(unix_ns: Any) -> str:
    """Return a time in UTC, to the minute."""
    if _unknown(unix_ns):
        return NOT_REPORTED
    return datetime.fromtimestamp(int(unix_ns) // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def period(first_ns: Any, last_ns: Any) -> str:
    """Return the time between two moments; where the source gives no dates, only how long it is."""
    if _unknown(first_ns) or _unknown(last_ns):
        return NOT_REPORTED
    if int(last_ns) < DATED_FROM_NS:
        return f"up to {seconds(int(last_ns) / 1e9)} from a task's start (the source gives no dates)"
    first, last = moment(first_ns), moment(last_ns)
    return first if first == last else f"{first} to {last}"


def by_unit(value: Any, unit: str) -> str:
    """Return a number in the way of its unit: `fraction`, `x`, `s`, or a count of something."""
    return {"fraction": share, "x": times, "s": seconds}.get(unit, count)(value)


def _unknown(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType") or not math.isfinite(value)


def _short(number: float) -> str:
    """Return a whole number as it is, any other with three significant digits."""
    # What adds up to a million but for its last bits is a million.
    return str(round(number)) if math.isclose(number, round(number), rel_tol=1e-9) else _three(number)


def _three(number: float) -> str:
    """Return three significant digits without an exponent, none beyond the fourth decimal: factors are multiplied."""
    size = abs(number)
    if size < 0.9995:
        text = f"{number:.4f}" if size < 0.01 else f"{number:.3f}"
        return "< 0.0001" if 0 < number < 0.00005 else text.removesuffix("0")
    return f"{number:.0f}" if size >= 99.95 else f"{number:.1f}" if size >= 9.995 else f"{number:.2f}"
