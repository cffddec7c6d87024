"""What each call adds to its context: worked out by hand, and in properties that hold for all calls."""

import tarfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analysis.conftest import ORIGIN_NS, SECOND_NS, frame_of

from tokenflation.analysis import load
from tokenflation.analysis.columns.context import APPEND_COLUMNS, CONTEXT_STEP_COLUMNS
from tokenflation.analysis.context.growth import context_runs
from tokenflation.analysis.context.steps import append_summary, context_steps, known_windows
from tokenflation.cli.main import main
from tokenflation.sdk.errors import FrameError, PlanError

LOGS = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "logs" / "claude_code"


def _steps(*rows: dict[str, Any], **options: Any) -> pd.DataFrame:
    return context_steps(frame_of({"model": "m", **row} for row in rows), windows=options.pop("windows", {}), **options)


def _row(size: int | None, answer: int | None, read: int | None = None, **values: Any) -> dict[str, Any]:
    return {"input_tokens": size, "output_tokens": answer, "cache_read_tokens": read} | values


def test_append_adjusted_append_and_fresh_are_worked_out_from_neighbours() -> None:
    frame = _steps(_row(1000, 100, 0), _row(1400, 50, 900), _row(1430, 10, 1400), _row(2000, 10, None))

    assert frame["append_tokens"].tolist()[:3] == [1000, 500, 30]
    assert frame["adjusted_append_tokens"].tolist()[:3] == [1000, 400, 0]
    # 400 grown of which 100 are the answer; 30 grown, 50 of it the answer; 570 grown, 10 of it the answer.
    assert frame["fresh_tokens"].tolist() == [1000, 300, 0, 560]
    assert frame["append_tokens"].isna().tolist() == [False, False, False, True]
    assert frame["prefix_source"].tolist() == ["provider", "provider", "provider", "none"]


def test_what_generates_nothing_is_no_step_of_a_context_unless_there_is_nothing_else() -> None:
    asked, embedded, ranked = _row(1000, 100), _row(9, 0), _row(None, None, api="cohere.rerank")
    rows = (asked | {"api": "openai.chat"}, embedded, ranked, _row(1400, 50, api="openai.chat"))

    frame = _steps(*rows)
    runs = context_runs(frame_of({"model": "m", **row} for row in rows), steps=frame)

    assert frame["input_tokens"].tolist() == [1000, 1400]
    assert frame["change"].tolist() == ["first", "grew"]
    assert runs["steps"].tolist() == [2]
    assert _steps(embedded)["input_tokens"].tolist() == [9]


def test_reasoning_that_is_not_sent_again_is_not_taken_off() -> None:
    rows = _row(1000, 100, 0, reasoning_tokens=80), _row(1100, 5, 1000)

    assert _steps(*rows)["adjusted_append_tokens"].tolist() == [1000, 0]
    assert _steps(*rows, reasoning_is_resent=False)["adjusted_append_tokens"].tolist() == [1000, 80]


def test_blocks_say_what_is_a_prefix_where_the_provider_does_not() -> None:
    frame = _steps(_row(640, 10), _row(700, 10, shared_blocks=9), _row(710, 10, 64, shared_blocks=11))

    assert frame["prefix_tokens"].tolist()[1:] == [576, 64]
    assert frame["prefix_source"].tolist() == ["none", "blocks", "provider"]
    assert frame["resent_input_tokens"].tolist() == [0, 576, 704]
    assert frame["resent_source"].tolist() == ["growth", "blocks", "blocks"]


def test_falls_of_the_context_are_told_apart_and_what_was_cut_is_not_re_sent() -> None:
    frame = _steps(*(_row(size, 10) for size in (10_000, 9_000, 7_000, 3_500, 4_000)))

    assert frame["change"].tolist() == ["first", "jitter", "reduced", "compacted", "grew"]
    assert frame["compactions"].tolist() == [0, 0, 0, 1, 0]
    assert frame["compaction_source"].tolist()[3] == "inferred"
    assert frame["resent_input_tokens"].tolist() == [0, 9_000, 7_000, 0, 3_500]


def test_marks_say_that_a_history_was_cut_down_however_long_it_is() -> None:
    frame = _steps(
        _row(10_000, 10),
        _row(9_900, 10, extra='{"gen_ai.conversation.compacted":true}'),
        _row(2_000, 10, continues_evidence="compaction"),
        _row(3_000, 10, extra='{"gen_ai.conversation.compacted": true, "compactions": [{}, {}]}'),
    )

    assert frame["compactions"].tolist() == [0, 1, 1, 2]
    assert frame["compaction_source"].tolist()[1:] == ["explicit"] * 3


