"""Counts and rates out of the rollups: no page scans events."""

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.store import schema
from eventwake.store.writes.events import SPANS_MS

FINE_MS, COARSE_MS = SPANS_MS
FINE_UP_TO_MS = 3 * 3_600_000  # longer windows read the coarse rollup


class Flow(NamedTuple):
    """Events of one type that one producer put into one stream within a window."""

    stream_id: int
    event_type: str
    producer: str
    events: int
    bytes: int
    undecodable: int


class Point(NamedTuple):
    at_ms: int
    value: int


def span_for(window_ms: int, since_ms: int, now_ms: int) -> int:
    """The bucket width that serves a window: fine for what is short and recent."""
    recent = since_ms >= now_ms - FINE_UP_TO_MS - COARSE_MS
    return FINE_MS if window_ms <= FINE_UP_TO_MS and recent else COARSE_MS


def flows(connection: Connection, since_ms: int, until_ms: int, span_ms: int) -> list[Flow]:
    """Who published how much of what, whole buckets of [since, until)."""
    table = schema.event_rollup.c
    rows = connection.execute(
        sa.select(
            table.stream_id,
            table.event_type,
            table.producer,
            sa.func.sum(table.events),
            sa.func.sum(table.bytes),
            sa.func.sum(table.undecodable),
        )
        .where(table.span_ms == span_ms, table.bucket_ms >= since_ms, table.bucket_ms < until_ms)
        .group_by(table.stream_id, table.event_type, table.producer)
    )
    return [Flow(*row) for row in rows]


def event_series(
    connection: Connection, since_ms: int, until_ms: int, span_ms: int, stream_id: int | None = None
) -> list[Point]:
    """Events a bucket, oldest first; a bucket without events has no point."""
    table = schema.event_rollup.c
    wanted = (
        sa.select(table.bucket_ms, sa.func.sum(table.events))
        .where(table.span_ms == span_ms, table.bucket_ms >= since_ms, table.bucket_ms < until_ms)
        .group_by(table.bucket_ms)
        .order_by(table.bucket_ms)
    )
    if stream_id is not None:
        wanted = wanted.where(table.stream_id == stream_id)
    return [Point(*row) for row in connection.execute(wanted)]


def event_types(connection: Connection, since_ms: int) -> list[str]:
    """Types seen since then, by name."""
    table = schema.event_rollup.c
    rows = connection.scalars(
        sa.select(table.event_type)
        .where(table.span_ms == COARSE_MS, table.bucket_ms >= since_ms - COARSE_MS)
        .distinct()
        .order_by(table.event_type)
    )
    return [row for row in rows if row]


def letter_flows(connection: Connection, since_ms: int, until_ms: int) -> dict[tuple[int, str], int]:
    """(dead-letter stream id, state) -> letters that entered it within [since, until), whole minutes."""
    table = schema.letter_rollup.c
    rows = connection.execute(
        sa.select(table.stream_id, table.state, sa.func.sum(table.letters))
        .where(table.bucket_ms >= since_ms, table.bucket_ms < until_ms)
        .group_by(table.stream_id, table.state)
    )
    return {(row[0], row[1]): int(row[2]) for row in rows}


def letter_series(
    connection: Connection, since_ms: int, until_ms: int, state: str, stream_id: int | None = None
) -> list[Point]:
    """Letters that entered a state, by minute, oldest first ("open": arrivals)."""
    table = schema.letter_rollup.c
    wanted = (
        sa.select(table.bucket_ms, sa.func.sum(table.letters))
        .where(table.bucket_ms >= since_ms, table.bucket_ms < until_ms, table.state == state)
        .group_by(table.bucket_ms)
        .order_by(table.bucket_ms)
    )
    if stream_id is not None:
        wanted = wanted.where(table.stream_id == stream_id)
    return [Point(*row) for row in connection.execute(wanted)]
