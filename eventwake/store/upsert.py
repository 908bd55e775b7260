"""INSERT ... ON CONFLICT for SQLite and PostgreSQL alike."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection


def insert(tx: Connection, table: sa.Table) -> Any:
    """The dialect's INSERT, which knows `on_conflict_do_update`."""
    return (sqlite if tx.dialect.name == "sqlite" else postgresql).insert(table)


def upsert(tx: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], *keep: str) -> None:
    """Inserts rows or overwrites all their columns but the key's and those in `keep`."""
    if not rows:
        return
    statement = insert(tx, table)
    keys = [column.name for column in table.primary_key]
    changed = {name: statement.excluded[name] for name in rows[0] if name not in keys and name not in keep}
    tx.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), list(rows))


def add_up(
    tx: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], *sums: str, **more: Any
) -> None:
    """Inserts rows or adds their `sums` columns to the row that is there."""
    if not rows:
        return
    statement = insert(tx, table)
    keys = [column.name for column in table.primary_key]
    rows = sorted(rows, key=itemgetter(*keys))  # two who add to the same rows must lock them in one order
    added = {name: table.c[name] + statement.excluded[name] for name in sums}
    tx.execute(statement.on_conflict_do_update(index_elements=keys, set_=added | more), rows)
