"""Exports of Langfuse, LangSmith, MLflow and Phoenix, in the shapes that their documentation and clients have.

Sources: langfuse.com/docs/api-and-data-platform/features/blob-storage-export-fields and its API reference (Observation,
TraceWithFullDetails); docs.langchain.com/langsmith/run-data-format; mlflow 3.17, Trace.to_dict; arize-phoenix-client
3.5.
"""

import base64
import csv
import json
from pathlib import Path
from typing import Any

import pytest
from tests.importers.spans import TRACE, rows

from tokenflation.sdk.importers import import_paths

TOKENS = "input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens"
AT = "2025-10-09T08:53:2{}.000000Z"
CHAT = {
    "id": "r-1", "model": "m-1-a",
    "choices": [{"finish_reason": "tool_calls", "message": {"tool_calls": [{"id": "c-1", "function": {"name": "search"}}]}}],
}  # fmt: skip


def write(path: Path, records: list[dict[str, Any]], kind: str) -> Path:
    if kind == "csv":
        names = sorted({name for one in records for name in one})
        with path.open("w", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL)
            writer.writerow(names)
            for one in records:
                cells = [one.get(name) for name in names]
                writer.writerow(
                    [
                        "" if cell is None else json.dumps(cell) if isinstance(cell, dict | list) else cell
                        for cell in cells
                    ]
                )
    else:
        path.write_text(json.dumps(records) if kind == "json" else "".join(json.dumps(one) + "\n" for one in records))
    return path


def tree(store: Path) -> list[tuple[Any, ...]]:
    return rows(store, f"task, agent, depth, step, provider, model, status, tool_calls, {TOKENS}")


def observation(number: int, kind: str, name: str, parent: int | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": f"{number:016x}", "traceId": TRACE, "type": kind, "name": name, "startTime": AT.format(number),
        "endTime": AT.format(number + 1), "parentObservationId": None if parent is None else f"{parent:016x}",
        "level": "DEFAULT", **more,
    }  # fmt: skip


OBSERVATIONS = [
    observation(1, "AGENT", "planner", usageDetails={"input": 999, "output": 99}),
    observation(2, "GENERATION", "chat", 1, model="m-1", output=CHAT, costDetails={"total": 0.5}, usageDetails={
        "input": 136, "input_cached_tokens": 64, "output": 50, "output_reasoning_tokens": 100, "total": 350}),
    observation(3, "TOOL", "search", 1),
    observation(4, "GENERATION", "chat", 1, model="m-1", completionStartTime=AT.format(5), usageDetails={
        "input": 50, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 300, "output": 9}),
    observation(5, "GENERATION", "chat", 1, model="m-1", level="ERROR", usageDetails={}),
]  # fmt: skip
LANGFUSE_TREE = [
    ("planner", "planner", 0, 0, "unknown", "m-1", "ok", 1, 200, 64, None, 150, 100),
    ("planner", "planner", 0, 1, "unknown", "m-1", "ok", 0, 1350, 1000, 300, 9, None),
    ("planner", "planner", 0, 2, "unknown", "m-1", "error", 0, None, None, None, None, None),
]


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv"])
def test_langfuse_observations_give_the_tree_and_sums_of_kinds(kind: str, tmp_path: Path, store: Path) -> None:
    file = write(tmp_path / f"export.{kind}", OBSERVATIONS, kind)
    summary = import_paths([file], store)
    assert (summary.formats, summary.problems) == ({"Langfuse": 1}, ())
    assert tree(store) == LANGFUSE_TREE
    assert rows(store, "ttfc_s, stream") == [(None, 0), (1.0, 1), (None, 0)]
    assert rows(store, "tool_call_id, name, executed", "tool_calls") == [("c-1", "search", 1)]
    assert import_paths([file], store).calls == 0


def test_langfuses_blob_storage_has_the_same_in_snake_case_and_names_of_traces_apart(
    tmp_path: Path, store: Path
) -> None:
    names = {
        "traceId": "trace_id", "startTime": "start_time", "endTime": "end_time", "model": "provided_model_name",
        "parentObservationId": "parent_observation_id", "usageDetails": "usage_details", "costDetails": "cost_details",
        "completionStartTime": "completion_start_time",
    }  # fmt: skip
    snake = [{names.get(name, name): value for name, value in one.items()} for one in OBSERVATIONS]
    trace = {"id": TRACE, "timestamp": "2025-10-09 08:53:20.000000", "name": "triage", "session_id": "s", "public": False,
             "bookmarked": False, "release": ""}  # fmt: skip
    for folder, records in (("observations", snake), ("traces", [trace])):
        (tmp_path / "export" / folder).mkdir(parents=True)
        write(tmp_path / "export" / folder / "1.jsonl", records, "jsonl")
    import_paths([tmp_path / "export"], store)
    assert tree(store) == [("triage", *row[1:]) for row in LANGFUSE_TREE]


