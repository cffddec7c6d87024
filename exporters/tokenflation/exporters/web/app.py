"""The web application: the page, its scripts, and its events.

Asks nothing of any network, and answers this machine only.

The page is the report's own; a task is chosen by its id in the address, so every view can be linked.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from tokenflation.analysis.planning.plan import Plan
from tokenflation.exporters.report import Live, render, render_waiting, script
from tokenflation.exporters.web.snapshot import MOST_CALLS, Snapshot, State, Watched
from tokenflation.sdk.errors import StoreError

__all__ = ["create_app"]

# A page of another site may name this machine, and have its own name point here: only these names are answered.
_HOSTS = ["127.0.0.1", "localhost"]
_SCRIPTS = ("plotly.js", "tables.js", "page.js", "live.js")
_BEAT_S = 15.0
_AGAIN_MS = 2000
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def create_app(
    store: str,
    *,
    every_s: float = 0.5,
    most_calls: int = MOST_CALLS,
    plan: Plan | None = None,
    plan_name: str = "",
    plan_file: Path | None = None,
) -> Starlette:
    """Return the ASGI application that shows a store and follows it; it is looked at every `every_s` seconds.

    Of a store with more calls than `most_calls`, totals are of all and the rest of a sample, as of `build_report`. With
    `plan` and what it is called, its forecast is part of the page; a `planning.file` in its place is followed like the
    store.

    `app.state.over` is an event that ends its streams, for the server that stops.

    Raises:
        StoreError: nothing is there, or it is no store.
        PlanError: the file holds no plan.
    """
    watched = Watched(
        store, every_s=every_s, most_calls=most_calls, plan=plan, plan_name=plan_name, plan_file=plan_file
    )
    watched.read()
    over = asyncio.Event()

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(watched.watch())
        yield
        over.set()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def page(request: Request) -> Response:
        watched.asked()
        snapshot, task_id = watched.snapshot, request.query_params.get("task")
        live = Live(version=snapshot.version, task_id=task_id)
        if snapshot.report is None:
            return HTMLResponse(render_waiting(store, live), headers=_HEADERS)
        parts = await asyncio.to_thread(_parts, snapshot, task_id)
        return HTMLResponse(render(snapshot.report, live, parts), headers=_HEADERS)

    async def events(request: Request) -> Response:
        since, task_id = request.query_params.get("since", ""), request.query_params.get("task")
        # A browser that comes again says what it had last, which is newer than what its page had at first.
        since = request.headers.get("last-event-id", since)
        stream = _events(watched, since, task_id, over)
        return StreamingResponse(stream, media_type="text/event-stream", headers=_HEADERS)

    async def scripts(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _SCRIPTS:
            return Response("There is no such script.\n", status_code=404, media_type="text/plain")
        return Response(
            script(name), media_type="text/javascript", headers={**_HEADERS, "Cache-Control": "max-age=3600"}
        )

    app = Starlette(
        routes=[Route("/", page), Route("/events", events), Route("/{name}", scripts)],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS)],
        lifespan=lifespan,
    )
    app.state.over = over
    return app


async def _events(watched: Watched, since: str, task_id: str | None, over: asyncio.Event) -> AsyncIterator[str]:
    """Yield an event for each change: the parts that are not as the page's, all of them where that is not known.

    Source of the format: html.spec.whatwg.org, "Server-sent events".
    """
    with watched.reading():
        known: dict[str, str] = {}
        version, state = since, State(calls=-1)
        if watched.snapshot.version == since:
            known = await asyncio.to_thread(_parts, watched.snapshot, task_id)
        # At once, so that the browser knows that it is connected, and when to come again if it no longer is.
        yield f"retry: {_AGAIN_MS}\n\n"
        quiet_s = 0.0
        while not over.is_set():
            snapshot, now = await watched.changed(version, state, timeout_s=1.0)
            quiet_s += 1.0
            if snapshot.version != version:
                parts = await asyncio.to_thread(_parts, snapshot, task_id)
                yield _change(snapshot, {key: html for key, html in parts.items() if known.get(key) != html})
                known, version, quiet_s = parts, snapshot.version, 0.0
            if now != state:
                yield f"event: state\ndata: {json.dumps({'calls': f'{now.calls:,}', 'wait_s': now.wait_s, 'error': now.error})}\n\n"
                state, quiet_s = now, 0.0
            if quiet_s >= _BEAT_S:
                quiet_s = 0.0
                yield ": still here\n\n"


def _parts(snapshot: Snapshot, task_id: str | None) -> dict[str, str]:
    """Return the parts of the page; those without the task where the store, gone by now, cannot give it."""
    try:
        return snapshot.parts_for(task_id)
    except StoreError:
        return snapshot.parts


def _change(snapshot: Snapshot, parts: dict[str, str]) -> str:
    # JSON has no line breaks outside of strings, and writes those inside as \n: it is one line of an event.
    data = json.dumps({"version": snapshot.version, "empty": snapshot.report is None, "parts": parts})
    return f"event: change\nid: {snapshot.version}\ndata: {data}\n\n"
