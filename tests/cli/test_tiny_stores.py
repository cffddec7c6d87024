"""Stores with next to nothing in them: commands say what is known, call unknown what is not, make nothing up."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.analysis.conftest import write_store
from tests.analysis.trees import at

from tokenflation import analysis as an
from tokenflation.analysis.findings import findings
from tokenflation.cli import main

_ERROR = {"status": "error", "error_type": "http_500", "usage_source": "absent", "usage_complete": 0}


def _timed(start: float, end: float, **values: Any) -> dict[str, Any]:
    return {"started_at_ns": at(start), "ended_at_ns": at(end), "duration_s": end - start, "model": "m", **values}


_STORES: dict[str, list[dict[str, Any]]] = {
    "one call": [_timed(0, 1, input_tokens=100, output_tokens=10)],
    "one call without times": [{"input_tokens": 100, "output_tokens": 10}],
    "no usage": [_timed(second, second + 1) for second in range(3)],
    "only errors": [_timed(second, second + 1, **_ERROR) for second in range(4)],
    "only zeros": [_timed(0, 0, input_tokens=0, output_tokens=0, cache_read_tokens=0)],
    "only zeros, of a sub-agent too": [
        _timed(second, second + 1, input_tokens=0, output_tokens=0, depth=second, agent_run_id=f"r{second}")
        for second in range(2)
    ],
    "one cut call": [{"status": "cut", "input_tokens": 5, "usage_complete": 0}],
}
_COMMANDS = [
    "profile", "profile --by step", "inflation", "structure", "context", "context --table steps", "cache", "tree", "info",
    "diff",
]  # fmt: skip
# What Python calls a missing value, and times of the year in which nobody recorded anything.
_NONSENSE = re.compile(r"\b(nan|NaN|None|NaT|inf|<NA>|1970)\b")


def _ran(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


@pytest.mark.parametrize("name", _STORES)
def test_every_command_shows_what_is_known_or_says_why_it_cannot(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(write_store(tmp_path / "runs.db", _STORES[name]))
    for command in _COMMANDS:
        word, *options = command.split()
        code, out, err = _ran([word, store, *([store] if word == "diff" else []), *options], capsys)

        assert not _NONSENSE.search(out + err), (command, out, err)
        if code:
            # Nothing is known of contexts and differences where no call reports its input.
            assert (code, word in ("context", "diff"), name in ("no usage", "only errors")) == (1, True, True), err
            assert (out, err.count("\n")) == ("", 1)
            assert "reports" in err
        else:
            assert out


def test_a_page_is_made_of_a_single_run_though_it_says_nothing_of_a_fleet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, page = write_store(tmp_path / "runs.db", _STORES["one call"]), tmp_path / "page.html"

    code, _, err = _ran(["report", str(store), "-o", str(page)], capsys)

    assert (code, err) == (0, "")
    assert "There is no forecast: " in page.read_text()


_SENTENCES = {
    "only errors": [
        "4 calls of `kind` failed; that took 4 s.",
        "1 of 1 task of `kind` failed (1 by the last call).",
    ],
    "one cut call": [
        "1 call of `kind` failed; how long that took is not known.",
        "1 of 1 task of `kind` failed (1 by the last call).",
    ],
}


@pytest.mark.parametrize("name", _STORES)
def test_findings_in_next_to_nothing_are_what_happened_and_no_more(name: str, tmp_path: Path) -> None:
    found = findings(an.load(str(write_store(tmp_path / "runs.db", _STORES[name]))))

    assert sorted(found["sentence"]) == sorted(_SENTENCES.get(name, []))
    assert (found["calls"] > 0).all()


def test_a_share_that_nobody_can_know_is_unknown_between_two_sides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(write_store(tmp_path / "runs.db", _STORES["one call"]))

    _, out, _ = _ran(["diff", store, store], capsys)

    rows = {line.split("│")[1].strip(): [cell.strip() for cell in line.split("│")[2:4]] for line in out.splitlines() if "│" in line}  # fmt: skip
    assert rows["cached, share of input"] == rows["re-sent, share of input"] == ["-", "-"]


def test_a_side_that_reports_no_output_has_no_share_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(write_store(tmp_path / "runs.db", [{"input_tokens": 5}]))

    _, differs, _ = _ran(["diff", store, store], capsys)
    _, profiled, _ = _ran(["profile", store], capsys)

    assert re.search(r"output, share of tokens +│ +- +│ +- +│", differs)
    # The title says that usage is reported in part: a row of zeros would say that there is none.
    assert "│ calls with usage" not in profiled


def test_json_of_next_to_nothing_has_null_for_what_is_not_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(write_store(tmp_path / "runs.db", _STORES["only errors"]))

    (row,) = json.loads(_ran(["profile", store, "--json"], capsys)[1])

    assert (row["calls_sum"], row["failed_calls_sum"], row["unreported_share_mean"]) == (4, 4, 1.0)
    assert row["input_tokens_sum"] is row["cache_hit_rate_mean"] is row["reasoning_share_mean"] is None


def test_a_store_without_tasks_says_so_and_nothing_sent_twice_needs_no_cache(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    none = str(write_store(tmp_path / "none.db", []))
    hashed = {"block_tokens": 64, "block_hashes": bytes(16), "cache_read_tokens": 0}
    one = str(write_store(tmp_path / "one.db", [_timed(0, 1, input_tokens=100, output_tokens=10, **hashed)]))

    assert _ran(["tasks", none], capsys)[1].startswith("no tasks: record with")
    code, out, _ = _ran(["cache", one], capsys)

    assert code == 0
    assert "own task: the ideal of a cache that is empty when a task starts" in " ".join(out.split())
    assert "Smallest cache" not in out


def test_a_fleet_whose_output_nobody_reports_has_none_in_the_terminal_and_on_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [_timed(9 * n, 9 * n + 2, task_id=f"t{n}", input_tokens=100 + n, cache_read_tokens=7) for n in range(12)]
    store, page = str(write_store(tmp_path / "runs.db", rows)), tmp_path / "page.html"

    for more in ([], ["--explain"], ["--what-if", "cache=off"]):
        code, out, err = _ran(["forecast", store, "--tasks-per-day", "500", *more], capsys)
        assert (code, _NONSENSE.search(out + err)) == (0, None)
    code, out, _ = _ran(["forecast", store, "--tasks-per-day", "500"], capsys)
    assert re.search(r"output +│ not reported", out)
    assert re.search(r"decode +│ tokens/s +│ not reported", out)
    assert _ran(["report", store, "-o", str(page)], capsys)[0] == 0
    assert "Output that is generated: not reported" in page.read_text()


def test_a_forecast_says_why_calls_that_ended_well_may_have_no_token_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [_timed(second, second + 1, task_id=f"T{second}") for second in range(2)]
    store = write_store(tmp_path / "runs.db", rows)
    with pytest.raises(SystemExit, match="1"):
        main(["forecast", str(store), "--tasks-per-day", "5"])
    said = " ".join(capsys.readouterr().err.split())
    assert "none of the 2 calls reports any. They failed, or no log or server tells any" in said
