"""A forecast as a file: the long table as Parquet, CSV or JSON, and beside it what it rests on.

Knows nothing of the model.
"""

import errno
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
from tokenflation.exporters.files import atomic_file, check_file
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
        ExportError: its ending says no format that `write_demand` knows, or no file can stand there.
    """
    file = Path(path)
    if file.suffix not in _ENDS:
        raise ExportError(f"{file.name!r} does not say a format; end it in {', '.join(_ENDS)}.")
    return check_file(path)


def write_demand(demand: pd.DataFrame, path: str | Path, *, seed: int | None = None) -> Path:
    """Write the long table of `analysis.forecast` by the file's ending, and return where its manifest went.

    The manifest lies beside it as NAME.manifest.json: what the frame's `attrs` say (runs, volumes, assumptions,
    warnings), `seed`, and the versions of what worked it out. Files that are there are replaced, by whole ones alone.

    Raises:
        ExportError: the ending is another, or a file cannot be written.
    """
    file = check_ending(path)
    manifest: dict[str, Any] = {**demand.attrs.get("manifest", {}), "seed": seed,
                                "versions": {name: version(name) for name in _VERSIONED}}  # fmt: skip
    table = pd.DataFrame({name: demand[name] for name in demand.columns})
    beside = file.with_name(file.name + ".manifest.json")
    with atomic_file(file) as rows, atomic_file(beside) as says:
        if file.suffix == ".parquet":
            _write_parquet(table, rows.name)
        elif file.suffix == ".csv":
            table.to_csv(rows, index=False)
        else:
            # pandas writes so many decimals, and of small numbers loses digits.
            plain = [dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False, name=None)]
            rows.write(json.dumps(plain, allow_nan=False).encode())
        says.write(json.dumps(manifest, indent=2, allow_nan=False).encode())
    return beside


def _write_parquet(table: pd.DataFrame, path: str) -> None:
    try:
        with duckdb.connect() as connection:
            connection.register("demand", table)
            target = path.replace("'", "''")
            connection.execute(f"copy demand to '{target}' (format parquet)")
    except duckdb.IOException as error:
        said = "No space left on device" if "No space left" in str(error) else str(error)
        raise OSError(errno.EIO, said) from error
