"""A tap that collects into lists, and both HTTP libraries as parameters."""

from collections.abc import Iterator
from dataclasses import dataclass, field
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
