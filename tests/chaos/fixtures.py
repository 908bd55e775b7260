"""The servers and the rig, as fixtures for every test of operations."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.rig import ONE_SLOT, Rig, Server, Way

FIGURES = "figures"  # a test's property with this name is shown in the summary of the run


class Servers:
    """One server for each way, started when it is first asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started: dict[Way, Server] = {}

    def of(self, way: Way) -> Server:
        if way not in self._started:
            directory = self._directory / way.name.replace(" ", "-")
            directory.mkdir()
            self._started[way] = Server(way, directory)
        return self._started[way]

    def stop(self) -> None:
        for server in self._started.values():
            server.kill()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    started = Servers(tmp_path_factory.mktemp("servers"))
    yield started
    started.stop()


@pytest.fixture
def rig(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[Rig]:
    """Over one slot, unless the test is parametrised by way."""
    made = Rig(servers.of(getattr(request, "param", ONE_SLOT)), tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def lone_rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """With a server of its own, to be killed and restarted."""
    made = Rig(Server(getattr(request, "param", ONE_SLOT), tmp_path), tmp_path)
    yield made
    made.store.close()
    made.server.kill()


@pytest.fixture
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operators of this process: what was sent need not wait until it is settled."""
    monkeypatch.setattr("collectors.operator.SETTLE_AFTER_MS", 0)
