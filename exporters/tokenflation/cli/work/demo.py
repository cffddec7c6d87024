"""`tokenflation demo`: records an example agent on a real local model, checks the recording, and shows what follows."""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import tokenflation.sdk as tf
from tokenflation.demo.replay import Exchange, Recording, load_recording, record, replay, save_recording
from tokenflation.demo.server import MODEL, SLOTS, find_weights, serve, tool_call_token
from tokenflation.demo.tasks import KINDS, tasks
from tokenflation.demo.truth import Difference, differences
from tokenflation.sdk.errors import MissingExtra, TokenflationError
from tokenflation.sdk.store.keys import key_file
from tokenflation.sdk.words import many

if TYPE_CHECKING:
    from tokenflation.demo.drive import Done
    from tokenflation.demo.models import Models, Reported

# The clients and the analysis take seconds to import: looked for first, and imported where they are needed.
if not all(map(importlib.util.find_spec, ("anthropic", "openai", "pandas", "plotly"))):
    raise MissingExtra("`tokenflation demo`", "demo")

__all__ = ["run"]

_BASELINE = "answer-once"
_TASKS_PER_DAY = 1_000_000


def run(out: Path, runs: int, model: Path | None, replayed: bool, pace: float, recording: Path | None) -> None:
    """Do what `tokenflation demo` asks."""
    if replayed and (recording is not None or model is not None):
        raise click.UsageError("--replay runs no model; leave out --model and --record-provider.")
    from tokenflation.demo.models import Ledger, Models

    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    store = out / "demo.db"
    ledger = Ledger()
    taken: list[Exchange] | None = [] if recording is not None else None
    with _provider(out, model, replayed, pace, taken) as (url, token, available):
        runs = min(runs, available or runs)
        click.echo(
            f"Running {runs} tasks of each kind ({', '.join(KINDS)}) as an agent and once without, {SLOTS} at a time."
        )
        ready = time.monotonic()
        _run(store, runs, Models(url, ledger, token), 3 * runs)
    ran_s = time.monotonic() - ready
    if recording is not None and taken is not None:
        save_recording(Recording(about=_about(token), exchanges=tuple(taken)), recording)
        click.echo(f"{recording}: {len(taken)} answers of the model's server")
    _show_speed(ledger.rows(), ready - started, ran_s, replayed=available is not None)
    _check(ledger.rows(), store)
    _follow_up(store, out)
    click.echo(f"Done in {time.monotonic() - started:.0f} s. Open {out / 'report.html'}.")


@contextlib.contextmanager
def _provider(
    out: Path, model: Path | None, replayed: bool, pace: float, taken: list[Exchange] | None
) -> Iterator[tuple[str, int, int | None]]:
    """Yield the provider's URL, the id of the token that opens a tool call, and for a replay the runs it has."""
    if not replayed:
        try:
            weights = find_weights(model)
        except TokenflationError as error:
            if model is not None:
                raise
            click.echo(f"No model can run here: {error}")
            replayed = True
    if replayed:
        held = load_recording()
        click.echo(f"Replaying a recorded provider ({_told(held.about)}). These are not live model timings.")
        with replay(held, pace=pace) as url:
            yield url, int(held.about["tool_call_token"]), held.runs()
        return
    click.echo(f"Starting llama.cpp's server with {weights.name} on 127.0.0.1 ...")
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(serve(weights, out / "server.log"))
        token = tool_call_token(url)
        if taken is not None:
            url = stack.enter_context(record(url, taken))
        yield url, token, None


def _run(store: Path, runs: int, models: "Models", total: int) -> None:
    from tokenflation.demo.drive import drive

    for old in (store, key_file(store), *(store.with_name(store.name + end) for end in ("-wal", "-shm"))):
        old.unlink(missing_ok=True)
    with tf.instrument(store) as handle, contextlib.closing(models):
        bar = click.progressbar(length=total, label="tasks", file=sys.stderr, hidden=not sys.stderr.isatty())
        with bar:
            done = drive(list(tasks(runs)), models, lambda _: bar.update(1))
    if handle.drops:
        click.echo(f"LOST records: {handle.drops}; see `tokenflation info {shlex.quote(str(store))}`")
    _show_answers(done)


