"""Events out of the segments: by id, by filter, newest first."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.store import schema, segments
from eventwake.store.segments import hash64

NEWEST_SEGMENTS = 2
FEW_STREAMS = 32  # of a source, each of which is walked by its own index
TRACE_AT_MOST = 2_000  # events of one trace that are read; the page says when there are more


class EventRow(NamedTuple):
    """One event without its body. `ref` names it in this store, for links."""

    ref: str
    stream_id: int
    source: str
    stream: str
    position: str
    recorded_ms: int
    event_ms: int | None
    event_type: str | None
    event_id: str | None
    key: str | None
    producer: str | None
    correlation_id: str | None
    causation_id: str | None
    link: str
    flags: int
    size: int


class StoredBody(NamedTuple):
    """What is kept of an event's bytes, with its checksum."""

    body: bytes
    checksum: int
    partition: int


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events; None leaves a side open. Times are of the broker's record."""

    source: str | None = None
    stream_id: int | None = None
    event_type: str | None = None
    producer: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


class Page(NamedTuple):
    """Events newest first; `older` continues from here, None at the end."""

    events: list[EventRow]
    older: str | None


_REF = re.compile(r"([0-9]{1,9})-([0-9]{1,18})")
_OLDER = re.compile(r"(-?[0-9]{1,18})\.([0-9]{1,9}-[0-9]{1,18})")  # a record may be dated before 1970
_WITH_TIME = re.compile(r"([0-9]{1,18})-[0-9]{1,20}")  # a place that begins with the time of the record
_PLAIN = (
    "position", "recorded_ms", "event_ms", "event_type", "event_id", "key", "producer",
    "correlation_id", "causation_id", "link", "flags", "size",
)  # fmt: skip


def has_event_at(connection: Connection, stream_id: int, position: str) -> bool:
    """Whether the newest segments hold an event of the stream at a position."""
    ms = _WITH_TIME.fullmatch(position)
    for segment in segments.all_newest_first(connection)[:NEWEST_SEGMENTS]:
        events = segment.table.c
        recorded = [events.recorded_ms == int(ms[1])] if ms else []  # then the index leads straight to it
        wanted = (
            sa.select(events.id)
            .where(events.stream_id == stream_id, events.position == position, *recorded)
            .limit(1)
        )
        if connection.scalar(wanted) is not None:
            return True
    return False


def find(connection: Connection, text: str, limit: int = TRACE_AT_MOST) -> list[EventRow]:
    """Events whose id, correlation id, business key or place (`stream@position`) is this, newest first."""
    key = hash64(text)
    found = {row.ref: row for row in _at_place(connection, text, limit)}
    for segment in segments.that_may_hold(connection, key):
        events = segment.table.c
        for matches in (
            (events.id_hash == key,),
            (events.correlation_hash == key, events.correlation_id == text),
            (events.key_hash == key, events.key == text),
        ):
            rows = _rows(connection, segment, matches, limit)
            found |= {row.ref: row for row in rows if text in _names_of(row)}
        if len(found) >= limit:
            break
    return sorted(found.values(), key=_newest_first)[:limit]


def _at_place(connection: Connection, text: str, limit: int) -> list[EventRow]:
    """Events at `stream@position`, or `source/stream@position`, where a position begins with its time."""
    name, _, position = text.rpartition("@")
    ms = _WITH_TIME.fullmatch(position)
    if not name or not ms:
        return []
    stream, at = schema.stream.c, int(ms[1])
    ids = list(
        connection.scalars(
            sa.select(stream.id).where(sa.or_(stream.name == name, stream.source + "/" + stream.name == name))
        )
    )
    found: list[EventRow] = []
    for segment in segments.within(connection, at, at):
        events = segment.table.c
        matches = (events.stream_id.in_(ids), events.recorded_ms == at, events.position == position)
        found += _rows(connection, segment, matches, limit)
    return found


def _names_of(event: EventRow) -> tuple[str | None, ...]:
    return (event.event_id, event.correlation_id, event.key)


def trace(connection: Connection, correlation_id: str, limit: int = TRACE_AT_MOST) -> list[EventRow]:
    """The events of one correlation, oldest first."""
    key = hash64(correlation_id)
    found: list[EventRow] = []
    for segment in segments.that_may_hold(connection, key):
        events = segment.table.c
        matches = (events.correlation_hash == key, events.correlation_id == correlation_id)
        found += _rows(connection, segment, matches, limit - len(found))
        if len(found) >= limit:
            break
    return sorted(found, key=_newest_first, reverse=True)


def by_ref(connection: Connection, ref: str) -> EventRow | None:
    """The event of a link; None where retention took it or the link is no link."""
    segment = _segment_of(connection, ref)
    if segment is None:
        return None
    rows = _rows(connection, segment, [segment.table.c.id == _parse_ref(ref)[1]], 1)
    return rows[0] if rows else None


def body(connection: Connection, ref: str) -> StoredBody | None:
    """The kept bytes of an event."""
    segment = _segment_of(connection, ref)
    if segment is None:
        return None
    events = segment.table.c
    row = connection.execute(
        sa.select(events.body, events.checksum, events.partition).where(events.id == _parse_ref(ref)[1])
    ).first()
    return StoredBody(*row) if row else None


