"""Keeps the store small and quick: checkpoints, filters of sealed segments, retention.

Only the supervisor calls these, in one thread: of SQLite's checkpointers there must never be two.
"""

import logging
from pathlib import Path

import sqlalchemy as sa

from eventwake.domain.dead_letter import LetterState
from eventwake.domain.operation import FINISHED
from eventwake.settings import Store as StoreSettings
from eventwake.store import bloom, locks, schema, segments
from eventwake.store.locks import Lock
from eventwake.store.session import Store
from eventwake.store.writes.events import SPANS_MS

log = logging.getLogger(__name__)

DAY_MS = 86_400_000
TRUNCATE_ABOVE_BYTES = 256 * 2**20  # of the write-ahead log; truncating makes writers wait up to 2.4 s
BALLAST_BYTES = 8 * 2**20  # given back when the disk is full, because deleting rows needs room too
FINE_ROLLUP_MS = 4 * 3_600_000  # the 10-second rollup serves windows of up to an hour; the rest is spare
ROWS_A_DELETE = 5_000  # keeps the write lock for well under 200 ms
ENDED_LETTERS = (
    LetterState.CONSUMED, LetterState.SUCCEEDED, LetterState.CAME_BACK,
    LetterState.DISCARDED, LetterState.EXPIRED, LetterState.GONE,
)  # fmt: skip


def checkpoint(store: Store) -> None:
    """Moves the write-ahead log into the file; SQLite only."""
    if store.path is None:
        return
    log_file = Path(f"{store.path}-wal")
    size = log_file.stat().st_size if log_file.exists() else 0
    mode = "TRUNCATE" if size > TRUNCATE_ABOVE_BYTES else "PASSIVE"
    with store.bare() as connection:
        connection.exec_driver_sql(f"PRAGMA wal_checkpoint({mode})").fetchall()


def build_filters(store: Store) -> None:
    """Seals what the writers have left, and gives every sealed segment its Bloom filter."""
    with store.read() as connection:
        left = segments.left_open(connection)
    for number, sealed_ms in left:
        with store.write() as tx:
            segments.seal_left_open(tx, number, sealed_ms)
    with store.read() as connection:
        missing = segments.unfiltered(connection)
    for number in missing:
        with store.read() as connection:
            hashes = segments.read_hashes(connection, number)
        blocks = bloom.build(hashes)
        with store.write() as tx:
            segments.write_filter(tx, number, blocks)
        log.info("segment %d is sealed; its filter has %d blocks", number, len(blocks))


def retain(store: Store, keep: StoreSettings, now_ms: int) -> None:
    """Drops what is older than the settings keep, in short transactions."""
    with store.write() as tx:
        dropped = segments.drop_sealed_before(tx, int(now_ms - keep.events_days * DAY_MS))
    if dropped:
        log.info("dropped event segments %s", dropped)
    history_ms = int(now_ms - keep.history_days * DAY_MS)
    rollup = schema.event_rollup.c
    fine = (rollup.span_ms == SPANS_MS[0]) & (rollup.bucket_ms < now_ms - FINE_ROLLUP_MS)
    coarse = (rollup.span_ms == SPANS_MS[1]) & (rollup.bucket_ms < history_ms)
    for table, old in (
        (schema.event_rollup, fine),
        (schema.event_rollup, coarse),
        (schema.group_rollup, schema.group_rollup.c.bucket_ms < history_ms),
        (schema.letter_rollup, schema.letter_rollup.c.bucket_ms < history_ms),
        (schema.gap, schema.gap.c.at_ms < history_ms),
        (schema.alert, schema.alert.c.resolved_ms < history_ms),
        (schema.saga, schema.saga.c.last_ms < int(now_ms - keep.events_days * DAY_MS)),
    ):
        _delete(store, table, old)
    _drop_samples(store, int(now_ms - keep.samples_hours * 3_600_000))
    _drop_letters(store, int(now_ms - keep.letters_days * DAY_MS))
    _drop_operations(store, history_ms)
    _drop_gone_groups(store, history_ms)
    _drop_what_counts_nothing(store)