def test_a_langfuse_trace_with_its_observations_is_read(tmp_path: Path, store: Path) -> None:
    trace = {"id": TRACE, "timestamp": AT.format(0), "name": "triage", "htmlPath": "/x", "sessionId": None, "public": False,
             "observations": OBSERVATIONS}  # fmt: skip
    write(tmp_path / "trace.json", [trace], "json")
    import_paths([tmp_path / "trace.json"], store)
    assert [row[0] for row in tree(store)] == ["triage"] * 3


def test_older_langfuse_totals_are_read_and_zeros_stand_for_nothing(tmp_path: Path, store: Path) -> None:
    write(tmp_path / "o.jsonl", [
        observation(1, "GENERATION", "a", usage={"input": 7, "output": 3, "total": 10, "unit": "TOKENS"}),
        observation(2, "GENERATION", "b", promptTokens=0, completionTokens=0, usage={"input": 0, "output": 0}),
    ], "jsonl")  # fmt: skip
    import_paths([tmp_path / "o.jsonl"], store)
    assert rows(store, "input_tokens, output_tokens") == [(7, 3), (None, None)]


def test_a_trace_as_langfuses_page_downloads_it_is_read(tmp_path: Path, store: Path) -> None:
    trace = {
        "id": TRACE,
        "timestamp": AT.format(0),
        "name": "triage",
        "sessionId": None,
        "public": False,
        "input": "x" * 99,
    }
    (tmp_path / "trace.json").write_text(json.dumps({"trace": trace, "observations": OBSERVATIONS}, indent=2))
    import_paths([tmp_path / "trace.json"], store)
    assert tree(store) == [("triage", *row[1:]) for row in LANGFUSE_TREE]


@pytest.mark.parametrize(
    ("model", "said", "expected"),
    [
        # Langfuse keeps the parts of OpenInference's spans under these names, inside the totals.
        ("gpt-x", {"usageDetails": {"input": 90, "prompt_details.cache_read": 60, "prompt_details.audio": 0, "output": 20,
                                    "completion_details.reasoning": 5, "total": 110}}, (90, 60, 20, 5)),
        ("gpt-x", {"usageDetails": {"input": 90, "output": 20, "details.input_tokens": 90, "details.cache_read_tokens": 60,
                                    "details.cache_read_input_tokens": 60, "reasoning_tokens": 5, "total": 110}},
         (90, 60, 20, 5)),
        # Google's total has thoughts that the candidates leave out.
        ("gemini-x", {"usageDetails": {"input": 5, "output": 40, "total": 105}}, (5, None, 100, 60)),
        ("gemini-x", {"usageDetails": {"input": 5, "output": 40, "output_reasoning": 60, "total": 105}}, (5, None, 100, 60)),
        ("gpt-x", {"usageDetails": {"input": 5, "output": 40, "total": 105}}, (5, None, 40, None)),
        ("gpt-x", {"usageDetails": {}, "inputUsage": 12, "outputUsage": 3}, (12, None, 3, None)),
    ],
)  # fmt: skip
def test_langfuses_parts_and_totals_are_read_by_what_they_mean(
    model: str, said: dict[str, Any], expected: tuple[Any, ...], tmp_path: Path, store: Path
) -> None:
    texts = {"input": [{"role": "user", "content": "q"}], "output": "a"}
    write(tmp_path / "o.json", [observation(1, "GENERATION", "a", model=model, **texts, **said)], "json")
    import_paths([tmp_path / "o.json"], store)
    assert rows(store, "input_tokens, cache_read_tokens, output_tokens, reasoning_tokens") == [expected]


def run(number: int, kind: str, name: str, parent: int | None = None, **more: Any) -> dict[str, Any]:
    def uuid(n: int) -> str:
        return f"00000000-0000-4000-8000-{n:012x}"

    return {
        "id": uuid(number), "trace_id": uuid(1), "run_type": kind, "name": name, "start_time": AT.format(number)[:-1],
        "end_time": AT.format(number + 1), "parent_run_id": None if parent is None else uuid(parent), "dotted_order": "x",
        **more,
    }  # fmt: skip


def with_metadata(**metadata: Any) -> dict[str, Any]:
    return {"extra": {"metadata": {"ls_provider": "openai", "ls_model_name": "m-1", **metadata}}}


