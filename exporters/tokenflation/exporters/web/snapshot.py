"""Keeps the parts of the page of a store up to date: looks whether store or plan changed, and makes them anew if so.

Knows nothing of HTTP. Parts are made in a thread, while somebody looks, and no more often than a small share of one
core allows; what a page costs is bounded by a sample of the calls.
"""

import asyncio
import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tokenflation.analysis.planning.plan import Plan
from tokenflation.analysis.streams import is_store
from tokenflation.exporters.report import Live, Report, build_report, page_parts, task_part
from tokenflation.exporters.report.build import with_task
from tokenflation.exporters.report.sampling import count_calls
from tokenflation.exporters.web.mark import Mark
from tokenflation.exporters.web.pace import Pace
from tokenflation.sdk.errors import PlanError, TokenflationError

__all__ = ["MOST_CALLS", "PAGE_THREAD", "Snapshot", "State", "Watched"]

_log = logging.getLogger(__name__)

MOST_CALLS = 10_000
"""Calls above which the live page is made of a sample: all of them would make it late."""
PAGE_THREAD = "tokenflation-page"
"""Name of the thread that makes a page."""
_SHARE = 0.1
"""Of one core, in the long run."""
_SAVED_S = 20.0
"""CPU seconds that may be spent at once."""
_ASKED_S = 60.0
"""How long somebody who asked for the page counts as looking at it, without a stream of events."""
_LAST = "This page shows the last state it had."
_COUNT_S = 2.0
_COUNT_REST = 100
"""Calls are counted at most every `_COUNT_S`, and rest so many times what counting takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One state of the page; `report` is None while the store holds no call."""

    version: str
    """A hash of all parts: equal where nothing on the page differs."""
    store: str = ""
    report: Report | None = None
    parts: dict[str, str] = field(default_factory=dict)
    """HTML by id, of the page without a chosen task."""

    def parts_for(self, task_id: str | None) -> dict[str, str]:
        """Return the parts of the page that shows this task.

        Raises:
            StoreError: the task must be read first, and the store cannot be.
        """
        if self.report is None or not task_id:
            return self.parts
        report = with_task(self.report, self.store, task_id)
        return {**self.parts, "tasks": task_part(report, Live(version=self.version, task_id=task_id))}


@dataclass(frozen=True, slots=True)
class State:
    """What there is to say of the store beside the parts of its page."""

    calls: int = 0
    """That the store holds, which may be more than the page shows."""
    wait_s: int = 0
    """In how many seconds the page is made anew; 0: it shows what there is."""
    error: str = ""
    """What failed when the page was last made, and what it shows therefore, in sentences."""