def test_the_previous_call_is_the_one_whose_history_goes_on() -> None:
    recorded = {"instructions_hash": b"i"}
    frame = _steps(
        _row(100, 10, call_id="a", **recorded),
        _row(900, 10, call_id="b", **recorded),
        _row(150, 10, call_id="c", continues_call_id="a", **recorded),
    )

    assert frame["previous_call_id"].isna().tolist() == [True, True, False]
    assert frame["grown_tokens"].tolist()[2] == 50


def test_a_side_call_to_another_model_and_a_failed_call_are_no_previous_call() -> None:
    frame = _steps(_row(100, 10), _row(20, 10, model="small"), _row(None, None), _row(160, 10))

    assert frame["grown_tokens"].tolist()[2] == 60
    assert len(frame) == 3


def test_what_goes_on_with_a_call_without_usage_has_no_growth() -> None:
    frame = _steps(_row(None, None, call_id="a"), _row(200, 10, 0, continues_call_id="a"))

    assert frame["change"].isna().tolist() == [True]
    assert frame[["grown_tokens", "fresh_tokens", "adjusted_append_tokens"]].isna().all(axis=None)


def test_prefill_amplification_is_a_ratio_of_sums_by_trigger() -> None:
    steps = _steps(
        _row(1000, 100, 0, prompted_by="user"),
        _row(1300, 100, 900, prompted_by="tool"),
        _row(1700, 100, 1000, prompted_by="tool"),
        _row(1900, 100, None, prompted_by="tool"),
    )

    tool, user = append_summary(steps, by=("prompted_by",)).to_dict("records")

    assert (user["calls_adjusted"], user["calls_by_provider"]) == (0, 1)
    assert pd.isna(user["prefill_amplification"])
    assert (tool["amplified_append_tokens"], tool["fresh_tokens"]) == (400 + 700, 200 + 300)
    assert tool["prefill_amplification"] == 1100 / 500
    assert (tool["calls"], tool["calls_adjusted"]) == (3, 2)


def test_what_is_computed_counts_against_what_is_fresh_only_where_both_are_known() -> None:
    steps = _steps(
        _row(1000, 100, 0), _row(1300, 100, 900), _row(None, 50), _row(1900, 100, 1000, continues_call_id=f"{2:016x}")
    )

    (row,) = append_summary(steps, by=()).to_dict("records")

    # Of the last call 850 tokens are not the answer before; how many of them are fresh nobody knows.
    assert (row["calls_adjusted"], row["adjusted_append_tokens"]) == (2, 300 + 850)
    assert (row["amplified_append_tokens"], row["fresh_tokens"], row["prefill_amplification"]) == (400, 200, 2)


def test_what_was_sent_again_and_not_read_from_the_cache_was_missed() -> None:
    steps = _steps(_row(1000, 1, 200), _row(1500, 1, 900), _row(2000, 1, 1900), _row(2100, 1))

    (row,) = append_summary(steps, by=()).to_dict("records")

    assert (row["calls_read_and_resent"], row["resent_input_tokens"]) == (3, 0 + 1000 + 1500)
    assert row["missed_tokens"] == 0 + 100 + 0
    # Read were 200, 900 and 1900: all that nobody of this history had sent before, and 400 that only answers can be, go
    # beyond it.
    assert row["resent_read_tokens"] == 200 + 900 + 1900
    assert row["beyond_tokens"] == 200 + 0 + 400
    assert row["cache_efficiency"] == 2400 / 2500


def test_the_window_is_the_models_unless_a_call_was_larger() -> None:
    windows = {"m": 1000, "n": 1000}
    frame = _steps(
        _row(850, 1), _row(900, 1, model="n"), _row(1200, 1, model="n"), _row(1, 1, model="o"), windows=windows
    )

    assert frame["window_share"].tolist()[0] == 0.85
    assert frame["context_window"].isna().tolist() == [False, True, True, True]


def test_windows_of_known_models_are_looked_up() -> None:
    assert known_windows(["gpt-4o", "no such model at all"]) == {"gpt-4o": 128_000}


def test_calls_without_any_input_are_refused_and_so_are_unknown_groups() -> None:
    with pytest.raises(FrameError, match="No call reports its input"):
        _steps(_row(None, 5))
    with pytest.raises(PlanError, match="status"):
        append_summary(_steps(_row(5, 5)), by=("status",))


