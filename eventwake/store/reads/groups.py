"""Consumer groups: their newest state, members and history."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.store import schema


class GroupRow(NamedTuple):
    """A group on one stream as it was last seen."""

    id: int
    source: str
    stream_id: int
    stream: str
    name: str
    status: str
    rule: str
    position: str | None
    committed: int | None
    end: int | None
    lag_kind: str
    lag: int | None
    lag_reason: str
    time_lag_kind: str
    time_lag_ms: int | None
    time_lag_reason: str
    pending: int | None
    oldest_pending: str | None
    oldest_pending_idle_ms: int | None
    most_deliveries: int | None
    consumers: int | None
    moved_ms: int | None
    drain_per_s: float | None
    arrival_per_s: float | None
    skipped: int | None
    sampled_ms: int
    gone_ms: int | None


class ConsumerRow(NamedTuple):
    name: str
    pending: int
    idle_ms: int
    inactive_ms: int | None
    sampled_ms: int


class PendingRow(NamedTuple):
    position: str
    consumer: str
    idle_ms: int
    deliveries: int
    sampled_ms: int


class SampleRow(NamedTuple):
    at_ms: int
    position: str | None
    committed: int | None
    end: int | None
    lag_kind: str
    lag: int | None
    time_lag_ms: int | None
    pending: int | None
    oldest_pending: str | None


class RollupRow(NamedTuple):
    bucket_ms: int
    samples: int
    unknown: int
    lag_last: int | None
    lag_max: int | None
    time_lag_max_ms: int | None
    pending_max: int | None


def all_groups(connection: Connection, group_ids: Sequence[int] | None = None) -> list[GroupRow]:
    """Groups of watched sources that are not gone, or just these, gone or not."""
    group, stream, source = schema.consumer_group.c, schema.stream.c, schema.source.c
    named = {"source": stream.source, "stream": stream.name}
    columns = [named[name] if name in named else group[name] for name in GroupRow._fields]
    query = (
        sa.select(*columns)
        .select_from(schema.consumer_group)
        .join(schema.stream, stream.id == group.stream_id)
        .join(schema.source, source.name == stream.source)
        .order_by(stream.source, stream.name, group.name)
    )
    if group_ids is None:
        query = query.where(group.gone_ms.is_(None), source.state != "removed")
    else:
        query = query.where(group.id.in_(group_ids))
    return [GroupRow(*row) for row in connection.execute(query)]


def members(connection: Connection, group_id: int) -> tuple[list[ConsumerRow], list[PendingRow]]:
    """The group's consumers, and its oldest pending entries."""
    consumer, entry = schema.consumer.c, schema.pending_entry.c
    consumers = connection.execute(
        sa.select(*(consumer[name] for name in ConsumerRow._fields))
        .where(consumer.group_id == group_id)
        .order_by(consumer.name)
    )
    entries = connection.execute(
        sa.select(*(entry[name] for name in PendingRow._fields))
        .where(entry.group_id == group_id)
        .order_by(entry.idle_ms.desc(), entry.position)
    )
    return [ConsumerRow(*row) for row in consumers], [PendingRow(*row) for row in entries]


def samples_since(
    connection: Connection,
    group_id: int,
    since_ms: int,
    until_ms: int | None = None,
    limit: int | None = None,
) -> list[SampleRow]:
    """The group's samples from then on, oldest first."""
    table = schema.group_sample.c
    query = (
        sa.select(*(table[name] for name in SampleRow._fields))
        .where(table.group_id == group_id, table.at_ms >= since_ms)
        .order_by(table.at_ms)
    )
    if until_ms is not None:
        query = query.where(table.at_ms < until_ms)
    return [SampleRow(*row) for row in connection.execute(query.limit(limit))]


def samples_between(
    connection: Connection, group_ids: Sequence[int], since_ms: int, until_ms: int, limit: int
) -> dict[int, list[SampleRow]]:
    """group id -> its samples of [since, until), oldest first; at most `limit` of all of them."""
    table = schema.group_sample.c
    rows = connection.execute(
        sa.select(table.group_id, *(table[name] for name in SampleRow._fields))
        .where(table.group_id.in_(group_ids), table.at_ms >= since_ms, table.at_ms < until_ms)
        .order_by(table.group_id, table.at_ms)
        .limit(limit)
    )
    found: dict[int, list[SampleRow]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(SampleRow(*row[1:]))
    return found


def pending_of(connection: Connection, group_ids: Sequence[int]) -> dict[int, dict[str, PendingRow]]:
    """group id -> position -> the pending entry that was last seen there."""
    table = schema.pending_entry.c
    rows = connection.execute(
        sa.select(table.group_id, *(table[name] for name in PendingRow._fields)).where(
            table.group_id.in_(group_ids)
        )
    )
    found: dict[int, dict[str, PendingRow]] = {}
    for row in rows:
        found.setdefault(row[0], {})[row[1]] = PendingRow(*row[1:])
    return found


def rollups(connection: Connection, group_id: int, since_ms: int, until_ms: int) -> list[RollupRow]:
    """Ten-minute history of a group, oldest first."""
    table = schema.group_rollup.c
    rows = connection.execute(
        sa.select(*(table[name] for name in RollupRow._fields))
        .where(table.group_id == group_id, table.bucket_ms >= since_ms, table.bucket_ms < until_ms)
        .order_by(table.bucket_ms)
    )
    return [RollupRow(*row) for row in rows]


class WorstRow(NamedTuple):
    """The worst that ten-minute history knows of a group within a window."""

    group_id: int
    samples: int
    unknown: int
    lag_max: int | None
    time_lag_max_ms: int | None
    pending_max: int | None


def worst_between(connection: Connection, since_ms: int, until_ms: int) -> list[WorstRow]:
    """Every group with samples within [since, until), the longest waits first."""
    table = schema.group_rollup.c
    worst = sa.func.max(table.time_lag_max_ms)
    rows = connection.execute(
        sa.select(
            table.group_id,
            sa.func.sum(table.samples),
            sa.func.sum(table.unknown),
            sa.func.max(table.lag_max),
            worst,
            sa.func.max(table.pending_max),
        )
        .where(table.bucket_ms >= since_ms, table.bucket_ms < until_ms)
        .group_by(table.group_id)
        .order_by(worst.desc())
    )
    return [WorstRow(*row) for row in rows]


def trends(connection: Connection, since_ms: int, step_ms: int) -> dict[int, list[int | None]]:
    """group id -> the greatest lag in each step since its first sample, up to the newest of any group.

    None where none was known, or none was taken.
    """
    table = schema.group_sample.c
    bucket = table.at_ms // step_ms
    rows: Sequence[Any] = connection.execute(
        sa.select(table.group_id, bucket.label("bucket"), sa.func.max(table.lag))
        .where(
            table.group_id.in_(
                sa.select(schema.consumer_group.c.id).where(schema.consumer_group.c.gone_ms.is_(None))
            ),
            table.at_ms >= since_ms,
        )
        .group_by(table.group_id, "bucket")
        .order_by(table.group_id, "bucket")
    ).all()
    found: dict[int, dict[int, int | None]] = {}
    for group_id, step, lag in rows:
        found.setdefault(group_id, {})[step] = lag
    last = max((row[1] for row in rows), default=0)
    return {
        group_id: [lags.get(step) for step in range(min(lags), last + 1)] for group_id, lags in found.items()
    }
