"""The difference of two fleets: worked by hand, without residual over random call trees, with honest intervals."""

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from tokenflation.analysis.columns.inflation import DIFF_COLUMNS
from tokenflation.analysis.comparison.costs import Price, PriceTable
from tokenflation.analysis.comparison.difference import diff
from tokenflation.analysis.profiles.profile import profile
from tokenflation.analysis.profiles.uneven import uneven_kinds, uneven_remarks
from tokenflation.sdk.errors import FrameError

Calls = Callable[..., pd.DataFrame]

PRICES = PriceTable(prices=(Price(model="m*", input=3, output=15, cache_read=0.3),), currency="USD")
OPTIONS: list[dict[str, Any]] = [
    {},
    {"method": "shapley"},
    {"view": "calls", "measure": "computed"},
    {"total": True, "measure": "computed"},
    {"pooled": True, "total": True, "method": "shapley"},
    {"measure": "cost", "prices": PRICES},
]


def _call(task: str, task_id: object, tokens: tuple[int | None, int | None], **more: Any) -> dict[str, Any]:
    return {"task": task, "task_id": str(task_id), "input_tokens": tokens[0], "output_tokens": tokens[1]} | more


def _effects(found: pd.DataFrame, kind: str | None = None) -> dict[str, float]:
    rows = found[found["task"].isna() if kind is None else found["task"] == kind]
    return dict(zip(rows["factor"], rows["effect"], strict=True))


def test_twice_the_calls_of_the_same_size_is_all_due_to_calls(make_calls: Calls) -> None:
    a = make_calls([_call("x", 1, (90, 10))])
    b = make_calls([_call("x", 1, (90, 10)), _call("x", 1, (90, 10))])

    effects = _effects(diff(a, b))

    assert effects["total"] == 100
    assert effects.pop("calls") == pytest.approx(effects.pop("total"))
    assert list(effects.values()) == pytest.approx([0] * len(effects), abs=1e-12)


def test_a_change_of_mix_is_told_from_a_change_of_the_kinds(make_calls: Calls) -> None:
    kinds = {"small": _call("small", 0, (100, 0)), "large": _call("large", 0, (900, 100))}
    a = make_calls([kinds["small"] | {"task_id": str(n)} for n in range(3)] + [kinds["large"]])
    b = make_calls([kinds["large"] | {"task_id": str(n)} for n in range(3)] + [kinds["small"]])

    found = diff(a, b)

    effects = _effects(found)
    assert effects["total"] == pytest.approx((3 * 1000 + 100) / 4 - (3 * 100 + 1000) / 4)
    assert effects["mix"] == pytest.approx(effects["total"])
    assert _effects(found, "small")["mix"] == pytest.approx(25 - 75)


def test_what_is_sent_again_is_told_from_what_is_new(make_calls: Calls) -> None:
    # 1,280 of new input on both sides; A sends 640 of it again, B 2,560.
    first = _call("x", 1, (640, 0), shared_blocks=0)
    a = make_calls([first, _call("x", 1, (1280, 0), shared_blocks=10)])
    b = make_calls([first, _call("x", 1, (3200, 0), shared_blocks=40)])

    found = diff(a, b)

    effects = _effects(found)
    assert effects["resend"] == pytest.approx(effects["total"]) == pytest.approx(1920)
    row = found[(found["factor"] == "resend") & found["task"].isna()].iloc[0]
    assert (row["a"], row["b"]) == (1920 / 1280, 3840 / 1280)


def test_kinds_of_one_side_only_have_bars_of_their_own(make_calls: Calls) -> None:
    a = make_calls([_call("old", 1, (60, 0)), _call("kept", 1, (100, 0))])
    b = make_calls([_call("new", 1, (10, 0)), _call("kept", 1, (100, 0))])

    found = diff(a, b)

    assert _effects(found)["new kinds"] == 5
    assert _effects(found)["gone kinds"] == -30
    assert _effects(found, "old") == {"total": -30, "gone kinds": -30}
    assert _effects(found, "new") == {"total": 5, "new kinds": 5}