@pytest.mark.shared_data
@pytest.mark.skipif(not LOGS.exists(), reason="needs ../shared/data/logs/claude_code/")
def test_without_their_marks_the_compactions_of_real_sessions_are_inferred(tmp_path: Path) -> None:
    with tarfile.open(LOGS / "sessions.tar.xz") as archive:
        archive.extractall(tmp_path / "logs", filter="data")
    with pytest.raises(SystemExit):
        main(["import", str(tmp_path / "logs"), "--store", str(tmp_path / "runs.db")])
    calls = load(tmp_path / "runs.db")
    unmarked = calls.assign(extra="{}", continues_evidence=calls["continues_evidence"].replace("compaction", "history"))

    marked, inferred = (context_steps(frame, windows={}) for frame in (calls, unmarked))

    truth = pd.read_csv(LOGS / "truth_sessions.csv")["compactions"].sum()
    for frame, source in ((marked, "explicit"), (inferred, "inferred")):
        assert frame["compactions"].sum() == truth == 17
        assert set(frame["compaction_source"].dropna()) == {source}
    assert (
        inferred.loc[inferred["compactions"] > 0, "call_id"].tolist()
        == marked.loc[marked["compactions"] > 0, "call_id"].tolist()
    )


_counts = st.none() | st.integers(0, 5000)


@st.composite
def _any_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    rows = []
    for at in range(draw(st.integers(1, 8))):
        size = draw(_counts)
        earlier = [row["call_id"] for row in rows]
        rows.append(
            {
                "call_id": str(at),
                "task_id": draw(st.sampled_from("xy")),
                "started_at_ns": ORIGIN_NS + draw(st.integers(0, 9)) * SECOND_NS,
                "model": draw(st.sampled_from(("m", "n", None))),
                "input_tokens": size,
                "output_tokens": draw(_counts),
                "cache_read_tokens": draw(st.none() | st.integers(0, size)) if size is not None else draw(_counts),
                "shared_blocks": draw(st.none() | st.integers(0, 90)),
                "continues_call_id": draw(st.sampled_from(earlier)) if earlier and draw(st.booleans()) else None,
                "prompted_by": draw(st.sampled_from(("user", "tool", None))),
                "extra": draw(st.sampled_from(("{}", '{"gen_ai.conversation.compacted":true}'))),
            }
        )
    return [{"input_tokens": 1, "task_id": "z"}, *rows]


@given(_any_rows())
@settings(deadline=None, max_examples=20)
def test_parts_of_an_input_sum_to_it_and_stay_within_bounds(rows: list[dict[str, Any]]) -> None:
    frame = context_steps(frame_of(rows), windows={})

    assert list(frame) == list(CONTEXT_STEP_COLUMNS)
    told = frame[frame["prefix_tokens"].notna()]
    assert (told["prefix_tokens"] + told["append_tokens"] == told["input_tokens"]).all()
    for name, most in (("adjusted_append_tokens", "append_tokens"), ("fresh_tokens", "append_tokens")):
        both = told[told[name].notna()]
        assert ((both[name] >= 0) & (both[name] <= both[most])).all()
    known = frame[frame["resent_input_tokens"].notna()]
    assert ((known["resent_input_tokens"] >= 0) & (known["resent_input_tokens"] <= known["input_tokens"])).all()


@given(_any_rows(), st.sampled_from(("task", "agent", "provider", "model", "prompted_by")))
@settings(deadline=None, max_examples=12)
def test_the_groups_sum_to_the_whole_and_amplify_at_least_once(rows: list[dict[str, Any]], by: str) -> None:
    steps = context_steps(frame_of(rows), windows={})

    frame, whole = append_summary(steps, by=(by,)), append_summary(steps, by=())

    parts = [name for name in APPEND_COLUMNS if name not in ("prefill_amplification", "cache_efficiency")]
    assert frame[parts].sum().to_dict() == whole[parts].fillna(0).sum().to_dict()
    known = whole[["resent_read_tokens", "resent_input_tokens", "missed_tokens", "beyond_tokens"]].fillna(0).iloc[0]
    assert known["resent_read_tokens"] == known["resent_input_tokens"] - known["missed_tokens"] + known["beyond_tokens"]
    assert frame["cache_efficiency"].dropna().between(0, 1).all()
    assert (frame["prefill_amplification"].dropna() >= 1).all()
