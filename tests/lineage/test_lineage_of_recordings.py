"""Lineage on recorded exchanges: the parents that a table made without this library names, and the same from rows."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.lineage_truth import DATA, KEY, Edge, Step, assembled, cassettes, edges, shares
from tests.lineage.lineage_rows import EDGES, rows_of
from tests.recording.rebuilding import rebuild

from tokenflation.sdk.records import Call, ToolRun
from tokenflation.sdk.store.write import Batch, open_writer

_EXCHANGES, _TRUTH = DATA / "exchanges.jsonl.xz", DATA / "truth.csv"

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not _EXCHANGES.exists(), reason="needs the recorded exchanges of ../shared/data"),
]

Recorded = tuple[Path, list[set[str]], list[Edge]]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """Return a store of all recordings, the ids of each program's calls, and the edges beside the table's."""
    store = tmp_path_factory.mktemp("recorded") / "runs.db"
    programs: list[set[str]] = []
    found: list[Edge] = []
    writer = open_writer(store, key=KEY)
    with writer.transaction():
        for cassette in cassettes(_EXCHANGES, _TRUTH, ""):
            steps = list(assembled(cassette))
            batch = _rows(steps)
            writer.write(batch)
            programs.append({call.call_id for call in batch.calls})
            found += edges(steps)
    writer.close()
    yield store, programs, found
    store.unlink()


def _rows(steps: list[Step]) -> Batch:
    """Return the rows of a program as they stand at its end."""
    calls: dict[str, Call] = {}
    tools: dict[tuple[str, str], ToolRun] = {}
    for _, _, _, rows in steps:
        placed = [*([rows.call] if rows.call is not None else []), *rows.moved]
        calls |= {call.call_id: call for call in placed}
        tools |= {(run.call_id, run.tool_call_id): run for run in rows.tool_runs}
    return Batch(calls=list(calls.values()), tool_runs=list(tools.values()))


def test_parents_in_recordings_are_recovered_and_none_is_invented(recorded: Recorded) -> None:
    _, _, found = recorded

    recovered, not_invented = shares(found)

    assert sum(bool(edge.table) for edge in found) > 500
    assert recovered >= 0.99
    assert not_invented >= 0.995


def test_the_trees_of_recordings_are_found_again_from_the_rows_alone(recorded: Recorded) -> None:
    store, programs, _ = recorded
    calls, tools = rows_of(store)
    by_id = {call.call_id: call for call in calls}

    differ = []
    for ids in programs:
        found = rebuild([by_id[id_] for id_ in ids], [run for run in tools if run.call_id in ids])
        differ += [
            (id_, name) for id_ in ids for name in EDGES if getattr(found[id_], name) != getattr(by_id[id_], name)
        ]

    assert differ == []
    assert sum(call.continues_call_id is not None for call in calls) > 500
    assert sum(call.inside_call_id is not None for call in calls) > 50