def _delete(store: Store, table: sa.Table, old: sa.ColumnElement[bool], lock: Lock | None = None) -> None:
    keys = list(table.primary_key)
    victims = sa.select(*keys).where(old).limit(ROWS_A_DELETE)
    with store.read() as connection:  # most often there is none, and no writer need wait for that
        done = ROWS_A_DELETE if connection.execute(victims.limit(1)).first() else 0
    while done == ROWS_A_DELETE:
        with store.write() as tx:
            if lock is not None:
                locks.alone(tx, lock)
            # `old` twice: on PostgreSQL a row may have changed since it was chosen
            done = tx.execute(sa.delete(table).where(sa.tuple_(*keys).in_(victims), old)).rowcount


def _drop_samples(store: Store, before_ms: int) -> None:
    """Group by group, since the history is kept in that order."""
    sample = schema.group_sample
    with store.read() as connection:
        groups = list(connection.scalars(sa.select(schema.consumer_group.c.id)))
    for group_id in groups:
        with store.write() as tx:
            tx.execute(sa.delete(sample).where(sample.c.group_id == group_id, sample.c.at_ms < before_ms))


def _drop_letters(store: Store, before_ms: int) -> None:
    """Drops letters that came to an end before then, with their history. Open ones are kept for ever."""
    letter = schema.letter
    ended = [state.value for state in ENDED_LETTERS]
    while True:
        with store.write() as tx:
            locks.alone(tx, Lock.LETTERS)
            rows = tx.execute(
                sa.select(letter.c.id, letter.c.stream_id, letter.c.fingerprint, letter.c.state)
                .where(letter.c.state.in_(ended), letter.c.changed_ms < before_ms)
                .limit(ROWS_A_DELETE // 10)
            ).all()
            ids = [row.id for row in rows]
            for table in (schema.letter_history, schema.outcome, schema.command_item):
                tx.execute(sa.delete(table).where(table.c.letter_id.in_(ids)))
            tx.execute(sa.delete(letter).where(letter.c.id.in_(ids)))
            count = schema.letter_count
            for row in rows:
                tx.execute(
                    sa.update(count)
                    .where(
                        count.c.stream_id == row.stream_id,
                        count.c.fingerprint == row.fingerprint,
                        count.c.state == row.state,
                    )
                    .values(letters=count.c.letters - 1)
                )
        if len(ids) < ROWS_A_DELETE // 10:
            return


def _drop_operations(store: Store, before_ms: int) -> None:
    """Drops operations that were finished before then, but not the last one of a letter that is kept."""
    command, item, letter = schema.command.c, schema.command_item, schema.letter.c
    old = sa.and_(
        command.state.in_([state.value for state in FINISHED]),
        command.finished_ms < before_ms,
        ~sa.exists().where(letter.command_id == command.id),
    )
    with store.read() as connection:
        numbers = list(connection.scalars(sa.select(command.id).where(old)))
    for number in numbers:
        _delete(store, item, item.c.command_id == number)
        _delete(store, schema.command, command.id == number)


def _drop_gone_groups(store: Store, before_ms: int) -> None:
    group = schema.consumer_group.c
    with store.read() as connection:
        gone = list(connection.scalars(sa.select(group.id).where(group.gone_ms < before_ms)))
    for group_id in gone:
        for table in (schema.consumer, schema.pending_entry, schema.group_sample, schema.group_rollup):
            _delete(store, table, table.c.group_id == group_id)
        _delete(store, schema.consumer_group, (group.id == group_id) & (group.gone_ms < before_ms))


def _drop_what_counts_nothing(store: Store) -> None:
    """Counts of no letters, and causes of none that is kept."""
    count, letter = schema.letter_count, schema.letter.c
    _delete(store, count, count.c.letters == 0, Lock.LETTERS)
    no_letter = ~sa.exists().where(letter.fingerprint == schema.fingerprint.c.id)
    _delete(store, schema.fingerprint, no_letter, Lock.LETTERS)


def keep_ballast(path: Path) -> None:
    """Holds a little of the disk, to be given back by `drop_ballast` when it is full."""
    ballast = _ballast(path)
    if not ballast.exists() or ballast.stat().st_size < BALLAST_BYTES:
        with ballast.open("wb") as file:
            file.write(bytes(BALLAST_BYTES))


def drop_ballast(path: Path) -> bool:
    """Makes room on a full disk, so that retention can work; whether there was any to give."""
    ballast = _ballast(path)
    if not ballast.exists():
        return False
    ballast.unlink()
    return True


def _ballast(path: Path) -> Path:
    return path.with_name(f"{path.name}.ballast")
