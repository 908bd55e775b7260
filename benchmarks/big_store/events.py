"""A day of events in the store, by the writers that the sampler uses, in its batches."""

import random
from collections import Counter, defaultdict
from itertools import islice
from typing import NamedTuple

from benchmarks.big_store import shop
from benchmarks.big_store.shop import Event, Place
from collectors.sampler import ROWS_A_TRANSACTION
from eventwake.decoding import original
from eventwake.decoding.envelope import Decoder
from eventwake.domain.envelope import Envelope, Record
from eventwake.settings import Settings
from eventwake.store import maintenance
from eventwake.store.session import Connection, Store
from eventwake.store.writes import events, sagas

DAY_MS = 86_400_000
FAILS_AFTER_MS = 5_000
CHECKPOINT_AFTER = 25_000  # events; nothing else keeps the write-ahead log short while a store is built


class Letter(NamedTuple):
    """An entry of a dead-letter stream that is still to be added."""

    at_ms: int
    stream: str
    fields: list[bytes]


class Written(NamedTuple):
    """How many events each stream has had and the last one's time, and what was given up of them."""

    added: Counter[Place]
    last_ms: dict[Place, int]
    letters: dict[str, list[Letter]]  # by source, oldest first


class Writer:
    """Puts events into the store as they come."""

    def __init__(self, settings: Settings, store: Store, stream_ids: dict[Place, int]) -> None:
        self._store = store
        self._stream_ids = stream_ids
        self._segment_rows = settings.store.segment_rows
        self._decoder = Decoder(settings.source[0].business_keys)
        self._saga = settings.saga[0].definition()
        self._kinds: set[events.Kind] = set()
        self.added: Counter[Place] = Counter()

    def position(self, event: Event) -> str:
        return f"{event.at_ms}-{self.added[event.place]}"

    def write(self, batch: list[Event]) -> None:
        """One transaction; what the sampler would write had it read these."""
        counts = events.Counts(self._kinds)
        rows: dict[int, list[events.EventRow]] = defaultdict(list)
        steps: list[sagas.SagaEvent] = []
        for event in batch:
            stream_id = self._stream_ids[event.place]
            record = Record(self.position(event), event.at_ms, event.fields)
            self.added[event.place] += 1
            envelope, size = self._decoder.decode(record), original.size(record)
            counts.add(stream_id, record, envelope, size)
            steps += self._steps(envelope, record)
            body = original.pack(record)
            rows[stream_id].append(
                events.event_row(stream_id, event.place.stream, 0, record, envelope, body, 0, size)
            )
        with self._store.write() as tx:
            self._commit(tx, rows, counts, steps, batch[-1].at_ms)
        if self.added.total() % CHECKPOINT_AFTER < len(batch):
            maintenance.checkpoint(self._store)

    def _steps(self, envelope: Envelope, record: Record) -> list[sagas.SagaEvent]:
        event_type, correlation = envelope.event_type or "", envelope.correlation_id
        if event_type not in self._saga.types or not correlation:
            return []
        return [sagas.SagaEvent(correlation, event_type, envelope.key, record.recorded_ms)]

    def _commit(
        self,
        tx: Connection,
        rows: dict[int, list[events.EventRow]],
        counts: events.Counts,
        steps: list[sagas.SagaEvent],
        at_ms: int,
    ) -> None:
        for stream_id, own in rows.items():
            events.append(tx, own, self._segment_rows, at_ms)
            events.learn_links(tx, stream_id, own, at_ms)
        events.roll_up(tx, [counts])
        if steps:
            sagas.follow(tx, self._saga, steps)


def write(writer: Writer, rng: random.Random, now_ms: int, number: int, letters: int) -> Written:
    """About so many events of the last day, and so many of them given up."""
    life = shop.life(rng, now_ms - DAY_MS, now_ms, number)
    last_ms: dict[Place, int] = {}
    given_up: dict[str, list[Letter]] = {source: [] for source in shop.SOURCES}
    while batch := list(islice(life, ROWS_A_TRANSACTION)):
        for event in rng.sample(batch, round(len(batch) * letters / number)):
            failed_ms = event.at_ms + FAILS_AFTER_MS
            fields = shop.letter(rng, event, f"{event.at_ms}-0", failed_ms)
            given_up[event.place.source].append(Letter(failed_ms, event.place.stream + shop.DEAD, fields))
        writer.write(batch)
        last_ms |= {event.place: event.at_ms for event in batch}
    for own in given_up.values():
        own.sort(key=lambda letter: letter.at_ms)
    return Written(writer.added, last_ms, given_up)
