"""Sagas as their events show them, kept up at ingest."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.domain.saga import SagaDefinition, SagaState, state_after
from eventwake.store import locks, schema
from eventwake.store.locks import Lock
from eventwake.store.upsert import upsert


class SagaEvent(NamedTuple):
    """One event of a declared saga's types."""

    correlation_id: str
    event_type: str
    key: str | None
    at_ms: int


def follow(tx: Connection, definition: SagaDefinition, events: Sequence[SagaEvent]) -> None:
    """Moves each saga that the events belong to.

    Streams are read one after another, so a saga may first be seen in its middle, or its end first.
    """
    locks.alone(tx, Lock.SAGAS)
    table = schema.saga
    ids = sorted({event.correlation_id for event in events})
    known = sa.select(table).where(table.c.name == definition.name, table.c.correlation_id.in_(ids))
    sagas: dict[str, dict[str, Any]] = {row.correlation_id: row._asdict() for row in tx.execute(known)}
    for event in sorted(events, key=lambda e: e.at_ms):
        saga = sagas.setdefault(event.correlation_id, _begun(definition, event))
        before = SagaState(saga["state"])
        saga["started_ms"] = min(saga["started_ms"], event.at_ms)
        saga["key"] = saga["key"] or event.key
        if before in (SagaState.COMPLETED, SagaState.COMPENSATED):
            continue
        saga["state"] = state_after(definition, before, event.event_type).value
        if event.at_ms >= saga["last_ms"]:
            saga["last_step"], saga["last_ms"] = event.event_type, event.at_ms
    upsert(tx, table, list(sagas.values()))


def _begun(definition: SagaDefinition, event: SagaEvent) -> dict[str, Any]:
    return {
        "name": definition.name,
        "correlation_id": event.correlation_id,
        "state": SagaState.RUNNING.value,
        "last_step": event.event_type,
        "key": event.key,
        "started_ms": event.at_ms,
        "last_ms": event.at_ms,
    }
