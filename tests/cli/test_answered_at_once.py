"""Help and slips of the pen are answered without the analysis, whose packages take seconds to load."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.package.test_light_import import HEAVY

from tokenflation.analysis.comparison import baselines
from tokenflation.analysis.context import kvcache
from tokenflation.analysis.planning import plan
from tokenflation.analysis.profiles import measured
from tokenflation.cli.main import _COMMANDS
from tokenflation.cli.options import choices
from tokenflation.exporters import FORMATS
from tokenflation.exporters.report import build


def _answered(*arguments: str) -> tuple[int, str, set[str]]:
    """Return the exit code, what is said, and the heavy packages that were loaded for it."""
    code = (
        "import atexit, sys; from tokenflation.cli import main\n"
        "atexit.register(lambda: print('LOADED', *sys.modules))\n"
        f"main({arguments!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    shown, _, loaded = done.stdout.rpartition("LOADED ")
    return done.returncode, shown + done.stderr, set(loaded.split()) & (set(HEAVY) - {"click"})


@pytest.mark.parametrize("words", [[], ["plan", "init"], *([name] for name in _COMMANDS)], ids=" ".join)
def test_help_and_an_unknown_option_load_nothing_heavy(words: list[str]) -> None:
    code, shown, loaded = _answered(*words, "--help")
    assert (code, "Usage: tokenflation" in shown, loaded) == (0, True, set())
    code, shown, loaded = _answered(*words, "--no-such-option")
    assert (code, "--no-such-option" in shown.lower(), loaded) == (2, True, set())


def test_the_version_loads_nothing_heavy() -> None:
    code, shown, loaded = _answered("--version")
    assert (code, "tokenflation" in shown, loaded) == (0, True, set())


@pytest.mark.parametrize(
    "words",
    [
        ["cache"], ["context"], ["diff", sys.executable], ["export", "out", "--format", "weka"], ["inflation"], ["info"],
        ["forecast", "--tasks-per-day", "5"], ["plan", "init"], ["profile"], ["report"], ["serve"], ["structure"], ["tasks"], ["tree"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_store_that_is_not_there_is_named_before_anything_heavy_is_loaded(words: list[str], tmp_path: Path) -> None:
    store = str(tmp_path / "none.db")
    place = 2 if words[:2] == ["plan", "init"] or words[0] == "diff" else 1
    code, said, loaded = _answered(*words[:place], store, *words[place:])
    assert (code, f"{store}: there is no such file." in said, loaded) == (1, True, set())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["forecast"], "Missing argument 'DB'"),
        (["forecast", "runs.db"], "give one of --tasks-per-day N"),
        (["forecast", "runs.db", "--months", "3"], "belong to --history FILE"),
    ],
    ids=["no store", "no volume", "no history"],
)
def test_a_forecast_of_nothing_is_refused_at_once(words: list[str], said: str) -> None:
    code, told, loaded = _answered(*words)
    assert (code, said in told, loaded) == (2, True, set())


def test_what_options_choose_from_is_what_the_analysis_knows() -> None:
    assert choices.CACHE_GROUPS == kvcache.CACHE_GROUPS
    assert set(choices.FORMATS) == set(FORMATS)
    assert tuple(measured.GRAINS) == choices.GRAINS
    assert choices.INTRINSIC == baselines.INTRINSIC
    assert choices.MOST_CALLS == build.MOST_CALLS
    assert tuple(plan.SHAPES) == choices.SHAPES