RUNS = [
    run(1, "chain", "triage", prompt_tokens=1550, completion_tokens=159, total_tokens=1709),
    run(2, "llm", "ChatOpenAI", 1, **with_metadata(), prompt_tokens=200, completion_tokens=150, total_tokens=350, outputs={
        **CHAT, "usage_metadata": {"input_tokens": 200, "output_tokens": 150, "total_tokens": 350,
                                   "input_token_details": {"flex_cache_read": 64}, "output_token_details": {"reasoning": 100}}}),
    run(3, "tool", "search", 1, error="ValueError('no')\n\nTraceback (most recent call last)"),
    run(4, "llm", "ChatAnthropic", 1, **with_metadata(usage_metadata={
        "input_tokens": 1350, "output_tokens": 9, "input_token_details": {
            "cache_read": 1000, "cache_creation": 0, "ephemeral_5m_input_tokens": 300}}), first_token_time=AT.format(5)),
    run(5, "llm", "ChatOpenAI", 1, **with_metadata(), prompt_tokens=0, completion_tokens=0, total_tokens=0,
        error="APIStatusError: refused", total_cost="0.25"),
]  # fmt: skip
RUNS_TREE = [
    ("triage", "main", 0, 0, "openai", "m-1", "ok", 1, 200, 64, None, 150, 100),
    ("triage", "main", 0, 1, "openai", "m-1", "ok", 0, 1350, 1000, 300, 9, None),
    ("triage", "main", 0, 2, "openai", "m-1", "error", 0, None, None, None, None, None),
]


@pytest.mark.parametrize("shape", ["jsonl", "json", "envelope", "nested", "parquet"])
def test_langsmith_runs_give_the_tree_and_only_model_calls_count(shape: str, tmp_path: Path, store: Path) -> None:
    file = tmp_path / "runs"
    if shape == "envelope":
        file.write_text(json.dumps({"runs": RUNS}))
    elif shape == "nested":
        file.write_text(json.dumps({**RUNS[0], "child_runs": RUNS[1:]}))
    elif shape == "parquet":
        duckdb = pytest.importorskip("duckdb")
        write(
            tmp_path / "rows.jsonl",
            [{key: json.dumps(v) if isinstance(v, dict) else v for key, v in one.items()} for one in RUNS],
            "jsonl",
        )
        duckdb.sql(f"COPY (FROM read_json('{tmp_path}/rows.jsonl')) TO '{file}' (FORMAT parquet)")
    else:
        write(file, RUNS, shape)
    summary = import_paths([file], store)
    assert (summary.formats, summary.problems) == ({"LangSmith runs": 1}, ())
    assert tree(store) == RUNS_TREE
    assert rows(store, "error_type, ttft_s") == [(None, None), (None, 1.0), ("APIStatusError", None)]
    assert rows(store, "tool_call_id, executed, failed", "tool_calls") == [("c-1", 1, 1)]
    assert json.loads(rows(store, "extra")[2][0]) == {"cost": 0.25}


def mlflow_span(
    number: int, kind: str, name: str, parent: int | None = None, code: str = "OK", **attributes: Any
) -> dict[str, Any]:
    def encoded(n: int) -> str:
        return base64.b64encode(n.to_bytes(8, "big")).decode()

    return {
        "trace_id": base64.b64encode(bytes.fromhex(TRACE)).decode(), "span_id": encoded(number), "name": name,
        "parent_span_id": None if parent is None else encoded(parent), "start_time_unix_nano": (1760000000 + number) * 10**9,
        "end_time_unix_nano": (1760000001 + number) * 10**9, "status": {"code": f"STATUS_CODE_{code}", "message": ""},
        "attributes": {name.replace("__", "."): json.dumps(value) for name, value in
                       {"mlflow__spanType": kind, "mlflow__traceRequestId": "tr-1", **attributes}.items()}, "events": [],
    }  # fmt: skip


