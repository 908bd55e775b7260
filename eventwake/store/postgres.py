"""PostgreSQL as the store: its connections, its errors, and rows in bulk.

Imported only where the URL asks for it, so that psycopg can be missing where SQLite is used.
"""

from collections.abc import Sequence
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.adapt import Loader
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError

from eventwake.domain.errors import StoreDamaged, StoreError, StoreUnavailable
from eventwake.store.texts import Text, clean, is_clean

CONNECT_TIMEOUT_S = 5
LOCK_TIMEOUT_MS = 15_000  # as long as a writer waits on SQLite
IDLE_IN_TRANSACTION_MS = 300_000  # a stopped process must not keep its locks for ever
DEAD_PEER_MS = 30_000

# SQLSTATE, or its class of two characters: what to say
_REASONS = {
    "08": "the connection to PostgreSQL was lost; work goes on once it answers again",
    "57P": "PostgreSQL is stopping, starting or ended the connection; work goes on once it answers again",
    "53100": "the disk of PostgreSQL is full; what was acknowledged is safe. Free some space there, "
    "work goes on by itself",
    "53300": "PostgreSQL has no connection left; raise its max_connections",
    "53": "PostgreSQL is out of resources",
    "55P03": "another transaction has held a lock in the store for too long",
    "40": "another transaction went first; try again",
    "25006": "PostgreSQL takes no writes: it is a standby, or the database is set to read only",
    "25P03": "PostgreSQL ended a transaction that had stood still for too long",
    "42501": "the database user lacks a right in the store",
    "58": "PostgreSQL's disk reports an error",
}
_COPY_TYPES = {sa.BigInteger: "int8", Text: "text", sa.LargeBinary: "bytea"}


def open_engine(url: URL, *, pool_size: int, durable: bool) -> Engine:
    """The engine; no connection is made yet. What `options` the URL has go before ours."""
    options = (
        f"-c synchronous_commit={'on' if durable else 'off'} -c jit=off -c lock_timeout={LOCK_TIMEOUT_MS} "
        f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS} {url.query.get('options', '')}"
    )
    engine = sa.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_pre_ping=True,
        connect_args={
            "options": options,
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "eventwake",
            "keepalives_idle": DEAD_PEER_MS // 1000,
            "tcp_user_timeout": DEAD_PEER_MS,
        },
    )
    event.listen(engine, "connect", _prepare)
    return engine


def _prepare(connection: "psycopg.Connection[Any]", _record: object) -> None:
    connection.adapters.register_loader("numeric", _Whole)


class _Whole(Loader):
    """The sum of bigints is numeric, which would come out as Decimal; no column here is numeric itself."""

    def load(self, data: Any) -> int | float:
        text = bytes(data)
        return float(text) if b"." in text else int(text)


def copy_rows(connection: Connection, table: sa.Table, columns: Sequence[str], rows: Sequence[Any]) -> None:
    """Appends tuples in the order of `columns` by COPY; texts are cleaned, so that none costs the others."""
    names = ", ".join(f'"{name}"' for name in columns)
    types = [
        next(name for kind, name in _COPY_TYPES.items() if isinstance(table.c[column].type, kind))
        for column in columns
    ]
    texts = [i for i, name in enumerate(types) if name == "text"]
    cursor = connection.connection.cursor()
    try:
        with cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN (FORMAT BINARY)') as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(_cleaned(row, texts))
    except psycopg.Error as error:
        raise DBAPIError("COPY", None, error) from error
    finally:
        cursor.close()


def _cleaned(row: Sequence[Any], texts: Sequence[int]) -> Sequence[Any]:
    for i in texts:
        if row[i] is not None and not is_clean(row[i]):
            return [clean(value) if isinstance(value, str) else value for value in row]
    return row


def store_error(error: BaseException | None, url: URL) -> StoreError:
    """What psycopg raised, as ours; the message names the server, never the password."""
    place = f"{url.host or 'the local socket'}:{url.port or 5432}/{url.database or ''}"
    state = getattr(error, "sqlstate", None) or ""
    if state.startswith("XX00"):
        return StoreDamaged(f"PostgreSQL reports damaged data ({state}): {_first_line(error)}")
    if state == "42P01":
        return StoreUnavailable(
            "the store is not set up yet, or retention has just dropped what was asked for. "
            "The collectors set it up; start them with: python -m collectors"
        )
    for prefix in (state, state[:3], state[:2]):
        if reason := _REASONS.get(prefix):
            return StoreUnavailable(f"{reason} ({place}, {state}: {_first_line(error)})")
    if not state and isinstance(error, psycopg.OperationalError):
        return StoreUnavailable(f"PostgreSQL at {place} cannot be reached: {_first_line(error)}")
    return StoreError(f"the store refused: {error}")


def _first_line(error: BaseException | None) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0]
