"""Events into segments, with their rollups, sagas and flow links, in the transaction of their cursor."""

from collections.abc import Iterable, Sequence
from enum import IntFlag
from zlib import crc32

import sqlalchemy as sa
import xxhash
from sqlalchemy.engine import Connection

from eventwake.domain.envelope import Envelope, Record
from eventwake.store import schema, segments
from eventwake.store.session import insert_rows
from eventwake.store.upsert import add_up

SPANS_MS = (10_000, 600_000)  # the fine rollup draws the last hours, the coarse one months
KINDS_AT_MOST = 5_000  # (stream, type, producer) that one worker counts apart: strangers choose these names
OTHER = "(other)"
LINKS_A_BATCH = 20  # events of a batch whose cause is looked up to learn who reacts to which stream

COLUMNS = tuple(
    column.name for column in schema.event_table("event", sa.MetaData()).columns if column.name != "id"
)
EventRow = tuple[object, ...]
_ZERO = 1 << 63


class Flag(IntFlag):
    UNDECODABLE = 1
    CAPPED = 2  # the stored copy is cut; `size` is the whole event's
    MASKED = 4  # the stored copy has values replaced


def event_row(
    stream_id: int,
    stream: str,
    incarnation: int,
    record: Record,
    envelope: Envelope,
    body: bytes,
    flags: int,
    size: int,
) -> EventRow:
    """One row in the order of `COLUMNS`; `body` is what is kept of the original, `size` the whole of it.

    An event without an id is found by its place, `stream@position`.
    """
    digest = xxhash.xxh3_64_intdigest
    correlation, key = envelope.correlation_id, envelope.key
    return (
        stream_id,
        incarnation,
        record.partition,
        record.position,
        record.recorded_ms,
        envelope.timestamp_ms,
        envelope.event_type,
        envelope.event_id,
        key,
        envelope.producer,
        correlation,
        envelope.causation_id,
        envelope.link.value,
        flags,
        size,
        body,
        crc32(body),
        digest((envelope.event_id or f"{stream}@{record.position}").encode()) - _ZERO,
        digest(correlation.encode()) - _ZERO if correlation else None,
        digest(key.encode()) - _ZERO if key else None,
        digest((envelope.event_type or "").encode()) - _ZERO,
    )


Kind = tuple[int, str, str]  # stream id, event type, producer


class Counts:
    """Events of one batch, counted for the rollups whether or not they are kept.

    `kinds` is shared by the batches of a worker and bounds what it counts apart.
    """

    def __init__(self, kinds: set[Kind]) -> None:
        self._kinds = kinds
        self.sums: dict[tuple[int, Kind], list[int]] = {}

    def add(self, stream_id: int, record: Record, envelope: Envelope, size: int) -> None:
        kind = (stream_id, envelope.event_type or "", envelope.producer or "")
        if kind not in self._kinds:
            if len(self._kinds) >= KINDS_AT_MOST:
                kind = (stream_id, OTHER, OTHER)
            self._kinds.add(kind)
        at = (record.recorded_ms // SPANS_MS[0] * SPANS_MS[0], kind)
        sums = self.sums.get(at)
        if sums is None:
            sums = self.sums[at] = [0, 0, 0]
        sums[0] += 1
        sums[1] += size
        sums[2] += envelope.undecodable is not None


def roll_up(tx: Connection, counts: Iterable[Counts]) -> None:
    """Adds what was counted to the rollups of both spans."""
    rows: dict[tuple[object, ...], list[int]] = {}
    for batch in counts:
        for (bucket, kind), sums in batch.sums.items():
            for span in SPANS_MS:
                row = rows.setdefault((span, bucket // span * span, *kind), [0, 0, 0])
                for i, value in enumerate(sums):
                    row[i] += value
    names = [column.name for column in schema.event_rollup.columns]
    values = [dict(zip(names, (*key, *sums), strict=True)) for key, sums in rows.items()]
    add_up(tx, schema.event_rollup, values, "events", "bytes", "undecodable")


def append(tx: Connection, rows: Sequence[EventRow], segment_rows: int, now_ms: int) -> None:
    """Writes events into the open segment, making the next one where it is full."""
    if rows:
        insert_rows(tx, segments.open_for_writing(tx, segment_rows, now_ms), COLUMNS, list(rows))


_ID_HASH, _CAUSATION, _PRODUCER = (
    COLUMNS.index("id_hash"),
    COLUMNS.index("causation_id"),
    COLUMNS.index("producer"),
)


def learn_links(tx: Connection, stream_id: int, rows: Sequence[EventRow], now_ms: int) -> None:
    """Remembers whose events in this stream were caused by events in which other stream.

    A sample of each batch is enough: it is about who reacts to what, and rates come from the rollups.
    """
    step = max(1, len(rows) // LINKS_A_BATCH)
    sample = [
        (str(row[_PRODUCER]), str(row[_CAUSATION]))
        for row in rows[::step]
        if row[_CAUSATION] and row[_PRODUCER]
    ]
    if not sample:
        return
    producer_of = {segments.hash64(cause): producer for producer, cause in sample}
    found: dict[tuple[int, str], int] = {}
    for segment in segments.all_newest_first(tx)[:2]:
        events = segment.table.c
        causes = tx.execute(
            sa.select(events.id_hash, events.stream_id).where(events.id_hash.in_(list(producer_of)))
        )
        for id_hash, cause_stream in causes:
            place = (cause_stream, producer_of[id_hash])
            found[place] = found.get(place, 0) + 1
    add_up(
        tx,
        schema.flow_link,
        [
            {
                "cause_stream_id": cause,
                "producer": producer,
                "stream_id": stream_id,
                "seen": seen,
                "last_ms": now_ms,
            }
            for (cause, producer), seen in found.items()
        ],
        "seen",
        last_ms=now_ms,
    )
