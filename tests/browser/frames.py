"""Calls as a store would hold them, made with known parameters: no store, no provider, no clock."""

from typing import Any

import numpy as np
import pandas as pd

from tokenflation.analysis.columns import CALL_COLUMNS
from tokenflation.analysis.frames import from_rows

START_NS = 1_780_000_000_000_000_000
_MINUTE_NS = 60_000_000_000


def calls_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return a frame with the columns of `calls`; what a row leaves out is not reported, or its plain default."""
    defaults: dict[str, Any] = dict.fromkeys(CALL_COLUMNS) | {
        "trace_id": "0" * 32, "depth": 0, "step": 0, "structure_source": "scope", "provider": "openai",
        "api": "openai.chat", "model": "model-a", "stream": 0, "status": "ok", "finish_reasons": "[]", "attempts": 1,
        "started_at_ns": START_NS, "usage_source": "provider", "usage_complete": 1, "tool_calls": 0, "block_tokens": 64,
        "extra": "{}", "agent": "agent",
    }  # fmt: skip
    filled = [defaults | row for row in rows]
    columns = list(CALL_COLUMNS.values())
    frame = from_rows([[row[column.name] for column in columns] for row in filled], columns)
    return frame.drop(columns="block_hashes")


def agent_rows(
    rng: np.random.Generator, kind: str, task: int, *, mean_steps: float, system: int = 1_800, sub_agent: bool = False
) -> list[dict[str, Any]]:
    """Return the calls of one task: an agent whose history grows with every step, and maybe one sub-agent."""
    runs = [(f"{kind}-{task}", 0)] + ([(f"{kind}-{task}-sub", 1)] if sub_agent else [])
    rows = []
    at = START_NS + task * _MINUTE_NS
    for run, depth in runs:
        resent = 0
        for step in range(1 + int(rng.poisson(mean_steps))):
            output, result, fresh = (int(rng.gamma(2, scale)) + 1 for scale in (90, 350, 120))
            result = result if step else 0
            total = system + 900 + resent + result + fresh
            reasoning = int(output * rng.uniform(0.2, 0.6))
            rows.append(
                {
                    "call_id": f"{run}-{step}", "task": kind, "task_id": f"{kind}-{task}", "agent_run_id": run,
                    "depth": depth, "step": step, "started_at_ns": at, "ended_at_ns": at + 2_000_000_000,
                    "duration_s": 2.0, "ttft_s": 0.4, "input_tokens": total, "output_tokens": output,
                    "reasoning_tokens": reasoning, "cache_read_tokens": (system + 900 + resent) if step else 0,
                    "system_tokens": system, "tool_definition_tokens": 900, "resent_tokens": resent,
                    "tool_result_tokens": result, "new_tokens": fresh, "split_method": "bytes",
                    "tool_calls": 1, "stream": 1,
                }
            )  # fmt: skip
            resent += result + fresh + output
            at += 3_000_000_000
    return rows


def direct_rows(rng: np.random.Generator, kind: str, task: int) -> list[dict[str, Any]]:
    """Return the one call of a task answered without an agent."""
    output, fresh = int(rng.gamma(4, 60)) + 1, int(rng.gamma(4, 90)) + 1
    return [
        {
            "call_id": f"{kind}-{task}", "task": kind, "task_id": f"{kind}-{task}", "agent_run_id": f"{kind}-{task}",
            "input_tokens": 300 + fresh, "output_tokens": output, "reasoning_tokens": 0, "cache_read_tokens": 0,
            "system_tokens": 300, "tool_definition_tokens": 0, "resent_tokens": 0, "tool_result_tokens": 0,
            "new_tokens": fresh, "split_method": "bytes", "duration_s": 1.0,
            "started_at_ns": START_NS + task * _MINUTE_NS, "ended_at_ns": START_NS + task * _MINUTE_NS + 10**9,
        }
    ]  # fmt: skip


def fleet(seed: int = 7, tasks: int = 30) -> pd.DataFrame:
    """Return the calls of three agent kinds and a direct answer."""
    rng = np.random.default_rng(seed)
    rows = []
    for task in range(tasks):
        rows += agent_rows(rng, "triage", task, mean_steps=6)
        rows += agent_rows(rng, "research", task, mean_steps=22, sub_agent=True)
        rows += agent_rows(rng, "fix <b>bug</b>", task, mean_steps=12)
        rows += direct_rows(rng, "answer-once", task)
    return calls_frame(rows)


def demand_frame() -> pd.DataFrame:
    """Return a day of demand in 5-minute buckets: a smooth working day, in the long layout of a forecast."""
    rows = []
    for bucket in range(288):
        shape = 1 + 0.7 * np.sin((bucket / 288 - 0.35) * 2 * np.pi)
        for resource, unit, base in (
            ("prefill_tokens_per_s", "tokens/s", 4.1e6),
            ("decode_tokens_per_s", "tokens/s", 6.3e4),
            ("concurrent_calls", "calls", 2_350.0),
        ):
            mean = base * shape
            scales = {"mean": 1, "mean_low": 0.87, "mean_high": 1.16, "p50": 0.99, "p95": 1.13, "p99": 1.21}
            rows += [(bucket * 300.0, resource, name, mean * scale, unit) for name, scale in scales.items()]
    rows += [
        (-1.0, "input_tokens", name, 3e11 * scale, "tokens/day") for name, scale in (("mean", 1), ("mean_low", 0.9))
    ]
    frame = pd.DataFrame(rows, columns=["bucket_start", "resource", "statistic", "value", "unit"])
    kinds = [{"task": "research", "runs": 30, "tasks_per_day": 1e6}]
    frame.attrs["manifest"] = {"kinds": kinds, "level": 0.9, "assumptions": ["Poisson."], "warnings": ["Few tasks."]}
    return frame
