"""Scopes that a user opens around work: task, agent and tool; as context manager or decorator, sync, async, generators.

Which scope is open is a context variable, so threads and asyncio tasks keep their own. Knows nothing of HTTP, spans or
storage: a closed scope is handed to whoever listens (the recorder), as a plain record.

A scope closed in another context than it was opened in resets nothing there; as it is marked closed, nothing started
later is put inside it.
"""

import contextlib
import contextvars
import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from tokenflation.sdk.clock import now_ns
from tokenflation.sdk.errors import LimitReached, TaskLimitReached, TokenflationError
from tokenflation.sdk.exchange import Exchange
from tokenflation.sdk.interrupts import let_through
from tokenflation.sdk.records import SpanRecord, StructureSource
from tokenflation.sdk.saying import say
from tokenflation.sdk.scoping.decorating import decorated
from tokenflation.sdk.scoping.generators import Opener, hold, innermost, let_go, opener_of
from tokenflation.sdk.scoping.limits import Budget, Limits, limits_of
from tokenflation.sdk.scoping.limits import admit as admit_to
from tokenflation.startup import begin_if_told

__all__ = [
    "Scope",
    "admit",
    "agent",
    "current",
    "inside",
    "listen",
    "new_span_id",
    "new_trace_id",
    "outcome",
    "packed",
    "root_in",
    "task",
    "tool",
    "unpacked",
]

Kind = Literal["task", "agent", "tool"]
F = TypeVar("F", bound=Callable[..., Any])
_log = logging.getLogger("tokenflation")
_current: contextvars.ContextVar["Scope | None"] = contextvars.ContextVar("tokenflation_scope", default=None)
_listeners: list[Callable[["Scope", bool], None]] = []
_PACKED = ("kind", "name", "span_id", "trace_id", "parent_id", "task", "task_id", "agent_run_id", "agent", "depth")
"""What another process must know of a scope; limits stay where they are counted."""
_root: "Scope | None" = None
"""The scope of another process that started this one inside of it."""


def new_span_id() -> str:
    """Return 16 random hex digits."""
    return os.urandom(8).hex()  # no generator of ours: two processes of one origin would give the same ids


def new_trace_id() -> str:
    """Return 32 random hex digits."""
    return os.urandom(16).hex()


def listen(listener: Callable[["Scope", bool], None]) -> Callable[[], None]:
    """Call `listener(scope, opened)` whenever a scope opens or closes; returns the function that stops it."""
    _listeners.append(listener)
    return lambda: _listeners.remove(listener) if listener in _listeners else None


def current() -> "Scope | None":
    """Return the innermost scope that is still open in this context, or None."""
    scope = given = _current.get() or _root
    while scope is not None and (scope.ended_at_ns is not None or (scope.opener and scope.opener.is_suspended())):
        scope = scope.parent
    return scope if given is not None and given.ended_at_ns is not None else innermost(scope)


@contextlib.contextmanager
def inside(scope: "Scope | None") -> Iterator[None]:
    """Run a piece of work, in a thread of its own, inside a scope that another thread opened, or inside none."""
    token = _current.set(scope)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # a coroutine may be closed in another context than it ran in
            _current.reset(token)


def packed(scope: "Scope") -> list[dict[str, Any]]:
    """Return a scope and those around it, the outermost first, for another process: plain values."""
    chain = []
    one: Scope | None = scope
    while one is not None:
        chain.append({name: getattr(one, name) for name in _PACKED})
        one = one.parent
    return chain[::-1]


def unpacked(chain: list[dict[str, Any]]) -> "Scope":
    """Return the scope that another process packed; it is open here until that which runs inside of it ends.

    Raises:
        LookupError, TypeError, ValueError, TokenflationError: it is not what `packed` returned.
    """
    scope: Scope | None = None
    for one in chain:
        around, scope = scope, Scope(one["kind"], one["name"])
        scope.parent, scope.started_at_ns = around, now_ns()
        for name in _PACKED:
            setattr(scope, name, one[name])
    if scope is None:
        raise ValueError("no scope was packed")
    return scope


def root_in(chain: list[dict[str, Any]]) -> None:
    """Let this whole process run inside a scope that another process packed, or inside none."""
    global _root
    _root = unpacked(chain) if chain else None


