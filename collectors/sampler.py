"""Reads new entries of every watched stream into the store: events, and dead letters.

The rows of a read and the cursors that cover them are one transaction of at most `ROWS_A_TRANSACTION` rows,
so that a kill at any moment neither loses nor doubles an event.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import xxhash

from collectors.brokers.base import Batch, Broker
from collectors.streams import DEAD_LETTERS, Part, Streams, Watched
from eventwake.clock import now_ms
from eventwake.decoding import original
from eventwake.decoding.envelope import Decoder
from eventwake.decoding.masking import Masker
from eventwake.domain.dead_letter import DeadLetter, Known
from eventwake.domain.envelope import Envelope, Record, without
from eventwake.settings import Saga, Source
from eventwake.store.session import Connection, Store
from eventwake.store.writes import events, letters, sagas, sources
from eventwake.store.writes.events import EventRow, Flag
from eventwake.store.writes.sources import CursorRow

log = logging.getLogger(__name__)

ROWS_A_TRANSACTION = 1_000  # at most 200 ms of the write lock, so that the dashboard never waits long
LETTERS_A_TRANSACTION = 200  # a letter takes several statements
BYTES_A_READ = 8_000_000  # of one exchange with the broker
STEP_S = 5.0  # of reading before other jobs have their turn
MEAN_KEEPS = 0.8  # weight of the past in the running mean of an entry's size


Mask = Callable[[Record], tuple[Record, bool]]


class _Wanted(NamedTuple):
    watched: Watched
    part: Part
    at_most: int

    @property
    def key(self) -> tuple[str, int]:
        return self.watched.name, self.part.seen.partition


@dataclass(slots=True)
class _Prepared:
    """One partition's batch, decoded and ready to be written."""

    watched: Watched
    part: Part
    batch: Batch
    counts: events.Counts
    rows: list[EventRow] = field(default_factory=list)
    new_letters: list[letters.NewLetter] = field(default_factory=list)
    saga_events: dict[int, list[sagas.SagaEvent]] = field(default_factory=dict)


