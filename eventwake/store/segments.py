"""Event segments: a table each, rolled by size or age of ingest, found newest first, dropped whole.

Where several writers run side by side (PostgreSQL), a full segment is sealed later, by the upkeep: one of the
writers may still be in the middle of it.

The catalogue (`segment`) knows each one's time range; a sealed one gets a Bloom filter of its ids, so that a
look-up opens only the tables that may hold what is looked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import sqlalchemy as sa
import xxhash
from sqlalchemy.engine import Connection

from eventwake.store import bloom, locks, schema
from eventwake.store.locks import Lock
from eventwake.store.session import is_sqlite

ROLL_AFTER_MS = 24 * 3_600_000  # a quiet system still gets segments that retention can drop
KEYS_PER_ROW = ("id_hash", "correlation_hash", "key_hash")
DISTINCT_ROWS_READ = 100_000  # hashes fetched at once while a filter is built


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment as the catalogue has it; `low_ms` and `high_ms` are None while it is written to."""

    number: int
    sealed: bool
    rows: int | None
    low_ms: int | None
    high_ms: int | None
    filter_blocks: int | None

    @property
    def table(self) -> sa.Table:
        return table(self.number)


_tables: dict[int, sa.Table] = {}


def table(number: int) -> sa.Table:
    """The table of a segment, whether it exists in this store or not."""
    if number not in _tables:
        _tables[number] = schema.event_table(f"event_{number:06d}", sa.MetaData())
    return _tables[number]


def hash64(text: str) -> int:
    """The signed 64-bit hash under which ids are indexed."""
    return xxhash.xxh3_64_intdigest(text.encode()) - (1 << 63)


def open_for_writing(tx: Connection, rows_at_most: int, now_ms: int) -> sa.Table:
    """The table that new events go to; seals a full or old one and makes the next."""
    current = _current(tx)
    if current is None:
        locks.alone(tx, Lock.ROLL)
        current = _current(tx)
    if current is None:
        return _open(tx, _newest(tx) + 1, now_ms)
    events = table(current.number)
    rows = tx.scalar(sa.select(sa.func.max(events.c.id))) or 0
    if rows < rows_at_most and (rows == 0 or now_ms - current.opened_ms < ROLL_AFTER_MS):
        return events
    if is_sqlite(tx):
        _seal(tx, current.number, rows, now_ms)
    elif not locks.try_alone(tx, Lock.ROLL) or _newest(tx) > current.number:
        return events  # another writer has just made the next one, or is making it
    return _open(tx, current.number + 1, now_ms)


def _current(tx: Connection) -> Any:
    """The catalogue's row of the newest segment that is not sealed, which nobody seals before we end."""
    catalogue = schema.segment
    newest = (
        sa.select(catalogue.c.number, catalogue.c.opened_ms)
        .where(catalogue.c.sealed_ms.is_(None))
        .order_by(catalogue.c.number.desc())
        .limit(1)
    )
    current = tx.execute(newest).first()
    while current is not None and not is_sqlite(tx):
        locks.share(tx, Lock.SEGMENT, current.number)
        seen, current = current, tx.execute(newest).first()
        if current == seen:
            break
    return current


def _newest(tx: Connection) -> int:
    return tx.scalar(sa.select(sa.func.max(schema.segment.c.number))) or 0


def _open(tx: Connection, number: int, now_ms: int) -> sa.Table:
    events = table(number)
    events.create(tx)
    tx.execute(sa.insert(schema.segment).values(number=number, opened_ms=now_ms))
    return events


def _seal(tx: Connection, number: int, rows: int, now_ms: int) -> None:
    recorded = table(number).c.recorded_ms
    low = tx.scalar(sa.select(sa.func.min(recorded)))
    high = tx.scalar(sa.select(sa.func.max(recorded)))
    tx.execute(
        sa.update(schema.segment)
        .where(schema.segment.c.number == number)
        .values(sealed_ms=now_ms, rows=rows, low_ms=low, high_ms=high)
    )


