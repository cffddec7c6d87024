"""How far the kind of a task says what it will use: worked by hand, and found again where it was made."""

import math

import numpy as np
import pandas as pd
import pytest

from tokenflation.analysis.predictability import PREDICTABILITY_COLUMNS, predictability
from tokenflation.sdk.errors import FrameError


def _tasks(**tokens: list[int | None]) -> pd.DataFrame:
    rows = [(kind, one) for kind, values in tokens.items() for one in values]
    return pd.DataFrame(
        {"task": [kind for kind, _ in rows], "tokens": pd.array([one for _, one in rows], dtype="Int64")}
    )


def test_two_kinds_of_two_tasks_worked_by_hand() -> None:
    frame = predictability(_tasks(a=[1, 4], b=[16, 64, None]))

    # In powers of two: a 0 and 2 (mean 1), b 4 and 6 (mean 5), all (mean 3). W = 4 * 1, T = 9 + 1 + 1 + 9 = 20.
    a, b, whole = frame.to_dict("records")
    assert list(frame.columns) == list(PREDICTABILITY_COLUMNS)
    assert (a["task"], a["tasks"], a["counted"], b["tasks"], b["counted"]) == ("a", 2, 2, 3, 2)
    assert [a["log_sd"], b["log_sd"]] == pytest.approx([math.sqrt(2) * math.log(2)] * 2)
    assert pd.isna(a["explained_share"])
    assert pd.isna(whole["task"])
    assert (whole["tasks"], whole["counted"]) == (5, 4)
    assert whole["log_sd"] == pytest.approx(math.sqrt(4 / 2) * math.log(2))
    assert whole["typical_factor"] == pytest.approx(2 ** math.sqrt(2))
    assert whole["explained_share"] == pytest.approx(1 - (4 / 2) / (20 / 3))


def test_the_share_that_tasks_were_made_with_is_found_again() -> None:
    rng = np.random.default_rng(7)
    means = rng.normal(10, 0.6, size=200)
    kinds = {f"k{n}": [round(math.exp(x)) for x in rng.normal(mean, 0.8, size=100)] for n, mean in enumerate(means)}

    whole = predictability(_tasks(**kinds)).iloc[-1]

    assert whole["log_sd"] == pytest.approx(0.8, rel=0.03)
    assert whole["explained_share"] == pytest.approx(0.36, abs=0.05)


def test_kinds_that_say_nothing_explain_nothing() -> None:
    rng = np.random.default_rng(3)
    sizes = rng.lognormal(8, 1, size=(50, 40)).astype(int) + 1

    whole = predictability(_tasks(**{f"k{n}": row.tolist() for n, row in enumerate(sizes)})).iloc[-1]

    assert abs(whole["explained_share"]) < 0.02


def test_single_tasks_one_kind_and_silence_have_no_number() -> None:
    assert predictability(_tasks(a=[5], b=[9]))[["log_sd", "explained_share"]].isna().all(axis=None)
    assert pd.isna(predictability(_tasks(a=[5, 9]))["explained_share"].iloc[-1])
    silent = predictability(_tasks(a=[None, 0], b=[None]))
    assert (silent["counted"] == 0).all()
    assert silent["typical_factor"].isna().all()
    alike = predictability(_tasks(a=[7, 7, 7], b=[7, 7])).iloc[-1]
    assert (alike["typical_factor"], pd.isna(alike["explained_share"])) == (1, True)


def test_a_frame_of_something_else_is_refused() -> None:
    with pytest.raises(FrameError, match="shape"):
        predictability(pd.DataFrame({"task": ["a"]}))
