"""A forecast as a file: the long table as Parquet, CSV or JSON, and beside it what it rests on. Knows nothing of the model."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from tokenflation.sdk.errors import ExportError

__all__ = ["write_demand"]

_ENDS = (".parquet", ".csv", ".json")
_VERSIONED = ("tokenflation", "numpy", "pandas")


def write_demand(demand: pd.DataFrame, path: str | Path, *, seed: int | None = None) -> Path:
    """Write the long table of `analysis.forecast` by the file's ending, and return where its manifest went.

    The manifest lies beside it as NAME.manifest.json: what the frame's `attrs` say (runs, volumes, assumptions, warnings),
    `seed`, and the versions of what worked it out. Files that are there are replaced.

    Raises:
        ExportError: the ending is another, or a file cannot be written.
    """
    file = Path(path)
    if file.suffix not in _ENDS:
        raise ExportError(f"{file.name!r} does not say a format; end it in {', '.join(_ENDS)}.")
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
            file.write_text(table.to_json(orient="records", double_precision=15), encoding="utf-8")
        beside.write_text(json.dumps(manifest, indent=2, allow_nan=False), encoding="utf-8")
    except (OSError, duckdb.Error) as error:
        raise ExportError(f"The forecast cannot be written to {file}: {error}. Choose another file.") from error
    return beside