def page(connection: Connection, wanted: EventFilter, limit: int, older: str | None = None) -> Page:
    """A page of events by the broker's time, newest first; `older` is what the page before gave."""
    before = _parse_older(older)
    streams = _streams(connection, wanted)
    events: list[EventRow] = []
    for segment in segments.within(connection, wanted.since_ms, wanted.until_ms):
        full = len(events) > limit
        if full and segment.high_ms is not None and segment.high_ms < events[limit].recorded_ms:
            continue
        conditions = _conditions(segment, wanted)
        if before is not None:
            conditions += _after(segment, before)
        for of_streams in _walks(segment, wanted, streams):
            matches = [*conditions, *of_streams]
            events += _rows(connection, segment, matches, limit + 1, newest_first=True)
        events.sort(key=_newest_first)
    return Page(events[:limit], _older(events[limit - 1]) if len(events) > limit else None)


def _newest_first(event: EventRow) -> tuple[int, int, int]:
    segment, row = _parse_ref(event.ref)
    return (-event.recorded_ms, -segment, -row)


def _older(event: EventRow) -> str:
    return f"{event.recorded_ms}.{event.ref}"


def _parse_older(older: str | None) -> tuple[int, int, int] | None:
    match = _OLDER.fullmatch(older or "")
    return (int(match[1]), *_parse_ref(match[2])) if match else None


def _after(segment: segments.Segment, before: tuple[int, int, int]) -> list[sa.ColumnElement[bool]]:
    """Keyset: strictly older than the last row shown, by (time, segment, row)."""
    recorded_ms, number, row = before
    events = segment.table.c
    if segment.number > number:
        return [events.recorded_ms < recorded_ms]
    if segment.number < number:
        return [events.recorded_ms <= recorded_ms]
    same = sa.and_(events.recorded_ms == recorded_ms, events.id < row)
    return [events.recorded_ms <= recorded_ms, sa.or_(events.recorded_ms < recorded_ms, same)]


def _streams(connection: Connection, wanted: EventFilter) -> list[int] | None:
    """Ids of the streams that are looked through; None: all of them."""
    if wanted.source is None:
        return None if wanted.stream_id is None else [wanted.stream_id]
    ids = [i for i, (source, _) in _stream_names(connection).items() if source == wanted.source]
    return ids if wanted.stream_id is None else [i for i in ids if i == wanted.stream_id]


def _walks(
    segment: segments.Segment, wanted: EventFilter, streams: Sequence[int] | None
) -> list[list[sa.ColumnElement[bool]]]:
    """The streams in parts, each of which one index has in the order of time."""
    stream_id = segment.table.c.stream_id
    if streams is None:
        return [[]]
    if len(streams) == 1 or (len(streams) <= FEW_STREAMS and wanted.event_type is None):
        return [[stream_id == each] for each in streams]
    return [[(stream_id + 0).in_(streams)]]  # + 0: by time or type, not stream by stream


def _conditions(segment: segments.Segment, wanted: EventFilter) -> list[sa.ColumnElement[bool]]:
    events = segment.table.c
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.event_type is not None:
        conditions += [events.type_hash == hash64(wanted.event_type), events.event_type == wanted.event_type]
    if wanted.producer is not None:
        conditions.append(events.producer == wanted.producer)
    if wanted.since_ms is not None:
        conditions.append(events.recorded_ms >= wanted.since_ms)
    if wanted.until_ms is not None:
        conditions.append(events.recorded_ms < wanted.until_ms)
    return conditions


def _rows(
    connection: Connection,
    segment: segments.Segment,
    conditions: Sequence[sa.ColumnElement[bool]],
    limit: int,
    *,
    newest_first: bool = False,
) -> list[EventRow]:
    events = segment.table.c
    wanted = sa.select(events.id, events.stream_id, *(events[name] for name in _PLAIN)).where(*conditions)
    if newest_first:  # a look-up by hash must not be talked into walking the index of times
        wanted = wanted.order_by(events.recorded_ms.desc(), events.id.desc())
    rows = connection.execute(wanted.limit(limit)).all()
    names = _stream_names(connection) if rows else {}
    return [
        EventRow(f"{segment.number}-{row[0]}", row[1], *names.get(row[1], ("", "")), *row[2:]) for row in rows
    ]


def _stream_names(connection: Connection) -> dict[int, tuple[str, str]]:
    stream = schema.stream.c
    return {
        row.id: (row.source, row.name)
        for row in connection.execute(sa.select(stream.id, stream.source, stream.name))
    }


def _segment_of(connection: Connection, ref: str) -> segments.Segment | None:
    number = _parse_ref(ref)[0]
    return next((s for s in segments.all_newest_first(connection) if s.number == number), None)


def _parse_ref(ref: str) -> tuple[int, int]:
    """(segment, row) of a ref; (0, 0), which no event has, where it is none."""
    match = _REF.fullmatch(ref)
    return (int(match[1]), int(match[2])) if match else (0, 0)
