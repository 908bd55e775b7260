"""Who reacts to which stream, as learnt at ingest, and where groups stood when a window began."""

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.store import schema
from eventwake.store.writes.events import SPANS_MS


class LinkRow(NamedTuple):
    cause_stream_id: int
    producer: str
    stream_id: int
    seen: int
    last_ms: int


def links(connection: Connection, since_ms: int) -> list[LinkRow]:
    """Reactions that were seen since then."""
    table = schema.flow_link.c
    rows = connection.execute(
        sa.select(*(table[name] for name in LinkRow._fields)).where(table.last_ms >= since_ms)
    )
    return [LinkRow(*row) for row in rows]


class Stand(NamedTuple):
    """How many events a group had passed at a time; None where that cannot be counted."""

    at_ms: int
    committed: int | None


def stands(connection: Connection, since_ms: int) -> dict[int, Stand]:
    """group id -> where its first sample from then on found it."""
    group, sample = schema.consumer_group.c, schema.group_sample
    own = sample.alias()
    first = (  # one step into each group's own history, however long the window is
        sa.select(sa.func.min(own.c.at_ms))
        .where(own.c.group_id == group.id, own.c.at_ms >= since_ms)
        .scalar_subquery()
    )
    rows = connection.execute(
        sa.select(group.id, sample.c.at_ms, sample.c.committed)
        .select_from(schema.consumer_group)
        .join(sample, sa.and_(sample.c.group_id == group.id, sample.c.at_ms == first))
        .where(group.gone_ms.is_(None))
    )
    return {row[0]: Stand(row[1], row[2]) for row in rows}


def known_since_ms(connection: Connection) -> int | None:
    """When the first event that is known was recorded, as finely as the rollups tell; None: there is none."""
    table = schema.event_rollup.c
    firsts: list[int | None] = [
        connection.scalar(sa.select(sa.func.min(table.bucket_ms)).where(table.span_ms == span))
        for span in SPANS_MS
    ]
    fine, coarse = firsts
    if fine is None or coarse is None:
        return coarse
    return fine if fine < coarse + SPANS_MS[1] else coarse  # the fine rollup is not kept for long