def test_fleets_without_a_common_kind_can_be_compared_as_one_kind(make_calls: Calls) -> None:
    a, b = make_calls([_call("old", 1, (60, 0))]), make_calls([_call("new", 1, (120, 0))])

    apart, together = diff(a, b), diff(a, b, pooled=True)

    assert "No task kind is in both" in apart.attrs["manifest"]["warnings"][0]
    assert _effects(together)["work_per_call"] == pytest.approx(_effects(together)["total"]) == pytest.approx(60)


def test_a_fleet_total_has_the_volume_as_a_factor(make_calls: Calls) -> None:
    a = make_calls([_call("x", 1, (100, 0))])
    b = make_calls([_call("x", n, (100, 0)) for n in range(3)])

    effects = _effects(diff(a, b, total=True))

    assert effects["volume"] == pytest.approx(effects["total"]) == pytest.approx(200)


def test_a_cheaper_price_and_a_better_cache_are_told_apart(make_calls: Calls) -> None:
    a = make_calls([_call("x", 1, (1_000_000, 0), model="m1", cache_read_tokens=0)])
    b = make_calls([_call("x", 1, (1_000_000, 0), model="m1", cache_read_tokens=1_000_000)])

    effects = _effects(diff(a, b, measure="cost", prices=PRICES))

    assert effects["total"] == pytest.approx(0.3 - 3)
    assert effects["cache"] == pytest.approx(effects["total"])
    assert effects["price"] == 0


def test_where_no_task_reports_output_input_alone_is_counted_and_said(make_calls: Calls) -> None:
    a, b = make_calls([_call("x", 1, (100, 50))]), make_calls([_call("x", 1, (300, None))])

    found = diff(a, b)

    assert _effects(found)["total"] == 200
    assert found.attrs["manifest"]["counted"] == "input"
    assert "Only input is counted" in found.attrs["manifest"]["warnings"][0]


_tokens = st.one_of(st.none(), st.integers(0, 10**7))
_random_call = st.fixed_dictionaries({
    "task": st.sampled_from(["p", "q", "r"]), "task_id": st.sampled_from("012"), "depth": st.integers(0, 3),
    "status": st.sampled_from(["ok", "ok", "ok", "error", "cut"]), "model": st.just("m1"),
    "input_tokens": _tokens, "output_tokens": _tokens, "cache_read_tokens": _tokens, "reasoning_tokens": _tokens,
    "shared_blocks": st.one_of(st.none(), st.integers(0, 10**5)), "resent_tokens": _tokens,
})  # fmt: skip
_tree = st.lists(_random_call, max_size=12)
_sound = _call("p", 9, (7, 3), model="m1")


@settings(deadline=None, max_examples=25)
@given(some=_tree, others=_tree, option=st.sampled_from(OPTIONS))
def test_effects_leave_no_residual_over_random_call_trees(
    make_calls: Calls, some: list[Any], others: list[Any], option: dict[str, Any]
) -> None:
    a, b = make_calls([*some, _sound]), make_calls([*others, _sound])

    found = diff(a, b, **option)

    scale = found.loc[found["factor"] == "total", ["a", "b"]].max(axis=None)
    if option.get("method") == "shapley":
        # Its effects may be far larger than both totals: their own last digits are all that is lost.
        scale += found["effect"].abs().max()
    assert list(found.columns) == list(DIFF_COLUMNS)
    for _, rows in found.groupby("task", dropna=False):
        total = rows[rows["factor"] == "total"].iloc[0]
        parts = rows[rows["factor"] != "total"]["effect"].sum()
        assert abs(parts - total["effect"]) <= 1e-9 * scale
        assert abs(total["b"] - total["a"] - total["effect"]) <= 1e-9 * scale


@settings(deadline=None, max_examples=12)
@given(some=_tree, others=_tree)
def test_both_methods_agree_in_the_total_of_every_kind(make_calls: Calls, some: list[Any], others: list[Any]) -> None:
    a, b = make_calls([*some, _sound]), make_calls([*others, _sound])

    totals = [
        found[found["factor"] == "total"]["effect"].to_numpy() for found in (diff(a, b), diff(a, b, method="shapley"))
    ]

    assert totals[0] == pytest.approx(totals[1], rel=1e-9, abs=1e-6)


