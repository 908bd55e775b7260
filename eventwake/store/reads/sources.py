"""Sources, workers and streams."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.store import schema


def heartbeats(connection: Connection) -> dict[tuple[str, str], int]:
    """(source, role) -> the worker's last sign of life, in ms."""
    worker = schema.worker.c
    rows = connection.execute(sa.select(worker.source, worker.role, worker.heartbeat_ms))
    return {(row.source, row.role): row.heartbeat_ms for row in rows}