def _show_answers(done: Sequence["Done"]) -> None:
    """Print one answer of each kind, and what failed."""
    for kind in KINDS:
        one = next((one for one in done if one.task.kind == kind and one.error is None), None)
        if one is not None:
            click.echo(f"  {one.task.task_id}, {one.duration_s:.1f} s: {one.task.question}")
            click.echo(f"    as an agent: {_line(one.answer)}\n    once:        {_line(one.once)}")
    numbers = [one for one in done if one.task.result is not None and one.error is None]
    if numbers:
        agent = sum(one.task.is_right(one.answer) for one in numbers)
        once = sum(one.task.is_right(one.once) for one in numbers)
        click.echo(
            f"  calculations right: {agent} of {len(numbers)} as an agent, {once} of {len(numbers)} answered once"
        )
    failed = [one for one in done if one.error is not None]
    for one in failed:
        click.echo(f"  FAILED {one.task.task_id}: {one.error}")
    if len(failed) == len(done):
        raise TokenflationError("no task could be done; the reasons stand above.")


def _show_speed(reported: Sequence["Reported"], start_s: float, ran_s: float, *, replayed: bool) -> None:
    sent, got = sum(one.input_tokens for one in reported), sum(one.output_tokens for one in reported)
    cached = sum(one.cache_read_tokens or 0 for one in reported)
    click.echo(
        f"{many(len(reported), 'call')} in {ran_s:.0f} s, after {start_s:.1f} s to start: "
        f"{sent:,} input tokens ({cached:,} from the prefix cache) and {got:,} output tokens."
    )
    timings = [one.timings for one in reported if one.timings]
    speeds = [
        sum(one[f"{phase}_n"] for one in timings) / (sum(one[f"{phase}_ms"] for one in timings) / 1000)
        for phase in ("prompt", "predicted")
        if sum(one[f"{phase}_ms"] for one in timings)
    ]
    if len(speeds) == 2:
        of = "when it was recorded, " if replayed else ""
        click.echo(f"The server says ({of}per slot): {speeds[0]:.0f} tokens/s in, {speeds[1]:.0f} tokens/s out.")


def _check(reported: Sequence["Reported"], store: Path) -> None:
    """Compare the store with the server's own usage, call by call; ends with code 1 if they differ."""
    from tokenflation import analysis

    calls = analysis.load(store)
    stored = [{str(name): value for name, value in row.items()} for row in calls.to_dict("records")]
    found = differences(reported, stored)
    wrong = {one.response_id for one in found}
    right = sum(one.response_id not in wrong for one in reported)
    click.echo(f"Check: {right} of {many(len(reported), 'call')}: token counts equal the server's own usage.")
    if found:
        click.echo("\n".join(_difference(one) for one in found))
        raise TokenflationError(
            f"{len(found)} differences between {store} and the server's own usage; this is a fault of the recorder. "
            "Please report it with the lines above."
        )
    if not reported:
        raise TokenflationError(f"the server reported no usage at all, so {store} cannot be checked.")


def _follow_up(store: Path, out: Path) -> None:
    """Run the commands that a user would run next, and say each of them."""
    from tokenflation.analysis.fleet.planned import OneRun

    kinds = [part for kind in KINDS for part in ("--task", kind)]
    for arguments in (
        ["profile", str(store)],
        ["inflation", str(store), "--baseline", _BASELINE],
        ["forecast", str(store), "--tasks-per-day", str(_TASKS_PER_DAY)],
        ["export", str(store), str(out / "trace.weka.jsonl"), "--format", "weka", *kinds],
        ["export", str(store), str(out / "trace.mooncake.jsonl"), "--format", "mooncake", *kinds],
        ["report", str(store), "-o", str(out / "report.html")],
    ):
        click.echo(f"\n$ tokenflation {shlex.join(arguments)}")
        name, *rest = arguments
        sub: click.Command = importlib.import_module(f"tokenflation.cli.{name}").command
        try:
            sub.main(rest, prog_name=f"tokenflation {name}", standalone_mode=False)
        except OneRun as error:  # with --runs 1
            click.echo(f"No forecast: {error}")
    click.echo("")


def _about(token: int) -> dict[str, Any]:
    return {"model": MODEL, "tool_call_token": token, "server": f"xllamacpp {importlib.metadata.version('xllamacpp')}"}


def _told(about: dict[str, Any]) -> str:
    return f"{about['model']} on {about['server']}"


def _line(text: str) -> str:
    return " ".join(text.split())


def _difference(one: Difference) -> str:
    return f"  {one.response_id}: {one.what}: the server said {one.reported}, the store says {one.stored}"
