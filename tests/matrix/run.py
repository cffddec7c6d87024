"""Plays the scenarios of one client, without and with the recorder, and says what differs.

    python -m tests.matrix.run openai --json openai.json

A cell is `ok` if the client returned (or raised, logged, left behind) exactly what it does unrecorded, nothing was
lost, and the store says what the server did. Needs the client and tokenflation, and no test runner.
"""

import argparse
import contextlib
import gc
import importlib
import inspect
import json
import logging
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests import stored
from tests.matrix.scenarios import SCENARIOS, Play, Unsupported, differences, prompt_of
from tests.matrix.server import Models

import tokenflation.sdk as tf

__all__ = ["main", "play", "scenarios_of"]


def scenarios_of(client: str) -> dict[str, Play]:
    """Return the scenarios that a client's module has, in the order of the table."""
    found: dict[str, Play] = importlib.import_module(f"tests.matrix.clients.{client}").SCENARIOS
    unknown = set(found) - set(SCENARIOS)
    assert not unknown, f"clients/{client}.py has scenarios that the table lacks: {unknown}"
    return {name: found[name] for name in SCENARIOS if name in found}


def play(server: Models, name: str, scenario: Play) -> list[str]:
    """Play one scenario without and with the recorder; return what differs, nothing where all is well.

    Raises:
        Unsupported: the client lacks what the scenario needs.
    """
    bare, _ = _played(server, name, scenario, contextlib.nullcontext)
    if SCENARIOS[name].statuses == ("ok",) and bare[0].startswith("raised"):
        return [f"the client fails without the recorder too: {bare[0]}"]
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "runs.db"
        try:
            recorded, drops = _played(server, name, scenario, lambda: tf.instrument(store))
        except Unsupported as error:
            return [f"the client can do it only without the recorder: {error}"]
        rows, attempts = stored.rows(store), stored.rows(store, "SELECT * FROM attempts")
    found = differences(SCENARIOS[name], server.requests, rows, attempts)
    if recorded != bare:  # what a client says once only, in its log, is no difference
        bare, _ = _played(server, name, scenario, contextlib.nullcontext)
    if recorded != bare:
        found.append(f"the host saw {_first_difference(recorded, bare)}")
    return [*found, *(f"lost {count} ({reason})" for reason, count in drops.items())]


def _played(
    server: Models, name: str, scenario: Play, recording: Callable[[], Any]
) -> tuple[list[str], dict[str, int]]:
    """Return what the host saw, as lines of text, and what the recorder says it lost."""
    server.forget()
    url, prompt = server.url, prompt_of(name)
    with _noise() as noise:
        if inspect.isgeneratorfunction(scenario):
            steps = scenario(url, prompt)
            _outcome(lambda: next(steps))
            with recording() as handle:
                seen = _outcome(lambda: list(steps))
        else:
            with recording() as handle:
                seen = _outcome(lambda: scenario(url, prompt))
                server.release()
        gc.collect()
    by_chance = SCENARIOS[name].by_chance
    said = [line for line in noise if not any(part in line for part in by_chance)]
    return [*seen, *said], handle.drops if handle is not None else {}


def _outcome(scenario: Callable[[], Any]) -> list[str]:
    try:
        result = scenario()
        gc.collect()
    except Unsupported:
        raise
    except TypeError as error:
        if "unexpected keyword argument" in str(error):  # how an old client says that it lacks something
            raise Unsupported(str(error)) from None
        raise
    except Exception as error:  # noqa: BLE001  # the outcome of many a scenario
        return [f"raised {type(error).__module__}.{type(error).__name__}: {error}"]
    return [repr(item) for item in result] if isinstance(result, list) else [repr(result)]


@contextlib.contextmanager
def _noise() -> Iterator[list[str]]:
    """Collect what a program would print without being asked: warnings in the log, errors nobody can catch."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    # Without the objects in it: their addresses differ each time.
    handler.emit = lambda record: lines.append(  # type: ignore[method-assign]
        f"logged {record.name}: {re.sub('<[^>]*>', '<object>', record.getMessage())}"
    )
    before = sys.unraisablehook
    sys.unraisablehook = lambda what: lines.append(f"unraisable {what.exc_value!r}")
    logging.getLogger().addHandler(handler)
    try:
        yield lines
    finally:
        logging.getLogger().removeHandler(handler)
        sys.unraisablehook = before


def _first_difference(recorded: list[str], bare: list[str]) -> str:
    if len(recorded) != len(bare):
        extra = [line for line in recorded if line not in bare] or [line for line in bare if line not in recorded]
        return f"{len(recorded)} items, not {len(bare)}: {(extra or ['repeated'])[0][:200]}"
    one, other = next((a, b) for a, b in zip(recorded, bare, strict=True) if a != b)
    return f"{one[:200]}, not {other[:200]}"


def main() -> None:
    """Play the scenarios of one client, print a line for each and write them as JSON; exit 1 if any differs."""
    parser = argparse.ArgumentParser(description="Play the scenarios of one client.")
    parser.add_argument("client")
    parser.add_argument("--label", default="", help="name of this environment in the tables")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--only", default="", help="names of scenarios, with commas between them")
    options = parser.parse_args()
    module = importlib.import_module(f"tests.matrix.clients.{options.client}")
    cells: dict[str, str] = {}
    began = time.monotonic()
    with Models() as server:
        for name, scenario in scenarios_of(options.client).items():
            if options.only and name not in options.only.split(","):
                continue
            try:
                cells[name] = "; ".join(play(server, name, scenario)) or "ok"
            except Unsupported:
                cells[name] = "-"
            print(f"  {SCENARIOS[name].title:40} {cells[name]}", flush=True)
    installed = version(module.DISTRIBUTION)
    bad = [name for name, cell in cells.items() if cell not in ("ok", "-")]
    print(f"{options.client} {installed}: {len(cells) - len(bad)} of {len(cells)} scenarios are as they should be")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        report = {"client": module.DISTRIBUTION, "version": installed, "label": options.label, "cells": cells}
        options.json.write_text(json.dumps({**report, "seconds": round(time.monotonic() - began, 1)}, indent=1))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
