"""How many dead letters there are, and came: out of the kept counts, or of a window."""

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.domain.dead_letter import LetterState
from eventwake.store import schema
from eventwake.store.reads.letters import COUNT_AT_MOST


def totals(connection: Connection) -> dict[str, int]:
    """How many letters are in each state."""
    table = schema.letter_count.c
    rows = connection.execute(sa.select(table.state, sa.func.sum(table.letters)).group_by(table.state))
    return {row[0]: int(row[1]) for row in rows if row[1]}


def open_by_stream(connection: Connection) -> dict[int, int]:
    """Dead-letter stream id -> its open letters."""
    table = schema.letter_count.c
    rows = connection.execute(
        sa.select(table.stream_id, sa.func.sum(table.letters))
        .where(table.state == LetterState.OPEN.value)
        .group_by(table.stream_id)
    )
    return {row[0]: int(row[1]) for row in rows}


def mended(connection: Connection, since_ms: int, until_ms: int) -> dict[int, int]:
    """Dead-letter stream id -> letters whose retry was consumed within [since, until), if not for nothing.

    Each counts once, and one that came back since does not.
    """
    letter = schema.letter.c
    rows = connection.execute(
        sa.select(letter.stream_id, sa.func.count())
        .where(
            letter.state.in_((LetterState.CONSUMED.value, LetterState.SUCCEEDED.value)),
            letter.changed_ms >= since_ms,
            letter.changed_ms < until_ms,
        )
        .group_by(letter.stream_id)
    )
    return {row[0]: row[1] for row in rows}


class ArrivalRow(NamedTuple):
    """Letters that came within a window, by who gave them up and where they came from."""

    stream_id: int
    group_name: str | None
    origin_stream: str | None
    letters: int


def arrivals(
    connection: Connection, since_ms: int, until_ms: int, at_most: int = COUNT_AT_MOST
) -> list[ArrivalRow]:
    """Who gave up what within a window, from the newest `at_most` letters of it."""
    letter = schema.letter.c
    newest = (
        sa.select(letter.stream_id, letter.group_name, letter.origin_stream)
        .where(letter.arrived_ms >= since_ms, letter.arrived_ms < until_ms)
        .order_by(letter.arrived_ms.desc())
        .limit(at_most)
    ).subquery()
    columns = (newest.c.stream_id, newest.c.group_name, newest.c.origin_stream)
    rows = connection.execute(sa.select(*columns, sa.func.count()).group_by(*columns))
    return [ArrivalRow(*row) for row in rows]
