"""Events out of the segments."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.store import segments

NEWEST_SEGMENTS = 2


def has_event_at(connection: Connection, stream_id: int, position: str) -> bool:
    """Whether the newest segments hold an event of the stream at a position."""
    for segment in segments.all_newest_first(connection)[:NEWEST_SEGMENTS]:
        events = segment.table.c
        wanted = (
            sa.select(events.id).where(events.stream_id == stream_id, events.position == position).limit(1)
        )
        if connection.scalar(wanted) is not None:
            return True
    return False
