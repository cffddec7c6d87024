"""Numbers as commands print them: three significant digits and a letter, and a dash where nothing is known.

Knows nothing of what they mean.
"""

import math
from typing import Any, TypeGuard

import pandas as pd

from tokenflation.sdk.words import in_time, percent, with_letter

__all__ = ["human", "human_length", "human_share", "human_time", "human_times", "is_known", "small", "two_decimals"]

_LEAST = 0.005


def is_known(value: Any) -> TypeGuard[float]:
    """Return whether a cell holds a number: not None, missing or infinite."""
    return value is not None and value is not pd.NA and not (isinstance(value, float) and not math.isfinite(value))


def human(value: float | None) -> str:
    """Return a count or a number in at most three significant digits with k, M, G, T, P ...; `-` where it is not known.

    What would read as none though it is more is "<0.01".
    """
    if not is_known(value):
        return "-"
    number, letter = with_letter(float(value))
    if letter:
        return f"{_three(number)}{letter}"
    if 0 < number < _LEAST:
        return "<0.01"
    return str(int(number)) if number == int(number) else _three(number)


def small(value: float) -> str:
    """Return a number in three significant digits also where it is far below 1, as the price of a token is."""
    return f"{value:.3g}" if 0 < abs(value) < 0.1 else human(value)


def human_times(value: float | None) -> str:
    """Return a factor, such as `3.42x`; `-` where it is not known."""
    return f"{human(value)}x" if is_known(value) else "-"


def two_decimals(value: float | None) -> str:
    """Return a number whose size is known beforehand, such as an exponent; `-` where it is not known."""
    return f"{value:.2f}" if is_known(value) else "-"


def human_share(value: float | None) -> str:
    """Return a fraction as a percentage; `-` where it is not known.

    What is not quite everything never reads 100.0 %, nor what is something 0.0 %.
    """
    if not is_known(value):
        return "-"
    if 0 < abs(value) < 0.0005:
        return "<0.1 %" if value > 0 else "-<0.1 %"
    return ">99.9 %" if 0.9995 <= value < 1 else percent(value, 1)


def human_time(value: float | None) -> str:
    """Return seconds in the unit that reads best; `-` where they are not known."""
    if not is_known(value):
        return "-"
    number, unit = in_time(value)
    return f"{_three(number)} {unit}" if value else "0 s"


def human_length(seconds: float) -> str:
    """Return a length of time that was chosen and not measured, so without decimals that are none: `5 min`."""
    number, _, unit = human_time(seconds).partition(" ")
    return f"{float(number):g} {unit}"


def _three(number: float) -> str:
    """Return three significant digits without an exponent."""
    size = abs(number)
    return f"{number:.0f}" if size >= 99.95 else f"{number:.1f}" if size >= 9.995 else f"{number:.2f}"
