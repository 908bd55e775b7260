"""Consumer groups and their history."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.store import schema


def samples_since(connection: Connection, group_id: int, since_ms: int) -> Sequence[Any]:
    """The group's samples from then on, oldest first."""
    table = schema.group_sample
    return connection.execute(
        sa.select(table)
        .where(table.c.group_id == group_id, table.c.at_ms >= since_ms)
        .order_by(table.c.at_ms)
    ).all()