class Scope(ContextDecorator):
    """One task, agent or tool run; made by `task()`, `agent()` or `tool()`, opened by `with` or a decorated call."""

    def __init__(self, kind: Kind, name: str, given_id: str | None = None, limits: Limits | None = None) -> None:
        if not isinstance(name, str) or not name:
            raise TokenflationError(f"{kind}() needs a name, got {name!r}; write {kind}('triage').")
        self.kind: Kind = kind
        self.name = name
        self._given_id = str(given_id) if given_id is not None else None  # a UUID, a number: no row could hold one
        self.limits = limits
        self.budget: Budget | None = None
        """What is left of the limits of the innermost task around that has any; its own, if it has `limits`."""
        self.arguments_hash: bytes | None = None  # this and the next: of a tool run that was seen from outside
        self.sizes: tuple[int | None, int | None] = (None, None)
        """Bytes of the arguments and of the result."""
        self.censored_by: str | None = None
        """The limit that cut this task short."""
        self.parent: Scope | None = None
        self.span_id = ""
        self.trace_id = ""
        self.parent_id: str | None = None
        self.task: str = ""
        self.task_id: str = ""
        self.agent_run_id: str | None = None
        self.agent: str | None = None
        self.depth = 0
        self.started_at_ns = 0
        self.ended_at_ns: int | None = None
        self.error_type: str | None = None
        self.outcome: bool | None = None
        self.score: float | None = None
        self.foreign: object = None
        """Room for the recorder: what it attached to this scope when it opened."""
        self.source: StructureSource = "scope"
        """`span` where a span of other tracing stands in for a scope of the user's."""
        self.tool_call_id: str | None = None
        """The tool call that this tool run is for, where a span says it."""
        self.opener: Opener | None = None
        """The generator that it was opened in: it holds only while that runs."""
        self.process_id = 0  # of who opened it and writes it; 0 where another process packed it

    def __enter__(self) -> Self:
        if self.started_at_ns and self.ended_at_ns is None:
            raise TokenflationError(
                f"the scope {self.kind}({self.name!r}) is already open; make a new one for each `with`."
            )
        if not _listeners:
            begin_if_told()
        self.place(current())
        self.started_at_ns, self.ended_at_ns, self.process_id = now_ns(), None, os.getpid()
        self.error_type = self.outcome = self.score = self.censored_by = None
        if self.limits is not None and not _listeners:
            say(_log, "The limits of task %r have no effect: call tokenflation.sdk.instrument() first.", self.name)
        _tell(self, opened=True)
        _current.set(self)
        hold(self, _opener())
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.ended_at_ns is not None:
            return
        self.ended_at_ns = now_ns()
        # GeneratorExit is how an abandoned generator ends: no failure of the work.
        if exc_type is not None and not issubclass(exc_type, GeneratorExit):
            self.error_type = exc_type.__name__
        if _current.get() is self:
            _current.set(self.parent)
        let_go(self)
        _tell(self, opened=False)
        if self.limits is not None and self.budget is not None:
            self.budget.stopping.end()
            reached = _limit_of(exc, self.budget) if exc is not None else None
            if reached is not None:
                raise reached from (exc if isinstance(exc, Exception) else None)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(exc_type, exc, traceback)

    def __call__(self, function: F) -> F:
        """Decorate a function, coroutine function, generator or async generator: each call opens a scope of its own."""
        return decorated(function, functools.partial(Scope, self.kind, self.name, self._given_id, self.limits))

    def record(self) -> SpanRecord:
        """Return the closed scope as a row of the table `spans`."""
        return SpanRecord(
            span_id=self.span_id,
            trace_id=self.trace_id,
            parent_id=self.parent_id,
            kind=self.kind,
            name=self.name,
            task_id=self.task_id,
            agent_run_id=self.agent_run_id,
            depth=self.depth,
            started_at_ns=self.started_at_ns,
            ended_at_ns=self.ended_at_ns if self.ended_at_ns is not None else now_ns(),
            status="ok" if self.error_type is None else "error",
            error_type=self.error_type,
            outcome=self.outcome,
            score=self.score,
            censored_by=self.censored_by,
            arguments_bytes=self.sizes[0],
            result_bytes=self.sizes[1],
            arguments_hash=self.arguments_hash,
        )

    def place(self, parent: "Scope | None", span_id: str = "", trace_id: str = "") -> None:
        """Stand inside another scope, or alone; ids are made where none are given."""
        self.parent = parent
        self.span_id = span_id or new_span_id()
        self.trace_id = trace_id or (parent.trace_id if parent else new_trace_id())
        self.parent_id = parent.span_id if parent else None
        if parent is None or self.kind == "task":
            # An agent or tool outside any task is a task of its own: the outermost scope is the unit of demand.
            self.task, self.task_id = self.name, self._given_id or self.span_id
        else:
            self.task, self.task_id = parent.task, parent.task_id
        self.budget = parent.budget if parent else None
        if self.limits is not None:
            self.budget = Budget(self.limits, self.task, self.task_id, self.budget)
        outer = parent if self.kind != "task" else None
        self.agent, self.agent_run_id = (outer.agent, outer.agent_run_id) if outer else (None, None)
        self.depth = outer.depth if outer else 0
        if self.kind == "agent":
            # Depth counts the agent runs around this one, so the outermost agent's calls have depth 0.
            self.depth += 1 if self.agent_run_id is not None else 0
            self.agent, self.agent_run_id = self.name, self.span_id


def _opener() -> Opener | None:
    """Return the generator whose `with` or `async with` opens a scope; `decorated` ones see to it by themselves."""
    frame = sys._getframe(2)
    if frame.f_code is Scope.__aenter__.__code__ and frame.f_back is not None:
        frame = frame.f_back
    return opener_of(frame) if frame.f_code.co_filename != decorated.__code__.co_filename else None


