"""Alerts: a row from pending to resolved."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.domain.alert import Alert, AlertState
from eventwake.domain.operation import Actor
from eventwake.settings import AlertRule
from eventwake.store import schema
from eventwake.store.reads.alerts import Subject


def save(
    tx: Connection, rule: AlertRule, subject: Subject, alert_id: int | None, alert: Alert, now_ms: int
) -> None:
    """Writes one evaluation. A pending alert that went away leaves no trace; one that fired stays."""
    table = schema.alert
    if alert.state in (AlertState.OK, AlertState.UNKNOWN):
        if alert_id is not None:
            tx.execute(sa.delete(table).where(table.c.id == alert_id))
        return
    row = {
        "state": alert.state.value,
        "since_ms": alert.since_ms,
        "value": alert.value,
        "above": rule.above,
        "evaluated_ms": now_ms,
    }
    if alert.state is AlertState.RESOLVED:
        row["resolved_ms"] = now_ms
        row.pop("value")
    if alert_id is None:
        fired = {"fired_ms": now_ms} if alert.state is AlertState.FIRING else {}
        who = {
            "rule": rule.name, "kind": rule.kind.value, "subject": subject.name,
            "source": subject.source, "matched": subject.matched,
        }  # fmt: skip
        tx.execute(sa.insert(table).values(**who, **row, **fired))
        return
    if alert.state is AlertState.FIRING:
        row["fired_ms"] = sa.func.coalesce(table.c.fired_ms, now_ms)
    tx.execute(sa.update(table).where(table.c.id == alert_id).values(**row))


def resolve(tx: Connection, alert_ids: Sequence[int], now_ms: int) -> None:
    """Ends alerts whose rule or subject is gone: pending ones vanish, firing ones are resolved."""
    table = schema.alert
    chosen = table.c.id.in_(list(alert_ids))
    tx.execute(sa.delete(table).where(chosen, table.c.state == AlertState.PENDING.value))
    tx.execute(
        sa.update(table)
        .where(chosen)
        .values(state=AlertState.RESOLVED.value, since_ms=now_ms, resolved_ms=now_ms)
    )


def acknowledge(tx: Connection, alert_id: int, actor: Actor, note: str, now_ms: int) -> bool:
    """Marks a firing alert as seen by someone; False where it is not firing any more."""
    table = schema.alert
    changed = tx.execute(
        sa.update(table)
        .where(table.c.id == alert_id, table.c.state == AlertState.FIRING.value)
        .values(acknowledged_by=actor.name, acknowledged_ms=now_ms, note=note)
    )
    return changed.rowcount > 0
