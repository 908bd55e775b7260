"""Sources, workers, streams, cursors and gaps: what is watched and how far."""

import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.domain.errors import Conflict
from eventwake.store import schema
from eventwake.store.upsert import insert

SAME_GAP_MS = 3_600_000  # uncountable gaps within an hour are one row that grows


class CursorRow(NamedTuple):
    """How far one partition has been read."""

    position: str
    read_count: int | None
    incarnation: int
    partition: int
    identity: str


class StreamRow(NamedTuple):
    """A watched stream as the store knows it, with a cursor for each partition that was read before."""

    id: int
    name: str
    kind: str
    first_position: str | None  # as it was last seen
    cursors: list[CursorRow]


def register_source(
    tx: Connection, name: str, kind: str, writable: bool, capabilities: str, now_ms: int
) -> None:
    """Makes the source known, keeping the state that an earlier run left."""
    statement = insert(tx, schema.source).values(
        name=name,
        kind=kind,
        state="starting",
        since_ms=now_ms,
        writable=writable,
        capabilities=capabilities,
        checked_ms=now_ms,
    )
    settled = {"kind": kind, "writable": writable, "capabilities": capabilities}
    tx.execute(statement.on_conflict_do_update(index_elements=["name"], set_=settled))


def forget_sources(tx: Connection, but: Iterable[str], now_ms: int) -> None:
    """Marks the sources that the settings no longer name; their history stays."""
    table = schema.source
    tx.execute(
        sa.update(table)
        .where(table.c.name.not_in(list(but)), table.c.state != "removed")
        .values(state="removed", since_ms=now_ms, detail="no longer in the settings")
    )
    tx.execute(sa.delete(schema.worker).where(schema.worker.c.source.not_in(["", *but])))


def source_state(
    tx: Connection, name: str, state: str, now_ms: int, *, detail: str = "", **more: str | None
) -> None:
    """Records how the source is; `since_ms` moves only when the state changes."""
    table = schema.source
    since = sa.case((table.c.state == state, table.c.since_ms), else_=now_ms)
    tx.execute(
        sa.update(table)
        .where(table.c.name == name)
        .values(state=state, since_ms=since, detail=detail, checked_ms=now_ms, **more)
    )


def heartbeat(tx: Connection, source: str, role: str, state: str, now_ms: int, detail: str = "") -> None:
    """A worker's sign of life; `source` is "" for the collectors' own workers."""
    table = schema.worker
    row: dict[str, Any] = {
        "source": source,
        "role": role,
        "pid": os.getpid(),
        "host": platform.node(),
        "state": state,
        "since_ms": now_ms,
        "heartbeat_ms": now_ms,
        "detail": detail,
    }
    statement = insert(tx, table).values(row)
    changed = {name: statement.excluded[name] for name in ("pid", "host", "state", "heartbeat_ms", "detail")}
    same = (table.c.state == statement.excluded.state) & (table.c.pid == statement.excluded.pid)
    changed["since_ms"] = sa.case((same, table.c.since_ms), else_=statement.excluded.since_ms)
    tx.execute(statement.on_conflict_do_update(index_elements=["source", "role"], set_=changed))


def known_streams(connection: Connection, source: str) -> list[StreamRow]:
    """The source's streams that are not gone, with their cursors."""
    stream, cursor = schema.stream.c, schema.cursor
    own = (stream.source == source, stream.gone_ms.is_(None))
    cursors: dict[int, list[CursorRow]] = defaultdict(list)
    columns = (cursor.c[name] for name in CursorRow._fields)
    joined = cursor.join(schema.stream, stream.id == cursor.c.stream_id)
    for row in connection.execute(sa.select(cursor.c.stream_id, *columns).select_from(joined).where(*own)):
        cursors[row[0]].append(CursorRow(*row[1:]))
    rows = connection.execute(
        sa.select(stream.id, stream.name, stream.kind, stream.first_position).where(*own)
    )
    return [StreamRow(*row, cursors[row.id]) for row in rows]