def task(
    kind: str,
    *,
    id: str | None = None,  # noqa: A002  (the public contract's name)
    max_calls: int | None = None,
    max_tokens: int | None = None,
    max_depth: int | None = None,
    max_cost: float | None = None,
    on_limit: Literal["raise", "warn"] = "raise",
) -> Scope:
    """Return a scope for one task of this kind: the unit of demand, from ask to final answer.

    A task opened inside another task starts a task of its own; calls belong to the innermost one.

    With limits, a request beyond one is not sent: `LimitReached` is raised in its place, reaches the code around the
    `with`, and the run is kept as censored. They hold for what runs inside the task, tasks of its own included, in this
    process. What a call uses is known when it has ended: calls that run at once may end beyond a limit together.

    Args:
        kind: what sort of work it is.
        id: an id of yours; otherwise one is made.
        max_calls: calls; the retries of one by its client count once.
        max_tokens: input and output tokens of the calls that have ended. A request waits, 2 s at most, until the
            recorder has read the answers before it; so it does with the two limits below.
        max_depth: levels of agents inside agents, 0 for calls of the outermost one: by scopes before a call leaves, and
            as the wire shows them, one call later.
        max_cost: US dollars, by the prices of genai-prices; a model without a price is logged and not counted.
        on_limit: "warn" only logs, once for each limit.

    Raises:
        TokenflationError: a limit is negative or of another type.
        MissingExtra: `max_cost` without the extra `analysis`.
    """
    limits = limits_of(
        max_calls=max_calls, max_tokens=max_tokens, max_depth=max_depth, max_cost=max_cost, on_limit=on_limit
    )
    return Scope("task", kind, id, limits)


def agent(name: str) -> Scope:
    """Return a scope for one agent run; inside another agent run, its calls are one level deeper."""
    return Scope("agent", name)


def tool(name: str) -> Scope:
    """Return a scope for one tool run."""
    return Scope("tool", name)


def outcome(*, success: bool | None = None, score: float | None = None) -> None:
    """Say how the current task went: counted as tokens per success. Outside any task it says nothing.

    It counts in the process that opened the task alone: in another it is logged and lost.

    Raises:
        TokenflationError: `score` is not a number, or `success` is not a bool.
    """
    if success is not None and not isinstance(success, bool):
        raise TokenflationError(f"outcome(success=) takes True, False or None, got {success!r}.")
    if score is not None and (isinstance(score, bool) or not isinstance(score, int | float)):
        raise TokenflationError(f"outcome(score=) takes a number or None, got {score!r}.")
    scope = current()
    while scope is not None and scope.kind != "task" and scope.parent is not None:
        scope = scope.parent
    if scope is not None and scope.process_id != os.getpid():
        say(_log, "outcome() of task %r is lost: say it in the process that opened the task.", scope.task)
    elif scope is not None:
        scope.outcome = success if success is not None else scope.outcome
        scope.score = float(score) if score is not None else scope.score


def admit(scope: Scope, exchange: Exchange, hurry: Callable[[], None], begins: bool) -> None:
    """Check a request against the limits of the tasks around it and count it if it `begins`; the scope has a `budget`.

    Raises:
        LimitReached: a limit is used up: the request must not leave. The tasks that it ends are marked as censored.
    """
    budgets, agents, around = [], 0, []
    one: Scope | None = scope
    while one is not None and one.budget is not None:
        agents += one.kind == "agent"
        if one.kind == "task":
            around.append(one)
        if one.limits is not None:
            budgets.append((one.budget, max(agents - 1, 0)))
        one = one.parent
    try:
        admit_to(budgets, exchange, hurry, begins)
    except LimitReached as reached:
        for cut in around:
            cut.censored_by = reached.limit
            if cut.budget is not None and cut.limits is not None and cut.budget is reached.budget:
                break
        raise


def _limit_of(error: BaseException, budget: Budget) -> TaskLimitReached | None:
    """Return what leaves a task that its own limit has ended: one ordinary error, also where a group of tasks ended.

    So it is where the program failed at something else after a request was refused: a library may take what is no
    Exception for a result, and stumble over that.
    """
    if type(error).__name__ == "CancelledError" and budget.reached is not None and budget.stopping.is_cause(error):
        return budget.reached.outside()
    if isinstance(error, BaseExceptionGroup):
        mine, others = error.split(lambda one: isinstance(one, LimitReached) and one.budget is budget)
        if mine is None or others is not None:
            return None  # what else failed is for the host to see
        first: BaseException = mine
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        error = first
    if isinstance(error, LimitReached):
        return error.outside() if error.budget is budget else None
    return budget.reached.outside() if isinstance(error, Exception) and budget.reached is not None else None


def _tell(scope: Scope, *, opened: bool) -> None:
    for listener in tuple(_listeners):
        try:
            listener(scope, opened)
        except Exception as error:  # who listens is us, or a tracing library of the user's: neither may stop their work
            _log.debug("a listener of tokenflation's scopes failed", exc_info=True)
            let_through(error)
