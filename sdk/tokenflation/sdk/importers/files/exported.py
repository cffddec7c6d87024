"""Records of exports, whatever file they come in: JSON Lines, JSON, CSV or Parquet; told apart by their first bytes.

Knows no format: what a record means is its importer's business.
"""

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tokenflation.sdk.errors import MissingExtra
from tokenflation.sdk.importers.files.beginnings import are_lines, opening
from tokenflation.sdk.importers.files.formats import Context, Head, Skipped
from tokenflation.sdk.importers.files.reading import values
from tokenflation.sdk.wire.values import loads

if TYPE_CHECKING:
    from tokenflation.sdk.importers.files.entries import Entry

__all__ = ["columns_of", "loaded", "records"]

_PARQUET = b"PAR1"
_CELL = 1 << 28
_ROWS = 1024


def columns_of(head: Head) -> frozenset[str]:
    """Return the names of the fields of a file's first records, as far as its beginning shows them."""
    start = head.start.lstrip()
    if start[:4] == _PARQUET:
        return _parquet_columns(head)
    if start[:1] in (b"{", b"[") or head.objects:
        return head.keys.union(*(one.keys() for one in head.objects[:5]))
    try:
        return frozenset(next(csv.reader([start.partition(b"\n")[0].decode("utf-8", "replace")]), []))
    except csv.Error:
        return frozenset()


def _parquet_columns(head: Head) -> frozenset[str]:
    """Return the columns of a Parquet file on the disk; they stand at its end, so one in an archive shows none."""
    try:
        import duckdb

        found = duckdb.connect().execute("SELECT name FROM parquet_schema(?)", [head.path]).fetchall()
    except ModuleNotFoundError:
        return frozenset({_PARQUET.decode()})
    except Exception:  # noqa: BLE001  (a damaged file, or none on the disk: then it is no one's)
        return frozenset()
    return frozenset(str(name) for (name,) in found)


def records(entry: "Entry", context: Context, *envelopes: str) -> Iterator[tuple[int, dict[str, Any]] | Skipped]:
    """Yield line (or row) and record; of an object that has a list under one of `envelopes`, the list's objects.

    Raises:
        MissingExtra: it is Parquet, and DuckDB is not installed.
    """
    with entry.open() as file:
        start = opening(file)
    if start[:4] == _PARQUET:
        yield from _parquet_rows(entry)
    elif start[:1] in (b"{", b"[") or are_lines(start):
        for found in values(entry, context):
            if isinstance(found, Skipped):
                yield found
                continue
            line, record = found
            inside = next((record[key] for key in envelopes if isinstance(record.get(key), list)), None)
            if inside is None:
                yield line, record
                continue
            for one in inside:
                if isinstance(one, dict):
                    yield line, one
                else:
                    yield Skipped(entry.place(line), "no JSON object", f"a {type(one).__name__} instead")
    else:
        yield from _csv_rows(entry)


def _csv_rows(entry: "Entry") -> Iterator[tuple[int, dict[str, Any]] | Skipped]:
    before = csv.field_size_limit(_CELL)
    try:
        with entry.open() as raw, io.TextIOWrapper(raw, "utf-8", errors="replace", newline="") as file:
            reader = csv.reader(file)
            names: list[str] | None = None
            while True:
                line = reader.line_num + 1
                try:
                    cells = next(reader, None)
                except csv.Error as error:
                    yield Skipped(entry.place(line), "no CSV row", str(error))
                    continue
                if cells is None:
                    return
                if names is None:
                    names = cells
                elif len(cells) != len(names):
                    if cells:
                        detail = f"{len(cells)} cells instead of {len(names)}"
                        yield Skipped(entry.place(line), "no whole CSV row", detail)
                else:
                    yield line, {name: cell for name, cell in zip(names, cells, strict=True) if cell != ""}
    finally:
        csv.field_size_limit(before)


def _parquet_rows(entry: "Entry") -> Iterator[tuple[int, dict[str, Any]] | Skipped]:
    try:
        import duckdb
    except ModuleNotFoundError:
        raise MissingExtra(f"Reading the Parquet file {entry.shown}", "analysis") from None
    try:
        # As JSON: Python would need another package for times with a zone.
        found = duckdb.connect().execute("SELECT to_json(row) FROM read_parquet(?) AS row", [str(entry.path)])
        number = 0
        while rows := found.fetchmany(_ROWS):
            for (row,) in rows:
                number += 1
                record = loaded(row)
                if isinstance(record, dict):
                    yield number, {name: cell for name, cell in record.items() if cell is not None}
    except duckdb.Error as error:
        yield Skipped(entry.shown, "a damaged Parquet file", str(error).partition("\n")[0], "file")


def loaded(value: Any) -> Any:
    """Return what a text that holds a JSON object or list says; anything else as it is."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        found = loads(value.encode("utf-8", "replace"))
        return value if found is None else found
    return value
