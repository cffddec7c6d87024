"""Installing and taking off: before or after the import of a library, under or over other wrappers."""

import functools
import importlib
import logging
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpcore
import httpcore2
import httpx
import httpx2
import pytest
import wrapt
from tests.hooks.conftest import Collected, body

from tokenflation.sdk.hooks import install
from tokenflation.sdk.hooks.httpx import _Installation
from tokenflation.sdk.hooks.patching import when_imported

URL = "http://models.test/v1/chat/completions"


def post(lib: Any) -> None:
    with lib.Client(transport=lib.MockTransport(lambda request: lib.Response(200, json={}))) as client:
        assert client.post(URL).json() == {}


def run(script: str) -> str:
    """Run a script in a fresh process, with a tap that collects into `got`."""
    head = """
import sys
from tokenflation.sdk.exchange import Tap
from tokenflation.sdk.hooks import install
got = []
tap = Tap(submit=got.append, context=lambda: None, failed=lambda reason: print("failed", reason))
def post(lib):
    transport = lib.MockTransport(lambda request: lib.Response(200, json={}))
    lib.Client(transport=transport).post("http://models.test/v1/responses", json={})
"""
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        f"sys_path = {sys.path!r}\nimport sys\nsys.path[:] = sys_path\n{head}{script}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.strip()


def test_importing_and_installing_imports_no_client_library() -> None:
    names = "'httpx', 'httpx2', 'openai', 'anthropic', 'pandas', 'sqlalchemy'"
    assert run(f"install(tap); print([name for name in ({names}) if name in sys.modules])") == "[]"


def test_importing_the_hooks_does_not_import_wrapt() -> None:
    assert run("print('wrapt' in sys.modules)") == "False"


@pytest.mark.parametrize("name", ["httpx", "httpx2"])
def test_a_library_imported_after_is_recorded(name: str) -> None:
    assert run(f"install(tap)\nimport {name} as lib\npost(lib)\nprint(len(got))") == "1"


def test_a_library_imported_after_undo_is_left_alone() -> None:
    script = "undo = install(tap); undo()\nimport httpx2 as lib\npost(lib)\n"
    script += "print(len(got), hasattr(lib.Client._send_single_request, '__wrapped__'))"
    assert run(script) == "0 False"


@pytest.mark.parametrize(
    "script",
    [
        "import httpx2; httpx2.alias_httpx(); undo = install(tap)",
        "undo = install(tap); import httpx2; httpx2.alias_httpx()",
    ],
    ids=["alias before", "alias after"],
)
def test_the_aliased_library_is_patched_once(script: str) -> None:
    script += "\nimport httpx\npost(httpx); post(httpx2)\nprint(httpx is httpx2, len(got))\nundo()"
    script += "\nprint(hasattr(httpx.Client._send_single_request, '__wrapped__'))"
    assert run(script).split() == ["True", "2", "False"]


def test_an_answer_alive_at_interpreter_shutdown_raises_nothing() -> None:
    script = """
install(tap)
import httpx2 as lib
class Body(lib.SyncByteStream):
    def __iter__(self):
        yield b"x"
client = lib.Client(transport=lib.MockTransport(lambda request: lib.Response(200, stream=Body())))
response = client.send(client.build_request("POST", "http://models.test/v1/responses"), stream=True)
again = response.iter_raw()
next(again)
print(len(got))
"""
    assert run(script) == "0"


def test_undo_restores_the_identical_attributes(collected: Collected) -> None:
    places = [
        (getattr(lib, owner), "_send_single_request") for lib in (httpx, httpx2) for owner in ("Client", "AsyncClient")
    ]
    before = [owner.__dict__[name] for owner, name in places]
    undo = install(collected.tap)
    during = [owner.__dict__[name] for owner, name in places]
    undo()
    undo()
    after = [owner.__dict__[name] for owner, name in places]
    assert all(a is b for a, b in zip(before, after, strict=True))
    assert not any(a is b for a, b in zip(before, during, strict=True))


@pytest.mark.parametrize(("lib", "core"), [(httpx, httpcore), (httpx2, httpcore2)])
def test_the_library_s_pools_are_touched_only_while_a_host_s_own_transport_stands_before_them(
    collected: Collected, lib: Any, core: Any
) -> None:
    class Own(lib.BaseTransport):  # type: ignore[misc]
        def handle_request(self, request: Any) -> Any:
            return lib.Response(200)

    def on_it() -> Any:
        return core.ConnectionPool.__dict__["handle_request"]

    before, transport = on_it(), lib.HTTPTransport.__dict__["handle_request"]
    undo = install(collected.tap)
    plain = lib.MockTransport(lambda request: lib.Response(200))
    with lib.Client(transport=plain) as client:
        client.post("http://models.test/v1/responses")
    untouched = on_it()
    with lib.Client(transport=plain, mounts={"http://other.test": Own()}) as client:
        client.post("http://models.test/v1/responses")
    touched = on_it()
    assert lib.HTTPTransport.__dict__["handle_request"] is transport, "tracers wrap it, and take off what is on top"
    undo()
    assert untouched is before
    assert touched is not before
    assert on_it() is before
    with lib.Client(transport=Own()) as client:
        client.post("http://models.test/v1/responses")
    assert on_it() is before


