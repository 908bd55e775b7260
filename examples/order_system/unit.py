"""Publishing events: always in one MULTI with whatever else is to be true at the same time."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import redis
from redis.client import Pipeline

from examples.order_system.envelope import SCHEMA_VERSION, Cause, Data, Event, make, to_fields
from examples.order_system.faults import Faults
from examples.order_system.settings import Settings


class Unit:
    """One unit of work: what is written through it happens together or not at all.

    `watch` first what the work depends on, then read it, then write: when somebody else changes it in
    between, committing raises redis.WatchError and nothing was written.
    """

    def __init__(self, pipe: Pipeline, publisher: "Publisher", cause: Cause | None = None) -> None:
        self._pipe = pipe
        self._publisher = publisher
        self._cause = cause

    def watch(self, *keys: str) -> None:
        self._pipe.watch(*keys)

    @property
    def write(self) -> Pipeline:
        """Where commands wait for the commit."""
        if not self._pipe.explicit_transaction:
            self._pipe.multi()
        return self._pipe

    def publish(
        self,
        stream: str,
        event_type: str,
        data: Data,
        cause: Cause | None = None,
        schema_version: int = SCHEMA_VERSION,
    ) -> Event:
        """Adds an event, caused by the one being handled unless `cause` says otherwise."""
        event = make(event_type, data, self._publisher.producer, cause or self._cause, schema_version)
        self._publisher.add(self.write, stream, to_fields(event))
        return event

    def publish_raw(self, stream: str, fields: dict[str, str]) -> None:
        """Adds fields as they are: for what no envelope would allow."""
        self._publisher.add(self.write, stream, fields)


def append(pipe: Pipeline, stream: str, fields: Mapping[Any, Any], maxlen: int) -> None:
    """Adds an entry and trims the stream to about `maxlen` of them."""
    pipe.xadd(stream, dict(fields), maxlen=maxlen, approximate=True)


class Publisher:
    """Adds the events of one service to streams, some of them twice, as brokers and retries do."""

    def __init__(
        self, client: redis.Redis, producer: str, settings: Settings, faults: Faults, rng: random.Random
    ) -> None:
        self.producer = producer
        self._client = client
        self._settings = settings
        self._faults = faults
        self._rng = rng

    def add(self, pipe: Pipeline, stream: str, fields: dict[str, str]) -> None:
        twice = self._rng.random() < self._faults.value("duplicates", self._settings.duplicates)
        for _ in range(2 if twice else 1):
            append(pipe, stream, fields, self._settings.maxlen)

    @contextmanager
    def unit(self) -> Iterator[Unit]:
        """A unit of work that no event started (a timer did); committed at the end of the block."""
        with self._client.pipeline(transaction=True) as pipe:
            unit = Unit(pipe, self)
            yield unit
            unit.write.execute()
