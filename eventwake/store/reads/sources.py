"""Sources, workers, streams and gaps."""

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.store import schema


class SourceRow(NamedTuple):
    name: str
    kind: str
    state: str
    since_ms: int
    detail: str
    server: str
    writable: bool
    checked_ms: int


class WorkerRow(NamedTuple):
    source: str
    role: str
    state: str
    since_ms: int
    heartbeat_ms: int
    detail: str


class StreamRow(NamedTuple):
    id: int
    source: str
    name: str
    kind: str
    length: int | None
    added: int | None
    unread: int | None
    missed: int
    sampled_ms: int | None
    gone_ms: int | None


class GapRow(NamedTuple):
    source: str
    stream: str
    after_position: str
    before_position: str
    missed: int | None
    reason: str
    at_ms: int


def heartbeats(connection: Connection) -> dict[tuple[str, str], int]:
    """(source, role) -> the worker's last sign of life, in ms."""
    return {(row.source, row.role): row.heartbeat_ms for row in workers(connection)}


def all_sources(connection: Connection) -> list[SourceRow]:
    """Every source of the settings, by name."""
    table = schema.source.c
    columns = (table[name] for name in SourceRow._fields)
    rows = connection.execute(sa.select(*columns).where(table.state != "removed").order_by(table.name))
    return [SourceRow(*row) for row in rows]


def workers(connection: Connection) -> list[WorkerRow]:
    table = schema.worker.c
    rows = connection.execute(sa.select(*(table[name] for name in WorkerRow._fields)))
    return [WorkerRow(*row) for row in rows]


def streams(connection: Connection, source: str | None = None) -> list[StreamRow]:
    """Streams of sources that are still watched, also those that the broker no longer has."""
    table = schema.stream.c
    wanted = (
        sa.select(*(table[name] for name in StreamRow._fields))
        .join(schema.source, schema.source.c.name == table.source)
        .where(schema.source.c.state != "removed")
        .order_by(table.source, table.name)
    )
    if source is not None:
        wanted = wanted.where(table.source == source)
    return [StreamRow(*row) for row in connection.execute(wanted)]


def gaps_between(connection: Connection, since_ms: int, until_ms: int, limit: int) -> Sequence[GapRow]:
    """Events that were never read, as was noticed within [since, until), newest first."""
    gap, stream = schema.gap.c, schema.stream.c
    rows = connection.execute(
        sa.select(
            stream.source,
            stream.name,
            gap.after_position,
            gap.before_position,
            gap.missed,
            gap.reason,
            gap.at_ms,
        )
        .join(schema.stream, stream.id == gap.stream_id)
        .where(gap.at_ms >= since_ms, gap.at_ms < until_ms)
        .order_by(gap.at_ms.desc())
        .limit(limit)
    )
    return [GapRow(*row) for row in rows]


class Missed(NamedTuple):
    """All gaps of a window: how many, how many of them could be counted, and the events of those."""

    gaps: int
    counted: int
    events: int


def missed_between(connection: Connection, since_ms: int, until_ms: int) -> Missed:
    """The sum over the gaps that were noticed within [since, until)."""
    gap = schema.gap.c
    row = connection.execute(
        sa.select(sa.func.count(), sa.func.count(gap.missed), sa.func.sum(gap.missed)).where(
            gap.at_ms >= since_ms, gap.at_ms < until_ms
        )
    ).one()
    return Missed(row[0], row[1], int(row[2] or 0))
