"""What one writer does at a time. On SQLite every writer has the file to itself, and nothing here is needed.

PostgreSQL lets writers run side by side; these locks (advisory ones, held until the transaction ends) give
back the order that letters, sagas and segments rely on. Whoever takes several takes them as they are listed;
of events, cursors and rollups each worker writes only its own source's, and takes none.
"""

from enum import IntEnum

import sqlalchemy as sa
from sqlalchemy.engine import Connection


class Lock(IntEnum):
    """The first half of PostgreSQL's lock key, so that other programs' locks in the database are not ours."""

    LAYOUT = 1_163_284_301
    SEGMENT = 1_163_284_302  # shared by those who write into a segment; alone: to seal it
    ROLL = 1_163_284_303  # making the next segment
    LETTERS = 1_163_284_304  # states, counts and command items of dead letters: a letter touches many rows
    SAGAS = 1_163_284_305  # a saga is read, moved on and written back, by every source that it crosses


def alone(tx: Connection, lock: Lock) -> None:
    """Waits for the lock, which no other transaction then has."""
    if tx.dialect.name != "sqlite":
        tx.execute(sa.select(sa.func.pg_advisory_xact_lock(_key(lock), _key(0))))


def try_alone(tx: Connection, lock: Lock, number: int = 0) -> bool:
    """Takes the lock if it is free at once; whether it is ours."""
    if tx.dialect.name == "sqlite":
        return True
    return bool(tx.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(_key(lock), _key(number)))))


def share(tx: Connection, lock: Lock, number: int) -> None:
    """Takes the lock beside others who share it."""
    if tx.dialect.name != "sqlite":
        tx.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(_key(lock), _key(number))))


def _key(number: int) -> sa.ColumnElement[int]:
    return sa.cast(int(number), sa.Integer)
