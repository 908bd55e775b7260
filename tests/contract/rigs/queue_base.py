"""What the contract suite needs to be able to do to a job queue, and to see of it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

from collectors.brokers import broker_for
from collectors.brokers.base import Broker
from eventwake.settings import Source

QUEUE, OTHER_QUEUE = "orders", "payments"
MESSAGE = "no such sku: 4711"
CLASS = "ValueError"

JobState = Literal["waiting", "running", "failed", "done"]


class QueueRig(ABC):
    """One way to run a broker of the queue profile. Made without I/O; `start` starts its server.

    Workers fail a job for good whose payload says `fails`. Queues and ids are named as the port names them.
    """

    name: ClassVar[str]
    kind: ClassVar[str]
    keeps_done: ClassVar[bool] = True  # whether a done job can still be seen
    keeps_error: ClassVar[bool] = True
    is_exact: ClassVar[bool] = True  # whether the broker counts, instead of estimating
    ways: ClassVar[Sequence[str]]  # to act on letters: each takes its own path through the code

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    # The broker under test

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The broker's own keys of a [[source]] table that may do everything."""

    @abstractmethod
    def able_to(self, way: str) -> dict[str, Any]:
        """The keys of a user that acts in that way."""

    @abstractmethod
    def without_right_to(self, act: str) -> dict[str, Any]:
        """The keys of a user that may do all but "watch" or "act"; "any": of a user that is not known."""

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

    @abstractmethod
    def dead(self, queue: str) -> str:
        """The stream of the queue's dead letters."""

    # Its server

    @abstractmethod
    def start(self) -> None:
        """Starts it; where it is missing the test that asks is skipped, or fails."""

    @abstractmethod
    def start_again(self) -> None:
        """Starts it where it was, after `stop`."""

    @abstractmethod
    def stop(self) -> None: ...

    @abstractmethod
    def clear(self) -> None:
        """Deletes everything that a test left."""

    @abstractmethod
    def hanging(self) -> Any:
        """While this context lasts the server holds its connections and answers nothing."""

    # The world outside

    @abstractmethod
    def put(self, queue: str, *payloads: dict[str, Any]) -> list[str]:
        """Adds jobs; their ids."""

    @abstractmethod
    def take(self, queue: str, count: int) -> list[str]:
        """A worker takes jobs and is still busy with them; their ids."""

    @abstractmethod
    def work(self, queue: str) -> None:
        """Workers do or fail every job that waits, and end."""

    @abstractmethod
    def jobs(self, queue: str) -> dict[str, JobState]:
        """id -> state of the jobs that are there."""

    @abstractmethod
    def remove(self, ids: Sequence[str]) -> None:
        """Someone else deletes jobs."""

    @abstractmethod
    def footprint(self) -> Any:
        """All that workers could notice of an observer."""


def fail(rig: QueueRig, count: int, queue: str = QUEUE) -> list[str]:
    """So many jobs that failed for good; their ids."""
    ids = rig.put(queue, *({"fails": True, "number": number} for number in range(count)))
    rig.work(queue)
    return ids
