"""What every command prints with: numbers that people can read, and values that JSON can carry."""

import json
import math

import pandas as pd
import pytest

from tokenflation.cli.views.numbers import human, human_length, human_share, human_time
from tokenflation.cli.views.output import json_rows


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (44, "44"),
        (0.0049, "<0.01"),
        (0.006, "0.01"),
        (999, "999"),
        (155.9, "156"),
        (1.234, "1.23"),
        (999.6, "1.00k"),
        (12_345, "12.3k"),
        (999_600, "1.00M"),
        (5_057_424, "5.06M"),
        (3_113_816_958, "3.11G"),
        (39_855_734e12, "39.9E"),
        (-1500, "-1.50k"),
        (math.nan, "-"),
        (None, "-"),
    ],
)
def test_a_number_has_three_digits_and_a_scale(value: float | None, text: str) -> None:
    assert human(value) == text


def test_shares_are_percentages_and_times_take_the_unit_that_reads_best() -> None:
    assert [human_share(value) for value in (0.9637, 0, None, 1, 0.9997, 0.0003)] == [
        "96.4 %", "0.0 %", "-", "100.0 %", ">99.9 %", "<0.1 %",
    ]  # fmt: skip
    times = (0, 0.02, 5, 300, 4000, 1e6, None)
    assert [human_time(value) for value in times] == ["0 s", "20.0 ms", "5.00 s", "5.00 min", "1.11 h", "11.6 d", "-"]


def test_a_length_of_time_that_was_chosen_has_no_decimals_that_are_none() -> None:
    assert [human_length(value) for value in (5, 300, 5400, 604_800)] == ["5 s", "5 min", "1.5 h", "7 d"]


def test_rows_for_json_keep_integers_exact_and_missing_numbers_null() -> None:
    frame = pd.DataFrame(
        {
            "whole": pd.array([2**60 + 1, None], dtype="Int64"),
            "real": [1.5, math.inf],
            "text": ["x", None],
            "truth": [True, False],
        }
    )

    rows = json.loads(json.dumps(json_rows(frame), allow_nan=False))

    assert rows == [
        {"whole": 2**60 + 1, "real": 1.5, "text": "x", "truth": True},
        {"whole": None, "real": None, "text": None, "truth": False},
    ]
