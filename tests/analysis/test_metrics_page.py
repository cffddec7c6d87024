"""The page of metrics: its columns exist, its tests exist, and it is the one that the code makes."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

from tokenflation import analysis
from tokenflation.analysis.metrics import METRICS, PLACES, Metric, metrics_page

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "metrics.md"


def test_the_page_is_what_the_tables_of_columns_say() -> None:
    assert PAGE.read_text("utf-8") == metrics_page(), "run: python -m tokenflation.analysis.metrics > docs/metrics.md"


def test_there_are_thirty_metrics_in_order() -> None:
    assert [metric.number for metric in METRICS] == list(range(1, 31))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_has_its_columns_source_and_test_or_says_what_is_missing(metric: Metric) -> None:
    for key, names in metric.columns.items():
        assert set(names.split()) <= PLACES[key].columns.keys()
    for one in metric.tests:
        file, name = one.split(":")
        tree = ast.parse((HERE / f"test_{file}.py").read_text("utf-8"))
        assert f"test_{name}" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert metric.missing or (metric.columns and metric.tests and metric.source)


@pytest.mark.parametrize("key", PLACES)
def test_a_place_names_a_function_that_exists(key: str) -> None:
    module, _, name = PLACES[key].function.rpartition(".")
    holder = import_module(f"tokenflation.analysis.{module}") if module else analysis

    assert callable(getattr(holder, name))


@pytest.mark.parametrize("command", sorted({one.command for one in PLACES.values() if one.command}))
def test_a_place_names_a_command_whose_options_exist(command: str) -> None:
    _, name, *more = command.split()
    found = import_module(f"tokenflation.cli.{name}").command

    by_flag = {flag: parameter for parameter in found.params for flag in parameter.opts}
    for place, word in enumerate(more):
        if word.startswith("--"):
            choices = getattr(by_flag[word].type, "choices", None)
            assert choices is None or more[place + 1] in choices