class Watched:
    """A store that is looked at again and again; `changed` waits for another snapshot or state than the one known."""

    def __init__(
        self,
        store: str,
        *,
        every_s: float = 0.5,
        most_calls: int = MOST_CALLS,
        plan: Plan | None = None,
        plan_name: str = "",
        plan_file: Path | None = None,
    ) -> None:
        self.store = store
        self._plan = plan, plan_name or (plan_file.name if plan_file is not None else "")
        self._plan_file = plan_file
        self.snapshot = Snapshot(version="none")
        self.state = State()
        self._every_s = every_s
        self._most_calls = most_calls
        self._condition = asyncio.Condition()
        self._readers = 0
        self._asked_at_s = float("-inf")
        self._counted_at_s = float("-inf")
        self._count_rest_s = 0.0

    def read(self) -> Snapshot:
        """Read the store and the plan's file now, in this thread, and return the snapshot.

        Raises:
            StoreError: nothing is there, or it is no store.
            PlanError: the file holds no plan, and never held one; else the last one stays, and the state says why.
        """
        said = ""
        if self._plan_file is not None:
            try:
                self._plan = _plan_in(self._plan_file), self._plan[1]
            except PlanError as error:
                if self._plan[0] is None:
                    raise
                said = f"{error} This page shows the plan before."
        self.snapshot = _made(self.store, self.snapshot, self._most_calls, *self._plan)
        facts = None if self.snapshot.report is None else self.snapshot.report.facts
        self.state = State(calls=0 if facts is None else facts.calls, error=said)
        return self.snapshot

    def asked(self) -> None:
        """Note that somebody looks at the page."""
        self._asked_at_s = time.monotonic()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Count somebody who follows the page, for as long as they do."""
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1
            self.asked()

    async def changed(self, version: str, state: State, timeout_s: float) -> tuple[Snapshot, State]:
        """Return snapshot and state as soon as one of them is another, or after that time whatever they are."""

        def differs() -> bool:
            return (self.snapshot.version, self.state) != (version, state)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._condition:
                await self._condition.wait_for(differs)
        return self.snapshot, self.state

    async def watch(self) -> None:
        """Follow the store, and the plan's file, until cancelled."""
        mark = Mark(self.store)
        pace = Pace(share=_SHARE, saved_s=_SAVED_S, now_s=time.monotonic())
        seen = await asyncio.to_thread(mark.read), self._plan_mark()
        # What arrived between the first snapshot and now has no mark of its own.
        due = True
        try:
            while True:
                if due and self._is_looked_at():
                    wait_s = pace.wait_s(time.monotonic())
                    if wait_s:
                        await asyncio.to_thread(self._count, wait_s)
                    else:
                        due = False
                        spent_s = time.process_time()
                        await _in_background(self._again)
                        pace.spend(time.process_time() - spent_s, time.monotonic())
                    async with self._condition:
                        self._condition.notify_all()
                await asyncio.sleep(self._every_s)
                now = await asyncio.to_thread(mark.read), self._plan_mark()
                due, seen = due or now != seen, now
        finally:
            mark.close()

    def _is_looked_at(self) -> bool:
        return self._readers > 0 or time.monotonic() - self._asked_at_s < _ASKED_S

    def _again(self) -> None:
        try:
            self.read()
        except TokenflationError as error:
            # The store may be moved or half copied: the page keeps what it had, and says so.
            self.state = State(calls=self.state.calls, error=f"The store cannot be read: {error} {_LAST}")
        except Exception as error:  # noqa: BLE001 - else the page would stay as it is for ever, and say nothing
            _log.exception("The page of %s could not be made anew", self.store)
            why = f"The page could not be made: {type(error).__name__}: {error}. {_LAST}"
            self.state = State(calls=self.state.calls, error=why)

    def _plan_mark(self) -> tuple[int, int] | None:
        """Return what another plan in the same file differs by; None where there is no file."""
        with contextlib.suppress(OSError):
            if self._plan_file is not None:
                found = self._plan_file.stat()
                return found.st_mtime_ns, found.st_size
        return None

    def _count(self, wait_s: float) -> None:
        """Say how many calls have come while the page waits for its turn."""
        started_s = time.monotonic()
        if started_s - self._counted_at_s < self._count_rest_s:
            return
        with contextlib.suppress(TokenflationError):
            self.state = replace(self.state, calls=count_calls(self.store), wait_s=max(1, round(wait_s)))
        self._counted_at_s = time.monotonic()
        self._count_rest_s = max(_COUNT_S, _COUNT_REST * (self._counted_at_s - started_s))


async def _in_background(work: Callable[[], None]) -> None:
    """Do the work in a thread that nobody waits for when the program ends: it may take a minute."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            failed.append(error)
        # The loop is closed where the program has ended meanwhile.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name=PAGE_THREAD, daemon=True).start()
    await done.wait()
    if failed:
        raise failed[0]


def _plan_in(path: Path) -> Plan:
    # Here, as plans as files need PyYAML, which a page without one does not.
    from tokenflation.analysis.planning.file import read_plan

    return read_plan(path)


def _made(store: str, before: Snapshot, most_calls: int, plan: Plan | None, plan_name: str) -> Snapshot:
    if _is_empty(store):
        return Snapshot(version="empty")
    # What a plan names may be recorded yet: until then the page says what is missing.
    report = build_report(store, most_calls=most_calls, plan=plan, plan_name=plan_name, strict=False)
    parts = page_parts(report, Live(version=""))
    digest = hashlib.sha256("\0".join(f"{key}\0{html}" for key, html in parts.items()).encode()).hexdigest()[:16]
    return before if digest == before.version else Snapshot(version=digest, store=store, report=report, parts=parts)


def _is_empty(store: str) -> bool:
    """Return whether this is a store without a call; what is no store raises as it does for every command."""
    return "://" not in store and is_store(store) and count_calls(store) == 0
