"""Pages in a browser: an application served on a free port, and an address opened until all of it is drawn."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from playwright.sync_api import Browser, Page
from starlette.applications import Starlette

from tokenflation.exporters.web.snapshot import PAGE_THREAD


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """Yield the address of a server of that application."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        app.state.over.set()
        server.should_exit = True
        thread.join()
        listening.close()
        # A page that is still being made is in a thread that no server waits for; an interpreter that ends stops it
        # inside of a database's own code, which ends the whole process as a crash.
        for one in threading.enumerate():
            if one.name == PAGE_THREAD:
                one.join()


@contextmanager
def opened(browser: Browser, url: str, **context: Any) -> Iterator[tuple[Page, list[str], list[str]]]:
    """Yield the page once all is drawn, with what the console said and what was requested."""
    said: list[str] = []
    asked: list[str] = []
    with browser.new_context(**context) as new:
        page = new.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        page.locator("html[data-drawn]").wait_for(state="attached")
        yield page, said, asked
        page.goto("about:blank")
