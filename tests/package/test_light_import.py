"""What an import costs the host: which modules it loads; the time is printed, not judged."""

import subprocess
import sys
from pathlib import Path

import pytest

from tokenflation.sdk.store.write import open_writer

HEAVY = ("pandas", "numpy", "sqlalchemy", "duckdb", "httpx", "httpx2", "openai", "anthropic", "opentelemetry.sdk",
         "requests", "aiohttp", "plotly", "rich", "click")  # fmt: skip


def _loaded_by(statement: str) -> set[str]:
    code = (
        f"import sys, time; start = time.process_time(); {statement}; spent = time.process_time() - start\n"
        f"print('CPU', round(spent * 1000), 'ms'); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    spent, _, modules = done.stdout.partition("\n")
    print(statement, spent)
    return set(modules.split())


def test_importing_the_sdk_loads_no_client_no_database_layer_and_no_analysis() -> None:
    loaded = _loaded_by("import tokenflation.sdk")
    assert "tokenflation.sdk" in loaded
    assert loaded & set(HEAVY) == set()


def test_recording_loads_no_client_no_sqlalchemy_and_no_pandas(tmp_path: object) -> None:
    loaded = _loaded_by(f"import tokenflation.sdk as tf; tf.instrument({str(tmp_path) + '/runs.db'!r}).close()")
    assert loaded & set(HEAVY) == set()
    assert "http.client" not in loaded  # which is patched once the host imports it


def test_the_run_command_starts_without_pandas() -> None:
    loaded = _loaded_by("import tokenflation.cli.run")
    assert loaded & (set(HEAVY) - {"click"}) == set()


@pytest.mark.parametrize("command", ["info", "tasks"])
def test_what_a_store_holds_is_said_without_sqlalchemy_and_pandas(command: str, tmp_path: Path) -> None:
    open_writer(tmp_path / "runs.db").close()
    arguments = [command, str(tmp_path / "runs.db")]
    loaded = _loaded_by(
        f"from click.testing import CliRunner; from tokenflation.cli.main import _tokenflation as group; "
        f"done = CliRunner().invoke(group, {arguments!r}, catch_exceptions=False); assert not done.exit_code"
    )
    assert loaded & (set(HEAVY) - {"click"}) == set()
