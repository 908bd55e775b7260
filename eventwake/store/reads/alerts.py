"""Alerts, and what their rules measure."""

from collections.abc import Iterator
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.domain.alert import Alert, AlertKind, AlertState
from eventwake.domain.lag import LagKind
from eventwake.store import schema

STALE_MS = 60_000  # an older sample says nothing of now
INFLOW_MS = 60_000  # dead letters count as new for this long
SILENT_MS = 15_000  # a worker marks a source that answers every 2 s; longer silence is no answer


class Subject(NamedTuple):
    """Something that a rule can fire on. `value` None: it could not be measured."""

    name: str  # what a person reads
    source: str
    matched: str  # what a rule's `match` is compared with
    value: float | None
    kind: LagKind = LagKind.KNOWN  # how far the value can be trusted


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
            group.lag_kind,
            group.time_lag_ms,
            group.time_lag_kind,
            group.sampled_ms,
        )
        .join(schema.stream, stream.id == group.stream_id)
        .join(schema.source, schema.source.c.name == stream.source)
        .where(group.gone_ms.is_(None), schema.source.c.state != "removed")
    )
    for row in rows:
        value: float | None = row.lag
        trust = row.lag_kind
        if kind is AlertKind.TIME_LAG:
            value = None if row.time_lag_ms is None else row.time_lag_ms / 1000
            trust = row.time_lag_kind
        if now_ms - row.sampled_ms > STALE_MS:
            value = None
        name, matched = f"{row.source}/{row.name} · {row.group}", f"{row.name}/{row.group}"
        yield Subject(name, row.source, matched, value, LagKind(trust))


def _inflow(connection: Connection, _kind: AlertKind, now_ms: int) -> Iterator[Subject]:
    letter, stream = schema.letter.c, schema.stream.c
    new: dict[int, int] = dict(
        connection.execute(
            sa.select(letter.stream_id, sa.func.count())
            .where(letter.arrived_ms > now_ms - INFLOW_MS)
            .group_by(letter.stream_id)
        ).all()
    )
    rows = connection.execute(
        sa.select(stream.id, stream.source, stream.name, schema.source.c.state)
        .join(schema.source, schema.source.c.name == stream.source)
        .where(stream.kind == "dead_letters", stream.gone_ms.is_(None), schema.source.c.state != "removed")
    )
    for row in rows:
        value = float(new.get(row.id, 0)) if row.state == "up" else None
        yield Subject(f"{row.source}/{row.name}", row.source, row.name, value)


def _outages(connection: Connection, _kind: AlertKind, now_ms: int) -> Iterator[Subject]:
    source = schema.source.c
    for row in connection.execute(
        sa.select(source.name, source.state, source.since_ms, source.checked_ms).where(
            source.state != "removed"
        )
    ):
        # a worker that is dead or hangs leaves the state as it was, and one that never came up "starting"
        quiet_ms = now_ms - row.checked_ms if row.state in ("up", "starting") else now_ms - row.since_ms
        if row.state in ("up", "starting") and quiet_ms <= SILENT_MS:
            quiet_ms = 0
        yield Subject(row.name, row.name, row.name, quiet_ms / 1000)


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
