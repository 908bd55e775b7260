"""Dead letters: taken in once each, and moved from state to state by one function that keeps every count."""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.domain.dead_letter import NEXT, DeadLetter, LetterState, fingerprint
from eventwake.domain.envelope import Envelope, Record
from eventwake.domain.operation import CommandKind, ItemState
from eventwake.store import locks, schema
from eventwake.store.locks import Lock
from eventwake.store.segments import hash64
from eventwake.store.texts import Text
from eventwake.store.upsert import add_up, insert, upsert

ROLLUP_MS = 60_000
INDEXED_AT_MOST = 512  # characters of what a letter names: PostgreSQL refuses long texts in an index
IDS_A_STATEMENT = 500  # SQLite takes 32,766 parameters; smaller lists plan and lock for less time

RETURNABLE = frozenset(
    {LetterState.SENT, LetterState.SETTLED, LetterState.CONSUMED, LetterState.SUCCEEDED, LetterState.UNKNOWN}
)
BY_REPLAY_ID = "its replay id is in it"
BY_EVENT_ID = "the same event failed again after the retry"


@dataclass(frozen=True, slots=True)
class NewLetter:
    """One entry of a dead-letter stream, decoded; `body` is its packed original."""

    record: Record
    envelope: Envelope
    letter: DeadLetter
    body: bytes
    size: int
    flags: int = 0


def add(
    tx: Connection,
    source: str,
    stream_id: int,
    incarnation: int,
    letters: Sequence[NewLetter],
    now_ms: int,
    *,
    just_came: bool = False,
) -> list[int]:
    """Takes letters in; the ids of those that are new. One that an operation put back keeps its identity.

    `just_came`: the stream had been read to its end, so that they came after that; others have lain there,
    and came when the broker says.
    """
    if not letters:
        return []
    locks.alone(tx, Lock.LETTERS)
    restored = _being_restored(tx, stream_id)
    added = []
    for new in letters:
        if (crc32(new.body), new.body) in restored:
            letter_id = restored.pop((crc32(new.body), new.body))
            move_to(tx, letter_id, incarnation, new.record.position)
            continue
        arrived_ms = now_ms if just_came else min(new.record.recorded_ms, now_ms)
        row = _row(source, stream_id, incarnation, new, now_ms, arrived_ms)
        statement = insert(tx, schema.letter).on_conflict_do_nothing().returning(schema.letter.c.id)
        letter_id = tx.scalar(statement, row)
        if letter_id is not None:
            added.append(letter_id)
            _know_fingerprint(tx, new.letter, row["failed_ms"])
            _came_back(tx, new, row, letter_id, now_ms)
    _count_arrivals(tx, added)
    return added


def transition(
    tx: Connection,
    letter_ids: Sequence[int],
    to: LetterState,
    now_ms: int,
    *,
    come_from: Collection[LetterState] | None = None,
    detail: str = "",
    command_id: int | None = None,
    more: Mapping[str, Any] | None = None,
) -> list[int]:
    """Moves letters to a state; the ids of those that moved. Others were in a state that does not lead there.

    `more` are further columns to set. History, counts and rollups are kept in the same transaction.
    """
    locks.alone(tx, Lock.LETTERS)
    allowed = {state for state, after in NEXT.items() if to in after} & set(come_from or LetterState)
    moved: list[int] = []
    for start in range(0, len(letter_ids), IDS_A_STATEMENT):
        chunk = sorted(letter_ids[start : start + IDS_A_STATEMENT])
        moved += _move(tx, chunk, allowed, to, now_ms, detail, command_id, dict(more or {}))
    return moved


def _move(
    tx: Connection,
    letter_ids: Sequence[int],
    allowed: Collection[LetterState],
    to: LetterState,
    now_ms: int,
    detail: str,
    command_id: int | None,
    more: dict[str, Any],
) -> list[int]:
    table = schema.letter
    columns = (table.c.id, table.c.stream_id, table.c.fingerprint, table.c.state)
    rows = tx.execute(
        sa.select(*columns).where(table.c.id.in_(letter_ids), table.c.state.in_(allowed)).with_for_update()
    ).all()
    ids = [row.id for row in rows]
    if not ids:
        return []
    if command_id is not None:
        more["command_id"] = command_id
    tx.execute(
        sa.update(table)
        .where(table.c.id.in_(ids))
        .values(state=to.value, version=table.c.version + 1, changed_ms=now_ms, **more)
    )
    tx.execute(
        sa.insert(schema.letter_history),
        [
            {"letter_id": i, "at_ms": now_ms, "state": to.value, "command_id": command_id, "detail": detail}
            for i in ids
        ],
    )
    changes = Counter((row.stream_id, row.fingerprint, to.value) for row in rows)
    changes.subtract((row.stream_id, row.fingerprint, row.state) for row in rows)
    _count(tx, changes)
    if to is not LetterState.OPEN:  # which counts arrivals: what is open again did not come anew
        _roll_up(tx, Counter((now_ms, row.stream_id, to.value) for row in rows))
    return ids