def add_streams(tx: Connection, source: str, streams: Sequence[tuple[str, str]], now_ms: int) -> None:
    """Makes streams (name, kind) known; one that had gone is there again, of the kind that it was."""
    statement = insert(tx, schema.stream)
    rows = [{"source": source, "name": name, "kind": kind, "found_ms": now_ms} for name, kind in streams]
    if rows:
        there_again = {"gone_ms": None}
        tx.execute(statement.on_conflict_do_update(index_elements=["source", "name"], set_=there_again), rows)


def stream_is(tx: Connection, stream_id: int, kind: str) -> None:
    """The stream is of another kind now, in the transaction of the cursor that begins it anew."""
    tx.execute(sa.update(schema.stream).where(schema.stream.c.id == stream_id).values(kind=kind))


def stream_seen(tx: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Writes what a look showed: id, length, added, first_position, last_position, sampled_ms."""
    if rows:
        table = schema.stream
        parameters = [
            {("stream_id" if name == "id" else name): value for name, value in row.items()} for row in rows
        ]
        tx.execute(
            sa.update(table)
            .where(table.c.id == sa.bindparam("stream_id"))
            .values({name: sa.bindparam(name) for name in parameters[0] if name != "stream_id"}),
            parameters,
        )


def streams_gone(tx: Connection, stream_ids: Sequence[int], now_ms: int) -> None:
    """The broker no longer has them; what was seen of them stays. Their groups went with them."""
    tx.execute(sa.update(schema.stream).where(schema.stream.c.id.in_(stream_ids)).values(gone_ms=now_ms))
    group = schema.consumer_group
    tx.execute(
        sa.update(group)
        .where(group.c.stream_id.in_(stream_ids), group.c.gone_ms.is_(None))
        .values(gone_ms=now_ms)
    )


def save_cursor(
    tx: Connection, stream_id: int, before: CursorRow | None, cursor: CursorRow, now_ms: int
) -> None:
    """The cursor, in the transaction of the rows that it covers; `before` is what it goes on from.

    Raises `Conflict` where another worker has moved it since: the rows are then in the store already.
    """
    table = schema.cursor
    row = {"stream_id": stream_id, **cursor._asdict(), "at_ms": now_ms}
    statement: sa.UpdateBase = insert(tx, table).values(row).on_conflict_do_nothing()
    if before is not None:
        statement = sa.update(table).values(row).where(
            table.c.stream_id == stream_id,
            table.c.partition == before.partition,
            table.c.position == before.position,
            table.c.incarnation == before.incarnation,
            table.c.read_count.is_not_distinct_from(before.read_count),
        )  # fmt: skip
    written = tx.execute(statement, execution_options={"preserve_rowcount": True})  # also of an INSERT
    if written.rowcount != 1:
        raise Conflict("another worker reads the same stream into the same store")


def add_gap(
    tx: Connection,
    stream_id: int,
    incarnation: int,
    positions: tuple[str, str],
    missed: int | None,
    reason: str,
    now_ms: int,
) -> None:
    """Records events that were never read; `missed` None where they cannot be counted."""
    table = schema.gap
    if missed is None:
        grown = tx.execute(
            sa.update(table)
            .where(
                table.c.stream_id == stream_id,
                table.c.missed.is_(None),
                table.c.reason == reason,
                table.c.at_ms > now_ms - SAME_GAP_MS,
            )
            .values(before_position=positions[1])
        )
        if grown.rowcount:
            return
    tx.execute(
        sa.insert(table).values(
            stream_id=stream_id,
            incarnation=incarnation,
            after_position=positions[0],
            before_position=positions[1],
            missed=missed,
            reason=reason,
            at_ms=now_ms,
        )
    )
    if missed:
        stream = schema.stream
        tx.execute(sa.update(stream).where(stream.c.id == stream_id).values(missed=stream.c.missed + missed))