@pytest.mark.parametrize("maker", ["functools", "wrapt"])
def test_under_another_wrapper_ours_becomes_a_pass_through(
    maker: str, lib: Any, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = lib.Client._send_single_request
    undo = install(collected.tap)
    seen: list[str] = []
    ours = lib.Client.__dict__["_send_single_request"]
    monkeypatch.setattr(lib.Client, "_send_single_request", another_wrapper(maker, ours, seen))
    post(lib)
    undo()
    post(lib)
    assert (len(collected.exchanges), len(seen)) == (1, 2)
    install(collected.tap)()  # a later installation comes and goes over the wrapper, which stays
    post(lib)
    assert (len(collected.exchanges), len(seen)) == (1, 3)
    monkeypatch.undo()  # the other wrapper goes and leaves ours behind, dead: the next installation clears it away
    install(collected.tap)()
    assert lib.Client.__dict__["_send_single_request"] is original


def another_wrapper(maker: str, function: Any, seen: list[str]) -> Any:
    if maker == "wrapt":

        def note(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            seen.append("wrapt")
            return wrapped(*args, **kwargs)

        return wrapt.FunctionWrapper(function, note)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        seen.append("functools")
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize("maker", ["functools", "wrapt"])
def test_over_another_wrapper_both_work(
    maker: str, lib: Any, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    theirs = another_wrapper(maker, lib.Client.__dict__["_send_single_request"], seen)
    monkeypatch.setattr(lib.Client, "_send_single_request", theirs)
    undo = install(collected.tap)
    post(lib)
    undo()
    assert (len(collected.exchanges), len(seen)) == (1, 1)
    assert lib.Client.__dict__["_send_single_request"] is theirs


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_installations_record_a_request_once_and_go_in_any_order(order: tuple[int, int], lib: Any) -> None:
    original = lib.Client.__dict__["_send_single_request"]
    both = [Collected(), Collected()]
    undo = [install(one.tap) for one in both]
    post(lib)
    for which in order:
        undo[which]()
    assert sum(len(one.exchanges) for one in both) == 1
    assert lib.Client.__dict__["_send_single_request"] is original


def test_install_again_after_undo_records_again(lib: Any, collected: Collected) -> None:
    install(collected.tap)()
    undo = install(collected.tap)
    post(lib)
    undo()
    assert collected.only.end == "read"


def test_a_missing_method_is_named_once_and_the_transport_takes_its_place(
    collected: Collected, caplog: pytest.LogCaptureFixture
) -> None:
    class Transport:
        def handle_request(self, request: Any) -> Any:
            return httpx2.Response(200, json={"from": "fallback"})

    class AsyncClient:
        async def _send_single_request(self, request: Any) -> Any:
            return request

    library = SimpleNamespace(__name__="httpx9", Client=object, HTTPTransport=Transport, AsyncClient=AsyncClient)
    installation = _Installation(collected.tap)
    before = (Transport.handle_request, AsyncClient._send_single_request)
    with caplog.at_level(logging.WARNING):
        installation.patch(library)  # type: ignore[arg-type]  # it stands for a module
        installation.patch(library)  # type: ignore[arg-type]
    Transport().handle_request(httpx2.Request("POST", URL))
    assert AsyncClient._send_single_request is not before[1]
    installation.undo()
    assert (Transport.handle_request, AsyncClient._send_single_request) == before
    assert body(collected.exchanges[0]) == b'{"from":"fallback"}'
    assert [record.getMessage().split()[0] for record in caplog.records] == [
        "httpx9.Client._send_single_request(request)"
    ]
    assert collected.failures == ["hook_missing"]


@pytest.mark.parametrize("signature", ["(self)", "(self, message)", "(self, request, extra)"])
def test_a_method_with_other_parameters_is_not_patched(
    signature: str, collected: Collected, caplog: pytest.LogCaptureFixture
) -> None:
    namespace: dict[str, Any] = {}
    exec(f"class Client:\n    def _send_single_request{signature}: pass", namespace)  # noqa: S102
    module = ModuleType("httpx9")
    module.Client = module.AsyncClient = namespace["Client"]  # type: ignore[attr-defined]
    before = namespace["Client"]._send_single_request
    _Installation(collected.tap).patch(module)
    assert namespace["Client"]._send_single_request is before
    assert len(caplog.records) == 2


def test_switching_on_and_off_piles_nothing_up_for_a_module_that_nobody_imports() -> None:
    script = """
import gc, weakref
from tokenflation.sdk.hooks import patching
taps = []
for _ in range(20):
    one = Tap(submit=got.append, context=lambda: None, failed=lambda reason: print("failed", reason))
    taps.append(weakref.ref(one))
    install(one)()
    del one
gc.collect()
print(sum(tap() is not None for tap in taps), max(map(len, patching._waiting.values())) <= 12)
"""
    assert run(script).split() == ["0", "True"]


@pytest.fixture
def half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module that asks for an action on itself before it is whole: `seen` says what the action found of it."""
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "half_imported.py"
    file.write_text("import whole_before\nwhole_before.meet()\nPART = 1\nif whole_before.failing: raise ImportError\n")
    seen: list[Any] = []
    before: Any = ModuleType("whole_before")
    before.failing = False
    before.meet = lambda: when_imported(
        "half_imported", lambda module: seen.append(vars(module).get("PART")), lambda: True
    )
    before.seen = seen
    monkeypatch.setitem(sys.modules, "whole_before", before)
    yield file
    sys.modules.pop("half_imported", None)


def test_a_module_that_is_being_imported_is_patched_once_it_is_whole(half: Path) -> None:
    before: Any = sys.modules["whole_before"]
    module = importlib.import_module("half_imported")

    assert before.seen == [1]
    assert type(module.__spec__) is ModuleSpec
    before.meet()
    assert before.seen == [1, 1]


def test_a_module_whose_import_fails_is_patched_after_the_one_that_does_not(half: Path) -> None:
    before: Any = sys.modules["whole_before"]
    before.failing = True
    with pytest.raises(ImportError):
        importlib.import_module("half_imported")
    assert before.seen == []
    before.failing, before.meet = False, lambda: None
    importlib.import_module("half_imported")

    assert before.seen == [1]
