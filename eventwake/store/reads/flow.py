"""Who reacts to which stream, as learnt at ingest."""

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.store import schema


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