def remark(tx: Connection, letter_id: int, command_id: int, detail: str, now_ms: int) -> None:
    """Adds to a letter's history without moving it."""
    state = sa.select(schema.letter.c.state).where(schema.letter.c.id == letter_id).scalar_subquery()
    tx.execute(
        sa.insert(schema.letter_history).values(
            letter_id=letter_id, at_ms=now_ms, state=state, command_id=command_id, detail=detail
        )
    )


def move_to(tx: Connection, letter_id: int, incarnation: int, position: str) -> None:
    """A restored letter's new place in its stream."""
    table = schema.letter
    tx.execute(
        sa.update(table).where(table.c.id == letter_id).values(incarnation=incarnation, position=position)
    )


def _row(
    source: str, stream_id: int, incarnation: int, new: NewLetter, now_ms: int, arrived_ms: int
) -> dict[str, Any]:
    record, envelope, letter = new.record, new.envelope, new.letter
    return {
        "source": source,
        "stream_id": stream_id,
        "incarnation": incarnation,
        "partition": record.partition,
        "position": record.position,
        "state": LetterState.OPEN.value,
        "version": 1,
        "attempt": 0,
        "rule": letter.rule,
        "origin_stream": letter.origin_stream,
        "origin_position": letter.origin_position,
        "group_name": letter.group and letter.group[:INDEXED_AT_MOST],
        "fingerprint": fingerprint(letter).id,
        "error_class": letter.error_class or "",
        "error_message": letter.error_message or "",
        "stack_trace": letter.stack_trace,
        "attempts": letter.attempts,
        "first_failed_ms": letter.first_failed_ms,
        "failed_ms": letter.failed_ms or record.recorded_ms,
        "how": json.dumps(letter.how),
        "event_type": envelope.event_type,
        "event_id": envelope.event_id,
        "key": envelope.key,
        "correlation_id": envelope.correlation_id,
        "event_id_hash": hash64(envelope.event_id) if envelope.event_id else None,
        "correlation_hash": hash64(envelope.correlation_id) if envelope.correlation_id else None,
        "key_hash": hash64(envelope.key) if envelope.key else None,
        "came_from": letter.replay_id and letter.replay_id[:INDEXED_AT_MOST],
        "own_fields": json.dumps([name.decode("utf-8", "surrogateescape") for name in letter.own_fields]),
        "size": new.size,
        "body": new.body,
        "checksum": crc32(new.body),
        "flags": new.flags,
        "found_ms": now_ms,
        "arrived_ms": arrived_ms,
        "changed_ms": now_ms,
    }


def _know_fingerprint(tx: Connection, letter: DeadLetter, failed_ms: int) -> None:
    print_ = fingerprint(letter)
    table = schema.fingerprint
    row = {
        "id": print_.id,
        "error_class": print_.error_class,
        "frame": print_.frame,
        "message": print_.message,
        "first_ms": failed_ms,
        "last_ms": failed_ms,
    }
    statement = insert(tx, table).values(row)
    first = sa.case((table.c.first_ms < failed_ms, table.c.first_ms), else_=failed_ms)
    last = sa.case((table.c.last_ms > failed_ms, table.c.last_ms), else_=failed_ms)
    tx.execute(
        statement.on_conflict_do_update(index_elements=["id"], set_={"first_ms": first, "last_ms": last})
    )


def _came_back(tx: Connection, new: NewLetter, row: Mapping[str, Any], letter_id: int, now_ms: int) -> None:
    """Finds the letter that this one is the return of: by replay id, else by event, group, place or time."""
    item, table = schema.command_item, schema.letter
    earlier = None
    how = BY_REPLAY_ID
    if new.letter.replay_id:
        earlier = tx.scalar(
            sa.select(item.c.letter_id)
            .join(table, table.c.id == item.c.letter_id)
            .where(
                item.c.replay_id == new.letter.replay_id,
                _may_be_one_group(table.c.group_name, sa.literal(row["group_name"], Text)),
            )
        )
    elif row["event_id_hash"] is not None:
        how = BY_EVENT_ID
        failed_where_sent = (item.c.target == new.letter.origin_stream) & (
            item.c.sent_position == new.letter.origin_position
        )
        earlier = tx.scalar(
            sa.select(table.c.id)
            .join(item, (item.c.letter_id == table.c.id) & (item.c.attempt == table.c.attempt))
            .where(
                table.c.event_id_hash == row["event_id_hash"],
                table.c.event_id == row["event_id"],
                table.c.stream_id == row["stream_id"],
                table.c.id != letter_id,
                table.c.state.in_(RETURNABLE),
                table.c.group_name.is_not_distinct_from(row["group_name"]),
                failed_where_sent
                | (sa.func.coalesce(item.c.sent_ms, item.c.changed_ms) <= new.record.recorded_ms),
            )
            .order_by(table.c.id.desc())
            .limit(1)
        )
    if earlier is not None:
        detail = f"came back as letter {letter_id}: {how}"
        transition(tx, [earlier], LetterState.CAME_BACK, now_ms, come_from=RETURNABLE, detail=detail)


