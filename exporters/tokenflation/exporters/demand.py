"""A forecast as a file: the long table as Parquet, CSV or JSON, and beside it what it rests on.

Knows nothing of the model.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from tokenflation.analysis.planning.plan import Plan
from tokenflation.sdk.errors import ExportError

__all__ = ["check_ending", "plan_given", "write_demand"]

_ENDS = (".parquet", ".csv", ".json")
_MOST_NUMBERS = 1_000
_VERSIONED = ("tokenflation", "numpy", "pandas")


def plan_given(plan: Plan) -> dict[str, Any]:
    """Return what a plan says besides its defaults, ready for JSON; of more than 1,000 numbers in a row, how many."""
    found = _plain(plan)
    assert isinstance(found, dict)
    return found


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        kept = {one.name: getattr(value, one.name) for one in fields(value)}
        return {one.name: _plain(kept[one.name]) for one in fields(value) if _differs(kept[one.name], one.default)}
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(one) for one in value] if len(value) <= _MOST_NUMBERS else f"{len(value):,} numbers"
    return value.item() if isinstance(value, np.generic) else value


def _differs(value: Any, default: Any) -> bool:
    if isinstance(value, Mapping | list | tuple | np.ndarray):
        return len(value) > 0 and not (isinstance(default, tuple) and tuple(value) == default)
    return bool(value is not None and value != default)


def check_ending(path: str | Path) -> Path:
    """Return the file to write.

    Raises:
        ExportError: its ending says no format that `write_demand` knows.
    """
    file = Path(path)
    if file.suffix not in _ENDS:
        raise ExportError(f"{file.name!r} does not say a format; end it in {', '.join(_ENDS)}.")
    return file


def write_demand(demand: pd.DataFrame, path: str | Path, *, seed: int | None = None) -> Path:
    """Write the long table of `analysis.forecast` by the file's ending, and return where its manifest went.

    The manifest lies beside it as NAME.manifest.json: what the frame's `attrs` say (runs, volumes, assumptions,
    warnings), `seed`, and the versions of what worked it out. Files that are there are replaced.

    Raises:
        ExportError: the ending is another, or a file cannot be written.
    """
    file = check_ending(path)
    manifest: dict[str, Any] = {**demand.attrs.get("manifest", {}), "seed": seed,
                                "versions": {name: version(name) for name in _VERSIONED}}  # fmt: skip
    table = pd.DataFrame({name: demand[name] for name in demand.columns})
    beside = file.with_name(file.name + ".manifest.json")
    try:
        if file.suffix == ".parquet":
            with duckdb.connect() as connection:
                connection.register("demand", table)
                target = str(file).replace("'", "''")
                connection.execute(f"copy demand to '{target}' (format parquet)")
        elif file.suffix == ".csv":
            table.to_csv(file, index=False)
        else:
            # pandas writes so many decimals, and of small numbers loses digits.
            rows = [dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False, name=None)]
            file.write_text(json.dumps(rows, allow_nan=False), encoding="utf-8")
        beside.write_text(json.dumps(manifest, indent=2, allow_nan=False), encoding="utf-8")
    except (OSError, duckdb.Error) as error:
        raise ExportError(f"The forecast cannot be written to {file}: {error}. Choose another file.") from error
    return beside
