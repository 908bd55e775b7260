"""Sagas."""

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.domain.saga import SagaDefinition, SagaState
from eventwake.store import schema

UNFINISHED = (SagaState.RUNNING.value, SagaState.COMPENSATING.value)


class SagaRow(NamedTuple):
    name: str
    correlation_id: str
    state: str
    last_step: str
    key: str | None
    started_ms: int
    last_ms: int


def stuck(
    connection: Connection, definitions: Sequence[SagaDefinition], now_ms: int, limit: int
) -> list[SagaRow]:
    """Sagas that have not ended and have shown nothing for longer than they may, longest silent first."""
    table = schema.saga.c
    late = [
        sa.and_(table.name == d.name, table.last_ms < now_ms - int(d.stuck_after_s * 1000))
        for d in definitions
    ]
    if not late:
        return []
    rows = connection.execute(
        sa.select(*(table[name] for name in SagaRow._fields))
        .where(table.state.in_(UNFINISHED), sa.or_(*late))
        .order_by(table.last_ms)
        .limit(limit)
    )
    return [SagaRow(*row) for row in rows]


def of_correlation(connection: Connection, correlation_id: str) -> list[SagaRow]:
    """The sagas that a trace is part of."""
    table = schema.saga.c
    rows = connection.execute(
        sa.select(*(table[name] for name in SagaRow._fields)).where(table.correlation_id == correlation_id)
    )
    return [SagaRow(*row) for row in rows]


def counts(connection: Connection, since_ms: int, until_ms: int) -> dict[tuple[str, str], int]:
    """(saga, state) -> how many that were last seen within the window."""
    table = schema.saga.c
    rows = connection.execute(
        sa.select(table.name, table.state, sa.func.count())
        .where(table.last_ms >= since_ms, table.last_ms < until_ms)
        .group_by(table.name, table.state)
    )
    return {(row[0], row[1]): row[2] for row in rows}
