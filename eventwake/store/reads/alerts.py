"""Alerts, and what their rules measure."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.domain.alert import Alert, AlertKind, AlertState
from eventwake.store import schema

STALE_MS = 60_000  # an older sample says nothing of now
INFLOW_MS = 60_000  # dead letters count as new for this long


class Subject(NamedTuple):
    """Something that a rule can fire on. `value` None: it could not be measured."""

    name: str  # what a person reads
    source: str
    matched: str  # what a rule's `match` is compared with
    value: float | None


class Current(NamedTuple):
    id: int
    alert: Alert


def current(connection: Connection) -> dict[tuple[str, str], Current]:
    """(rule, subject) -> the alert that is pending or firing."""
    table = schema.alert.c
    rows = connection.execute(
        sa.select(table.id, table.rule, table.subject, table.state, table.since_ms, table.value).where(
            table.resolved_ms.is_(None)
        )
    )
    return {
        (row.rule, row.subject): Current(row.id, Alert(AlertState(row.state), row.since_ms, row.value))
        for row in rows
    }


def subjects(connection: Connection, kind: AlertKind, now_ms: int) -> list[Subject]:
    """Everything that rules of this kind look at, measured."""
    measure = {
        AlertKind.LAG: _lags,
        AlertKind.TIME_LAG: _lags,
        AlertKind.DEAD_LETTERS: _inflow,
        AlertKind.SOURCE_DOWN: _outages,
    }[kind]
    return list(measure(connection, kind, now_ms))


def _lags(connection: Connection, kind: AlertKind, now_ms: int) -> Iterator[Subject]:
    group, stream = schema.consumer_group.c, schema.stream.c
    rows = connection.execute(
        sa.select(
            stream.source,
            stream.name,
            group.name.label("group"),
            group.lag,
            group.time_lag_ms,
            group.sampled_ms,
        )
        .join(schema.stream, stream.id == group.stream_id)
        .where(group.gone_ms.is_(None))
    )
    for row in rows:
        value: Any = row.lag if kind is AlertKind.LAG else row.time_lag_ms
        if value is not None and kind is AlertKind.TIME_LAG:
            value /= 1000
        if now_ms - row.sampled_ms > STALE_MS:
            value = None
        yield Subject(f"{row.source}/{row.name} · {row.group}", row.source, f"{row.name}/{row.group}", value)


def _inflow(connection: Connection, _kind: AlertKind, now_ms: int) -> Iterator[Subject]:
    letter, stream = schema.letter.c, schema.stream.c
    new: dict[int, int] = dict(
        connection.execute(
            sa.select(letter.stream_id, sa.func.count())
            .where(letter.found_ms > now_ms - INFLOW_MS, letter.failed_ms > now_ms - INFLOW_MS)
            .group_by(letter.stream_id)
        ).all()
    )
    rows = connection.execute(
        sa.select(stream.id, stream.source, stream.name, schema.source.c.state)
        .join(schema.source, schema.source.c.name == stream.source)
        .where(stream.kind == "dead_letters", stream.gone_ms.is_(None))
    )
    for row in rows:
        value = float(new.get(row.id, 0)) if row.state == "up" else None
        yield Subject(f"{row.source}/{row.name}", row.source, row.name, value)


def _outages(connection: Connection, _kind: AlertKind, now_ms: int) -> Iterator[Subject]:
    source = schema.source.c
    for row in connection.execute(
        sa.select(source.name, source.state, source.since_ms).where(source.state != "removed")
    ):
        seconds = (now_ms - row.since_ms) / 1000 if row.state in ("down", "refused") else 0.0
        yield Subject(row.name, row.name, row.name, seconds)


class AlertRow(NamedTuple):
    id: int
    rule: str
    kind: str
    subject: str
    source: str
    matched: str
    state: str
    since_ms: int
    fired_ms: int | None
    resolved_ms: int | None
    value: float | None
    above: float
    evaluated_ms: int
    acknowledged_by: str | None
    acknowledged_ms: int | None
    note: str


def unresolved(connection: Connection) -> list[AlertRow]:
    """Firing alerts, then pending ones, the longest first."""
    table = schema.alert.c
    rows = connection.execute(
        sa.select(*(table[name] for name in AlertRow._fields))
        .where(table.resolved_ms.is_(None))
        .order_by(table.state, table.since_ms)
    )
    return [AlertRow(*row) for row in rows]


def fired_between(connection: Connection, since_ms: int, until_ms: int, limit: int) -> list[AlertRow]:
    """Alerts that fired within [since, until), over or not, the newest first."""
    table = schema.alert.c
    rows = connection.execute(
        sa.select(*(table[name] for name in AlertRow._fields))
        .where(table.fired_ms >= since_ms, table.fired_ms < until_ms)
        .order_by(table.fired_ms.desc())
        .limit(limit)
    )
    return [AlertRow(*row) for row in rows]


def past(connection: Connection, limit: int, since_ms: int = 0) -> list[AlertRow]:
    """Alerts that are over, the newest first."""
    table = schema.alert.c
    rows = connection.execute(
        sa.select(*(table[name] for name in AlertRow._fields))
        .where(table.resolved_ms >= since_ms)
        .order_by(table.resolved_ms.desc())
        .limit(limit)
    )
    return [AlertRow(*row) for row in rows]
