"""The rigs as fixtures: `rig` is each of them, `acting` each with every way that it has to act on letters."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import pytest

from collectors.brokers.base import Broker
from tests.contract.rigs import LOG_RIGS, QUEUE_RIGS
from tests.contract.rigs.base import LogRig
from tests.contract.rigs.queue_base import QueueRig

EVERY_RIG = [rig for rigs in LOG_RIGS.values() for rig in rigs]
EVERY_WAY = [(rig, way) for rig in EVERY_RIG for way in rig.ways]
EVERY_LETTER = [(rig, letter) for rig in EVERY_RIG for letter in rig.letters]
EVERY_REFUSAL = [(rig, *refusal) for rig in EVERY_RIG for refusal in rig.refusals]
REMOVING = [rig for rig in EVERY_RIG if rig.removes]
ACTING = [rig for rig in EVERY_RIG if rig.ways]
HOLDING = [rig for rig in EVERY_RIG if rig.holds]
EVERY_QUEUE = [rig for rigs in QUEUE_RIGS.values() for rig in rigs]
EVERY_QUEUE_WAY = [(rig, way) for rig in EVERY_QUEUE for way in rig.ways]


AnyRig = TypeVar("AnyRig", bound=LogRig | QueueRig)


class Rigs:
    """Each rig once, started when it is first asked for."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._started: dict[type[LogRig | QueueRig], LogRig | QueueRig] = {}

    def of(self, kind: type[AnyRig]) -> AnyRig:
        """The running rig with nothing in it."""
        if kind not in self._started:
            rig = self._started[kind] = kind(self._factory.mktemp("rig"))
            rig.start()
        running = self._started[kind]
        assert isinstance(running, kind)
        running.clear()
        return running

    def stop(self) -> None:
        for rig in self._started.values():
            rig.stop()


@dataclass(frozen=True)
class Acting:
    """A rig, and a broker over it that acts in one of its ways."""

    rig: LogRig
    broker: Broker


@pytest.fixture(scope="session")
def rigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rigs]:
    started = Rigs(tmp_path_factory)
    yield started
    started.stop()


@pytest.fixture(params=EVERY_RIG, ids=lambda rig: rig.name)
def rig(request: pytest.FixtureRequest, rigs: Rigs) -> LogRig:
    return rigs.of(request.param)


@pytest.fixture(params=REMOVING, ids=lambda rig: rig.name)
def removing(request: pytest.FixtureRequest, rigs: Rigs) -> LogRig:
    """A broker that can delete events from the middle of a stream."""
    return rigs.of(request.param)


@pytest.fixture(params=ACTING, ids=lambda rig: rig.name)
def writing(request: pytest.FixtureRequest, rigs: Rigs) -> LogRig:
    """A broker that can act on letters, in whatever way it does it first."""
    return rigs.of(request.param)


@pytest.fixture(params=HOLDING, ids=lambda rig: rig.name)
def holding(request: pytest.FixtureRequest, rigs: Rigs) -> LogRig:
    """A broker that keeps what a consumer was given and has not acknowledged."""
    return rigs.of(request.param)


@pytest.fixture(params=EVERY_WAY, ids=lambda pair: f"{pair[0].name}: {pair[1]}")
def acting(request: pytest.FixtureRequest, rigs: Rigs) -> Iterator[Acting]:
    kind, way = request.param
    rig = rigs.of(kind)
    with rig.broker(**rig.able_to(way)) as broker:
        yield Acting(rig, broker)


@pytest.fixture(params=EVERY_QUEUE, ids=lambda rig: rig.name)
def queue_rig(request: pytest.FixtureRequest, rigs: Rigs) -> QueueRig:
    return rigs.of(request.param)


@dataclass(frozen=True)
class ActingOnQueue:
    """A rig of the queue profile, and a broker over it that acts in one of its ways."""

    rig: QueueRig
    broker: Broker
    way: str


@pytest.fixture(params=EVERY_QUEUE_WAY, ids=lambda pair: f"{pair[0].name}: {pair[1]}")
def acting_on_queue(request: pytest.FixtureRequest, rigs: Rigs) -> Iterator[ActingOnQueue]:
    kind, way = request.param
    rig = rigs.of(kind)
    with rig.broker(**rig.able_to(way)) as broker:
        yield ActingOnQueue(rig, broker, way)
