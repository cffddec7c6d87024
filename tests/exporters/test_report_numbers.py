"""How the report writes numbers."""

import math

import pandas as pd
import pytest

from tokenflation.exporters.report.numbers import (
    NOT_REPORTED,
    by_unit,
    count,
    exact,
    moment,
    period,
    seconds,
    share,
    times,
    with_unit,
)

_S = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (44, "44"), (155.9, "156"), (999, "999"), (999.6, "1.00k"), (5_057_424, "5.06M"),
        (3_113_816_958, "3.11G"), (1e6, "1M"), (2.5, "2.50"), (0.25, "0.25"), (0.10468, "0.105"), (0.1, "0.10"),
        (0.00523, "0.0052"), (1e-7, "< 0.0001"), (1e6 - 1e-6, "1M"), (1e15, "1P"), (1.2e21, "1.20Z"), (-1500, "-1.50k"),
    ],
)  # fmt: skip
def test_counts_have_three_digits_and_a_letter(value: float, text: str) -> None:
    assert count(value) == text


@pytest.mark.parametrize("missing", [None, math.nan, pd.NA, pd.NaT, math.inf])
@pytest.mark.parametrize("written", [count, exact, share, times, seconds, moment])
def test_what_is_not_known_is_never_written_as_a_number(written: object, missing: object) -> None:
    assert written(missing) == NOT_REPORTED  # type: ignore[operator]  # every one takes any value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "100"),
        (0.9637, "96.4"),
        (0.9997, "99.97"),
        (0.999999, "> 99.99"),
        (0.0001, "0.01"),
        (0.00001, "< 0.01"),
    ],
)
def test_a_share_is_only_all_or_nothing_where_it_really_is(value: float, text: str) -> None:
    assert share(value) == f"{text}{_S}%"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(1.0, "calls", "1 call"), (1, "tokens/s", "1 tokens/s"), (2, "calls", "2 calls"), (1.5, "calls", "1.50 calls")],
)
def test_one_of_a_unit_is_one(value: float, unit: str, text: str) -> None:
    assert with_unit(value, unit) == text.replace(" ", _S)


def test_factors_as_they_are_written_multiply_to_what_is_written_beside_them() -> None:
    factors = [82.475, 0.10468, 1.1323, 20.354]
    written = [float(times(one).removesuffix("×")) for one in factors]
    assert math.prod(written) == pytest.approx(math.prod(factors), rel=0.01)
    assert [times(one) for one in (999.6, 1_760, 98_765.4, 2e6)] == ["1,000×", "1,760×", "98,765×", "2M×"]


def test_a_period_is_of_the_moments_that_have_a_date() -> None:
    day_ns = 86_400 * 10**9
    assert period(0, day_ns).startswith(f"up to 1.00{_S}d")
    assert period(20_000 * day_ns, 20_001 * day_ns) == "2024-10-04 00:00 UTC to 2024-10-05 00:00 UTC"


def test_each_unit_has_its_own_way() -> None:
    assert [by_unit(1.5, unit) for unit in ("x", "s", "fraction", "tokens")] == [
        "1.50×", f"1.50{_S}s", f"150.0{_S}%", "1.50",
    ]  # fmt: skip
    assert exact(3_113_816_958) == "3,113,816,958"