def left_open(connection: Connection) -> list[tuple[int, int]]:
    """Segments that have a newer one and are not sealed: (number, when the newer one was opened)."""
    catalogue = schema.segment.c
    rows = connection.execute(
        sa.select(catalogue.number, catalogue.opened_ms, catalogue.sealed_ms).order_by(catalogue.number)
    ).all()
    return [(row.number, newer.opened_ms) for row, newer in pairwise(rows) if row.sealed_ms is None]


def seal_left_open(tx: Connection, number: int, sealed_ms: int) -> bool:
    """Seals a segment once nobody writes into it any more (PostgreSQL, where several may); whether it did."""
    if not locks.try_alone(tx, Lock.SEGMENT, number):
        return False
    rows = tx.scalar(sa.select(sa.func.count()).select_from(table(number))) or 0
    _seal(tx, number, rows, sealed_ms)
    return True


def all_newest_first(connection: Connection) -> list[Segment]:
    rows = connection.execute(sa.select(schema.segment).order_by(schema.segment.c.number.desc()))
    return [
        Segment(row.number, row.sealed_ms is not None, row.rows, row.low_ms, row.high_ms, row.filter_blocks)
        for row in rows
    ]


def within(connection: Connection, since_ms: int | None, until_ms: int | None) -> list[Segment]:
    """Segments that may hold events recorded in [since, until), newest first."""
    return [
        segment
        for segment in all_newest_first(connection)
        if (until_ms is None or segment.low_ms is None or segment.low_ms < until_ms)
        and (since_ms is None or segment.high_ms is None or segment.high_ms >= since_ms)
    ]


def that_may_hold(connection: Connection, key: int) -> Iterator[Segment]:
    """Segments that may hold an id, correlation or business key with this hash, newest first."""
    for segment in all_newest_first(connection):
        blocks = segment.filter_blocks
        if blocks is None or _block_may_hold(connection, segment.number, blocks, key):
            yield segment


def _block_may_hold(connection: Connection, number: int, blocks: int, key: int) -> bool:
    filters = schema.segment_filter.c
    bits = connection.scalar(
        sa.select(filters.bits).where(filters.segment == number, filters.block == bloom.block_of(key, blocks))
    )
    return bits is None or bloom.may_hold(bits, key)


def unfiltered(connection: Connection) -> list[int]:
    """Numbers of the sealed segments that have no filter yet."""
    catalogue = schema.segment.c
    return list(
        connection.scalars(
            sa.select(catalogue.number).where(
                catalogue.sealed_ms.is_not(None), catalogue.filter_blocks.is_(None)
            )
        )
    )


def read_hashes(connection: Connection, number: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Every hash of a sealed segment, for its filter."""
    columns = [table(number).c[name] for name in KEYS_PER_ROW]
    parts = []
    for column in columns:
        wanted = sa.select(column).where(column.is_not(None))
        found = connection.scalars(wanted.execution_options(yield_per=DISTINCT_ROWS_READ))
        parts += [np.array(part, dtype=np.int64) for part in found.partitions()]
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=np.int64)


def write_filter(tx: Connection, number: int, blocks: list[bytes]) -> None:
    tx.execute(
        sa.insert(schema.segment_filter),
        [{"segment": number, "block": i, "bits": bits} for i, bits in enumerate(blocks)],
    )
    tx.execute(
        sa.update(schema.segment).where(schema.segment.c.number == number).values(filter_blocks=len(blocks))
    )


def drop_sealed_before(tx: Connection, sealed_before_ms: int) -> list[int]:
    """Drops every segment sealed before then, with its filter; their numbers."""
    catalogue = schema.segment
    numbers = list(tx.scalars(sa.select(catalogue.c.number).where(catalogue.c.sealed_ms < sealed_before_ms)))
    for number in numbers:
        table(number).drop(tx)
        tx.execute(sa.delete(schema.segment_filter).where(schema.segment_filter.c.segment == number))
        tx.execute(sa.delete(catalogue).where(catalogue.c.number == number))
        _tables.pop(number, None)
    return numbers
