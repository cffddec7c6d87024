"""The rows of a file of recorded demand: CSV or JSON, compressed or not. Knows nothing of what its columns mean."""

from pathlib import Path

import pandas as pd

from tokenflation.sdk.errors import FrameError
from tokenflation.sdk.store.paths import database_scheme

__all__ = ["line_of", "read_table"]

_JSON = frozenset((".json", ".jsonl", ".ndjson"))
_PACKED = frozenset((".gz", ".xz", ".bz2", ".zst"))


def read_table(path: str | Path) -> pd.DataFrame:
    """Return the rows of a CSV or JSON-lines file, or of a JSON array, compressed or not.

    Raises:
        FrameError: it is not there, is empty, or is none of these.
    """
    path = Path(path)
    if database_scheme(path):  # pandas would open it
        raise FrameError(f"{path} is an address: write what it leads to to a file, and give that file's path.")
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise FrameError(f"{path} is a pipe or a device, and is read more than once. Write it to a file first.")
    try:
        if _is_json(path):
            table = pd.read_json(path, lines=not _is_array(path), dtype=False)
        else:
            table = pd.read_csv(path, sep=_separator(path))
    except (FileNotFoundError, IsADirectoryError) as error:
        what = "is a folder" if isinstance(error, IsADirectoryError) else "is not there"
        raise FrameError(f"{path} {what}; give the path of a CSV or JSON-lines file, or of a store.") from error
    except pd.errors.EmptyDataError:
        table = pd.DataFrame()
    except Exception as error:  # pandas and the decompressors raise what they like on a broken file
        raise FrameError(f"{path} cannot be read as CSV or JSON lines: {str(error).strip()[:200]}. Give CSV in UTF-8 whose "
                         "first line names its columns, or one JSON object a line.") from error  # fmt: skip
    if table.empty:
        raise FrameError(f"{path} has no rows; a recorded demand needs a time and a number on each, below a line that names "
                         "them, as `time,requests`.")  # fmt: skip
    first = str(table.columns[0])
    if not _is_json(path) and _looks_like_a_value(first):
        raise FrameError(
            f"{path}: line 1 starts with {first!r}, a value and no name; write names of columns as its first line."
        )
    return table


def line_of(path: str | Path, row: int) -> int:
    """Return the line of a file on which row number `row` stands, as editors count; a CSV's first line are names."""
    return row + (1 if _is_json(Path(path)) else 2)


def _is_json(path: Path) -> bool:
    plain = [one.lower() for one in path.suffixes if one.lower() not in _PACKED]
    return bool(plain) and plain[-1] in _JSON


def _is_array(path: Path) -> bool:
    """Return whether a file is one JSON array; a compressed one is taken for lines."""
    if path.suffix.lower() in _PACKED:
        return False
    with path.open("rb") as file:
        return file.read(64).lstrip()[:1] == b"["


def _separator(path: Path) -> str:
    """Return what stands between the fields of the first line: the most frequent of comma, semicolon and tab."""
    first = " ".join(map(str, pd.read_csv(path, sep="\x1f", nrows=0).columns))
    return max(",;\t", key=first.count)


def _looks_like_a_value(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return name[:1].isdigit() and pd.notna(pd.to_datetime(name, errors="coerce", utc=True))
    return True
