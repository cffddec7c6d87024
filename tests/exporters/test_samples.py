"""Our files beside samples that load generators and simulators have read: the same session gives the same object."""

import json
from pathlib import Path

import pytest
from tests.exporters.frames import call, frame, rolling

from tokenflation.exporters import write

_PLANNERS = Path(__file__).resolve().parents[2] / ".." / "shared" / "planners"

_PROMPT = [f"main-{number}" for number in range(15)]
_SUB = [f"sub-{number}" for number in range(8)]


def _sample_calls() -> list[dict[str, object]]:
    """Return the four calls of the sample session `sess-1`."""
    main = {"task_id": "sess-1", "model": "mock-model", "duration_s": 0.2, "stream": 1, "ttft_s": 0.05}
    sub = {
        "task_id": "sess-1",
        "model": "mock-model",
        "duration_s": 0.1,
        "agent": "Explore",
        "agent_run_id": "sub",
        "depth": 1,
    }
    tools = {"finish": ["tool_use"], "tool_calls": 1}
    return [
        call(at_s=0, input_tokens=640, output_tokens=50, block_hashes=rolling(*_PROMPT[:10]), **main, **tools,
             tool_definition_tokens=128, system_tokens=64, extra={"think_time": 0.0}),
        call(at_s=0.5, input_tokens=320, output_tokens=30, block_hashes=rolling(*_SUB[:5]), **sub, **tools,
             extra={"think_time": 0.0, "subagent": {"duration_ms": 900, "total_tokens": 900}}),
        call(at_s=0.8, input_tokens=512, output_tokens=20, block_hashes=rolling(*_SUB), step=1, **sub, finish=["stop"],
             extra={"think_time": 0.2}),
        call(at_s=1.5, input_tokens=960, output_tokens=40, block_hashes=rolling(*_PROMPT), step=1, **main, finish=["stop"],
             extra={"think_time": 0.3}),
    ]  # fmt: skip


@pytest.mark.shared_data
def test_the_sample_session_is_written_as_the_sample_that_four_tools_read(tmp_path: Path) -> None:
    sample = _PLANNERS / "weka" / "sess-1.json"
    if not sample.exists():
        pytest.skip(f"{sample} is absent")
    expected = json.loads(sample.read_text())

    write(frame(_sample_calls()), tmp_path / "out.json", format="weka")
    written = json.loads((tmp_path / "out.json").read_text())

    # The sample numbers the sub-agent's blocks from 100 and leaves out what is optional; everything else is the same.
    assert (written["requests"][1].pop("tool_tokens"), written["requests"][1].pop("system_tokens")) == (0, 0)
    assert written["requests"][1]["requests"][1]["hash_ids"] == list(range(10, 18))
    for entry in (expected["requests"][1], written["requests"][1]):
        for request in entry["requests"]:
            request["hash_ids"] = len(request["hash_ids"])
    assert [e.get("hash_ids") for e in written["requests"]] == [list(range(10)), None, [*range(10), *range(18, 23)]]
    written["requests"][2]["hash_ids"] = expected["requests"][2]["hash_ids"]
    assert {name: value for name, value in written.items() if name != "totals"} == expected


@pytest.mark.shared_data
def test_a_mooncake_row_has_no_field_that_the_published_trace_lacks(tmp_path: Path) -> None:
    sample = _PLANNERS / "moon.jsonl"
    if not sample.exists():
        pytest.skip(f"{sample} is absent")
    allowed = set(json.loads(sample.read_text().splitlines()[0]))

    write(frame(_sample_calls()), tmp_path / "out.jsonl", format="mooncake", sessions=True)

    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    # AIPerf and Dynamo read `delay` in rows of sessions beside what was published.
    assert [set(row) - {"delay"} for row in rows] == [allowed] * 4
    assert [row["timestamp"] for row in rows] == [0, 500, 800, 1500]