class Sampler:
    """Reads one source."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        source: Source,
        streams: Streams,
        declared: Sequence[Saga],
        segment_rows: int,
    ) -> None:
        self._store = store
        self._broker = broker
        self._source = source
        self._streams = streams
        self._segment_rows = segment_rows
        self._decoder = Decoder(source.business_keys)
        self._masker = Masker(source.mask)
        self._kinds: set[events.Kind] = set()
        self._next: tuple[str, int] | None = None  # where the last step ended, midway through the streams
        self._more = False
        self._sagas = [saga.definition() for saga in declared]
        self._saga_of_type = {t: i for i, definition in enumerate(self._sagas) for t in definition.types}

    def step(self) -> bool:
        """Reads every stream once, a bounded batch each; whether any has more waiting.

        With many streams that takes several steps, each of about `STEP_S`: other jobs wait meanwhile.
        """
        ends = time.monotonic() + STEP_S
        for number, wanted in enumerate(self._reads()):
            if number and time.monotonic() >= ends:
                self._next = wanted[0].key
                return True
            self._broker.alive()
            prepared = [self._prepare(watched, part, batch) for watched, part, batch in self._read(wanted)]
            for transaction in _transactions(prepared):
                self._write(transaction)
            self._more |= any(p.batch.more for p in prepared)
        more, self._more, self._next = self._more, False, None
        return more

    def _reads(self) -> Iterator[list[_Wanted]]:
        """The partitions with how many entries to ask of each, in exchanges of about `BYTES_A_READ`."""
        wanted: list[_Wanted] = []
        room = float(BYTES_A_READ)
        for watched, part in self._in_turn():
            most = LETTERS_A_TRANSACTION if watched.kind == DEAD_LETTERS else ROWS_A_TRANSACTION
            count = max(1, min(most, int(BYTES_A_READ / watched.mean_bytes)))
            if wanted and room < count * watched.mean_bytes:
                yield wanted
                wanted, room = [], float(BYTES_A_READ)
            wanted.append(_Wanted(watched, part, count))
            room -= count * watched.mean_bytes
        if wanted:
            yield wanted

    def _in_turn(self) -> list[tuple[Watched, Part]]:
        """All partitions that the last step did not come to; all, where it came to all."""
        parts = [(w, part) for w in self._streams.watched.values() for part in w.parts.values()]
        keys = [(w.name, part.seen.partition) for w, part in parts]
        return parts[keys.index(self._next) if self._next in keys else 0 :]

    def _read(self, wanted: Sequence[_Wanted]) -> Iterator[tuple[Watched, Part, Batch]]:
        asked = []
        for watched, part, at_most in wanted:
            if watched.kind != DEAD_LETTERS and (part.unread or 0) > self._source.max_backlog:
                log.warning("stream %s: too far behind, skipping to its newest event", watched.name)
                yield watched, part, self._broker.skip_to_newest(part.seen, part.cursor)
            else:
                asked.append((part.seen, part.cursor, at_most))
        for batch in self._broker.read(asked):
            watched = self._streams.watched[batch.stream]
            yield watched, watched.parts[batch.cursor.partition], batch

    def _prepare(self, watched: Watched, part: Part, batch: Batch) -> _Prepared:
        prepared = _Prepared(watched, part, batch, events.Counts(self._kinds))
        take = self._take_letter if watched.kind == DEAD_LETTERS else self._take_event
        total = 0
        unread: list[str] = []
        for record in batch.records:
            try:
                total += take(prepared, record)
            except Exception as error:  # whatever a stranger wrote, the source goes on behind it
                if not unread:
                    log.exception("stream %s: %s cannot be read", watched.name, record.position)
                unread.append(record.position)
                total += self._take_unread(prepared, record, error)
        if unread:
            log.warning(
                "stream %s: kept without being read: %d, up to %s", watched.name, len(unread), unread[-1]
            )
        if batch.records:
            mean = total / len(batch.records)
            watched.mean_bytes = MEAN_KEEPS * watched.mean_bytes + (1 - MEAN_KEEPS) * max(mean, 1)
        return prepared

    def _take_event(self, prepared: _Prepared, record: Record) -> int:
        envelope = self._decoder.decode(record)
        size = self._keep_event(prepared, record, envelope, self._masker.masked)
        if (
            saga := self._saga_of_type.get(envelope.event_type or "")
        ) is not None and envelope.correlation_id:
            step = sagas.SagaEvent(
                envelope.correlation_id, envelope.event_type or "", envelope.key, record.recorded_ms
            )
            prepared.saga_events.setdefault(saga, []).append(step)
        return size

    def _take_letter(self, prepared: _Prepared, record: Record) -> int:
        letter = self._broker.read_letter(record, prepared.watched.name)
        envelope = self._decoder.decode(record._replace(fields=without(record.fields, letter.own_fields)))
        return self._keep_letter(prepared, record, envelope, letter, self._masker.masked)

    def _take_unread(self, prepared: _Prepared, record: Record, error: Exception) -> int:
        """What a fault of ours cannot read is kept and marked, all of it masked where anything is to be."""
        envelope = Envelope(undecodable=f"it cannot be read: {error!r}")
        if prepared.watched.kind != DEAD_LETTERS:
            return self._keep_event(prepared, record, envelope, self._masker.hidden)
        how = {"origin_stream": Known.UNKNOWN, "failed": Known.BROKER_TIME}
        letter = DeadLetter("none: it cannot be read", failed_ms=record.recorded_ms, how=how)
        return self._keep_letter(prepared, record, envelope, letter, self._masker.hidden)

    def _keep_event(self, prepared: _Prepared, record: Record, envelope: Envelope, mask: Mask) -> int:
        watched, size = prepared.watched, original.size(record)
        if self._is_sampled(envelope, record):
            flags = Flag.UNDECODABLE if envelope.undecodable else Flag(0)
            record, masked = mask(record)
            if masked:
                flags |= Flag.MASKED
            if size > self._source.payload_cap_bytes:
                flags |= Flag.CAPPED
                record = original.capped(record, self._source.payload_cap_bytes)
            body = original.pack(record)
            incarnation = prepared.batch.cursor.incarnation
            prepared.rows.append(
                events.event_row(
                    watched.id, watched.name, incarnation, record, envelope, body, int(flags), size
                )
            )
        prepared.counts.add(watched.id, record, envelope, size)
        return size

    def _keep_letter(
        self, prepared: _Prepared, record: Record, envelope: Envelope, letter: DeadLetter, mask: Mask
    ) -> int:
        size = original.size(record)
        flags = Flag.UNDECODABLE if envelope.undecodable else Flag(0)
        if self._source.mask_letters:
            record, masked = mask(record)
            flags |= Flag.MASKED if masked else Flag(0)
        body = original.pack(record)
        prepared.new_letters.append(letters.NewLetter(record, envelope, letter, body, size, int(flags)))
        return size

    def _is_sampled(self, envelope: Envelope, record: Record) -> bool:
        """Whole traces are kept or left, by the hash of what joins them."""
        if self._source.sample_rate >= 1:
            return True
        trace = envelope.correlation_id or envelope.event_id or record.position
        return xxhash.xxh32_intdigest(trace.encode()) < self._source.sample_rate * 2**32

    def _write(self, prepared: Sequence[_Prepared]) -> None:
        changed = [p for p in prepared if p.batch.cursor != p.part.cursor or p.batch.gap]
        if changed:
            at_ms = now_ms()
            with self._store.write() as tx:
                for p in changed:
                    self._write_one(tx, p, at_ms)
                events.roll_up(tx, [p.counts for p in changed])
                for i, definition in enumerate(self._sagas):
                    seen = [event for p in changed for event in p.saga_events.get(i, ())]
                    if seen:
                        sagas.follow(tx, definition, seen)
        for p in prepared:  # only what is committed counts as read
            p.part.cursor = p.batch.cursor
            p.part.unread = p.batch.unread

    def _write_one(self, tx: Connection, prepared: _Prepared, at_ms: int) -> None:
        stream_id, batch = prepared.watched.id, prepared.batch
        cursor, gap = batch.cursor, batch.gap
        events.append(tx, prepared.rows, self._segment_rows, at_ms)
        events.learn_links(tx, stream_id, prepared.rows, at_ms)
        just_came = prepared.watched.is_young or prepared.part.unread == 0
        letters.add(
            tx, self._source.name, stream_id, cursor.incarnation, prepared.new_letters, at_ms,
            just_came=just_came,
        )  # fmt: skip
        sources.save_cursor(tx, stream_id, CursorRow(*prepared.part.cursor), CursorRow(*cursor), at_ms)
        if gap:
            places = (gap.after_position, gap.before_position)
            sources.add_gap(tx, stream_id, cursor.incarnation, places, gap.missed, gap.reason, at_ms)
            log.warning("stream %s: %s events %s", prepared.watched.name, gap.missed or "some", gap.reason)


def _transactions(prepared: Sequence[_Prepared]) -> Iterator[list[_Prepared]]:
    """The batches in groups of at most `ROWS_A_TRANSACTION` records; one batch is never more."""
    group: list[_Prepared] = []
    records = 0
    for p in prepared:
        if group and records + len(p.batch.records) > ROWS_A_TRANSACTION:
            yield group
            group, records = [], 0
        group.append(p)
        records += len(p.batch.records)
    if group:
        yield group
