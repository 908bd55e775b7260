"""Operations and the audit log."""

from collections import Counter
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.domain.operation import ItemState
from eventwake.store import schema


class OperationRow(NamedTuple):
    id: int
    kind: str
    source: str
    actor: str
    reason: str
    state: str
    items: int
    created_ms: int
    started_ms: int | None
    finished_ms: int | None
    detail: str


class ItemRow(NamedTuple):
    letter_id: int
    attempt: int
    state: str
    target: str | None
    sent_position: str | None
    detail: str
    changed_ms: int


class AuditRow(NamedTuple):
    id: int
    at_ms: int
    actor: str
    origin: str
    act: str
    object: str
    detail: str


def newest(connection: Connection, limit: int) -> list[OperationRow]:
    table = schema.command.c
    rows = connection.execute(
        sa.select(*(table[name] for name in OperationRow._fields)).order_by(table.id.desc()).limit(limit)
    )
    return [OperationRow(*row) for row in rows]


def between(connection: Connection, since_ms: int, until_ms: int, limit: int) -> list[OperationRow]:
    """Operations that were asked for within [since, until), the newest first."""
    table = schema.command.c
    rows = connection.execute(
        sa.select(*(table[name] for name in OperationRow._fields))
        .where(table.created_ms >= since_ms, table.created_ms < until_ms)
        .order_by(table.id.desc())
        .limit(limit)
    )
    return [OperationRow(*row) for row in rows]


def one(connection: Connection, command_id: int) -> OperationRow | None:
    if not 0 < command_id < 2**63:
        return None
    table = schema.command.c
    row = connection.execute(
        sa.select(*(table[name] for name in OperationRow._fields)).where(table.id == command_id)
    ).first()
    return OperationRow(*row) if row else None


def progress(connection: Connection, command_id: int) -> dict[str, int]:
    """How many of the operation's letters are in each item state."""
    table = schema.command_item.c
    rows = connection.execute(
        sa.select(table.state, sa.func.count()).where(table.command_id == command_id).group_by(table.state)
    )
    return {row[0]: row[1] for row in rows}


def outcomes(connection: Connection, command_id: int) -> dict[str, int]:
    """How many of the operation's letters are in each letter state now.

    Nearly all of them are still its own, and an index counts those; others have had a later operation since.
    """
    item, letter = schema.command_item.c, schema.letter.c
    by = (letter.command_id, letter.state)  # in an index, which is read in this order
    counted = sa.select(*by, sa.func.count()).group_by(*by)
    found: Counter[str] = Counter()
    for _, state, number in connection.execute(counted.where(letter.command_id == command_id)):
        found[state] += number
    had = (item.command_id == command_id, item.state != ItemState.LOST_RACE.value)
    items = connection.scalar(sa.select(sa.func.count()).select_from(schema.command_item).where(*had))
    if found.total() != items:
        ours = sa.exists().where(*had, item.letter_id == letter.id)
        for _, state, number in connection.execute(counted.where(letter.command_id > command_id, ours)):
            found[state] += number
    return dict(found)


def items(connection: Connection, command_id: int, limit: int) -> list[ItemRow]:
    """The operation's letters, those that need a person first."""
    table = schema.command_item.c
    attention = sa.case((table.state.in_(("unknown", "refused", "gone")), 0), else_=1)
    rows = connection.execute(
        sa.select(*(table[name] for name in ItemRow._fields))
        .where(table.command_id == command_id)
        .order_by(attention, table.letter_id)
        .limit(limit)
    )
    return [ItemRow(*row) for row in rows]


def audit_between(connection: Connection, since_ms: int, until_ms: int, limit: int) -> list[AuditRow]:
    """Who did what, oldest first."""
    table = schema.audit.c
    rows = connection.execute(
        sa.select(*(table[name] for name in AuditRow._fields))
        .where(table.at_ms >= since_ms, table.at_ms < until_ms)
        .order_by(table.id)
        .limit(limit)
    )
    return [AuditRow(*row) for row in rows]