def _may_be_one_group(
    one: sa.ColumnElement[str | None], other: sa.ColumnElement[str | None]
) -> sa.ColumnElement[bool]:
    """Where another group fails on what a retry sent, that is a letter of its own."""
    return one.is_(None) | other.is_(None) | (one == other)


def find_returns(tx: Connection, letter_ids: Sequence[int], now_ms: int) -> None:
    """Finds letters, of those just noted as sent, whose event had failed again before that was noted."""
    item, table, back = schema.command_item, schema.letter, schema.letter.alias()
    is_ours = (item.c.letter_id == table.c.id) & (item.c.attempt == table.c.attempt)
    by_replay_id = (back.c.came_from == item.c.replay_id) & _may_be_one_group(
        table.c.group_name, back.c.group_name
    )
    by_place = (
        (back.c.event_id_hash == table.c.event_id_hash)
        & (back.c.event_id == table.c.event_id)
        & back.c.group_name.is_not_distinct_from(table.c.group_name)
        & (back.c.origin_stream == item.c.target)
        & (back.c.origin_position == item.c.sent_position)
    )
    for start in range(0, len(letter_ids), IDS_A_STATEMENT):
        ours = table.c.id.in_(letter_ids[start : start + IDS_A_STATEMENT])
        for same, how in ((by_replay_id, BY_REPLAY_ID), (by_place, BY_EVENT_ID)):
            found = tx.execute(
                sa.select(table.c.id, back.c.id.label("returned"))
                .join(item, is_ours)
                .join(back, same & (back.c.id > table.c.id))
                .where(ours)
            ).all()
            for row in found:
                detail = f"came back as letter {row.returned}: {how}"
                transition(tx, [row.id], LetterState.CAME_BACK, now_ms, come_from=RETURNABLE, detail=detail)


def _being_restored(tx: Connection, stream_id: int) -> dict[tuple[int, bytes], int]:
    """Letters of the stream whose restore may have reached the broker: (checksum, body) -> letter."""
    item, command, letter = schema.command_item, schema.command, schema.letter
    rows = tx.execute(
        sa.select(letter.c.checksum, letter.c.body, letter.c.id)
        .join(item, item.c.letter_id == letter.c.id)
        .join(command, command.c.id == item.c.command_id)
        .where(
            letter.c.stream_id == stream_id,
            command.c.kind == CommandKind.RESTORE.value,
            item.c.state == ItemState.INTENDED.value,
        )
    )
    return {(row.checksum, row.body): row.id for row in rows}


def _count_arrivals(tx: Connection, letter_ids: Sequence[int]) -> None:
    table = schema.letter
    counts: Counter[tuple[int, str, str]] = Counter()
    arrivals: Counter[tuple[int, int, str]] = Counter()
    history = []
    for start in range(0, len(letter_ids), IDS_A_STATEMENT):
        chunk = letter_ids[start : start + IDS_A_STATEMENT]
        for row in tx.execute(
            sa.select(
                table.c.id, table.c.stream_id, table.c.fingerprint, table.c.arrived_ms, table.c.found_ms
            ).where(table.c.id.in_(chunk))
        ):
            counts[row.stream_id, row.fingerprint, LetterState.OPEN.value] += 1
            arrivals[row.arrived_ms, row.stream_id, LetterState.OPEN.value] += 1
            history.append(
                {
                    "letter_id": row.id,
                    "at_ms": row.found_ms,
                    "state": LetterState.OPEN.value,
                    "command_id": None,
                    "detail": "found in the broker",
                }
            )
    if history:
        tx.execute(sa.insert(schema.letter_history), history)
    _count(tx, counts)
    _roll_up(tx, arrivals)


def _count(tx: Connection, changes: Mapping[tuple[int, str, str], int]) -> None:
    rows = [
        {"stream_id": stream, "fingerprint": print_, "state": state, "letters": letters}
        for (stream, print_, state), letters in changes.items()
        if letters
    ]
    add_up(tx, schema.letter_count, rows, "letters")


def _roll_up(tx: Connection, entered: Mapping[tuple[int, int, str], int]) -> None:
    sums: Counter[tuple[int, int, str]] = Counter()
    for (at_ms, stream, state), letters in entered.items():
        sums[at_ms // ROLLUP_MS * ROLLUP_MS, stream, state] += letters
    rows = [
        {"bucket_ms": bucket, "stream_id": stream, "state": state, "letters": letters}
        for (bucket, stream, state), letters in sums.items()
    ]
    add_up(tx, schema.letter_rollup, rows, "letters")


def save_outcomes(tx: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """What each group has done with sent letters: letter_id, attempt, group_name, state, at_ms."""
    upsert(tx, schema.outcome, rows)
