"""The hot path's SQL and SQLAlchemy's are the same."""

import inspect
import re

import pytest
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from tokenflation.sdk.records import Attempt, Call, SpanRecord, ToolRun
from tokenflation.sdk.store.schema import metadata, table
from tokenflation.sdk.store.statements import create_statements, insert_statement
from tokenflation.sdk.store.tables import TABLES, Table, column_names

DIALECT = sqlite.dialect(paramstyle="qmark")


def _plain(statement: object) -> str:
    text = re.sub(r"\s+", " ", str(statement)).strip()
    return text.replace("( ", "(").replace(" )", ")").replace(" ,", ",").replace('"', "")


def test_the_tables_that_the_writer_makes_are_those_of_sqlalchemy() -> None:
    expected = []
    for source in metadata.tables.values():
        expected.append(_plain(CreateTable(source).compile(dialect=DIALECT)))
        expected += sorted(_plain(CreateIndex(index).compile(dialect=DIALECT)) for index in source.indexes)
    ours = [_plain(statement) for statement in create_statements()]
    assert sorted(ours) == sorted(expected)


@pytest.mark.parametrize("source", TABLES, ids=lambda source: source.name)
def test_the_inserts_of_the_writer_are_those_of_sqlalchemy(source: Table) -> None:
    made = table(source.name)
    insert = sqlite.insert(made)
    others = {name: insert.excluded[name] for name in column_names(source) if name not in source.key}
    replacing = insert.on_conflict_do_update(index_elements=list(source.key), set_=others)
    ignoring = insert.on_conflict_do_nothing(index_elements=list(source.key))
    assert insert_statement(source, replace=True) == _plain(replacing.compile(dialect=DIALECT))
    assert insert_statement(source, replace=False) == _plain(ignoring.compile(dialect=DIALECT))


_NOT_STORED = {"spans": {"arguments_hash", "foreign", "tool_call_id"}}
"""What a record carries for the recorder alone."""


@pytest.mark.parametrize(
    ("name", "record"), [("calls", Call), ("attempts", Attempt), ("tool_calls", ToolRun), ("spans", SpanRecord)]
)
def test_a_record_has_exactly_the_columns_of_its_table(name: str, record: type) -> None:
    source = next(one for one in TABLES if one.name == name)
    assert set(column_names(source)) == set(inspect.signature(record).parameters) - _NOT_STORED.get(name, set())