def _fleet(rng: np.random.Generator, tasks: int, mean_calls: float) -> list[dict[str, Any]]:
    counts = 1 + rng.poisson(mean_calls - 1, size=tasks)
    sizes = rng.lognormal(7, 0.5, size=tasks)
    return [_call("x", task, (int(sizes[task]), 1)) for task in range(tasks) for _ in range(counts[task])]


def test_the_interval_of_an_effect_covers_its_true_value_about_as_often_as_it_says(make_calls: Calls) -> None:
    rng = np.random.default_rng(5)
    means = np.exp(7 + 0.5**2 / 2) + 0.5
    truth = 4 * means  # from 4 to 8 calls of this mean size, independent of their number
    trials, covered = 40, 0
    for _ in range(trials):
        found = diff(make_calls(_fleet(rng, 40, 4)), make_calls(_fleet(rng, 40, 8)), rng=rng)
        row = found[(found["factor"] == "total") & found["task"].isna()].iloc[0]
        covered += row["effect_low"] <= truth <= row["effect_high"]

    # 0.9 within three standard errors of 40 trials.
    assert covered / trials >= 0.75


def _asked_twice(rng: np.random.Generator, tasks: int, ids: str) -> list[dict[str, Any]]:
    """Return tasks of very different sizes, each a fifth larger in the second run but for some chance of its own."""
    sizes = np.exp(np.random.default_rng(9).normal(7, 1, tasks))
    twice = 1.2 if ids.startswith("B") else 1.0
    own = np.exp(0.1 * rng.standard_normal(tasks))
    return [_call("x", f"{ids[1:]}{n}", (int(twice * sizes[n] * own[n]), 10)) for n in range(tasks)]


def _whole(found: pd.DataFrame) -> Any:
    return found[(found["factor"] == "total") & found["task"].isna()].iloc[0]


def test_the_same_tasks_done_twice_are_compared_one_by_one(make_calls: Calls) -> None:
    rng = np.random.default_rng(3)
    a, b, others = (make_calls(_asked_twice(rng, 30, name)) for name in ("A", "B", "Bother-"))
    paired, apart = (diff(a, side, rng=np.random.default_rng(0)) for side in (b, others))
    same, free = _whole(paired), _whole(apart)

    assert (paired.attrs["manifest"]["pairs"], apart.attrs["manifest"]["pairs"]) == (30, 0)
    assert free["effect_low"] < 0 < same["effect_low"]
    assert same["effect_high"] - same["effect_low"] < 0.4 * (free["effect_high"] - free["effect_low"])


def test_tasks_of_one_side_alone_stand_among_pairs(make_calls: Calls) -> None:
    rng = np.random.default_rng(3)
    a, b = (_asked_twice(rng, 30, name) for name in ("A", "B"))
    b[:3] = [one | {"task_id": f"new-{n}"} for n, one in enumerate(b[:3])]
    found = diff(make_calls(a), make_calls(b), total=True, rng=np.random.default_rng(0))
    whole, volume = _whole(found), found[(found["factor"] == "volume") & found["task"].isna()].iloc[0]

    assert found.attrs["manifest"]["pairs"] == 27
    assert whole["effect_low"] < whole["effect"] < whole["effect_high"]
    assert [volume["effect_low"], volume["effect_high"]] == pytest.approx([0, 0], abs=1e-6)


def test_fewer_than_ten_tasks_on_both_sides_are_no_pairs(make_calls: Calls) -> None:
    a = [_call("x", f"a{n}", (100 + n, 1)) for n in range(20)]
    b = [one | {"task_id": f"b{n}"} if n >= 9 else one for n, one in enumerate(a)]

    assert diff(make_calls(a), make_calls(b), rng=np.random.default_rng(0)).attrs["manifest"]["pairs"] == 0


def test_a_side_against_itself_leaves_no_doubt(make_calls: Calls) -> None:
    calls = make_calls(_asked_twice(np.random.default_rng(3), 30, "A"))
    found = diff(calls, calls, rng=np.random.default_rng(0))

    assert np.abs(found[["effect_low", "effect_high"]].to_numpy(dtype=float)).max() < 1e-9


