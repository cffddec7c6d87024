"""What a profile of ten million calls costs: time against DuckDB's own group-by, memory, rows a second, growth, truth.

    python bench/profile_scale.py [--calls N] [--store-calls N] [--kinds K] [--folder DIR]

Makes calls of known parameters by SQL, profiles them in a fresh process each, and prints one table. `bare group-by` is
`TASKS_SQL` alone, run by DuckDB from the same Parquet file; `plain sums` is the least that a group-by of calls into
tasks can be: a sum and a count of every number, nothing under a condition, no agent runs. Times are of the wall; CPU
seconds stand beside them, since a machine is rarely idle.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import NormalDist
from typing import Any

import duckdb
import numpy as np
import pandas as pd

STEPS = (5, 45)
"""Calls of a task: each number from 5 to 45 equally often."""
SILENT, CACHED, REASONED, SYSTEM, TOOLS, RESULT, NEW = 0.02, 0.8, 0.25, 500, 1000, 300, 100
MU, SIGMA = 5.0, 0.7
FIRST, BY_KIND, GROWTH, JITTER = 2000, 300, 800, 1000
HASHES = 1_000_003

CALLS_SQL = """
with steps as (
  select j, j % {kinds} as k, unnest(range({low} + (j // {kinds}) % {lengths})) as s from range({first}, {last}) t(j)
),
drawn as (
  select *, (hash(j, s, 1) % {hashes} + 0.5) / {hashes} as u, (hash(j, s, 2) % {hashes}) / {hashes} as v,
    hash(j, s, 3) % {hashes} >= {silent} * {hashes} as reports, cast(hash(j, s, 4) % {jitter} as bigint) as extra
  from steps
),
sized as (
  select *, {first_input} + {by_kind} * k + {growth} * s + extra as input, s % 5 = 4 as inside,
    cast(round(exp({mu} + {sigma} * sqrt(-2 * ln(u)) * cos(2 * pi() * v))) as bigint) as output
  from drawn
)
select
  printf('%016x', j * 64 + s) as call_id, printf('%032x', j) as trace_id, 'kind-' || k as task,
  printf('task-%08d', j) as task_id, case when inside then 'helper' else 'planner' end as agent,
  printf('run-%08d-%d', j, case when inside then 1 + s // 5 else 0 end) as agent_run_id,
  cast(inside as bigint) as depth, s as step, 'scope' as structure_source, 'openai' as provider, 'openai.chat' as api,
  'model-' || (j // 7) % 5 as model, cast(1 as bigint) as stream, case when reports then 'ok' else 'error' end as status,
  '["stop"]' as finish_reasons, cast(1 as bigint) as attempts,
  1790000000000000000 + j * 100000000 + s * 2000000000 as started_at_ns,
  1790000001500000000 + j * 100000000 + s * 2000000000 as ended_at_ns, 1.5 as duration_s,
  case when reports then input end as input_tokens, case when reports then output end as output_tokens,
  case when reports and k % 8 < 5 then cast(round({cached} * input) as bigint) end as cache_read_tokens,
  case when reports and k % 2 = 0 then cast(round({reasoned} * output) as bigint) end as reasoning_tokens,
  case when reports then 'provider' else 'absent' end as usage_source, cast(reports as bigint) as usage_complete,
  cast(1 as bigint) as tool_calls, case when reports then {system} end as system_tokens,
  case when reports then {tools} end as tool_definition_tokens,
  case when reports then input - {fixed} end as resent_tokens, case when reports then {result} end as tool_result_tokens,
  case when reports then {new} end as new_tokens, case when reports then 'bytes' end as split_method,
  cast(64 as bigint) as block_tokens, case when reports then input // 80 end as shared_blocks, '{{}}' as extra
from sized
"""


def calls_sql(first: int, last: int, kinds: int) -> str:
    """Return the SQL of the calls of the tasks `first` to `last`, in the columns that are not empty."""
    return CALLS_SQL.format(
        kinds=kinds, low=STEPS[0], lengths=STEPS[1] - STEPS[0] + 1, first=first, last=last, hashes=HASHES, silent=SILENT,
        jitter=JITTER, first_input=FIRST, by_kind=BY_KIND, growth=GROWTH, mu=MU, sigma=SIGMA, cached=CACHED,
        reasoned=REASONED, system=SYSTEM, tools=TOOLS, result=RESULT, new=NEW, fixed=SYSTEM + TOOLS + RESULT + NEW,
    )  # fmt: skip


def task_count(calls: int, kinds: int) -> int:
    """Return how many tasks make about so many calls: whole rounds of all lengths in each kind."""
    lengths = STEPS[1] - STEPS[0] + 1
    rounds = max(1, round(calls / (kinds * lengths * sum(STEPS) / 2)))
    return rounds * lengths * kinds


def whole_row(text: str) -> str:
    """Return the SQL with every column of `calls`, empty ones as NULL."""
    from tokenflation.analysis.columns import CALL_COLUMNS

    types = {"text": "varchar", "int": "bigint", "float": "double", "bytes": "blob"}
    with duckdb.connect() as connection:
        have = {row[0] for row in connection.execute(f"describe {text}").fetchall()}
    cells = (
        f"cast({name if name in have else 'null'} as {types[column.kind]}) as {name}"
        for name, column in CALL_COLUMNS.items()
    )
    return f"select {', '.join(cells)} from ({text})"


def make_parquet(path: Path, tasks: int, kinds: int) -> None:
    """Write the calls as one Parquet file."""
    with duckdb.connect() as connection:
        connection.execute("set memory_limit = '2GB'")
        connection.execute("set preserve_insertion_order = false")
        connection.execute(
            f"copy ({whole_row(calls_sql(0, tasks, kinds))}) to '{path}' (format parquet, compression zstd)"
        )


def make_store(path: Path, tasks: int, kinds: int) -> None:
    """Write the calls as a store, with the writer's own tables, through Arrow."""
    from adbc_driver_sqlite import dbapi

    from tokenflation.sdk.store.write import open_writer

    open_writer(path).close()
    with duckdb.connect() as source, dbapi.connect(str(path)) as store, store.cursor() as cursor:
        for first in range(0, tasks, 20_000):
            text = whole_row(calls_sql(first, min(first + 20_000, tasks), kinds))
            cursor.adbc_ingest("calls", source.sql(text), mode="append")
        store.commit()


def child(action: str, path: Path, *more: int) -> dict[str, Any]:
    """Run one action of this file in a fresh process and return what it measured.

    Everything large runs in one: the peak memory of a new process starts at what its parent held.
    """
    answer = subprocess.run(
        [sys.executable, __file__, "--child", action, str(path), *map(str, more)],
        check=True,
        capture_output=True,
        text=True,
    )
    return dict(json.loads(answer.stdout))


def measured(action: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Return what an action gives, its wall and CPU seconds, and the peak memory of this process in MB."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = action()
    spent = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    return found, spent | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def run_child(action: str, path: Path, *more: int) -> None:
    """Measure one action and print it as JSON.

    `make_parquet` and `make_store` of so many tasks and kinds; `profile`, `bare`, `plain`; `start`, which only imports.
    """
    if action.startswith("make_"):
        make = {"make_parquet": make_parquet, "make_store": make_store}[action]
        print(json.dumps(measured(lambda: make(path, *more))[1]))
        return
    from tokenflation import analysis
    from tokenflation.analysis.reduce import NEEDED, TASKS_SQL
    from tokenflation.analysis.streams import opened

    if action == "profile":
        frame, spent = measured(lambda: analysis.profile(path, rng=np.random.default_rng(1)))
        print(json.dumps(spent | {"rows": json.loads(frame.to_json(orient="records", double_precision=15))}))
        return
    if action == "start":
        print(json.dumps(measured(lambda: None)[1]))
        return
    numbers = [name for name in NEEDED if name.endswith(("tokens", "blocks", "calls", "attempts"))]
    cells = ", ".join(f"sum({name}) as s_{name}, count({name}) as n_{name}" for name in numbers)
    plain = f"select task, task_id, count(*), min(started_at_ns), max(ended_at_ns), max(depth), {cells} from calls group by all"
    with opened(path, NEEDED, "bench") as connection:
        text = TASKS_SQL if action == "bare" else plain
        print(json.dumps(measured(lambda: connection.execute(f"create temp table t as {text}"))[1]))


def truths(kinds: int, tasks: int) -> Iterator[tuple[str, int, float, float, str]]:
    """Yield column, kind, what the profile must say, how far it may be off relatively, and why: exact, drawn or fixed.

    `drawn`: 5 standard errors of the draw, and 0.01 % or half a token more, since tokens are whole. `fixed`: a
    tolerance of 1 % or 0.01 %, chosen without regard to the error of the draw.
    """
    lengths = np.arange(STEPS[0], STEPS[1] + 1)
    of_kind = tasks // kinds
    calls = int(of_kind * lengths.mean())
    exact = np.repeat(lengths, of_kind // len(lengths))
    runs = 1 + lengths // 5
    mean_input = lambda k: (
        FIRST + BY_KIND * k + (JITTER - 1) / 2 + GROWTH * (lengths * (lengths - 1) / 2).sum() / lengths.sum()
    )
    for k in range(kinds):
        yield "tasks", k, of_kind, 0, "exact"
        yield "calls_sum", k, calls, 0, "exact"
        yield "calls_mean", k, lengths.mean(), 1e-12, "exact"
        for name, level in (("p10", 0.1), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
            yield f"calls_{name}", k, float(np.quantile(exact, level)), 1e-12, "exact"
        yield "agent_runs_mean", k, runs.mean(), 1e-12, "exact"
        yield "sub_agent_calls_mean", k, (lengths // 5).mean(), 1e-12, "exact"
        yield "depth_p50", k, 1, 0, "exact"
        yield "duration_s_mean", k, 2 * (lengths.mean() - 1) + 1.5, 1e-12, "exact"
        yield "reported_share_mean", k, 1 - SILENT, 5 * math.sqrt(SILENT / calls), "drawn"
        yield "isl_mean", k, mean_input(k), 5 * GROWTH * 13 / mean_input(k) / math.sqrt(calls) + 1e-4, "drawn"
        yield "fixed_overhead_share_mean", k, (SYSTEM + TOOLS) / mean_input(k), 1e-2, "fixed"
        yield "observation_share_mean", k, RESULT / mean_input(k), 1e-2, "fixed"
        yield (
            "osl_mean",
            k,
            math.exp(MU + SIGMA**2 / 2),
            5 * math.sqrt((math.exp(SIGMA**2) - 1) / calls) + 1e-4,
            "drawn",
        )
        for name, level in (("p10", 0.1), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
            z = NormalDist().inv_cdf(level)
            spread = math.sqrt(level * (1 - level) / calls) / NormalDist().pdf(z) * SIGMA
            # Half a token of rounding beside five standard errors of a quantile.
            value = math.exp(MU + SIGMA * z)
            yield f"osl_{name}", k, value, 5 * spread + 0.5 / value, "drawn"
        if k % 8 < 5:
            yield "cache_hit_rate_mean", k, CACHED, 1e-4, "fixed"
        if k % 2 == 0:
            yield "reasoning_share_mean", k, REASONED, 1e-2, "fixed"


def check(rows: list[dict[str, Any]], kinds: int, tasks: int) -> str:
    """Return how many numbers equal what they were made with; raises AssertionError naming one that does not."""
    by_kind = {row["task"]: row for row in rows}
    counts: Counter[str] = Counter()
    for column, kind, wanted, allowed, why in truths(kinds, tasks):
        found = by_kind[f"kind-{kind}"][column]
        off = abs(found - wanted) / abs(wanted)
        assert off <= allowed, f"{column} of kind-{kind}: {found} instead of {wanted}, allowed {allowed:.2g} relatively"
        counts[why] += 1
    return (
        f"{counts['exact']} numbers exact, {counts['drawn']} within 5 standard errors and 0.01 % or half a token of what "
        f"the generator draws from, {counts['fixed']} within a fixed 1 % or 0.01 % of it"
    )


def main() -> None:
    """Make the data, measure, check, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=float, default=1e7)
    parser.add_argument("--store-calls", type=float, default=1e6)
    parser.add_argument("--kinds", type=int, default=8)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--child", nargs="+")
    given = parser.parse_args()
    if given.child:
        run_child(given.child[0], Path(given.child[1]), *map(int, given.child[2:]))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        print_all(Path(folder), int(given.calls), int(given.store_calls), given.kinds)


def print_all(folder: Path, calls: int, store_calls: int, kinds: int) -> None:
    """Print one line per figure."""
    print(f"{os.cpu_count()} cores, DuckDB {duckdb.__version__}, pandas {pd.__version__}; {kinds} kinds of tasks")
    start = child("start", folder)
    wall: dict[int, float] = {}
    for size in (calls // 10, calls):
        tasks = task_count(size, kinds)
        rows = tasks * sum(STEPS) // 2
        path = folder / f"{rows}.parquet"
        made = child("make_parquet", path, tasks, kinds)
        print(
            f"\n{rows:,} calls in {tasks:,} tasks: Parquet of {path.stat().st_size / 1e6:,.0f} MB made in {made['wall_s']:.1f} s"
        )
        spent = {action: child(action, path) for action in ("plain", "bare", "profile")}
        for action, one in spent.items():
            print(
                f"  {action:8} {one['wall_s']:7.2f} s wall {one['cpu_s']:7.2f} s CPU   peak {one['peak_mb']:6,.0f} MB"
            )
        for action in ("bare", "plain"):
            ratios = (spent["profile"][name] / spent[action][name] for name in ("wall_s", "cpu_s"))
            print("  profile / {}: {:.2f} of wall, {:.2f} of CPU".format(action, *ratios))
        print(f"  {check(spent['profile']['rows'], kinds, tasks)}")
        wall[rows] = spent["profile"]["cpu_s"]
    small, large = sorted(wall)
    exponent = math.log(wall[large] / wall[small]) / math.log(large / small)
    print(f"\ngrowth {small:,} to {large:,} calls: CPU x {wall[large] / wall[small]:.1f}, exponent {exponent:.2f}")
    print(f"imports alone: {start['peak_mb']:.0f} MB")
    tasks = task_count(store_calls, kinds)
    rows = tasks * sum(STEPS) // 2
    path = folder / "runs.db"
    made = child("make_store", path, tasks, kinds)
    spent = {"profile": child("profile", path)}
    print(f"\nstore of {rows:,} calls, {path.stat().st_size / 1e6:,.0f} MB, made in {made['wall_s']:.1f} s")
    one = spent["profile"]
    print(
        f"  profile {one['wall_s']:.2f} s wall {one['cpu_s']:.2f} s CPU, peak {one['peak_mb']:,.0f} MB: {rows / one['wall_s']:,.0f} rows/s"
    )
    print(f"  {check(one['rows'], kinds, tasks)}")


if __name__ == "__main__":
    main()
