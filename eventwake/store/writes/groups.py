"""Consumer groups: their newest state, their history, their consumers and pending entries."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.store import schema
from eventwake.store.upsert import insert, upsert

ROLLUP_MS = 600_000


def known_groups(connection: Connection, source: str) -> dict[tuple[int, str], sa.Row[Any]]:
    """(stream id, name) -> the group's newest state, for groups that are not gone."""
    group, stream = schema.consumer_group, schema.stream
    rows = connection.execute(
        sa.select(group)
        .join(stream, stream.c.id == group.c.stream_id)
        .where(stream.c.source == source, group.c.gone_ms.is_(None))
    )
    return {(row.stream_id, row.name): row for row in rows}


def save_group(tx: Connection, row: Mapping[str, Any]) -> int:
    """Writes a group's newest state by (stream_id, name); its id."""
    statement = insert(tx, schema.consumer_group).values(**row)
    changed = {name: statement.excluded[name] for name in row if name not in ("stream_id", "name")}
    written: int = tx.execute(
        statement.on_conflict_do_update(
            index_elements=["stream_id", "name"], set_=changed | {"gone_ms": None}
        ).returning(schema.consumer_group.c.id)
    ).scalar_one()
    return written


def groups_gone(tx: Connection, group_ids: Sequence[int], now_ms: int) -> None:
    if group_ids:
        table = schema.consumer_group
        tx.execute(sa.update(table).where(table.c.id.in_(group_ids)).values(gone_ms=now_ms))


def save_samples(tx: Connection, samples: Sequence[Mapping[str, Any]]) -> None:
    """Adds to the history and its rollup."""
    upsert(tx, schema.group_sample, samples)
    table = schema.group_rollup
    statement = insert(tx, table)
    new = statement.excluded
    changed: dict[str, Any] = {
        "samples": table.c.samples + 1,
        "unknown": table.c.unknown + new.unknown,
        "lag_last": sa.func.coalesce(new.lag_last, table.c.lag_last),
    }
    for name in ("lag_max", "time_lag_max_ms", "pending_max"):
        greater = (table.c[name].is_(None)) | (new[name] > table.c[name])
        changed[name] = sa.case(
            (new[name].is_(None), table.c[name]), (greater, new[name]), else_=table.c[name]
        )
    if samples:
        tx.execute(
            statement.on_conflict_do_update(index_elements=["group_id", "bucket_ms"], set_=changed),
            [_rollup_row(sample) for sample in samples],
        )


def _rollup_row(sample: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "group_id": sample["group_id"],
        "bucket_ms": sample["at_ms"] // ROLLUP_MS * ROLLUP_MS,
        "samples": 1,
        "unknown": int(sample["lag"] is None),
        "lag_last": sample["lag"],
        "lag_max": sample["lag"],
        "time_lag_max_ms": sample["time_lag_ms"],
        "pending_max": sample["pending"],
    }


def replace_members(
    tx: Connection,
    group_ids: Sequence[int],
    consumers: Sequence[Mapping[str, Any]],
    pending: Sequence[Mapping[str, Any]],
) -> None:
    """The groups' consumers and oldest pending entries as they are now."""
    for table, rows in ((schema.consumer, consumers), (schema.pending_entry, pending)):
        tx.execute(sa.delete(table).where(table.c.group_id.in_(group_ids)))
        if rows:
            tx.execute(sa.insert(table), list(rows))
