"""A tap that collects into lists, and both HTTP libraries as parameters."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

from tokenflation.sdk.exchange import Exchange, Tap
from tokenflation.sdk.hooks import install


@dataclass
class Collected:
    """What a tap got: finished exchanges, and the reasons of our own failures."""

    exchanges: list[Exchange] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tap = Tap(submit=self.exchanges.append, context=lambda: "scope", failed=self.failures.append)

    @property
    def only(self) -> Exchange:
        assert len(self.exchanges) == 1, self.exchanges
        assert not self.failures
        return self.exchanges[0]

    @property
    def ends(self) -> list[str | None]:
        return [exchange.end for exchange in self.exchanges]


def body(exchange: Exchange) -> bytes:
    """Return the recorded body, as it came over the wire."""
    return b"".join(chunk for _, chunk in exchange.chunks)


@pytest.fixture
def collected() -> Collected:
    """Return a tap and what it got; nothing is installed."""
    return Collected()


@pytest.fixture
def recorded(collected: Collected) -> Iterator[Collected]:
    """Install the hooks for the test."""
    undo = install(collected.tap)
    yield collected
    undo()


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
def lib(request: pytest.FixtureRequest) -> Any:
    """Run the test once with each library."""
    return request.param


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a file with a certificate for 127.0.0.1, signed by itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    file = str(tmp_path_factory.mktemp("tls") / "both.pem")
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", file, "-out", f"{file}.crt"]
    subprocess.run([openssl, "req", *options, *names], check=True, capture_output=True)
    Path(file).write_bytes(Path(file).read_bytes() + Path(f"{file}.crt").read_bytes())
    return file
