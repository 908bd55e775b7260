"""What the contract suite needs to be able to do to a broker's real server, and to see of it."""

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from collectors.brokers import broker_for
from collectors.brokers.base import Broker
from eventwake.settings import Source

STREAM, OTHER, DEAD = "orders", "payments", "orders.dlq"

Fields = Sequence[tuple[bytes, bytes]]

# (a right that a user lacks, the call that it is needed for)
REFUSALS = (
    *(("discover", "discover"), ("read", "read"), ("read", "present")),
    *((right, "groups") for right in ("groups", "members", "pending")),
    *((right, "views") for right in ("groups", "pending")),
)


def wait_until(condition: Callable[[], object], what: str, within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.02)


@dataclass(frozen=True)
class Letter:
    """A dead letter as some framework writes it; `says` are the facts that must be read out of it."""

    name: str
    stream: str
    fields: list[bytes]
    says: dict[str, Any]


class LogRig(ABC):
    """One way to run a broker of the log profile. Made without I/O; `start` starts its servers.

    Streams, groups and positions are named as the port names them.
    """

    name: ClassVar[str]
    kind: ClassVar[str]
    secret: ClassVar[str]  # what must never be shown
    counts_events: ClassVar[bool] = True  # whether the server tells how many events a stream ever had
    ways: ClassVar[Sequence[str]]  # to act on letters: each takes its own path through the code
    letters: ClassVar[Sequence[Letter]]
    holds: ClassVar[bool] = True  # whether it keeps what was given and not acknowledged
    removes: ClassVar[bool] = True  # whether events can be deleted from the middle of a stream
    refusals: ClassVar[Sequence[tuple[str, str]]] = (
        REFUSALS  # for want of other rights it hides what is there
    )
    checks: ClassVar[frozenset[str]]  # what doctor looks at, among other things
    can_try_rights: ClassVar[bool] = True  # whether the server says what a user may do
    missing_right: ClassVar[tuple[str, str, str]]  # one that doctor misses: how it names it and gives it

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.servers: list[subprocess.Popen[bytes]] = []

    # The broker under test

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The broker's own keys of a [[source]] table that may do everything."""

    @abstractmethod
    def able_to(self, way: str) -> dict[str, Any]:
        """The keys of a user that may do everything, and acts in that way."""

    @abstractmethod
    def without_right_to(self, act: str) -> dict[str, Any]:
        """The keys of a user that may do all but this: "connect", "discover", "look", "read", "groups",
        "members", "pending" or "act" (remove letters); "any": of a user that is not known.
        """

    @abstractmethod
    def impatient(self) -> dict[str, Any]:
        """The keys with which an answer is waited for a moment only."""

    def source(self, **changes: Any) -> Source:
        keys: dict[str, Any] = {"name": "tested", "kind": self.kind, "writable": True, **self.settings()}
        return Source(**{**keys, **changes})

    @contextmanager
    def broker(self, **changes: Any) -> Iterator[Broker]:
        broker = broker_for(self.source(**changes))
        try:
            broker.start()
            yield broker
        finally:
            broker.stop()

    # Its servers

    @abstractmethod
    def start(self) -> None:
        """Starts the servers; where one is missing the test that asks is skipped, or fails."""

    @abstractmethod
    def start_again(self) -> None:
        """Starts them where they were, after `stop`."""

    @abstractmethod
    def clear(self) -> None:
        """Deletes everything that a test left."""

    def stop(self) -> None:
        for server in self.servers:
            server.kill()
            server.wait()
        self.servers.clear()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """The servers hold their connections and answer nothing."""
        for server in self.servers:
            os.kill(server.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for server in self.servers:
                os.kill(server.pid, signal.SIGCONT)

    # The world outside

    @abstractmethod
    def publish(self, stream: str, *events: Fields, at_ms: int | None = None) -> list[str]:
        """Adds events; their positions. `at_ms` is the server's time of them, for those of the past."""

    @abstractmethod
    def entries(self, stream: str) -> dict[str, list[bytes]]:
        """Position -> flat fields of everything that is there."""

    @abstractmethod
    def trim(self, stream: str, keep: int) -> None: ...

    @abstractmethod
    def remove(self, stream: str, positions: Sequence[str]) -> None:
        """Deletes events from the middle."""

    @abstractmethod
    def drop(self, stream: str) -> None:
        """Deletes the stream."""

    @abstractmethod
    def make_group(self, stream: str, group: str, after: str | None = None) -> None:
        """A group that has yet to see what lies after the position (None: everything)."""

    @abstractmethod
    def consume(self, stream: str, group: str, count: int, *, ack: bool = True) -> list[str]:
        """Positions of the next events that the group is given."""

    @abstractmethod
    def footprint(self, streams: Sequence[str]) -> Any:
        """All that consumers could notice of an observer, but for times."""


def event(number: int | str, **more: str) -> Fields:
    """An event as people write them."""
    return [
        *((b"event_type", b"OrderPlaced"), (b"event_id", f"e-{number}".encode())),
        (b"correlation_id", f"c-{number}".encode()),
        *((name.encode(), value.encode()) for name, value in more.items()),
        (b"data", b'{"order_id": "o-1"}'),
    ]


def flat(fields: Fields) -> list[bytes]:
    return [part for pair in fields for part in pair]


def flat_text(event: dict[str, str], /, **more: str) -> list[bytes]:
    return [part.encode() for pair in {**event, **more}.items() for part in pair]


def publish(rig: LogRig, count: int, stream: str = STREAM) -> list[str]:
    return rig.publish(stream, *(event(number) for number in range(count)))