MLFLOW = {
    "info": {"trace_id": "tr-1", "trace_metadata": {"mlflow.trace.tokenUsage": '{"input_tokens": 1550}'}},
    "data": {"spans": [
        mlflow_span(1, "AGENT", "planner"),
        mlflow_span(2, "CHAT_MODEL", "Completions", 1, mlflow__llm__model="m-1", mlflow__message__format="openai",
                    mlflow__chat__tokenUsage={"input_tokens": 200, "output_tokens": 150, "total_tokens": 350,
                                              "cache_read_input_tokens": 64},
                    mlflow__spanOutputs={**CHAT, "usage": {"prompt_tokens": 200, "completion_tokens": 150,
                                                           "completion_tokens_details": {"reasoning_tokens": 100}}}),
        mlflow_span(3, "TOOL", "search", 1),
        mlflow_span(4, "CHAT_MODEL", "Messages", 1, mlflow__llm__model="m-1", mlflow__llm__provider="openai",
                    mlflow__chat__tokenUsage={"input_tokens": 1350, "output_tokens": 9, "total_tokens": 1359,
                                              "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 300}),
        mlflow_span(5, "CHAT_MODEL", "Completions", 1, "ERROR", mlflow__llm__model="m-1", mlflow__llm__provider="openai"),
    ]},
}  # fmt: skip


@pytest.mark.parametrize("shape", ["trace", "list", "artifact", "trace column", "spans column"])
def test_mlflow_traces_give_the_tree_and_count_spans_alone(shape: str, tmp_path: Path, store: Path) -> None:
    file = tmp_path / "traces.json"
    if shape == "trace column":
        write(file, [{"trace_id": "tr-1", "trace": json.dumps(MLFLOW), "spans": MLFLOW["data"]["spans"]}], "csv")
    elif shape == "spans column":
        row = {"trace_id": "tr-1", "trace_metadata": MLFLOW["info"]["trace_metadata"], "spans": MLFLOW["data"]["spans"]}
        write(file, [row], "jsonl")
    else:
        file.write_text(json.dumps({"trace": MLFLOW, "list": [MLFLOW], "artifact": MLFLOW["data"]}[shape], indent=1))
    summary = import_paths([file], store)
    assert (summary.formats, summary.problems) == ({"MLflow traces": 1}, ())
    assert tree(store) == [("planner", "planner", *row[2:]) for row in RUNS_TREE]
    assert rows(store, "call_id, response_id, finish_reasons")[0] == (f"{2:016x}", "r-1", '["tool_calls"]')


def phoenix_span(
    number: int, kind: str, name: str, parent: int | None = None, code: str = "OK", **attributes: Any
) -> dict[str, Any]:
    return {
        "name": name, "context": {"trace_id": TRACE, "span_id": f"{number:016x}"}, "span_kind": kind, "status_code": code,
        "parent_id": None if parent is None else f"{parent:016x}", "start_time": AT.format(number),
        "end_time": AT.format(number + 1), "events": [], "attributes": attributes,
    }  # fmt: skip


LLM = {"llm.model_name": "m-1", "llm.provider": "openai"}
PHOENIX = [
    phoenix_span(1, "AGENT", "planner", **{"agent.name": "planner", "llm.token_count.prompt": 1550}),
    phoenix_span(2, "LLM", "ChatCompletion", 1, **LLM, **{
        "llm.token_count.prompt": 200, "llm.token_count.prompt_details.cache_read": 64, "llm.token_count.completion": 150,
        "llm.token_count.completion_details.reasoning": 100,
        "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c-1",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "search"}),
    phoenix_span(3, "TOOL", "search", 1, **{"tool.name": "search"}),
    phoenix_span(4, "LLM", "messages.create", 1, **LLM, **{
        "llm.token_count.prompt": 1350, "llm.token_count.prompt_details.cache_read": 1000,
        "llm.token_count.prompt_details.cache_write": 300, "llm.token_count.completion": 9}),
    phoenix_span(5, "LLM", "ChatCompletion", 1, "ERROR", **LLM),
]  # fmt: skip


@pytest.mark.parametrize("shape", ["json", "jsonl", "envelope", "frame jsonl", "frame csv"])
def test_phoenix_spans_give_the_tree_whatever_they_were_saved_as(shape: str, tmp_path: Path, store: Path) -> None:
    file = tmp_path / "spans"
    if shape == "envelope":
        file.write_text(json.dumps({"data": PHOENIX, "next_cursor": None}))
    elif shape.startswith("frame"):
        frame = []
        for one in PHOENIX:
            row = {key: value for key, value in one.items() if key not in ("context", "attributes")}
            row |= {f"context.{key}": value for key, value in one["context"].items()}
            # pandas makes floats of whole numbers in a column with gaps
            row |= {f"attributes.{key}": float(v) if isinstance(v, int) else v for key, v in one["attributes"].items()}
            frame.append(row)
        write(file, frame, shape.partition(" ")[2])
    else:
        write(file, PHOENIX, shape)
    summary = import_paths([file], store)
    assert (summary.formats, summary.problems) == ({"Phoenix spans": 1}, ())
    assert tree(store) == [("planner", "planner", *row[2:]) for row in RUNS_TREE]


@pytest.mark.parametrize(
    "records", [OBSERVATIONS, RUNS, [MLFLOW], PHOENIX], ids=["langfuse", "langsmith", "mlflow", "phoenix"]
)
def test_a_broken_record_is_named_with_its_line_and_costs_nothing_else(
    records: list[dict[str, Any]], tmp_path: Path, store: Path
) -> None:
    file = write(tmp_path / "e.jsonl", records, "jsonl")
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], "{", "3", *lines[1:], json.dumps(dict.fromkeys(records[0]))]))
    summary = import_paths([file], store)
    assert summary.input_tokens == 1550
    assert {one.where for one in summary.problems} == {f"{file}:{n}" for n in (2, 3, len(lines) + 3)}
