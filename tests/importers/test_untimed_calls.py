"""Calls of which a source gives no time, or one moment only: they have a place in the order, and no length."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.importers.agent_logs import ATIF
from tests.importers.test_damaged_logs import INSPECT, OPENHANDS

from tokenflation import analysis as an
from tokenflation.analysis.structure.rows import load_structure
from tokenflation.analysis.structure.tasks import structure_tasks
from tokenflation.cli import main
from tokenflation.sdk.importers import import_paths

YEAR_NS = 365 * 86400 * 10**9


def _imported(folder: Path, **files: Any) -> Path:
    for name, content in files.items():
        many = isinstance(content, list)
        text = "".join(json.dumps(line) + "\n" for line in content) if many else json.dumps(content)
        (folder / f"{name}.{'jsonl' if many else 'json'}").write_text(text)
    import_paths([folder], folder / "runs.db")
    return folder / "runs.db"


def _times(store: Path) -> list[tuple[Any, ...]]:
    query = "select started_at_ns, ended_at_ns, duration_s from calls order by task, started_at_ns, step"
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute(query).fetchall()


def _info(store: Path, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit, match="0"):
        main(["info", str(store)])
    return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("time"))


def _without(content: Any, *names: str) -> Any:
    """Return the same without the fields of these names, at any depth."""
    if isinstance(content, list):
        return [_without(one, *names) for one in content]
    if isinstance(content, dict):
        return {name: _without(value, *names) for name, value in content.items() if name not in names}
    return content


def test_a_call_of_which_only_the_end_is_known_takes_an_unknown_time_and_not_none(tmp_path: Path) -> None:
    timed = OPENHANDS | {
        "messages": [{"role": "user", "content": "other"}],
        "response": OPENHANDS["response"] | {"id": "y"},
    }  # type: ignore[operator]
    store = _imported(tmp_path, a=_without(OPENHANDS, "latency_sec"), b=timed)

    calls = an.load(str(store))
    tasks = structure_tasks(calls, *load_structure(str(store))).sort_values("duration_ns")

    assert sorted(_times(store)) == [
        (1757015027 * 10**9, 1757015029 * 10**9, 2.0),
        (1757015029 * 10**9, None, None),
    ]
    assert an.tasks(calls)["duration_s"].dropna().tolist() == [2.0]
    assert tasks["duration_ns"].fillna(-1).tolist() == [2 * 10**9, -1]
    assert an.profile(calls)["duration_s_p50"].tolist() == [2.0]


def test_a_call_without_a_time_among_others_stands_behind_the_one_before_it(tmp_path: Path) -> None:
    samples = json.loads(json.dumps(INSPECT))["samples"][:1]
    event = samples[0]["events"][0]
    samples[0]["events"] = [_without(event, "timestamp", "completed"), event, _without(event, "timestamp", "completed")]
    store = _imported(tmp_path, a={**INSPECT, "samples": samples})

    (first, second, third) = _times(store)

    assert second == (1767225600 * 10**9, 1767225602 * 10**9, 2.0)
    assert first[0] < second[0] < third[0] == second[0] + 1
    assert first[1:] == third[1:] == (None, None)


@pytest.mark.parametrize("source", ["openhands", "inspect", "atif"])
def test_where_nothing_has_a_time_all_times_are_unknown(
    tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs: dict[str, Any] = {"openhands": OPENHANDS, "inspect": INSPECT, "atif": ATIF}
    store = _imported(tmp_path, a=_without(logs[source], "timestamp", "completed", "latency_sec"))

    calls = an.load(str(store))

    assert all(started < YEAR_NS and ended is None for started, ended, _ in _times(store))
    assert an.tasks(calls)["duration_s"].isna().all()
    assert json.loads(calls["extra"].iloc[0])["session"]["times_unknown"] is True
    assert _info(store, capsys).split(maxsplit=1) == ["time", "not given by the source"]


def test_info_keeps_calls_without_a_date_apart_from_dates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = _imported(tmp_path, a=OPENHANDS, b={**INSPECT, "samples": [
        {"id": 1, "epoch": 1, "messages": [{"role": "assistant", "source": "generate", "model": "m"}]}]})  # fmt: skip

    assert _info(store, capsys).endswith("2025-09-04 19:43:47 to 2025-09-04 19:43:49 UTC; 1 call without a date")