def test_too_few_tasks_on_a_side_give_no_interval(make_calls: Calls) -> None:
    calls = make_calls([_call("x", n, (100 + n, 1)) for n in range(30)])
    few = make_calls([_call("x", n, (100 + n, 1)) for n in range(9)])

    assert diff(calls, few, rng=np.random.default_rng(0))["effect_low"].isna().all()
    assert diff(calls, calls, rng=np.random.default_rng(0))["effect_low"].notna().all()


def test_a_side_of_whose_tokens_one_task_has_most_is_warned_of(make_calls: Calls) -> None:
    even = make_calls([_call("x", n, (1000, 1)) for n in range(12)])
    uneven = make_calls([_call("x", n, (100_000 if n == 3 else 1000, 1)) for n in range(12)])

    assert not diff(even, even).attrs["manifest"]["warnings"]
    (warning,) = diff(even, uneven).attrs["manifest"]["warnings"]
    assert warning.startswith("B: few of its 12 tasks have most of the tokens, as if there were 1.2. ")


def test_uneven_tasks_are_told_in_the_same_words_by_a_difference_as_of_a_kind(make_calls: Calls) -> None:
    uneven = make_calls([_call("A", n, (9000 if n == 3 else 100 + n, n)) for n in range(12)])
    found = diff(uneven, uneven).attrs["manifest"]
    (kind,) = profile(uneven)["effective_tasks"]

    assert found["a"]["effective_tasks"] == kind == uneven_kinds(uneven)["effective_tasks"][0]
    assert found["warnings"][0] == uneven_remarks(profile(uneven))[0]


def test_a_side_whose_counted_tasks_are_too_few_for_intervals_has_no_remark_on_them(make_calls: Calls) -> None:
    silent = [_call("x", n, (None, None)) for n in range(6)]
    few = make_calls([_call("x", n, (100_000 if n == 7 else 1000, 1)) for n in range(6, 12)] + silent)

    (warning, _) = diff(few, few).attrs["manifest"]["warnings"]
    assert warning == "6 of the 12 tasks of A are left out: not all that is compared is reported."


def test_many_tasks_are_resampled_in_groups_with_the_same_spread(
    make_calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    a, b = make_calls(_fleet(rng, 1500, 3)), make_calls(_fleet(rng, 1500, 4))
    widths = []
    for groups in (2000, 300):
        monkeypatch.setattr("tokenflation.analysis.comparison.effects._GROUPS", groups)
        row = diff(a, b, rng=np.random.default_rng(0)).iloc[0]
        widths.append(row["effect_high"] - row["effect_low"])

    assert widths[0] == pytest.approx(widths[1], rel=0.2)


def test_what_is_known_by_different_sources_is_warned_of(make_calls: Calls) -> None:
    a = make_calls([_call("x", 1, (1000, 1), shared_blocks=1)])
    b = make_calls([_call("x", 1, (1000, 1), cache_read_tokens=5)])

    warnings = diff(a, b).attrs["manifest"]["warnings"]

    assert any("re-sent is known by blocks in A and by provider in B" in one for one in warnings)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"measure": "tokens"}, "no measure 'tokens'"),
        ({"method": "guess"}, "no method 'guess'"),
        ({"view": "all"}, "no view 'all'"),
        ({"measure": "cost"}, "needs prices"),
        ({"level": 90}, "level between 0 and 1"),
    ],
)
def test_options_that_do_not_exist_are_refused_with_those_that_do(
    make_calls: Calls, options: dict[str, Any], says: str
) -> None:
    calls = make_calls([_call("x", 1, (1, 1))])
    with pytest.raises(FrameError, match=says):
        diff(calls, calls, **options)


def test_a_side_without_usage_is_refused_by_name(make_calls: Calls) -> None:
    with pytest.raises(FrameError, match="no task of B reports input"):
        diff(make_calls([_call("x", 1, (1, 1))]), make_calls([_call("x", 1, (None, None))]))


def test_a_side_without_prices_is_refused_by_name(make_calls: Calls) -> None:
    priced, foreign = (make_calls([_call("x", 1, (1, 1), model=name)]) for name in ("m1", "z"))
    with pytest.raises(FrameError, match="no task of B can be priced"):
        diff(priced, foreign, measure="cost", prices=PRICES)
