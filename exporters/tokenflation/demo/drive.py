"""Runs the demo's tasks, two at a time, while a recorder runs. Knows nothing of the store or of the analysis."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import anthropic
import openai

from tokenflation.demo.agent import answer_once, run_task
from tokenflation.demo.models import Models
from tokenflation.demo.server import SLOTS
from tokenflation.demo.tasks import Task
from tokenflation.demo.tools import Library

__all__ = ["Done", "drive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One task, done as an agent and answered once."""

    task: Task
    answer: str = ""
    once: str = ""
    duration_s: float = 0.0
    """Of the agent."""
    error: str | None = None
    """What the model's client raised, if it did."""


def drive(tasks: Sequence[Task], models: Models, progress: Callable[[Done], None]) -> list[Done]:
    """Do every task as an agent and answer it once; a task whose model fails is reported, and the others go on."""
    library = Library()
    workers = ThreadPoolExecutor(SLOTS, thread_name_prefix="task")
    try:
        done = []
        for one in as_completed([workers.submit(_do, task, models, library) for task in tasks]):
            done.append(one.result())
            progress(done[-1])
    except BaseException:
        # Ctrl-C: what has not begun never does, and what runs fails as soon as its server is gone.
        workers.shutdown(wait=False, cancel_futures=True)
        raise
    workers.shutdown()
    library.close()
    return done


def _do(task: Task, models: Models, library: Library) -> Done:
    started = time.monotonic()
    try:
        answer = run_task(task, models.for_task(task.task_id), library)
        duration_s = time.monotonic() - started
        once = answer_once(task, models.for_task(f"once-{task.task_id}"))
    except (openai.OpenAIError, anthropic.AnthropicError) as error:
        return Done(task=task, error=f"{type(error).__name__}: {error}")
    return Done(task=task, answer=answer, once=once, duration_s=duration_s)
